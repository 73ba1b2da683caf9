//! Page faults (Linux: arch/x86/mm/fault.c).

use core::fmt::{self, Write};

use uapi::signal::{SIGKILL, SIGSEGV};

use super::extable::{fixup_exception, search_exception_tables};
use super::maccess::copy_from_kernel_nofault;
use crate::arch::x86::asm::cr::{Cr4, read_cr2, read_cr3, read_cr4};
use crate::arch::x86::asm::page::{TASK_SIZE, phys_to_virt};
use crate::arch::x86::asm::ptrace::{PtRegs, eflags};
use crate::arch::x86::kernel::dumpstack::{
    die_with, handle_stack_overflow, show_opcodes, stack_guard_hit,
};
use crate::arch::x86::kernel::process::note_page_fault;
use crate::arch::x86::kernel::traps::{cond_local_irq_enable, exit};
use crate::arch::{PAGE_SIZE, current_ptr, preempt_count, smp_processor_id};
use crate::kernel::printk::{LOGLEVEL_EMERG, LOGLEVEL_INFO, printk};
use crate::kernel::ratelimit::printk_ratelimit;
use crate::kernel::{sched, signal};
use crate::mm::memory::{FaultAccess, FaultError, handle_mm_fault};
use crate::mm::{PhysAddr, UserAddr};
use crate::prelude::*;

/// The page is there, but not for this access.
const PF_PROT: u64 = 1 << 0;
/// A store.
const PF_WRITE: u64 = 1 << 1;
/// By user code.
const PF_USER: u64 = 1 << 2;
/// A reserved bit of the page table is set.
const PF_RSVD: u64 = 1 << 3;
/// An instruction fetch.
const PF_INSTR: u64 = 1 << 4;

/// Vector 14. On entry interrupts are off, so that CR2 is still that of this fault.
pub extern "C" fn exc_page_fault(regs: &mut PtRegs, error_code: u64) {
    let address = read_cr2();
    if address >= TASK_SIZE {
        kernel_address_fault(regs, error_code, address);
    } else {
        user_address_fault(regs, error_code, address);
    }
    exit(regs);
}

/// An address of the kernel half (Linux: `do_kern_addr_fault`).
fn kernel_address_fault(regs: &mut PtRegs, error_code: u64, address: u64) {
    if !regs.user_mode() {
        return kernel_mode_fault(regs, error_code, address);
    }
    cond_local_irq_enable(regs);
    // User code must not learn what is mapped there.
    bad_area(regs, error_code | PF_PROT, address, FaultError::MAPERR);
}

/// An address of the user half: most of all faults (Linux: `do_user_addr_fault`).
fn user_address_fault(regs: &mut PtRegs, error_code: u64, address: u64) {
    let kernel_mode = !regs.user_mode();
    if error_code & PF_RSVD != 0 {
        return page_fault_oops(regs, error_code, address);
    }
    if kernel_mode && !may_touch_user_memory(regs, error_code) {
        return page_fault_oops(regs, error_code, address);
    }
    // A copy in code that must not sleep fails at once.
    let atomic = preempt_count() != 0 || kernel_mode && !regs.interrupts_enabled();
    if atomic || current_ptr().is_null() {
        return bad_area_nosemaphore(regs, error_code, address, FaultError::MAPERR);
    }
    let Some(mm) = sched::current().mm() else {
        return bad_area_nosemaphore(regs, error_code, address, FaultError::MAPERR);
    };
    cond_local_irq_enable(regs);
    if let Err(error) = handle_mm_fault(&mm, UserAddr::new(address), access_of(error_code)) {
        drop(mm);
        bad_area_nosemaphore(regs, error_code, address, error);
    }
}

fn access_of(error_code: u64) -> FaultAccess {
    if error_code & PF_WRITE != 0 {
        FaultAccess::WRITE
    } else if error_code & PF_INSTR != 0 {
        FaultAccess::EXEC
    } else {
        FaultAccess::empty()
    }
}

/// Kernel code may touch user memory only in the copy functions: they have exception table
/// entries, and under SMAP they set AC. It never executes it.
fn may_touch_user_memory(regs: &PtRegs, error_code: u64) -> bool {
    let smap_violation = read_cr4() & Cr4::SMAP.bits() != 0 && regs.rflags & eflags::AC == 0;
    error_code & PF_INSTR == 0 && !smap_violation && search_exception_tables(regs.rip).is_some()
}

fn bad_area_nosemaphore(regs: &mut PtRegs, error_code: u64, address: u64, error: FaultError) {
    if regs.user_mode() {
        bad_area(regs, error_code, address, error);
    } else {
        kernel_mode_fault(regs, error_code, address);
    }
}

/// User code gets its signal (Linux: `__bad_area_nosemaphore`, `do_sigbus`).
fn bad_area(regs: &PtRegs, error_code: u64, address: u64, error: FaultError) {
    note_page_fault(address, error_code | PF_USER);
    if error.signal == SIGSEGV {
        show_signal_msg(regs, error_code | PF_USER, address);
    }
    if error.signal == SIGKILL {
        signal::force_sig(SIGKILL);
    } else {
        signal::force_sig_fault(error.signal, error.code, UserAddr::new(address));
    }
}

