//! A sparse array from `u64` to values, in nodes of 64 slots. Linux: lib/xarray.c.
//!
//! Lookup, insertion and search cost one step per six index bits in use. Every node knows which of
//! its slots hold something and which are full below, so ordered walks and the search for a free
//! index skip what does not matter.
#![forbid(unsafe_code)]

use alloc::boxed::Box;
use core::fmt;
use core::ops::RangeBounds;

const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;

struct Inner<T> {
    /// Slots that hold a child.
    present: u64,
    /// Slots whose child has no free index left.
    full: u64,
    children: [Option<Node<T>>; SLOTS],
}

struct Leaf<T> {
    present: u64,
    values: [Option<T>; SLOTS],
}

enum Node<T> {
    Inner(Box<Inner<T>>),
    Leaf(Box<Leaf<T>>),
}

/// The slot of `index` in a node that stands `level` levels above the leaves.
fn slot(index: u64, level: u32) -> usize {
    (index >> (level * SLOT_BITS)) as usize % SLOTS
}

/// The greatest index under a tree of `level`, counted from its first.
fn span(level: u32) -> u64 {
    let bits = (level + 1) * SLOT_BITS;
    if bits >= u64::BITS {
        u64::MAX
    } else {
        (1 << bits) - 1
    }
}

impl<T> Node<T> {
    fn new(level: u32) -> Self {
        if level == 0 {
            Self::Leaf(Box::new(Leaf {
                present: 0,
                values: [const { None }; SLOTS],
            }))
        } else {
            let children = [const { None }; SLOTS];
            Self::Inner(Box::new(Inner {
                present: 0,
                full: 0,
                children,
            }))
        }
    }

    fn present(&self) -> u64 {
        match self {
            Self::Inner(inner) => inner.present,
            Self::Leaf(leaf) => leaf.present,
        }
    }

    fn is_full(&self) -> bool {
        match self {
            Self::Inner(inner) => inner.full == u64::MAX,
            Self::Leaf(leaf) => leaf.present == u64::MAX,
        }
    }

    fn insert(&mut self, level: u32, index: u64, value: T) -> Option<T> {
        let at = slot(index, level);
        match self {
            Self::Leaf(leaf) => {
                leaf.present |= 1 << at;
                leaf.values[at].replace(value)
            }
            Self::Inner(inner) => {
                let child = inner.children[at].get_or_insert_with(|| Self::new(level - 1));
                let old = child.insert(level - 1, index, value);
                inner.present |= 1 << at;
                inner.full |= u64::from(child.is_full()) << at;
                old
            }
        }
    }

    fn remove(&mut self, level: u32, index: u64) -> Option<T> {
        let at = slot(index, level);
        match self {
            Self::Leaf(leaf) => {
                leaf.present &= !(1 << at);
                leaf.values[at].take()
            }
            Self::Inner(inner) => {
                let child = inner.children[at].as_mut()?;
                let old = child.remove(level - 1, index)?;
                inner.full &= !(1 << at);
                if child.present() == 0 {
                    inner.children[at] = None;
                    inner.present &= !(1 << at);
                }
                Some(old)
            }
        }
    }

    /// The first value at `start` or above.
    fn find(&self, level: u32, start: u64) -> Option<(u64, &T)> {
        let first = slot(start, level);
        let mut candidates = self.present() & (u64::MAX << first);
        while candidates != 0 {
            let at = candidates.trailing_zeros() as usize;
            candidates &= candidates - 1;
            let base = (at as u64) << (level * SLOT_BITS);
            match self {
                Self::Leaf(leaf) => return leaf.values[at].as_ref().map(|value| (base, value)),
                Self::Inner(inner) => {
                    let start = if at == first {
                        start & span(level - 1)
                    } else {
                        0
                    };
                    let child = inner.children[at].as_ref()?;
                    if let Some((index, value)) = child.find(level - 1, start) {
                        return Some((base | index, value));
                    }
                }
            }
        }
        None
    }

