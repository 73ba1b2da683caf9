//! poll and select (Linux: fs/select.c).
//!
//! The first look at the files registers nowhere: most calls find something, or do not want to
//! wait. Only then a table is made, and a second look registers in every file's queues.
#![forbid(unsafe_code)]

use uapi::Pod;
use uapi::poll::*;
use uapi::resource::RLIMIT_NOFILE;
use uapi::time::{Timespec, Timeval};

use crate::fs::fdtable::FilesStruct;
use crate::fs::file::{File, current_files, fmode};
use crate::fs::rlimit::rlimit;
use crate::kernel::sched::current;
use crate::kernel::sched::wait::PollTable;
use crate::kernel::signal::RestartBlock;
use crate::kernel::signal::{restore_saved_sigmask_unless, set_user_sigmask};
use crate::kernel::time::{ktime_get, ns_to_timespec, timespec_to_ns, timeval_to_ns};
use crate::mm::UserAddr;
use crate::mm::uaccess::{copy_from_user, copy_to_user, get_user, put_user};
use crate::prelude::*;

/// When a wait ends: a point of CLOCK_MONOTONIC in ns, `None` for never.
type Deadline = Option<u64>;

/// The deadline `ns` from now; 0 has passed already, whatever the clock says.
fn deadline_after(ns: u64) -> u64 {
    match ns {
        0 => 0,
        ns => ktime_get().saturating_add(ns),
    }
}

/// Looks at files until `scan` finds some, a signal comes or the deadline has passed; returns
/// how many were found. Errors: EINTR, ENOMEM.
pub(super) fn wait_for_files(
    deadline: Deadline,
    mut scan: impl FnMut(Option<&mut PollTable>) -> usize,
) -> Result<usize> {
    let count = scan(None);
    if count > 0 || deadline == Some(0) {
        return Ok(count);
    }
    if current().signal_pending() {
        return Err(Errno::EINTR);
    }
    let mut table = PollTable::new();
    let mut count = scan(Some(&mut table));
    if table.out_of_memory() {
        return Err(Errno::ENOMEM);
    }
    loop {
        if count > 0 {
            return Ok(count);
        }
        if current().signal_pending() {
            return Err(Errno::EINTR);
        }
        let left = match deadline {
            None => None,
            Some(end) => match end.saturating_sub(ktime_get()) {
                0 => return Ok(scan(None)),
                left => Some(left),
            },
        };
        table.poll_schedule_timeout(left);
        count = scan(None);
    }
}

/// Descriptors that are looked up at a time.
const BATCH: usize = 16;

/// What a file has to report of `events` (Linux: `do_pollfd`).
#[inline]
fn poll_file(file: &Option<Arc<File>>, events: u32, table: &mut Option<&mut PollTable>) -> u32 {
    let Some(file) = file else {
        return POLLNVAL;
    };
    if file.mode & fmode::PATH != 0 {
        return POLLNVAL;
    }
    let wanted = events | POLLERR | POLLHUP;
    if let Some(table) = table {
        table.set_key(wanted);
    }
    file.ops.poll(file, table.as_deref_mut()) & wanted
}

/// The array of a poll(2), copied once.
struct PollArray {
    user: UserAddr,
    raw: Vec<u8>,
    /// A result differs from what the program had there.
    changed: bool,
}

