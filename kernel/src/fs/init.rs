//! Calls for the boot, by path and without user memory (Linux: fs/init.c, init/initramfs.c).
#![forbid(unsafe_code)]

use uapi::fcntl::O_RDWR;
use uapi::stat::{S_IFDIR, S_IFMT};

use super::access::{do_chdir, do_chroot};
use super::char_dev::DevT;
use super::chmod::{chmod_common, chown_common};
use super::fdtable::OnExec;
use super::file::{File, current_files};
use super::namei::create::{do_linkat, do_mkdirat, do_mknodat, do_symlinkat};
use super::namei::remove::{do_rmdir, do_unlinkat};
use super::namei::{LookupFlags, Path, WalkEnv, path_lookup};
use super::namespace::{MountArgs, path_mount, path_umount};
use super::open::filp_open;
use super::rlimit::rlimit;
use super::stat::{Kstat, vfs_getattr};
use super::utimes::{NewTime, vfs_utimes};
use crate::prelude::*;

fn lookup(path: &str, how: LookupFlags) -> Result<(WalkEnv, Path)> {
    let env = WalkEnv::current()?;
    let path = path_lookup(&env, None, path.as_bytes(), how)?;
    Ok((env, path))
}

/// mkdir(2).
pub fn init_mkdir(path: &str, mode: u32) -> Result {
    do_mkdirat(&WalkEnv::current()?, None, path.as_bytes(), mode).map(drop)
}
/// mknod(2).
pub fn init_mknod(path: &str, mode: u32, dev: DevT) -> Result {
    do_mknodat(&WalkEnv::current()?, None, path.as_bytes(), mode, dev).map(drop)
}
/// symlink(2).
pub fn init_symlink(target: &[u8], path: &str) -> Result {
    do_symlinkat(&WalkEnv::current()?, target, None, path.as_bytes()).map(drop)
}
/// link(2).
pub fn init_link(old: &str, new: &str) -> Result {
    let (env, old) = lookup(old, LookupFlags::empty())?;
    do_linkat(&env, &old, None, new.as_bytes()).map(drop)
}
/// chmod(2).
pub fn init_chmod(path: &str, mode: u32) -> Result {
    let (env, path) = lookup(path, LookupFlags::FOLLOW)?;
    chmod_common(&path, mode, &env.cred)
}
/// lchown(2).
pub fn init_chown(path: &str, user: u32, group: u32) -> Result {
    let (env, path) = lookup(path, LookupFlags::empty())?;
    chown_common(&path, user, group, &env.cred)
}
/// Sets both times of a file, itself if it is a link, to seconds since 1970.
pub fn init_utimes(path: &str, seconds: u64) -> Result {
    let (env, path) = lookup(path, LookupFlags::empty())?;
    let seconds = i64::try_from(seconds).map_err(|_| Errno::EINVAL)?;
    let time = NewTime::At(seconds.saturating_mul(1_000_000_000));
    vfs_utimes(&path, Some([time; 2]), &env.cred)
}
/// unlink(2).
pub fn init_unlink(path: &str) -> Result {
    do_unlinkat(&WalkEnv::current()?, None, path.as_bytes())
}
/// rmdir(2).
pub fn init_rmdir(path: &str) -> Result {
    do_rmdir(&WalkEnv::current()?, None, path.as_bytes())
}
/// chdir(2).
pub fn init_chdir(path: &str) -> Result {
    let (env, path) = lookup(path, LookupFlags::FOLLOW | LookupFlags::DIRECTORY)?;
    do_chdir(&env, path)
}
/// chroot(2).
pub fn init_chroot(path: &str) -> Result {
    let (env, path) = lookup(path, LookupFlags::FOLLOW | LookupFlags::DIRECTORY)?;
    do_chroot(&env, path)
}
/// Whether the path can be reached: what boot asks about /init. That it can be executed is not asked (Linux:
/// `MAY_ACCESS` alone), so that an /init without the right to be executed is told as such. Errors: ENOENT, ...
pub fn init_eaccess(path: &str) -> Result {
    lookup(path, LookupFlags::FOLLOW).map(drop)
}
/// stat(2), or lstat(2) without `FOLLOW`.
pub fn init_stat(path: &str, how: LookupFlags) -> Result<Kstat> {
    let (_, path) = lookup(path, how)?;
    Ok(vfs_getattr(path.inode()))
}
/// mount(2).
pub fn init_mount(source: &str, path: &str, fs_type: &str, flags: u64, data: &str) -> Result {
    let (env, path) = lookup(path, LookupFlags::FOLLOW)?;
    let args = MountArgs {
        source: Some(source.as_bytes()),
        fs_type: Some(fs_type.as_bytes()),
        flags,
        data,
    };
    path_mount(&env, &path, &args)
}
/// umount2(2).
pub fn init_umount(path: &str, flags: u32) -> Result {
    let (env, path) = lookup(path, LookupFlags::FOLLOW)?;
    path_umount(&env, path, flags)
}
/// dup(2) of an open file into the lowest descriptor.
pub fn init_dup(file: &Arc<File>) -> Result<u32> {
    let limit = rlimit(uapi::resource::RLIMIT_NOFILE);
    current_files()?.install(file.clone(), limit, OnExec::Keep)
}

/// Removes what stands in the way of a member of an archive: anything but a directory for a
/// directory, and anything of another type (Linux: `clean_path`).
pub fn clean_path(path: &str, kind: u32) {
    let Ok(stat) = init_stat(path, LookupFlags::empty()) else {
        return;
    };
    if (stat.mode ^ kind) & S_IFMT != 0 {
        let _ = if stat.mode & S_IFMT == S_IFDIR {
            init_rmdir(path)
        } else {
            init_unlink(path)
        };
    }
}

/// Opens /dev/console as descriptors 0, 1 and 2 of the running task
/// (Linux: init/main.c, `console_on_rootfs`). Errors: ENOENT, ENXIO, ENODEV.
pub fn open_console() -> Result {
    let file = filp_open("/dev/console", O_RDWR, 0)?;
    for _ in 0..3 {
        init_dup(&file)?;
    }
    Ok(())
}
