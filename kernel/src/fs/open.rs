//! Opening and closing (Linux: fs/open.c, and the open half of fs/namei.c).
#![forbid(unsafe_code)]

use uapi::Pod;
use uapi::fcntl::*;
use uapi::mount::{MS_NODEV, MS_NOEXEC};
use uapi::resource::RLIMIT_NOFILE;
use uapi::stat::*;

use crate::fs::attr::inode_owner_or_capable;
use crate::fs::char_dev::DevT;
use crate::fs::dcache::{Dentry, d_lookup};
use crate::fs::fdtable::OnExec;
use crate::fs::file::{File, current_files};
use crate::fs::file_table::Writer;
use crate::fs::inode::NewNode;
use crate::fs::namei::permission::{MAY_EXEC, MAY_READ, MAY_WRITE, may_create};
use crate::fs::namei::walk::{lookup_locked, lookup_one};
use crate::fs::namei::{
    LastType, LookupFlags, Nameidata, Path, WalkEnv, getname, inode_permission, path_lookup,
    start_at,
};
use crate::fs::opath::opath_operations;
use crate::fs::rlimit::rlimit;
use crate::fs::truncate::do_truncate;
use crate::mm::UserAddr;
use crate::mm::uaccess::get_user;
use crate::prelude::*;

/// Flags that open(2) knows; others are ignored (Linux: `VALID_OPEN_FLAGS`).
const VALID_OPEN_FLAGS: u32 = O_ACCMODE
    | O_CREAT
    | O_EXCL
    | O_NOCTTY
    | O_TRUNC
    | O_APPEND
    | O_NONBLOCK
    | O_SYNC
    | O_DSYNC
    | FASYNC
    | O_DIRECT
    | O_LARGEFILE
    | O_DIRECTORY
    | O_NOFOLLOW
    | O_NOATIME
    | O_CLOEXEC
    | O_PATH
    | __O_TMPFILE;

/// A checked open(2) (Linux: `struct open_flags`).
#[derive(Clone, Copy)]
pub struct OpenFlags {
    flags: u32,
    mode: u32,
    /// MAY_* that the caller needs.
    access: u32,
    lookup: LookupFlags,
}

impl OpenFlags {
    /// Checks `flags` and `mode` (Linux: `build_open_flags`). Errors: EINVAL.
    pub fn new(flags: u32, mode: u32) -> Result<Self> {
        let mut flags = flags & VALID_OPEN_FLAGS;
        if flags & O_PATH != 0 {
            flags &= O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
        }
        let creates = flags & (O_CREAT | __O_TMPFILE) != 0;
        let mut access = match flags & O_ACCMODE {
            O_RDONLY => MAY_READ,
            O_WRONLY => MAY_WRITE,
            _ => MAY_READ | MAY_WRITE,
        };
        if flags & (O_DIRECTORY | O_CREAT) == O_DIRECTORY | O_CREAT {
            return Err(Errno::EINVAL);
        }
        if flags & __O_TMPFILE != 0 && (flags & O_DIRECTORY == 0 || access & MAY_WRITE == 0) {
            return Err(Errno::EINVAL);
        }
        if flags & O_TRUNC != 0 {
            access |= MAY_WRITE;
        }
        let mut lookup = LookupFlags::empty();
        lookup.set(LookupFlags::DIRECTORY, flags & O_DIRECTORY != 0);
        let exclusive = flags & (O_CREAT | O_EXCL) == O_CREAT | O_EXCL;
        lookup.set(LookupFlags::FOLLOW, flags & O_NOFOLLOW == 0 && !exclusive);
        Ok(Self {
            flags,
            mode: if creates { mode & S_IALLUGO } else { 0 },
            access,
            lookup,
        })
    }

    /// For the kernel's own reading of a program (Linux: `do_open_execat`).
    pub fn exec() -> Self {
        Self {
            flags: O_LARGEFILE | O_RDONLY,
            mode: 0,
            access: MAY_EXEC,
            lookup: LookupFlags::FOLLOW,
        }
    }

    fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }
}

/// Whether the file comes from this very call: then its mode does not limit the caller.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    Found,
    Created,
}

