//! The way out (Linux: arch/x86/kernel/reboot.c, drivers/acpi/sleep.c, reboot.c).

use core::arch::asm;
use core::sync::atomic::{AtomicU8, Ordering};

use super::acpi::acpi;
use super::{idt, io_apic, rtc};
use crate::arch::x86::asm::io::{inb, inw, io_delay, outb, outl, outw};
use crate::arch::x86::mm::init_64::Cache;
use crate::arch::x86::mm::ioremap::ioremap;
use crate::arch::{local_irq_disable, mdelay};
use crate::drivers::acpi::tables::{Fadt, Register};
use crate::mm::PhysAddr;
use crate::prelude::*;

const PM1_SCI_EN: u16 = 1;
const PM1_SLP_EN: u16 = 1 << 13;
const PM1_SLP_TYP_SHIFT: u32 = 10;
const KBD_STATUS: u16 = 0x64;
const KBD_INPUT_FULL: u8 = 2;
const KBD_RESET: u8 = 0xfe;
const PCI_RESET: u16 = 0xcf9;
/// QEMU's isa-debug-exit.
const QEMU_EXIT_PORT: u16 = 0xf4;

/// `reboot=`: first letter of the first method tried.
static REBOOT_TYPE: AtomicU8 = AtomicU8::new(b'a');

fn reboot_setup(value: &str) -> Result {
    for option in value.split(',') {
        if let Some(letter @ (b'a' | b'k' | b't' | b'p' | b'b')) = option.bytes().next() {
            REBOOT_TYPE.store(letter, Ordering::Relaxed);
        }
    }
    Ok(())
}
crate::__setup!("reboot=", reboot_setup);

/// Stops for ever.
pub fn machine_halt() -> ! {
    loop {
        local_irq_disable();
        // SAFETY: stops this CPU; that is what is asked for.
        unsafe { asm!("hlt", options(nomem, nostack)) };
    }
}

/// The registers and the values that switch the machine off, if ACPI tells them.
fn s5() -> Option<(Fadt, (u8, u8))> {
    acpi().fadt.zip(acpi().s5)
}

/// Whether the machine can switch itself off (Linux: `kernel_can_power_off`).
pub fn can_power_off() -> bool {
    s5().is_some()
}

/// The last step before the kernel announces the end (Linux: `acpi_power_off_prepare`).
pub fn power_off_prepare() {
    if can_power_off() {
        pr_info!("ACPI: PM: Preparing to enter system sleep state S5");
    }
}

/// Switches off through ACPI; if that does not work, stops for ever (Linux: `acpi_power_off`).
pub fn machine_power_off() -> ! {
    local_irq_disable();
    if let Some((fadt, sleep_types)) = s5() {
        enter_s5(&fadt, sleep_types);
    }
    machine_halt()
}

fn enter_s5(fadt: &Fadt, (type_a, type_b): (u8, u8)) {
    if fadt.hw_reduced {
        if let Some(register) = fadt.sleep_control {
            write_register(register, type_a << 2 | 1 << 5);
        }
        return mdelay(100);
    }
    enable_acpi_mode(fadt);
    enter_pm1(fadt.pm1a_control, type_a);
    enter_pm1(fadt.pm1b_control, type_b);
    mdelay(1000); // the power does not go at once
    pr_emerg!("ACPI: the machine did not switch off");
}

/// A BIOS keeps the power registers until it is told that somebody knows ACPI.
fn enable_acpi_mode(fadt: &Fadt) {
    let Some(Register::Io(control)) = fadt.pm1a_control else {
        return;
    };
    // SAFETY: reads the PM1 control register.
    let enabled = || unsafe { inw(control) } & PM1_SCI_EN != 0;
    if enabled() || fadt.smi_cmd == 0 || fadt.acpi_enable == 0 {
        return;
    }
    // SAFETY: the FADT gives port and value for exactly this.
    unsafe { outb(fadt.smi_cmd, fadt.acpi_enable) };
    for _ in 0..300 {
        if enabled() {
            return;
        }
        mdelay(10);
    }
    pr_warn!("ACPI: Hardware did not enter ACPI mode");
}

