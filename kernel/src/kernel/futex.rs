//! Fast user-space locking (Linux: kernel/futex/).
//!
//! A waiter queues itself under its bucket's lock, then compares the user word; a waker changes
//! the word first and takes the lock after. So either the waiter sees the new value, or the waker
//! sees the waiter.
#![forbid(unsafe_code)]

use alloc::collections::VecDeque;
use core::sync::atomic::{AtomicBool, Ordering};

use uapi::futex::*;
use uapi::time::Timespec;

use crate::kernel::sched::task::{Pid, Task, state};
use crate::kernel::sched::{current, schedule, set_current_state, wake_up_process};
use crate::kernel::time::{self, ktime_get};
use crate::mm::UserAddr;
use crate::mm::mm_types::current_mm;
use crate::mm::uaccess::{get_user, put_user, try_cmpxchg_user};
use crate::mm::vma::{Backing, VmFlags};
use crate::prelude::*;

const NR_BUCKETS: usize = 256;

/// One sleeper.
struct Waiter {
    task: Arc<Task>,
    /// Where it waits; a requeue changes it. Changed under the bucket's lock only.
    key: SpinLock<FutexKey>,
    bitset: u32,
    woken: AtomicBool,
}

type Bucket = SpinLock<VecDeque<Arc<Waiter>>>;
static BUCKETS: [Bucket; NR_BUCKETS] = [const { SpinLock::new(VecDeque::new()) }; NR_BUCKETS];

fn bucket_index(key: &FutexKey) -> usize {
    let mixed = (key.object ^ key.offset.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 56) as usize % NR_BUCKETS
}

/// What a futex word is known by: its place in an address space, or in a shared object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct FutexKey {
    /// Address of the address space or of the page cache object.
    object: u64,
    /// Address of the word, or its offset in the object, in bytes.
    offset: u64,
}

/// The key of the word at `addr` (Linux: `get_futex_key`). A private word needs no look at the
/// areas. Errors: EINVAL when it is not aligned, EFAULT.
fn get_futex_key(addr: UserAddr, private: bool) -> Result<FutexKey> {
    if !addr.as_u64().is_multiple_of(4) {
        return Err(Errno::EINVAL);
    }
    let mm = current_mm().map_err(|_| Errno::EFAULT)?;
    let here = FutexKey {
        object: Arc::as_ptr(&mm) as u64,
        offset: addr.as_u64(),
    };
    if private {
        return Ok(here);
    }
    let map = mm.read();
    let vma = map.vmas.lookup(addr.as_u64()).ok_or(Errno::EFAULT)?;
    match &vma.backing {
        Backing::Cache(mapping) if vma.flags.contains(VmFlags::SHARED) => Ok(FutexKey {
            object: Arc::as_ptr(mapping) as u64,
            offset: vma.page_index(addr.as_u64()) * crate::arch::PAGE_SIZE as u64
                + addr.page_offset() as u64,
        }),
        _ => Ok(here),
    }
}

/// futex(2). `arg4` is a timeout or a count.
pub fn sys_futex(
    addr: UserAddr,
    op: u32,
    val: u32,
    arg4: u64,
    addr2: UserAddr,
    val3: u32,
) -> Result<i32> {
    let private = op & FUTEX_PRIVATE_FLAG != 0;
    let realtime = op & FUTEX_CLOCK_REALTIME != 0;
    let command = op & FUTEX_CMD_MASK;
    if realtime && !matches!(command, FUTEX_WAIT_BITSET | FUTEX_WAIT) {
        return Err(Errno::ENOSYS);
    }
    let count = arg4 as i32;
    match command {
        FUTEX_WAIT => {
            let deadline = relative_deadline(UserAddr::new(arg4))?;
            futex_wait(addr, private, val, FUTEX_BITSET_MATCH_ANY, deadline)
        }
        FUTEX_WAIT_BITSET => {
            let deadline = absolute_deadline(UserAddr::new(arg4), realtime)?;
            futex_wait(addr, private, val, val3, deadline)
        }
        FUTEX_WAKE => futex_wake(addr, private, val as i32, FUTEX_BITSET_MATCH_ANY),
        FUTEX_WAKE_BITSET => futex_wake(addr, private, val as i32, val3),
        FUTEX_REQUEUE => futex_requeue(addr, addr2, private, val as i32, count, None),
        FUTEX_CMP_REQUEUE => futex_requeue(addr, addr2, private, val as i32, count, Some(val3)),
        FUTEX_WAKE_OP => futex_wake_op(addr, addr2, private, val as i32, count, val3),
        _ => Err(Errno::ENOSYS),
    }
}

