//! statfs and ustat (Linux: fs/statfs.c).
#![forbid(unsafe_code)]

use uapi::mount::*;
use uapi::stat::*;

use crate::fs::char_dev::DevT;
use crate::fs::file::fget_raw;
use crate::fs::namei::{LookupFlags, Path, WalkEnv, getname, path_lookup};
use crate::fs::namespace::current_namespace;
use crate::mm::UserAddr;
use crate::mm::uaccess::{copy_to_user, put_user};
use crate::prelude::*;

/// Mount flags as statfs(2) shows them (Linux: `calculate_f_flags`).
fn f_flags(flags: u64) -> u64 {
    let pairs = [
        (MS_RDONLY, ST_RDONLY),
        (MS_NOSUID, ST_NOSUID),
        (MS_NODEV, ST_NODEV),
        (MS_NOEXEC, ST_NOEXEC),
        (MS_SYNCHRONOUS, ST_SYNCHRONOUS),
        (MS_NOATIME, ST_NOATIME),
        (MS_NODIRATIME, ST_NODIRATIME),
        (MS_RELATIME, ST_RELATIME),
        (MS_NOSYMFOLLOW, ST_NOSYMFOLLOW),
    ];
    let set = pairs.iter().filter(|(ms, _)| flags & ms != 0);
    set.fold(ST_VALID, |bits, (_, st)| bits | st)
}

/// Sizes and flags of the file system at a place (Linux: `vfs_statfs`).
pub fn vfs_statfs(path: &Path) -> Statfs {
    let mut statfs = path.mnt.sb.statfs();
    statfs.f_flags = f_flags(path.mnt.flags() | path.mnt.sb.flags());
    statfs
}

/// statfs(2).
pub fn sys_statfs(pathname: UserAddr, buf: UserAddr) -> Result {
    let name = getname(pathname)?;
    let env = WalkEnv::current()?;
    let path = path_lookup(&env, None, name.as_bytes(), LookupFlags::FOLLOW)?;
    put_user(buf, &vfs_statfs(&path))
}

/// fstatfs(2).
pub fn sys_fstatfs(fd: i32, buf: UserAddr) -> Result {
    let file = fget_raw(fd)?;
    put_user(buf, &vfs_statfs(&file.path))
}

/// ustat(2), by device number. Errors: EINVAL when nothing mounted has it.
pub fn sys_ustat(dev: u32, ubuf: UserAddr) -> Result {
    let dev = DevT::decode(u64::from(dev));
    let mounts = current_namespace()?.mounts();
    let mount = mounts.iter().find(|mount| mount.sb.dev == dev);
    let statfs = mount.ok_or(Errno::EINVAL)?.sb.statfs();
    // struct ustat: int f_tfree; unsigned long f_tinode; char f_fname[6], f_fpack[6].
    let mut raw = [0; 32];
    raw[..4].copy_from_slice(&(statfs.f_bfree as u32).to_le_bytes());
    raw[8..16].copy_from_slice(&statfs.f_ffree.to_le_bytes());
    copy_to_user(ubuf, &raw)
}
