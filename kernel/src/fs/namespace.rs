//! Mounting (Linux: fs/namespace.c).
#![forbid(unsafe_code)]

use uapi::capability::CAP_SYS_ADMIN;
use uapi::limits::PATH_MAX;
use uapi::mount::*;

use crate::arch::PAGE_SIZE;
use crate::fs::filesystems::{FileSystemType, get_fs_type};
use crate::fs::fs_struct::FsStruct;
use crate::fs::mount::{MNT_FLAGS, MNT_TREE, MntNamespace, Mount, lookup_mnt};
use crate::fs::namei::{LookupFlags, Path, WalkEnv, getname, path_lookup};
use crate::fs::superblock::MountRequest;
use crate::kernel::sched::current;
use crate::mm::UserAddr;
use crate::mm::uaccess::{copy_from_user, strncpy_from_user};
use crate::prelude::*;

static INIT_MNT_NS: spin::Once<Arc<MntNamespace>> = spin::Once::new();
static INIT_FS: spin::Once<Arc<FsStruct>> = spin::Once::new();

/// The mounts that somebody with this root directory sees. A task's namespace is that of its
/// root: nothing else refers to it. Errors: EINVAL for a root that was unmounted.
pub fn namespace_of(fs: &FsStruct) -> Result<Arc<MntNamespace>> {
    fs.root().mnt.namespace().ok_or(Errno::EINVAL)
}

/// The mounts that the running task sees. Errors: ENOENT before the root is mounted, EINVAL.
pub fn current_namespace() -> Result<Arc<MntNamespace>> {
    namespace_of(&*current().fs().ok_or(Errno::ENOENT)?)
}

/// Gives `fs` a namespace of its own: a copy of every mount, and the same places in them
/// (Linux: `copy_mnt_ns`, for unshare(2) and clone(2) with CLONE_NEWNS). The caller checks
/// CAP_SYS_ADMIN, and that nobody else shares `fs`. Errors: EINVAL.
pub fn unshare_namespace(fs: &FsStruct) -> Result<Arc<MntNamespace>> {
    let _tree = MNT_TREE.lock();
    let old = namespace_of(fs)?;
    let top = old.root().ok_or(Errno::EINVAL)?;
    let copy = top.clone_at(&top.root);
    let new = MntNamespace::new(&copy);
    let mut pairs = vec![(top, copy)];
    let mut next = 0;
    while let Some((mount, twin)) = pairs.get(next).cloned() {
        next += 1;
        for child in old.children_of(&mount) {
            let Some(on) = child.mountpoint() else {
                continue;
            };
            let copy = child.clone_at(&child.root);
            copy.attach(&Path {
                mnt: twin.clone(),
                dentry: on.dentry,
            });
            new.add(&copy);
            pairs.push((child, copy));
        }
    }
    let translate = |path: Path| {
        let pair = pairs
            .iter()
            .find(|(mount, _)| Arc::ptr_eq(mount, &path.mnt));
        let mnt = pair.map_or(path.mnt, |(_, twin)| twin.clone());
        Path {
            mnt,
            dentry: path.dentry,
        }
    };
    fs.set_root(translate(fs.root()));
    fs.set_pwd(translate(fs.pwd()));
    Ok(new)
}

/// Root, working directory and umask of the first task. Errors: ENOENT before the root is
/// mounted.
pub fn init_fs() -> Result<Arc<FsStruct>> {
    INIT_FS.get().cloned().ok_or(Errno::ENOENT)
}

/// Mounts a file system where nobody sees it yet (Linux: `vfs_kern_mount`).
pub fn vfs_kern_mount(
    fs_type: &'static FileSystemType,
    request: &MountRequest<'_>,
    flags: u64,
) -> Result<Arc<Mount>> {
    let sb = (fs_type.mount)(fs_type, request)?;
    match sb.root() {
        Ok(root) => Ok(Mount::new(sb, root, request.source, flags)),
        Err(error) => {
            sb.deactivate();
            Err(error)
        }
    }
}

/// A namespace whose root is a fresh file system of `fs_type`, and its top.
pub fn new_namespace(fs_type: &'static FileSystemType) -> Result<(Arc<MntNamespace>, Path)> {
    let request = MountRequest {
        source: fs_type.name,
        flags: 0,
        data: "",
    };
    let mount = vfs_kern_mount(fs_type, &request, 0)?;
    let root = mount.root_path();
    Ok((MntNamespace::new(&mount), root))
}

