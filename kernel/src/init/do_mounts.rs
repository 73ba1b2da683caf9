//! The root file system when the initramfs has no /init (Linux: init/do_mounts.c).
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU64, Ordering};

use crate::kpanic;
use crate::prelude::*;

/// `root=`, as it was written.
static SAVED_ROOT_NAME: SpinLock<String> = SpinLock::new(String::new());
/// `rootdelay=`, seconds.
static ROOT_DELAY: AtomicU64 = AtomicU64::new(0);

fn root_dev_setup(value: &str) -> Result {
    *SAVED_ROOT_NAME.lock() = String::from(value);
    Ok(())
}
__setup!("root=", root_dev_setup);

fn root_delay_setup(value: &str) -> Result {
    ROOT_DELAY.store(value.parse().map_err(|_| Errno::EINVAL)?, Ordering::Relaxed);
    Ok(())
}
__setup!("rootdelay=", root_delay_setup);

fn accept(_value: &str) -> Result {
    Ok(())
}
// They choose how a block device is mounted; there is no block layer yet to use them.
__setup!("ro", accept);
__setup!("rw", accept);
__setup!("rootfstype=", accept);
__setup!("rootflags=", accept);
__setup!("rootwait", accept);

/// Waits if asked to, then mounts the root device: there is no block driver yet, so this ends in
/// Linux's panic for a root device that does not exist (Linux: `prepare_namespace`).
#[__init]
pub fn prepare_namespace() {
    let delay = ROOT_DELAY.load(Ordering::Relaxed);
    if delay > 0 {
        pr_info!("Waiting {delay} sec before mounting root device...");
        let end = crate::kernel::time::ktime_get() + delay * 1_000_000_000;
        let _ = crate::kernel::time::sleep_until_interruptible(Some(end));
    }
    mount_root();
}

#[__init]
fn mount_root() {
    let name = SAVED_ROOT_NAME.lock().clone();
    if !name.is_empty() {
        pr_err!("VFS: Cannot open root device \"{name}\" or unknown-block(0,0): error -6");
        pr_err!(
            "Please append a correct \"root=\" boot option; here are the available partitions:"
        );
    }
    kpanic!("VFS: Unable to mount root fs on unknown-block(0,0)");
}