/// The line about a program that crashes (Linux: `show_signal_msg`).
fn show_signal_msg(regs: &PtRegs, error_code: u64, address: u64) {
    let task = sched::current();
    if !signal::unhandled_signal(&task, SIGSEGV) || !printk_ratelimit() {
        return;
    }
    let cpu = smp_processor_id();
    let level = if task.pid() > 1 {
        LOGLEVEL_INFO
    } else {
        LOGLEVEL_EMERG
    };
    printk(
        level,
        format_args!(
            "{}[{}]: segfault at {address:x} ip {:016x} sp {:016x} error {error_code:x}{} likely on CPU {cpu} (core {cpu}, socket 0)",
            task.comm(),
            task.pid(),
            regs.rip,
            regs.rsp,
            VmaAddr(" in ", regs.rip)
        ),
    );
    show_opcodes(regs, level);
}

/// ` in file[base+size]` for an address inside a file mapping (Linux: `print_vma_addr`).
pub struct VmaAddr<'a>(pub &'a str, pub u64);

impl fmt::Display for VmaAddr<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match vma_name(self.1) {
            Some((name, base, size)) => write!(f, "{}{name}[{base:x}+{size:x}]", self.0),
            None => Ok(()),
        }
    }
}

/// Name, start and size of the file mapping that holds `addr`; `None` also when the areas are
/// being changed, because this must not wait.
fn vma_name(addr: u64) -> Option<(String, u64, u64)> {
    let mm = sched::current().mm()?;
    let map = mm.try_read()?;
    let vma = map.vmas.lookup(addr)?;
    let name = vma.file.as_ref()?.path.dentry.name();
    let name = String::from_utf8_lossy(&name).into_owned();
    Some((name, vma.start, vma.end - vma.start))
}

/// A fault of kernel code that no page can cure: the fix-up of a copy, or an oops
/// (Linux: `kernelmode_fixup_or_oops`).
fn kernel_mode_fault(regs: &mut PtRegs, error_code: u64, address: u64) {
    if !fixup_exception(regs) {
        page_fault_oops(regs, error_code, address);
    }
}

/// Reports the bug of the kernel and ends the task (Linux: `page_fault_oops`).
fn page_fault_oops(regs: &PtRegs, error_code: u64, address: u64) {
    if regs.user_mode() {
        // A corrupt page table under user code.
        pr_alert!("BUG: Bad page table at address {address:016x}");
    }
    if let Some(hit) = stack_guard_hit(address, regs) {
        handle_stack_overflow(regs, address, hit);
    }
    note_page_fault(address, error_code);
    show_fault_oops(error_code, address);
    die_with(format_args!("Oops"), regs, error_code, SIGKILL, || {
        crate::kernel::printk::printk(4, format_args!("CR2: {address:016x}"));
    });
}

/// The lines before the header (Linux: `show_fault_oops`).
fn show_fault_oops(error_code: u64, address: u64) {
    if error_code & PF_INSTR != 0 && error_code & PF_PROT != 0 {
        let uid = match current_ptr().is_null() {
            true => 0,
            false => sched::current().cred().uid,
        };
        pr_crit!("kernel tried to execute NX-protected page - exploit attempt? (uid: {uid})");
    }
    if address < PAGE_SIZE as u64 {
        pr_alert!("BUG: kernel NULL pointer dereference, address: {address:016x}");
    } else {
        pr_alert!("BUG: unable to handle page fault for address: {address:016x}");
    }
    let who = if error_code & PF_USER != 0 {
        "user"
    } else {
        "supervisor"
    };
    let what = if error_code & PF_INSTR != 0 {
        "instruction fetch"
    } else if error_code & PF_WRITE != 0 {
        "write access"
    } else {
        "read access"
    };
    pr_alert!("#PF: {who} {what} in kernel mode");
    let why = if error_code & PF_PROT == 0 {
        "not-present page"
    } else if error_code & PF_RSVD != 0 {
        "reserved bit violation"
    } else {
        "permissions violation"
    };
    pr_alert!("#PF: error_code(0x{error_code:04x}) - {why}");
    dump_pagetable(address);
}

/// The entries of all levels on the way to `address` (Linux: `dump_pagetable`).
fn dump_pagetable(address: u64) {
    const PRESENT: u64 = 1;
    const LARGE: u64 = 1 << 7;
    const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
    let mut line = ArrayText::default();
    let mut table = read_cr3() & ADDRESS;
    for (name, shift) in [("PGD", 39), ("PUD", 30), ("PMD", 21), ("PTE", 12)] {
        let index = address >> shift & 0x1ff;
        let slot = phys_to_virt(PhysAddr::new(table + index * 8)).as_u64();
        let mut raw = [0; 8];
        if !copy_from_kernel_nofault(&mut raw, slot) {
            let _ = write!(line, "BAD");
            break;
        }
        let entry = u64::from_le_bytes(raw);
        let _ = write!(line, "{name} {entry:x} ");
        if shift == 39 {
            let _ = write!(line, "P4D {entry:x} ");
        }
        if entry & PRESENT == 0 || entry & LARGE != 0 {
            break;
        }
        table = entry & ADDRESS;
    }
    pr_info!("{}", line.as_str());
}

/// Text without memory from the heap: an oops may be about the heap.
struct ArrayText {
    bytes: [u8; 160],
    len: usize,
}

impl Default for ArrayText {
    fn default() -> Self {
        Self {
            bytes: [0; 160],
            len: 0,
        }
    }
}

impl ArrayText {
    fn as_str(&self) -> &str {
        core::str::from_utf8(&self.bytes[..self.len]).unwrap_or_default()
    }
}

impl fmt::Write for ArrayText {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.bytes.get_mut(self.len..self.len + text.len());
        room.ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.len += text.len();
        Ok(())
    }
}
