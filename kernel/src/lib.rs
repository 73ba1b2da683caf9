//! Kindling's kernel.
#![cfg_attr(target_os = "none", no_std)]
#![cfg_attr(target_os = "none", feature(allow_internal_unsafe))]

#[cfg(target_os = "none")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! { loop {} }

#[macro_export]
#[cfg_attr(target_os = "none", allow_internal_unsafe)]
macro_rules! initc {
    ($f:path) => {
        const _: () = {
            #[used]
            #[cfg_attr(target_os = "none", unsafe(link_section = ".initcall6.init"))]
            static INITCALL: fn() -> i32 = $f;
        };
    };
}
pub mod a {
    #![forbid(unsafe_code)]
    fn foo() -> i32 { 3 }
    crate::initc!(foo);
}
#[cfg(target_os = "none")]
#[unsafe(no_mangle)]
pub extern "C" fn _start() -> ! { loop {} }
