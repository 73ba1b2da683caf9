//! Each trap that a program can raise: the signal, its code and address in a handler, and its end without one.

use std::arch::asm;
use std::fs;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};

use crate::check::{Check, Outcome, holds, same, table, works};
use crate::raw::{
    Status, call, fork, in_child, map, on_signal, peek, pipe, poke, set_disposition, wait,
};

pub const CHECKS: &[Check] = table![
    division_by_zero,
    a_quotient_that_is_too_large,
    a_single_step,
    a_breakpoint,
    the_overflow_interrupt,
    an_undefined_instruction,
    privileged_instructions,
    other_interrupts,
    an_address_that_is_not_canonical,
    a_jump_to_an_address_that_is_not_canonical,
    a_read_where_nothing_is_mapped,
    a_write_where_nothing_is_mapped,
    a_write_to_read_only_memory,
    a_read_of_memory_without_rights,
    execution_of_data,
    an_address_of_the_kernel,
    a_mapping_beyond_the_end_of_its_file,
    an_x87_division_by_zero,
    an_sse_division_by_zero,
    an_unaligned_access_under_the_alignment_check,
    a_handler_repairs_the_fault_and_the_access_is_repeated,
    a_handler_steps_over_the_instruction,
    a_blocked_or_ignored_fault_kills,
    a_fault_on_a_full_stack_is_handled_on_the_other,
    a_fault_without_a_stack_kills,
];

/// Those whose line in the log is looked at; more would be too many for the log at a time.
pub const LOGGED: &[Check] = table![
    division_by_zero,
    an_undefined_instruction,
    an_address_that_is_not_canonical,
    a_read_where_nothing_is_mapped,
    a_write_where_nothing_is_mapped,
];

/// What a handler sees, as it goes through the pipe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
struct Seen {
    signal: i32,
    code: i32,
    address: usize,
    instruction: usize,
    trap: u64,
    error: u64,
}

static REPORT_TO: AtomicI32 = AtomicI32::new(-1);

extern "C" fn tell(signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel passes both for as long as the handler runs; the address is a field of every fault's signal.
    let (code, address, registers) = unsafe {
        let context = context.cast::<libc::ucontext_t>();
        (
            (*info).si_code,
            (*info).si_addr().expose_provenance(),
            (*context).uc_mcontext.gregs,
        )
    };
    let register = |index: i32| registers[index.cast_unsigned() as usize].cast_unsigned();
    let seen = Seen {
        signal,
        code,
        address,
        instruction: usize::try_from(register(libc::REG_RIP)).unwrap_or(0),
        trap: register(libc::REG_TRAPNO),
        error: register(libc::REG_ERR),
    };
    let length = size_of::<Seen>();
    let _ = call!(SYS_write, REPORT_TO.load(Ordering::Relaxed), &seen, length);
    let _ = call!(SYS_exit_group, 0);
}

/// Runs `work` twice: with a handler for `signal`, and without one, which must end it by that signal.
fn raise(signal: i32, work: fn()) -> Result<Seen, String> {
    let run = || {
        work();
        99
    };
    let killed = in_child(|| {
        // The standard library has a handler of its own, after which an instruction is tried again.
        set_disposition(signal, libc::SIG_DFL, 0, &[]);
        run()
    });
    if killed != Status::Killed(signal) {
        return Err(format!("without a handler: {killed:?}"));
    }
    let [reader, writer] = pipe(0);
    let child = fork(|| {
        REPORT_TO.store(writer, Ordering::Relaxed);
        on_signal(signal, tell, 0);
        run()
    });
    let status = wait(child);
    if status != Status::Exited(0) {
        return Err(format!("with a handler: {status:?}"));
    }
    let mut seen = Seen::default();
    let length = size_of::<Seen>();
    match call!(SYS_read, reader, &mut seen, length) {
        Ok(got) if got == length => Ok(seen),
        other => Err(format!("the handler's report: {other:?}")),
    }
}

/// The trap must have this signal, code and vector; the address is that of the instruction if `At::Instruction`.
#[derive(Clone, Copy)]
enum At {
    Nothing,
    Instruction,
    Address(usize),
}

fn expect(seen: Seen, signal: i32, code: i32, trap: u64, at: At) -> Outcome {
    same!((seen.signal, seen.code, seen.trap), (signal, code, trap));
    match at {
        At::Nothing => same!(seen.address, 0),
        At::Instruction => same!(seen.address, seen.instruction),
        At::Address(address) => same!(seen.address, address),
    }
    holds!(seen.instruction != 0, "{seen:?}");
    Ok(())
}

