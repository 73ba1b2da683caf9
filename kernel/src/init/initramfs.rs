//! The root file system from the boot loader's archive (Linux: init/initramfs.c).
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use uapi::errno::Errno;
use uapi::fcntl::{O_CREAT, O_LARGEFILE, O_TRUNC, O_WRONLY};
use uapi::stat::{S_IFMT, S_IFREG};

use crate::arch;
use crate::fs::char_dev::DevT;
use crate::fs::file::File;
use crate::fs::init as kfs;
use crate::fs::open::filp_open;
use crate::kernel::async_::{
    AsyncCookie, AsyncDomain, async_schedule_domain, async_synchronize_cookie_domain,
};
use crate::lib::cpio::{self, CpioSink, Entry, Header, Kind};
use crate::lib::kstrtox::kstrtobool;
use crate::prelude::*;

/// Unpacking is waited for by name: a full synchronisation does not include it.
static INITRAMFS_DOMAIN: AsyncDomain = AsyncDomain::exclusive();
/// The cookie of the unpacking; 0 before there is one.
static INITRAMFS_COOKIE: AtomicU64 = AtomicU64::new(0);
/// `initramfs_async=`: the other initcalls go on meanwhile.
static INITRAMFS_ASYNC: AtomicBool = AtomicBool::new(true);

#[__init]
fn initramfs_async_setup(value: &str) -> Result {
    let value = kstrtobool(value)?;
    INITRAMFS_ASYNC.store(value, Ordering::Relaxed);
    Ok(())
}
__setup!("initramfs_async=", initramfs_async_setup);

/// Has the boot loader's archives unpacked into the root file system, by a worker thread (Linux:
/// `populate_rootfs`).
#[__init]
fn populate_rootfs() -> Result {
    let cookie = async_schedule_domain(do_populate_rootfs, &INITRAMFS_DOMAIN);
    INITRAMFS_COOKIE.store(cookie, Ordering::Release);
    if !INITRAMFS_ASYNC.load(Ordering::Relaxed) {
        wait_for_initramfs();
    }
    Ok(())
}
rootfs_initcall!(populate_rootfs);

/// Makes what Linux's built-in archive has, then unpacks the boot loader's archives over it. A
/// broken one leaves what came before the damage; the boot goes on
/// (Linux: `do_populate_rootfs`). `kernel_init` waits for it before init text is freed.
#[__init]
fn do_populate_rootfs(_cookie: AsyncCookie) {
    let _ = default_rootfs();
    let archive = arch::initrd_bytes();
    if archive.is_empty() {
        return;
    }
    pr_info!("Unpacking initramfs...");
    let mut unpacker = Unpacker {
        file: None,
        directories: Vec::new(),
    };
    if let Err(error) = cpio::unpack(archive, &mut unpacker) {
        pr_emerg!("Initramfs unpacking failed: {error}");
    }
    unpacker.set_directory_times();
    arch::free_initrd_mem();
}

/// Returns when the archive is unpacked (Linux: `wait_for_initramfs`). May sleep.
pub fn wait_for_initramfs() {
    match INITRAMFS_COOKIE.load(Ordering::Acquire) {
        // Nobody would ever wake a waiter for a call that has not been scheduled.
        0 => pr_warn!("wait_for_initramfs() called before rootfs_initcalls"),
        // One more: everything before the next cookie, the unpacking itself included.
        cookie => async_synchronize_cookie_domain(cookie + 1, &INITRAMFS_DOMAIN),
    }
}

/// A console for any archive, and a place to mount another root on
/// (Linux: usr/default_cpio_list; init/noinitramfs.c, `default_rootfs`).
#[__init]
fn default_rootfs() -> Result {
    let made = ignore_existing(kfs::init_mkdir("/dev", 0o755))
        .and_then(|()| ignore_existing(kfs::init_mknod("/dev/console", 0o020_600, DevT::new(5, 1))))
        .and_then(|()| ignore_existing(kfs::init_mkdir("/root", 0o700)));
    if made.is_err() {
        pr_warn!("Failed to create a rootfs");
    }
    made
}

