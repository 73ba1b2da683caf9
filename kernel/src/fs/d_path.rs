//! From a place in the tree to its name (Linux: fs/d_path.c).
#![forbid(unsafe_code)]

use crate::fs::dcache::RENAME_LOCK;
use crate::fs::namei::Path;
use crate::mm::UserAddr;
use crate::mm::uaccess::copy_to_user;
use crate::prelude::*;

/// Names from a place up to a root, collected from the end.
struct Prepend {
    components: Vec<Vec<u8>>,
    reached: Reached,
}

#[derive(PartialEq, Eq)]
enum Reached {
    /// The root that was asked for.
    Root,
    /// The root of the mount namespace: the place lies outside the given root.
    Outside,
    /// A mount that is in no tree any more.
    Detached,
}

fn prepend_path(path: &Path, root: Option<&Path>) -> Prepend {
    let mut components = Vec::new();
    let mut here = path.clone();
    let _no_rename = RENAME_LOCK.read();
    let reached = loop {
        if root.is_some_and(|root| here == *root) {
            break Reached::Root;
        }
        if Arc::ptr_eq(&here.dentry, &here.mnt.root) || here.dentry.is_root() {
            match here.mnt.mountpoint() {
                Some(above) => here = above,
                None if here.mnt.is_in_namespace() && root.is_none() => break Reached::Root,
                None if here.mnt.is_in_namespace() => break Reached::Outside,
                None => break Reached::Detached,
            }
            continue;
        }
        let Some(parent) = here.dentry.parent() else {
            break Reached::Detached;
        };
        components.push(here.dentry.name());
        here.dentry = parent;
    };
    Prepend {
        components,
        reached,
    }
}

fn join(components: &[Vec<u8>]) -> Vec<u8> {
    if components.is_empty() {
        return b"/".to_vec();
    }
    let mut text = Vec::with_capacity(components.iter().map(|c| c.len() + 1).sum());
    for component in components.iter().rev() {
        text.push(b'/');
        text.extend_from_slice(component);
    }
    text
}

/// The absolute name of a place as /proc shows it, seen from `root` or else from the namespace's
/// root; ` (deleted)` is added to removed files (Linux: `d_path`).
pub fn d_path(path: &Path, root: Option<&Path>) -> Vec<u8> {
    if let Some(name) = path.dentry.sb.ops.dname(&path.dentry) {
        return name.into_bytes();
    }
    let nameless = path.dentry.is_root() && !Arc::ptr_eq(&path.dentry, &path.mnt.root);
    if nameless {
        let mut text = b"/".to_vec();
        path.dentry.with_name(|name| text.extend_from_slice(name));
        text.extend_from_slice(b" (deleted)");
        return text;
    }
    let found = prepend_path(path, root);
    let mut text = join(&found.components);
    if path.dentry.is_unlinked() {
        text.extend_from_slice(b" (deleted)");
    }
    text
}

/// The name of a dentry inside its file system (Linux: `dentry_path`).
pub fn dentry_path(path: &Path) -> Vec<u8> {
    let mut components = Vec::new();
    let _no_rename = RENAME_LOCK.read();
    let mut dentry = path.dentry.clone();
    while let Some(parent) = dentry.parent() {
        components.push(dentry.name());
        dentry = parent;
    }
    join(&components)
}

/// What getcwd(2) returns. Errors: ENOENT when the directory was removed.
pub fn getcwd_text(pwd: &Path, root: &Path) -> Result<Vec<u8>> {
    if pwd.dentry.is_unlinked() {
        return Err(Errno::ENOENT);
    }
    let found = prepend_path(pwd, Some(root));
    let mut text = join(&found.components);
    if found.reached != Reached::Root {
        text.splice(0..0, *b"(unreachable)");
    }
    Ok(text)
}

/// getcwd(2): the name with its NUL; returns its length. Errors: ERANGE, ENOENT, EFAULT.
pub fn sys_getcwd(buf: UserAddr, size: u64) -> Result<usize> {
    let fs = crate::kernel::sched::current().fs().ok_or(Errno::ENOENT)?;
    let mut text = getcwd_text(&fs.pwd(), &fs.root())?;
    text.push(0);
    if text.len() > uapi::limits::PATH_MAX {
        return Err(Errno::ENAMETOOLONG);
    }
    if text.len() as u64 > size {
        return Err(Errno::ERANGE);
    }
    copy_to_user(buf, &text)?;
    Ok(text.len())
}
