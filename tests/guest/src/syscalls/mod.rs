//! Checks of the system calls, a file for a group of calls.

mod attributes;
mod clocks;
mod descriptors;
mod files;
mod memory;
mod numbers;
mod pipes;
mod pointers;
mod process;
mod rseq;
mod signals;
mod terminal;
mod threads;
mod timers;

use crate::check::Check;

/// The groups by name.
pub const GROUPS: &[(&str, &[Check])] = &[
    ("numbers", numbers::CHECKS),
    ("pointers", pointers::CHECKS),
    ("descriptors", descriptors::CHECKS),
    ("files", files::CHECKS),
    ("attributes", attributes::CHECKS),
    ("signals", signals::CHECKS),
    ("process", process::CHECKS),
    ("memory", memory::CHECKS),
    ("pipes", pipes::CHECKS),
    ("clocks", clocks::CHECKS),
    ("timers", timers::CHECKS),
    ("threads", threads::CHECKS),
    ("rseq", rseq::CHECKS),
    ("terminal", terminal::CHECKS),
];