    /// The last value at `end` or below.
    fn find_back(&self, level: u32, end: u64) -> Option<(u64, &T)> {
        let last = slot(end, level);
        let mut candidates = self.present() & (u64::MAX >> (SLOTS - 1 - last));
        while candidates != 0 {
            let at = SLOTS - 1 - candidates.leading_zeros() as usize;
            candidates &= !(1 << at);
            let base = (at as u64) << (level * SLOT_BITS);
            match self {
                Self::Leaf(leaf) => return leaf.values[at].as_ref().map(|value| (base, value)),
                Self::Inner(inner) => {
                    let end = if at == last { end } else { u64::MAX };
                    let child = inner.children[at].as_ref()?;
                    if let Some((index, value)) = child.find_back(level - 1, end & span(level - 1))
                    {
                        return Some((base | index, value));
                    }
                }
            }
        }
        None
    }

    /// The first index without a value at `start` or above, `None` if this subtree is full there.
    fn find_free(&self, level: u32, start: u64) -> Option<u64> {
        let first = slot(start, level);
        let busy = match self {
            Self::Inner(inner) => inner.full,
            Self::Leaf(leaf) => leaf.present,
        };
        let mut candidates = !busy & (u64::MAX << first);
        while candidates != 0 {
            let at = candidates.trailing_zeros() as usize;
            candidates &= candidates - 1;
            // The top level has fewer slots than bits: what falls off is no index.
            let base = (at as u64).checked_shl(level * SLOT_BITS)?;
            if base >> (level * SLOT_BITS) != at as u64 {
                return None;
            }
            let start = if at == first && level > 0 {
                start & span(level - 1)
            } else {
                0
            };
            match self {
                Self::Leaf(_) => return Some(base),
                Self::Inner(inner) => match &inner.children[at] {
                    None => return Some(base | start),
                    Some(child) => match child.find_free(level - 1, start) {
                        Some(index) => return Some(base | index),
                        None => continue,
                    },
                },
            }
        }
        None
    }
}

/// The array. It allocates nothing while it is empty.
pub struct XArray<T> {
    root: Option<Node<T>>,
    /// Levels of inner nodes above the leaves.
    level: u32,
    len: usize,
}