fn relative_deadline(timeout: UserAddr) -> Result<Option<u64>> {
    if timeout.is_null() {
        return Ok(None);
    }
    let ns = time::timespec_to_ns(&get_user::<Timespec>(timeout)?)?;
    Ok(Some(ktime_get().saturating_add(ns)))
}

fn absolute_deadline(timeout: UserAddr, realtime: bool) -> Result<Option<u64>> {
    if timeout.is_null() {
        return Ok(None);
    }
    let ns = time::timespec_to_ns(&get_user::<Timespec>(timeout)?)?;
    let offset = if realtime {
        time::timekeeping::real_offset()
    } else {
        0
    };
    Ok(Some(ns.saturating_sub(offset)))
}

/// Sleeps while the word is `val`. Errors: EAGAIN, EINVAL, ETIMEDOUT, ERESTARTSYS, EFAULT.
fn futex_wait(
    addr: UserAddr,
    private: bool,
    val: u32,
    bitset: u32,
    deadline: Option<u64>,
) -> Result<i32> {
    if bitset == 0 {
        return Err(Errno::EINVAL);
    }
    let key = get_futex_key(addr, private)?;
    let waiter = Arc::new(Waiter {
        task: current().to_arc(),
        key: SpinLock::new(key),
        bitset,
        woken: AtomicBool::new(false),
    });
    BUCKETS[bucket_index(&key)].lock().push_back(waiter.clone());
    // The read may fault a page in, so it happens without the lock; see the module's comment.
    let seen = get_user::<u32>(addr);
    if !matches!(seen, Ok(value) if value == val) {
        let woken = unqueue(&waiter);
        return match seen {
            _ if woken => Ok(0),
            Ok(_) => Err(Errno::EAGAIN),
            Err(errno) => Err(errno),
        };
    }
    sleep(&waiter, deadline)
}

fn sleep(waiter: &Arc<Waiter>, deadline: Option<u64>) -> Result<i32> {
    loop {
        set_current_state(state::TASK_INTERRUPTIBLE);
        let over = deadline.is_some_and(|end| end <= ktime_get());
        let interrupted = current().signal_pending();
        if waiter.woken.load(Ordering::Acquire) || over || interrupted {
            set_current_state(state::TASK_RUNNING);
            return match unqueue(waiter) {
                true => Ok(0),
                false if over => Err(Errno::ETIMEDOUT),
                // With a timeout Linux restarts through a block; EINTR is what POSIX allows.
                false if deadline.is_some() => Err(Errno::EINTR),
                false => Err(Errno::ERESTARTSYS),
            };
        }
        match deadline {
            Some(end) => {
                time::schedule_hrtimeout(end);
            }
            None => schedule(),
        }
    }
}

/// Leaves the queue; true if somebody woke us first.
fn unqueue(waiter: &Arc<Waiter>) -> bool {
    loop {
        let key = *waiter.key.lock();
        let mut bucket = BUCKETS[bucket_index(&key)].lock();
        if *waiter.key.lock() != key {
            continue; // requeued meanwhile
        }
        bucket.retain(|other| !Arc::ptr_eq(other, waiter));
        return waiter.woken.load(Ordering::Acquire);
    }
}

/// Takes up to `count` waiters of `key` out of the bucket.
fn take_waiters(
    bucket: &mut VecDeque<Arc<Waiter>>,
    key: &FutexKey,
    count: i32,
    bitset: u32,
) -> Vec<Arc<Waiter>> {
    let mut taken = Vec::new();
    bucket.retain(|waiter| {
        let matches = *waiter.key.lock() == *key && waiter.bitset & bitset != 0;
        if matches && (taken.len() as i64) < i64::from(count) {
            waiter.woken.store(true, Ordering::Release);
            taken.push(waiter.clone());
            return false;
        }
        true
    });
    taken
}

