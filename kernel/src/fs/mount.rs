//! Mounts (Linux: fs/namespace.c).
/// A file system in the tree (Linux: `struct mount`). Owner: fs.
pub struct Mount {}
