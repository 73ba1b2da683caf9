//! System calls without a library in between, and the few helpers that need `unsafe`.
//!
//! The subject here is the bare interface, bad pointers included, so [`system_call`] takes whatever it is given. Its
//! callers run in processes of their own, and what they pass either lives for the whole call or is meant to be refused.

use std::ffi::CStr;
use std::fmt;

/// An error number, shown with its meaning.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Errno(pub i32);

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", std::io::Error::from_raw_os_error(self.0))
    }
}

/// What a call returns.
pub type Returned = Result<usize, Errno>;

/// Something that fits in a register.
pub trait Argument {
    /// The register.
    fn raw(self) -> usize;
}

macro_rules! integer_arguments {
    ($($type:ty),*) => { $(
        impl Argument for $type {
            #[expect(clippy::allow_attributes, reason = "the lints differ by type")]
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::unnecessary_cast)]
            fn raw(self) -> usize {
                self as usize
            }
        }
    )* };
}
integer_arguments!(i32, u32, i64, u64, usize, isize);

impl<T> Argument for *const T {
    fn raw(self) -> usize {
        self.addr()
    }
}

impl<T> Argument for *mut T {
    fn raw(self) -> usize {
        self.expose_provenance()
    }
}

impl Argument for &CStr {
    fn raw(self) -> usize {
        self.as_ptr().expose_provenance()
    }
}

impl<T> Argument for &T {
    fn raw(self) -> usize {
        std::ptr::from_ref(self).expose_provenance()
    }
}

impl<T> Argument for &mut T {
    fn raw(self) -> usize {
        std::ptr::from_mut(self).expose_provenance()
    }
}

/// `call!(SYS_read, fd, buffer, length)`.
macro_rules! call {
    // One expression, so that what the arguments borrow lives until the call is over.
    ($number:ident $(, $argument:expr)* $(,)?) => {
        $crate::raw::system_call(libc::$number, &[$($crate::raw::Argument::raw($argument)),*])
    };
}
pub(crate) use call;

/// Makes the call with this number; missing arguments are zero.
pub fn system_call(number: i64, given: &[usize]) -> Returned {
    let mut a = [0; 6];
    a[..given.len()].copy_from_slice(given);
    let result: isize;
    // SAFETY: whatever the kernel does with the arguments is what the caller wants to see; memory that it may write to
    // is borrowed or owned by the caller for longer than the call.
    unsafe {
        std::arch::asm!(
            "syscall",
            inlateout("rax") number => result,
            in("rdi") a[0], in("rsi") a[1], in("rdx") a[2], in("r10") a[3], in("r8") a[4], in("r9") a[5],
            lateout("rcx") _, lateout("r11") _,
        );
    }
    decode(result)
}

/// Tells an error from a result.
pub fn decode(result: isize) -> Returned {
    match result {
        -4095..=-1 => Err(Errno(i32::try_from(-result).unwrap_or(0))),
        _ => Ok(result.cast_unsigned()),
    }
}

/// How a child changed its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It ended with this status.
    Exited(i32),
    /// This signal ended it.
    Killed(i32),
    /// This signal stopped it.
    Stopped(i32),
    /// It runs again.
    Continued,
}

impl Status {
    /// Reads the word that `wait4` writes.
    pub fn new(word: i32) -> Self {
        if libc::WIFEXITED(word) {
            Self::Exited(libc::WEXITSTATUS(word))
        } else if libc::WIFSIGNALED(word) {
            Self::Killed(libc::WTERMSIG(word))
        } else if libc::WIFSTOPPED(word) {
            Self::Stopped(libc::WSTOPSIG(word))
        } else {
            Self::Continued
        }
    }
}

/// Runs `work` in a child, which ends with what it returns.
pub fn fork(work: impl FnOnce() -> i32) -> i32 {
    // SAFETY: this program has one thread when it forks, so the child may do what the parent may.
    match unsafe { libc::fork() } {
        0 => {
            let status = work();
            // SAFETY: nothing runs after it.
            unsafe { libc::_exit(status) }
        }
        child => child,
    }
}

/// Waits for a child to change its state.
pub fn wait_with(child: i32, options: i32) -> Result<(i32, Status), Errno> {
    let mut word = 0;
    let pid = call!(SYS_wait4, child, &mut word, options, 0)?;
    Ok((i32::try_from(pid).unwrap_or(-1), Status::new(word)))
}

/// Waits for a child's end.
pub fn wait(child: i32) -> Status {
    match wait_with(child, 0) {
        Ok((_, status)) => status,
        Err(error) => panic!("wait4 for {child}: {error:?}"),
    }
}

/// Runs `work` in a child and tells how that ended.
pub fn in_child(work: impl FnOnce() -> i32) -> Status {
    wait(fork(work))
}

