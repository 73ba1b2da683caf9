//! The system calls that make tasks, and what they make of their arguments (Linux: kernel/fork.c).
#![forbid(unsafe_code)]

use core::sync::atomic::Ordering;

use uapi::Pod;
use uapi::capability::CAP_SYS_ADMIN;
use uapi::sched::*;
use uapi::signal::{_NSIG, SIGCHLD};

use super::{KernelCloneArgs, Start, dup_files, dup_fs, kernel_clone};
use crate::arch::{self, PAGE_SIZE, PtRegs};
use crate::kernel::pid;
use crate::kernel::sched::current;
use crate::kernel::sched::task::Pid;
use crate::mm::UserAddr;
use crate::mm::uaccess::copy_from_user;
use crate::prelude::*;

/// fork(2).
pub fn sys_fork(regs: &mut PtRegs) -> Result<i32> {
    let args = KernelCloneArgs {
        exit_signal: SIGCHLD,
        ..Default::default()
    };
    kernel_clone(&args, Start::User(regs))
}

/// vfork(2): the child borrows the address space until it execs or exits.
pub fn sys_vfork(regs: &mut PtRegs) -> Result<i32> {
    let args = KernelCloneArgs {
        flags: CLONE_VFORK | CLONE_VM,
        exit_signal: SIGCHLD,
        ..Default::default()
    };
    kernel_clone(&args, Start::User(regs))
}

/// clone(2): the low byte of the flags is the exit signal.
pub fn sys_clone(
    regs: &mut PtRegs,
    clone_flags: u64,
    newsp: u64,
    parent_tid: u64,
    child_tid: u64,
    tls: u64,
) -> Result<i32> {
    let flags = clone_flags & 0xffff_ffff & !CSIGNAL;
    // An old flag without a meaning, and a bit above the exit signal.
    let args = KernelCloneArgs {
        flags: flags & !CLONE_DETACHED,
        parent_tid,
        child_tid,
        exit_signal: (clone_flags & CSIGNAL) as i32,
        stack: (newsp != 0).then_some(newsp),
        tls,
        set_tid: None,
    };
    kernel_clone(&args, Start::User(regs))
}

/// clone3(2). Errors: E2BIG for a structure with fields this kernel does not know set, EINVAL
/// for one that is too short and for what clone(2) says, EFAULT.
pub fn sys_clone3(regs: &mut PtRegs, uargs: UserAddr, size: usize) -> Result<i32> {
    let clone = copy_clone_args_from_user(uargs, size)?;
    let mut args = check_clone3(&clone)?;
    if clone.set_tid_size > 0 {
        args.set_tid = Some(first_set_tid(&clone)?);
    }
    kernel_clone(&args, Start::User(regs))
}

/// Copies a structure of any size: what is missing is zero, what is too much must be zero.
fn copy_clone_args_from_user(uargs: UserAddr, size: usize) -> Result<CloneArgs> {
    if size > PAGE_SIZE {
        return Err(Errno::E2BIG);
    }
    if size < CLONE_ARGS_SIZE_VER0 {
        return Err(Errno::EINVAL);
    }
    let mut raw = vec![0u8; size.max(CloneArgs::SIZE)];
    copy_from_user(&mut raw[..size], uargs)?;
    let (known, unknown) = raw.split_at(CloneArgs::SIZE);
    if unknown.iter().any(|&byte| byte != 0) {
        return Err(Errno::E2BIG);
    }
    Ok(CloneArgs::read_from(known))
}

/// The only number that counts without nested namespaces. Errors: EINVAL, EPERM, EFAULT.
fn first_set_tid(clone: &CloneArgs) -> Result<Pid> {
    if clone.set_tid_size != 1 {
        return Err(Errno::EINVAL); // one number for each level of namespaces
    }
    let pid = crate::mm::uaccess::get_user::<i32>(UserAddr::new(clone.set_tid))?;
    if pid < 1 || pid >= pid::pid_max() {
        return Err(Errno::EINVAL);
    }
    if !current().cred().has_cap(CAP_SYS_ADMIN) {
        return Err(Errno::EPERM);
    }
    Ok(pid)
}

/// What clone3(2) is stricter about than clone(2) (Linux: `clone3_args_valid`,
/// `clone3_stack_valid`).
fn check_clone3(clone: &CloneArgs) -> Result<KernelCloneArgs> {
    let known = 0xffff_ffff | CLONE_CLEAR_SIGHAND | CLONE_INTO_CGROUP;
    let legacy_bits = CLONE_DETACHED | (CSIGNAL & !CLONE_NEWTIME);
    let exit_signal = clone.exit_signal;
    let has_relatives = clone.flags & (CLONE_THREAD | CLONE_PARENT) != 0;
    let bad_set_tid = (clone.set_tid == 0) != (clone.set_tid_size == 0) || clone.set_tid_size > 32;
    let bad_stack = match (clone.stack, clone.stack_size) {
        (0, size) => size != 0,
        (_, 0) => true,
        (base, size) => base
            .checked_add(size)
            .is_none_or(|end| end > arch::TASK_SIZE),
    };
    if clone.flags & !known != 0
        || clone.flags & legacy_bits != 0
        || exit_signal & !CSIGNAL != 0
        || exit_signal > _NSIG as u64
        || has_relatives && exit_signal != 0
        || bad_set_tid
        || bad_stack
    {
        return Err(Errno::EINVAL);
    }
    Ok(KernelCloneArgs {
        flags: clone.flags,
        child_tid: clone.child_tid,
        parent_tid: clone.parent_tid,
        exit_signal: exit_signal as i32,
        stack: (clone.stack != 0).then(|| clone.stack + clone.stack_size),
        tls: clone.tls,
        set_tid: None,
    })
}

