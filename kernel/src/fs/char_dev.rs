//! Character devices (Linux: fs/char_dev.c).
#![forbid(unsafe_code)]

use alloc::collections::BTreeMap;
use core::fmt::Write;

use crate::fs::file::FileOperations;
use crate::prelude::*;

/// A device number: major << 20 | minor (Linux: `dev_t` inside the kernel).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct DevT(pub u32);

impl DevT {
    /// From its two parts.
    pub const fn new(major: u32, minor: u32) -> Self {
        Self(major << 20 | minor & 0xf_ffff)
    }
    /// Driver.
    pub const fn major(self) -> u32 {
        self.0 >> 20
    }
    /// Device of the driver.
    pub const fn minor(self) -> u32 {
        self.0 & 0xf_ffff
    }
    /// As stat(2) shows it (Linux: `new_encode_dev`).
    pub const fn encode(self) -> u64 {
        uapi::major::mkdev(self.major(), self.minor())
    }
    /// From the number that mknod(2) takes (Linux: `new_decode_dev`).
    pub const fn decode(dev: u64) -> Self {
        Self::new(uapi::major::major(dev), uapi::major::minor(dev))
    }
}

/// What opening a character device gives.
pub trait CharDevice: Send + Sync {
    /// `flags` are the O_* of open(2). Errors: ENXIO, ENODEV, EBUSY, EIO.
    fn open(&self, dev: DevT, flags: u32) -> Result<Arc<dyn FileOperations>>;
}

struct Region {
    count: u32,
    name: &'static str,
    device: Arc<dyn CharDevice>,
}

/// Registered ranges by their first number (Linux: `cdev_map`).
static CDEV_MAP: SpinLock<BTreeMap<DevT, Region>> = SpinLock::new(BTreeMap::new());

/// Registers minors `first..first+count` of `major` (Linux: `cdev_add` + `register_chrdev_region`).
/// The name shows in /proc/devices. Errors: EBUSY, EINVAL.
pub fn register_chrdev(
    major: u32,
    first_minor: u32,
    count: u32,
    name: &'static str,
    device: Arc<dyn CharDevice>,
) -> Result {
    let last = first_minor.checked_add(count).ok_or(Errno::EINVAL)?;
    if count == 0 || last > 1 << 20 || major >= 1 << 12 {
        return Err(Errno::EINVAL);
    }
    let (first, end) = (DevT::new(major, first_minor), DevT::new(major, last - 1));
    let mut map = CDEV_MAP.lock();
    let below = map.range(..=end).next_back();
    if below.is_some_and(|(start, region)| start.0.saturating_add(region.count) > first.0) {
        return Err(Errno::EBUSY);
    }
    let region = Region {
        count,
        name,
        device,
    };
    map.insert(first, region);
    Ok(())
}

/// Opens a character device by its number (Linux: `chrdev_open`). Errors: ENXIO when no driver
/// has registered it, and the driver's.
pub fn chrdev_open(dev: DevT, flags: u32) -> Result<Arc<dyn FileOperations>> {
    let device = {
        let map = CDEV_MAP.lock();
        let (start, region) = map.range(..=dev).next_back().ok_or(Errno::ENXIO)?;
        if dev.0 - start.0 >= region.count {
            return Err(Errno::ENXIO);
        }
        region.device.clone()
    };
    device.open(dev, flags)
}

/// The text of /proc/devices: drivers by major number (Linux: `chrdev_show`).
pub fn devices_proc_show(out: &mut String) -> Result {
    let mut lines: Vec<(u32, &'static str)> = {
        let map = CDEV_MAP.lock();
        let regions = map.iter();
        regions
            .map(|(start, region)| (start.major(), region.name))
            .collect()
    };
    lines.dedup();
    let _ = writeln!(out, "Character devices:");
    for (major, name) in lines {
        let _ = writeln!(out, "{major:3} {name}");
    }
    let _ = writeln!(out, "\nBlock devices:");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Probe;
    struct ProbeFile;
    impl FileOperations for ProbeFile {}
    impl CharDevice for Probe {
        fn open(&self, _dev: DevT, _flags: u32) -> Result<Arc<dyn FileOperations>> {
            Ok(Arc::new(ProbeFile))
        }
    }

    #[test]
    fn regions_do_not_overlap_and_gaps_have_no_device() {
        let probe = || Arc::new(Probe);
        assert_eq!(register_chrdev(4000, 8, 8, "probe", probe()), Ok(()));
        assert_eq!(
            register_chrdev(4000, 15, 1, "probe", probe()),
            Err(Errno::EBUSY)
        );
        assert_eq!(
            register_chrdev(4000, 0, 9, "probe", probe()),
            Err(Errno::EBUSY)
        );
        assert_eq!(register_chrdev(4000, 16, 1, "probe", probe()), Ok(()));
        assert!(chrdev_open(DevT::new(4000, 15), 0).is_ok());
        assert!(chrdev_open(DevT::new(4000, 16), 0).is_ok());
        assert_eq!(chrdev_open(DevT::new(4000, 7), 0).err(), Some(Errno::ENXIO));
        assert_eq!(
            chrdev_open(DevT::new(4000, 17), 0).err(),
            Some(Errno::ENXIO)
        );
    }
}
