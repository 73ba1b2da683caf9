//! Event counters (Linux: fs/eventfd.c).
#![forbid(unsafe_code)]

use uapi::epoll::{EFD_CLOEXEC, EFD_NONBLOCK, EFD_SEMAPHORE};
use uapi::fcntl::O_RDWR;
use uapi::poll::*;

use crate::fs::anon_inodes::anon_inode_getfd;
use crate::fs::fdtable::OnExec;
use crate::fs::file::{File, FileOperations};
use crate::kernel::sched::wait::{PollTable, WaitQueueHead};
use crate::mm::uaccess::IovIter;
use crate::prelude::*;

struct EventFd {
    count: SpinLock<u64>,
    wait: WaitQueueHead,
    semaphore: bool,
}

impl EventFd {
    fn new(count: u64, flags: u32) -> Self {
        Self {
            count: SpinLock::new(count),
            wait: WaitQueueHead::new(),
            semaphore: flags & EFD_SEMAPHORE != 0,
        }
    }
    /// Takes the whole count, or one of a semaphore.
    fn try_take(&self) -> Option<u64> {
        let mut count = self.count.lock();
        if *count == 0 {
            return None;
        }
        let taken = if self.semaphore { 1 } else { *count };
        *count -= taken;
        Some(taken)
    }
    /// Adds unless the sum would reach the greatest value.
    fn try_add(&self, value: u64) -> bool {
        let mut count = self.count.lock();
        let room = u64::MAX - 1 - *count;
        if value > room {
            return false;
        }
        *count += value;
        true
    }
}

impl FileOperations for EventFd {
    fn read_iter(&self, file: &File, to: &mut IovIter<'_>, _pos: &mut u64) -> Result<usize> {
        if to.count() < 8 {
            return Err(Errno::EINVAL);
        }
        let value = self
            .wait
            .take_or_wait(file.is_nonblocking(), || self.try_take())?;
        self.wait.wake_up_all();
        to.copy_to_iter(&value.to_le_bytes())
    }
    fn write_iter(&self, file: &File, from: &mut IovIter<'_>, _pos: &mut u64) -> Result<usize> {
        let mut raw = [0; 8];
        if from.count() < 8 {
            return Err(Errno::EINVAL);
        }
        if from.copy_from_iter(&mut raw)? != raw.len() {
            return Err(Errno::EFAULT);
        }
        let value = u64::from_le_bytes(raw);
        if value == u64::MAX {
            return Err(Errno::EINVAL);
        }
        if !self.try_add(value) {
            if file.is_nonblocking() {
                return Err(Errno::EAGAIN);
            }
            self.wait.wait_event_interruptible(|| self.try_add(value))?;
        }
        self.wait.wake_up_all();
        Ok(raw.len())
    }
    fn poll(&self, _file: &File, table: Option<&mut PollTable>) -> u32 {
        if let Some(table) = table {
            self.wait.poll_wait(table);
        }
        let count = *self.count.lock();
        let mut mask = 0;
        if count > 0 {
            mask |= POLLIN;
        }
        if count == u64::MAX {
            mask |= POLLERR;
        }
        if count < u64::MAX - 1 {
            mask |= POLLOUT;
        }
        mask
    }
    fn can_poll(&self) -> bool {
        true
    }
}

/// A nonblocking event counter without a descriptor.
#[cfg(test)]
pub(super) fn eventfd_file(count: u64, flags: u32) -> Result<Arc<File>> {
    let ops = Arc::new(EventFd::new(count, flags));
    crate::fs::anon_inodes::anon_inode_getfile("[eventfd]", ops, O_RDWR | EFD_NONBLOCK)
}

/// eventfd2(2). Errors: EINVAL, EMFILE, ENFILE.
pub fn sys_eventfd2(count: u32, flags: u32) -> Result<u32> {
    if flags & !(EFD_SEMAPHORE | EFD_CLOEXEC | EFD_NONBLOCK) != 0 {
        return Err(Errno::EINVAL);
    }
    let ops = Arc::new(EventFd::new(u64::from(count), flags));
    let on_exec = OnExec::from_flag(flags, EFD_CLOEXEC);
    anon_inode_getfd("[eventfd]", ops, O_RDWR | flags & EFD_NONBLOCK, on_exec)
}

/// eventfd(2).
pub fn sys_eventfd(count: u32) -> Result<u32> {
    sys_eventfd2(count, 0)
}