fn enter_pm1(register: Option<Register>, sleep_type: u8) {
    let Some(Register::Io(port)) = register else {
        return;
    };
    // SAFETY: reads the PM1 control register.
    let keep = unsafe { inw(port) } & !(7 << PM1_SLP_TYP_SHIFT | PM1_SLP_EN);
    let value = keep | u16::from(sleep_type) << PM1_SLP_TYP_SHIFT;
    // SAFETY: selects the sleep state.
    unsafe { outw(port, value) };
    // SAFETY: enters it; the machine goes off.
    unsafe { outw(port, value | PM1_SLP_EN) };
}

fn write_register(register: Register, value: u8) {
    match register {
        // SAFETY: a register that the FADT names for this use.
        Register::Io(port) => unsafe { outb(port, value) },
        Register::Memory(address) => {
            if let Ok(mapped) = ioremap(PhysAddr::new(address), 1, Cache::Uncached) {
                // SAFETY: mapped just now; a register that the FADT names for this use.
                unsafe { (mapped.as_usize() as *mut u8).write_volatile(value) };
            }
        }
        Register::Pci(address) => write_pci_config(address, value),
    }
}

/// A byte of PCI configuration space on bus 0: device, function and offset as ACPI packs them.
fn write_pci_config(address: u64, value: u8) {
    let (device, function) = (address >> 32 & 0x1f, address >> 16 & 7);
    let offset = (address & 0xff) as u32;
    let select = 1 << 31 | (device as u32) << 11 | (function as u32) << 8 | offset & !3;
    // SAFETY: selects a configuration register.
    unsafe { outl(0xcf8, select) };
    // SAFETY: the FADT's reset register.
    unsafe { outb(0xcfc + (offset & 3) as u16, value) };
}

/// Restarts: every way there is, one after the other (Linux: `native_machine_emergency_restart`).
pub fn machine_restart() -> ! {
    local_irq_disable();
    pr_notice!("reboot: machine restart");
    io_apic::disable(); // the firmware must not see our interrupts
    rtc::cmos_write(0x0f, 0); // shutdown status: a normal boot
    // SAFETY: the BIOS data area says "cold boot" there; nobody else uses the word.
    unsafe {
        (crate::arch::phys_to_virt(PhysAddr::new(0x472)).as_usize() as *mut u16).write_volatile(0);
    };
    let methods: [(u8, fn()); 4] = [
        (b'a', acpi_reset),
        (b'k', keyboard_reset),
        (b'p', pci_reset),
        (b't', triple_fault),
    ];
    let first = REBOOT_TYPE.load(Ordering::Relaxed);
    let preferred = methods.iter().filter(|(letter, _)| *letter == first);
    for (_, method) in preferred.chain(methods.iter()) {
        method();
    }
    machine_halt()
}

fn acpi_reset() {
    if let Some((register, value)) = acpi().fadt.and_then(|fadt| fadt.reset) {
        write_register(register, value);
        mdelay(15);
    }
}

/// The keyboard controller's output line is the CPU's reset line.
fn keyboard_reset() {
    if acpi().fadt.is_some_and(|fadt| !fadt.has_8042) {
        return;
    }
    for _ in 0..10 {
        // SAFETY: reads the status.
        let ready = (0..65_536).any(|_| unsafe { inb(KBD_STATUS) } & KBD_INPUT_FULL == 0);
        if !ready {
            return;
        }
        // SAFETY: pulses the reset line.
        unsafe { outb(KBD_STATUS, KBD_RESET) };
        mdelay(1);
    }
}

/// Port 0xcf9 of PCI chip sets: hard reset.
fn pci_reset() {
    // SAFETY: reads the reset control register.
    let keep = unsafe { inb(PCI_RESET) } & !6;
    // SAFETY: a hard reset is wanted.
    unsafe { outb(PCI_RESET, keep | 2) };
    io_delay();
    // SAFETY: triggers it.
    unsafe { outb(PCI_RESET, keep | 6) };
    mdelay(1);
}

fn triple_fault() {
    idt::idt_invalidate();
    // SAFETY: without an IDT the exception resets the CPU.
    unsafe { asm!("int3", options(nomem, nostack)) };
}

/// Ends QEMU through its exit device (isa-debug-exit), when that is there.
pub fn qemu_exit(code: u32) {
    // SAFETY: port 0xf4 is QEMU's exit device or nothing.
    unsafe { outl(QEMU_EXIT_PORT, code) };
}
