//! Control messages: descriptors and credentials that travel with data (Linux: net/core/scm.c).
#![forbid(unsafe_code)]

use uapi::Pod;
use uapi::capability::{CAP_SETGID, CAP_SETUID, CAP_SYS_ADMIN, CAP_SYS_RESOURCE};
use uapi::resource::RLIMIT_NOFILE;
use uapi::socket::*;

use alloc::collections::BTreeMap;

use crate::fs::fdtable::OnExec;
use crate::fs::file::{File, current_files, fget_raw};
use crate::fs::rlimit::rlimit;
use crate::kernel::cred::Cred;
use crate::kernel::sched::{current, try_current};
use crate::mm::UserAddr;
use crate::mm::uaccess::{copy_from_user, copy_to_user, put_user};
use crate::net::unix::garbage;
use crate::prelude::*;

/// Most bytes of control messages in one call (/proc/sys/net/core/optmem_max).
pub const OPTMEM_MAX: usize = 131_072;

/// Open files on their way through a socket (Linux: `struct scm_fp_list`).
pub struct InFlight {
    files: Vec<Arc<File>>,
    uid: u32,
}

/// Files under way by user who sent them (Linux: `user->unix_inflight`).
static COUNTS: SpinLock<BTreeMap<u32, usize>> = SpinLock::new(BTreeMap::new());
/// Files to be closed. A file's close may find further files in a socket's queue; closing them
/// one after the other instead of inside each other bounds the stack.
static CLOSING: SpinLock<(Vec<Arc<File>>, bool)> = SpinLock::new((Vec::new(), false));

impl InFlight {
    /// Errors: ETOOMANYREFS when the user has too many files under way
    /// (Linux: `too_many_unix_fds`).
    pub fn new(files: Vec<Arc<File>>, uid: u32, may_exceed: bool, limit: u64) -> Result<Box<Self>> {
        {
            let mut counts = COUNTS.lock();
            let count = counts.entry(uid).or_insert(0);
            if *count as u64 > limit && !may_exceed {
                return Err(Errno::ETOOMANYREFS);
            }
            *count += files.len();
        }
        files.iter().for_each(garbage::inflight);
        Ok(Box::new(Self { files, uid }))
    }
    /// The files.
    pub fn files(&self) -> &[Arc<File>] {
        &self.files
    }
    fn leave(&mut self) -> Vec<Arc<File>> {
        let files = core::mem::take(&mut self.files);
        files.iter().for_each(garbage::notinflight);
        let mut counts = COUNTS.lock();
        if let Some(count) = counts.get_mut(&self.uid) {
            *count = count.saturating_sub(files.len());
            if *count == 0 {
                counts.remove(&self.uid);
            }
        }
        files
    }
    /// The files have arrived.
    #[expect(clippy::boxed_local, reason = "it lives in a box in its message")]
    pub fn into_files(mut self: Box<Self>) -> Vec<Arc<File>> {
        self.leave()
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if !self.files.is_empty() {
            close_files(self.leave());
        }
    }
}

/// Closes files without deep recursion. May sleep.
fn close_files(mut files: Vec<Arc<File>>) {
    {
        let mut closing = CLOSING.lock();
        closing.0.append(&mut files);
        if core::mem::replace(&mut closing.1, true) {
            return;
        }
    }
    loop {
        let file = {
            let mut closing = CLOSING.lock();
            let file = closing.0.pop();
            closing.1 = file.is_some();
            file
        };
        match file {
            Some(file) => drop(file),
            None => return,
        }
    }
}

/// What a sender attaches.
#[derive(Default)]
pub struct ScmIn {
    /// Descriptors.
    pub fds: Option<Box<InFlight>>,
    /// Credentials that were given explicitly and checked.
    pub cred: Option<Ucred>,
}

/// What a receiver gets.
#[derive(Default)]
pub struct ScmOut {
    /// Files to be installed.
    pub files: Vec<Arc<File>>,
    /// Sender's credentials, when the receiver asked for them.
    pub cred: Option<Ucred>,
    /// Further messages: level, type and value.
    pub items: Vec<(i32, i32, Vec<u8>)>,
}

impl Drop for ScmOut {
    fn drop(&mut self) {
        if !self.files.is_empty() {
            close_files(core::mem::take(&mut self.files));
        }
    }
}

/// The running process as a receiver of credentials sees it; the kernel itself is 0.
#[inline]
pub fn current_ucred() -> Ucred {
    let Some(task) = try_current() else {
        return Ucred::default();
    };
    let cred = task.cred.lock();
    Ucred {
        pid: task.tgid(),
        uid: cred.uid,
        gid: cred.gid,
    }
}

/// One control message of a sender.
#[derive(Debug, PartialEq, Eq)]
pub struct Cmsg<'a> {
    /// SOL_*.
    pub level: i32,
    /// SCM_*.
    pub kind: i32,
    /// The value.
    pub data: &'a [u8],
}

