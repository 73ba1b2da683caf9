//! The system call numbers themselves.

use crate::check::{Check, Outcome, fails, same, table};
use crate::raw::{Errno, call, decode, system_call};

pub const CHECKS: &[Check] = table![
    unknown_numbers_give_enosys,
    retired_calls_give_enosys,
    only_the_lower_half_of_the_number_counts,
    a_call_keeps_all_registers_but_three,
    the_old_gate_answers_too,
];

fn unknown_numbers_give_enosys() -> Outcome {
    let gaps = (340..=423).chain(500..=511).chain(548..=1100);
    let far = [
        1 << 16,
        1 << 20,
        0x3fff_ffff,
        0x7fff_ffff,
        -1,
        -2,
        -1000,
        i64::from(i32::MIN),
    ];
    // Numbers of the x32 interface, which is another one.
    let x32 = [0x4000_0000, 0x4000_0027, 0x4000_0200, 0x4000_ffff];
    for number in gaps.chain(far).chain(x32) {
        let result = system_call(number, &[0; 6]);
        if result != Err(Errno(libc::ENOSYS)) {
            return Err(format!("number {number} gives {result:?}"));
        }
    }
    Ok(())
}

fn retired_calls_give_enosys() -> Outcome {
    // create_module, get_kernel_syms, query_module, nfsservctl, getpmsg, putpmsg, afs_syscall, tuxcall, security,
    // epoll_ctl_old, epoll_wait_old, vserver
    for number in [174, 177, 178, 180, 181, 182, 183, 184, 185, 214, 215, 236] {
        let result = system_call(number, &[0; 6]);
        if result != Err(Errno(libc::ENOSYS)) {
            return Err(format!("number {number} gives {result:?}"));
        }
    }
    Ok(())
}

fn only_the_lower_half_of_the_number_counts() -> Outcome {
    let pid = call!(SYS_getpid);
    same!(system_call(0x5_0000_0000 + libc::SYS_getpid, &[]), pid);
    Ok(())
}

fn a_call_keeps_all_registers_but_three() -> Outcome {
    let mut kept = [0_u64; 8];
    // SAFETY: the call reads nothing and writes nothing; every register used is declared, rbx is put back.
    unsafe {
        std::arch::asm!(
            "mov r12, 0x1212",
            "mov r13, 0x1313",
            "mov r14, 0x1414",
            "mov r15, 0x1515",
            "mov eax, 39",
            "mov edi, 0x11",
            "mov esi, 0x22",
            "mov edx, 0x33",
            "mov r10d, 0x44",
            "mov r8d, 0x55",
            "syscall",
            "mov [r9], rdi",
            "mov [r9 + 8], rsi",
            "mov [r9 + 16], rdx",
            "mov [r9 + 24], r10",
            "mov [r9 + 32], r8",
            "mov [r9 + 40], r12",
            "mov [r9 + 48], r13",
            "xor r14, r15",
            "mov [r9 + 56], r14",
            in("r9") kept.as_mut_ptr(),
            out("rax") _, out("rcx") _, out("r11") _, out("rdi") _, out("rsi") _, out("rdx") _,
            out("r10") _, out("r8") _, out("r12") _, out("r13") _, out("r14") _, out("r15") _,
        );
    }
    same!(
        kept,
        [
            0x11,
            0x22,
            0x33,
            0x44,
            0x55,
            0x1212,
            0x1313,
            0x1414 ^ 0x1515
        ]
    );
    Ok(())
}

/// `int 0x80` with a number of the 32-bit interface.
fn gate(number: isize) -> Result<usize, Errno> {
    let result: isize;
    // SAFETY: the numbers that are tried take no arguments.
    unsafe {
        std::arch::asm!(
            "int 0x80",
            inlateout("rax") number => result,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    decode(result as i32 as isize)
}

fn the_old_gate_answers_too() -> Outcome {
    fails!(gate(100_000), ENOSYS);
    // getpid: the 32-bit interface is either served or refused, but never confused with the 64-bit one (writev).
    match gate(20) {
        Err(Errno(libc::ENOSYS)) => {}
        served => same!(served, call!(SYS_getpid)),
    }
    Ok(())
}
