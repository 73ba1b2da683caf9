//! Files whose text the kernel makes when they are read (Linux: fs/seq_file.c).
#![forbid(unsafe_code)]

use core::sync::atomic::Ordering;

use uapi::fcntl::{SEEK_CUR, SEEK_SET};

use crate::fs::file::{File, FileOperations};
use crate::fs::read_write::vfs_setpos;
use crate::mm::uaccess::IovIter;
use crate::prelude::*;

/// An open text file: `show` makes the whole text at the first read, and again when a read starts
/// at the beginning. Reads in between see one text, however small they are
/// (Linux: `single_open`).
pub struct SeqFile<S> {
    show: S,
    text: SpinLock<Option<Arc<Vec<u8>>>>,
}

impl<S: Fn(&mut Vec<u8>) -> Result + Send + Sync> SeqFile<S> {
    /// A file with the text that `show` appends.
    pub fn new(show: S) -> Self {
        Self {
            show,
            text: SpinLock::new(None),
        }
    }

    fn text(&self, pos: u64) -> Result<Arc<Vec<u8>>> {
        let kept = self.text.lock().clone();
        if let Some(text) = kept
            && pos != 0
        {
            return Ok(text);
        }
        let mut bytes = Vec::new();
        (self.show)(&mut bytes)?;
        let text = Arc::new(bytes);
        let old = self.text.lock().replace(text.clone());
        drop(old);
        Ok(text)
    }
}

impl<S: Fn(&mut Vec<u8>) -> Result + Send + Sync> FileOperations for SeqFile<S> {
    fn read_iter(&self, _file: &File, to: &mut IovIter<'_>, pos: &mut u64) -> Result<usize> {
        let text = self.text(*pos)?;
        let start = usize::try_from(*pos).unwrap_or(usize::MAX);
        let rest = text.get(start..).unwrap_or_default();
        let len = rest.len().min(to.count());
        let copied = to.copy_to_iter(&rest[..len])?;
        *pos += copied as u64;
        Ok(copied)
    }
    fn llseek(&self, file: &File, offset: i64, whence: u32) -> Result<u64> {
        let target = match whence {
            SEEK_SET => Some(offset),
            SEEK_CUR => offset.checked_add(file.pos.load(Ordering::Relaxed) as i64),
            _ => None,
        };
        vfs_setpos(file, target.ok_or(Errno::EINVAL)?, i64::MAX as u64)
    }
    fn seekable(&self) -> bool {
        true
    }
}