/// Opens a path (Linux: `do_filp_open`). May sleep.
pub fn do_filp_open(
    env: &WalkEnv,
    start: Option<Path>,
    name: &[u8],
    how: &OpenFlags,
) -> Result<Arc<File>> {
    if how.has(__O_TMPFILE) {
        return do_tmpfile(env, start, name, how);
    }
    if how.has(O_PATH) {
        let path = path_lookup(env, start, name, how.lookup)?;
        return File::build(path, how.flags, opath_operations(), None, Some(&env.cred));
    }
    let mut nd = Nameidata::new(env, start, name, how.lookup)?;
    loop {
        nd.walk_to_parent()?;
        if let Some(origin) = open_last(env, &mut nd, how)? {
            return do_open(env, nd, how, origin);
        }
    }
}

/// Takes the last step of an open; `None` when it was a link that is to be followed
/// (Linux: `open_last_lookups`).
fn open_last(env: &WalkEnv, nd: &mut Nameidata<'_>, how: &OpenFlags) -> Result<Option<Origin>> {
    if nd.last_type != LastType::Norm {
        if how.has(O_CREAT) {
            return Err(Errno::EISDIR);
        }
        return Ok(nd.finish_last()?.then_some(Origin::Found));
    }
    let (dentry, origin) = if how.has(O_CREAT) {
        if nd.trailing_slash {
            return Err(Errno::EISDIR);
        }
        lookup_open(env, nd, how)?
    } else {
        let found = lookup_one(&nd.path.dentry, nd.last())?;
        (found.ok_or(Errno::ENOENT)?, Origin::Found)
    };
    if origin == Origin::Found && how.has(O_CREAT) && how.has(O_EXCL) {
        return Err(Errno::EEXIST);
    }
    let follow = how.lookup.contains(LookupFlags::FOLLOW);
    Ok(nd.finish_with(dentry, follow)?.then_some(origin))
}

/// Finds the last component or creates it (Linux: `lookup_open`).
fn lookup_open(
    env: &WalkEnv,
    nd: &Nameidata<'_>,
    how: &OpenFlags,
) -> Result<(Arc<Dentry>, Origin)> {
    let parent = &nd.path.dentry;
    if let Some(dentry) = d_lookup(parent, nd.last())
        && !dentry.inode.must_revalidate()
    {
        return Ok((dentry, Origin::Found));
    }
    // A read-only file system only matters when the file does not exist.
    let write_access = nd.path.mnt.want_write();
    let dir = &parent.inode;
    let _locked = dir.lock.lock();
    if let Some(dentry) = lookup_locked(parent, nd.last())? {
        return Ok((dentry, Origin::Found));
    }
    let _write_access = write_access?;
    may_create(dir, &env.cred)?;
    let mode = how.mode & !env.fs.umask() | S_IFREG;
    let node = NewNode::new(dir, mode, DevT(0), &env.cred);
    let inode = dir.ops.mknod(dir, nd.last(), &node)?;
    let dentry = Dentry::new_child(parent, nd.last(), inode);
    Ok((dentry, Origin::Created))
}

/// Opens what the walk found (Linux: `do_open`).
fn do_open(env: &WalkEnv, nd: Nameidata<'_>, how: &OpenFlags, origin: Origin) -> Result<Arc<File>> {
    let inode = nd.path.inode().clone();
    if nd.wants_directory() && !inode.is_dir() {
        return Err(Errno::ENOTDIR);
    }
    if how.has(O_CREAT) && inode.is_dir() {
        return Err(Errno::EISDIR);
    }
    let mut how = *how;
    if origin == Origin::Created {
        how.access = 0;
        how.flags &= !O_TRUNC;
    }
    may_open(env, &nd.path, &mut how)?;
    let path = nd.path;
    let truncate_access = if how.has(O_TRUNC) {
        Some(path.mnt.want_write()?)
    } else {
        None
    };
    let file = vfs_open(env, path, how.flags)?;
    if truncate_access.is_some() {
        do_truncate(&file.path, 0, &env.cred)?;
    }
    Ok(file)
}

