//! execve: one program takes another's place (Linux: fs/exec.c).
//!
//! The new address space is complete, program, interpreter and stack, before anything of the old
//! one is given up. A file that turns out to be unusable is therefore an error of execve(2), never
//! the end of the caller.
#![forbid(unsafe_code)]

use core::sync::atomic::Ordering;

use uapi::fcntl::{AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW};
use uapi::limits::PATH_MAX;
use uapi::resource::RLIMIT_STACK;
use uapi::signal::SIGSEGV;

use crate::arch::{self, PtRegs};
use crate::fs::exec_args::{ArgArea, Strings};
use crate::fs::file::File;
use crate::fs::{binfmt_elf, binfmt_script, exec_hooks};
use crate::kernel::cred::{Cred, commit_creds};
use crate::kernel::sched::task::pf;
use crate::kernel::sched::{current, exec_mmap};
use crate::mm::UserAddr;
use crate::mm::mmap::MmStruct;
use crate::mm::uaccess::strncpy_from_user;
use crate::mm::util::{MmapLayout, rlimit};
use crate::prelude::*;

/// Bytes of a file that decide how it is executed.
pub const BINPRM_BUF_SIZE: usize = uapi::limits::BINPRM_BUF_SIZE;
/// Scripts whose interpreter is a script, and so on.
const MAX_INTERPRETERS: u32 = 5;

/// Whether the file's mount forbids execution (Linux: `path_noexec`).
pub fn path_noexec(file: &File) -> bool {
    let flags = file.path.mnt.flags() | file.path.mnt.sb.flags();
    flags & uapi::mount::MS_NOEXEC != 0
}

/// Writes a file's changes to its storage (Linux: `vfs_fsync`).
pub fn vfs_fsync(file: &File) -> Result {
    file.ops.fsync(file)
}

/// A program's file while it is loaded or runs: nobody may open it for writing
/// (Linux: `exe_file_deny_write_access`).
pub struct ExeFile(Arc<File>);

impl ExeFile {
    /// Errors: ETXTBSY while somebody has it open for writing.
    pub fn new(file: Arc<File>) -> Result<Arc<ExeFile>> {
        file.inode.deny_write_access()?;
        Ok(Arc::new(ExeFile(file)))
    }
    /// The open file.
    pub fn file(&self) -> &Arc<File> {
        &self.0
    }
}

impl Drop for ExeFile {
    fn drop(&mut self) {
        self.0.inode.allow_write_access();
    }
}

/// An exec on its way (Linux: `struct linux_binprm`).
pub struct Binprm {
    /// The file that is looked at: the program, a script, its interpreter.
    pub exe: Arc<ExeFile>,
    /// Its first bytes, zeroes after its end.
    pub head: [u8; BINPRM_BUF_SIZE],
    /// What the caller asked for.
    pub filename: Vec<u8>,
    /// Path of `exe`.
    pub interp: Vec<u8>,
    /// `filename` goes through a descriptor that exec closes.
    pub path_inaccessible: bool,
    /// Arguments and environment.
    pub args: ArgArea,
    /// The new address space.
    pub mm: Arc<MmStruct>,
    /// What the process may do afterwards.
    pub cred: Cred,
    /// More than the caller might (AT_SECURE).
    pub secureexec: bool,
    /// RLIMIT_STACK at the start: it must not change half way.
    pub stack_limit: u64,
}

/// Where a loaded program begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// First instruction.
    pub ip: u64,
    /// Stack pointer.
    pub sp: u64,
}

/// execve(2). Errors: E2BIG, EACCES, EFAULT, EINVAL, EIO, ELIBBAD, ELOOP, ENAMETOOLONG, ENOENT,
/// ENOEXEC, ENOMEM, ENOTDIR, EPERM.
pub fn sys_execve(regs: &mut PtRegs, filename: UserAddr, argv: UserAddr, envp: UserAddr) -> Result {
    sys_execveat(regs, AT_FDCWD, filename, argv, envp, 0)
}

/// execveat(2). Errors: those of execve(2), EBADF.
pub fn sys_execveat(
    regs: &mut PtRegs,
    dfd: i32,
    filename: UserAddr,
    argv: UserAddr,
    envp: UserAddr,
    flags: i32,
) -> Result {
    let flags = flags as u32;
    if flags & !(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL);
    }
    let name = strncpy_from_user(filename, PATH_MAX)?;
    if name.is_empty() && flags & AT_EMPTY_PATH == 0 {
        return Err(Errno::ENOENT);
    }
    let file = exec_hooks::open_execat(dfd, &name, flags)?;
    let (name, path_inaccessible) = program_name(dfd, name);
    let strings = (Strings::User(argv), Strings::User(envp));
    let request = Request {
        file,
        name,
        path_inaccessible,
        argv: strings.0,
        envp: strings.1,
    };
    do_execveat_common(regs, request)
}

/// How /dev/fd names a program that was given by descriptor (Linux: `alloc_bprm`).
fn program_name(dfd: i32, name: Vec<u8>) -> (Vec<u8>, bool) {
    if dfd == AT_FDCWD || name.first() == Some(&b'/') {
        return (name, false);
    }
    let closes = exec_hooks::closes_on_exec(dfd);
    if name.is_empty() {
        return (format!("/dev/fd/{dfd}").into_bytes(), closes);
    }
    let mut full = format!("/dev/fd/{dfd}/").into_bytes();
    full.extend_from_slice(&name);
    (full, closes)
}

