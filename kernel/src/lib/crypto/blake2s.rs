//! BLAKE2s, the hash of the entropy pool (RFC 7693). Linux: lib/crypto/blake2s.c.
#![forbid(unsafe_code)]

/// Bytes of a full hash.
pub const HASH_SIZE: usize = 32;
const BLOCK_SIZE: usize = 64;

const IV: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

const SIGMA: [[usize; 16]; 10] = [
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
    [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
    [11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4],
    [7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8],
    [9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13],
    [2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9],
    [12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11],
    [13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10],
    [6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5],
    [10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0],
];

/// A hash being computed.
#[derive(Clone)]
pub struct Blake2s {
    hash: [u32; 8],
    total_bytes: u64,
    block: [u8; BLOCK_SIZE],
    filled: usize,
}

impl Blake2s {
    /// An unkeyed hash of 32 bytes.
    pub const fn new() -> Self {
        let mut hash = IV;
        hash[0] ^= 0x0101_0000 | HASH_SIZE as u32;
        Self {
            hash,
            total_bytes: 0,
            block: [0; BLOCK_SIZE],
            filled: 0,
        }
    }

    /// A hash of 32 bytes that only the owner of `key` can compute.
    pub fn keyed(key: &[u8; HASH_SIZE]) -> Self {
        let mut state = Self::new();
        state.hash[0] ^= (HASH_SIZE as u32) << 8;
        state.block[..HASH_SIZE].copy_from_slice(key);
        state.filled = BLOCK_SIZE;
        state
    }

    /// Adds `bytes` to the message.
    pub fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            // A full block waits: the last one is marked as such.
            if self.filled == BLOCK_SIZE {
                self.compress(BLOCK_SIZE, 0);
                self.filled = 0;
            }
            let count = bytes.len().min(BLOCK_SIZE - self.filled);
            self.block[self.filled..self.filled + count].copy_from_slice(&bytes[..count]);
            self.filled += count;
            bytes = &bytes[count..];
        }
    }

    /// The hash of everything added.
    pub fn finish(mut self) -> [u8; HASH_SIZE] {
        self.block[self.filled..].fill(0);
        self.compress(self.filled, !0);
        let mut out = [0; HASH_SIZE];
        for (bytes, word) in out.as_chunks_mut().0.iter_mut().zip(self.hash) {
            *bytes = word.to_le_bytes();
        }
        out
    }

    fn compress(&mut self, count: usize, last: u32) {
        self.total_bytes += count as u64;
        let mut message = [0u32; 16];
        for (slot, &word) in message.iter_mut().zip(self.block.as_chunks().0) {
            *slot = u32::from_le_bytes(word);
        }
        let mut v = [0; 16];
        v[..8].copy_from_slice(&self.hash);
        v[8..].copy_from_slice(&IV);
        v[12] ^= self.total_bytes as u32;
        v[13] ^= (self.total_bytes >> 32) as u32;
        v[14] ^= last;
        for order in &SIGMA {
            let at = |i: usize| [message[order[2 * i]], message[order[2 * i + 1]]];
            mix(&mut v, [0, 4, 8, 12], at(0));
            mix(&mut v, [1, 5, 9, 13], at(1));
            mix(&mut v, [2, 6, 10, 14], at(2));
            mix(&mut v, [3, 7, 11, 15], at(3));
            mix(&mut v, [0, 5, 10, 15], at(4));
            mix(&mut v, [1, 6, 11, 12], at(5));
            mix(&mut v, [2, 7, 8, 13], at(6));
            mix(&mut v, [3, 4, 9, 14], at(7));
        }
        for (i, word) in self.hash.iter_mut().enumerate() {
            *word ^= v[i] ^ v[i + 8];
        }
    }
}

impl Default for Blake2s {
    fn default() -> Self {
        Self::new()
    }
}

fn mix(v: &mut [u32; 16], [a, b, c, d]: [usize; 4], words: [u32; 2]) {
    for (word, (rotate_d, rotate_b)) in words.into_iter().zip([(16, 12), (8, 7)]) {
        v[a] = v[a].wrapping_add(v[b]).wrapping_add(word);
        v[d] = (v[d] ^ v[a]).rotate_right(rotate_d);
        v[c] = v[c].wrapping_add(v[d]);
        v[b] = (v[b] ^ v[c]).rotate_right(rotate_b);
    }
}

/// The hash of `bytes` under `key`. Linux: `blake2s`.
pub fn blake2s_keyed(key: &[u8; HASH_SIZE], bytes: &[u8]) -> [u8; HASH_SIZE] {
    let mut state = Blake2s::keyed(key);
    state.update(bytes);
    state.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(bytes: &[u8]) -> [u8; 32] {
        let mut state = Blake2s::new();
        state.update(bytes);
        state.finish()
    }

    #[test]
    fn the_hash_of_rfc_7693_comes_out() {
        let expected = [
            0x50, 0x8c, 0x5e, 0x8c, 0x32, 0x7c, 0x14, 0xe2, 0xe1, 0xa7, 0x2b, 0xa3, 0x4e, 0xeb,
            0x45, 0x2f, 0x37, 0x45, 0x8b, 0x20, 0x9e, 0xd6, 0x3a, 0x29, 0x4d, 0x99, 0x9b, 0x4c,
            0x86, 0x67, 0x59, 0x82,
        ];
        assert_eq!(hash(b"abc"), expected);
    }

    #[test]
    fn the_keyed_test_vector_comes_out() {
        // The first vector of the reference implementation: key 00..1f, empty message.
        let key: [u8; 32] = core::array::from_fn(|i| i as u8);
        assert_eq!(blake2s_keyed(&key, b"")[..4], [0x48, 0xa8, 0x99, 0x7d]);
    }

    #[test]
    fn pieces_hash_like_the_whole() {
        let bytes: alloc::vec::Vec<u8> = (0..200).collect();
        let mut state = Blake2s::new();
        bytes.chunks(7).for_each(|piece| state.update(piece));
        assert_eq!(state.finish(), hash(&bytes));
        assert_ne!(hash(&bytes[..64]), hash(&bytes[..128]));
    }
}