const SI_KERNEL: i32 = 0x80;
const FPE_INTDIV: i32 = 1;
const FPE_FLTDIV: i32 = 3;
const ILL_ILLOPN: i32 = 2;
const SEGV_MAPERR: i32 = 1;
const SEGV_ACCERR: i32 = 2;
const BUS_ADRERR: i32 = 2;
const TRAP_TRACE: i32 = 2;

/// Runs instructions that raise a trap, so that nothing after them matters.
macro_rules! instructions {
    ($($text:literal),+ $(; $($operand:tt)+)?) => {{
        // SAFETY: the trap ends the process or its handler does; registers that the text changes are declared, and
        // memory that it touches is nobody's.
        unsafe { asm!($($text),+, $($($operand)+,)? out("rax") _, out("rdx") _, out("rcx") _) }
    }};
}

fn division_by_zero() -> Outcome {
    let seen = raise(libc::SIGFPE, || {
        instructions!("xor ecx, ecx", "xor edx, edx", "mov eax, 5", "div ecx");
    })?;
    expect(seen, libc::SIGFPE, FPE_INTDIV, 0, At::Instruction)
}

fn a_quotient_that_is_too_large() -> Outcome {
    let seen = raise(libc::SIGFPE, || {
        instructions!("mov edx, 2", "xor eax, eax", "mov ecx, 1", "div ecx");
    })?;
    expect(seen, libc::SIGFPE, FPE_INTDIV, 0, At::Instruction)
}

fn a_single_step() -> Outcome {
    let seen = raise(libc::SIGTRAP, || {
        instructions!("pushfq", "or qword ptr [rsp], 0x100", "popfq", "nop", "nop");
    })?;
    expect(seen, libc::SIGTRAP, TRAP_TRACE, 1, At::Instruction)
}

fn a_breakpoint() -> Outcome {
    let seen = raise(libc::SIGTRAP, || instructions!("int3"))?;
    expect(seen, libc::SIGTRAP, SI_KERNEL, 3, At::Nothing)
}

fn the_overflow_interrupt() -> Outcome {
    let seen = raise(libc::SIGSEGV, || instructions!("int 4"))?;
    expect(seen, libc::SIGSEGV, SI_KERNEL, 4, At::Nothing)
}

fn an_undefined_instruction() -> Outcome {
    let seen = raise(libc::SIGILL, || instructions!("ud2"))?;
    expect(seen, libc::SIGILL, ILL_ILLOPN, 6, At::Instruction)
}

fn privileged_instructions() -> Outcome {
    let all: [fn(); 9] = [
        || instructions!("cli"),
        || instructions!("sti"),
        || instructions!("hlt"),
        || instructions!("mov rax, cr0"),
        || instructions!("mov cr3, rax"),
        || instructions!("mov ecx, 0x10", "rdmsr"),
        || instructions!("mov edx, 0x64", "in al, dx"),
        || instructions!("out 0x80, al"),
        || instructions!("wbinvd"),
    ];
    for (number, work) in all.into_iter().enumerate() {
        let seen = raise(libc::SIGSEGV, work).map_err(|why| format!("{number}: {why}"))?;
        expect(seen, libc::SIGSEGV, SI_KERNEL, 13, At::Nothing)?;
    }
    Ok(())
}

fn other_interrupts() -> Outcome {
    // The error code is the gate's place in the table, which some emulators multiply by 16 instead of 8.
    let seen = raise(libc::SIGSEGV, || instructions!("int 14"))?;
    expect(seen, libc::SIGSEGV, SI_KERNEL, 13, At::Nothing)?;
    same!(seen.error & 7, 2);
    let seen = raise(libc::SIGSEGV, || instructions!("int 0x90"))?;
    expect(seen, libc::SIGSEGV, SI_KERNEL, 13, At::Nothing)?;
    same!(seen.error & 7, 2);
    Ok(())
}

fn an_address_that_is_not_canonical() -> Outcome {
    let seen = raise(libc::SIGSEGV, || {
        peek(std::ptr::without_provenance(0x4000_0000_0000_0000));
    })?;
    expect(seen, libc::SIGSEGV, SI_KERNEL, 13, At::Nothing)
}

fn a_jump_to_an_address_that_is_not_canonical() -> Outcome {
    let killed = in_child(|| {
        instructions!("mov rax, 0x1234567800000000", "jmp rax");
        99
    });
    same!(killed, Status::Killed(libc::SIGSEGV));
    Ok(())
}

const NOWHERE: usize = 0x0dea_d000;

