//! What the first process has to do for the others.

use crate::raw::{call, fork, wait_with};

/// Whether this is the first process.
pub fn is_pid_1() -> bool {
    std::process::id() == 1
}

/// Mounts what the checks use.
pub fn prepare() {
    for (kind, target) in [
        (c"proc", c"/proc"),
        (c"devtmpfs", c"/dev"),
        (c"tmpfs", c"/tmp"),
    ] {
        let _ = call!(SYS_mkdir, target, 0o755);
        if let Err(error) = call!(SYS_mount, kind, target, kind, 0, 0) {
            println!("cannot mount {}: {error:?}", target.to_string_lossy());
        }
    }
}

/// Does `work` in a child, as Linux has exceptions for the children of the first process, and ends the machine.
pub fn run_in_child(work: impl FnOnce()) -> ! {
    prepare();
    let child = fork(|| {
        work();
        0
    });
    // Orphans come here too.
    while wait_with(-1, 0).is_ok_and(|(pid, _)| pid != child) {}
    power_off()
}

/// Ends the machine.
pub fn power_off() -> ! {
    reboot(libc::LINUX_REBOOT_CMD_POWER_OFF)
}

/// Starts it again.
pub fn restart() -> ! {
    reboot(libc::LINUX_REBOOT_CMD_RESTART)
}

fn reboot(command: i32) -> ! {
    let result = call!(
        SYS_reboot,
        libc::LINUX_REBOOT_MAGIC1,
        libc::LINUX_REBOOT_MAGIC2,
        command.cast_unsigned(),
        0
    );
    panic!("reboot: {result:?}");
}
