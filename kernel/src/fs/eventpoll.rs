//! epoll (Linux: fs/eventpoll.c).
//!
//! A watch registers a callback in its file's wait queues. The callback runs under the queue's
//! lock, possibly in an interrupt: it only puts the watch's number on the ready list, which has
//! room for every watch, and wakes. Whoever collects events asks each ready file again.
//!
//! Lock order: `collect`, then `watches`; the ready list is a leaf but for the wake-up.
#![forbid(unsafe_code)]

use alloc::collections::VecDeque;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use uapi::Pod;
use uapi::epoll::*;
use uapi::fcntl::O_RDWR;

use crate::fs::anon_inodes::anon_inode_getfd;
use crate::fs::fdtable::OnExec;
use crate::fs::file::{File, FileOperations, fget};
use crate::fs::sleep_lock::SleepLock;
use crate::kernel::sched::poll::PollWake;
use crate::kernel::sched::wait::{PollTable, WaitQueueHead};
use crate::kernel::signal::{restore_saved_sigmask_unless, set_user_sigmask};
use crate::kernel::time::timespec_to_ns;
use crate::mm::UserAddr;
use crate::mm::uaccess::{copy_to_user, get_user};
use crate::prelude::*;

/// Most files that watch each other in a chain (Linux: `EP_MAX_NESTS`).
const MAX_NESTS: usize = 4;
/// Bits of the events that are not events (Linux: `EP_PRIVATE_BITS`).
const PRIVATE_BITS: u32 = EPOLLWAKEUP | EPOLLONESHOT | EPOLLET | EPOLLEXCLUSIVE;
/// Greatest number of events of one call.
const MAX_EVENTS: i32 = i32::MAX / EpollEvent::SIZE as i32;

/// Ready watches by number, and who waits for them.
struct Ready {
    /// Always has room for every watch, so that the callback never allocates.
    list: IrqSpinLock<VecDeque<usize>>,
    /// Callers of epoll_wait(2).
    wait: WaitQueueHead,
    /// Whoever polls the epoll file itself.
    poll_wait: WaitQueueHead,
}

/// What the callback needs of a watch.
struct Item {
    slot: usize,
    ready: Arc<Ready>,
    /// On the ready list.
    queued: AtomicBool,
    events: AtomicU32,
    data: AtomicU64,
}

impl Item {
    /// Puts the watch on the ready list, once. Any context.
    fn enqueue(&self) {
        if !self.queued.swap(true, Ordering::AcqRel) {
            self.ready.list.lock().push_back(self.slot);
        }
        self.ready.wait.wake_up();
        self.ready.poll_wait.wake_up_all();
    }
    fn events(&self) -> u32 {
        self.events.load(Ordering::Relaxed)
    }
}

impl PollWake for Item {
    fn poll_wake(&self, events: u32) {
        let wanted = self.events();
        let disabled = wanted & !PRIVATE_BITS == 0;
        if !disabled && (events == 0 || events & wanted != 0) {
            self.enqueue();
        }
    }
}

/// One watched file.
struct Watch {
    fd: i32,
    file: Weak<File>,
    item: Arc<Item>,
    /// The registration; dropping it ends the callbacks.
    _table: Option<PollTable>,
}

/// An epoll instance (Linux: `struct eventpoll`).
pub struct EventPoll {
    ready: Arc<Ready>,
    /// Held while events are collected, so that each is reported to one caller.
    collect: SleepLock,
    /// Watches by number; numbers are reused.
    watches: SpinLock<Vec<Option<Watch>>>,
    me: Weak<EventPoll>,
}

/// The epoll instances that watch a file.
#[derive(Default)]
pub struct EpollLinks {
    links: SpinLock<Vec<(Weak<EventPoll>, usize)>>,
}

