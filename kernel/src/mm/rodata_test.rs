//! Proof that constants are read-only (Linux: mm/rodata_test.c).

use crate::mm::VirtAddr;
use crate::prelude::*;

const VALUE: u32 = 0xc3;
static TEST_DATA: u32 = VALUE;

/// Reads the constant, tries to write it, reads it again. The write must fault.
pub fn rodata_test() {
    let place = VirtAddr::new(&raw const TEST_DATA as u64);
    let read = || {
        // SAFETY: reads a static; volatile, so that the compiler does not assume its value.
        unsafe { (&raw const TEST_DATA).read_volatile() }
    };
    if read() != VALUE {
        pr_err!("rodata_test: test 1 fails (start data)");
        return;
    }
    if crate::arch::try_kernel_write(place, 0) {
        pr_err!("rodata_test: test data was not read only");
        return;
    }
    if read() != VALUE {
        pr_err!("rodata_test: test data was changed");
        return;
    }
    pr_info!("rodata_test: all tests were successful");
}
