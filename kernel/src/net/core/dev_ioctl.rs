//! The ioctls of interfaces (Linux: net/core/dev_ioctl.c).
#![forbid(unsafe_code)]

use crate::mm::UserAddr;
use crate::prelude::*;

/// What every socket understands. Errors: ENOTTY for what is no such command.
pub fn dev_ioctl(cmd: u32, arg: UserAddr) -> Result<i64> {
    let _ = (cmd, arg);
    Err(Errno::ENOTTY)
}
