//! Inodes (Linux: fs/inode.c, include/linux/fs.h).
use crate::mm::filemap::AddressSpace;
use crate::prelude::*;
/// A file without its name (Linux: `struct inode`). Owner: fs.
pub struct Inode {
    /// Page cache, for regular files.
    pub mapping: Option<Arc<AddressSpace>>,
}
impl Inode {
    /// Size in bytes.
    pub fn size(&self) -> u64 {
        todo!()
    }
    /// File type and permission bits (S_IF*, S_I*).
    pub fn mode(&self) -> u32 {
        todo!()
    }
}