/// Whether a file of this type can be opened like this (Linux: `may_open`). Errors: ELOOP,
/// EISDIR, EACCES, EPERM. O_TRUNC is dropped where it means nothing.
fn may_open(env: &WalkEnv, path: &Path, how: &mut OpenFlags) -> Result {
    let inode = path.inode();
    let noexec = (path.mnt.flags() | path.mnt.sb.flags()) & MS_NOEXEC != 0;
    let execute = how.access & MAY_EXEC != 0;
    match inode.mode() & S_IFMT {
        S_IFLNK => return Err(Errno::ELOOP),
        S_IFDIR if how.access & MAY_WRITE != 0 => return Err(Errno::EISDIR),
        S_IFDIR if execute => return Err(Errno::EACCES),
        S_IFDIR => {}
        S_IFREG => {
            if execute && noexec {
                return Err(Errno::EACCES);
            }
        }
        kind => {
            let device = matches!(kind, S_IFCHR | S_IFBLK);
            let nodev = (path.mnt.flags() | path.mnt.sb.flags()) & MS_NODEV != 0;
            if execute || device && nodev {
                return Err(Errno::EACCES);
            }
            how.flags &= !O_TRUNC;
        }
    }
    if how.access != 0 {
        inode_permission(inode, how.access, &env.cred)?;
    }
    if how.has(O_NOATIME) && !inode_owner_or_capable(inode, &env.cred) {
        return Err(Errno::EPERM);
    }
    Ok(())
}

/// Opens a place that was checked (Linux: `vfs_open`, `do_dentry_open`).
fn vfs_open(env: &WalkEnv, path: Path, flags: u32) -> Result<Arc<File>> {
    let inode = path.inode();
    let writes = (flags + 1) & O_ACCMODE & 2 != 0;
    let writer = if writes && !inode.is_special() {
        Some(Writer::new(&path)?)
    } else {
        None
    };
    let ops = inode.ops.open(inode, flags)?;
    File::build(path, flags, ops, writer, Some(&env.cred))
}

/// A file without a name in the directory `name` (Linux: `do_tmpfile`).
fn do_tmpfile(
    env: &WalkEnv,
    start: Option<Path>,
    name: &[u8],
    how: &OpenFlags,
) -> Result<Arc<File>> {
    let parent = path_lookup(env, start, name, how.lookup | LookupFlags::DIRECTORY)?;
    let _write_access = parent.mnt.want_write()?;
    let dir = parent.inode();
    inode_permission(dir, MAY_WRITE | MAY_EXEC, &env.cred)?;
    let mode = how.mode & !env.fs.umask() | S_IFREG;
    let node = NewNode::new(dir, mode, DevT(0), &env.cred);
    let inode = dir.ops.tmpfile(dir, &node)?;
    inode.set_nlink(0);
    if !how.has(O_EXCL) {
        inode.set_linkable();
    }
    let label = format!("#{}", inode.ino);
    let path = Path {
        mnt: parent.mnt.clone(),
        dentry: Dentry::new_anonymous(inode, label.as_bytes()),
    };
    vfs_open(env, path, how.flags & !O_TRUNC)
}

/// Opens and gives it the lowest descriptor (Linux: `do_sys_openat2`).
fn do_sys_open(dfd: i32, filename: UserAddr, how: &OpenFlags) -> Result<u32> {
    let name = getname(filename)?;
    let files = current_files()?;
    let on_exec = OnExec::from_flag(how.flags, O_CLOEXEC);
    let fd = files.alloc(0, rlimit(RLIMIT_NOFILE), on_exec)?;
    let start = start_at(dfd, name.as_bytes())?;
    let file = do_filp_open(&WalkEnv::current()?, start, name.as_bytes(), how)?;
    Ok(fd.install(file))
}

/// openat(2).
pub fn sys_openat(dfd: i32, filename: UserAddr, flags: u32, mode: u32) -> Result<u32> {
    do_sys_open(dfd, filename, &OpenFlags::new(flags | O_LARGEFILE, mode)?)
}

/// open(2).
pub fn sys_open(filename: UserAddr, flags: u32, mode: u32) -> Result<u32> {
    sys_openat(AT_FDCWD, filename, flags, mode)
}

/// creat(2).
pub fn sys_creat(pathname: UserAddr, mode: u32) -> Result<u32> {
    sys_open(pathname, O_CREAT | O_WRONLY | O_TRUNC, mode)
}