impl EpollLinks {
    /// The file goes: so do all its watches.
    pub(super) fn release(&self) {
        let links = core::mem::take(&mut *self.links.lock());
        for (ep, slot) in links {
            if let Some(ep) = ep.upgrade() {
                drop(ep.take_slot(slot));
            }
        }
    }
    fn add(&self, ep: &Weak<EventPoll>, slot: usize) {
        self.links.lock().push((ep.clone(), slot));
    }
    fn remove(&self, ep: &Weak<EventPoll>, slot: usize) {
        let mut links = self.links.lock();
        links.retain(|(other, at)| !(other.ptr_eq(ep) && *at == slot));
    }
}

impl EventPoll {
    pub(super) fn new() -> Arc<EventPoll> {
        Arc::new_cyclic(|me| Self {
            ready: Arc::new(Ready {
                list: IrqSpinLock::new(VecDeque::new()),
                wait: WaitQueueHead::new(),
                poll_wait: WaitQueueHead::new(),
            }),
            collect: SleepLock::new(),
            watches: SpinLock::new(Vec::new()),
            me: me.clone(),
        })
    }

    /// The instance behind an open file. Errors: EINVAL for another file.
    fn of(file: &File) -> Result<Arc<EventPoll>> {
        let ops = file.ops.as_any().downcast_ref::<EventPoll>();
        ops.and_then(|ep| ep.me.upgrade()).ok_or(Errno::EINVAL)
    }

    fn find(&self, fd: i32, file: &Arc<File>) -> Option<(usize, Arc<Item>)> {
        let watches = self.watches.lock();
        watches.iter().enumerate().find_map(|(slot, watch)| {
            let watch = watch.as_ref()?;
            let same = watch.fd == fd && core::ptr::eq(watch.file.as_ptr(), &**file);
            same.then(|| (slot, watch.item.clone()))
        })
    }

    /// Ends a watch; the caller drops it unlocked. Its number leaves the ready list, or its next
    /// owner would find itself there.
    fn take_slot(&self, slot: usize) -> Option<Watch> {
        let watch = self.watches.lock().get_mut(slot)?.take();
        self.ready.list.lock().retain(|&queued| queued != slot);
        watch
    }

    /// Watches a file. Errors: EEXIST, ENOMEM.
    fn insert(&self, fd: i32, file: &Arc<File>, event: EpollEvent) -> Result {
        if self.find(fd, file).is_some() {
            return Err(Errno::EEXIST);
        }
        let item = self.reserve(fd, file, event)?;
        file.epoll.add(&self.me, item.slot);
        let mut table = PollTable::for_callback(item.clone());
        let mask = file.ops.poll(file, Some(&mut table));
        if table.out_of_memory() {
            self.remove(fd, file);
            return Err(Errno::ENOMEM);
        }
        if let Some(Some(watch)) = self.watches.lock().get_mut(item.slot) {
            watch._table = Some(table);
        }
        if mask & item.events() & !PRIVATE_BITS != 0 {
            item.enqueue();
        }
        Ok(())
    }

    /// A number for a new watch, and room for it on the ready list.
    fn reserve(&self, fd: i32, file: &Arc<File>, event: EpollEvent) -> Result<Arc<Item>> {
        let mut watches = self.watches.lock();
        let free = watches.iter().position(Option::is_none);
        let slot = free.unwrap_or(watches.len());
        if free.is_none() {
            watches.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
            let mut list = self.ready.list.lock();
            // A number may stand on the list once for its last owner and once for the new one.
            let missing = (2 * (slot + 1)).saturating_sub(list.len());
            list.try_reserve(missing).map_err(|_| Errno::ENOMEM)?;
            drop(list);
            watches.push(None);
        }
        let item = Arc::new(Item {
            slot,
            ready: self.ready.clone(),
            queued: AtomicBool::new(false),
            events: AtomicU32::new(event.events | EPOLLERR | EPOLLHUP),
            data: AtomicU64::new(event.data),
        });
        if let Some(entry) = watches.get_mut(slot) {
            *entry = Some(Watch {
                fd,
                file: Arc::downgrade(file),
                item: item.clone(),
                _table: None,
            });
        }
        Ok(item)
    }

