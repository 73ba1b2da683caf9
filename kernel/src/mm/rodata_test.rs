//! Whether constants really cannot be written (Linux: mm/rodata_test.c).

use crate::arch;
use crate::mm::VirtAddr;
use crate::prelude::*;

const VALUE: u8 = 0xc3;
/// Lies with the constants: nothing in it can change.
#[used]
static RODATA_TEST_DATA: u8 = VALUE;

fn read() -> u8 {
    let data = &raw const RODATA_TEST_DATA;
    // SAFETY: a static; volatile, because the compiler knows the value that is to be checked.
    unsafe { data.read_volatile() }
}

/// Tries to change a constant and tells the result. After `mark_rodata_ro`.
pub fn rodata_test() -> bool {
    let result = check();
    match result {
        Ok(()) => pr_info!("rodata_test: all tests were successful"),
        Err(complaint) => pr_err!("rodata_test: {complaint}"),
    }
    result.is_ok()
}

fn check() -> Result<(), &'static str> {
    if read() != VALUE {
        return Err("test 1 fails (start data)");
    }
    let addr = VirtAddr::new(&raw const RODATA_TEST_DATA as u64);
    // SAFETY: nothing but this test looks at the byte.
    if unsafe { arch::probe_kernel_write(addr, 0) } {
        return Err("test data was not read only");
    }
    if read() != VALUE {
        return Err("test data was changed");
    }
    if !arch::rodata_start().is_page_aligned() {
        return Err("start of .rodata is not page size aligned");
    }
    if !arch::rodata_end().is_page_aligned() {
        return Err("end of .rodata is not page size aligned");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_constant_that_cannot_be_written_passes() {
        assert!(super::rodata_test());
    }
}
