//! The tables between the linker script's symbols (Linux: include/linux/init.h).

use crate::init::initcall::Initcall;
use crate::init::params::ObsKernelParam;

macro_rules! symbols {
    ($($name:ident)*) => { unsafe extern "C" { $(safe static $name: u8;)* } };
}
symbols! {
    __initcall_start __initcall0_start __initcall1_start __initcall2_start __initcall3_start
    __initcall4_start __initcall5_start __initcall6_start __initcall7_start __initcall_end
    __con_initcall_start __con_initcall_end __setup_start __setup_end
}

/// The entries between two symbols.
///
/// # Safety
/// Both must bound a section that holds nothing but values of `T`.
unsafe fn table<T>(start: &'static u8, end: &'static u8) -> &'static [T] {
    let (start, end) = (&raw const *start, &raw const *end);
    let len = (end as usize - start as usize) / size_of::<T>();
    // SAFETY: the linker placed whole, aligned entries there, and nobody writes to them.
    unsafe { core::slice::from_raw_parts(start.cast(), len) }
}

/// The calls before the other CPUs start.
pub fn initcalls_early() -> &'static [Initcall] {
    // SAFETY: the section holds what `early_initcall!` puts there.
    unsafe { table(&__initcall_start, &__initcall0_start) }
}

/// Levels 0 to 7.
pub fn initcall_levels() -> [&'static [Initcall]; 8] {
    let bounds = [
        &__initcall0_start,
        &__initcall1_start,
        &__initcall2_start,
        &__initcall3_start,
        &__initcall4_start,
        &__initcall5_start,
        &__initcall6_start,
        &__initcall7_start,
        &__initcall_end,
    ];
    // SAFETY: the sections hold what the initcall macros put there.
    core::array::from_fn(|level| unsafe { table(bounds[level], bounds[level + 1]) })
}

/// The console drivers' calls.
pub fn con_initcalls() -> &'static [Initcall] {
    // SAFETY: the section holds what `console_initcall!` puts there.
    unsafe { table(&__con_initcall_start, &__con_initcall_end) }
}

/// Boot parameters.
pub fn setup_params() -> &'static [ObsKernelParam] {
    // SAFETY: the section holds what `early_param!` and `__setup!` put there.
    unsafe { table(&__setup_start, &__setup_end) }
}

/// Constructors: Rust code has none, and nothing else is linked in.
pub fn constructors() -> &'static [fn()] {
    &[]
}