    /// Ends a watch; false when there was none.
    fn remove(&self, fd: i32, file: &Arc<File>) -> bool {
        let Some((slot, _)) = self.find(fd, file) else {
            return false;
        };
        file.epoll.remove(&self.me, slot);
        let watch = self.take_slot(slot);
        drop(watch);
        true
    }

    /// Changes what a watch waits for. Errors: ENOENT.
    fn modify(&self, fd: i32, file: &Arc<File>, event: EpollEvent) -> Result {
        let (_, item) = self.find(fd, file).ok_or(Errno::ENOENT)?;
        item.data.store(event.data, Ordering::Relaxed);
        item.events
            .store(event.events | EPOLLERR | EPOLLHUP, Ordering::Release);
        if file.ops.poll(file, None) & item.events() & !PRIVATE_BITS != 0 {
            item.enqueue();
        }
        Ok(())
    }

    fn watch_at(&self, slot: usize) -> Option<(Arc<File>, Arc<Item>)> {
        let watches = self.watches.lock();
        let watch = watches.get(slot)?.as_ref()?;
        Some((watch.file.upgrade()?, watch.item.clone()))
    }

    /// Asks the ready files and collects up to `max` events (Linux: `ep_send_events`).
    fn collect(&self, max: usize) -> Vec<EpollEvent> {
        let _one_at_a_time = self.collect.lock();
        let mut events = Vec::new();
        let rounds = self.ready.list.lock().len();
        for _ in 0..rounds {
            if events.len() >= max {
                break;
            }
            let Some(slot) = self.ready.list.lock().pop_front() else {
                break;
            };
            let Some((file, item)) = self.watch_at(slot) else {
                continue;
            };
            // Cleared before the file is asked: an event that comes later queues it again.
            item.queued.store(false, Ordering::SeqCst);
            let wanted = item.events();
            let mask = file.ops.poll(&file, None) & wanted & !PRIVATE_BITS;
            if mask == 0 {
                continue;
            }
            events.push(EpollEvent {
                events: mask,
                data: item.data.load(Ordering::Relaxed),
            });
            if wanted & EPOLLONESHOT != 0 {
                item.events.fetch_and(PRIVATE_BITS, Ordering::AcqRel);
            } else if wanted & EPOLLET == 0 && !item.queued.swap(true, Ordering::AcqRel) {
                // Level triggered: reported again until the file is no longer ready.
                self.ready.list.lock().push_back(slot);
            }
        }
        events
    }

    /// Waits for events (Linux: `ep_poll`). Errors: EINTR.
    pub(super) fn wait(&self, max: usize, timeout_ns: Option<u64>) -> Result<Vec<EpollEvent>> {
        let is_ready = || !self.ready.list.lock().is_empty();
        loop {
            if is_ready() {
                let events = self.collect(max);
                if !events.is_empty() {
                    return Ok(events);
                }
            }
            match timeout_ns {
                Some(0) => return Ok(Vec::new()),
                Some(ns) => {
                    let end = crate::kernel::time::ktime_get().saturating_add(ns);
                    return self.wait_until(max, end);
                }
                None => self
                    .ready
                    .wait
                    .wait_event_interruptible_exclusive(is_ready)
                    .map_err(|_| Errno::EINTR)?,
            }
        }
    }

    fn wait_until(&self, max: usize, end: u64) -> Result<Vec<EpollEvent>> {
        let is_ready = || !self.ready.list.lock().is_empty();
        loop {
            let left = end.saturating_sub(crate::kernel::time::ktime_get());
            if left == 0 {
                return Ok(self.collect(max));
            }
            let wait = &self.ready.wait;
            wait.wait_event_interruptible_timeout(left, is_ready)
                .map_err(|_| Errno::EINTR)?;
            let events = self.collect(max);
            if !events.is_empty() {
                return Ok(events);
            }
        }
    }

