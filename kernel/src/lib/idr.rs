//! Small numbers for objects: process ids, IPC ids, minor numbers. Linux: lib/idr.c.
#![forbid(unsafe_code)]

use core::ops::Range;

use uapi::errno::Errno;

use super::xarray::XArray;

/// Objects under ids that it hands out.
#[derive(Debug)]
pub struct Idr<T> {
    entries: XArray<T>,
    /// Where the next cyclic search starts.
    next: u64,
}

impl<T> Idr<T> {
    /// No ids in use.
    pub const fn new() -> Self {
        Self {
            entries: XArray::new(),
            next: 0,
        }
    }

    /// Puts `value` under the lowest free id of `ids`. Linux: `idr_alloc`.
    ///
    /// # Errors
    /// `ENOSPC` if all of them are in use; `value` is dropped.
    pub fn alloc(&mut self, value: T, ids: Range<u64>) -> Result<u64, Errno> {
        let id = self.free_in(ids.start, ids.end).ok_or(Errno::ENOSPC)?;
        self.entries.insert(id, value);
        Ok(id)
    }

    /// Puts `value` under the first free id after the one that the last call gave, starting over
    /// at the start of `ids`: an id is used again as late as possible. Linux: `idr_alloc_cyclic`.
    ///
    /// # Errors
    /// `ENOSPC` if all of them are in use; `value` is dropped.
    pub fn alloc_cyclic(&mut self, value: T, ids: Range<u64>) -> Result<u64, Errno> {
        let start = self.next.max(ids.start);
        let id = self
            .free_in(start, ids.end)
            .or_else(|| self.free_in(ids.start, ids.end))
            .ok_or(Errno::ENOSPC)?;
        self.entries.insert(id, value);
        self.next = id + 1;
        Ok(id)
    }

    fn free_in(&self, start: u64, end: u64) -> Option<u64> {
        self.entries.find_free(start).filter(|&id| id < end)
    }

    /// Where the next cyclic search starts. Linux: `idr_get_cursor`.
    pub fn cursor(&self) -> u64 {
        self.next
    }

    /// Makes the next cyclic search start at `id`. Linux: `idr_set_cursor`.
    pub fn set_cursor(&mut self, id: u64) {
        self.next = id;
    }

    /// The object under `id`. Linux: `idr_find`.
    pub fn get(&self, id: u64) -> Option<&T> {
        self.entries.get(id)
    }

    /// The object under `id`, to be changed in place.
    pub fn get_mut(&mut self, id: u64) -> Option<&mut T> {
        self.entries.get_mut(id)
    }

    /// Puts another object under an id in use and returns the old one; `None`, and `value` is
    /// dropped, if the id is free. Linux: `idr_replace`.
    pub fn replace(&mut self, id: u64, value: T) -> Option<T> {
        self.entries
            .get_mut(id)
            .map(|entry| core::mem::replace(entry, value))
    }

    /// Frees `id`. Linux: `idr_remove`.
    pub fn remove(&mut self, id: u64) -> Option<T> {
        self.entries.remove(id)
    }

    /// The first id in use at `start` or above, and its object. Linux: `idr_get_next`.
    pub fn find(&self, start: u64) -> Option<(u64, &T)> {
        self.entries.find(start)
    }

    /// All ids in use, in rising order. Linux: `idr_for_each_entry`.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &T)> {
        self.entries.iter()
    }

    /// Number of ids in use.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True if no id is in use.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl<T> Default for Idr<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// Ids without objects.
pub type Ida = Idr<()>;

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn the_lowest_free_id_is_given_first() {
        let mut idr = Idr::new();
        assert_eq!((idr.alloc('a', 1..4), idr.alloc('b', 1..4)), (Ok(1), Ok(2)));
        assert_eq!(idr.remove(1), Some('a'));
        assert_eq!((idr.alloc('c', 1..4), idr.alloc('d', 1..4)), (Ok(1), Ok(3)));
        assert_eq!(idr.alloc('e', 1..4), Err(Errno::ENOSPC));
        assert_eq!(
            idr.iter().collect::<Vec<_>>(),
            [(1, &'c'), (2, &'b'), (3, &'d')]
        );
    }

    #[test]
    fn a_cyclic_id_is_not_used_again_before_the_others_were() {
        let mut idr = Idr::new();
        assert_eq!(idr.alloc_cyclic((), 300..303), Ok(300));
        idr.remove(300);
        assert_eq!(idr.alloc_cyclic((), 300..303), Ok(301));
        assert_eq!(idr.alloc_cyclic((), 300..303), Ok(302));
        assert_eq!(idr.alloc_cyclic((), 300..303), Ok(300), "it starts over");
        assert_eq!(idr.alloc_cyclic((), 300..303), Err(Errno::ENOSPC));
        idr.set_cursor(1);
        assert_eq!((idr.alloc_cyclic((), 1..400), idr.cursor()), (Ok(1), 2));
    }

    #[test]
    fn an_object_can_be_replaced_only_under_an_id_in_use() {
        let mut idr = Idr::new();
        idr.alloc(1, 0..10).unwrap();
        assert_eq!((idr.replace(0, 2), idr.replace(1, 3)), (Some(1), None));
        assert_eq!(
            (idr.get(0), idr.get(1), idr.find(1), idr.len()),
            (Some(&2), None, None, 1)
        );
    }
}
