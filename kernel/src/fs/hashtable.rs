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

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// Number of bytes before the first `byte` of a little-endian word, `None` without one
/// (Linux: asm/word-at-a-time.h).
#[inline]
pub const fn find_in_word(word: u64, byte: u8) -> Option<u32> {
    let zeroes = word ^ (ONES * byte as u64);
    let found = zeroes.wrapping_sub(ONES) & !zeroes & HIGHS;
    match found {
        0 => None,
        found => Some(found.trailing_zeros() / 8),
    }
}

/// The last `len` bytes of `bytes`, fewer than eight, as a word.
#[inline]
fn tail_word(bytes: &[u8], len: usize) -> u64 {
    if len == 0 {
        return 0;
    }
    if let Some(last) = bytes.last_chunk::<8>() {
        return u64::from_le_bytes(*last) >> (64 - 8 * len);
    }
    let tail = bytes.iter().rev().take(len);
    tail.fold(0, |word, &byte| word << 8 | u64::from(byte))
}

/// Length and hash of the path component that `bytes` begin with: it ends at a slash or with
/// them. Eight bytes at a time (Linux: fs/namei.c, `hash_name`).
#[inline]
pub fn scan_component(seed: u64, bytes: &[u8]) -> (usize, u64) {
    let mut hash = seed;
    let (words, tail) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        if let Some(before) = find_in_word(word, b'/') {
            let len = index * 8 + before as usize;
            let part = word & ((1 << (8 * before)) - 1);
            return (len, mix(mix(hash, part), len as u64));
        }
        hash = mix(hash, word);
    }
    let word = tail_word(bytes, tail.len());
    let (before, part) = match find_in_word(word, b'/') {
        Some(before) => (before as usize, word & ((1 << (8 * before)) - 1)),
        None => (tail.len(), word),
    };
    let len = words.len() * 8 + before;
    (len, mix(mix(hash, part), len as u64))
}

/// Hashes a name, as `scan_component` does it.
#[inline]
pub fn hash_bytes(seed: u64, bytes: &[u8]) -> u64 {
    let mut hash = seed;
    let (words, tail) = bytes.as_chunks::<8>();
    for word in words {
        hash = mix(hash, u64::from_le_bytes(*word));
    }
    let word = tail_word(bytes, tail.len());
    mix(mix(hash, word), bytes.len() as u64)
}

/// Whether two names are the same: inline, because most are shorter than a call.
#[inline]
pub fn same_name(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let (a_words, a_tail) = a.as_chunks::<8>();
    let (b_words, b_tail) = b.as_chunks::<8>();
    let differs = |(a, b): (&[u8; 8], &[u8; 8])| u64::from_le_bytes(*a) != u64::from_le_bytes(*b);
    if a_words.iter().zip(b_words).any(differs) {
        return false;
    }
    match (a.last_chunk::<8>(), b.last_chunk::<8>()) {
        (Some(a), Some(b)) => u64::from_le_bytes(*a) == u64::from_le_bytes(*b),
        _ => a_tail.iter().zip(b_tail).all(|(a, b)| a == b),
    }
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
    fn a_component_is_cut_and_hashed_at_its_slash() {
        let text = b"abcdefghijklmnopqrstuvwxyz";
        for len in 0..=text.len() {
            let name = &text[..len];
            let hash = hash_bytes(3, name);
            assert_eq!(scan_component(3, name), (len, hash));
            for rest in ["/", "/x", "/longer/than/eight"] {
                let path = [name, rest.as_bytes()].concat();
                assert_eq!(scan_component(3, &path), (len, hash), "{len} {rest}");
            }
            assert!(same_name(name, name));
            for at in 0..len {
                let mut other = name.to_vec();
                other[at] ^= 1;
                assert!(!same_name(name, &other));
                assert_ne!(hash_bytes(3, &other), hash);
            }
        }
        assert!(!same_name(b"a", b"ab"));
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
