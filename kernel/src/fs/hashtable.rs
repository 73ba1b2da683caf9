//! The VFS's large hash tables (Linux: `alloc_large_system_hash`, include/linux/list_bl.h).
//!
//! A table is an index, not an owner: it holds weak handles, and an object leaves it when it is
//! dropped. Each bucket has its own lock, held for a few instructions; nothing is dropped and
//! nothing else is locked under it (an RCU walk would replace `find` alone).
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU32, Ordering};

use crate::arch::PAGE_SIZE;
use crate::prelude::*;

type Bucket<T> = SpinLock<Vec<(u64, Weak<T>)>>;

/// A hash table of weak handles, sized once at boot. Its memory is taken at the first use: the
/// size is known, and said, before there is a heap that could hold it.
pub struct WeakTable<T> {
    log2: AtomicU32,
    buckets: spin::Once<Box<[Bucket<T>]>>,
}

/// Buckets of a table that nobody sized (unit tests).
const DEFAULT_LOG2: u32 = 8;

impl<T> WeakTable<T> {
    /// A table without buckets yet.
    pub const fn new() -> Self {
        Self {
            log2: AtomicU32::new(DEFAULT_LOG2),
            buckets: spin::Once::new(),
        }
    }

    /// Plans one bucket for each `1 << scale` bytes of `total_bytes` of memory, at least one
    /// page of them, and says so as Linux does. Context: boot, before the first use.
    pub fn init(&self, name: &str, total_bytes: u64, scale: u32) {
        let bucket_bytes = size_of::<Bucket<T>>() as u64;
        let least = (PAGE_SIZE as u64 / bucket_bytes).max(1);
        let entries = (total_bytes >> scale).max(least).next_power_of_two();
        let bytes = entries * bucket_bytes;
        let order = bytes.div_ceil(PAGE_SIZE as u64).next_power_of_two().ilog2();
        self.log2.store(entries.ilog2(), Ordering::Relaxed);
        pr_info!("{name} hash table entries: {entries} (order: {order}, {bytes} bytes, linear)");
    }

    #[cold]
    fn allocate(&self) -> &[Bucket<T>] {
        let count = 1usize << self.log2.load(Ordering::Relaxed);
        let empty = |_| SpinLock::new(Vec::new());
        self.buckets.call_once(|| (0..count).map(empty).collect())
    }

    #[inline]
    fn bucket(&self, hash: u64) -> &Bucket<T> {
        let buckets = match self.buckets.get() {
            Some(buckets) => buckets,
            None => self.allocate(),
        };
        &buckets[hash as usize & (buckets.len() - 1)]
    }

    /// Adds an object under `hash`.
    pub fn insert(&self, hash: u64, object: &Arc<T>) {
        let weak = Arc::downgrade(object);
        self.bucket(hash).lock().push((hash, weak));
    }

    /// Removes the object at `address` that was added under `hash`; false when it is not there.
    pub fn remove(&self, hash: u64, address: *const T) -> bool {
        let removed = {
            let mut bucket = self.bucket(hash).lock();
            let found = bucket
                .iter()
                .position(|(_, weak)| core::ptr::addr_eq(weak.as_ptr(), address));
            found.map(|index| bucket.swap_remove(index))
        };
        removed.is_some()
    }

    /// The object under `hash` for which `matches` holds.
    #[inline]
    pub fn find(&self, hash: u64, matches: impl Fn(&Arc<T>) -> bool) -> Option<Arc<T>> {
        let first = {
            let bucket = self.bucket(hash).lock();
            bucket.iter().find(|(key, _)| *key == hash)?.1.upgrade()
        };
        match first {
            Some(object) if matches(&object) => Some(object),
            _ => self.find_slow(hash, matches),
        }
    }

    /// Two objects have the same 64-bit hash, or the first one is just going away.
    #[cold]
    fn find_slow(&self, hash: u64, matches: impl Fn(&Arc<T>) -> bool) -> Option<Arc<T>> {
        let candidates: Vec<Arc<T>> = {
            let bucket = self.bucket(hash).lock();
            bucket
                .iter()
                .filter(|(key, _)| *key == hash)
                .filter_map(|(_, weak)| weak.upgrade())
                .collect()
        };
        candidates.into_iter().find(|object| matches(object))
    }
}

impl<T> Default for WeakTable<T> {
    fn default() -> Self {
        Self::new()
    }
}

const MIX: u64 = 0x9e37_79b9_7f4a_7c15;

/// Mixes one word into a hash.
#[inline]
pub const fn mix(hash: u64, word: u64) -> u64 {
    let product = (hash ^ word).wrapping_mul(MIX);
    product ^ (product >> 29)
}

/// Hashes a name eight bytes at a time (Linux: fs/namei.c, `hash_name`).
#[inline]
pub fn hash_bytes(seed: u64, bytes: &[u8]) -> u64 {
    let mut hash = mix(seed, bytes.len() as u64);
    let (words, tail) = bytes.as_chunks::<8>();
    for word in words {
        hash = mix(hash, u64::from_le_bytes(*word));
    }
    let mut last = 0u64;
    for &byte in tail {
        last = last << 8 | u64::from(byte);
    }
    mix(hash, last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_found_until_it_is_removed() {
        let table = WeakTable::new();
        let (a, b) = (Arc::new(1), Arc::new(2));
        table.insert(7, &a);
        table.insert(7, &b);
        assert_eq!(table.find(7, |x| **x == 2).as_deref(), Some(&2));
        assert!(table.remove(7, Arc::as_ptr(&b)));
        assert!(!table.remove(7, Arc::as_ptr(&b)));
        assert!(table.find(7, |x| **x == 2).is_none());
        assert_eq!(table.find(7, |_| true).as_deref(), Some(&1));
    }

    #[test]
    fn names_that_differ_only_in_length_hash_differently() {
        let names: [&[u8]; 5] = [b"", b"\0", b"\0\0", b"aaaaaaaa", b"aaaaaaaaa"];
        for (i, a) in names.iter().enumerate() {
            for b in &names[..i] {
                assert_ne!(hash_bytes(1, a), hash_bytes(1, b));
            }
        }
    }
}
