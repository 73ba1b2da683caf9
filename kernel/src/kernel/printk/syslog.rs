//! syslog(2) (Linux: kernel/printk/printk.c, `do_syslog`).

use core::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use uapi::syslog::*;

use super::{CONSOLE_LOGLEVEL, LINE_MAX, LOG_WAIT, LOG_WAIT_NEEDED, RING};
use crate::kernel::sched::current;
use crate::mm::UserAddr;
use crate::mm::uaccess::copy_to_user;
use crate::prelude::*;

const CAP_SYSLOG: u32 = 34;
const CAP_SYS_ADMIN: u32 = 21;

/// Next record of SYSLOG_ACTION_READ.
static SYSLOG_SEQ: AtomicU64 = AtomicU64::new(0);
/// First record after SYSLOG_ACTION_CLEAR.
static CLEAR_SEQ: AtomicU64 = AtomicU64::new(0);
/// Level to go back to after SYSLOG_ACTION_CONSOLE_OFF; 0 when it is on.
static SAVED_LOGLEVEL: AtomicU8 = AtomicU8::new(0);

/// syslog(2). Errors: EINVAL, EPERM, EFAULT, ERESTARTSYS.
pub fn sys_syslog(action: i32, buffer: UserAddr, len: i32) -> Result<usize> {
    let cred = current().cred();
    let free = matches!(action, SYSLOG_ACTION_READ_ALL | SYSLOG_ACTION_SIZE_BUFFER);
    if !free && !cred.has_cap(CAP_SYSLOG) && !cred.has_cap(CAP_SYS_ADMIN) {
        return Err(Errno::EPERM);
    }
    match action {
        SYSLOG_ACTION_CLOSE | SYSLOG_ACTION_OPEN => Ok(0),
        SYSLOG_ACTION_READ => read(buffer, check(buffer, len)?),
        SYSLOG_ACTION_READ_ALL => read_all(buffer, check(buffer, len)?),
        SYSLOG_ACTION_READ_CLEAR => {
            let n = read_all(buffer, check(buffer, len)?)?;
            clear();
            Ok(n)
        }
        SYSLOG_ACTION_CLEAR => {
            clear();
            Ok(0)
        }
        SYSLOG_ACTION_CONSOLE_OFF => Ok(console_off()),
        SYSLOG_ACTION_CONSOLE_ON => Ok(console_on()),
        SYSLOG_ACTION_CONSOLE_LEVEL => console_level(len),
        SYSLOG_ACTION_SIZE_UNREAD => Ok(size_unread()),
        SYSLOG_ACTION_SIZE_BUFFER => Ok(RING.lock().size()),
        _ => Err(Errno::EINVAL),
    }
}

fn check(buffer: UserAddr, len: i32) -> Result<usize> {
    match usize::try_from(len) {
        Ok(len) if !buffer.is_null() => Ok(len),
        _ => Err(Errno::EINVAL),
    }
}

fn clear() {
    CLEAR_SEQ.store(RING.lock().next_seq(), Ordering::Relaxed);
}

fn console_off() -> usize {
    if SAVED_LOGLEVEL.load(Ordering::Relaxed) == 0 {
        SAVED_LOGLEVEL.store(CONSOLE_LOGLEVEL.load(Ordering::Relaxed), Ordering::Relaxed);
    }
    CONSOLE_LOGLEVEL.store(1, Ordering::Relaxed);
    0
}

fn console_on() -> usize {
    let saved = SAVED_LOGLEVEL.swap(0, Ordering::Relaxed);
    if saved != 0 {
        CONSOLE_LOGLEVEL.store(saved, Ordering::Relaxed);
    }
    0
}

fn console_level(level: i32) -> Result<usize> {
    if !(1..=8).contains(&level) {
        return Err(Errno::EINVAL);
    }
    super::set_console_loglevel(level as u8);
    SAVED_LOGLEVEL.store(0, Ordering::Relaxed);
    Ok(0)
}

/// One record as user space sees it: `<level>[time] text`.
pub(super) fn user_line(seq: u64) -> Option<(u64, Vec<u8>)> {
    let mut line = [0; LINE_MAX + 64];
    let (next, level, len) = RING.lock().format(seq, &mut line)?;
    let mut text = format!("<{level}>").into_bytes();
    text.extend_from_slice(&line[..len]);
    Some((next, text))
}

fn size_unread() -> usize {
    lines_from(SYSLOG_SEQ.load(Ordering::Relaxed))
        .map(|(_, line)| line.len())
        .sum()
}

fn lines_from(seq: u64) -> impl Iterator<Item = (u64, Vec<u8>)> {
    let mut seq = seq;
    core::iter::from_fn(move || {
        let (next, line) = user_line(seq)?;
        seq = next;
        Some((next, line))
    })
}

/// Waits for records and takes as many whole ones as fit.
fn read(buffer: UserAddr, len: usize) -> Result<usize> {
    LOG_WAIT_NEEDED.store(true, Ordering::Relaxed);
    LOG_WAIT
        .wait_event_interruptible(|| RING.lock().next_seq() > SYSLOG_SEQ.load(Ordering::Relaxed))?;
    let mut done = 0;
    for (next, line) in lines_from(SYSLOG_SEQ.load(Ordering::Relaxed)) {
        if done + line.len() > len {
            break;
        }
        copy_to_user(buffer + done as u64, &line)?;
        done += line.len();
        SYSLOG_SEQ.store(next, Ordering::Relaxed);
    }
    Ok(done)
}

/// The newest records that fit, oldest first.
fn read_all(buffer: UserAddr, len: usize) -> Result<usize> {
    let first = CLEAR_SEQ.load(Ordering::Relaxed);
    let total: usize = lines_from(first).map(|(_, line)| line.len()).sum();
    let mut skip = total.saturating_sub(len);
    let mut done = 0;
    for (_, line) in lines_from(first) {
        if skip > 0 {
            skip = skip.saturating_sub(line.len());
            continue;
        }
        if done + line.len() > len {
            break;
        }
        copy_to_user(buffer + done as u64, &line)?;
        done += line.len();
    }
    Ok(done)
}
