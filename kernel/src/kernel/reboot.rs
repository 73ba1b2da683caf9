//! reboot(2) and the way down (Linux: kernel/reboot.c).
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use uapi::reboot::*;
use uapi::signal::SIGINT;

use crate::arch;
use crate::init::main::{SystemState, set_system_state};
use crate::kernel::pid;
use crate::kernel::sched::current;
use crate::kernel::signal::send_sig;
use crate::kernel::sysctl::{CtlTable, parse_number, register_sysctl};
use crate::kernel::workqueue::{Work, schedule_work};
use crate::mm::UserAddr;
use crate::mm::uaccess::strncpy_from_user;
use crate::prelude::*;

const CAP_SYS_BOOT: u32 = 22;

/// Ctrl-Alt-Del restarts at once (true) or sends SIGINT to `cad_pid`.
static C_A_D: AtomicBool = AtomicBool::new(true);
/// Who gets that signal (/proc/sys/kernel/cad_pid).
pub static CAD_PID: AtomicI32 = AtomicI32::new(1);

/// reboot(2). Errors: EPERM, EINVAL, EFAULT.
pub fn sys_reboot(magic1: u32, magic2: u32, command: u32, arg: UserAddr) -> Result {
    if !current().cred().has_cap(CAP_SYS_BOOT) {
        return Err(Errno::EPERM);
    }
    let magics = [
        LINUX_REBOOT_MAGIC2,
        LINUX_REBOOT_MAGIC2A,
        LINUX_REBOOT_MAGIC2B,
        LINUX_REBOOT_MAGIC2C,
    ];
    if magic1 != LINUX_REBOOT_MAGIC1 || !magics.contains(&magic2) {
        return Err(Errno::EINVAL);
    }
    // A machine that cannot switch itself off is halted instead.
    let command = match command {
        LINUX_REBOOT_CMD_POWER_OFF if !arch::can_power_off() => LINUX_REBOOT_CMD_HALT,
        other => other,
    };
    match command {
        LINUX_REBOOT_CMD_RESTART => kernel_restart(None),
        LINUX_REBOOT_CMD_RESTART2 => {
            let text = strncpy_from_user(arg, 255)?;
            kernel_restart(Some(&String::from_utf8_lossy(&text)))
        }
        LINUX_REBOOT_CMD_HALT => kernel_halt(),
        LINUX_REBOOT_CMD_POWER_OFF => kernel_power_off(),
        LINUX_REBOOT_CMD_CAD_ON => C_A_D.store(true, Ordering::Relaxed),
        LINUX_REBOOT_CMD_CAD_OFF => C_A_D.store(false, Ordering::Relaxed),
        _ => return Err(Errno::EINVAL),
    }
    Ok(())
}

/// Restarts the machine. Process context.
pub fn kernel_restart(command: Option<&str>) -> ! {
    set_system_state(SystemState::Restart);
    match command {
        None => pr_emerg!("reboot: Restarting system"),
        Some(command) => pr_emerg!("reboot: Restarting system with command '{command}'"),
    }
    arch::machine_restart()
}

/// Stops the machine with the power on.
pub fn kernel_halt() -> ! {
    set_system_state(SystemState::Halt);
    pr_emerg!("reboot: System halted");
    arch::machine_halt()
}

/// Switches the machine off.
pub fn kernel_power_off() -> ! {
    set_system_state(SystemState::PowerOff);
    arch::power_off_prepare(); // tells the firmware while the log is still written
    pr_emerg!("reboot: Power down");
    arch::machine_power_off()
}

/// Restarts outside of the interrupt that asked for it (Linux: `deferred_cad`).
static CAD_WORK: spin::LazyLock<Arc<Work>> =
    spin::LazyLock::new(|| Work::new(|| kernel_restart(None)));

/// The keyboard driver saw Ctrl-Alt-Del. Any context.
pub fn ctrl_alt_del() {
    if C_A_D.load(Ordering::Relaxed) {
        schedule_work(&CAD_WORK);
        return;
    }
    if let Some(task) = pid::find_task(CAD_PID.load(Ordering::Relaxed)) {
        let _ = send_sig(SIGINT, &task);
    }
}

static REBOOT_TABLE: &[CtlTable] = &[CtlTable {
    path: "kernel/ctrl-alt-del",
    get: || format!("{}", u8::from(C_A_D.load(Ordering::Relaxed))),
    set: Some(|text| {
        C_A_D.store(
            parse_number(text, i32::MIN, i32::MAX)? != 0,
            Ordering::Relaxed,
        );
        Ok(())
    }),
}];

#[__init]
fn reboot_sysctl_init() -> Result {
    register_sysctl(REBOOT_TABLE);
    Ok(())
}
fs_initcall!(reboot_sysctl_init);