/// Mounts the root file system and makes it root and working directory of the running task
/// (Linux: `init_mount_tree`). Panics when that fails: there is no way to go on.
pub fn init_mount_tree() {
    let (ns, root) = new_namespace(&crate::mm::shmem::ROOTFS).expect("Can't create rootfs");
    INIT_MNT_NS.call_once(|| ns);
    let fs = INIT_FS.call_once(|| Arc::new(FsStruct::new(root))).clone();
    let task = current();
    let old = task.fs.lock().replace(fs);
    drop(old);
    // Pid 1 gets a copy of this table, and opens the console in it.
    let files = Arc::new(crate::fs::fdtable::FilesStruct::new());
    let old = task.files.lock().replace(files);
    drop(old);
}

/// Which MS_* flags the mount itself gets (Linux: `path_mount`).
fn mount_flags(flags: u64) -> u64 {
    let mut mount = flags & MNT_FLAGS;
    if flags & MS_NOATIME == 0 {
        mount |= MS_RELATIME;
    }
    if flags & MS_STRICTATIME != 0 {
        mount &= !(MS_RELATIME | MS_NOATIME);
    }
    mount
}

/// A mount(2) from here on in kernel terms.
pub struct MountArgs<'a> {
    /// First argument.
    pub source: Option<&'a [u8]>,
    /// Third argument.
    pub fs_type: Option<&'a [u8]>,
    /// MS_*.
    pub flags: u64,
    /// Option text.
    pub data: &'a str,
}

/// mount(2) on a place that was found (Linux: `path_mount`). Errors: EPERM, EINVAL, ENODEV,
/// EBUSY, ENOTDIR, ENOENT.
pub fn path_mount(env: &WalkEnv, path: &Path, args: &MountArgs<'_>) -> Result {
    let mut flags = args.flags;
    if flags & MS_MGC_MSK == MS_MGC_VAL {
        flags &= !MS_MGC_MSK;
    }
    if flags & MS_NOUSER != 0 {
        return Err(Errno::EINVAL);
    }
    if !env.cred.has_cap(CAP_SYS_ADMIN) {
        return Err(Errno::EPERM);
    }
    let propagation = MS_SHARED | MS_PRIVATE | MS_SLAVE | MS_UNBINDABLE;
    if flags & (MS_REMOUNT | MS_BIND) == MS_REMOUNT | MS_BIND {
        do_remount_bind(path, flags)
    } else if flags & MS_REMOUNT != 0 {
        do_remount(path, flags, args)
    } else if flags & MS_BIND != 0 {
        do_loopback(env, path, args.source, flags & MS_REC != 0)
    } else if flags & propagation != 0 {
        do_change_type(path, flags)
    } else if flags & MS_MOVE != 0 {
        do_move_mount(env, path, args.source)
    } else {
        do_new_mount(path, flags, args)
    }
}

fn is_mount_root(path: &Path) -> bool {
    Arc::ptr_eq(&path.dentry, &path.mnt.root)
}

/// The flags a remount leaves: time stamps behave as before unless it says otherwise.
fn remount_flags(mount: &Mount, flags: u64) -> u64 {
    let atime = MS_NOATIME | MS_NODIRATIME | MS_RELATIME | MS_STRICTATIME;
    if flags & atime != 0 {
        return mount_flags(flags);
    }
    let kept = mount.flags() & (MS_NOATIME | MS_NODIRATIME | MS_RELATIME);
    mount_flags(flags) & !atime | kept
}

fn do_remount_bind(path: &Path, flags: u64) -> Result {
    if !is_mount_root(path) || !path.mnt.is_in_namespace() {
        return Err(Errno::EINVAL);
    }
    let _tree = MNT_TREE.lock();
    path.mnt.set_flags(remount_flags(&path.mnt, flags))
}

fn do_remount(path: &Path, flags: u64, args: &MountArgs<'_>) -> Result {
    if !is_mount_root(path) || !path.mnt.is_in_namespace() {
        return Err(Errno::EINVAL);
    }
    let _tree = MNT_TREE.lock();
    let sb = &path.mnt.sb;
    let becomes_readonly = flags & MS_RDONLY != 0 && !sb.is_readonly();
    if becomes_readonly {
        let ns = path.mnt.namespace().ok_or(Errno::EINVAL)?;
        let mounts = ns.mounts();
        let mut same_sb = mounts.iter().filter(|mount| Arc::ptr_eq(&mount.sb, sb));
        if same_sb.any(|mount| mount.has_writers()) {
            return Err(Errno::EBUSY);
        }
    }
    let request = MountRequest {
        source: &path.mnt.devname,
        flags,
        data: args.data,
    };
    sb.ops.remount(sb, &request)?;
    sb.set_flags(flags, MS_RMT_MASK);
    path.mnt.set_flags(remount_flags(&path.mnt, flags))
}

