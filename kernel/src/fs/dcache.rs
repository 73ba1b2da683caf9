//! Names and their cache (Linux: fs/dcache.c).
/// A cached name (Linux: `struct dentry`). Owner: fs.
pub struct Dentry {}
