//! Socket files, and the families that make sockets.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicUsize, Ordering};

use uapi::fcntl::{O_NONBLOCK, O_RDWR};
use uapi::signal::SIGPIPE;
use uapi::socket::*;
use uapi::stat::S_IFSOCK;

use crate::fs::dcache::Dentry;
use crate::fs::file::{File, FileOperations, fget};
use crate::fs::filesystems::FileSystemType;
use crate::fs::inode::{Inode, InodeInit, InodeOperations};
use crate::fs::libfs::{PseudoFs, pseudo_mount};
use crate::fs::mount::Mount;
use crate::fs::namei::Path;
use crate::kernel::cred::Cred;
use crate::kernel::sched::current;
use crate::kernel::sched::wait::PollTable;
use crate::mm::UserAddr;
use crate::mm::uaccess::IovIter;
use crate::net::core::scm::{ScmIn, ScmOut};
use crate::net::core::sock::{RecvMsg, SendMsg, Sock};
use crate::prelude::*;

/// Makes a socket of a family: type, protocol, who makes it.
pub type CreateFn = fn(u32, i32, &Cred) -> Result<Arc<dyn Sock>>;

static NET_FAMILIES: [spin::Once<CreateFn>; AF_MAX as usize] =
    [const { spin::Once::new() }; AF_MAX as usize];
static SOCKETS_IN_USE: AtomicUsize = AtomicUsize::new(0);

/// Lets socket(2) make sockets of a family (Linux: `sock_register`).
pub fn sock_register(family: u16, create: CreateFn) {
    if let Some(slot) = NET_FAMILIES.get(usize::from(family)) {
        slot.call_once(|| create);
    }
}

/// Makes a socket without a file (Linux: `__sock_create`). Errors: EAFNOSUPPORT, EINVAL, and
/// those of the family.
pub fn sock_create(family: i32, kind: u32, protocol: i32) -> Result<Arc<dyn Sock>> {
    let slot = usize::try_from(family)
        .ok()
        .and_then(|family| NET_FAMILIES.get(family));
    let slot = slot.ok_or(Errno::EAFNOSUPPORT)?;
    if kind > SOCK_PACKET {
        return Err(Errno::EINVAL);
    }
    let create = slot.get().ok_or(Errno::EAFNOSUPPORT)?;
    create(kind, protocol, &current().cred())
}

/// Sockets that are open files, for /proc/net/sockstat.
pub fn sockets_in_use() -> usize {
    SOCKETS_IN_USE.load(Ordering::Relaxed)
}

static SOCK_FS: FileSystemType = FileSystemType {
    name: "sockfs",
    requires_dev: false,
    mount: |_, _| Err(Errno::EINVAL),
};

struct SocketInode;
impl InodeOperations for SocketInode {}

fn sock_mount() -> &'static Arc<Mount> {
    static MOUNT: spin::Once<Arc<Mount>> = spin::Once::new();
    MOUNT.call_once(|| {
        pseudo_mount(PseudoFs {
            fs_type: &SOCK_FS,
            magic: uapi::magic::SOCKFS_MAGIC,
            dname: |dentry| format!("socket:[{}]", dentry.inode.ino),
        })
    })
}

/// The file system of sockets exists from here on (Linux: `sock_init`).
#[__init]
fn sock_init() -> Result {
    sock_mount();
    Ok(())
}
core_initcall!(sock_init);

/// An open socket.
pub struct SocketFile {
    /// What the protocol keeps.
    pub sock: Arc<dyn Sock>,
}

