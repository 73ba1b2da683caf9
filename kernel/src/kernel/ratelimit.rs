//! Limits for messages that a program can cause at will (Linux: lib/ratelimit.c).
#![forbid(unsafe_code)]

use crate::kernel::time;
use crate::prelude::*;

/// At most `burst` events in `interval_ns`.
pub struct RateLimit {
    interval_ns: u64,
    burst: u32,
    state: IrqSpinLock<State>,
}

struct State {
    begin_ns: Option<u64>,
    printed: u32,
    missed: u32,
}

impl RateLimit {
    /// A limit that nothing has used yet.
    pub const fn new(interval_ns: u64, burst: u32) -> Self {
        Self {
            interval_ns,
            burst,
            state: IrqSpinLock::new(State {
                begin_ns: None,
                printed: 0,
                missed: 0,
            }),
        }
    }

    /// Whether the event may be shown. Any context. A caller that finds the state in use by
    /// another CPU stays silent (Linux: `___ratelimit`).
    pub fn allow(&self, caller: &str) -> bool {
        self.allow_at(time::ktime_get(), caller)
    }

    fn allow_at(&self, now_ns: u64, caller: &str) -> bool {
        let Some(mut state) = self.state.try_lock() else {
            return false;
        };
        let begin = *state.begin_ns.get_or_insert(now_ns);
        let mut suppressed = 0;
        if now_ns.saturating_sub(begin) > self.interval_ns {
            suppressed = core::mem::take(&mut state.missed);
            state.begin_ns = Some(now_ns);
            state.printed = 0;
        }
        let allowed = state.printed < self.burst;
        if allowed {
            state.printed += 1;
        } else {
            state.missed = state.missed.saturating_add(1);
        }
        drop(state);
        if suppressed != 0 {
            pr_warn!("{caller}: {suppressed} callbacks suppressed");
        }
        allowed
    }
}

/// The limit that unrelated messages share: ten in five seconds (Linux: `printk_ratelimit`).
pub fn printk_ratelimit() -> bool {
    static PRINTK: RateLimit = RateLimit::new(5_000_000_000, 10);
    PRINTK.allow("printk_ratelimit")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_the_rest_waits_for_the_next_interval() {
        let limit = RateLimit::new(100, 2);
        assert!(limit.allow_at(0, "test"));
        assert!(limit.allow_at(1, "test"));
        assert!(!limit.allow_at(2, "test"));
        assert!(!limit.allow_at(100, "test"));
        assert!(limit.allow_at(101, "test"));
    }
}
