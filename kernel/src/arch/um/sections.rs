//! Tables that the linker makes on bare metal; the test port has none.

use crate::init::initcall::Initcall;
use crate::init::params::ObsKernelParam;

/// No entries.
pub fn initcalls_early() -> &'static [Initcall] {
    &[]
}
/// Eight empty levels.
pub fn initcall_levels() -> [&'static [Initcall]; 8] {
    [&[]; 8]
}
/// No entries.
pub fn con_initcalls() -> &'static [Initcall] {
    &[]
}
/// No entries.
pub fn setup_params() -> &'static [ObsKernelParam] {
    &[]
}
/// No entries.
pub fn constructors() -> &'static [fn()] {
    &[]
}
