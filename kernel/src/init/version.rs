//! The banner (Linux: init/version.c).
#![forbid(unsafe_code)]

use crate::prelude::*;

/// What uname(2) calls the release: the Linux version whose behaviour this kernel follows, with
/// the project's own version behind it.
pub const RELEASE: &str = concat!("6.8.0-kindling-", env!("CARGO_PKG_VERSION"));
/// Build number.
pub const BUILD: &str = "1";

/// `#1 SMP PREEMPT` and the build's time stamp, when the build set one.
pub fn version() -> String {
    match option_env!("KINDLING_BUILD_TIMESTAMP") {
        Some(stamp) => format!("#{BUILD} SMP PREEMPT {stamp}"),
        None => format!("#{BUILD} SMP PREEMPT"),
    }
}

/// `Linux version <release> (<user>@<host>) (<compiler>, <linker>) #<n> SMP ...`
pub fn linux_banner() -> String {
    let compiler = option_env!("KINDLING_RUSTC_VERSION").unwrap_or("rustc");
    format!(
        "Linux version {RELEASE} (kindling@kindling) ({compiler}, LLD) {}",
        version()
    )
}
