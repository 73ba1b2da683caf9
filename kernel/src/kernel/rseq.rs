//! Restartable sequences: user code that finds out which CPU it runs on, and that starts again
//! when it was interrupted on the way (Linux: kernel/rseq.c, rseq(2)).
//!
//! A thread registers an area of its memory. The kernel writes the number of the CPU there, and
//! whenever the thread was switched out or takes a signal inside the critical section that the
//! area names, it goes on at the section's abort address.
#![forbid(unsafe_code)]

use core::mem::offset_of;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use uapi::Pod;
use uapi::rseq::*;

use crate::arch::{self, PtRegs, TASK_SIZE};
use crate::kernel::sched::current;
use crate::kernel::sched::task::{Task, tif};
use crate::kernel::signal::force_sigsegv;
use crate::mm::UserAddr;
use crate::mm::uaccess::{access_ok, get_user, put_user};
use crate::prelude::*;

/// Bytes of a `Rseq` that Linux asks for when the size is not the original one.
const FEATURES_END: u32 = RSEQ_FEATURE_SIZE;

/// What a thread registered. Only the thread itself changes it, or its parent before it runs.
#[derive(Debug, Default)]
pub struct RseqState {
    /// Address of the area, 0 for none.
    area: AtomicU64,
    len: AtomicU32,
    /// The word before every abort address.
    sig: AtomicU32,
    /// One more than the CPU that the area tells, 0 when it tells none yet.
    told_cpu: AtomicU32,
}

impl RseqState {
    /// Nothing registered.
    pub const fn new() -> Self {
        Self {
            area: AtomicU64::new(0),
            len: AtomicU32::new(0),
            sig: AtomicU32::new(0),
            told_cpu: AtomicU32::new(0),
        }
    }

    #[inline]
    fn area(&self) -> u64 {
        self.area.load(Ordering::Relaxed)
    }

    fn set(&self, area: u64, len: u32, sig: u32) {
        self.area.store(area, Ordering::Relaxed);
        self.len.store(len, Ordering::Relaxed);
        self.sig.store(sig, Ordering::Relaxed);
        self.told_cpu.store(0, Ordering::Relaxed);
    }
}

/// The task is switched out: what it was doing may have to start again (Linux: `rseq_preempt`).
/// Scheduler context.
#[inline]
pub fn rseq_preempt(task: &Task) {
    if task.rseq.area() != 0 {
        task.set_tif(tif::NOTIFY_RESUME);
    }
}

/// A child with memory of its own has the parent's area; a thread registers its own
/// (Linux: `rseq_fork`).
pub fn rseq_fork(parent: &Task, child: &Task, shares_memory: bool) {
    if shares_memory || parent.rseq.area() == 0 {
        return;
    }
    let (from, to) = (&parent.rseq, &child.rseq);
    let len = from.len.load(Ordering::Relaxed);
    to.set(from.area(), len, from.sig.load(Ordering::Relaxed));
    child.set_tif(tif::NOTIFY_RESUME);
}

/// The area went with the old program (Linux: `rseq_execve`).
pub fn rseq_execve(task: &Task) {
    task.rseq.set(0, 0, 0);
}

/// On the way back to user space, and before a signal's frame is made: leaves a critical section
/// that was interrupted, and tells a new CPU. A thread whose area is bad gets SIGSEGV
/// (Linux: `__rseq_handle_notify_resume`). Context: process, interrupts on.
pub fn rseq_handle_notify_resume(regs: &mut PtRegs) {
    let task = current();
    if task.rseq.area() == 0 {
        return;
    }
    if ip_fixup(&task.rseq, regs)
        .and_then(|()| tell_cpu(&task.rseq))
        .is_err()
    {
        force_sigsegv(0);
    }
}

/// Writes the CPU's number unless the area has it already.
fn tell_cpu(state: &RseqState) -> Result {
    let cpu = arch::smp_processor_id() as u32;
    if state.told_cpu.swap(cpu + 1, Ordering::Relaxed) == cpu + 1 {
        return Ok(());
    }
    write_ids(state.area(), cpu, cpu, cpu)
}

