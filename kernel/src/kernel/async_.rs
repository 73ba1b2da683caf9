//! Function calls that the boot need not wait for (Linux: kernel/async.c).
//!
//! Every call gets a cookie: a number that counts up, a checkpoint. Whoever has to be sure that
//! earlier calls are done waits for "everything before this cookie" in a domain, or in all
//! registered domains. Exclusive domains take no part in the latter.
#![forbid(unsafe_code)]

use alloc::collections::BTreeMap;
use core::sync::atomic::{AtomicUsize, Ordering};

use crate::kernel::sched::current;
use crate::kernel::sched::wait::WaitQueueHead;
use crate::kernel::time::ktime_get;
use crate::kernel::workqueue::{Work, queue_work, system_unbound_wq};
use crate::prelude::*;

/// Numbers asynchronous calls in the order of scheduling, from 1 on (Linux: `async_cookie_t`).
pub type AsyncCookie = u64;

/// Later than every cookie.
const ASYNC_COOKIE_MAX: AsyncCookie = u64::MAX;
/// From so many pending calls on, more are made at once (Linux: `MAX_WORK`).
const MAX_WORK: usize = 32_768;

/// The state of all calls (Linux: under `async_lock`).
struct Calls {
    next_cookie: AsyncCookie,
    /// Pending calls of all registered domains.
    global: BTreeMap<AsyncCookie, ()>,
}

static CALLS: IrqSpinLock<Calls> = IrqSpinLock::new(Calls {
    next_cookie: 1,
    global: BTreeMap::new(),
});
/// Calls that have not ended.
static ENTRY_COUNT: AtomicUsize = AtomicUsize::new(0);
/// Who waits for calls to end.
static ASYNC_DONE: WaitQueueHead = WaitQueueHead::new();
/// The domain of those that name none.
static ASYNC_DFL_DOMAIN: AsyncDomain = AsyncDomain::registered();

/// Calls that are waited for together. Lock order: `CALLS`, then a domain.
pub struct AsyncDomain {
    pending: IrqSpinLock<BTreeMap<AsyncCookie, ()>>,
    is_registered: bool,
}

impl AsyncDomain {
    /// A domain that `async_synchronize_full` waits for (Linux: `ASYNC_DOMAIN`).
    pub const fn registered() -> Self {
        Self {
            pending: IrqSpinLock::new(BTreeMap::new()),
            is_registered: true,
        }
    }
    /// A domain that only those wait for who name it (Linux: `ASYNC_DOMAIN_EXCLUSIVE`).
    pub const fn exclusive() -> Self {
        Self {
            pending: IrqSpinLock::new(BTreeMap::new()),
            is_registered: false,
        }
    }
}

/// Calls `func` later, in process context, with its cookie. Any context but NMI; when too many
/// calls are pending it is called at once, so it must not sleep unless the caller may.
pub fn async_schedule(func: impl FnOnce(AsyncCookie) + Send + 'static) -> AsyncCookie {
    async_schedule_domain(func, &ASYNC_DFL_DOMAIN)
}

/// `async_schedule` in a certain domain.
pub fn async_schedule_domain(
    func: impl FnOnce(AsyncCookie) + Send + 'static,
    domain: &'static AsyncDomain,
) -> AsyncCookie {
    if ENTRY_COUNT.load(Ordering::Relaxed) > MAX_WORK {
        let cookie = next_cookie(&mut CALLS.lock());
        func(cookie);
        return cookie;
    }
    let cookie = {
        let mut calls = CALLS.lock();
        let cookie = next_cookie(&mut calls);
        domain.pending.lock().insert(cookie, ());
        if domain.is_registered {
            calls.global.insert(cookie, ());
        }
        cookie
    };
    ENTRY_COUNT.fetch_add(1, Ordering::Relaxed);
    let work = Work::once(move || run_entry(func, cookie, domain));
    queue_work(system_unbound_wq(), &work);
    cookie
}

fn next_cookie(calls: &mut Calls) -> AsyncCookie {
    let cookie = calls.next_cookie;
    calls.next_cookie += 1;
    cookie
}

/// Makes a call and crosses it off (Linux: `async_run_entry_fn`).
fn run_entry<F: FnOnce(AsyncCookie)>(func: F, cookie: AsyncCookie, domain: &'static AsyncDomain) {
    let name = core::any::type_name::<F>();
    let pid = current().pid();
    pr_debug!("calling  {cookie}_{name} @ {pid}");
    let start = ktime_get();
    func(cookie);
    let usecs = (ktime_get() - start) / 1000;
    pr_debug!("initcall {cookie}_{name} returned after {usecs} usecs");
    {
        let mut calls = CALLS.lock();
        domain.pending.lock().remove(&cookie);
        calls.global.remove(&cookie);
    }
    ENTRY_COUNT.fetch_sub(1, Ordering::Relaxed);
    ASYNC_DONE.wake_up_all();
}

