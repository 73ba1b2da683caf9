//! What exec asks of files, signals and threads. Each function is the one place to connect.
#![forbid(unsafe_code)]

use core::sync::atomic::Ordering;

use uapi::mount::MS_NOSUID;
use uapi::signal::{SIG_DFL, SIGCHLD};
use uapi::stat::{S_ISGID, S_ISUID, S_IXGRP};

use crate::fs::access::lookup_flags;
use crate::fs::fdtable::OnExec;
use crate::fs::file::{File, current_files};
use crate::fs::namei::{LookupFlags, start_at};
use crate::fs::open;
use crate::kernel::sched::current;
use crate::kernel::{exit, signal};
use crate::prelude::*;

/// Opens a program or an interpreter by path: it must be a regular file that the caller may
/// execute, on a mount that allows it. Errors: those of open(2); EACCES.
pub fn open_exec(path: &[u8]) -> Result<Arc<File>> {
    #[cfg(test)]
    if let Some(file) = super::exec_tests::stand_in(path) {
        return file;
    }
    open::open_exec(None, path, LookupFlags::FOLLOW)
}

/// The same for execveat(2). Errors: EINVAL for unknown flags, EBADF, ELOOP.
pub fn open_execat(dfd: i32, path: &[u8], flags: u32) -> Result<Arc<File>> {
    let start = start_at(dfd, path)?;
    open::open_exec(start, path, lookup_flags(flags))
}

/// Reads up to `buf.len()` bytes at `pos`; short at the end of the file.
pub fn kernel_read(file: &File, buf: &mut [u8], pos: u64) -> Result<usize> {
    file.kernel_read(buf, &mut { pos })
}

/// Whether the descriptor is closed by exec.
pub fn closes_on_exec(fd: i32) -> bool {
    let files = current_files();
    files.is_ok_and(|files| files.on_exec(fd as u32) == Ok(OnExec::Close))
}

/// Owner of the file, where its set-user-id bit counts (Linux: `bprm_fill_uid`).
pub fn set_user_id(file: &File) -> Option<u32> {
    let set = mode_that_counts(file) & S_ISUID != 0;
    set.then(|| file.inode.uid())
}

/// Mode of the file; without its set-id bits where the mount takes their meaning away.
fn mode_that_counts(file: &File) -> u32 {
    let flags = file.path.mnt.flags() | file.path.mnt.sb.flags();
    let mode = file.inode.mode();
    let no_new_privs = current().no_new_privs.load(Ordering::Relaxed) != 0;
    if flags & MS_NOSUID != 0 || no_new_privs {
        mode & !(S_ISUID | S_ISGID)
    } else {
        mode
    }
}

/// Group of the file, where its set-group-id bit counts.
pub fn set_group_id(file: &File) -> Option<u32> {
    // Without group execution the bit once meant mandatory locks.
    let both = S_ISGID | S_IXGRP;
    let set = mode_that_counts(file) & both == both;
    set.then(|| file.inode.gid())
}

/// Ends every other thread of the process and makes the caller its leader, with signal handlers
/// of its own (Linux: `de_thread`, `unshare_sighand`). Errors: EAGAIN when the process is being
/// killed.
pub fn de_thread() -> Result {
    exit::de_thread()?;
    let task = current();
    // Whatever clone(2) asked for, a program that was executed tells its parent with SIGCHLD.
    task.exit_signal.store(SIGCHLD, Ordering::Relaxed);
    let shared = task.sighand.lock().clone();
    // One handle is the task's, one this function's; more belong to other processes.
    if Arc::strong_count(&shared) > 2 {
        let before = core::mem::replace(&mut *task.sighand.lock(), Arc::new(shared.dup()));
        drop(before);
    }
    Ok(())
}

/// Closes the descriptors that are marked for it, after giving the task a table of its own
/// (Linux: `unshare_files`, `do_close_on_exec`). Errors: ENOMEM.
pub fn close_on_exec() -> Result {
    let task = current();
    let shared = current_files()?;
    // One handle is the task's, one this function's; more belong to other tasks.
    if Arc::strong_count(&shared) > 2 {
        let own = Arc::new(shared.dup()?);
        let before = task.files.lock().replace(own);
        drop(before);
    }
    drop(shared);
    current_files()?.close_on_exec();
    Ok(())
}

/// Timers end (Linux: `exit_itimers`), handlers become default, the alternate stack goes (Linux:
/// `flush_signal_handlers`).
pub fn flush_signals() {
    current().signal.posix_timers.delete_all();
    signal::flush_timer_signals();
    signal::flush_signal_handlers();
    signal::sigaltstack_reset();
}

/// The process gets a signal that it can neither catch nor ignore (Linux: `force_fatal_sig`).
pub fn force_fatal_sig(signal: i32) {
    let sighand = current().sighand.lock().clone();
    if let Some(action) = sighand.actions.lock().get_mut(signal as usize - 1) {
        action.handler = SIG_DFL;
    }
    signal::force_sig(signal);
}
