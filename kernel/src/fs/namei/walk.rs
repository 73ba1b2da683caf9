//! The path walk (Linux: fs/namei.c, `link_path_walk` and `path_lookupat`).
//!
//! The walk is a loop over a stack of texts: a symbolic link's text is walked before the rest of
//! the name that met it, so a deep chain of links needs no deep stack. A step takes a bucket
//! lock, never the directory's, as long as the name is cached.
#![forbid(unsafe_code)]

use uapi::limits::{MAXSYMLINKS, NAME_MAX};
use uapi::mount::MS_NOSYMFOLLOW;

use super::Path;
use super::filename::WalkEnv;
use super::permission::may_lookup;
use crate::fs::dcache::{Dentry, d_lookup, d_lookup_hashed, hash_seed};
use crate::fs::hashtable::{hash_bytes, scan_component};
use crate::fs::inode::LinkTarget;
use crate::fs::mount::lookup_mnt;
use crate::prelude::*;

bitflags::bitflags! {
    /// How to walk (Linux: `LOOKUP_*`).
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct LookupFlags: u32 {
        /// Follow a symbolic link at the end.
        const FOLLOW = 1;
        /// The end must be a directory.
        const DIRECTORY = 2;
        /// An empty name means the start itself.
        const EMPTY = 4;
        /// openat2(2): do not cross mounts.
        const NO_XDEV = 8;
        /// openat2(2): no links of /proc.
        const NO_MAGICLINKS = 16;
        /// openat2(2): no links at all.
        const NO_SYMLINKS = 32;
        /// openat2(2): never leave the start.
        const BENEATH = 64;
        /// openat2(2): the start is the root.
        const IN_ROOT = 128;
    }
}

/// A text that is being walked.
#[derive(Clone)]
enum Text<'n> {
    Name(&'n [u8]),
    Link(Arc<[u8]>),
}

impl Text<'_> {
    #[inline]
    fn as_bytes(&self) -> &[u8] {
        match self {
            Text::Name(name) => name,
            Text::Link(text) => text,
        }
    }
}

/// What the last component of a path is (Linux: `LAST_*`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LastType {
    /// A name.
    Norm,
    /// Nothing: the path is `/`.
    Root,
    /// `.`
    Dot,
    /// `..`
    DotDot,
}

/// A walk under way (Linux: `struct nameidata`).
pub struct Nameidata<'n> {
    env: &'n WalkEnv,
    /// Where the walk has come: the parent directory while a last component is left.
    pub path: Path,
    /// The walk does not go above this; fetched when first needed.
    root: Option<Path>,
    flags: LookupFlags,
    links: usize,
    text: Text<'n>,
    pos: usize,
    stack: Vec<(Text<'n>, usize)>,
    last: (usize, usize),
    last_hash: u64,
    /// What the last component is.
    pub last_type: LastType,
    /// The last component is followed by a slash.
    pub trailing_slash: bool,
}

/// What one step of the walk met.
enum Step {
    Arrived,
    Link(LinkTarget),
}

/// How far one text was walked.
enum Walked {
    /// Its last component is the last of all.
    Last,
    /// A link's text comes next.
    Link(LinkTarget),
    /// To its end; the text that met it goes on.
    End,
}

impl<'n> Nameidata<'n> {
    /// Starts at `start`, or at the working directory or root as the name says. Errors: ENOENT
    /// for an empty name without `EMPTY`; EXDEV.
    #[inline]
    pub fn new(
        env: &'n WalkEnv,
        start: Option<Path>,
        name: &'n [u8],
        flags: LookupFlags,
    ) -> Result<Self> {
        if name.is_empty() && !flags.contains(LookupFlags::EMPTY) {
            return Err(Errno::ENOENT);
        }
        let absolute = name.first() == Some(&b'/');
        let scoped = flags.intersects(LookupFlags::BENEATH | LookupFlags::IN_ROOT);
        if absolute && flags.contains(LookupFlags::BENEATH) {
            return Err(Errno::EXDEV);
        }
        let mut root = None;
        let path = match start {
            Some(start) if !absolute || scoped => start,
            _ if absolute && !scoped => env.fs.root(),
            _ => env.fs.pwd(),
        };
        if scoped {
            root = Some(path.clone());
        }
        Ok(Self {
            env,
            path,
            root,
            flags,
            links: 0,
            text: Text::Name(name),
            pos: 0,
            stack: Vec::new(),
            last: (0, 0),
            last_hash: 0,
            last_type: LastType::Root,
            trailing_slash: false,
        })
    }