/// Makes the running kernel thread a user process: when its function returns, it goes on with the
/// program's first instruction (Linux: `kernel_execve`). Errors: those of execve(2).
pub fn kernel_execve(filename: &str, argv: &[&[u8]], envp: &[&[u8]]) -> Result {
    let request = Request {
        file: exec_hooks::open_exec(filename.as_bytes())?,
        name: filename.as_bytes().to_vec(),
        path_inaccessible: false,
        argv: Strings::Kernel(argv),
        envp: Strings::Kernel(envp),
    };
    arch::with_current_pt_regs(|regs| do_execveat_common(regs, request))
}

/// What is to be executed.
struct Request<'a> {
    file: Arc<File>,
    name: Vec<u8>,
    path_inaccessible: bool,
    argv: Strings<'a>,
    envp: Strings<'a>,
}

/// Loads the program, then changes over to it. Returns into the new program.
fn do_execveat_common(regs: &mut PtRegs, request: Request<'_>) -> Result {
    let old_cred = current().cred();
    let mut bprm = Binprm::new(request.file, request.name, &old_cred)?;
    bprm.path_inaccessible = request.path_inaccessible;
    if is_empty_list(request.argv) {
        let comm = current().comm();
        let name = String::from_utf8_lossy(&bprm.filename).into_owned();
        pr_warn!("process '{comm}' launched '{name}' with NULL argv: empty string added");
    }
    let filename = bprm.filename.clone();
    bprm.args.fill(request.argv, request.envp, &filename)?;
    let entry = bprm.load()?;
    begin_new_exec(bprm)?;
    arch::start_thread(regs, entry.ip, entry.sp);
    Ok(())
}

fn is_empty_list(argv: Strings<'_>) -> bool {
    match argv {
        Strings::Kernel(list) => list.is_empty(),
        Strings::User(array) => {
            array.is_null()
                || crate::mm::uaccess::get_user::<u64>(array).is_ok_and(|first| first == 0)
        }
    }
}

impl Binprm {
    /// For a program that is open, in an empty address space. Errors: ENOMEM, ETXTBSY.
    pub fn new(file: Arc<File>, filename: Vec<u8>, cred: &Cred) -> Result<Binprm> {
        let stack_limit = rlimit(RLIMIT_STACK);
        Ok(Binprm {
            exe: ExeFile::new(file)?,
            head: [0; BINPRM_BUF_SIZE],
            interp: filename.clone(),
            filename,
            path_inaccessible: false,
            args: ArgArea::new(stack_limit),
            mm: MmStruct::new(MmapLayout::pick(stack_limit))?,
            cred: cred.clone(),
            secureexec: false,
            stack_limit,
        })
    }

    /// Finds out what the file is and loads it (Linux: `exec_binprm`, `search_binary_handler`).
    /// Errors: ENOEXEC for an unknown kind, ELOOP, and those of the loaders.
    pub fn load(&mut self) -> Result<Entry> {
        for _ in 0..=MAX_INTERPRETERS {
            self.read_head()?;
            if !self.head.starts_with(b"#!") {
                self.take_credentials();
                return binfmt_elf::load_elf_binary(self);
            }
            self.exe = ExeFile::new(binfmt_script::load_script(self)?)?;
        }
        Err(Errno::ELOOP)
    }

    fn read_head(&mut self) -> Result {
        self.head = [0; BINPRM_BUF_SIZE];
        let mut done = 0;
        while done < self.head.len() {
            match exec_hooks::kernel_read(self.exe.file(), &mut self.head[done..], done as u64)? {
                0 => break,
                count => done += count,
            }
        }
        Ok(())
    }

    /// Set-user-id and capabilities, from the file that really runs (Linux:
    /// `bprm_creds_from_file`, security/commoncap.c).
    fn take_credentials(&mut self) {
        if let Some(uid) = exec_hooks::set_user_id(self.exe.file()) {
            self.cred.euid = uid;
        }
        if let Some(gid) = exec_hooks::set_group_id(self.exe.file()) {
            self.cred.egid = gid;
        }
        self.secureexec = exec_credentials(&mut self.cred);
    }
}

/// What exec does to credentials whose effective ids are already those of the program; whether
/// the program must distrust its environment.
pub fn exec_credentials(cred: &mut Cred) -> bool {
    (cred.suid, cred.fsuid) = (cred.euid, cred.euid);
    (cred.sgid, cred.fsgid) = (cred.egid, cred.egid);
    // Root has every capability that the bounding set leaves, others keep none over exec.
    let root = cred.euid == 0 || cred.uid == 0;
    cred.cap_permitted = if root {
        cred.cap_bset | cred.cap_inheritable
    } else {
        0
    };
    cred.cap_effective = if cred.euid == 0 {
        cred.cap_permitted
    } else {
        0
    };
    cred.euid != cred.uid || cred.egid != cred.gid
}

/// The point of no return: the old program is given up (Linux: `begin_new_exec`,
/// `setup_new_exec`). A failure after the other threads are gone is fatal to the process.
fn begin_new_exec(bprm: Binprm) -> Result {
    exec_hooks::de_thread()?;
    let result = change_over(&bprm);
    if result.is_err() {
        exec_hooks::force_fatal_sig(SIGSEGV);
    }
    result
}

fn change_over(bprm: &Binprm) -> Result {
    let task = current();
    exec_hooks::close_on_exec()?;
    arch::flush_thread()?;
    let old = exec_mmap(bprm.mm.clone());
    task.flags
        .fetch_and(!(pf::PF_FORKNOEXEC | pf::PF_KTHREAD), Ordering::Relaxed);
    task.signal.did_exec.store(true, Ordering::Relaxed);
    exec_hooks::flush_signals();
    task.set_comm(base_name(&bprm.filename));
    commit_creds(bprm.cred.clone());
    drop(old); // frees the old program's memory if nobody else uses it
    Ok(())
}

fn base_name(path: &[u8]) -> &[u8] {
    path.rsplit(|&byte| byte == b'/').next().unwrap_or(path)
}
