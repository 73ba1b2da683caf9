//! Extended attributes (Linux: fs/xattr.c). No file system here stores any: lists are empty,
//! names are not found, and none can be set.
#![forbid(unsafe_code)]

use uapi::fcntl::{XATTR_CREATE, XATTR_REPLACE};
use uapi::limits::{XATTR_NAME_MAX, XATTR_SIZE_MAX};

use crate::fs::file::fget;
use crate::fs::namei::{LookupFlags, WalkEnv, getname, path_lookup};
use crate::mm::UserAddr;
use crate::mm::uaccess::strncpy_from_user;
use crate::prelude::*;

fn find(pathname: UserAddr, how: LookupFlags) -> Result {
    let name = getname(pathname)?;
    path_lookup(&WalkEnv::current()?, None, name.as_bytes(), how).map(drop)
}

/// Checks an attribute's name. Errors: ERANGE, EFAULT.
fn check_name(name: UserAddr) -> Result {
    let text = strncpy_from_user(name, XATTR_NAME_MAX + 1);
    match text {
        Ok(text) if text.is_empty() || text.len() > XATTR_NAME_MAX => Err(Errno::ERANGE),
        Ok(_) => Ok(()),
        Err(Errno::ENAMETOOLONG) => Err(Errno::ERANGE),
        Err(error) => Err(error),
    }
}

/// What setting ends with after its arguments were checked.
fn refuse_set(name: UserAddr, size: usize, flags: u32) -> Result {
    if flags & !(XATTR_CREATE | XATTR_REPLACE) != 0 {
        return Err(Errno::EINVAL);
    }
    check_name(name)?;
    if size > XATTR_SIZE_MAX {
        return Err(Errno::E2BIG);
    }
    Err(Errno::EOPNOTSUPP)
}

/// getxattr(2). Errors: EOPNOTSUPP.
pub fn sys_getxattr(path: UserAddr, name: UserAddr, _value: UserAddr, _size: usize) -> Result {
    find(path, LookupFlags::FOLLOW)?;
    check_name(name)?;
    Err(Errno::EOPNOTSUPP)
}

/// lgetxattr(2).
pub fn sys_lgetxattr(path: UserAddr, name: UserAddr, _value: UserAddr, _size: usize) -> Result {
    find(path, LookupFlags::empty())?;
    check_name(name)?;
    Err(Errno::EOPNOTSUPP)
}

/// fgetxattr(2).
pub fn sys_fgetxattr(fd: i32, name: UserAddr, _value: UserAddr, _size: usize) -> Result {
    fget(fd)?;
    check_name(name)?;
    Err(Errno::EOPNOTSUPP)
}

/// setxattr(2). Errors: EOPNOTSUPP.
pub fn sys_setxattr(
    path: UserAddr,
    name: UserAddr,
    _value: UserAddr,
    size: usize,
    flags: u32,
) -> Result {
    find(path, LookupFlags::FOLLOW)?;
    refuse_set(name, size, flags)
}

/// lsetxattr(2).
pub fn sys_lsetxattr(
    path: UserAddr,
    name: UserAddr,
    _value: UserAddr,
    size: usize,
    flags: u32,
) -> Result {
    find(path, LookupFlags::empty())?;
    refuse_set(name, size, flags)
}

/// fsetxattr(2).
pub fn sys_fsetxattr(fd: i32, name: UserAddr, _value: UserAddr, size: usize, flags: u32) -> Result {
    fget(fd)?;
    refuse_set(name, size, flags)
}

/// listxattr(2): none.
pub fn sys_listxattr(path: UserAddr, _list: UserAddr, _size: usize) -> Result<usize> {
    find(path, LookupFlags::FOLLOW).map(|()| 0)
}

/// llistxattr(2): none.
pub fn sys_llistxattr(path: UserAddr, _list: UserAddr, _size: usize) -> Result<usize> {
    find(path, LookupFlags::empty()).map(|()| 0)
}

/// flistxattr(2): none.
pub fn sys_flistxattr(fd: i32, _list: UserAddr, _size: usize) -> Result<usize> {
    fget(fd).map(|_| 0)
}

/// removexattr(2). Errors: EOPNOTSUPP.
pub fn sys_removexattr(path: UserAddr, name: UserAddr) -> Result {
    find(path, LookupFlags::FOLLOW)?;
    check_name(name)?;
    Err(Errno::EOPNOTSUPP)
}

/// lremovexattr(2).
pub fn sys_lremovexattr(path: UserAddr, name: UserAddr) -> Result {
    find(path, LookupFlags::empty())?;
    check_name(name)?;
    Err(Errno::EOPNOTSUPP)
}

/// fremovexattr(2).
pub fn sys_fremovexattr(fd: i32, name: UserAddr) -> Result {
    fget(fd)?;
    check_name(name)?;
    Err(Errno::EOPNOTSUPP)
}
