//! /dev/kmsg: records to read, lines to log (Linux: kernel/printk/printk.c, `devkmsg_*`).

use core::sync::atomic::{AtomicU64, Ordering};

use uapi::fcntl::O_NONBLOCK;
use uapi::poll::{POLLIN, POLLRDNORM};

use super::{LINE_MAX, LOG_WAIT, LOG_WAIT_NEEDED, RING, printk};
use crate::fs::char_dev::{CharDevice, DevT};
use crate::fs::file::{File, FileOperations};
use crate::kernel::sched::wait::PollTable;
use crate::mm::uaccess::IovIter;
use crate::prelude::*;

/// The device behind minor 11 of the memory devices.
pub struct KmsgDevice;

impl CharDevice for KmsgDevice {
    fn open(&self, _dev: DevT, _flags: u32) -> Result<Arc<dyn FileOperations>> {
        let first = RING.lock().first_seq();
        Ok(Arc::new(KmsgReader {
            seq: AtomicU64::new(first),
        }))
    }
}

/// One open file: where its reader is.
struct KmsgReader {
    seq: AtomicU64,
}

impl KmsgReader {
    /// `level,seq,microseconds,-;text\n`; lost records are EPIPE once.
    fn next_record(&self) -> Result<Option<String>> {
        let mut text = [0; LINE_MAX];
        let seq = self.seq.load(Ordering::Relaxed);
        let record = RING.lock().read(seq, &mut text);
        let Some(record) = record else {
            return Ok(None);
        };
        if record.seq != seq {
            self.seq.store(record.seq, Ordering::Relaxed);
            return Err(Errno::EPIPE);
        }
        self.seq.store(record.seq + 1, Ordering::Relaxed);
        let body = String::from_utf8_lossy(&text[..record.len]);
        let micros = record.time_ns / 1000;
        Ok(Some(format!(
            "{},{},{micros},-;{body}\n",
            record.level, record.seq
        )))
    }

    fn has_more(&self) -> bool {
        RING.lock().next_seq() > self.seq.load(Ordering::Relaxed)
    }
}

impl FileOperations for KmsgReader {
    fn read_iter(&self, file: &File, to: &mut IovIter<'_>, _pos: &mut u64) -> Result<usize> {
        LOG_WAIT_NEEDED.store(true, Ordering::Relaxed);
        if !self.has_more() {
            if file.flags.load(Ordering::Relaxed) & O_NONBLOCK != 0 {
                return Err(Errno::EAGAIN);
            }
            LOG_WAIT.wait_event_interruptible(|| self.has_more())?;
        }
        let Some(line) = self.next_record()? else {
            return Ok(0);
        };
        if line.len() > to.count() {
            return Err(Errno::EINVAL);
        }
        to.copy_to_iter(line.as_bytes())
    }

    fn write_iter(&self, _file: &File, from: &mut IovIter<'_>, _pos: &mut u64) -> Result<usize> {
        let mut bytes = [0; LINE_MAX];
        let len = from.count().min(LINE_MAX);
        let len = from.copy_from_iter(&mut bytes[..len])?;
        let (level, text) = split_level(&bytes[..len]);
        printk(
            level,
            format_args!("{}", String::from_utf8_lossy(text).trim_end_matches('\n')),
        );
        Ok(len)
    }

    /// SEEK_SET 0 goes to the oldest record, SEEK_END behind the newest.
    fn llseek(&self, _file: &File, offset: i64, whence: u32) -> Result<u64> {
        let ring = RING.lock();
        let seq = match (whence, offset) {
            (0, 0) | (3, 0) => ring.first_seq(),
            (2, 0) => ring.next_seq(),
            (_, 0) => return Err(Errno::EINVAL),
            _ => return Err(Errno::ESPIPE),
        };
        self.seq.store(seq, Ordering::Relaxed);
        Ok(0)
    }

    fn poll(&self, _file: &File, table: Option<&mut PollTable>) -> u32 {
        LOG_WAIT_NEEDED.store(true, Ordering::Relaxed);
        if let Some(table) = table {
            LOG_WAIT.poll_wait(table);
        }
        if self.has_more() {
            POLLIN | POLLRDNORM
        } else {
            0
        }
    }
}

/// A line may begin with `<n>`: facility times 8 plus level. Default: level 4 (notice is 5).
fn split_level(line: &[u8]) -> (u8, &[u8]) {
    let rest = line.strip_prefix(b"<");
    let end = rest.and_then(|rest| rest.iter().position(|b| *b == b'>'));
    let (Some(rest), Some(end)) = (rest, end) else {
        return (4, line);
    };
    let number = core::str::from_utf8(&rest[..end])
        .ok()
        .and_then(|n| n.parse::<u32>().ok());
    match number {
        Some(number) => ((number & 7) as u8, &rest[end + 1..]),
        None => (4, line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_line_may_carry_its_level() {
        assert_eq!(split_level(b"<3>disk on fire"), (3, &b"disk on fire"[..]));
        assert_eq!(
            split_level(b"<14>facility 1, level 6"),
            (6, &b"facility 1, level 6"[..])
        );
        assert_eq!(split_level(b"plain"), (4, &b"plain"[..]));
        assert_eq!(split_level(b"<x>plain"), (4, &b"<x>plain"[..]));
    }
}
