//! The root file tree of the default initramfs: our `/init`, the files of `boot-image/userspace/root`, and the
//! distribution's busybox.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::command::capture;
use crate::error::{FileContext, Result};
use crate::initramfs::Initramfs;
use crate::setup::BUSYBOX;
use crate::userspace_build::Programs;
use crate::workspace::Workspace;

/// What the shell of the default initramfs prints when it is ready; tests and the benchmark wait for it.
/// `userspace/root/etc/profile` sets it.
pub const PROMPT: &str = "kindling:~# ";

/// The passwords: root has an empty one, as on a distribution's live image.
const SHADOW: &str = "/etc/shadow";

/// Folders that are mount points or start out empty.
const FOLDERS: [(&str, u32); 11] = [
    ("/dev", 0o755),
    ("/proc", 0o555),
    ("/sys", 0o555),
    ("/run", 0o755),
    ("/tmp", 0o1777),
    ("/root", 0o700),
    ("/mnt", 0o755),
    ("/home", 0o755),
    ("/var/log", 0o755),
    ("/var/tmp", 0o1777),
    ("/usr/bin", 0o755),
];

/// Builds the tree.
pub fn default_initramfs(workspace: &Workspace, programs: &Programs) -> Result<Initramfs> {
    let tree = FOLDERS
        .iter()
        .fold(Initramfs::new(), |tree, (path, permissions)| {
            tree.dir(path, *permissions)
        });
    let tree = device_nodes(tree).host_file("/init", 0o755, &programs.path("init"))?;
    let tree = with_busybox(tree)?.symlink("/sbin/console-shell", "/init");
    with_folder(tree, "", &workspace.source("boot-image/userspace/root"))
}

/// The nodes that must exist before devtmpfs is mounted: the kernel opens `/dev/console` for the first program.
fn device_nodes(tree: Initramfs) -> Initramfs {
    tree.char_device("/dev/console", 0o600, 5, 1)
        .char_device("/dev/null", 0o666, 1, 3)
}

/// Busybox and a link for each of its applets, where the distribution's busybox wants it.
fn with_busybox(tree: Initramfs) -> Result<Initramfs> {
    let busybox = Path::new(BUSYBOX);
    let applets = capture(
        "asking busybox for its applets",
        Command::new(busybox).arg("--list-full"),
    )?;
    let tree = tree.host_file("/bin/busybox", 0o755, busybox)?;
    Ok(applet_paths(&applets).fold(tree, |tree, path| tree.symlink(path, "/bin/busybox")))
}

/// Applets other than `linuxrc`, the `/init` of initial RAM disks of another age.
fn applet_paths(list: &str) -> impl Iterator<Item = &str> {
    list.lines()
        .map(str::trim)
        .filter(|path| !path.is_empty() && *path != "linuxrc" && *path != "bin/busybox")
}

/// Git keeps no more of a file's permissions than whether it is executable.
fn permissions(path: &str, executable: bool) -> u32 {
    match path {
        SHADOW => 0o600,
        _ if executable => 0o755,
        _ => 0o644,
    }
}

/// Adds the files of a folder of this machine. A file is executable for everyone if its owner may execute it.
fn with_folder(mut tree: Initramfs, prefix: &str, folder: &Path) -> Result<Initramfs> {
    for entry in std::fs::read_dir(folder).doing("read", folder)? {
        let entry = entry.doing("read", folder)?;
        let path = format!("{prefix}/{}", entry.file_name().to_string_lossy());
        let metadata = entry.metadata().doing("examine", &entry.path())?;
        if metadata.is_dir() {
            tree = with_folder(tree, &path, &entry.path())?;
        } else {
            let executable = metadata.permissions().mode() & 0o100 != 0;
            tree = tree.host_file(&path, permissions(&path, executable), &entry.path())?;
        }
    }
    Ok(tree)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn applets_become_links_except_busybox_itself() {
        let paths: Vec<_> = applet_paths("usr/bin/[\nbin/busybox\nlinuxrc\nsbin/init\n").collect();
        assert_eq!(paths, ["usr/bin/[", "sbin/init"]);
    }

    #[test]
    fn the_prompt_is_the_one_that_the_profile_sets() {
        let profile = Workspace::find().source("boot-image/userspace/root/etc/profile");
        let text = std::fs::read_to_string(profile).unwrap();
        assert!(text.contains(r"PS1='kindling:\w\$ '"));
    }

    #[test]
    fn only_root_may_read_the_passwords_and_every_user_has_one() {
        assert_eq!(permissions(SHADOW, false), 0o600);
        assert_eq!(permissions("/etc/passwd", false), 0o644);
        let names = |file: &str| {
            let file = Workspace::find().source(&format!("boot-image/userspace/root{file}"));
            let text = std::fs::read_to_string(file).unwrap();
            let name = |line: &str| line.split(':').next().unwrap().to_owned();
            text.lines().map(name).collect::<Vec<_>>()
        };
        assert_eq!(names(SHADOW), names("/etc/passwd"));
    }

    #[test]
    fn scripts_of_the_root_tree_are_executable() {
        let folder = Workspace::find().source("boot-image/userspace/root");
        let tree = with_folder(Initramfs::new(), "", &folder).unwrap();
        assert!(tree.contains("/etc/inittab"));
        let script = folder.join("etc/init.d/rcS").metadata().unwrap();
        assert_eq!(script.permissions().mode() & 0o111, 0o111);
    }
}
