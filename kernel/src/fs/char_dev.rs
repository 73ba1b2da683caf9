//! Character devices (Linux: fs/char_dev.c).
use crate::fs::file::FileOperations;
use crate::prelude::*;
/// A device number: major << 20 | minor (Linux: `dev_t` inside the kernel).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct DevT(pub u32);
impl DevT {
    /// From its two parts.
    pub const fn new(major: u32, minor: u32) -> Self {
        Self(major << 20 | minor)
    }
    /// Driver.
    pub const fn major(self) -> u32 {
        self.0 >> 20
    }
    /// Device of the driver.
    pub const fn minor(self) -> u32 {
        self.0 & 0xf_ffff
    }
}
/// What opening a character device gives.
pub trait CharDevice: Send + Sync {
    /// `flags` are the O_* of open(2). Errors: ENXIO, ENODEV, EBUSY, EIO.
    fn open(&self, dev: DevT, flags: u32) -> Result<Arc<dyn FileOperations>>;
}
/// Registers minors `first..first+count` of `major` (Linux: `cdev_add` + `register_chrdev_region`).
/// The name shows in /proc/devices. Errors: EBUSY.
pub fn register_chrdev(
    major: u32,
    first_minor: u32,
    count: u32,
    name: &'static str,
    device: Arc<dyn CharDevice>,
) -> Result {
    let _ = (major, first_minor, count, name, device);
    todo!()
}
