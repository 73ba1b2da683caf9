//! Machine checks (Linux: arch/x86/kernel/cpu/mce/core.c).

use core::arch::x86_64::__cpuid;
use core::sync::atomic::{AtomicU32, Ordering};

use crate::arch::smp_processor_id;
use crate::arch::x86::asm::cr::{Cr4, read_cr4, write_cr4};
use crate::arch::x86::asm::msr::{
    MSR_IA32_MC0_CTL, MSR_IA32_MCG_CAP, MSR_IA32_MCG_CTL, MSR_IA32_MCG_STATUS, rdmsr, wrmsr,
};
use crate::arch::x86::asm::ptrace::PtRegs;
use crate::kernel::panic::panic;
use crate::mm::percpu::PerCpu;
use crate::prelude::*;

/// The interrupted program may go on.
const MCG_STATUS_RIPV: u64 = 1;
const MCI_STATUS_VAL: u64 = 1 << 63;
const MCI_STATUS_UC: u64 = 1 << 61;
const MCI_STATUS_PCC: u64 = 1 << 57;

/// Machine checks that this CPU had.
#[per_cpu]
pub static MCE_EXCEPTION_COUNT: PerCpu<AtomicU32> = PerCpu::new(AtomicU32::new(0));
/// Banks of this machine; 0 if it has no machine checks.
static NR_BANKS: AtomicU32 = AtomicU32::new(0);

/// Switches the banks on and machine checks with them (Linux: `mcheck_cpu_init`). Each CPU.
pub fn mcheck_cpu_init() {
    const MCE_AND_MCA: u32 = 1 << 7 | 1 << 14;
    if __cpuid(1).edx & MCE_AND_MCA != MCE_AND_MCA {
        return;
    }
    // SAFETY: the CPU has the machine check architecture.
    let capabilities = unsafe { rdmsr(MSR_IA32_MCG_CAP) };
    let banks = (capabilities & 0xff) as u32;
    NR_BANKS.store(banks, Ordering::Relaxed);
    if capabilities & 1 << 8 != 0 {
        // SAFETY: the register exists (bit 8); all sources on.
        unsafe { wrmsr(MSR_IA32_MCG_CTL, u64::MAX) };
    }
    for bank in 0..banks {
        // SAFETY: the bank exists; report everything.
        unsafe { wrmsr(MSR_IA32_MC0_CTL + 4 * bank, u64::MAX) };
        // SAFETY: forgets what happened before us.
        unsafe { wrmsr(MSR_IA32_MC0_CTL + 4 * bank + 1, 0) };
    }
    // SAFETY: the exception has its gate and stack.
    unsafe { write_cr4(read_cr4() | Cr4::MCE.bits()) };
    pr_debug!("mce: CPU supports {banks} MCE banks");
}

/// The hardware found an error: logs every bank, and stops unless all errors were corrected and
/// the program can go on (Linux: `do_machine_check`). On the IST stack or the task's.
pub fn do_machine_check(_regs: &mut PtRegs) {
    MCE_EXCEPTION_COUNT
        .raw_this()
        .fetch_add(1, Ordering::Relaxed);
    // SAFETY: the exception exists, so the register does.
    let status = unsafe { rdmsr(MSR_IA32_MCG_STATUS) };
    let mut fatal = status & MCG_STATUS_RIPV == 0;
    for bank in 0..NR_BANKS.load(Ordering::Relaxed) {
        fatal |= report_bank(bank, status);
    }
    if fatal {
        panic(format_args!("Fatal machine check"));
    }
    // SAFETY: allows the next machine check.
    unsafe { wrmsr(MSR_IA32_MCG_STATUS, 0) };
}

/// Prints and clears one bank; true if its error was not corrected.
fn report_bank(bank: u32, mcg_status: u64) -> bool {
    let register = MSR_IA32_MC0_CTL + 4 * bank + 1;
    // SAFETY: the bank exists.
    let status = unsafe { rdmsr(register) };
    if status & MCI_STATUS_VAL == 0 {
        return false;
    }
    pr_emerg!(
        "mce: [Hardware Error]: CPU {}: Machine Check Exception: {mcg_status:x} Bank {bank}: {status:016x}",
        smp_processor_id()
    );
    // SAFETY: the bank exists; its report has been printed.
    unsafe { wrmsr(register, 0) };
    status & (MCI_STATUS_UC | MCI_STATUS_PCC) != 0
}
