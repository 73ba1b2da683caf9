//! syslog(2) (Linux: kernel/printk/printk.c, `do_syslog`).

use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use uapi::syslog::*;

use super::{CONSOLE_LOGLEVEL, LINE_MAX, LOG_WAIT, LOG_WAIT_NEEDED, RING};
use crate::kernel::sched::current;
use crate::kernel::sysctl::{CtlTable, parse_number, register_sysctl};
use crate::mm::UserAddr;
use crate::mm::uaccess::{IovIter, copy_to_user, import_ubuf};
use crate::prelude::*;

const CAP_SYSLOG: u32 = 34;
const CAP_SYS_ADMIN: u32 = 21;

/// Where SYSLOG_ACTION_READ goes on.
static SYSLOG_POS: SpinLock<SyslogPos> = SpinLock::new(SyslogPos { seq: 0, partial: 0 });
/// Only CAP_SYSLOG may read the log (/proc/sys/kernel/dmesg_restrict).
static DMESG_RESTRICT: AtomicBool = AtomicBool::new(false);
/// First record after SYSLOG_ACTION_CLEAR.
static CLEAR_SEQ: AtomicU64 = AtomicU64::new(0);
/// Level to go back to after SYSLOG_ACTION_CONSOLE_OFF; 0 when it is on.
static SAVED_LOGLEVEL: AtomicU8 = AtomicU8::new(0);

/// A record, and how much of its line was read already.
struct SyslogPos {
    seq: u64,
    partial: usize,
}

/// syslog(2). Errors: EINVAL, EPERM, EFAULT, ERESTARTSYS.
pub fn sys_syslog(action: i32, buffer: UserAddr, len: i32) -> Result<usize> {
    let cred = current().cred();
    let free = !DMESG_RESTRICT.load(Ordering::Relaxed)
        && matches!(action, SYSLOG_ACTION_READ_ALL | SYSLOG_ACTION_SIZE_BUFFER);
    if !free && !cred.has_cap(CAP_SYSLOG) && !cred.has_cap(CAP_SYS_ADMIN) {
        return Err(Errno::EPERM);
    }
    match action {
        SYSLOG_ACTION_CLOSE | SYSLOG_ACTION_OPEN => Ok(0),
        SYSLOG_ACTION_READ => syslog_read(&mut import_ubuf(buffer, check(buffer, len)?)?),
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
    let (seq, partial) = {
        let pos = SYSLOG_POS.lock();
        (pos.seq, pos.partial)
    };
    let lines = lines_from(seq).map(|(_, line)| line.len());
    lines.sum::<usize>().saturating_sub(partial)
}

fn lines_from(seq: u64) -> impl Iterator<Item = (u64, Vec<u8>)> {
    let mut seq = seq;
    core::iter::from_fn(move || {
        let (next, line) = user_line(seq)?;
        seq = next;
        Some((next, line))
    })
}

/// Whether SYSLOG_ACTION_READ would not have to wait.
pub fn syslog_has_unread() -> bool {
    LOG_WAIT_NEEDED.store(true, Ordering::Relaxed);
    let seq = SYSLOG_POS.lock().seq;
    RING.lock().next_seq() > seq
}

/// Waits for records and takes as many whole ones as fit; of a line that is longer than all the
/// room, a part (Linux: `syslog_print`). Errors: ERESTARTSYS, EFAULT.
pub fn syslog_read(to: &mut IovIter<'_>) -> Result<usize> {
    if to.count() == 0 {
        return Ok(0);
    }
    LOG_WAIT.wait_event_interruptible(syslog_has_unread)?;
    let mut done = 0;
    while let Some(piece) = next_piece(to.count(), done == 0) {
        let copied = to.copy_to_iter(&piece)?;
        done += copied;
        if copied < piece.len() {
            break;
        }
    }
    Ok(done)
}

/// The rest of the next line if there is room for it, or a part of it where one `may_split`.
fn next_piece(room: usize, may_split: bool) -> Option<Vec<u8>> {
    let mut pos = SYSLOG_POS.lock();
    let (next, mut line) = user_line(pos.seq)?;
    let lost = next != pos.seq + 1;
    let read = if lost { 0 } else { pos.partial.min(line.len()) };
    line.drain(..read);
    if line.len() <= room {
        *pos = SyslogPos {
            seq: next,
            partial: 0,
        };
    } else if may_split {
        *pos = SyslogPos {
            seq: next - 1,
            partial: read + room,
        };
        line.truncate(room);
    } else {
        return None;
    }
    Some(line)
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

static PRINTK_TABLE: &[CtlTable] = &[CtlTable {
    path: "kernel/dmesg_restrict",
    get: || format!("{}", u8::from(DMESG_RESTRICT.load(Ordering::Relaxed))),
    set: Some(|text| {
        DMESG_RESTRICT.store(parse_number(text, 0, 1)? == 1, Ordering::Relaxed);
        Ok(())
    }),
}];

#[__init]
fn printk_sysctl_init() -> Result {
    register_sysctl(PRINTK_TABLE);
    Ok(())
}
fs_initcall!(printk_sysctl_init);