fn a_read_where_nothing_is_mapped() -> Outcome {
    let seen = raise(libc::SIGSEGV, || {
        peek(std::ptr::without_provenance(NOWHERE + 5));
    })?;
    expect(
        seen,
        libc::SIGSEGV,
        SEGV_MAPERR,
        14,
        At::Address(NOWHERE + 5),
    )?;
    same!(seen.error, 4);
    let seen = raise(libc::SIGSEGV, || {
        peek(std::ptr::null());
    })?;
    expect(seen, libc::SIGSEGV, SEGV_MAPERR, 14, At::Address(0))
}

fn a_write_where_nothing_is_mapped() -> Outcome {
    let seen = raise(libc::SIGSEGV, || {
        poke(std::ptr::without_provenance_mut(NOWHERE), 1);
    })?;
    expect(seen, libc::SIGSEGV, SEGV_MAPERR, 14, At::Address(NOWHERE))?;
    same!(seen.error, 6);
    Ok(())
}

/// A page at a fixed place.
fn page(protection: i32) -> *mut u8 {
    const PLACE: usize = 0x1234_5000;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
    let result = call!(SYS_mmap, PLACE, 4096, protection, flags, -1, 0);
    assert_eq!(result, Ok(PLACE));
    std::ptr::with_exposed_provenance_mut(PLACE)
}

fn a_write_to_read_only_memory() -> Outcome {
    let seen = raise(libc::SIGSEGV, || {
        let page = page(libc::PROT_READ);
        peek(page);
        poke(page, 1);
    })?;
    expect(
        seen,
        libc::SIGSEGV,
        SEGV_ACCERR,
        14,
        At::Address(0x1234_5000),
    )?;
    same!(seen.error, 7);
    Ok(())
}

fn a_read_of_memory_without_rights() -> Outcome {
    let seen = raise(libc::SIGSEGV, || {
        peek(page(libc::PROT_NONE));
    })?;
    expect(
        seen,
        libc::SIGSEGV,
        SEGV_ACCERR,
        14,
        At::Address(0x1234_5000),
    )
}

fn execution_of_data() -> Outcome {
    let seen = raise(libc::SIGSEGV, || {
        let page = page(libc::PROT_READ | libc::PROT_WRITE);
        poke(page, 0xc3);
        instructions!("call {}", "nop"; in(reg) page);
    })?;
    expect(seen, libc::SIGSEGV, SEGV_ACCERR, 14, At::Instruction)?;
    same!((seen.address, seen.error), (0x1234_5000, 0x15));
    Ok(())
}

fn an_address_of_the_kernel() -> Outcome {
    const KERNEL: usize = 0xffff_ffff_8100_0000;
    let seen = raise(libc::SIGSEGV, || {
        peek(std::ptr::without_provenance(KERNEL));
    })?;
    expect(seen, libc::SIGSEGV, SEGV_MAPERR, 14, At::Address(KERNEL))?;
    // Whether something is there is not for programs to know.
    same!(seen.error, 5);
    Ok(())
}

fn a_mapping_beyond_the_end_of_its_file() -> Outcome {
    works!(fs::write("/tmp/short", "one page, and less"));
    let seen = raise(libc::SIGBUS, || {
        let file = fs::File::open("/tmp/short").expect("the file exists");
        let protection = libc::PROT_READ;
        let fd = file.as_raw_fd();
        let start = call!(
            SYS_mmap,
            0x1234_5000,
            8192,
            protection,
            libc::MAP_PRIVATE | libc::MAP_FIXED,
            fd,
            0
        );
        let start = std::ptr::with_exposed_provenance::<u8>(start.unwrap_or(0));
        peek(start.wrapping_add(4095));
        peek(start.wrapping_add(4096));
    })?;
    expect(seen, libc::SIGBUS, BUS_ADRERR, 14, At::Address(0x1234_6000))
}

fn an_x87_division_by_zero() -> Outcome {
    let seen = raise(libc::SIGFPE, || {
        let control: u16 = 0x037b;
        instructions!("fninit", "fldcw [{}]", "fld1", "fldz", "fdivp", "fwait", "nop"; in(reg) &raw const control);
    })?;
    same!(
        (seen.signal, seen.code, seen.trap),
        (libc::SIGFPE, FPE_FLTDIV, 16)
    );
    Ok(())
}

/// An emulated processor may leave a trap out; then the instruction simply works.
fn raise_if_implemented(signal: i32, work: fn()) -> Result<Option<Seen>, String> {
    let status = in_child(|| {
        work();
        99
    });
    match status {
        Status::Exited(99) => Ok(None),
        _ => raise(signal, work).map(Some),
    }
}