impl PollArray {
    /// Errors: EINVAL for more entries than descriptors are allowed, EFAULT, ENOMEM.
    fn copy(user: UserAddr, nfds: u32) -> Result<Self> {
        if u64::from(nfds) > rlimit(RLIMIT_NOFILE) {
            return Err(Errno::EINVAL);
        }
        let nfds = nfds as usize;
        let mut raw = Vec::new();
        raw.try_reserve_exact(nfds * Pollfd::SIZE)
            .map_err(|_| Errno::ENOMEM)?;
        raw.resize(nfds * Pollfd::SIZE, 0);
        copy_from_user(&mut raw, user)?;
        Ok(Self {
            user,
            raw,
            changed: false,
        })
    }
    /// Fills in what the files report; returns how many report something.
    fn scan(&mut self, files: &FilesStruct, mut table: Option<&mut PollTable>) -> usize {
        let mut count = 0;
        for batch in self
            .raw
            .as_chunks_mut::<{ Pollfd::SIZE }>()
            .0
            .chunks_mut(BATCH)
        {
            let mut fds = [-1; BATCH];
            for (fd, raw) in fds.iter_mut().zip(batch.iter()) {
                *fd = Pollfd::read_from(raw).fd;
            }
            let mut open = [const { None }; BATCH];
            files.get_many(&fds, &mut open);
            for (raw, file) in batch.iter_mut().zip(&open) {
                let entry = Pollfd::read_from(raw);
                let mut revents = 0;
                if entry.fd >= 0 {
                    revents = poll_file(file, u32::from(entry.events), &mut table) as u16;
                }
                if revents != entry.revents {
                    self.changed = true;
                    Pollfd { revents, ..entry }.write_to(raw);
                }
                if revents != 0 {
                    count += 1;
                }
            }
        }
        count
    }
    /// Writes the results, if any differs from what stood there. Only they are written: the
    /// program may change the rest meanwhile.
    fn store(&self) -> Result {
        if !self.changed {
            return Ok(());
        }
        let mut at = self.user + core::mem::offset_of!(Pollfd, revents) as u64;
        for raw in self.raw.as_chunks::<{ Pollfd::SIZE }>().0 {
            put_user(at, &Pollfd::read_from(raw).revents)?;
            at = at.checked_add(Pollfd::SIZE as u64).ok_or(Errno::EFAULT)?;
        }
        Ok(())
    }
}

/// Linux: `do_sys_poll`. Errors: EINTR, EINVAL, EFAULT, ENOMEM.
fn do_sys_poll(ufds: UserAddr, nfds: u32, deadline: Deadline) -> Result<i32> {
    let mut array = PollArray::copy(ufds, nfds)?;
    let files = current_files()?;
    let result = wait_for_files(deadline, |table| array.scan(&files, table));
    if result != Err(Errno::EINTR) {
        array.store()?;
    }
    result.map(|count| count as i32)
}

/// Waits for poll(2), which goes on after a stop with the same deadline.
fn poll_restartable(ufds: UserAddr, nfds: u32, deadline: Deadline) -> Result<i32> {
    match do_sys_poll(ufds, nfds, deadline) {
        Err(Errno::EINTR) => {
            current().sigctx.lock().restart = Some(RestartBlock::Poll {
                fds: ufds.as_u64(),
                nfds,
                expires_ns: deadline,
            });
            Err(Errno::ERESTART_RESTARTBLOCK)
        }
        result => result,
    }
}

/// poll(2): `timeout` in ms, negative for no end.
pub fn sys_poll(ufds: UserAddr, nfds: u32, timeout: i32) -> Result<i32> {
    let timeout = u64::try_from(timeout).ok();
    let deadline = timeout.map(|ms| deadline_after(ms * 1_000_000));
    poll_restartable(ufds, nfds, deadline)
}

/// poll(2) goes on after it was interrupted by a stop (Linux: `do_restart_poll`).
pub fn poll_restart(ufds: UserAddr, nfds: u32, deadline: Deadline) -> Result<i32> {
    poll_restartable(ufds, nfds, deadline)
}

/// The deadline that a `timespec` pointer gives; NULL for never. Errors: EINVAL, EFAULT.
fn timespec_deadline(tsp: UserAddr) -> Result<Deadline> {
    if tsp.is_null() {
        return Ok(None);
    }
    let time: Timespec = get_user(tsp)?;
    Ok(Some(deadline_after(timespec_to_ns(&time)?)))
}

/// Time left until a deadline, ns.
fn time_left(deadline: u64) -> u64 {
    match deadline {
        0 => 0,
        end => end.saturating_sub(ktime_get()),
    }
}

