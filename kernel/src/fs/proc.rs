//! procfs (Linux: fs/proc/).
use crate::prelude::*;
/// Creates a read-only text file below /proc; `show` makes the whole text at each open
/// (Linux: `proc_create_single`). `path` may have slashes; directories are made as needed.
pub fn proc_create_single(
    path: &'static str,
    mode: u32,
    show: fn(&mut String) -> Result,
) -> Result {
    let _ = (path, mode, show);
    todo!()
}