/// Mounts here are always private: that is what two of the four types ask for.
fn do_change_type(path: &Path, flags: u64) -> Result {
    let kind = flags & !(MS_REC | MS_SILENT);
    if !is_mount_root(path) {
        return Err(Errno::EINVAL);
    }
    match kind {
        MS_PRIVATE | MS_SLAVE => Ok(()),
        _ => Err(Errno::EINVAL),
    }
}

fn source_path(env: &WalkEnv, source: Option<&[u8]>) -> Result<Path> {
    let name = source
        .filter(|name| !name.is_empty())
        .ok_or(Errno::EINVAL)?;
    path_lookup(env, None, name, LookupFlags::FOLLOW)
}

/// The top of whatever is mounted at a place (Linux: `lock_mount`). Context: `MNT_TREE` held.
fn topmost(path: &Path) -> Path {
    let mut path = path.clone();
    while let Some(mount) = lookup_mnt(&path.mnt, &path.dentry) {
        path = mount.root_path();
    }
    path
}

/// Whether `root` can be mounted at `on` (Linux: `graft_tree`). Errors: ENOTDIR, ENOENT, EINVAL.
fn check_graft(root: &Mount, on: &Path) -> Result {
    if !on.mnt.is_in_namespace() {
        return Err(Errno::EINVAL);
    }
    if on.dentry.is_unlinked() {
        return Err(Errno::ENOENT);
    }
    if root.root.inode.is_dir() != on.inode().is_dir() {
        return Err(Errno::ENOTDIR);
    }
    Ok(())
}

fn do_loopback(env: &WalkEnv, path: &Path, source: Option<&[u8]>, recursive: bool) -> Result {
    let old = source_path(env, source)?;
    let _tree = MNT_TREE.lock();
    let on = topmost(path);
    let ns = on.mnt.namespace().ok_or(Errno::EINVAL)?;
    if !old.mnt.is_in_namespace() {
        return Err(Errno::EINVAL);
    }
    let copy = old.mnt.clone_at(&old.dentry);
    check_graft(&copy, &on)?;
    if recursive {
        copy_children(&ns, &old, &copy);
    }
    copy.attach(&on);
    ns.add(&copy);
    Ok(())
}

/// Copies what is mounted below `old` to the same places below `copy` (Linux: `copy_tree`).
fn copy_children(ns: &Arc<MntNamespace>, old: &Path, copy: &Arc<Mount>) {
    for child in ns.children_of(&old.mnt) {
        let Some(on) = child.mountpoint() else {
            continue;
        };
        if !on.dentry.is_below(&old.dentry) {
            continue;
        }
        let twin = child.clone_at(&child.root);
        twin.attach(&Path {
            mnt: copy.clone(),
            dentry: on.dentry,
        });
        ns.add(&twin);
        copy_children(ns, &child.root_path(), &twin);
    }
}

fn do_move_mount(env: &WalkEnv, path: &Path, source: Option<&[u8]>) -> Result {
    let old = source_path(env, source)?;
    let _tree = MNT_TREE.lock();
    let on = topmost(path);
    if !is_mount_root(&old) || !old.mnt.is_in_namespace() || old.mnt.parent().is_none() {
        return Err(Errno::EINVAL);
    }
    check_graft(&old.mnt, &on).map_err(|error| match error {
        Errno::ENOTDIR => Errno::EINVAL,
        other => other,
    })?;
    if on.mnt.is_below(&old.mnt) {
        return Err(Errno::ELOOP);
    }
    let from = old.mnt.detach();
    old.mnt.attach(&on);
    drop(from);
    Ok(())
}