/// openat2(2). Errors: E2BIG for fields that this kernel does not know, EINVAL.
pub fn sys_openat2(dfd: i32, filename: UserAddr, how: UserAddr, size: usize) -> Result<u32> {
    if size < OpenHow::SIZE {
        return Err(Errno::EINVAL);
    }
    if size > crate::arch::PAGE_SIZE {
        return Err(Errno::E2BIG);
    }
    let request: OpenHow = get_user(how)?;
    for offset in (OpenHow::SIZE..size).step_by(8) {
        let field = how.checked_add(offset as u64).ok_or(Errno::EFAULT)?;
        if get_user::<u8>(field)? != 0 {
            return Err(Errno::E2BIG);
        }
    }
    let flags = u32::try_from(request.flags).map_err(|_| Errno::EINVAL)?;
    let mode = u32::try_from(request.mode).map_err(|_| Errno::EINVAL)?;
    let creates = flags & (O_CREAT | __O_TMPFILE) != 0;
    if flags & !VALID_OPEN_FLAGS != 0 || mode & !S_IALLUGO != 0 || mode != 0 && !creates {
        return Err(Errno::EINVAL);
    }
    let mut open = OpenFlags::new(flags | O_LARGEFILE, mode)?;
    open.lookup |= resolve_flags(request.resolve)?;
    do_sys_open(dfd, filename, &open)
}

fn resolve_flags(resolve: u64) -> Result<LookupFlags> {
    let known = [
        (RESOLVE_NO_XDEV, LookupFlags::NO_XDEV),
        (RESOLVE_NO_MAGICLINKS, LookupFlags::NO_MAGICLINKS),
        (RESOLVE_NO_SYMLINKS, LookupFlags::NO_SYMLINKS),
        (RESOLVE_BENEATH, LookupFlags::BENEATH),
        (RESOLVE_IN_ROOT, LookupFlags::IN_ROOT),
    ];
    let all = known.iter().fold(0, |bits, (bit, _)| bits | bit);
    let scopes = RESOLVE_BENEATH | RESOLVE_IN_ROOT;
    if resolve & RESOLVE_CACHED != 0 {
        return Err(Errno::EAGAIN);
    }
    if resolve & !all != 0 || resolve & scopes == scopes {
        return Err(Errno::EINVAL);
    }
    let chosen = known.iter().filter(|(bit, _)| resolve & bit != 0);
    Ok(chosen.fold(LookupFlags::empty(), |flags, (_, flag)| flags | *flag))
}

/// close(2).
pub fn sys_close(fd: u32) -> Result {
    current_files()?.close(fd)
}

/// close_range(2). Errors: EINVAL.
pub fn sys_close_range(first: u32, last: u32, flags: u32) -> Result {
    if flags & !(CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC) != 0 || first > last {
        return Err(Errno::EINVAL);
    }
    let mut files = current_files()?;
    if flags & CLOSE_RANGE_UNSHARE != 0 && Arc::strong_count(&files) > 2 {
        let own = Arc::new(files.dup()?);
        let task = crate::kernel::sched::current();
        let shared = task.files.lock().replace(own.clone());
        drop(shared);
        files = own;
    }
    if flags & CLOSE_RANGE_CLOEXEC != 0 {
        files.cloexec_range(first, last);
    } else {
        files.close_range(first, last);
    }
    Ok(())
}

/// Opens a path from the kernel, relative to the running task's root (Linux: `filp_open`).
pub fn filp_open(path: &str, flags: u32, mode: u32) -> Result<Arc<File>> {
    let how = OpenFlags::new(flags | O_LARGEFILE, mode)?;
    do_filp_open(&WalkEnv::current()?, None, path.as_bytes(), &how)
}

/// Opens a program to execute it: the path must name a regular file that the caller may execute,
/// on a mount that allows it. The caller then denies writing with
/// `file.inode.deny_write_access()` (Linux: `do_open_execat`). Errors: EACCES and those of open.
pub fn open_exec(start: Option<Path>, name: &[u8], lookup: LookupFlags) -> Result<Arc<File>> {
    let mut how = OpenFlags::exec();
    how.lookup = lookup;
    let file = do_filp_open(&WalkEnv::current()?, start, name, &how)?;
    if !file.inode.is_reg() {
        return Err(Errno::EACCES);
    }
    Ok(file)
}
