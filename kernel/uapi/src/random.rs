//! Random bytes. Linux: linux/random.h.

// Flags of getrandom(2).
/// `EAGAIN` instead of waiting for the generator.
pub const GRND_NONBLOCK: u32 = 1;
pub const GRND_RANDOM: u32 = 2;
/// Bytes even before the generator is ready.
pub const GRND_INSECURE: u32 = 4;

// ioctls of /dev/random.
pub const RNDGETENTCNT: u32 = 0x8004_5200;
pub const RNDADDTOENTCNT: u32 = 0x4004_5201;
pub const RNDADDENTROPY: u32 = 0x4008_5203;
pub const RNDZAPENTCNT: u32 = 0x5204;
pub const RNDCLEARPOOL: u32 = 0x5206;
pub const RNDRESEEDCRNG: u32 = 0x5207;
