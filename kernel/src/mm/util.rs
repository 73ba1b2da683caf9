//! Limits, layout and accounting that the memory calls share (Linux: mm/util.c,
//! arch/x86/mm/mmap.c).
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicI64, AtomicU32, Ordering};

use uapi::mman::{OVERCOMMIT_ALWAYS, OVERCOMMIT_NEVER};
use uapi::resource::{_STK_LIM, MLOCK_LIMIT, RLIM_INFINITY, RLIMIT_MEMLOCK, RLIMIT_STACK};

use crate::arch::{self, PAGE_SHIFT, PAGE_SIZE, TASK_SIZE};
pub use crate::drivers::char::random::get_random_u64;
use crate::kernel::sched::current;
use crate::kernel::sysctl::{CtlTable, parse_number, register_sysctl};
use crate::mm::page_alloc::totalram_pages;
use crate::mm::vma::MAX_MAP_COUNT;
use crate::mm::vma::STACK_GUARD_GAP;
use crate::prelude::*;

/// Lowest address that programs may map, in bytes (/proc/sys/vm/mmap_min_addr).
pub const MMAP_MIN_ADDR: u64 = 65536;

/// 0: no randomisation; 1: stack, mmap base, PIE base; 2: the heap too
/// (/proc/sys/kernel/randomize_va_space).
pub static RANDOMIZE_VA_SPACE: AtomicU32 = AtomicU32::new(2);
/// Policy, `OVERCOMMIT_*` (/proc/sys/vm/overcommit_memory).
pub static OVERCOMMIT_MEMORY: AtomicU32 = AtomicU32::new(uapi::mman::OVERCOMMIT_GUESS);
/// Share of the RAM that OVERCOMMIT_NEVER gives out, in percent.
pub static OVERCOMMIT_RATIO: AtomicU32 = AtomicU32::new(50);
/// Promised pages (Committed_AS in /proc/meminfo, there in KiB).
static COMMITTED: AtomicI64 = AtomicI64::new(0);

/// `norandmaps`: addresses stay the same from run to run.
#[__init]
fn disable_randmaps(_value: &str) -> Result {
    RANDOMIZE_VA_SPACE.store(0, Ordering::Relaxed);
    Ok(())
}
crate::__setup!("norandmaps", disable_randmaps);

/// Promised memory in pages.
pub fn vm_committed_pages() -> i64 {
    COMMITTED.load(Ordering::Relaxed)
}

/// What OVERCOMMIT_NEVER allows in all, in pages (CommitLimit in /proc/meminfo).
pub fn vm_commit_limit() -> u64 {
    totalram_pages() * u64::from(OVERCOMMIT_RATIO.load(Ordering::Relaxed)) / 100
}

/// Promises `pages` pages. Errors: ENOMEM by the overcommit policy
/// (Linux: `__vm_enough_memory`).
pub fn vm_acct_memory(pages: u64) -> Result {
    let allowed = match OVERCOMMIT_MEMORY.load(Ordering::Relaxed) {
        OVERCOMMIT_ALWAYS => true,
        OVERCOMMIT_NEVER => {
            let promised = vm_committed_pages().max(0) as u64;
            promised.saturating_add(pages) <= vm_commit_limit()
        }
        // A guess: only what can never be is refused.
        _ => pages <= totalram_pages(),
    };
    if !allowed {
        return Err(Errno::ENOMEM);
    }
    COMMITTED.fetch_add(pages as i64, Ordering::Relaxed);
    Ok(())
}

/// Takes a promise back.
pub fn vm_unacct_memory(pages: u64) {
    COMMITTED.fetch_sub(pages as i64, Ordering::Relaxed);
}

/// The running process's soft limit (Linux: `rlimit`); before there is a process, the default.
pub fn rlimit(resource: u32) -> u64 {
    if !arch::current_ptr().is_null() {
        return current().signal.rlimit(resource);
    }
    match resource {
        RLIMIT_STACK => _STK_LIM,
        RLIMIT_MEMLOCK => MLOCK_LIMIT,
        _ => RLIM_INFINITY,
    }
}

/// Rounds a length up to pages; `None` on overflow.
pub const fn page_align(len: u64) -> Option<u64> {
    match len.checked_add(PAGE_SIZE as u64 - 1) {
        Some(len) => Some(len & !(PAGE_SIZE as u64 - 1)),
        None => None,
    }
}

/// Whether addresses of new programs are random (Linux: `PF_RANDOMIZE`).
pub fn randomize() -> bool {
    RANDOMIZE_VA_SPACE.load(Ordering::Relaxed) != 0 && !personality_forbids()
}

/// Whether the running task asked for fixed addresses (setarch -R).
fn personality_forbids() -> bool {
    const ADDR_NO_RANDOMIZE: u32 = 0x4_0000;
    !arch::current_ptr().is_null()
        && current().personality.load(Ordering::Relaxed) & ADDR_NO_RANDOMIZE != 0
}

