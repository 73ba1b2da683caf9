//! Which address a general protection fault of the kernel was about (Linux: traps.c,
//! `get_kernel_gp_address`).

use core::fmt;

use crate::arch::x86::asm::page::TASK_SIZE;
use crate::arch::x86::asm::ptrace::PtRegs;
use crate::arch::x86::mm::maccess::copy_from_kernel_nofault;

/// The text of the oops header.
pub struct Description {
    error_code: u64,
    address: Option<u64>,
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.error_code != 0 {
            return f.write_str("segment-related general protection fault");
        }
        f.write_str("general protection fault")?;
        match self.address {
            Some(addr) if is_canonical(addr) => write!(f, ", maybe for address 0x{addr:x}"),
            Some(addr) => write!(f, ", probably for non-canonical address 0x{addr:x}"),
            None => Ok(()),
        }
    }
}

fn is_canonical(addr: u64) -> bool {
    !(TASK_SIZE..0xffff_8000_0000_0000).contains(&addr)
}

/// Looks at the instruction that faulted.
pub fn describe(regs: &PtRegs, error_code: u64) -> Description {
    let mut code = [0; 15];
    let address = if copy_from_kernel_nofault(&mut code, regs.rip) {
        memory_operand(&code, regs)
    } else {
        None
    };
    Description {
        error_code,
        address,
    }
}

fn register(regs: &PtRegs, index: u8) -> u64 {
    match index {
        0 => regs.rax,
        1 => regs.rcx,
        2 => regs.rdx,
        3 => regs.rbx,
        4 => regs.rsp,
        5 => regs.rbp,
        6 => regs.rsi,
        7 => regs.rdi,
        8 => regs.r8,
        9 => regs.r9,
        10 => regs.r10,
        11 => regs.r11,
        12 => regs.r12,
        13 => regs.r13,
        14 => regs.r14,
        _ => regs.r15,
    }
}

/// Address of the memory operand, for instructions with a ModRM byte that names memory.
fn memory_operand(code: &[u8; 15], regs: &PtRegs) -> Option<u64> {
    let mut bytes = code.iter().copied();
    let mut rex = 0;
    let opcode = loop {
        match bytes.next()? {
            0x66 | 0xf0 | 0xf2 | 0xf3 | 0x2e | 0x3e | 0x36 | 0x26 => {}
            byte @ 0x40..=0x4f => rex = byte,
            byte => break byte,
        }
    };
    let has_modrm = match opcode {
        0x0f => matches!(bytes.next()?, 0x10..=0x2f | 0x40..=0x7f | 0x90..=0x9f | 0xa3..=0xc7),
        0x00..=0x3f => opcode & 7 < 4,
        0x63 | 0x69 | 0x6b | 0x80..=0x8f | 0xc0 | 0xc1 | 0xc6 | 0xc7 => true,
        0xd0..=0xd3 | 0xf6 | 0xf7 | 0xfe | 0xff => true,
        _ => false,
    };
    if !has_modrm {
        return None;
    }
    let modrm = bytes.next()?;
    let (mode, rm) = (modrm >> 6, modrm & 7);
    if mode == 3 {
        return None;
    }
    let mut address = 0u64;
    let mut base_is_disp32 = mode == 0 && rm == 5;
    if rm == 4 {
        let sib = bytes.next()?;
        let (scale, index, base) = (sib >> 6, sib >> 3 & 7 | (rex & 2) << 2, sib & 7);
        if index != 4 {
            address = register(regs, index) << scale;
        }
        if mode == 0 && base == 5 {
            base_is_disp32 = true;
        } else {
            address = address.wrapping_add(register(regs, base | (rex & 1) << 3));
        }
    } else if base_is_disp32 {
        return None; // relative to the instruction pointer: always canonical
    } else {
        address = register(regs, rm | (rex & 1) << 3);
    }
    let displacement = match mode {
        1 => i64::from(bytes.next()? as i8),
        _ if mode == 2 || base_is_disp32 => {
            let raw = [bytes.next()?, bytes.next()?, bytes.next()?, bytes.next()?];
            i64::from(i32::from_le_bytes(raw))
        }
        _ => 0,
    };
    Some(address.wrapping_add_signed(displacement))
}