fn do_new_mount(path: &Path, flags: u64, args: &MountArgs<'_>) -> Result {
    let name = args.fs_type.ok_or(Errno::EINVAL)?;
    let fs_type = get_fs_type(name).ok_or(Errno::ENODEV)?;
    if fs_type.requires_dev {
        // There is no block device that could be opened.
        return Err(Errno::ENOTBLK);
    }
    let source = args.source.unwrap_or(b"none");
    let source = String::from_utf8_lossy(source);
    let request = MountRequest {
        source: &source,
        flags,
        data: args.data,
    };
    let mount = vfs_kern_mount(fs_type, &request, mount_flags(flags))?;
    let _tree = MNT_TREE.lock();
    let on = topmost(path);
    if is_mount_root(&on) && Arc::ptr_eq(&on.mnt.sb, &mount.sb) && on.mnt.parent().is_some() {
        return Err(Errno::EBUSY);
    }
    check_graft(&mount, &on)?;
    mount.attach(&on);
    let ns = on.mnt.namespace().ok_or(Errno::EINVAL)?;
    ns.add(&mount);
    Ok(())
}

/// Copies a string argument that may be NULL. Errors: EINVAL when it is too long, EFAULT.
fn mount_string(addr: UserAddr) -> Result<Option<Vec<u8>>> {
    if addr.is_null() {
        return Ok(None);
    }
    match strncpy_from_user(addr, PATH_MAX) {
        Err(Errno::ENAMETOOLONG) => Err(Errno::EINVAL),
        text => text.map(Some),
    }
}

/// Copies the option text: a page, or what of it can be read, up to its NUL
/// (Linux: `copy_mount_options`).
fn mount_options(addr: UserAddr) -> Result<String> {
    if addr.is_null() {
        return Ok(String::new());
    }
    let mut page = vec![0; PAGE_SIZE];
    let first = PAGE_SIZE - addr.page_offset();
    copy_from_user(&mut page[..first], addr)?;
    let next = addr.checked_add(first as u64).ok_or(Errno::EFAULT)?;
    let ended = page[..first].contains(&0);
    if !ended && first < PAGE_SIZE {
        // What lies on the next page only counts if it is there.
        let _ = copy_from_user(&mut page[first..], next);
    }
    let len = page
        .iter()
        .position(|&byte| byte == 0)
        .unwrap_or(PAGE_SIZE - 1);
    page.truncate(len);
    Ok(String::from_utf8_lossy(&page).into_owned())
}

/// mount(2).
pub fn sys_mount(
    dev_name: UserAddr,
    dir_name: UserAddr,
    fs_type: UserAddr,
    flags: u64,
    data: UserAddr,
) -> Result {
    let fs_type = mount_string(fs_type)?;
    let source = mount_string(dev_name)?;
    let data = mount_options(data)?;
    let name = getname(dir_name)?;
    let env = WalkEnv::current()?;
    let path = path_lookup(&env, None, name.as_bytes(), LookupFlags::FOLLOW)?;
    let args = MountArgs {
        source: source.as_deref(),
        fs_type: fs_type.as_deref(),
        flags,
        data: &data,
    };
    path_mount(&env, &path, &args)
}

/// umount2(2) of the mount whose root `path` is. Takes the path over: its own reference to the
/// mount must not count as a user. Errors: EINVAL, EBUSY, EPERM.
pub fn path_umount(env: &WalkEnv, path: Path, flags: u32) -> Result {
    if !is_mount_root(&path) || !path.mnt.is_in_namespace() {
        return Err(Errno::EINVAL);
    }
    if !env.cred.has_cap(CAP_SYS_ADMIN) {
        return Err(Errno::EPERM);
    }
    if flags & MNT_EXPIRE != 0 {
        // Nothing marks unused mounts here, so none has expired yet.
        return Err(if flags & (MNT_FORCE | MNT_DETACH) != 0 {
            Errno::EINVAL
        } else {
            Errno::EAGAIN
        });
    }
    let Path { mnt, dentry } = path;
    drop(dentry);
    if flags & MNT_DETACH == 0 && Arc::ptr_eq(&mnt, &env.fs.root.lock().mnt) {
        return umount_root(&mnt);
    }
    // Whatever leaves the tree is let go after the unlock: the last user of a file system may
    // take long to free it.
    let _gone = umount_tree(&mnt, flags)?;
    Ok(())
}

/// The root of the caller cannot go; it becomes read-only (Linux: `do_umount_root`).
fn umount_root(mnt: &Arc<Mount>) -> Result {
    let root = mnt.root_path();
    let args = MountArgs {
        source: None,
        fs_type: None,
        flags: MS_REMOUNT | MS_RDONLY,
        data: "",
    };
    do_remount(&root, args.flags, &args)
}

