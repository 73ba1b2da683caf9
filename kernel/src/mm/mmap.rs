//! User address spaces and their areas (Linux: mm/mmap.c).
#![forbid(unsafe_code)]

/// A user address space (Linux: `struct mm_struct`). Owner: the mm work.
pub struct MmStruct {}
