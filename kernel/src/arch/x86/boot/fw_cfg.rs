//! QEMU's configuration device, for the command line (QEMU: docs/specs/fw_cfg.rst).

use super::params::CommandLine;
use crate::arch::x86::asm::io::{inb, outw};
use crate::prelude::*;

const SELECTOR: u16 = 0x510;
const DATA: u16 = 0x511;
const FW_CFG_SIGNATURE: u16 = 0;
const FW_CFG_FILE_DIR: u16 = 0x19;
/// More entries than any machine has: bounds the search in case the device is not what it says.
const MAX_ENTRIES: u32 = 1024;
/// The item with the command line.
const CMDLINE: &[u8] = b"opt/kindling/cmdline";

fn select(key: u16) {
    // SAFETY: on a virtual machine (checked by the caller) the port is this device or nothing.
    unsafe { outw(SELECTOR, key) };
}

fn read<const N: usize>() -> [u8; N] {
    // SAFETY: as in `select`; reading advances the device's offset only.
    core::array::from_fn(|_| unsafe { inb(DATA) })
}

/// Looks for the command line. Only for virtual machines: elsewhere the ports may be anything.
#[__init]
pub fn read_command_line(line: &mut CommandLine) {
    select(FW_CFG_SIGNATURE);
    if &read::<4>() != b"QEMU" {
        return;
    }
    select(FW_CFG_FILE_DIR);
    let count = u32::from_be_bytes(read()).min(MAX_ENTRIES);
    for _ in 0..count {
        let (size, key) = (u32::from_be_bytes(read()), u16::from_be_bytes(read()));
        let [_, _] = read::<2>();
        let name = read::<56>();
        let len = name.iter().position(|&b| b == 0).unwrap_or(name.len());
        if &name[..len] == CMDLINE {
            select(key);
            for _ in 0..size {
                let [byte] = read::<1>();
                if byte == 0 || !line.push(byte) {
                    break;
                }
            }
            return;
        }
    }
}