/// Takes the first control message off `rest` (Linux: `CMSG_OK`, `CMSG_NXTHDR`); `None` at the
/// end. Errors: EINVAL for a length that does not fit.
pub fn next_cmsg<'a>(rest: &mut &'a [u8]) -> Result<Option<Cmsg<'a>>> {
    if rest.len() < Cmsghdr::SIZE {
        return Ok(None);
    }
    let header = Cmsghdr::read_from(rest);
    let len = usize::try_from(header.cmsg_len).map_err(|_| Errno::EINVAL)?;
    let data = rest.get(Cmsghdr::SIZE..len).ok_or(Errno::EINVAL)?;
    let next = len.checked_next_multiple_of(8).unwrap_or(usize::MAX);
    *rest = rest.get(next..).unwrap_or(&[]);
    Ok(Some(Cmsg {
        level: header.cmsg_level,
        kind: header.cmsg_type,
        data,
    }))
}

/// Reads a sender's control messages (Linux: `scm_send`). `takes_fds`: the family passes
/// descriptors. Errors: ENOBUFS, EFAULT, EINVAL, EBADF, EPERM, ETOOMANYREFS.
pub fn scm_send(control: UserAddr, len: usize, takes_fds: bool) -> Result<ScmIn> {
    let mut scm = ScmIn::default();
    if len == 0 {
        return Ok(scm);
    }
    if len > OPTMEM_MAX {
        return Err(Errno::ENOBUFS);
    }
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(len).map_err(|_| Errno::ENOBUFS)?;
    bytes.resize(len, 0);
    copy_from_user(&mut bytes, control)?;
    let mut rest = bytes.as_slice();
    let mut files = Vec::new();
    while let Some(cmsg) = next_cmsg(&mut rest)? {
        match (cmsg.level, cmsg.kind) {
            (SOL_SOCKET, SCM_RIGHTS) if takes_fds => collect_files(&mut files, cmsg.data)?,
            (SOL_SOCKET, SCM_CREDENTIALS) if cmsg.data.len() == Ucred::SIZE => {
                let cred = Ucred::read_from(cmsg.data);
                check_creds(&cred, current().tgid(), &current().cred())?;
                scm.cred = Some(cred);
            }
            (SOL_SOCKET, _) => return Err(Errno::EINVAL),
            _ => {}
        }
    }
    if !files.is_empty() {
        let cred = current().cred();
        let may_exceed = cred.has_cap(CAP_SYS_RESOURCE) || cred.has_cap(CAP_SYS_ADMIN);
        let limit = rlimit(RLIMIT_NOFILE);
        scm.fds = Some(InFlight::new(files, cred.uid, may_exceed, limit)?);
    }
    Ok(scm)
}

/// Linux: `scm_fp_copy`. Errors: EINVAL for too many, EBADF.
fn collect_files(files: &mut Vec<Arc<File>>, data: &[u8]) -> Result {
    if files.len() + data.len() / 4 > SCM_MAX_FD {
        return Err(Errno::EINVAL);
    }
    for raw in data.chunks_exact(4) {
        files.push(fget_raw(i32::read_from(raw))?);
    }
    Ok(())
}

/// Whether a process may call itself `claim` (Linux: `scm_check_creds`). Errors: EPERM.
fn check_creds(claim: &Ucred, tgid: i32, cred: &Cred) -> Result {
    let pid_ok = claim.pid == tgid || cred.has_cap(CAP_SYS_ADMIN);
    let uid_ok = [cred.uid, cred.euid, cred.suid].contains(&claim.uid) || cred.has_cap(CAP_SETUID);
    let gid_ok = [cred.gid, cred.egid, cred.sgid].contains(&claim.gid) || cred.has_cap(CAP_SETGID);
    if pid_ok && uid_ok && gid_ok {
        Ok(())
    } else {
        Err(Errno::EPERM)
    }
}

/// The room that a receiver offers for control messages.
pub struct ControlBuffer {
    at: UserAddr,
    left: usize,
    used: usize,
    truncated: bool,
}

impl ControlBuffer {
    /// `len` bytes at `addr`.
    pub fn new(addr: UserAddr, len: usize) -> Self {
        let left = if addr.as_u64() == 0 { 0 } else { len };
        Self {
            at: addr,
            left,
            used: 0,
            truncated: false,
        }
    }
    /// Bytes written.
    pub fn used(&self) -> usize {
        self.used
    }
    /// Whether something did not fit (MSG_CTRUNC).
    pub fn is_truncated(&self) -> bool {
        self.truncated
    }

    /// Adds a message (Linux: `put_cmsg`). Errors: EFAULT.
    pub fn put(&mut self, level: i32, kind: i32, data: &[u8]) -> Result {
        if self.left < Cmsghdr::SIZE {
            self.truncated = true;
            return Ok(());
        }
        let mut len = Cmsghdr::SIZE + data.len();
        if self.left < len {
            self.truncated = true;
            len = self.left;
        }
        self.put_header(level, kind, len)?;
        let data = data.get(..len - Cmsghdr::SIZE).unwrap_or(data);
        copy_to_user(self.at + Cmsghdr::SIZE as u64, data)?;
        self.advance(len);
        Ok(())
    }