/// A random distance of up to `1 << bits` pages, in bytes; 0 without randomisation.
fn random_pages(bits: u32) -> u64 {
    if randomize() {
        (get_random_u64() & ((1 << bits) - 1)) << PAGE_SHIFT
    } else {
        0
    }
}

/// Pages by which mmap areas and PIE programs move (Linux: `mmap_rnd_bits`).
const MMAP_RND_BITS: u32 = 28;
/// Pages by which the stack moves (Linux: `STACK_RND_MASK`).
const STACK_RND_BITS: u32 = 22;

/// Random part of an mmap base, in bytes (Linux: `arch_mmap_rnd`).
pub fn arch_mmap_rnd() -> u64 {
    random_pages(MMAP_RND_BITS)
}

/// Top of a new stack (Linux: `randomize_stack_top`).
pub fn randomize_stack_top() -> u64 {
    TASK_SIZE - random_pages(STACK_RND_BITS)
}

/// Whether the heap moves too.
pub fn randomize_brk() -> bool {
    randomize() && RANDOMIZE_VA_SPACE.load(Ordering::Relaxed) > 1
}

/// Start of the heap, at or a little above `brk`, page aligned (Linux: `arch_randomize_brk`).
pub fn arch_randomize_brk(brk: u64) -> u64 {
    const RANGE: u64 = 0x0200_0000;
    if !randomize_brk() {
        return brk;
    }
    (brk + get_random_u64() % RANGE).next_multiple_of(PAGE_SIZE as u64)
}

/// Where mmap looks for room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MmapLayout {
    /// Highest end (top-down) or lowest start (bottom-up).
    pub base: u64,
    /// Which way to look.
    pub direction: Direction,
}

/// Which way mmap looks for room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From below the stack downwards.
    TopDown,
    /// From a third of the address space upwards: an unlimited stack leaves no fixed room.
    BottomUp,
}

/// First address of the bottom-up search (Linux: `TASK_UNMAPPED_BASE`).
pub const TASK_UNMAPPED_BASE: u64 = (TASK_SIZE / 3).next_multiple_of(PAGE_SIZE as u64);

impl MmapLayout {
    /// For a stack limit in bytes (Linux: `arch_pick_mmap_layout`).
    pub fn pick(stack_limit: u64) -> MmapLayout {
        if stack_limit == RLIM_INFINITY {
            return MmapLayout {
                base: TASK_UNMAPPED_BASE + arch_mmap_rnd(),
                direction: Direction::BottomUp,
            };
        }
        let stack_random = if randomize() {
            ((1 << STACK_RND_BITS) - 1) << PAGE_SHIFT
        } else {
            0
        };
        let gap = stack_limit
            .saturating_add(stack_random + STACK_GUARD_GAP)
            .clamp(128 << 20, TASK_SIZE / 6 * 5);
        let base = (TASK_SIZE - gap - arch_mmap_rnd()).next_multiple_of(PAGE_SIZE as u64);
        MmapLayout {
            base,
            direction: Direction::TopDown,
        }
    }
}

/// Sets a value of /proc/sys to a number of at most `max`. Errors: EINVAL.
pub(super) fn set_atomic(value: &AtomicU32, text: &str, max: u32) -> Result {
    value.store(parse_number(text, 0, max)?, Ordering::Relaxed);
    Ok(())
}

static VM_TABLE: &[CtlTable] = &[
    CtlTable {
        path: "kernel/randomize_va_space",
        get: || format!("{}", RANDOMIZE_VA_SPACE.load(Ordering::Relaxed)),
        set: Some(|text| set_atomic(&RANDOMIZE_VA_SPACE, text, 2)),
    },
    CtlTable {
        path: "vm/overcommit_memory",
        get: || format!("{}", OVERCOMMIT_MEMORY.load(Ordering::Relaxed)),
        set: Some(|text| set_atomic(&OVERCOMMIT_MEMORY, text, OVERCOMMIT_NEVER)),
    },
    CtlTable {
        path: "vm/overcommit_ratio",
        get: || format!("{}", OVERCOMMIT_RATIO.load(Ordering::Relaxed)),
        set: Some(|text| set_atomic(&OVERCOMMIT_RATIO, text, i32::MAX as u32)),
    },
    CtlTable {
        path: "vm/mmap_min_addr",
        get: || format!("{MMAP_MIN_ADDR}"),
        set: None,
    },
    CtlTable {
        path: "vm/max_map_count",
        get: || format!("{MAX_MAP_COUNT}"),
        set: None,
    },
    CtlTable {
        path: "vm/min_free_kbytes",
        get: || format!("{}", crate::mm::mm_init::min_free_kbytes()),
        set: None,
    },
];

#[__init]
fn vm_sysctl_init() -> Result {
    register_sysctl(VM_TABLE);
    Ok(())
}
crate::fs_initcall!(vm_sysctl_init);
