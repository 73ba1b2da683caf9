//! Names from user space, and where a walk starts (Linux: fs/namei.c, `getname_flags`).
#![forbid(unsafe_code)]

use uapi::fcntl::AT_FDCWD;
use uapi::limits::PATH_MAX;

use super::Path;
use crate::arch::{PAGE_SIZE, TASK_SIZE};
use crate::fs::file::fget_raw;
use crate::fs::fs_struct::FsStruct;
use crate::fs::hashtable::find_in_word;
use crate::kernel::cred::Cred;
use crate::kernel::sched::current;
use crate::mm::UserAddr;
use crate::mm::uaccess::copy_from_user;
use crate::prelude::*;

/// Names up to this length stay on the stack.
const EMBEDDED: usize = 64;

/// A path that was copied from user space (Linux: `struct filename`).
pub struct Filename {
    embedded: [u8; EMBEDDED],
    len: usize,
    long: Option<Vec<u8>>,
}

impl Filename {
    /// The text without its NUL.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.long {
            Some(text) => text,
            None => &self.embedded[..self.len],
        }
    }
}

/// Copies a path. Errors: ENOENT when it is empty, ENAMETOOLONG, EFAULT.
#[inline]
pub fn getname(name: UserAddr) -> Result<Filename> {
    let filename = getname_flags(name)?;
    if filename.as_bytes().is_empty() {
        return Err(Errno::ENOENT);
    }
    Ok(filename)
}

/// Copies a path that may be empty (AT_EMPTY_PATH). Errors: ENAMETOOLONG, EFAULT.
#[inline]
pub fn getname_flags(name: UserAddr) -> Result<Filename> {
    let mut filename = Filename {
        embedded: [0; EMBEDDED],
        len: 0,
        long: None,
    };
    filename.fill(name)?;
    Ok(filename)
}

impl Filename {
    fn fill(&mut self, name: UserAddr) -> Result {
        // A page is readable as a whole or not at all, so a piece that ends with its page can
        // only fault where the string itself does.
        let piece = EMBEDDED.min(PAGE_SIZE - name.page_offset());
        if name.as_u64() >= TASK_SIZE {
            return Err(Errno::EFAULT);
        }
        copy_from_user(&mut self.embedded[..piece], name)?;
        // Bytes behind the piece are zero, so a string that goes on seems to end there.
        self.len = EMBEDDED;
        let words = self.embedded.as_chunks::<8>().0.iter().enumerate();
        for (index, word) in words {
            if let Some(before) = find_in_word(u64::from_le_bytes(*word), 0) {
                self.len = index * 8 + before as usize;
                break;
            }
        }
        if self.len >= piece {
            self.long = Some(long_name(name)?);
        }
        Ok(())
    }
}

/// A name that did not fit, page by page.
#[cold]
fn long_name(name: UserAddr) -> Result<Vec<u8>> {
    let mut text: Vec<u8> = Vec::new();
    text.try_reserve_exact(PATH_MAX)
        .map_err(|_| Errno::ENOMEM)?;
    while text.len() < PATH_MAX {
        let from = name.checked_add(text.len() as u64).ok_or(Errno::EFAULT)?;
        let start = text.len();
        let piece = (PAGE_SIZE - from.page_offset()).min(PATH_MAX - start);
        text.resize(start + piece, 0);
        copy_from_user(&mut text[start..], from)?;
        if let Some(len) = text[start..].iter().position(|&byte| byte == 0) {
            text.truncate(start + len);
            return Ok(text);
        }
    }
    Err(Errno::ENAMETOOLONG)
}

/// Who walks: root, working directory and credentials. Tests make their own.
pub struct WalkEnv {
    /// Root, working directory, umask.
    pub fs: Arc<FsStruct>,
    /// Whose permissions count.
    pub cred: Arc<Cred>,
}

impl WalkEnv {
    /// The running task. Errors: ENOENT for a dying task, which has no root any more.
    #[inline]
    pub fn current() -> Result<Self> {
        let task = current();
        Ok(Self {
            fs: task.fs().ok_or(Errno::ENOENT)?,
            cred: task.cred(),
        })
    }
}

/// Where the walk of `name` starts: `None` is the working directory (or, for an absolute name,
/// the root, whatever `dfd` is). Errors: EBADF.
#[inline]
pub fn start_at(dfd: i32, name: &[u8]) -> Result<Option<Path>> {
    if dfd == AT_FDCWD || name.first() == Some(&b'/') {
        return Ok(None);
    }
    Ok(Some(fget_raw(dfd)?.path.clone()))
}