    fn put_header(&self, level: i32, kind: i32, len: usize) -> Result {
        let header = Cmsghdr {
            cmsg_len: len as u64,
            cmsg_level: level,
            cmsg_type: kind,
        };
        put_user(self.at, &header)
    }

    fn advance(&mut self, len: usize) {
        let space = len.next_multiple_of(8).min(self.left);
        self.at = self.at + space as u64;
        self.left -= space;
        self.used += space;
    }

    /// Installs the files as descriptors (Linux: `scm_detach_fds`); those that do not fit are
    /// closed. Errors: EFAULT.
    fn put_files(&mut self, files: Vec<Arc<File>>, flags: u32) -> Result {
        let room = self.left.saturating_sub(Cmsghdr::SIZE) / 4;
        let on_exec = OnExec::from_flag(flags, MSG_CMSG_CLOEXEC);
        let table = current_files()?;
        let mut installed = 0;
        let mut files = files.into_iter();
        while installed < room
            && let Some(file) = files.next()
        {
            let Ok(fd) = table.alloc(0, rlimit(RLIMIT_NOFILE), on_exec) else {
                self.truncated = true;
                break;
            };
            let slot = self.at.checked_add((Cmsghdr::SIZE + 4 * installed) as u64);
            let written = slot
                .ok_or(Errno::EFAULT)
                .and_then(|at| put_user(at, &fd.number()));
            if written.is_err() {
                self.truncated = true;
                break;
            }
            fd.install(file);
            installed += 1;
        }
        self.truncated |= files.len() > 0;
        close_files(files.collect());
        if installed > 0 {
            let len = Cmsghdr::SIZE + 4 * installed;
            self.put_header(SOL_SOCKET, SCM_RIGHTS, len)?;
            self.advance(len);
        }
        Ok(())
    }

    /// Everything that came with a message, in Linux's order (Linux: `scm_recv`). `flags` are
    /// those of recvmsg(2). Errors: EFAULT.
    pub fn put_all(&mut self, scm: &mut ScmOut, flags: u32) -> Result {
        for (level, kind, data) in core::mem::take(&mut scm.items) {
            self.put(level, kind, &data)?;
        }
        if let Some(cred) = scm.cred.take() {
            let mut bytes = [0; Ucred::SIZE];
            cred.write_to(&mut bytes);
            self.put(SOL_SOCKET, SCM_CREDENTIALS, &bytes)?;
        }
        let files = core::mem::take(&mut scm.files);
        if files.is_empty() {
            Ok(())
        } else {
            self.put_files(files, flags)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(level: i32, kind: i32, data: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; Cmsghdr::SIZE];
        let header = Cmsghdr {
            cmsg_len: (Cmsghdr::SIZE + data.len()) as u64,
            cmsg_level: level,
            cmsg_type: kind,
        };
        header.write_to(&mut bytes);
        bytes.extend_from_slice(data);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes
    }

    #[test]
    fn control_messages_are_found_one_after_the_other() {
        let mut bytes = message(1, 1, &[1, 2, 3, 4]);
        bytes.extend(message(0, 8, &[9; 12]));
        let mut rest = bytes.as_slice();
        let first = next_cmsg(&mut rest).unwrap().unwrap();
        assert_eq!(
            (first.level, first.kind, first.data),
            (1, 1, &[1, 2, 3, 4][..])
        );
        let second = next_cmsg(&mut rest).unwrap().unwrap();
        assert_eq!((second.level, second.kind, second.data.len()), (0, 8, 12));
        assert_eq!(next_cmsg(&mut rest), Ok(None));
    }

    #[test]
    fn lengths_that_do_not_fit_are_refused() {
        for len in [0u64, 15, 21, u64::MAX, u64::MAX - 7] {
            let mut bytes = message(1, 1, &[0; 4])[..20].to_vec();
            bytes[..8].copy_from_slice(&len.to_le_bytes());
            assert_eq!(
                next_cmsg(&mut bytes.as_slice()),
                Err(Errno::EINVAL),
                "{len}"
            );
        }
        assert_eq!(next_cmsg(&mut &[0u8; 15][..]), Ok(None));
    }

    #[test]
    fn only_the_privileged_may_claim_to_be_others() {
        let mut user = Cred::root();
        (user.uid, user.euid, user.suid) = (1000, 1000, 1001);
        (user.gid, user.egid, user.sgid) = (100, 100, 100);
        user.cap_effective = 0;
        let claim = |pid, uid, gid| check_creds(&Ucred { pid, uid, gid }, 7, &user);
        assert_eq!(claim(7, 1001, 100), Ok(()));
        assert_eq!(claim(8, 1000, 100), Err(Errno::EPERM));
        assert_eq!(claim(7, 0, 100), Err(Errno::EPERM));
        assert_eq!(claim(7, 1000, 0), Err(Errno::EPERM));
        assert_eq!(
            check_creds(
                &Ucred {
                    pid: 1,
                    uid: 5,
                    gid: 5
                },
                7,
                &Cred::root()
            ),
            Ok(())
        );
    }
}
