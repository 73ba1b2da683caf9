//! Primitives of the random number generator. Linux: lib/crypto/.
#![forbid(unsafe_code)]

pub mod blake2s;
pub mod chacha;