    /// The last component, when `last_type` is `Norm`.
    pub fn last(&self) -> &[u8] {
        self.text
            .as_bytes()
            .get(self.last.0..self.last.1)
            .unwrap_or_default()
    }

    fn root(&mut self) -> &Path {
        let env = self.env;
        self.root.get_or_insert_with(|| env.fs.root())
    }

    /// Walks everything but the last component (Linux: `link_path_walk`). Errors: ENOENT,
    /// ENOTDIR, EACCES, ELOOP, ENAMETOOLONG.
    pub fn walk_to_parent(&mut self) -> Result {
        self.last_type = LastType::Root;
        self.trailing_slash = false;
        loop {
            let text = core::mem::replace(&mut self.text, Text::Name(b""));
            let walked = self.walk_text(text.as_bytes())?;
            self.text = text;
            match walked {
                Walked::Last => return Ok(()),
                Walked::Link(target) => self.enter_link(target)?,
                Walked::End => match self.stack.pop() {
                    Some((text, pos)) => (self.text, self.pos) = (text, pos),
                    None => return Ok(()),
                },
            }
        }
    }

    /// Walks one text from `pos` on, up to the last component of all or to a link.
    #[inline]
    fn walk_text(&mut self, bytes: &[u8]) -> Result<Walked> {
        let mut start = skip_slashes(bytes, self.pos);
        while let Some(tail) = bytes.get(start..)
            && !tail.is_empty()
        {
            self.may_search()?;
            let (len, hash) = scan_component(hash_seed(&self.path.dentry), tail);
            if len > NAME_MAX {
                return Err(Errno::ENAMETOOLONG);
            }
            let end = start + len;
            let name = tail.get(..len).unwrap_or_default();
            let next = skip_slashes(bytes, end);
            self.last_type = classify(name);
            self.pos = next;
            if next == bytes.len() && self.stack.is_empty() {
                self.last = (start, end);
                self.last_hash = hash;
                self.trailing_slash = next > end;
                return Ok(Walked::Last);
            }
            if let Step::Link(target) = self.step(name, hash, true)? {
                return Ok(Walked::Link(target));
            }
            start = next;
        }
        Ok(Walked::End)
    }

    #[inline]
    fn may_search(&self) -> Result {
        let inode = self.path.inode();
        if !inode.is_dir() {
            return Err(Errno::ENOTDIR);
        }
        may_lookup(inode, &self.env.cred)
    }

    /// Goes to a component of type `last_type` (Linux: `walk_component`).
    #[inline]
    fn step(&mut self, name: &[u8], hash: u64, follow: bool) -> Result<Step> {
        match self.last_type {
            LastType::Norm => {
                let found = lookup_hashed(&self.path.dentry, name, hash)?;
                self.step_into(found.ok_or(Errno::ENOENT)?, follow)
            }
            LastType::DotDot => self.follow_dotdot().map(|()| Step::Arrived),
            LastType::Dot | LastType::Root => Ok(Step::Arrived),
        }
    }

    /// Goes to a child of the present place, across mounts; a link is read, not entered
    /// (Linux: `step_into`).
    #[inline]
    fn step_into(&mut self, dentry: Arc<Dentry>, follow: bool) -> Result<Step> {
        if dentry.inode.is_symlink() && follow {
            return self.pick_link(&dentry);
        }
        self.path.dentry = dentry;
        if self.path.dentry.is_mountpoint() {
            self.cross_mounts()?;
        }
        Ok(Step::Arrived)
    }

