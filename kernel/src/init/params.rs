//! Tables of boot parameters (Linux: include/linux/init.h, `struct obs_kernel_param`).

use crate::prelude::*;

/// One `early_param` or `__setup` entry.
pub struct ObsKernelParam {
    /// Name; a `__setup` name may end in `=`.
    pub name: &'static str,
    /// Gets the text after the name (and `=`), empty when there is none.
    pub setup: fn(&str) -> Result,
    /// Called by `parse_early_param` rather than with the other options.
    pub early: bool,
}

/// Puts a parameter into `.init.setup`; the base of `early_param!` and `__setup!`.
#[macro_export]
#[cfg_attr(target_os = "none", allow_internal_unsafe)]
macro_rules! define_setup {
    ($name:literal, $function:path, $early:literal) => {
        const _: () = {
            #[used]
            #[cfg_attr(target_os = "none", unsafe(link_section = ".init.setup"))]
            static PARAM: $crate::init::params::ObsKernelParam =
                $crate::init::params::ObsKernelParam {
                    name: $name,
                    setup: $function,
                    early: $early,
                };
        };
    };
}
/// A parameter that takes effect before memory management: `fn(&str) -> Result`.
#[macro_export]
macro_rules! early_param {
    ($name:literal, $function:path) => {
        $crate::define_setup!($name, $function, true);
    };
}
/// A parameter that is parsed with the rest of the command line.
#[macro_export]
macro_rules! __setup {
    ($name:literal, $function:path) => {
        $crate::define_setup!($name, $function, false);
    };
}