impl<T> XArray<T> {
    /// The empty array.
    pub const fn new() -> Self {
        Self {
            root: None,
            level: 0,
            len: 0,
        }
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if there is no value.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The value at `index`. Linux: `xa_load`.
    pub fn get(&self, index: u64) -> Option<&T> {
        if index > span(self.level) {
            return None;
        }
        let mut node = self.root.as_ref()?;
        let mut level = self.level;
        loop {
            match node {
                Node::Leaf(leaf) => return leaf.values[slot(index, 0)].as_ref(),
                Node::Inner(inner) => node = inner.children[slot(index, level)].as_ref()?,
            }
            level -= 1;
        }
    }

    /// The value at `index`, to be changed in place.
    pub fn get_mut(&mut self, index: u64) -> Option<&mut T> {
        if index > span(self.level) {
            return None;
        }
        let mut node = self.root.as_mut()?;
        let mut level = self.level;
        loop {
            match node {
                Node::Leaf(leaf) => return leaf.values[slot(index, 0)].as_mut(),
                Node::Inner(inner) => node = inner.children[slot(index, level)].as_mut()?,
            }
            level -= 1;
        }
    }

    /// True if there is a value at `index`.
    pub fn contains(&self, index: u64) -> bool {
        self.get(index).is_some()
    }

    /// Stores `value` at `index` and returns what was there. Linux: `xa_store`.
    pub fn insert(&mut self, index: u64, value: T) -> Option<T> {
        self.grow(index);
        let level = self.level;
        let root = self.root.get_or_insert_with(|| Node::new(level));
        let old = root.insert(level, index, value);
        self.len += usize::from(old.is_none());
        old
    }

    /// Adds levels on top until the tree reaches `index`.
    fn grow(&mut self, index: u64) {
        while index > span(self.level) {
            self.level += 1;
            let Some(old) = self.root.take() else {
                continue;
            };
            let full = u64::from(old.is_full());
            let mut children = [const { None }; SLOTS];
            children[0] = Some(old);
            self.root = Some(Node::Inner(Box::new(Inner {
                present: 1,
                full,
                children,
            })));
        }
    }

    /// Takes the value at `index` out. Linux: `xa_erase`.
    pub fn remove(&mut self, index: u64) -> Option<T> {
        if index > span(self.level) {
            return None;
        }
        let old = self.root.as_mut()?.remove(self.level, index)?;
        self.len -= 1;
        self.shrink();
        Some(old)
    }

    /// Drops levels whose only child is their first, and an empty root.
    fn shrink(&mut self) {
        if self.len == 0 {
            self.root = None;
            self.level = 0;
        }
        while let Some(Node::Inner(inner)) = &mut self.root
            && inner.present == 1
        {
            self.root = inner.children[0].take();
            self.level -= 1;
        }
    }

    /// Takes all values out.
    pub fn clear(&mut self) {
        *self = Self::new();
    }

    /// The first value at `start` or above. Linux: `xa_find`.
    pub fn find(&self, start: u64) -> Option<(u64, &T)> {
        if start > span(self.level) {
            return None;
        }
        self.root.as_ref()?.find(self.level, start)
    }

    /// The last value at `end` or below.
    pub fn find_back(&self, end: u64) -> Option<(u64, &T)> {
        self.root
            .as_ref()?
            .find_back(self.level, end.min(span(self.level)))
    }

    /// The first index at `start` or above that has no value; `None` if all are taken.
    pub fn find_free(&self, start: u64) -> Option<u64> {
        let Some(root) = &self.root else {
            return Some(start);
        };
        if start > span(self.level) {
            return Some(start);
        }
        root.find_free(self.level, start)
            .or_else(|| span(self.level).checked_add(1))
    }

    /// The values in the range, in rising order of their indexes. Linux: `xa_for_each_range`.
    pub fn range(&self, range: impl RangeBounds<u64>) -> Range<'_, T> {
        let bounds = range_bounds(&range);
        Range {
            array: self,
            next: bounds.map(|(start, _)| start),
            last: bounds.map_or(0, |b| b.1),
        }
    }

    /// All values, in rising order of their indexes. Linux: `xa_for_each`.
    pub fn iter(&self) -> Range<'_, T> {
        self.range(..)
    }

    /// Takes the values in the range out and hands each to `removed`, in rising order.
    pub fn remove_range(&mut self, range: impl RangeBounds<u64>, mut removed: impl FnMut(u64, T)) {
        let Some((mut start, last)) = range_bounds(&range) else {
            return;
        };
        while let Some((index, _)) = self.find(start).filter(|(index, _)| *index <= last) {
            if let Some(value) = self.remove(index) {
                removed(index, value);
            }
            let Some(next) = index.checked_add(1) else {
                break;
            };
            start = next;
        }
    }
}

/// The first and the last index of a range, `None` if it is empty.
fn range_bounds(range: &impl RangeBounds<u64>) -> Option<(u64, u64)> {
    use core::ops::Bound::{Excluded, Included, Unbounded};
    let first = match range.start_bound() {
        Included(&start) => start,
        Excluded(&start) => start.checked_add(1)?,
        Unbounded => 0,
    };
    let last = match range.end_bound() {
        Included(&end) => end,
        Excluded(&end) => end.checked_sub(1)?,
        Unbounded => u64::MAX,
    };
    (first <= last).then_some((first, last))
}

/// Values of an [`XArray`] in rising order.
pub struct Range<'a, T> {
    array: &'a XArray<T>,
    next: Option<u64>,
    last: u64,
}

impl<'a, T> Iterator for Range<'a, T> {
    type Item = (u64, &'a T);

    fn next(&mut self) -> Option<Self::Item> {
        let found = self
            .array
            .find(self.next?)
            .filter(|(index, _)| *index <= self.last);
        self.next = found.and_then(|(index, _)| index.checked_add(1));
        found
    }
}

impl<T> Default for XArray<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: fmt::Debug> fmt::Debug for XArray<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;
    use alloc::vec::Vec;