fn wake_key(key: &FutexKey, count: i32, bitset: u32) -> i32 {
    let taken = take_waiters(&mut BUCKETS[bucket_index(key)].lock(), key, count, bitset);
    for waiter in &taken {
        wake_up_process(&waiter.task);
    }
    taken.len() as i32
}

/// Wakes up to `count` waiters. Errors: EINVAL, EFAULT.
fn futex_wake(addr: UserAddr, private: bool, count: i32, bitset: u32) -> Result<i32> {
    if bitset == 0 {
        return Err(Errno::EINVAL);
    }
    // Linux wakes one even when asked for none.
    Ok(wake_key(
        &get_futex_key(addr, private)?,
        count.max(1),
        bitset,
    ))
}

/// Wakes `wake` waiters and moves up to `requeue` others to another word. Errors: EAGAIN when the
/// word is not `expected`.
fn futex_requeue(
    from: UserAddr,
    to: UserAddr,
    private: bool,
    wake: i32,
    requeue: i32,
    expected: Option<u32>,
) -> Result<i32> {
    if wake < 0 || requeue < 0 {
        return Err(Errno::EINVAL);
    }
    let (from_key, to_key) = (get_futex_key(from, private)?, get_futex_key(to, private)?);
    if let Some(expected) = expected
        && get_user::<u32>(from)? != expected
    {
        return Err(Errno::EAGAIN);
    }
    let woken = if wake > 0 {
        wake_key(&from_key, wake, FUTEX_BITSET_MATCH_ANY)
    } else {
        0
    };
    let moved = move_waiters(&from_key, &to_key, requeue);
    Ok(if expected.is_some() {
        woken + moved
    } else {
        woken
    })
}

/// Two buckets are locked in index order.
fn move_waiters(from: &FutexKey, to: &FutexKey, count: i32) -> i32 {
    let (a, b) = (bucket_index(from), bucket_index(to));
    let mut moved = 0;
    let mut pick = |waiter: &Arc<Waiter>| {
        let take = moved < count && *waiter.key.lock() == *from;
        if take {
            *waiter.key.lock() = *to;
            moved += 1;
        }
        take
    };
    if a == b {
        BUCKETS[a].lock().iter().for_each(|waiter| {
            pick(waiter);
        });
        return moved;
    }
    let (mut first, mut second) = (BUCKETS[a.min(b)].lock(), BUCKETS[a.max(b)].lock());
    let (source, target) = if a < b {
        (&mut *first, &mut *second)
    } else {
        (&mut *second, &mut *first)
    };
    let mut index = 0;
    while index < source.len() {
        if pick(&source[index]) {
            target.extend(source.remove(index));
        } else {
            index += 1;
        }
    }
    moved
}

/// Changes a word atomically, wakes waiters of another, and of this one if the old value
/// satisfies a comparison (Linux: `futex_wake_op`).
fn futex_wake_op(
    addr: UserAddr,
    addr2: UserAddr,
    private: bool,
    wake: i32,
    wake2: i32,
    encoded: u32,
) -> Result<i32> {
    let (key, key2) = (
        get_futex_key(addr, private)?,
        get_futex_key(addr2, private)?,
    );
    let holds = futex_atomic_op(addr2, encoded)?;
    let mut woken = wake_key(&key, wake.max(1), FUTEX_BITSET_MATCH_ANY);
    if holds {
        woken += wake_key(&key2, wake2.max(1), FUTEX_BITSET_MATCH_ANY);
    }
    Ok(woken)
}