    /// Goes to the root of whatever is mounted here (Linux: `traverse_mounts`).
    fn cross_mounts(&mut self) -> Result {
        while self.path.dentry.is_mountpoint()
            && let Some(mount) = lookup_mnt(&self.path.mnt, &self.path.dentry)
        {
            if self.flags.contains(LookupFlags::NO_XDEV) {
                return Err(Errno::EXDEV);
            }
            self.path.dentry = mount.root.clone();
            self.path.mnt = mount;
        }
        Ok(())
    }

    /// Counts and reads a symbolic link (Linux: `pick_link`). Errors: ELOOP, EACCES.
    fn pick_link(&mut self, dentry: &Arc<Dentry>) -> Result<Step> {
        self.links += 1;
        let refused = self.flags.contains(LookupFlags::NO_SYMLINKS)
            || self.path.mnt.flags() & MS_NOSYMFOLLOW != 0;
        if self.links > MAXSYMLINKS || refused {
            return Err(Errno::ELOOP);
        }
        let target = dentry.inode.ops.get_link(&dentry.inode)?;
        Ok(Step::Link(target))
    }

    /// Makes a link's text the text that is walked; the rest of the present one waits on the
    /// stack.
    fn enter_link(&mut self, target: LinkTarget) -> Result {
        let text = match target {
            LinkTarget::Jump(path) => return self.jump(path),
            LinkTarget::Text(text) => text,
        };
        if text.is_empty() {
            return Err(Errno::ENOENT);
        }
        let absolute = text.first() == Some(&b'/');
        let outer = core::mem::replace(&mut self.text, Text::Link(text));
        if self.pos < outer.as_bytes().len() {
            self.stack.push((outer, self.pos));
        }
        self.pos = 0;
        if absolute {
            self.jump_to_root()?;
        }
        Ok(())
    }

    fn jump(&mut self, path: Path) -> Result {
        if self.flags.contains(LookupFlags::NO_MAGICLINKS) {
            return Err(Errno::ELOOP);
        }
        if self
            .flags
            .intersects(LookupFlags::BENEATH | LookupFlags::IN_ROOT)
        {
            return Err(Errno::EXDEV);
        }
        self.path = path;
        Ok(())
    }

    fn jump_to_root(&mut self) -> Result {
        if self.flags.contains(LookupFlags::BENEATH) {
            return Err(Errno::EXDEV);
        }
        let root = self.root().clone();
        if self.flags.contains(LookupFlags::NO_XDEV) && !Arc::ptr_eq(&root.mnt, &self.path.mnt) {
            return Err(Errno::EXDEV);
        }
        self.path = root;
        Ok(())
    }

    /// Goes to the parent directory, at most to the root (Linux: `handle_dots`).
    fn follow_dotdot(&mut self) -> Result {
        loop {
            let root = self.root().clone();
            if self.path == root {
                if self.flags.contains(LookupFlags::BENEATH) {
                    return Err(Errno::EXDEV);
                }
                break;
            }
            if !Arc::ptr_eq(&self.path.dentry, &self.path.mnt.root) {
                if let Some(parent) = self.path.dentry.parent() {
                    self.path.dentry = parent;
                }
                break;
            }
            let Some(above) = self.path.mnt.mountpoint() else {
                break;
            };
            if self.flags.contains(LookupFlags::NO_XDEV) {
                return Err(Errno::EXDEV);
            }
            self.path = above;
        }
        self.cross_mounts()
    }

    /// Walks to the end (Linux: `path_lookupat`).
    pub fn walk_to_end(&mut self) -> Result {
        loop {
            self.walk_to_parent()?;
            if self.finish_last()? {
                return Ok(());
            }
        }
    }

    /// Takes the last step; false when it was a link whose text is to be walked now.
    pub fn finish_last(&mut self) -> Result<bool> {
        let follow = self.flags.contains(LookupFlags::FOLLOW) || self.trailing_slash;
        let text = self.text.clone();
        let name = text.as_bytes().get(self.last.0..self.last.1);
        match self.step(name.unwrap_or_default(), self.last_hash, follow)? {
            Step::Link(target) => {
                let jumped = matches!(target, LinkTarget::Jump(_));
                self.enter_trailing_link(target)?;
                if !jumped {
                    return Ok(false);
                }
            }
            Step::Arrived => {}
        }
        self.check_directory()?;
        Ok(true)
    }

