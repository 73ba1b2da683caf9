//! Memory devices: null, zero, full, and the numbers of random, urandom, kmsg
//! (Linux: drivers/char/mem.c).
#![forbid(unsafe_code)]

use uapi::major::MEM_MAJOR;

use crate::drivers::base::device_create;
use crate::drivers::char::random::RandomDevice;
use crate::fs::char_dev::{CharDevice, DevT, register_chrdev};
use crate::fs::file::{File, FileOperations, MmapKind};
use crate::fs::read_write::null_llseek;
use crate::kernel::printk::devkmsg::KmsgDevice;
use crate::mm::uaccess::IovIter;
use crate::prelude::*;

const NULL_MINOR: u32 = 3;
const ZERO_MINOR: u32 = 5;
const FULL_MINOR: u32 = 7;
const RANDOM_MINOR: u32 = 8;
const URANDOM_MINOR: u32 = 9;
const KMSG_MINOR: u32 = 11;

/// Name, minor number and permissions (Linux: `devlist`).
const DEVLIST: [(&str, u32, u32); 6] = [
    ("null", NULL_MINOR, 0o666),
    ("zero", ZERO_MINOR, 0o666),
    ("full", FULL_MINOR, 0o666),
    ("random", RANDOM_MINOR, 0o666),
    ("urandom", URANDOM_MINOR, 0o666),
    ("kmsg", KMSG_MINOR, 0o644),
];

/// /dev/null.
struct Null;

impl FileOperations for Null {
    fn read_iter(&self, _file: &File, _to: &mut IovIter<'_>, _pos: &mut u64) -> Result<usize> {
        Ok(0)
    }
    fn write_iter(&self, _file: &File, from: &mut IovIter<'_>, _pos: &mut u64) -> Result<usize> {
        let len = from.count();
        from.advance(len);
        Ok(len)
    }
    fn llseek(&self, file: &File, _offset: i64, _whence: u32) -> Result<u64> {
        null_llseek(file)
    }
    fn seekable(&self) -> bool {
        true
    }
}

/// /dev/zero, and /dev/full, which refuses to be written.
struct Zero {
    full: bool,
}

/// Bytes between two looks for a signal.
const ZERO_STEP: usize = 1 << 20;

impl FileOperations for Zero {
    #[inline]
    fn read_iter(&self, _file: &File, to: &mut IovIter<'_>, _pos: &mut u64) -> Result<usize> {
        let count = to.count();
        if count <= ZERO_STEP {
            return to.zero_iter(count);
        }
        let mut total = 0;
        loop {
            let wanted = to.count().min(ZERO_STEP);
            let step = match to.zero_iter(wanted) {
                Ok(step) => step,
                Err(error) if total == 0 => return Err(error),
                Err(_) => return Ok(total),
            };
            total += step;
            let more = step == ZERO_STEP && to.count() > 0;
            if !more || crate::kernel::sched::current().signal_pending() {
                return Ok(total);
            }
        }
    }
    fn write_iter(&self, _file: &File, from: &mut IovIter<'_>, _pos: &mut u64) -> Result<usize> {
        if self.full {
            return Err(Errno::ENOSPC);
        }
        let len = from.count();
        from.advance(len);
        Ok(len)
    }
    fn llseek(&self, file: &File, _offset: i64, _whence: u32) -> Result<u64> {
        null_llseek(file)
    }
    fn seekable(&self) -> bool {
        true
    }
    fn mmap(&self, _file: &File) -> Result<MmapKind> {
        if self.full {
            return Err(Errno::ENODEV);
        }
        Ok(MmapKind::Anonymous)
    }
}

/// The driver of major number 1.
struct Memory {
    null: Arc<Null>,
    zero: Arc<Zero>,
    full: Arc<Zero>,
}

impl CharDevice for Memory {
    fn open(&self, dev: DevT, flags: u32) -> Result<Arc<dyn FileOperations>> {
        match dev.minor() {
            NULL_MINOR => Ok(self.null.clone()),
            ZERO_MINOR => Ok(self.zero.clone()),
            FULL_MINOR => Ok(self.full.clone()),
            RANDOM_MINOR => RandomDevice::Random.open(dev, flags),
            URANDOM_MINOR => RandomDevice::Urandom.open(dev, flags),
            KMSG_MINOR => KmsgDevice.open(dev, flags),
            _ => Err(Errno::ENXIO),
        }
    }
}

/// Registers the devices (Linux: `chr_dev_init`).
#[__init]
fn chr_dev_init() -> Result {
    let memory = Memory {
        null: Arc::new(Null),
        zero: Arc::new(Zero { full: false }),
        full: Arc::new(Zero { full: true }),
    };
    register_chrdev(MEM_MAJOR, 0, 256, "mem", Arc::new(memory))?;
    for (name, minor, mode) in DEVLIST {
        device_create("mem", DevT::new(MEM_MAJOR, minor), name, mode)?;
    }
    Ok(())
}
fs_initcall!(chr_dev_init);
