//! Opening and closing (Linux: fs/open.c).
use crate::fs::file::File;
use crate::prelude::*;
/// Opens a path from the kernel, relative to the running task's root (Linux: `filp_open`).
pub fn filp_open(path: &str, flags: u32, mode: u32) -> Result<Arc<File>> {
    let _ = (path, flags, mode);
    todo!()
}
