//! The ChaCha20 block function (RFC 8439, 2.3). Linux: lib/crypto/chacha.c.
#![forbid(unsafe_code)]

/// Bytes of a key.
pub const KEY_SIZE: usize = 32;
/// Bytes that one block yields.
pub const BLOCK_SIZE: usize = 64;

/// Key, counter and nonce.
#[derive(Clone)]
pub struct ChaCha20 {
    state: [u32; 16],
}

fn quarter_round(state: &mut [u32; 16], a: usize, b: usize, c: usize, d: usize) {
    for (rotate_d, rotate_b) in [(16, 12), (8, 7)] {
        state[a] = state[a].wrapping_add(state[b]);
        state[d] = (state[d] ^ state[a]).rotate_left(rotate_d);
        state[c] = state[c].wrapping_add(state[d]);
        state[b] = (state[b] ^ state[c]).rotate_left(rotate_b);
    }
}

impl ChaCha20 {
    /// A stream that starts at block `counter`.
    pub fn new(key: &[u8; KEY_SIZE], counter: u32, nonce: &[u8; 12]) -> Self {
        let mut state = [0; 16];
        state[..4].copy_from_slice(&[0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574]);
        let words = key
            .as_chunks()
            .0
            .iter()
            .map(|&word| u32::from_le_bytes(word));
        state[4..12]
            .iter_mut()
            .zip(words)
            .for_each(|(slot, word)| *slot = word);
        state[12] = counter;
        let words = nonce
            .as_chunks()
            .0
            .iter()
            .map(|&word| u32::from_le_bytes(word));
        state[13..]
            .iter_mut()
            .zip(words)
            .for_each(|(slot, word)| *slot = word);
        Self { state }
    }

    /// The next block of the stream; the counter goes up by one and wraps.
    pub fn block(&mut self) -> [u8; BLOCK_SIZE] {
        let mut working = self.state;
        for _ in 0..10 {
            quarter_round(&mut working, 0, 4, 8, 12);
            quarter_round(&mut working, 1, 5, 9, 13);
            quarter_round(&mut working, 2, 6, 10, 14);
            quarter_round(&mut working, 3, 7, 11, 15);
            quarter_round(&mut working, 0, 5, 10, 15);
            quarter_round(&mut working, 1, 6, 11, 12);
            quarter_round(&mut working, 2, 7, 8, 13);
            quarter_round(&mut working, 3, 4, 9, 14);
        }
        let mut out = [0; BLOCK_SIZE];
        for ((bytes, word), start) in out
            .as_chunks_mut()
            .0
            .iter_mut()
            .zip(working)
            .zip(self.state)
        {
            *bytes = word.wrapping_add(start).to_le_bytes();
        }
        self.state[12] = self.state[12].wrapping_add(1);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_block_of_rfc_8439_comes_out() {
        let key: [u8; 32] = core::array::from_fn(|i| i as u8);
        let nonce = [0, 0, 0, 9, 0, 0, 0, 0x4a, 0, 0, 0, 0];
        let block = ChaCha20::new(&key, 1, &nonce).block();
        assert_eq!(block[..8], [0x10, 0xf1, 0xe7, 0xe4, 0xd1, 0x3b, 0x59, 0x15]);
        assert_eq!(block[60..], [0xa2, 0x50, 0x3c, 0x4e]);
    }

    #[test]
    fn each_block_has_its_own_counter() {
        let mut stream = ChaCha20::new(&[7; 32], 0, &[0; 12]);
        let first = stream.block();
        assert_ne!(first, stream.block());
        assert_eq!(ChaCha20::new(&[7; 32], 0, &[0; 12]).block(), first);
    }
}
