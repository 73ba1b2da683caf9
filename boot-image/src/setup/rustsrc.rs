//! The sources of `core` and `alloc`, from which the inner builds compile them for bare metal.
//!
//! rustup's component is the first choice. Where rustup is told not to install anything, Debian's package of exactly
//! the compiler's version takes its place: fetched with a private apt configuration, unpacked without being installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::{capture, is_in_path, succeeds};
use crate::error::{Error, FileContext, Result};
use crate::progress::Step;
use crate::setup::Toolchain;

const PACKAGE: &str = "rust-src";
/// The suite that carries the pinned compiler's version.
const SUITE: &str = "trixie-backports";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// The file with the settings of our apt.
const CONFIGURATION: &str = "apt.conf";
/// What the inner builds never read, and what would take most of the room.
const UNUSED: &str = "vendor";

/// Whether [`ensure`] has something to do.
pub fn is_missing(toolchain: &Toolchain) -> bool {
    !toolchain.library().join("Cargo.lock").is_file()
}

/// Puts the sources where the compiler's builds expect them. `scratch` is for downloads.
pub fn ensure(toolchain: &Toolchain, scratch: &Path) -> Result<()> {
    if !is_missing(toolchain) {
        return Ok(());
    }
    let mut step = Step::begin("Fetching the sources of Rust's core library");
    if rustup_may_install() {
        step.note("with rustup");
        if rustup_add(toolchain) && !is_missing(toolchain) {
            return Ok(());
        }
    }
    step.note("from the distribution's package");
    from_debian(toolchain, scratch).map_err(|error| Error::Missing {
        what: format!(
            "The library sources of Rust {} are missing and could not be fetched: {error}",
            toolchain.release
        ),
        command: format!(
            "rustup component add rust-src --toolchain {}",
            toolchain.release
        ),
    })
}

fn rustup_may_install() -> bool {
    std::env::var_os("RUSTUP_AUTO_INSTALL").is_none_or(|value| value != "0") && is_in_path("rustup")
}

/// Adds the component to the toolchain in use, which need not be rustup's default one.
fn rustup_add(toolchain: &Toolchain) -> bool {
    let name = toolchain.sysroot.file_name().unwrap_or_default();
    let mut command = Command::new("rustup");
    command
        .args(["component", "add", PACKAGE, "--toolchain"])
        .arg(name);
    succeeds(&mut command)
}

fn from_debian(toolchain: &Toolchain, scratch: &Path) -> Result<()> {
    if !is_in_path("apt-get") || !is_in_path("dpkg") {
        return Err(Error::Other("this is not a Debian-like system".into()));
    }
    let mut last = Error::Other("apt knows no repository".into());
    for repository in repositories()? {
        match from_repository(toolchain, scratch, &repository) {
            Ok(()) => return Ok(()),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The addresses that this machine's own apt uses, each once.
fn repositories() -> Result<Vec<String>> {
    let mut command = Command::new("apt-get");
    command.args([
        "indextargets",
        "--format",
        "$(REPO_URI)",
        "Created-By: Packages",
    ]);
    Ok(distinct(&capture(
        "asking apt for its repositories",
        &mut command,
    )?))
}

fn distinct(lines: &str) -> Vec<String> {
    let mut seen = Vec::<String>::new();
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if !seen.iter().any(|known| known == line) {
            seen.push(line.to_owned());
        }
    }
    seen
}

fn from_repository(toolchain: &Toolchain, scratch: &Path, repository: &str) -> Result<()> {
    let apt = PrivateApt::new(scratch, repository)?;
    capture(
        "reading the package lists",
        apt.command("apt-get").arg("update"),
    )?;
    let versions = capture(
        "looking for the package",
        apt.command("apt-cache").args(["madison", PACKAGE]),
    )?;
    let version = matching_version(&versions, &toolchain.release).ok_or_else(|| {
        Error::Other(format!(
            "{SUITE} does not have {PACKAGE} {}",
            toolchain.release
        ))
    })?;
    let deb = apt.download(&version)?;
    let unpacked = apt.folder.join("unpacked");
    capture(
        "unpacking the package",
        Command::new("dpkg").arg("-x").arg(&deb).arg(&unpacked),
    )?;
    place(&unpacked_library(&unpacked, &toolchain.release)?, toolchain)?;
    fs::remove_dir_all(&apt.folder).doing("remove", &apt.folder)
}

/// Picks the version of the compiler's release from what `apt-cache madison` prints: `name | version | source`.
fn matching_version(madison: &str, release: &str) -> Option<String> {
    madison
        .lines()
        .filter_map(|line| line.split('|').nth(1))
        .map(str::trim)
        .find(|version| {
            version
                .strip_prefix(release)
                .is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit() || c == '.'))
        })
        .map(str::to_owned)
}

/// What apt is to use instead of the system's folders. Programs that the system wants to run after an update are for
/// the system's folders, too.
fn configuration(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "#clear APT::Update::Pre-Invoke;\n\
         #clear APT::Update::Post-Invoke;\n\
         #clear APT::Update::Post-Invoke-Success;\n\
         Dir::Etc::SourceList \"{folder}/sources.list\";\n\
         Dir::Etc::SourceParts \"-\";\n\
         Dir::State::Lists \"{folder}/lists\";\n\
         Dir::Cache \"{folder}/cache\";\n\
         Acquire::Languages \"none\";\n\
         APT::Sandbox::User \"root\";\n"
    )
}