/// Ends a call with a mask and a timeout of its own: the mask goes back unless a handler is due,
/// the time left is written (Linux: `poll_select_finish`).
fn finish<T>(result: Result<T>, deadline: Deadline, tsp: UserAddr) -> Result<T> {
    let interrupted = matches!(result, Err(Errno::EINTR));
    restore_saved_sigmask_unless(interrupted);
    if let Some(end) = deadline {
        // A program may keep its timeout in read-only memory.
        let _ = put_user(tsp, &ns_to_timespec(time_left(end)));
    }
    match result {
        Err(Errno::EINTR) => Err(Errno::ERESTARTNOHAND),
        result => result,
    }
}

/// ppoll(2).
pub fn sys_ppoll(
    ufds: UserAddr,
    nfds: u32,
    tsp: UserAddr,
    sigmask: UserAddr,
    sigsetsize: usize,
) -> Result<i32> {
    let deadline = timespec_deadline(tsp)?;
    set_user_sigmask(sigmask, sigsetsize)?;
    finish(do_sys_poll(ufds, nfds, deadline), deadline, tsp)
}

/// The three sets of a select(2), in words of 64 descriptors.
struct FdSets {
    nfds: usize,
    wanted: [Vec<u64>; 3],
    found: [Vec<u64>; 3],
}

/// Events of the sets for reading, writing and exceptions.
const SETS: [u32; 3] = [POLLIN_SET, POLLOUT_SET, POLLEX_SET];

impl FdSets {
    /// Errors: EINVAL, EFAULT, ENOMEM.
    fn copy(files: &FilesStruct, nfds: i32, user: [UserAddr; 3]) -> Result<Self> {
        let nfds = usize::try_from(nfds).map_err(|_| Errno::EINVAL)?;
        let nfds = nfds.min(files.size());
        let words = nfds.div_ceil(64);
        let mut sets = Self {
            nfds,
            wanted: [const { Vec::new() }; 3],
            found: [const { Vec::new() }; 3],
        };
        for (set, addr) in sets.wanted.iter_mut().zip(user) {
            *set = copy_set(addr, words)?;
        }
        for set in &mut sets.found {
            set.try_reserve_exact(words).map_err(|_| Errno::ENOMEM)?;
            set.resize(words, 0);
        }
        // Bits behind the last descriptor do not count.
        if nfds % 64 != 0 {
            for set in &mut sets.wanted {
                if let Some(last) = set.last_mut() {
                    *last &= (1 << (nfds % 64)) - 1;
                }
            }
        }
        Ok(sets)
    }

    /// The words of the three sets at `index`.
    #[inline]
    fn words(&self, index: usize) -> [u64; 3] {
        self.wanted
            .each_ref()
            .map(|set| set.get(index).copied().unwrap_or(0))
    }

    /// Errors: EBADF for a descriptor that is not open.
    fn check_open(&self, files: &FilesStruct) -> Result {
        for index in 0..self.nfds.div_ceil(64) {
            let [input, output, except] = self.words(index);
            if !files.all_open(index, input | output | except) {
                return Err(Errno::EBADF);
            }
        }
        Ok(())
    }

    fn scan(&mut self, files: &FilesStruct, mut table: Option<&mut PollTable>) -> usize {
        let mut count = 0;
        for index in 0..self.nfds.div_ceil(64) {
            let wanted = self.words(index);
            let mut left = wanted[0] | wanted[1] | wanted[2];
            let mut found = [0; 3];
            while left != 0 {
                let mut fds = [0; BATCH];
                let mut len = 0;
                while left != 0 && len < BATCH {
                    fds[len] = (index * 64) as i32 + left.trailing_zeros() as i32;
                    left &= left - 1;
                    len += 1;
                }
                let mut open = [const { None }; BATCH];
                files.get_many(&fds[..len], &mut open);
                for (fd, file) in fds[..len].iter().zip(&open) {
                    let bit = 1 << (*fd as u32 % 64);
                    let mask = poll_file(file, events_of(wanted, bit), &mut table);
                    if mask == 0 {
                        continue;
                    }
                    for set in 0..3 {
                        if mask & SETS[set] != 0 && wanted[set] & bit != 0 {
                            found[set] |= bit;
                            count += 1;
                        }
                    }
                }
            }
            for (set, bits) in self.found.iter_mut().zip(found) {
                if let Some(word) = set.get_mut(index) {
                    *word = bits;
                }
            }
        }
        count
    }

