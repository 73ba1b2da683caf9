//! How registers become arguments and results become registers (Linux: include/linux/syscalls.h).
#![forbid(unsafe_code)]

use crate::arch::PtRegs;
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

/// What a handler's result becomes in the result register.
pub trait SyscallResult {
    /// A value, or a negative error number.
    fn into_register(self) -> i64;
}
impl<R: SyscallRet> SyscallResult for Result<R> {
    #[inline]
    fn into_register(self) -> i64 {
        result_to_register(self)
    }
}

/// A function of up to six arguments that serves a system call; `Args` is only there so that the
/// compiler can tell the arities apart.
pub trait SyscallHandler<Args> {
    /// Takes the arguments from the registers and calls the function.
    fn call(self, regs: &mut PtRegs) -> i64;
}

/// A handler whose first argument is the register frame itself.
pub trait RegsSyscallHandler<Args> {
    /// Takes the other arguments from the registers and calls the function.
    fn call(self, regs: &mut PtRegs) -> i64;
}

macro_rules! handlers {
    ($($arg:ident $index:literal),*) => {
        impl<Func, Ret, $($arg),*> SyscallHandler<(Ret, $($arg,)*)> for Func
        where
            Func: FnOnce($($arg),*) -> Ret,
            Ret: SyscallResult,
            $($arg: SyscallArg,)*
        {
            #[inline(always)]
            fn call(self, regs: &mut PtRegs) -> i64 {
                let _ = &regs;
                self($($arg::from_register(regs.arg($index))),*).into_register()
            }
        }
        impl<Func, Ret, $($arg),*> RegsSyscallHandler<(Ret, $($arg,)*)> for Func
        where
            Func: FnOnce(&mut PtRegs, $($arg),*) -> Ret,
            Ret: SyscallResult,
            $($arg: SyscallArg,)*
        {
            #[inline(always)]
            fn call(self, regs: &mut PtRegs) -> i64 {
                let seen = *regs;
                let _ = &seen;
                self(regs, $($arg::from_register(seen.arg($index))),*).into_register()
            }
        }
    };
}
handlers!();
handlers!(A 0);
handlers!(A 0, B 1);
handlers!(A 0, B 1, C 2);
handlers!(A 0, B 1, C 2, D 3);
handlers!(A 0, B 1, C 2, D 3, E 4);
handlers!(A 0, B 1, C 2, D 3, E 4, F 5);

/// A number that nobody serves (Linux: kernel/sys_ni.c).
pub fn sys_ni_syscall(_regs: &mut PtRegs) -> i64 {
    -i64::from(Errno::ENOSYS.code())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn getpid() -> Result<i32> {
        Ok(7)
    }
    fn sum(a: u32, b: u64, c: i32) -> Result<i64> {
        Ok(i64::from(a) + b as i64 + i64::from(c))
    }
    fn fails(_addr: UserAddr) -> Result {
        Err(Errno::EFAULT)
    }
    fn moves(regs: &mut PtRegs, ip: u64) -> Result {
        regs.set_ip(ip);
        Ok(())
    }

    #[test]
    fn a_handler_gets_as_many_registers_as_it_has_arguments() {
        let mut regs = PtRegs::for_test(0, [1 << 32 | 1, 10, u64::MAX, 0, 0, 0]);
        assert_eq!(SyscallHandler::call(getpid, &mut regs), 7);
        assert_eq!(SyscallHandler::call(sum, &mut regs), 10);
        assert_eq!(SyscallHandler::call(fails, &mut regs), -14);
    }

    #[test]
    fn a_regs_handler_sees_and_changes_the_frame() {
        let mut regs = PtRegs::for_test(0, [0x1000, 0, 0, 0, 0, 0]);
        assert_eq!(RegsSyscallHandler::call(moves, &mut regs), 0);
        assert_eq!(regs.ip(), 0x1000);
    }
}
