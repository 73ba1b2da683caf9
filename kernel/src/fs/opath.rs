//! What a descriptor opened with O_PATH can do: nothing but name a place
//! (Linux: fs/open.c, `empty_fops`).
#![forbid(unsafe_code)]

use crate::fs::file::FileOperations;
use crate::prelude::*;

struct OPath;

impl FileOperations for OPath {}

/// The shared operations of every O_PATH file.
pub fn opath_operations() -> Arc<dyn FileOperations> {
    static OPS: spin::Once<Arc<OPath>> = spin::Once::new();
    OPS.call_once(|| Arc::new(OPath)).clone()
}