    fn store(&self, user: [UserAddr; 3]) -> Result {
        let sets = self.found.iter().zip(user);
        for (set, addr) in sets.filter(|(_, addr)| !addr.is_null()) {
            let mut raw = [0; 64];
            let mut at = addr;
            for words in set.chunks(raw.len() / 8) {
                let bytes = &mut raw[..words.len() * 8];
                for (word, bytes) in words.iter().zip(bytes.as_chunks_mut::<8>().0) {
                    *bytes = word.to_le_bytes();
                }
                copy_to_user(at, bytes)?;
                at = at.checked_add(64).ok_or(Errno::EFAULT)?;
            }
        }
        Ok(())
    }
}

/// What the sets that have `bit` wait for.
#[inline]
fn events_of(wanted: [u64; 3], bit: u64) -> u32 {
    let mut events = 0;
    for set in 0..3 {
        if wanted[set] & bit != 0 {
            events |= SETS[set];
        }
    }
    events
}

fn copy_set(addr: UserAddr, words: usize) -> Result<Vec<u64>> {
    let mut set = Vec::new();
    set.try_reserve_exact(words).map_err(|_| Errno::ENOMEM)?;
    set.resize(words, 0);
    if !addr.is_null() {
        let mut raw = [0; 64];
        let mut at = addr;
        for words in set.chunks_mut(raw.len() / 8) {
            let bytes = &mut raw[..words.len() * 8];
            copy_from_user(bytes, at)?;
            for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
                *word = u64::from_le_bytes(*bytes);
            }
            at = at.checked_add(64).ok_or(Errno::EFAULT)?;
        }
    }
    Ok(set)
}

/// Linux: `core_sys_select`. Errors: EINTR, EINVAL, EBADF, EFAULT, ENOMEM.
fn core_sys_select(nfds: i32, user: [UserAddr; 3], deadline: Deadline) -> Result<i32> {
    let files = current_files()?;
    let mut sets = FdSets::copy(&files, nfds, user)?;
    sets.check_open(&files)?;
    let count = wait_for_files(deadline, |table| sets.scan(&files, table))?;
    sets.store(user)?;
    Ok(count as i32)
}

/// select(2): the time left is written back.
pub fn sys_select(
    nfds: i32,
    inp: UserAddr,
    outp: UserAddr,
    exp: UserAddr,
    tvp: UserAddr,
) -> Result<i32> {
    let mut deadline = None;
    if !tvp.is_null() {
        let time: Timeval = get_user(tvp)?;
        let seconds = time
            .tv_sec
            .checked_add(time.tv_usec / 1_000_000)
            .ok_or(Errno::EINVAL)?;
        let time = Timeval {
            tv_sec: seconds,
            tv_usec: time.tv_usec % 1_000_000,
        };
        deadline = Some(deadline_after(timeval_to_ns(&time)?));
    }
    let result = core_sys_select(nfds, [inp, outp, exp], deadline);
    if let Some(end) = deadline {
        let _ = put_user(tvp, &Timeval::from_ns(time_left(end)));
    }
    match result {
        Err(Errno::EINTR) => Err(Errno::ERESTARTNOHAND),
        result => result,
    }
}

/// pselect6(2): `sig` points to a mask's address and size.
pub fn sys_pselect6(
    nfds: i32,
    inp: UserAddr,
    outp: UserAddr,
    exp: UserAddr,
    tsp: UserAddr,
    sig: UserAddr,
) -> Result<i32> {
    let deadline = timespec_deadline(tsp)?;
    if !sig.is_null() {
        let [mask, size]: [u64; 2] = get_user(sig)?;
        set_user_sigmask(UserAddr::new(mask), size as usize)?;
    }
    let result = core_sys_select(nfds, [inp, outp, exp], deadline);
    finish(result, deadline, tsp)
}
