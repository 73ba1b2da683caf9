//! Where things are: the source tree and the folders of generated files.

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::error::{FileContext, Result};

/// The checked-out source tree.
#[derive(Clone, Debug)]
pub struct Workspace {
    root: PathBuf,
}

impl Workspace {
    /// The tree that this program was compiled from.
    pub fn find() -> Self {
        let package = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = package.parent().unwrap_or(package);
        Self {
            root: root.to_owned(),
        }
    }

    /// The top folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A file or folder of the source tree.
    pub fn source(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// A generated file or folder. All of them are under `target`.
    pub fn target(&self, path: &str) -> PathBuf {
        self.root.join("target").join(path)
    }

    /// A folder under `target`, created if it is not there.
    pub fn target_dir(&self, path: &str) -> Result<PathBuf> {
        let folder = self.target(path);
        std::fs::create_dir_all(&folder).doing("create", &folder)?;
        Ok(folder)
    }

    /// Waits until no other process holds the lock of this name. It is released when the file is dropped.
    pub fn lock(&self, name: &str) -> Result<File> {
        let path = self.target_dir("locks")?.join(name);
        let file = File::create(&path).doing("create", &path)?;
        file.lock().doing("lock", &path)?;
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workspace_is_the_folder_with_the_kernel() {
        assert!(Workspace::find().source("kernel/Cargo.toml").is_file());
    }
}