/// The operation of FUTEX_WAKE_OP; whether the comparison with the old value holds.
fn futex_atomic_op(addr: UserAddr, encoded: u32) -> Result<bool> {
    let sign_extend = |bits: u32| ((bits << 20) as i32) >> 20;
    let (op, cmp) = (encoded >> 28 & 0xf, encoded >> 24 & 0xf);
    let (mut oparg, cmparg) = (
        sign_extend(encoded >> 12 & 0xfff),
        sign_extend(encoded & 0xfff),
    );
    if op & 8 != 0 {
        oparg = 1i32.wrapping_shl(oparg as u32 & 31);
    }
    loop {
        let old = get_user::<u32>(addr)?;
        let signed = old as i32;
        let new = match op & 7 {
            0 => oparg,
            1 => signed.wrapping_add(oparg),
            2 => signed | oparg,
            3 => signed & !oparg,
            4 => signed ^ oparg,
            _ => return Err(Errno::ENOSYS),
        };
        if try_cmpxchg_user(addr, old, new as u32)? == old {
            return match cmp {
                0 => Ok(signed == cmparg),
                1 => Ok(signed != cmparg),
                2 => Ok(signed < cmparg),
                3 => Ok(signed <= cmparg),
                4 => Ok(signed > cmparg),
                5 => Ok(signed >= cmparg),
                _ => Err(Errno::ENOSYS),
            };
        }
    }
}

/// exit: clear the word of set_tid_address(2) and wake whoever joins the thread
/// (Linux: kernel/fork.c, `mm_release`).
pub fn clear_child_tid(addr: UserAddr) {
    if put_user(addr, &0u32).is_ok() {
        let _ = futex_wake(addr, false, 1, FUTEX_BITSET_MATCH_ANY);
    }
}

// --- robust lists ---

const ROBUST_LIST_HEAD_SIZE: usize = 24;
/// Longest list that exit walks: user space might have made a ring of it.
const ROBUST_LIST_LIMIT: usize = 2048;

/// set_robust_list(2). Errors: EINVAL.
pub fn sys_set_robust_list(head: UserAddr, len: usize) -> Result {
    if len != ROBUST_LIST_HEAD_SIZE {
        return Err(Errno::EINVAL);
    }
    current()
        .robust_list
        .store(head.as_u64(), Ordering::Relaxed);
    Ok(())
}

/// get_robust_list(2). Errors: ESRCH, EPERM, EFAULT.
pub fn sys_get_robust_list(pid: Pid, head: UserAddr, len: UserAddr) -> Result {
    let task = match pid {
        0 => current().to_arc(),
        pid => crate::kernel::pid::find_task(pid).ok_or(Errno::ESRCH)?,
    };
    let mine = task.pid() == current().pid() || task.cred().uid == current().cred().euid;
    if !mine && !current().cred().has_cap(19) {
        return Err(Errno::EPERM);
    }
    put_user(len, &ROBUST_LIST_HEAD_SIZE)?;
    put_user(head, &task.robust_list.load(Ordering::Relaxed))
}

/// exit: locks on the list that this thread holds are marked, one waiter of each is woken
/// (Linux: `exit_robust_list`).
pub fn exit_robust_list(head: UserAddr) {
    let _ = walk_robust_list(head);
}

fn walk_robust_list(head: UserAddr) -> Result {
    let mut entry: u64 = get_user(head)?;
    let offset: i64 = get_user(head + 8)?;
    let pending: u64 = get_user(head + 16)?;
    let lock_of = |entry: u64| UserAddr::new((entry & !1).wrapping_add_signed(offset));
    for _ in 0..ROBUST_LIST_LIMIT {
        if entry & !1 == head.as_u64() {
            break;
        }
        let next: Result<u64> = get_user(UserAddr::new(entry & !1));
        if entry & !1 != pending & !1 {
            handle_futex_death(lock_of(entry))?;
        }
        entry = next?;
    }
    if pending & !1 != 0 {
        handle_futex_death(lock_of(pending))?;
    }
    Ok(())
}

fn handle_futex_death(addr: UserAddr) -> Result {
    let me = current().pid() as u32;
    loop {
        let value: u32 = get_user(addr)?;
        if value & FUTEX_TID_MASK != me {
            return Ok(());
        }
        let dead = value & FUTEX_WAITERS | FUTEX_OWNER_DIED;
        if try_cmpxchg_user(addr, value, dead)? == value {
            if value & FUTEX_WAITERS != 0 {
                let _ = futex_wake(addr, false, 1, FUTEX_BITSET_MATCH_ANY);
            }
            return Ok(());
        }
    }
}