/// An open file for a socket (Linux: `sock_alloc_file`). `flags` may have O_NONBLOCK. When it
/// cannot be made, the socket is released. Errors: ENFILE.
pub fn sock_alloc_file(sock: Arc<dyn Sock>, flags: u32) -> Result<Arc<File>> {
    let mnt = sock_mount();
    let cred = current().cred();
    let mut init = InodeInit::new(S_IFSOCK | 0o777);
    (init.uid, init.gid) = (cred.fsuid, cred.fsgid);
    let ino = mnt.sb.next_ino();
    let inode = Inode::new(&mnt.sb, ino, Box::new(SocketInode), init);
    sock.common().ino.store(ino, Ordering::Relaxed);
    let path = Path {
        mnt: mnt.clone(),
        dentry: Dentry::new_anonymous(inode, b""),
    };
    let ops = Arc::new(SocketFile { sock: sock.clone() });
    let file = File::new_pseudo(path, O_RDWR | flags & O_NONBLOCK, ops);
    match &file {
        Ok(_) => {
            SOCKETS_IN_USE.fetch_add(1, Ordering::Relaxed);
        }
        Err(_) => sock.release(),
    }
    file
}

/// The socket behind an open file. Errors: ENOTSOCK.
#[inline]
pub fn sock_from_file(file: &File) -> Result<&Arc<dyn Sock>> {
    let ops = file.ops.as_any().downcast_ref::<SocketFile>();
    ops.map(|ops| &ops.sock).ok_or(Errno::ENOTSOCK)
}

/// The open file of a socket descriptor (Linux: `sockfd_lookup`). Errors: EBADF, ENOTSOCK.
#[inline]
pub fn sockfd_lookup(fd: i32) -> Result<Arc<File>> {
    let file = fget(fd)?;
    sock_from_file(&file)?;
    Ok(file)
}

/// MSG_DONTWAIT for a non-blocking file.
#[inline]
pub fn wait_flag(file: &File) -> u32 {
    if file.is_nonblocking() {
        MSG_DONTWAIT
    } else {
        0
    }
}

/// Sends, and raises SIGPIPE for a broken stream (Linux: `sock_sendmsg`).
#[inline]
pub fn sock_sendmsg(sock: &dyn Sock, msg: &mut SendMsg<'_, '_>) -> Result<usize> {
    let result = sock.sendmsg(msg);
    let is_stream = || sock.common().kind == SOCK_STREAM;
    if result == Err(Errno::EPIPE) && is_stream() && msg.flags & MSG_NOSIGNAL == 0 {
        let _ = crate::kernel::signal::send_sig(SIGPIPE, &current().to_arc());
    }
    result
}

impl FileOperations for SocketFile {
    fn read_iter(&self, file: &File, to: &mut IovIter<'_>, _pos: &mut u64) -> Result<usize> {
        if to.count() == 0 {
            return Ok(0);
        }
        self.sock.recvmsg(&mut RecvMsg {
            data: to,
            flags: wait_flag(file),
            wants_name: false,
            out_flags: 0,
            name: None,
            scm: ScmOut::default(),
        })
    }
    fn write_iter(&self, file: &File, from: &mut IovIter<'_>, _pos: &mut u64) -> Result<usize> {
        let end = if self.sock.common().kind == SOCK_SEQPACKET {
            MSG_EOR
        } else {
            0
        };
        let mut msg = SendMsg {
            name: None,
            data: from,
            flags: wait_flag(file) | end,
            scm: ScmIn::default(),
        };
        sock_sendmsg(&*self.sock, &mut msg)
    }
    fn poll(&self, _file: &File, table: Option<&mut PollTable>) -> u32 {
        self.sock.poll(table)
    }
    fn can_poll(&self) -> bool {
        true
    }
    fn ioctl(&self, _file: &File, cmd: u32, arg: UserAddr) -> Result<i64> {
        match self.sock.ioctl(cmd, arg) {
            Err(Errno::ENOIOCTLCMD) => crate::net::core::dev_ioctl::dev_ioctl(cmd, arg),
            result => result,
        }
    }
    fn release(&self, _file: &File) {
        SOCKETS_IN_USE.fetch_sub(1, Ordering::Relaxed);
        self.sock.release();
    }
    fn as_any(&self) -> &dyn core::any::Any {
        self
    }
}