/// set_tid_address(2): which word to clear when the thread ends; returns the thread's number.
pub fn sys_set_tid_address(tidptr: UserAddr) -> Result<i32> {
    let me = current();
    me.clear_child_tid.store(tidptr.as_u64(), Ordering::Relaxed);
    Ok(me.pid())
}

/// unshare(2): own copies of what clone(2) made common. Errors: EINVAL for namespaces, which
/// there are not, and for threads that cannot be made processes.
pub fn sys_unshare(flags: u64) -> Result<()> {
    let me = current();
    let known = CLONE_FS | CLONE_FILES | CLONE_SYSVSEM | CLONE_THREAD | CLONE_VM | CLONE_SIGHAND;
    if flags & !known != 0 {
        return Err(Errno::EINVAL);
    }
    let alone = me.signal.nr_threads.load(Ordering::Relaxed) <= 1;
    if flags & (CLONE_THREAD | CLONE_SIGHAND | CLONE_VM) != 0 && !alone {
        return Err(Errno::EINVAL);
    }
    let new_fs = match me.fs() {
        Some(fs) if flags & CLONE_FS != 0 => Some(dup_fs(&fs)?),
        _ => None,
    };
    let new_files = match me.files() {
        Some(files) if flags & CLONE_FILES != 0 => Some(dup_files(&files)?),
        _ => None,
    };
    if let Some(fs) = new_fs {
        let old = me.fs.lock().replace(fs);
        drop(old);
    }
    if let Some(files) = new_files {
        let old = me.files.lock().replace(files);
        drop(old); // the last one closes its files, outside the lock
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::check_flags;
    use super::*;

    fn clone3(change: impl FnOnce(&mut CloneArgs)) -> Result<KernelCloneArgs> {
        let mut args = CloneArgs::default();
        change(&mut args);
        check_clone3(&args)
    }

    #[test]
    fn flags_that_need_each_other_are_checked_as_linux_does() {
        let thread = CLONE_VM | CLONE_SIGHAND | CLONE_THREAD;
        assert_eq!(
            check_flags(thread | CLONE_FS | CLONE_FILES | CLONE_SYSVSEM, false),
            Ok(())
        );
        assert_eq!(
            check_flags(CLONE_THREAD | CLONE_VM, false),
            Err(Errno::EINVAL)
        );
        assert_eq!(check_flags(CLONE_SIGHAND, false), Err(Errno::EINVAL));
        let both = CLONE_VM | CLONE_SIGHAND | CLONE_CLEAR_SIGHAND;
        assert_eq!(check_flags(both, false), Err(Errno::EINVAL));
        assert_eq!(check_flags(CLONE_PARENT, false), Ok(()));
        assert_eq!(check_flags(CLONE_PARENT, true), Err(Errno::EINVAL));
    }

    #[test]
    fn what_this_kernel_has_not_got_is_refused() {
        for flag in [
            CLONE_NEWNS,
            CLONE_NEWUSER,
            CLONE_NEWPID,
            CLONE_NEWTIME,
            CLONE_PIDFD,
        ] {
            assert_eq!(check_flags(flag, false), Err(Errno::EINVAL), "{flag:#x}");
        }
    }

    #[test]
    fn clone3_computes_the_stack_top_and_keeps_the_exit_signal_apart() {
        let args = clone3(|args| {
            args.flags = CLONE_VM | CLONE_VFORK;
            args.exit_signal = SIGCHLD as u64;
            args.stack = 0x10_0000;
            args.stack_size = 0x8000;
        })
        .expect("valid");
        assert_eq!((args.stack, args.exit_signal), (Some(0x10_8000), SIGCHLD));
        assert_eq!(clone3(|_| ()).expect("valid").stack, None);
    }

    #[test]
    fn clone3_is_stricter_than_clone() {
        let invalid = |change: fn(&mut CloneArgs)| {
            assert_eq!(clone3(change).map(drop), Err(Errno::EINVAL));
        };
        invalid(|args| args.flags = CLONE_DETACHED);
        invalid(|args| args.flags = SIGCHLD as u64);
        invalid(|args| args.flags = 1 << 40);
        invalid(|args| args.exit_signal = 65);
        invalid(|args| args.exit_signal = 0x100);
        invalid(|args| (args.flags, args.exit_signal) = (CLONE_PARENT, 17));
        invalid(|args| args.stack = 0x1000);
        invalid(|args| args.stack_size = 0x1000);
        invalid(|args| (args.stack, args.stack_size) = (u64::MAX - 5, 0x1000));
        invalid(|args| (args.stack, args.stack_size) = (0x7fff_ffff_0000, 0x10_0000));
        invalid(|args| args.set_tid = 0x1000);
        invalid(|args| args.set_tid_size = 1);
        invalid(|args| (args.set_tid, args.set_tid_size) = (0x1000, 33));
    }

    #[test]
    fn the_size_of_clone3s_argument_is_checked_before_it_is_read() {
        let at = UserAddr::new(0x1000);
        let error = |size| copy_clone_args_from_user(at, size).map(drop);
        assert_eq!(error(CLONE_ARGS_SIZE_VER0 - 1), Err(Errno::EINVAL));
        assert_eq!(error(PAGE_SIZE + 1), Err(Errno::E2BIG));
        assert_eq!(error(CLONE_ARGS_SIZE_VER0), Err(Errno::EFAULT));
    }
}