/// Fills the fields of the area that tell where the thread is. Errors: EFAULT.
fn write_ids(area: u64, cpu_id_start: u32, cpu_id: u32, mm_cid: u32) -> Result {
    let field = |offset: usize| UserAddr::new(area + offset as u64);
    put_user(field(offset_of!(Rseq, cpu_id_start)), &cpu_id_start)?;
    put_user(field(offset_of!(Rseq, cpu_id)), &cpu_id)?;
    put_user(field(offset_of!(Rseq, node_id)), &0_u32)?;
    put_user(field(offset_of!(Rseq, mm_cid)), &mm_cid)
}

/// Address of the area's pointer to a critical section.
fn section_pointer(state: &RseqState) -> UserAddr {
    UserAddr::new(state.area() + offset_of!(Rseq, rseq_cs) as u64)
}

/// Moves the thread to the abort address when it is inside its critical section (Linux:
/// `rseq_ip_fixup`). Errors: EFAULT, EINVAL for a section that makes no sense.
fn ip_fixup(state: &RseqState, regs: &mut PtRegs) -> Result {
    let pointer: u64 = get_user(section_pointer(state))?;
    if pointer == 0 {
        return Ok(());
    }
    let section = checked_section(pointer, state.sig.load(Ordering::Relaxed))?;
    let inside = regs.ip().wrapping_sub(section.start_ip) < section.post_commit_offset;
    put_user(section_pointer(state), &0_u64)?;
    if inside {
        regs.set_ip(section.abort_ip);
    }
    Ok(())
}

/// Reads a critical section (Linux: `rseq_get_rseq_cs`). Errors: EFAULT, EINVAL.
fn checked_section(pointer: u64, sig: u32) -> Result<RseqCs> {
    if pointer >= TASK_SIZE {
        return Err(Errno::EINVAL);
    }
    let section: RseqCs = get_user(UserAddr::new(pointer))?;
    let end = section.start_ip.checked_add(section.post_commit_offset);
    let end = end.filter(|end| *end < TASK_SIZE).ok_or(Errno::EINVAL)?;
    let abort_inside = (section.start_ip..end).contains(&section.abort_ip);
    let abort_outside = section.abort_ip < 4 || section.abort_ip >= TASK_SIZE;
    if section.version != 0 || section.flags != 0 || abort_inside || abort_outside {
        return Err(Errno::EINVAL);
    }
    let word: u32 = get_user(UserAddr::new(section.abort_ip - 4))?;
    if word != sig {
        return Err(Errno::EINVAL);
    }
    Ok(section)
}

/// rseq(2). Errors: EINVAL, EPERM for a wrong signature, EBUSY when the same area is registered
/// already, EFAULT.
pub fn sys_rseq(area: UserAddr, len: u32, flags: u32, sig: u32) -> Result {
    let state = &current().rseq;
    if flags & RSEQ_FLAG_UNREGISTER != 0 {
        return unregister(state, area.as_u64(), len, flags, sig);
    }
    if flags != 0 {
        return Err(Errno::EINVAL);
    }
    if state.area() != 0 {
        let same = state.area() == area.as_u64() && state.len.load(Ordering::Relaxed) == len;
        return Err(match state.sig.load(Ordering::Relaxed) == sig {
            _ if !same => Errno::EINVAL,
            false => Errno::EPERM,
            true => Errno::EBUSY,
        });
    }
    let aligned = area.as_u64().is_multiple_of(u64::from(RSEQ_ALIGN));
    if !aligned || len < ORIG_RSEQ_SIZE || len < FEATURES_END {
        return Err(Errno::EINVAL);
    }
    if area.as_u64() == 0 || !access_ok(area, len as usize) {
        return Err(Errno::EFAULT);
    }
    state.set(area.as_u64(), len, sig);
    current().set_tif(tif::NOTIFY_RESUME);
    Ok(())
}

fn unregister(state: &RseqState, area: u64, len: u32, flags: u32, sig: u32) -> Result {
    if flags & !RSEQ_FLAG_UNREGISTER != 0
        || state.area() != area
        || area == 0
        || state.len.load(Ordering::Relaxed) != len
    {
        return Err(Errno::EINVAL);
    }
    if state.sig.load(Ordering::Relaxed) != sig {
        return Err(Errno::EPERM);
    }
    write_ids(area, 0, RSEQ_CPU_ID_UNINITIALIZED, 0)?;
    state.set(0, 0, 0);
    Ok(())
}

const _: () = assert!(Rseq::SIZE == ORIG_RSEQ_SIZE as usize);