fn write(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text).doing("write", file)
}

/// An apt with a source list, package lists and a cache of its own, so that nothing of the system's changes.
struct PrivateApt {
    folder: PathBuf,
}

impl PrivateApt {
    fn new(scratch: &Path, repository: &str) -> Result<Self> {
        let folder = scratch.join("apt");
        for part in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(folder.join(part)).doing("create", &folder)?;
        }
        let signed = if Path::new(KEYRING).is_file() {
            format!("[signed-by={KEYRING}] ")
        } else {
            String::new()
        };
        let list = format!("deb {signed}{repository} {SUITE} main\n");
        write(&folder.join("sources.list"), &list)?;
        write(&folder.join(CONFIGURATION), &configuration(&folder))?;
        Ok(Self { folder })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .arg("-qq")
            .arg("-c")
            .arg(self.folder.join(CONFIGURATION))
            .current_dir(&self.folder);
        command
    }

    /// Downloads the package and returns the file.
    fn download(&self, version: &str) -> Result<PathBuf> {
        let name = format!("{PACKAGE}={version}");
        capture(
            "downloading the package",
            self.command("apt-get").args(["download", &name]),
        )?;
        let files = fs::read_dir(&self.folder).doing("read", &self.folder)?;
        files
            .flatten()
            .map(|file| file.path())
            .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
            .ok_or_else(|| Error::Other("the downloaded package is not there".into()))
    }
}

/// Debian keeps the real files under `/usr/src` and links to them.
fn unpacked_library(unpacked: &Path, release: &str) -> Result<PathBuf> {
    [
        format!("usr/src/rustc-{release}/library"),
        "usr/lib/rustlib/src/rust/library".into(),
    ]
    .iter()
    .map(|path| unpacked.join(path))
    .find(|path| path.join("Cargo.lock").is_file())
    .ok_or_else(|| {
        Error::Other("the package does not hold the library where it is expected".into())
    })
}

/// Moves the sources into the toolchain. The last step is one rename, so that they are there completely or not at all.
fn place(library: &Path, toolchain: &Toolchain) -> Result<()> {
    let destination = toolchain.library();
    let parent = destination.parent().unwrap_or(&destination);
    fs::create_dir_all(parent).doing("create", parent)?;
    let vendor = library.join(UNUSED);
    if vendor.is_dir() {
        fs::remove_dir_all(&vendor).doing("remove", &vendor)?;
    }
    let partial = parent.join("library.partial");
    if partial.exists() {
        fs::remove_dir_all(&partial).doing("remove", &partial)?;
    }
    let mut copy = Command::new("cp");
    copy.arg("-a").arg(library).arg(&partial);
    capture("copying the library sources into the toolchain", &mut copy)?;
    if destination.exists() {
        fs::remove_dir_all(&destination).doing("remove", &destination)?;
    }
    fs::rename(&partial, &destination).doing("create", &destination)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_compilers_own_version_matches() {
        let list = " rust-src | 1.95.0+dfsg1-1~bpo13+1 | http://x main\n rust-src | 1.85.0+dfsg3-1 | http://x main\n";
        assert_eq!(
            matching_version(list, "1.95.0").unwrap(),
            "1.95.0+dfsg1-1~bpo13+1"
        );
        assert_eq!(matching_version(list, "1.9"), None);
        assert_eq!(matching_version(list, "1.95"), None);
    }

    #[test]
    fn a_repository_is_asked_once() {
        assert_eq!(distinct("a\nb\n\na\n"), ["a", "b"]);
    }

    #[test]
    fn the_library_is_placed_without_its_vendored_crates() {
        let folder = tempfile::tempdir().unwrap();
        let toolchain = Toolchain {
            sysroot: folder.path().join("sysroot"),
            host: "h".into(),
            release: "1.0.0".into(),
        };
        let library = folder.path().join("unpacked/usr/src/rustc-1.0.0/library");
        fs::create_dir_all(library.join("vendor/x")).unwrap();
        fs::write(library.join("Cargo.lock"), "").unwrap();
        assert!(is_missing(&toolchain));
        let found = unpacked_library(&folder.path().join("unpacked"), "1.0.0").unwrap();
        place(&found, &toolchain).unwrap();
        assert!(!is_missing(&toolchain));
        assert!(!toolchain.library().join("vendor").exists());
    }

    /// Needs the network; run it by name on a machine where rustup may not install.
    #[test]
    #[ignore = "downloads a package"]
    fn the_distributions_package_completes_an_empty_sysroot() {
        let folder = tempfile::tempdir().unwrap();
        let toolchain = Toolchain {
            sysroot: folder.path().join("sysroot"),
            ..Toolchain::current(&crate::Workspace::find()).unwrap()
        };
        from_debian(&toolchain, folder.path()).unwrap();
        assert!(toolchain.library().join("core/src/lib.rs").is_file());
    }
}