fn ignore_existing(result: Result) -> Result {
    if result == Err(Errno::EEXIST) {
        Ok(())
    } else {
        result
    }
}

/// Writes an archive's members to the root file system.
struct Unpacker {
    /// The file whose contents arrive.
    file: Option<(String, Arc<File>, u64)>,
    /// Directories' times are set last: creating a member changes them.
    directories: Vec<(String, u32)>,
}

fn path_of(entry: &Entry<'_>) -> Result<String> {
    let name = core::str::from_utf8(entry.path).map_err(|_| Errno::EILSEQ)?;
    Ok(if name.starts_with('/') {
        String::from(name)
    } else {
        format!("/{name}")
    })
}

impl Unpacker {
    fn open(&mut self, path: &str, mode: u32) -> Result {
        let flags = O_WRONLY | O_CREAT | O_TRUNC | O_LARGEFILE;
        let file = filp_open(path, flags, mode & 0o7777)?;
        self.file = Some((String::from(path), file, 0));
        Ok(())
    }

    #[__init]
    fn set_directory_times(&mut self) {
        for (path, mtime) in self.directories.drain(..).rev() {
            let _ = kfs::init_utimes(&path, u64::from(mtime));
        }
    }

    fn make(&mut self, entry: &Entry<'_>, path: &str) -> Result {
        let header = entry.header;
        match entry.kind {
            Kind::Directory => {
                ignore_existing(kfs::init_mkdir(path, header.mode & 0o7777))?;
                kfs::init_chown(path, header.uid, header.gid)?;
                kfs::init_chmod(path, header.mode & 0o7777)?;
                self.directories.push((String::from(path), header.mtime));
            }
            Kind::File => {
                self.open(path, header.mode)?;
                kfs::init_chown(path, header.uid, header.gid)?;
                kfs::init_chmod(path, header.mode & 0o7777)?;
            }
            Kind::Link { target } => {
                let target = Entry {
                    path: target,
                    ..*entry
                };
                kfs::init_link(&path_of(&target)?, path)?;
                if header.mode & S_IFMT == S_IFREG && header.size > 0 {
                    self.open(path, header.mode)?;
                }
            }
            Kind::Symlink { target } => {
                kfs::init_symlink(target, path)?;
                kfs::init_chown(path, header.uid, header.gid)?;
                kfs::init_utimes(path, u64::from(header.mtime))?;
            }
            Kind::Special => {
                let (major, minor) = header.rdev;
                let dev = DevT::new(major & 0xfff, minor & 0xf_ffff);
                ignore_existing(kfs::init_mknod(path, header.mode, dev))?;
                kfs::init_chown(path, header.uid, header.gid)?;
                kfs::init_chmod(path, header.mode & 0o7777)?;
                kfs::init_utimes(path, u64::from(header.mtime))?;
            }
        }
        Ok(())
    }
}

impl CpioSink for Unpacker {
    fn entry(&mut self, entry: &Entry<'_>) -> Result<(), Errno> {
        let path = path_of(entry)?;
        // A link takes the place of whatever has its name.
        let kind = match entry.kind {
            Kind::Link { .. } | Kind::Symlink { .. } => 0,
            _ => entry.header.mode & S_IFMT,
        };
        kfs::clean_path(&path, kind);
        self.make(entry, &path)
    }

    fn data(&mut self, bytes: &[u8]) -> Result<(), Errno> {
        let Some((_, file, pos)) = &mut self.file else {
            return Ok(());
        };
        let mut rest = bytes;
        while !rest.is_empty() {
            let n = file.kernel_write(rest, pos)?;
            rest = &rest[n..];
        }
        Ok(())
    }

    fn close(&mut self, header: &Header) {
        if let Some((path, file, _)) = self.file.take() {
            drop(file);
            let _ = kfs::init_utimes(&path, u64::from(header.mtime));
        }
    }
}
