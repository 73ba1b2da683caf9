//! The generator behind getrandom(2) and the pool that feeds it, without their globals.
//! Linux: drivers/char/random.c.
#![forbid(unsafe_code)]

use super::crypto::blake2s::{Blake2s, blake2s_keyed};
use super::crypto::chacha::{BLOCK_SIZE, ChaCha20, KEY_SIZE};

/// Bits that the pool must hold before the generator counts as seeded. Linux: `POOL_READY_BITS`.
pub const POOL_READY_BITS: usize = 256;

/// A ChaCha20 generator that forgets: each request replaces the key before bytes leave, so that
/// who learns the state later cannot work out what it produced earlier (fast key erasure).
#[derive(Clone)]
pub struct Crng {
    key: [u8; KEY_SIZE],
    /// How often the key came from the pool.
    generation: u64,
}

impl Crng {
    /// A generator that every observer can predict until [`Crng::reseed`].
    pub const fn new() -> Self {
        Self {
            key: [0; KEY_SIZE],
            generation: 0,
        }
    }

    /// Folds `seed` into the key; what was secret stays secret.
    pub fn reseed(&mut self, seed: &[u8]) {
        self.key = blake2s_keyed(&self.key, seed);
        self.generation += 1;
    }

    /// Number of [`Crng::reseed`] calls; per-CPU copies compare it to see that they are stale.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Fills `out` with random bytes. Linux: `crng_fast_key_erasure`, `_get_random_bytes`.
    pub fn fill(&mut self, out: &mut [u8]) {
        let mut stream = ChaCha20::new(&self.key, 0, &[0; 12]);
        let first = stream.block();
        let (next_key, spare) = first.split_at(KEY_SIZE);
        self.key.copy_from_slice(next_key);
        let (head, tail) = out.split_at_mut(out.len().min(spare.len()));
        head.copy_from_slice(&spare[..head.len()]);
        for piece in tail.chunks_mut(BLOCK_SIZE) {
            piece.copy_from_slice(&stream.block()[..piece.len()]);
        }
    }

    /// A generator for another CPU: its key is an output of this one. Linux: `crng_make_state`.
    pub fn split(&mut self) -> Self {
        let mut key = [0; KEY_SIZE];
        self.fill(&mut key);
        Self {
            key,
            generation: self.generation,
        }
    }
}

impl Default for Crng {
    fn default() -> Self {
        Self::new()
    }
}

/// Entropy being collected: a hash over everything that was mixed in. Linux: `input_pool`.
#[derive(Clone)]
pub struct InputPool {
    hash: Blake2s,
    entropy_bits: usize,
}

impl InputPool {
    /// An empty pool.
    pub const fn new() -> Self {
        Self {
            hash: Blake2s::new(),
            entropy_bits: 0,
        }
    }

    /// Adds bytes that are worth no entropy by themselves. Linux: `mix_pool_bytes`.
    pub fn mix(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
    }

    /// Says that the bytes mixed in were worth `bits`; true if the pool just became ready.
    /// Linux: `credit_init_bits`.
    pub fn credit(&mut self, bits: usize) -> bool {
        let before = self.entropy_bits;
        self.entropy_bits = (before + bits).min(POOL_READY_BITS);
        before < POOL_READY_BITS && self.entropy_bits == POOL_READY_BITS
    }

    /// Entropy credited, in bits, at most [`POOL_READY_BITS`].
    pub fn entropy_bits(&self) -> usize {
        self.entropy_bits
    }

    /// Draws a seed and goes on with a pool that does not give it away. `rdseed` is whatever the
    /// CPU's own generator offers, possibly nothing. Linux: `extract_entropy`.
    pub fn extract(&mut self, rdseed: &[u8]) -> [u8; KEY_SIZE] {
        let seed = core::mem::take(&mut self.hash).finish();
        let derive = |counter: u8| {
            let mut prf = Blake2s::keyed(&seed);
            prf.update(rdseed);
            prf.update(&[counter]);
            prf.finish()
        };
        self.hash = Blake2s::keyed(&derive(0));
        derive(1)
    }
}

impl Default for InputPool {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn two_requests_give_different_bytes_and_equal_seeds_equal_ones() {
        let (mut a, mut b) = (Crng::new(), Crng::new());
        a.reseed(b"seed");
        b.reseed(b"seed");
        let (mut first, mut second, mut other) = ([0; 100], [0; 100], [0; 100]);
        a.fill(&mut first);
        a.fill(&mut second);
        b.fill(&mut other);
        assert_ne!(first, second);
        assert_eq!(first, other);
    }

    #[test]
    fn the_key_changes_even_when_nothing_is_asked_for() {
        let mut crng = Crng::new();
        let before = crng.key;
        crng.fill(&mut []);
        assert_ne!(crng.key, before);
    }

    #[test]
    fn a_long_request_has_no_repeating_block_and_no_key_in_it() {
        let mut crng = Crng::new();
        crng.reseed(b"x");
        let mut bytes = vec![0; 4096];
        crng.fill(&mut bytes);
        assert!(bytes.windows(KEY_SIZE).all(|window| window != crng.key));
        assert_ne!(bytes[32..96], bytes[96..160]);
        let ones: u32 = bytes.iter().map(|b| b.count_ones()).sum();
        assert!(
            (15_500..17_300).contains(&ones),
            "{ones} ones in 32768 bits"
        );
    }

    #[test]
    fn reseeding_counts_generations_and_a_split_takes_its_own_way() {
        let mut crng = Crng::new();
        crng.reseed(b"a");
        let mut child = crng.split();
        assert_eq!((crng.generation(), child.generation()), (1, 1));
        let (mut a, mut b) = ([0; 8], [0; 8]);
        crng.fill(&mut a);
        child.fill(&mut b);
        assert_ne!(a, b);
    }

    #[test]
    fn a_pool_becomes_ready_once_and_seeds_differ() {
        let mut pool = InputPool::new();
        pool.mix(b"boot");
        assert!(!pool.credit(255));
        assert!(pool.credit(8));
        assert!(!pool.credit(8));
        assert_eq!(pool.entropy_bits(), POOL_READY_BITS);
        assert_ne!(pool.extract(b""), pool.extract(b""));
    }
}
