//! How registers become arguments and results become registers (Linux: include/linux/syscalls.h).
#![forbid(unsafe_code)]

use crate::mm::UserAddr;
use crate::prelude::*;

/// A system call argument: cut to its C type, as the ABI says.
pub trait SyscallArg {
    /// From a register.
    fn from_register(raw: u64) -> Self;
}

macro_rules! integer_args {
    ($($t:ty),*) => {$(
        impl SyscallArg for $t {
            fn from_register(raw: u64) -> Self {
                raw as $t
            }
        }
    )*};
}
integer_args!(u32, i32, u64, i64, usize);

impl SyscallArg for UserAddr {
    fn from_register(raw: u64) -> Self {
        UserAddr::new(raw)
    }
}

/// What a handler returns on success.
pub trait SyscallRet {
    /// To the result register; must not fall into -4095..=-1.
    fn to_register(self) -> i64;
}

macro_rules! integer_results {
    ($($t:ty),*) => {$(
        impl SyscallRet for $t {
            fn to_register(self) -> i64 {
                self as i64
            }
        }
    )*};
}
integer_results!(u32, i32, u64, i64, usize);

impl SyscallRet for () {
    fn to_register(self) -> i64 {
        0
    }
}
impl SyscallRet for UserAddr {
    fn to_register(self) -> i64 {
        self.as_u64() as i64
    }
}

/// The one place that makes an errno negative.
pub fn result_to_register<R: SyscallRet>(result: Result<R>) -> i64 {
    match result {
        Ok(value) => value.to_register(),
        Err(errno) => -i64::from(errno.code()),
    }
}