    /// Whether a watched file really is ready, for whoever polls this file.
    fn has_events(&self) -> bool {
        let queued: Vec<usize> = self.ready.list.lock().iter().copied().collect();
        queued.into_iter().any(|slot| {
            self.watch_at(slot).is_some_and(|(file, item)| {
                file.ops.poll(&file, None) & item.events() & !PRIVATE_BITS != 0
            })
        })
    }

    /// Epoll instances that this one watches.
    fn watched_instances(&self) -> Vec<Arc<EventPoll>> {
        let files: Vec<Arc<File>> = {
            let watches = self.watches.lock();
            let files = watches.iter().flatten();
            files.filter_map(|watch| watch.file.upgrade()).collect()
        };
        files
            .iter()
            .filter_map(|file| EventPoll::of(file).ok())
            .collect()
    }

    /// Length of the longest chain of instances below; `None` when it is too long or comes back
    /// to `origin`.
    fn depth_below(&self, origin: &EventPoll, room: usize) -> Option<usize> {
        if core::ptr::eq(self, origin) {
            return None;
        }
        let mut depth = 0;
        for inner in self.watched_instances() {
            let room = room.checked_sub(1)?;
            depth = depth.max(1 + inner.depth_below(origin, room)?);
        }
        Some(depth)
    }
}

impl FileOperations for EventPoll {
    fn poll(&self, _file: &File, table: Option<&mut PollTable>) -> u32 {
        if let Some(table) = table {
            self.ready.poll_wait.poll_wait(table);
        }
        if self.has_events() {
            EPOLLIN | EPOLLRDNORM
        } else {
            0
        }
    }
    fn can_poll(&self) -> bool {
        true
    }
    /// The instance goes: the files forget it.
    fn release(&self, _file: &File) {
        let watches = core::mem::take(&mut *self.watches.lock());
        for watch in watches.iter().flatten() {
            if let Some(file) = watch.file.upgrade() {
                file.epoll.remove(&self.me, watch.item.slot);
            }
        }
    }
    fn as_any(&self) -> &dyn core::any::Any {
        self
    }
}

/// Changes of watches of epoll files happen one at a time, or two of them could make a loop
/// (Linux: `epnested_mutex`).
static NESTED: SleepLock = SleepLock::new();

/// Linux: `do_epoll_ctl`. Errors: EPERM, EINVAL, ELOOP, EEXIST, ENOENT, ENOMEM.
pub(super) fn do_epoll_ctl(
    epfile: &Arc<File>,
    op: u32,
    fd: i32,
    file: &Arc<File>,
    event: EpollEvent,
) -> Result {
    if !file.ops.can_poll() {
        return Err(Errno::EPERM);
    }
    let ep = EventPoll::of(epfile)?;
    if Arc::ptr_eq(epfile, file) {
        return Err(Errno::EINVAL);
    }
    let event = EpollEvent {
        events: event.events & !EPOLLWAKEUP,
        data: event.data,
    };
    if event.events & EPOLLEXCLUSIVE != 0 && op != EPOLL_CTL_DEL {
        let allowed =
            EPOLLIN | EPOLLOUT | EPOLLERR | EPOLLHUP | EPOLLWAKEUP | EPOLLET | EPOLLEXCLUSIVE;
        if op == EPOLL_CTL_MOD || event.events & !allowed != 0 || EventPoll::of(file).is_ok() {
            return Err(Errno::EINVAL);
        }
    }
    match op {
        EPOLL_CTL_ADD => {
            let nested = EventPoll::of(file).ok();
            let _one_at_a_time = nested.is_some().then(|| NESTED.lock());
            if let Some(inner) = nested {
                inner.depth_below(&ep, MAX_NESTS).ok_or(Errno::ELOOP)?;
            }
            ep.insert(fd, file, event)
        }
        EPOLL_CTL_DEL if ep.remove(fd, file) => Ok(()),
        EPOLL_CTL_DEL => Err(Errno::ENOENT),
        EPOLL_CTL_MOD => ep.modify(fd, file, event),
        _ => Err(Errno::EINVAL),
    }
}

