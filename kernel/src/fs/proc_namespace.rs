//! The lists of mounts in /proc (Linux: fs/proc_namespace.c).
#![forbid(unsafe_code)]

use core::fmt::Write;

use uapi::mount::*;

use crate::fs::d_path::{d_path, dentry_path};
use crate::fs::mount::{MntNamespace, Mount};
use crate::fs::namei::Path;
use crate::prelude::*;

/// Escapes what separates fields (Linux: `mangle`).
fn mangle(out: &mut String, text: &[u8]) {
    for chunk in text.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                ' ' | '\t' | '\n' | '\\' | '#' => {
                    let _ = write!(out, "\\{:03o}", c as u32);
                }
                c => out.push(c),
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(out, "\\{byte:03o}");
        }
    }
}

fn mount_options(out: &mut String, flags: u64) {
    let names = [
        (MS_NOSUID, ",nosuid"),
        (MS_NODEV, ",nodev"),
        (MS_NOEXEC, ",noexec"),
        (MS_NOATIME, ",noatime"),
        (MS_NODIRATIME, ",nodiratime"),
        (MS_RELATIME, ",relatime"),
        (MS_NOSYMFOLLOW, ",nosymfollow"),
    ];
    for (_, name) in names.iter().filter(|(flag, _)| flags & flag != 0) {
        out.push_str(name);
    }
}

fn super_options(out: &mut String, mount: &Mount) {
    let flags = mount.sb.flags();
    for (flag, name) in [(MS_SYNCHRONOUS, ",sync"), (MS_DIRSYNC, ",dirsync")] {
        if flags & flag != 0 {
            out.push_str(name);
        }
    }
}

fn rw(readonly: bool) -> &'static str {
    if readonly { "ro" } else { "rw" }
}

/// Mounts that can be seen from `root`, with where they are.
fn visible(ns: &MntNamespace, root: &Path) -> Vec<(Arc<Mount>, Vec<u8>)> {
    let mounts = ns.mounts().into_iter();
    mounts
        .filter(|mount| is_visible(mount, root))
        .map(|mount| {
            let at = d_path(&mount.root_path(), Some(root));
            (mount, at)
        })
        .collect()
}

/// A process in a chroot sees what is mounted at or below its root.
fn is_visible(mount: &Arc<Mount>, root: &Path) -> bool {
    let mut here = mount.root_path();
    while !Arc::ptr_eq(&here.mnt, &root.mnt) {
        match here.mnt.mountpoint() {
            Some(above) => here = above,
            None => return false,
        }
    }
    here.dentry.is_below(&root.dentry)
}

/// The text of /proc/mounts for a process whose root is `root` (Linux: `show_vfsmnt`).
pub fn show_mounts(ns: &MntNamespace, root: &Path, out: &mut String) {
    for (mount, at) in visible(ns, root) {
        mangle(out, mount.devname.as_bytes());
        out.push(' ');
        mangle(out, &at);
        let readonly = mount.flags() & MS_RDONLY != 0 || mount.sb.is_readonly();
        let _ = write!(out, " {} {}", mount.sb.fs_type.name, rw(readonly));
        super_options(out, &mount);
        mount_options(out, mount.flags());
        mount.sb.ops.show_options(&mount.sb, out);
        out.push_str(" 0 0\n");
    }
}

/// The text of /proc/PID/mountinfo (Linux: `show_mountinfo`).
pub fn show_mountinfo(ns: &MntNamespace, root: &Path, out: &mut String) {
    for (mount, at) in visible(ns, root) {
        let parent = mount.parent().map_or(mount.id, |parent| parent.id);
        let dev = mount.sb.dev;
        let _ = write!(
            out,
            "{} {parent} {}:{} ",
            mount.id,
            dev.major(),
            dev.minor()
        );
        mangle(out, &dentry_path(&mount.root_path()));
        out.push(' ');
        mangle(out, &at);
        let _ = write!(out, " {}", rw(mount.flags() & MS_RDONLY != 0));
        mount_options(out, mount.flags());
        let _ = write!(out, " - {} ", mount.sb.fs_type.name);
        mangle(out, mount.devname.as_bytes());
        let _ = write!(out, " {}", rw(mount.sb.is_readonly()));
        super_options(out, &mount);
        mount.sb.ops.show_options(&mount.sb, out);
        out.push('\n');
    }
}
