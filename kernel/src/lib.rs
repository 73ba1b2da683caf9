//! Kindling: a kernel that boots the way Linux boots, step by step, under Linux's names.
//!
//! The modules stand in the order in which data flows through them: the machine hands over in
//! [`arch`], [`init`] walks the boot path, [`mm`] and [`mod@kernel`] provide memory and tasks,
//! [`fs`] files, [`drivers`] devices; [`lib`] holds pure code that knows no kernel state.
#![cfg_attr(target_os = "none", no_std)]
#![cfg_attr(
    target_os = "none",
    feature(allow_internal_unsafe, alloc_error_handler)
)]
#![cfg_attr(
    target_os = "none",
    expect(internal_features, reason = "section macros vouch for link_section")
)]

extern crate alloc;

pub mod arch;
#[macro_use]
pub mod kernel;
pub mod drivers;
pub mod fs;
pub mod init;
// A crate root named lib.rs hides a directory named lib, so the path is spelt out.
#[path = "lib/mod.rs"]
pub mod lib;
pub mod mm;
pub mod net;

pub mod prelude;
