//! `llvm-objcopy` and `llvm-objdump`, which the boot loader's build script looks for beside the compiler.
//!
//! Without rustup's component llvm-tools there is still `rust-objcopy`, the same program under the compiler's own
//! name; the build script only runs objcopy and only looks whether objdump is there.

use std::os::unix::fs::symlink;

use crate::error::{Error, FileContext, Result};
use crate::setup::Toolchain;

const ORIGINAL: &str = "rust-objcopy";
const WANTED: [&str; 2] = ["llvm-objcopy", "llvm-objdump"];

/// Whether [`ensure`] has something to do.
pub fn are_missing(toolchain: &Toolchain) -> bool {
    WANTED
        .iter()
        .any(|name| !toolchain.tools().join(name).exists())
}

/// Links the missing names to the compiler's own copy.
pub fn ensure(toolchain: &Toolchain) -> Result<()> {
    let folder = toolchain.tools();
    for name in WANTED.iter().filter(|name| !folder.join(name).exists()) {
        if !folder.join(ORIGINAL).is_file() {
            return Err(no_original(toolchain));
        }
        let link = folder.join(name);
        symlink(ORIGINAL, &link).doing("create", &link)?;
    }
    Ok(())
}

fn no_original(toolchain: &Toolchain) -> Error {
    Error::Missing {
        what: format!(
            "The tools {} are not part of this Rust {}.",
            WANTED.join(" and "),
            toolchain.release
        ),
        command: "rustup component add llvm-tools".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch() -> (tempfile::TempDir, Toolchain) {
        let folder = tempfile::tempdir().unwrap();
        let toolchain = Toolchain {
            sysroot: folder.path().to_owned(),
            host: "h".into(),
            release: "1.0.0".into(),
        };
        std::fs::create_dir_all(toolchain.tools()).unwrap();
        (folder, toolchain)
    }

    #[test]
    fn both_names_become_links_and_the_second_time_nothing_happens() {
        let (_folder, toolchain) = scratch();
        std::fs::write(toolchain.tools().join(ORIGINAL), "program").unwrap();
        assert!(are_missing(&toolchain));
        ensure(&toolchain).unwrap();
        assert!(!are_missing(&toolchain));
        ensure(&toolchain).unwrap();
        let text = std::fs::read_to_string(toolchain.tools().join("llvm-objcopy")).unwrap();
        assert_eq!(text, "program");
    }

    #[test]
    fn without_the_original_the_command_to_type_is_given() {
        let (_folder, toolchain) = scratch();
        let error = ensure(&toolchain).unwrap_err().to_string();
        assert!(error.contains("rustup component add llvm-tools"), "{error}");
    }
}
