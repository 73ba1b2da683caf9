//! What this CPU is and can do (Linux: arch/x86/kernel/cpu/).

mod bug_bits;
mod bugs;
mod capflags;
pub mod common;
mod proc;
mod vulnerable_models;

pub use bugs::check_bugs;
pub use capflags::Feature;
pub use common::{
    CpuInfo, boot_cpu, boot_cpu_has, cpu_init_features, print_cpu_info, set_cpu_khz,
    set_loops_per_jiffy,
};