fn umount_tree(mnt: &Arc<Mount>, flags: u32) -> Result<Vec<Arc<Mount>>> {
    let _tree = MNT_TREE.lock();
    let ns = mnt.namespace().ok_or(Errno::EINVAL)?;
    if mnt.parent().is_none() {
        return Err(Errno::EINVAL);
    }
    if flags & MNT_DETACH == 0 {
        // One reference is the namespace's, one the caller's.
        let in_use = Arc::strong_count(mnt) > 2;
        if in_use || !ns.children_of(mnt).is_empty() {
            return Err(Errno::EBUSY);
        }
    }
    let tree = ns.subtree(mnt);
    for mount in tree.iter().rev() {
        drop(mount.detach());
        drop(ns.remove(mount));
    }
    Ok(tree)
}

/// umount2(2).
pub fn sys_umount2(name: UserAddr, flags: u32) -> Result {
    if flags & !(MNT_FORCE | MNT_DETACH | MNT_EXPIRE | UMOUNT_NOFOLLOW) != 0 {
        return Err(Errno::EINVAL);
    }
    let name = getname(name)?;
    let env = WalkEnv::current()?;
    let mut how = LookupFlags::empty();
    how.set(LookupFlags::FOLLOW, flags & UMOUNT_NOFOLLOW == 0);
    let path = path_lookup(&env, None, name.as_bytes(), how)?;
    path_umount(&env, path, flags)
}

/// Makes the mount `new` the root and moves the old root to `put_old` (Linux: `pivot_root`).
/// `tasks` are all whose root or working directory may be the old one. Errors: EPERM, EINVAL,
/// EBUSY, ENOENT.
pub fn do_pivot_root(
    env: &WalkEnv,
    new: &Path,
    put_old: &Path,
    tasks: impl FnOnce() -> Vec<Arc<FsStruct>>,
) -> Result {
    if !env.cred.has_cap(CAP_SYS_ADMIN) {
        return Err(Errno::EPERM);
    }
    let _tree = MNT_TREE.lock();
    let root = env.fs.root();
    let old = topmost(put_old);
    if new.dentry.is_unlinked() {
        return Err(Errno::ENOENT);
    }
    if Arc::ptr_eq(&new.mnt, &root.mnt) || Arc::ptr_eq(&old.mnt, &root.mnt) {
        return Err(Errno::EBUSY);
    }
    let (Some(root_on), Some(_)) = (root.mnt.mountpoint(), new.mnt.mountpoint()) else {
        return Err(Errno::EINVAL);
    };
    let mount_roots = is_mount_root(&root) && is_mount_root(new);
    let reachable = is_reachable(&old, new) && is_reachable(new, &root);
    if !mount_roots || !reachable || !new.mnt.is_in_namespace() {
        return Err(Errno::EINVAL);
    }
    drop(new.mnt.detach());
    drop(root.mnt.detach());
    root.mnt.attach(&old);
    new.mnt.attach(&root_on);
    for fs in tasks() {
        fs.replace(&root, new);
    }
    Ok(())
}

/// Whether a place lies below another one (Linux: `is_path_reachable`).
fn is_reachable(path: &Path, root: &Path) -> bool {
    let mut here = path.clone();
    while !Arc::ptr_eq(&here.mnt, &root.mnt) {
        match here.mnt.mountpoint() {
            Some(above) => here = above,
            None => return false,
        }
    }
    here.dentry.is_below(&root.dentry)
}

/// Every process's root and working directory.
fn all_fs_structs() -> Vec<Arc<FsStruct>> {
    let mut all: Vec<Arc<FsStruct>> = crate::kernel::pid::all_processes()
        .iter()
        .filter_map(|task| task.fs())
        .collect();
    all.extend(current().fs());
    all
}

/// pivot_root(2).
pub fn sys_pivot_root(new_root: UserAddr, put_old: UserAddr) -> Result {
    let env = WalkEnv::current()?;
    if !env.cred.has_cap(CAP_SYS_ADMIN) {
        return Err(Errno::EPERM);
    }
    let how = LookupFlags::FOLLOW | LookupFlags::DIRECTORY;
    let new = getname(new_root)?;
    let new = path_lookup(&env, None, new.as_bytes(), how)?;
    let old = getname(put_old)?;
    let old = path_lookup(&env, None, old.as_bytes(), how)?;
    do_pivot_root(&env, &new, &old, all_fs_structs)
}
