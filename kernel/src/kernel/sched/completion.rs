//! Completions (Linux: kernel/sched/completion.c).
#![forbid(unsafe_code)]

/// An event that happens once: a counter and a first-in first-out queue under one lock.
pub struct Completion {}

impl Completion {
    /// Not done (Linux: `init_completion`).
    pub const fn new() -> Self {
        Self {}
    }
    /// Sleeps uninterruptibly until done.
    pub fn wait_for_completion(&self) {
        todo!()
    }
    /// Lets one waiter go.
    pub fn complete(&self) {
        todo!()
    }
    /// Lets every waiter go, now and later.
    pub fn complete_all(&self) {
        todo!()
    }
}

impl Default for Completion {
    fn default() -> Self {
        Self::new()
    }
}
