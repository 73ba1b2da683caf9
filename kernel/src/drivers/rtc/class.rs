//! The battery-backed clock as a device, /dev/rtc0 (Linux: drivers/rtc/class.c, drivers/rtc/dev.c).
//!
//! The clock is read and set. Its interrupt is not used: there are no alarms, and no ticks to read.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicBool, Ordering};

use uapi::capability::CAP_SYS_TIME;
use uapi::ioctls::ioc_type;
use uapi::major::RTC_MAJOR;
use uapi::rtc::{RTC_IOC_TYPE, RTC_RD_TIME, RTC_SET_TIME, RtcTime};

use super::mc146818_lib::{rtc_time64_to_tm, rtc_tm_to_time64};
use crate::arch;
use crate::drivers::base::device_create;
use crate::fs::char_dev::{CharDevice, DevT, register_chrdev};
use crate::fs::file::{File, FileOperations};
use crate::kernel::sched::current;
use crate::mm::UserAddr;
use crate::mm::uaccess::{get_user, put_user};
use crate::prelude::*;

/// Only one program may have it open.
static BUSY: AtomicBool = AtomicBool::new(false);

struct Rtc;

/// The open clock.
struct OpenRtc;

impl Drop for OpenRtc {
    fn drop(&mut self) {
        BUSY.store(false, Ordering::Release);
    }
}

impl CharDevice for Rtc {
    fn open(&self, _dev: DevT, _flags: u32) -> Result<Arc<dyn FileOperations>> {
        if BUSY.swap(true, Ordering::AcqRel) {
            return Err(Errno::EBUSY);
        }
        Ok(Arc::new(OpenRtc))
    }
}

impl FileOperations for OpenRtc {
    fn ioctl(&self, _file: &File, cmd: u32, arg: UserAddr) -> Result<i64> {
        match cmd {
            RTC_RD_TIME => read_time(arg)?,
            RTC_SET_TIME => set_time(arg)?,
            // What needs the interrupt, as Linux answers for a clock that has none.
            _ if ioc_type(cmd) == RTC_IOC_TYPE => return Err(Errno::EINVAL),
            _ => return Err(Errno::ENOTTY),
        }
        Ok(0)
    }
}

/// Errors: EINVAL when the clock shows nonsense, EFAULT.
fn read_time(to: UserAddr) -> Result {
    let seconds = arch::read_persistent_clock().ok_or(Errno::EINVAL)?;
    put_user(to, &rtc_time64_to_tm(seconds))
}

/// Errors: EACCES without CAP_SYS_TIME, EINVAL for no date, EFAULT.
fn set_time(from: UserAddr) -> Result {
    if !current().cred().has_cap(CAP_SYS_TIME) {
        return Err(Errno::EACCES);
    }
    let time: RtcTime = get_user(from)?;
    arch::write_persistent_clock(rtc_tm_to_time64(&time).ok_or(Errno::EINVAL)?)
}

/// Registers the device if there is a clock (Linux: drivers/rtc/rtc-cmos.c, `cmos_init`).
#[__init]
fn rtc_init() -> Result {
    if arch::read_persistent_clock().is_none() {
        return Ok(());
    }
    register_chrdev(RTC_MAJOR, 0, 1, "rtc", Arc::new(Rtc))?;
    device_create("rtc", DevT::new(RTC_MAJOR, 0), "rtc0", 0o600)
}
device_initcall!(rtc_init);