    fn check_directory(&self) -> Result {
        let wanted = self.trailing_slash || self.flags.contains(LookupFlags::DIRECTORY);
        if wanted && !self.path.inode().is_dir() {
            return Err(Errno::ENOTDIR);
        }
        Ok(())
    }

    /// Enters the link that the last component is: a slash after it still asks for a directory.
    fn enter_trailing_link(&mut self, target: LinkTarget) -> Result {
        if self.trailing_slash {
            self.flags |= LookupFlags::DIRECTORY;
        }
        self.enter_link(target)
    }

    /// For open(2): goes to `dentry`, found as the last component. True when the walk is over,
    /// false when a link was entered and `walk_to_parent` is to be called again.
    pub fn finish_with(&mut self, dentry: Arc<Dentry>, follow: bool) -> Result<bool> {
        match self.step_into(dentry, follow || self.trailing_slash)? {
            Step::Arrived => Ok(true),
            Step::Link(target) => {
                let jumped = matches!(target, LinkTarget::Jump(_));
                self.enter_trailing_link(target)?;
                Ok(jumped)
            }
        }
    }

    /// Whether the end must be a directory.
    pub fn wants_directory(&self) -> bool {
        self.trailing_slash || self.flags.contains(LookupFlags::DIRECTORY)
    }
}

#[inline]
fn skip_slashes(bytes: &[u8], mut pos: usize) -> usize {
    while bytes.get(pos) == Some(&b'/') {
        pos += 1;
    }
    pos
}

#[inline]
fn classify(component: &[u8]) -> LastType {
    match component {
        b"." => LastType::Dot,
        b".." => LastType::DotDot,
        _ => LastType::Norm,
    }
}

/// The child `name` of a directory, from the cache or from the file system; `None` when there is
/// none (Linux: `lookup_fast`, then `lookup_slow`). May sleep for the directory's lock.
#[inline]
pub fn lookup_one(parent: &Arc<Dentry>, name: &[u8]) -> Result<Option<Arc<Dentry>>> {
    lookup_hashed(parent, name, hash_bytes(hash_seed(parent), name))
}

#[inline]
fn lookup_hashed(parent: &Arc<Dentry>, name: &[u8], hash: u64) -> Result<Option<Arc<Dentry>>> {
    if let Some(dentry) = d_lookup_hashed(parent, name, hash)
        && still_valid(&dentry)
    {
        return Ok(Some(dentry));
    }
    lookup_slow(parent, name)
}

#[cold]
fn lookup_slow(parent: &Arc<Dentry>, name: &[u8]) -> Result<Option<Arc<Dentry>>> {
    let _dir = parent.inode.lock.lock();
    lookup_locked(parent, name)
}

/// `lookup_one` for callers that hold the directory's lock: the answer stays true until they
/// release it.
pub fn lookup_locked(parent: &Arc<Dentry>, name: &[u8]) -> Result<Option<Arc<Dentry>>> {
    if let Some(dentry) = d_lookup(parent, name) {
        if still_valid(&dentry) {
            return Ok(Some(dentry));
        }
        dentry.forget();
    }
    if parent.sb.pins_dentries() || parent.inode.is_dead() {
        return Ok(None);
    }
    let inode = parent.inode.ops.lookup(&parent.inode, name)?;
    Ok(inode.map(|inode| Dentry::new_child(parent, name, inode)))
}

#[inline]
fn still_valid(dentry: &Arc<Dentry>) -> bool {
    let inode = &dentry.inode;
    !inode.must_revalidate() || inode.ops.revalidate(inode)
}

/// Walks a path to its end (Linux: `filename_lookup`).
pub fn path_lookup(
    env: &WalkEnv,
    start: Option<Path>,
    name: &[u8],
    flags: LookupFlags,
) -> Result<Path> {
    let mut nd = Nameidata::new(env, start, name, flags)?;
    nd.walk_to_end()?;
    Ok(nd.path)
}
