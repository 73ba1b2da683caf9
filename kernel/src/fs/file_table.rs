//! Open file descriptions and their number (Linux: fs/file_table.c).
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use uapi::capability::CAP_SYS_ADMIN;
use uapi::fcntl::*;

use crate::fs::eventpoll::EpollLinks;
use crate::fs::fcntl::FileOwner;
use crate::fs::file::{File, FileOperations, fmode};
use crate::fs::inode::Inode;
use crate::fs::mount::WriteAccess;
use crate::fs::namei::Path;
use crate::fs::sleep_lock::SleepLock;
use crate::kernel::cred::Cred;
use crate::kernel::sysctl::{CtlTable, parse_number, register_sysctl};
use crate::mm::slab_common::ArcCache;
use crate::mm::slub::SlabKind;
use crate::prelude::*;

/// Fewest open files that the system allows (Linux: `NR_FILE`).
const NR_FILE: u64 = 8192;

static MAX_FILES: AtomicU64 = AtomicU64::new(NR_FILE);
static NR_FILES: AtomicU64 = AtomicU64::new(0);
static FILES_SAID: AtomicU32 = AtomicU32::new(0);

/// Lets open files take a tenth of memory at most, at 1 KiB each (Linux: `files_maxfiles_init`).
pub fn files_maxfiles_init(total_bytes: u64) {
    let max = (total_bytes / 1024 / 10).max(NR_FILE);
    MAX_FILES.store(max, Ordering::Relaxed);
}

/// /proc/sys/fs/file-max.
pub fn max_files() -> u64 {
    MAX_FILES.load(Ordering::Relaxed)
}
/// Changes /proc/sys/fs/file-max.
pub fn set_max_files(max: u64) {
    MAX_FILES.store(max, Ordering::Relaxed);
}
/// Files open now, the first number of /proc/sys/fs/file-nr.
pub fn nr_files() -> u64 {
    NR_FILES.load(Ordering::Relaxed)
}

/// One open file in the count.
pub(super) struct Counted(());

impl Counted {
    /// Errors: ENFILE at the limit, unless the caller may administrate.
    fn new(cred: Option<&Cred>) -> Result<Self> {
        let before = NR_FILES.fetch_add(1, Ordering::Relaxed);
        let counted = Self(());
        let privileged = || cred.is_none_or(|cred| cred.has_cap(CAP_SYS_ADMIN));
        if before >= max_files() && !privileged() {
            if FILES_SAID.fetch_add(1, Ordering::Relaxed) == 0 {
                pr_info!("VFS: file-max limit {} reached", max_files());
            }
            return Err(Errno::ENFILE);
        }
        Ok(counted)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        NR_FILES.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The rights of a file that is open for writing; given back when it is closed.
pub(super) struct Writer {
    inode: Arc<Inode>,
    _access: WriteAccess,
}

impl Writer {
    /// Errors: EROFS, ETXTBSY.
    pub(super) fn new(path: &Path) -> Result<Self> {
        let access = path.mnt.want_write()?;
        path.inode().get_write_access()?;
        Ok(Self {
            inode: path.inode().clone(),
            _access: access,
        })
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.inode.put_write_access();
    }
}

/// Which of `fmode` an open with `flags` has.
fn mode_of(flags: u32, inode: &Inode, ops: &dyn FileOperations) -> u32 {
    if flags & O_PATH != 0 {
        return fmode::PATH;
    }
    let mut mode = (flags + 1) & O_ACCMODE;
    if ops.seekable() {
        mode |= fmode::LSEEK | fmode::PREAD | fmode::PWRITE;
    }
    if inode.is_reg() || inode.is_dir() {
        mode |= fmode::ATOMIC_POS;
    }
    mode
}

/// Linux: `filp_cachep`.
static FILP_CACHE: ArcCache<File> = ArcCache::new("filp", SlabKind::Plain);

impl File {
    /// An open file description of `path` (Linux: `alloc_file`). `cred` is `None` for the
    /// kernel's own files. Errors: ENFILE, ENOMEM.
    pub(super) fn build(
        path: Path,
        flags: u32,
        ops: Arc<dyn FileOperations>,
        writer: Option<Writer>,
        cred: Option<&Cred>,
    ) -> Result<Arc<File>> {
        let counted = Counted::new(cred)?;
        let inode = path.inode().clone();
        FILP_CACHE.try_arc(Self {
            mode: mode_of(flags, &inode, &*ops),
            path,
            inode,
            flags: AtomicU32::new(flags & !(O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_CLOEXEC)),
            pos: AtomicU64::new(0),
            ops,
            pos_lock: SleepLock::new(),
            owner: SpinLock::new(FileOwner::default()),
            epoll: EpollLinks::default(),
            _writer: writer,
            _counted: counted,
        })
    }

    /// A file without a place in any directory: pipes, sockets, event files
    /// (Linux: `alloc_file_pseudo`).
    pub fn new_pseudo(path: Path, flags: u32, ops: Arc<dyn FileOperations>) -> Result<Arc<File>> {
        let cred = crate::kernel::sched::current().cred();
        Self::build(path, flags, ops, None, Some(&cred))
    }
}

impl Drop for File {
    /// The last user is gone (Linux: `__fput`). May sleep: never drop a file under a spin lock.
    fn drop(&mut self) {
        if self.mode & fmode::PATH != 0 {
            return;
        }
        self.epoll.release();
        if let Some(locks) = self.inode.locks_if_any() {
            locks.release_file(self);
        }
        let ops = self.ops.clone();
        ops.release(self);
    }
}

static FS_TABLE: &[CtlTable] = &[
    CtlTable {
        path: "fs/file-max",
        get: || format!("{}", max_files()),
        set: Some(|text| {
            set_max_files(parse_number(text, 0, i64::MAX as u64)?);
            Ok(())
        }),
    },
    CtlTable {
        path: "fs/file-nr",
        get: || format!("{}\t0\t{}", nr_files(), max_files()),
        set: None,
    },
    CtlTable {
        path: "fs/nr_open",
        get: || format!("{}", crate::fs::fdtable::NR_OPEN),
        set: None,
    },
    CtlTable {
        path: "fs/inode-nr",
        get: || format!("{}\t0", crate::fs::inode::nr_inodes()),
        set: None,
    },
    CtlTable {
        path: "fs/inode-state",
        get: || format!("{}\t0\t0\t0\t0\t0\t0", crate::fs::inode::nr_inodes()),
        set: None,
    },
    CtlTable {
        path: "fs/dentry-state",
        get: || format!("{}\t0\t45\t0\t0\t0", crate::fs::dcache::nr_dentry()),
        set: None,
    },
    CtlTable {
        path: "fs/pipe-max-size",
        get: || format!("{}", crate::fs::pipe::pipe_max_size()),
        set: Some(|text| {
            crate::fs::pipe::set_pipe_max_size(parse_number(text, 0, 1 << 31)?);
            Ok(())
        }),
    },
];

#[__init]
fn fs_sysctl_init() -> Result {
    register_sysctl(FS_TABLE);
    Ok(())
}
fs_initcall!(fs_sysctl_init);