    #[test]
    fn a_value_is_found_where_it_was_put() {
        let mut array = XArray::new();
        for index in [0, 1, 63, 64, 4095, 4096, 1 << 40, u64::MAX] {
            assert_eq!(array.insert(index, index), None);
        }
        assert_eq!(array.insert(64, 5), Some(64));
        assert_eq!(
            (array.get(64), array.get(65), array.len()),
            (Some(&5), None, 8)
        );
        *array.get_mut(u64::MAX).unwrap() = 9;
        assert_eq!(array.find_back(u64::MAX), Some((u64::MAX, &9)));
    }

    #[test]
    fn an_empty_array_owns_no_node_again() {
        let mut array = XArray::new();
        array.insert(1 << 50, ());
        array.insert(3, ());
        assert_eq!(array.remove(1 << 50), Some(()));
        assert_eq!(
            array.level, 0,
            "the tree is as low as its greatest index allows"
        );
        assert_eq!((array.remove(3), array.remove(3)), (Some(()), None));
        assert!(array.root.is_none() && array.is_empty());
    }

    #[test]
    fn ranges_come_in_order_and_respect_their_ends() {
        let array: XArray<u64> = {
            let mut array = XArray::new();
            [900, 5, 70, 6, u64::MAX].iter().for_each(|&i| {
                array.insert(i, i);
            });
            array
        };
        let indexes = |range: Range<'_, u64>| range.map(|(i, _)| i).collect::<Vec<_>>();
        assert_eq!(indexes(array.iter()), [5, 6, 70, 900, u64::MAX]);
        assert_eq!(indexes(array.range(6..900)), [6, 70]);
        assert_eq!(indexes(array.range(7..=900)), [70, 900]);
        assert_eq!(indexes(array.range(5..5)), []);
        assert_eq!(array.find(71), Some((900, &900)));
        assert_eq!(array.find_back(69), Some((6, &6)));
        assert_eq!(array.find_back(4), None);
    }

    #[test]
    fn the_first_free_index_is_found_across_full_nodes() {
        let mut array = XArray::new();
        assert_eq!(array.find_free(7), Some(7));
        (0..4096u64).for_each(|i| {
            array.insert(i, ());
        });
        assert_eq!(array.find_free(0), Some(4096));
        assert_eq!(array.find_free(5000), Some(5000));
        array.remove(1000);
        assert_eq!(
            (array.find_free(0), array.find_free(1001)),
            (Some(1000), Some(4096))
        );
        array.insert(u64::MAX, ());
        assert_eq!(array.find_free(u64::MAX), None);
        assert_eq!(array.find_free(u64::MAX - 1), Some(u64::MAX - 1));
    }

    #[test]
    fn truncation_hands_the_values_out() {
        let mut array = XArray::new();
        (0..200u64).for_each(|i| {
            array.insert(i * 3, i);
        });
        let mut sum = 0;
        array.remove_range(300.., |index, value| {
            assert_eq!(index, value * 3);
            sum += 1;
        });
        assert_eq!((sum, array.len()), (100, 100));
    }

    #[test]
    fn it_agrees_with_a_map_over_many_random_steps() {
        let (mut array, mut map) = (XArray::new(), BTreeMap::new());
        let mut state = 12345u64;
        for step in 0..20_000 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let shift = [0, 0, 6, 20, 58][(state >> 33) as usize % 5];
            let index = ((state >> 40) % 150) << shift;
            if state >> 62 < 2 {
                assert_eq!(array.insert(index, step), map.insert(index, step));
            } else {
                assert_eq!(array.remove(index), map.remove(&index));
            }
            let next = map.range(index..).next().map(|(&i, v)| (i, v));
            assert_eq!(array.find(index), next);
            let back = map.range(..=index).next_back().map(|(&i, v)| (i, v));
            assert_eq!(array.find_back(index), back);
            let free = (index..).find(|i| !map.contains_key(i));
            assert_eq!(array.find_free(index), free);
        }
        assert!(array.iter().eq(map.iter().map(|(&i, v)| (i, v))));
        assert_eq!(array.len(), map.len());
    }
}