/// epoll_create1(2). Errors: EINVAL, EMFILE, ENFILE.
pub fn sys_epoll_create1(flags: u32) -> Result<u32> {
    if flags & !EPOLL_CLOEXEC != 0 {
        return Err(Errno::EINVAL);
    }
    let on_exec = OnExec::from_flag(flags, EPOLL_CLOEXEC);
    anon_inode_getfd("[eventpoll]", EventPoll::new(), O_RDWR, on_exec)
}

/// epoll_create(2): the size must be positive and means nothing.
pub fn sys_epoll_create(size: i32) -> Result<u32> {
    if size <= 0 {
        return Err(Errno::EINVAL);
    }
    sys_epoll_create1(0)
}

/// epoll_ctl(2).
pub fn sys_epoll_ctl(epfd: i32, op: u32, fd: i32, event: UserAddr) -> Result {
    let event = if op == EPOLL_CTL_DEL {
        EpollEvent::default()
    } else {
        get_user(event)?
    };
    let epfile = fget(epfd)?;
    let file = fget(fd)?;
    do_epoll_ctl(&epfile, op, fd, &file, event)
}

fn do_epoll_wait(
    epfd: i32,
    events: UserAddr,
    maxevents: i32,
    timeout_ns: Option<u64>,
) -> Result<i32> {
    if maxevents <= 0 || maxevents > MAX_EVENTS {
        return Err(Errno::EINVAL);
    }
    let file = fget(epfd)?;
    let ep = EventPoll::of(&file)?;
    let collected = ep.wait(maxevents as usize, timeout_ns)?;
    let mut at = events;
    for event in &collected {
        let mut raw = [0; EpollEvent::SIZE];
        event.write_to(&mut raw);
        copy_to_user(at, &raw)?;
        at = at
            .checked_add(EpollEvent::SIZE as u64)
            .ok_or(Errno::EFAULT)?;
    }
    Ok(collected.len() as i32)
}

/// A timeout in ms, negative for no end, in ns.
fn from_ms(timeout: i32) -> Option<u64> {
    u64::try_from(timeout).ok().map(|ms| ms * 1_000_000)
}

/// epoll_wait(2). Errors: EBADF, EINVAL, EINTR, EFAULT.
pub fn sys_epoll_wait(epfd: i32, events: UserAddr, maxevents: i32, timeout: i32) -> Result<i32> {
    do_epoll_wait(epfd, events, maxevents, from_ms(timeout))
}

/// epoll_pwait(2).
pub fn sys_epoll_pwait(
    epfd: i32,
    events: UserAddr,
    maxevents: i32,
    timeout: i32,
    sigmask: UserAddr,
    sigsetsize: usize,
) -> Result<i32> {
    set_user_sigmask(sigmask, sigsetsize)?;
    let result = do_epoll_wait(epfd, events, maxevents, from_ms(timeout));
    restore_saved_sigmask_unless(result == Err(Errno::EINTR));
    result
}

/// epoll_pwait2(2): the timeout is a `timespec`.
pub fn sys_epoll_pwait2(
    epfd: i32,
    events: UserAddr,
    maxevents: i32,
    timeout: UserAddr,
    sigmask: UserAddr,
    sigsetsize: usize,
) -> Result<i32> {
    let timeout_ns = if timeout.is_null() {
        None
    } else {
        Some(timespec_to_ns(&get_user(timeout)?)?)
    };
    set_user_sigmask(sigmask, sigsetsize)?;
    let result = do_epoll_wait(epfd, events, maxevents, timeout_ns);
    restore_saved_sigmask_unless(result == Err(Errno::EINTR));
    result
}
