//! Where the command line comes from.

use core::arch::x86_64::__cpuid;

use super::fw_cfg;
use super::params::BootParams;

/// The command line when nobody gives one.
const DEFAULT: &str = "console=tty0 console=ttyS0";

/// Takes the first that is not empty: the loader's own (PVH), QEMU's `opt/kindling/cmdline`, the
/// default. A bootconfig at the end of the initramfs replaces the default (`setup_command_line`).
pub fn choose_command_line(params: &mut BootParams) {
    let line = &mut params.command_line;
    if line.as_str().is_empty() && on_hypervisor() {
        fw_cfg::read_command_line(line);
    }
    if line.as_str().is_empty() {
        line.set_default(DEFAULT);
    }
}

/// Whether CPUID says that this is a virtual machine; the feature words are not there yet.
fn on_hypervisor() -> bool {
    __cpuid(1).ecx >> 31 != 0
}
