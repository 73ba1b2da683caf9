//! Faults of the kernel on request, so that their reports are seen to be right; test images carry
//! this (Linux: drivers/misc/lkdtm). `provoke=WHAT` runs one in a kernel thread of its own.

use core::arch::asm;
use core::hint::black_box;

use crate::arch::x86::kernel::sections;
use crate::kernel::kthread::kthread_run;
use crate::kernel::preempt::preempt_disable;
use crate::kernel::sched::schedule;
use crate::prelude::*;

static WANTED: SpinLock<Option<String>> = SpinLock::new(None);

#[__init]
fn provoke_setup(what: &str) -> Result {
    *WANTED.lock() = Some(String::from(what));
    Ok(())
}
crate::__setup!("provoke=", provoke_setup);

/// Not canonical: bits 47 to 63 differ.
const NON_CANONICAL: u64 = 0x1234_5678_9abc_def0;

fn write_to(address: u64) {
    // SAFETY: the write is meant to fault; nothing else happens when it does not.
    unsafe { asm!("movb $1, ({})", in(reg) address, options(att_syntax, nostack)) };
}

#[inline(never)]
fn provoke_null() {
    write_to(16);
}

#[inline(never)]
fn provoke_text() {
    write_to(sections::text_start().as_u64());
}

#[inline(never)]
fn provoke_wild() {
    write_to(NON_CANONICAL);
}

#[inline(never)]
fn provoke_opcode() {
    // SAFETY: meant to fault.
    unsafe { asm!("ud2", options(nostack)) };
}

#[inline(never)]
fn provoke_execution_of_data() {
    let code = Box::new([0xc3_u8; 16]);
    let address = black_box(&*code).as_ptr();
    // SAFETY: meant to fault; the bytes are a return instruction.
    unsafe { asm!("call {}", in(reg) address, clobber_abi("C")) };
}

#[inline(never)]
fn provoke_stack(depth: u64) -> u64 {
    if depth == u64::MAX {
        return 0;
    }
    let room = black_box([depth; 64]);
    provoke_stack(depth + 1) + room[black_box(3)]
}

#[inline(never)]
fn provoke_sleep_in_atomic() {
    let _guard = preempt_disable();
    schedule();
}

#[inline(never)]
fn provoke_warning() {
    crate::warn_on!(black_box(true));
}

fn run(what: &str) {
    match what {
        "null" => provoke_null(),
        "text" => provoke_text(),
        "wild" => provoke_wild(),
        "opcode" => provoke_opcode(),
        "execution" => provoke_execution_of_data(),
        "stack" => drop(black_box(provoke_stack(0))),
        "atomic" => provoke_sleep_in_atomic(),
        "warning" => provoke_warning(),
        _ => pr_err!("provoke: {what} is not known"),
    }
}

#[__init]
fn provoke_init() -> Result {
    let Some(what) = WANTED.lock().take() else {
        return Ok(());
    };
    kthread_run("provoke", move || {
        run(&what);
        pr_info!("provoke: {what} is over");
        0
    })?;
    Ok(())
}
crate::late_initcall!(provoke_init);
