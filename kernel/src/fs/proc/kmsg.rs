//! /proc/kmsg: the log, each line once (Linux: fs/proc/kmsg.c).
#![forbid(unsafe_code)]

use uapi::capability::CAP_SYSLOG;
use uapi::poll::{POLLIN, POLLRDNORM};

use super::generic::{ProcFile, proc_create};
use crate::fs::file::{File, FileOperations};
use crate::kernel::printk::{LOG_WAIT, syslog_has_unread, syslog_read};
use crate::kernel::sched::current;
use crate::kernel::sched::wait::PollTable;
use crate::mm::uaccess::IovIter;
use crate::prelude::*;

struct Kmsg;

impl ProcFile for Kmsg {
    fn open(&self, _flags: u32) -> Result<Arc<dyn FileOperations>> {
        match current().cred().has_cap(CAP_SYSLOG) {
            true => Ok(Arc::new(Kmsg)),
            false => Err(Errno::EPERM),
        }
    }
}

impl FileOperations for Kmsg {
    fn read_iter(&self, file: &File, to: &mut IovIter<'_>, _pos: &mut u64) -> Result<usize> {
        if file.is_nonblocking() && !syslog_has_unread() {
            return Err(Errno::EAGAIN);
        }
        syslog_read(to)
    }
    fn poll(&self, _file: &File, table: Option<&mut PollTable>) -> u32 {
        if let Some(table) = table {
            LOG_WAIT.poll_wait(table);
        }
        if syslog_has_unread() {
            POLLIN | POLLRDNORM
        } else {
            0
        }
    }
    fn can_poll(&self) -> bool {
        true
    }
}

#[__init]
fn proc_kmsg_init() -> Result {
    proc_create("kmsg", 0o400, Arc::new(Kmsg))
}
fs_initcall!(proc_kmsg_init);