fn an_sse_division_by_zero() -> Outcome {
    let work = || {
        let control: u32 = 0x1d80;
        instructions!("ldmxcsr [{}]", "mov eax, 1", "cvtsi2ss xmm0, eax", "xorps xmm1, xmm1", "divss xmm0, xmm1";
            in(reg) &raw const control, out("xmm0") _, out("xmm1") _);
    };
    if let Some(seen) = raise_if_implemented(libc::SIGFPE, work)? {
        expect(seen, libc::SIGFPE, FPE_FLTDIV, 19, At::Instruction)?;
    }
    Ok(())
}

fn an_unaligned_access_under_the_alignment_check() -> Outcome {
    let work = || {
        instructions!(
            "pushfq",
            "or qword ptr [rsp], 0x40000",
            "popfq",
            "mov eax, [rsp - 63]",
            "pushfq",
            "and qword ptr [rsp], ~0x40000",
            "popfq"
        );
    };
    if let Some(seen) = raise_if_implemented(libc::SIGBUS, work)? {
        same!((seen.signal, seen.code, seen.trap), (libc::SIGBUS, 1, 17));
    }
    Ok(())
}

static COUNT: AtomicU32 = AtomicU32::new(0);

extern "C" fn give_rights(_: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the kernel passes it for as long as the handler runs.
    let address = unsafe { (*info).si_addr() };
    COUNT.fetch_add(1, Ordering::Relaxed);
    let page = address.map_addr(|address| address & !4095);
    let _ = call!(SYS_mprotect, page, 4096, libc::PROT_READ | libc::PROT_WRITE);
}

fn a_handler_repairs_the_fault_and_the_access_is_repeated() -> Outcome {
    on_signal(libc::SIGSEGV, give_rights, 0);
    let start = map(4 * 4096, libc::PROT_NONE, libc::MAP_PRIVATE);
    for offset in [0, 5000, 9000, 5001] {
        poke(start.wrapping_add(offset), 7);
        same!(peek(start.wrapping_add(offset)), 7);
    }
    same!(COUNT.load(Ordering::Relaxed), 3);
    Ok(())
}

extern "C" fn skip_two_bytes(_: i32, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel passes it for as long as the handler runs, and it is what returns from the handler.
    unsafe {
        let context = context.cast::<libc::ucontext_t>();
        (*context).uc_mcontext.gregs[16] += 2;
        (*context).uc_mcontext.gregs[13] = 42;
    }
}

fn a_handler_steps_over_the_instruction() -> Outcome {
    on_signal(libc::SIGILL, skip_two_bytes, 0);
    let mut result: u64 = 1;
    // SAFETY: the handler continues behind the two bytes of `ud2` and changes only rax.
    unsafe { asm!("ud2", inout("rax") result) };
    same!(result, 42);
    Ok(())
}

fn a_blocked_or_ignored_fault_kills() -> Outcome {
    let blocked = in_child(|| {
        crate::raw::set_mask(libc::SIG_BLOCK, crate::raw::mask_of(&[libc::SIGSEGV]));
        peek(std::ptr::null());
        99
    });
    same!(blocked, Status::Killed(libc::SIGSEGV));
    let ignored = in_child(|| {
        set_disposition(libc::SIGSEGV, libc::SIG_IGN, 0, &[]);
        peek(std::ptr::null());
        99
    });
    same!(ignored, Status::Killed(libc::SIGSEGV));
    Ok(())
}

/// Uses the stack up.
#[expect(unconditional_recursion, reason = "this is the fault that is wanted")]
#[inline(never)]
fn recurse(depth: &[u8; 1024]) -> u8 {
    let mut more = std::hint::black_box(*depth);
    more[0] = more[0].wrapping_add(1);
    recurse(&more).wrapping_add(more[17])
}

fn a_fault_on_a_full_stack_is_handled_on_the_other() -> Outcome {
    let [reader, writer] = pipe(0);
    let child = fork(|| {
        REPORT_TO.store(writer, Ordering::Relaxed);
        let stack = map(65536, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE);
        let description = [stack.expose_provenance(), 0, 65536];
        let _ = call!(SYS_sigaltstack, &description, 0);
        on_signal(libc::SIGSEGV, tell, libc::SA_ONSTACK);
        i32::from(recurse(&[0; 1024]))
    });
    same!(wait(child), Status::Exited(0));
    let mut seen = Seen::default();
    works!(call!(SYS_read, reader, &mut seen, size_of::<Seen>()));
    same!((seen.signal, seen.trap), (libc::SIGSEGV, 14));
    Ok(())
}

fn a_fault_without_a_stack_kills() -> Outcome {
    let status = in_child(|| {
        on_signal(libc::SIGSEGV, tell, 0);
        on_signal(libc::SIGILL, tell, 0);
        instructions!("mov rsp, 0x1000", "ud2");
        99
    });
    same!(status, Status::Killed(libc::SIGSEGV));
    Ok(())
}
