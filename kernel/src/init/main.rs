//! TEST MAIN
use crate::arch;
use crate::kernel::cpu;
use crate::mm;
use core::arch::asm;

#[inline(never)]
fn recurse(n: u64) -> u64 {
    let a = [n; 64];
    let a = core::hint::black_box(a);
    if a[3] == 77777777 { return 3; }
    recurse(n + 1) + a[5]
}

pub fn start_kernel() -> ! {
    pr_notice!("Linux version 6.0.0-kindling");
    cpu::boot_cpu_init();
    arch::setup_arch();
    arch::x86::kernel::acpi::acpi_boot_init(arch::boot_params());
    arch::x86::kernel::tsc::tsc_early_init();
    cpu::CPU_POSSIBLE.set(3);
    cpu::setup_nr_cpu_ids();
    arch::setup_per_cpu_areas();
    arch::smp_prepare_boot_cpu();
    arch::trap_init();
    mm::mm_init::mm_core_init();
    arch::early_irq_init();
    arch::init_irq();
    pr_info!("rtc {:?}", arch::read_persistent_clock());
    arch::time_init();
    arch::local_irq_enable();
    arch::late_time_init();
    crate::init::calibrate::calibrate_delay();
    let line = arch::boot_command_line();
    let t0 = arch::get_cycles();
    arch::mdelay(100);
    pr_info!("ticks in 100ms: {} cycles {}", crate::kernel::time::jiffies(), arch::get_cycles() - t0);
    let mut s = alloc::string::String::new();
    crate::kernel::irq::proc::show_interrupts(&mut s).unwrap();
    for l in s.lines() { pr_info!("{l}"); }
    let _ = crate::warn_on!(line == "warn", "this is {}", 1);
    match line.split(' ').next().unwrap_or("") {
        // SAFETY: tests.
        "ud2" => unsafe { asm!("ud2") },
        // SAFETY: tests.
        "int3" => unsafe { asm!("int3") },
        // SAFETY: tests.
        "null" => unsafe { core::ptr::null_mut::<u8>().wrapping_add(8).write_volatile(1) },
        // SAFETY: tests.
        "user" => unsafe { (0x400000 as *mut u8).write_volatile(1) },
        // SAFETY: tests.
        "gp" => unsafe { asm!("mov rax, [{}]", in(reg) 0xdead_beef_dead_beefu64, out("rax") _) },
        // SAFETY: tests.
        "div" => unsafe { asm!("div {0:e}", in(reg) 0, inout("rax") 1u64=>_, inout("rdx") 0u64=>_) },
        // SAFETY: tests.
        "nx" => unsafe { let f: fn() = core::mem::transmute(arch::phys_to_virt(crate::mm::PhysAddr::new(0x100000)).as_u64()); f() },
        "overflow" => { recurse(0); }
        // SAFETY: tests.
        "df" => unsafe { asm!("mov rsp, {}", "push rax", in(reg) 0xffff_c900_0001_0000u64) },
        // SAFETY: tests.
        "db" => unsafe { asm!("pushfq", "or qword ptr [rsp], 0x100", "popfq", "nop", "nop"); },
        "poweroff" => arch::machine_power_off(),
        "restart" => arch::machine_restart(),
        "bug" => crate::bug!(),
        "msr" => pr_info!("rdmsr_safe {:?}", arch::x86::asm::msr::rdmsr_safe(0x12345)),
        "copy" => {
            let mut b = [0u8; 16];
            // SAFETY: tests.
            let n = unsafe { arch::raw_copy_from_user(b.as_mut_ptr(), mm::UserAddr::new(0x1000), 13) };
            pr_info!("left {n}");
        }
        "nmi" => { pr_info!("NMI NOW"); arch::mdelay(3000); }
        _ => {}
    }
    pr_info!("end of tests");
    arch::qemu_exit(0x10);
    arch::machine_halt()
}