/// A signal handler with all its arguments.
pub type Handler = extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void);

/// Installs a handler.
pub fn on_signal(signal: i32, handler: Handler, flags: i32) {
    on_signal_masked(signal, handler, flags, &[]);
}

/// Installs a handler that blocks more signals while it runs.
pub fn on_signal_masked(signal: i32, handler: Handler, flags: i32, blocked: &[i32]) {
    set_disposition(signal, handler as usize, flags | libc::SA_SIGINFO, blocked);
}

/// Ignores a signal, or restores what it does by default.
pub fn set_disposition(signal: i32, handler: usize, flags: i32, blocked: &[i32]) {
    // SAFETY: all zeros is an action; the handlers of this program touch nothing but atomics and their own stack.
    let result = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler;
        action.sa_flags = flags;
        for signal in blocked {
            libc::sigaddset(&raw mut action.sa_mask, *signal);
        }
        libc::sigaction(signal, &raw const action, std::ptr::null_mut())
    };
    assert_eq!(result, 0, "sigaction({signal})");
}

/// The kernel's form of a set of signals.
pub fn mask_of(signals: &[i32]) -> u64 {
    signals
        .iter()
        .fold(0, |mask, signal| mask | 1 << (signal - 1))
}

/// `rt_sigprocmask` with a set; returns the set before.
pub fn set_mask(how: i32, mask: u64) -> u64 {
    let mut old = 0_u64;
    let result = call!(SYS_rt_sigprocmask, how, &mask, &mut old, 8);
    assert_eq!(result, Ok(0), "rt_sigprocmask");
    old
}

/// A pipe: the end to read from and the end to write to.
pub fn pipe(flags: i32) -> [i32; 2] {
    let mut ends = [-1; 2];
    assert_eq!(call!(SYS_pipe2, &mut ends, flags), Ok(0), "pipe2");
    ends
}

/// Maps memory without a file; `flags` besides `MAP_ANONYMOUS`.
pub fn map(length: usize, protection: i32, flags: i32) -> *mut u8 {
    match call!(
        SYS_mmap,
        0,
        length,
        protection,
        flags | libc::MAP_ANONYMOUS,
        -1,
        0
    ) {
        Ok(address) => std::ptr::with_exposed_provenance_mut(address),
        Err(error) => panic!("mmap: {error:?}"),
    }
}

/// Reads one byte of memory, whatever comes of it.
pub fn peek(address: *const u8) -> u8 {
    // SAFETY: either the memory is mapped, or the fault is what the caller wants to see.
    unsafe { address.read_volatile() }
}

/// Writes one byte of memory, whatever comes of it.
pub fn poke(address: *mut u8, value: u8) {
    // SAFETY: as for `peek`; nothing else has a reference to the memory that callers map for this.
    unsafe { address.write_volatile(value) }
}

/// A word of mapped memory that threads share; the mapping behind it may change.
pub fn shared_word(address: usize) -> &'static std::sync::atomic::AtomicU32 {
    // SAFETY: aligned; either the memory is mapped, or the fault is what the caller wants to see.
    unsafe { &*std::ptr::with_exposed_provenance(address) }
}

/// Monotonic time in nanoseconds.
pub fn now() -> u64 {
    let mut time = [0_u64; 2];
    assert_eq!(
        call!(SYS_clock_gettime, libc::CLOCK_MONOTONIC, &mut time),
        Ok(0)
    );
    time[0] * 1_000_000_000 + time[1]
}

/// Sleeps, as a means and not as a subject: a signal does not cut it short.
pub fn sleep_ms(milliseconds: u64) {
    let end = now() + milliseconds * 1_000_000;
    let deadline = [end / 1_000_000_000, end % 1_000_000_000];
    while call!(
        SYS_clock_nanosleep,
        libc::CLOCK_MONOTONIC,
        libc::TIMER_ABSTIME,
        &deadline,
        0
    )
    .is_err()
    {}
}

/// Becomes an ordinary user without any rights.
pub fn become_nobody() {
    const NOBODY: u32 = 65534;
    assert_eq!(call!(SYS_setgroups, 0, 0), Ok(0), "setgroups");
    assert_eq!(
        call!(SYS_setresgid, NOBODY, NOBODY, NOBODY),
        Ok(0),
        "setresgid"
    );
    assert_eq!(
        call!(SYS_setresuid, NOBODY, NOBODY, NOBODY),
        Ok(0),
        "setresuid"
    );
}

/// State letter of a process, from `/proc/PID/stat`.
pub fn state_of(pid: i32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// Waits until a process sleeps, which is when it has reached the call that blocks it.
pub fn wait_until_asleep(pid: i32) {
    for _ in 0..2000 {
        if state_of(pid) == Some('S') {
            return;
        }
        sleep_ms(2);
    }
    panic!("{pid} does not fall asleep");
}