/// The first cookie that is pending, in a domain or in all registered ones (Linux:
/// `lowest_in_progress`).
fn lowest_in_progress(domain: Option<&AsyncDomain>) -> AsyncCookie {
    let calls = CALLS.lock();
    let first = match domain {
        Some(domain) => domain
            .pending
            .lock()
            .first_key_value()
            .map(|(first, ())| *first),
        None => calls.global.first_key_value().map(|(first, ())| *first),
    };
    first.unwrap_or(ASYNC_COOKIE_MAX)
}

/// Waits for all calls of all registered domains. May sleep.
pub fn async_synchronize_full() {
    wait_before(ASYNC_COOKIE_MAX, None);
}

/// Waits for all calls of a domain. May sleep.
pub fn async_synchronize_full_domain(domain: &AsyncDomain) {
    wait_before(ASYNC_COOKIE_MAX, Some(domain));
}

/// Waits for all calls of a domain that were scheduled before `cookie`. May sleep.
pub fn async_synchronize_cookie_domain(cookie: AsyncCookie, domain: &AsyncDomain) {
    wait_before(cookie, Some(domain));
}

/// Waits for all calls of the default domain that were scheduled before `cookie`. May sleep; an
/// asynchronous call may wait for those before its own.
pub fn async_synchronize_cookie(cookie: AsyncCookie) {
    wait_before(cookie, Some(&ASYNC_DFL_DOMAIN));
}

fn wait_before(cookie: AsyncCookie, domain: Option<&AsyncDomain>) {
    let pid = current().pid();
    pr_debug!("async_waiting @ {pid}");
    let start = ktime_get();
    ASYNC_DONE.wait_event(|| lowest_in_progress(domain) >= cookie);
    let usecs = (ktime_get() - start) / 1000;
    pr_debug!("async_continuing @ {pid} after {usecs} usec");
}

/// Whether the running task makes an asynchronous call: it is a worker (Linux:
/// `current_is_async`).
pub fn current_is_async() -> bool {
    current().has_flag(crate::kernel::sched::task::pf::PF_WQ_WORKER)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::sched::completion::Completion;
    use crate::kernel::sched::schedule_timeout_uninterruptible;
    use crate::kernel::workqueue::tests::with_workers;

    type Log = Arc<SpinLock<Vec<AsyncCookie>>>;

    /// Schedules a call that takes `jiffies` and logs its cookie.
    fn slow(log: &Log, jiffies: u64, domain: &'static AsyncDomain) -> AsyncCookie {
        let log = log.clone();
        let call = move |cookie| {
            schedule_timeout_uninterruptible(jiffies);
            log.lock().push(cookie);
        };
        async_schedule_domain(call, domain)
    }

    #[test]
    fn cookies_count_up_and_the_full_wait_covers_every_registered_domain() {
        static OTHER: AsyncDomain = AsyncDomain::registered();
        with_workers(|| {
            let log = Log::default();
            let first = slow(&log, 5, &OTHER);
            let second = slow(&log, 1, &ASYNC_DFL_DOMAIN);
            assert!(second > first);
            async_synchronize_full();
            assert_eq!(
                *log.lock(),
                [second, first],
                "both are done, the faster one first"
            );
        });
    }

    #[test]
    fn the_full_wait_does_not_cover_an_exclusive_domain() {
        static ALONE: AsyncDomain = AsyncDomain::exclusive();
        with_workers(|| {
            let log = Log::default();
            let never = Arc::new(Completion::new());
            let waits = never.clone();
            async_schedule_domain(move |_| waits.wait_for_completion(), &ALONE);
            let normal = slow(&log, 1, &ASYNC_DFL_DOMAIN);
            async_synchronize_full();
            assert_eq!(*log.lock(), [normal]);
            assert_ne!(lowest_in_progress(Some(&ALONE)), ASYNC_COOKIE_MAX);
            never.complete();
            async_synchronize_full_domain(&ALONE);
            assert_eq!(lowest_in_progress(Some(&ALONE)), ASYNC_COOKIE_MAX);
        });
    }

    #[test]
    fn waiting_for_a_cookie_leaves_it_and_later_calls_running() {
        static DOMAIN: AsyncDomain = AsyncDomain::exclusive();
        with_workers(|| {
            let log = Log::default();
            let earlier = slow(&log, 2, &DOMAIN);
            let later = slow(&log, 50, &DOMAIN);
            async_synchronize_cookie_domain(later, &DOMAIN);
            assert_eq!(*log.lock(), [earlier]);
            async_synchronize_cookie_domain(later + 1, &DOMAIN);
            assert_eq!(*log.lock(), [earlier, later]);
        });
    }

    #[test]
    fn a_call_may_wait_for_those_before_it() {
        with_workers(|| {
            let log = Log::default();
            slow(&log, 5, &ASYNC_DFL_DOMAIN);
            let of_call = log.clone();
            async_schedule(move |cookie| {
                assert!(current_is_async());
                async_synchronize_cookie(cookie);
                of_call.lock().push(cookie);
            });
            async_synchronize_full();
            let order = log.lock().clone();
            assert!(order.is_sorted() && order.len() == 2, "{order:?}");
        });
    }
}
