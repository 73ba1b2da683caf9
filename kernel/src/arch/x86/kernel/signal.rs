//! Signal frames (Linux: arch/x86/kernel/signal.c, signal_64.c, fpu/signal.c).
//!
//! From high to low addresses: the 128 bytes of the red zone, the FPU state (64-byte aligned,
//! with its magic numbers), `struct rt_sigframe` (its end 16-byte aligned, as after a call).

use uapi::Pod;
use uapi::signal::{
    FP_XSTATE_MAGIC1, FP_XSTATE_MAGIC2, FP_XSTATE_MAGIC2_SIZE, FPSTATE_SW_OFFSET, FpxSwBytes,
    KernelSigaction, REDZONE_SIZE, RtSigframe, SA_ONSTACK, SA_RESTORER, SA_SIGINFO, SS_AUTODISARM,
    SS_DISABLE, Sigcontext, Siginfo, Sigset, StackT, UC_FP_XSTATE, UC_SIGCONTEXT_SS,
    UC_STRICT_RESTORE_SS, UContext,
};

use super::{fpu, process};
use crate::arch::x86::asm::page::TASK_SIZE;
use crate::arch::x86::asm::ptrace::{PtRegs, eflags};
use crate::arch::x86::asm::segment::{USER_CS, USER_DS, USER32_CS};
use crate::kernel::ratelimit::printk_ratelimit;
use crate::kernel::sched::current;
use crate::mm::UserAddr;
use crate::mm::uaccess::{copy_from_user, copy_to_user, get_user, put_user};
use crate::prelude::*;

/// Flags that a program may set through its signal frame (Linux: `FIX_EFLAGS`).
const FIX_EFLAGS: u64 = eflags::AC | eflags::RF | eflags::DF | eflags::TF | 1 << 11 | 0b1101_0101;

/// Everything about a signal that its frame tells.
pub struct SignalFrame {
    /// The signal.
    pub info: Siginfo,
    /// The handler.
    pub action: KernelSigaction,
    /// The mask that sigreturn puts back.
    pub saved_mask: Sigset,
    /// The alternate stack as the task set it.
    pub altstack: StackT,
}

/// Where the parts of a frame go.
struct Place {
    frame: u64,
    fpstate: u64,
}

/// Builds the frame on the user stack and sets the registers to the handler's first instruction
/// (Linux: `x64_setup_rt_frame`, `handle_signal`). May sleep.
/// Errors: EFAULT when the stack cannot be written or there is no restorer; the registers are
/// unchanged then.
pub fn setup_rt_frame(regs: &mut PtRegs, request: &SignalFrame) -> Result {
    if request.action.flags & SA_RESTORER == 0 {
        return Err(Errno::EFAULT);
    }
    let place = place_frame(regs, request)?;
    save_fpu(place.fpstate)?;
    let frame = RtSigframe {
        pretcode: request.action.restorer,
        uc: UContext {
            uc_flags: frame_uc_flags(regs),
            uc_link: 0,
            uc_stack: request.altstack,
            uc_mcontext: sigcontext(regs, request.saved_mask, place.fpstate),
            uc_sigmask: request.saved_mask,
        },
        info: if request.action.flags & SA_SIGINFO != 0 {
            request.info
        } else {
            Siginfo::default()
        },
    };
    put_user(UserAddr::new(place.frame), &frame)?;
    enter_handler(regs, request, place.frame);
    fpu::clear_user_state();
    Ok(())
}

fn enter_handler(regs: &mut PtRegs, request: &SignalFrame, frame: u64) {
    let info = core::mem::offset_of!(RtSigframe, info) as u64;
    let uc = core::mem::offset_of!(RtSigframe, uc) as u64;
    regs.rdi = request.info.si_signo as u64;
    regs.rax = 0; // for handlers without a prototype: no vector registers are arguments
    regs.rsi = frame + info;
    regs.rdx = frame + uc;
    regs.rip = request.action.handler;
    regs.rsp = frame;
    regs.cs = u64::from(USER_CS);
    regs.ss = u64::from(USER_DS);
    // The handler starts with the ABI's direction flag and is not single-stepped into.
    regs.rflags &= !(eflags::DF | eflags::RF | eflags::TF);
}

/// Linux: `get_sigframe`.
fn place_frame(regs: &PtRegs, request: &SignalFrame) -> Result<Place> {
    let stack = &request.altstack;
    let mut sp = regs.rsp.wrapping_sub(REDZONE_SIZE);
    let nested = on_altstack(stack, regs.rsp);
    let mut entering = false;
    if request.action.flags & SA_ONSTACK != 0 && !nested && usable(stack) {
        sp = stack.ss_sp.wrapping_add(stack.ss_size);
        entering = true;
    }
    let fpstate = sp.wrapping_sub(fpstate_size() as u64) & !63;
    let size = size_of::<RtSigframe>() as u64;
    let frame = (fpstate.wrapping_sub(size) & !15).wrapping_sub(8);
    if (nested || entering) && !within(stack, frame) {
        complain_about_altstack();
        return Err(Errno::EFAULT);
    }
    if frame >= TASK_SIZE || sp > TASK_SIZE {
        return Err(Errno::EFAULT);
    }
    Ok(Place { frame, fpstate })
}

fn complain_about_altstack() {
    if printk_ratelimit() {
        let task = current();
        pr_info!(
            "signal: {}[{}] overflowed sigaltstack",
            task.comm(),
            task.pid()
        );
    }
}

fn usable(stack: &StackT) -> bool {
    stack.ss_size != 0 && stack.ss_flags as u32 & SS_DISABLE == 0
}
/// Linux: `__on_sig_stack`.
fn within(stack: &StackT, sp: u64) -> bool {
    sp > stack.ss_sp && sp - stack.ss_sp <= stack.ss_size
}
/// With SS_AUTODISARM the stack is free again as soon as a handler runs (Linux: `on_sig_stack`).
fn on_altstack(stack: &StackT, sp: u64) -> bool {
    stack.ss_flags as u32 & SS_AUTODISARM == 0 && usable(stack) && within(stack, sp)
}

fn frame_uc_flags(regs: &PtRegs) -> u64 {
    let mut flags = UC_SIGCONTEXT_SS;
    if fpu::xfeatures() != 0 {
        flags |= UC_FP_XSTATE;
    }
    if regs.user_64bit_mode() {
        flags |= UC_STRICT_RESTORE_SS;
    }
    flags
}

fn sigcontext(regs: &PtRegs, mask: Sigset, fpstate: u64) -> Sigcontext {
    let fault = process::fault_info();
    Sigcontext {
        r8: regs.r8,
        r9: regs.r9,
        r10: regs.r10,
        r11: regs.r11,
        r12: regs.r12,
        r13: regs.r13,
        r14: regs.r14,
        r15: regs.r15,
        di: regs.rdi,
        si: regs.rsi,
        bp: regs.rbp,
        bx: regs.rbx,
        dx: regs.rdx,
        ax: regs.rax,
        cx: regs.rcx,
        sp: regs.rsp,
        ip: regs.rip,
        flags: regs.rflags,
        cs: regs.cs as u16,
        ss: regs.ss as u16,
        err: fault.error_code,
        trapno: fault.trap_nr,
        oldmask: mask,
        cr2: fault.cr2,
        fpstate,
        ..Default::default()
    }
}

/// Bytes of the FPU part of a frame (Linux: `fpu__alloc_mathframe`); also AT_MINSIGSTKSZ's base.
pub fn fpstate_size() -> usize {
    if fpu::xfeatures() == 0 {
        fpu::FXSAVE_SIZE
    } else {
        fpu::state_size() + FP_XSTATE_MAGIC2_SIZE
    }
}

/// Greatest frame a signal needs (Linux: `get_sigframe_size`, AT_MINSIGSTKSZ).
pub fn max_frame_size() -> usize {
    (size_of::<RtSigframe>() + fpstate_size() + 64 + 16 + 8).next_multiple_of(16)
}

/// Copies the FPU state to the user stack. The bytes go through a buffer, because a copy may
/// sleep and then the registers would belong to somebody else.
fn save_fpu(at: u64) -> Result {
    let mut image = empty_image()?;
    // There is room for it: nothing is allocated while the state is looked at.
    fpu::with_saved_state(|bytes| image.extend_from_slice(bytes)).ok_or(Errno::EFAULT)?;
    let features = fpu::xfeatures();
    if features != 0 {
        let sw = FpxSwBytes {
            magic1: FP_XSTATE_MAGIC1,
            extended_size: fpstate_size() as u32,
            xfeatures: features,
            xstate_size: fpu::state_size() as u32,
            ..Default::default()
        };
        sw.write_to(&mut image[FPSTATE_SW_OFFSET..]);
        // A program that knows only the FXSAVE part may change it: XRSTOR must look at it.
        image[fpu::XFEATURES_OFFSET] |= fpu::XFEATURES_LEGACY as u8;
        let end = UserAddr::new(at + fpu::state_size() as u64);
        put_user(end, &FP_XSTATE_MAGIC2)?;
    }
    copy_to_user(UserAddr::new(at), &image)
}

/// Room for the FPU state.
fn empty_image() -> Result<Vec<u8>> {
    let mut image = Vec::new();
    image
        .try_reserve_exact(fpu::state_size())
        .map_err(|_| Errno::ENOMEM)?;
    Ok(image)
}

fn state_image() -> Result<Vec<u8>> {
    let mut image = empty_image()?;
    image.resize(fpu::state_size(), 0);
    Ok(image)
}

/// Undoes a handler's frame: registers, FPU state (Linux: `rt_sigreturn`). Returns the signal
/// mask and the alternate stack that the frame holds. May sleep.
/// Errors: EFAULT when the frame cannot be read or is no frame.
pub fn restore_rt_frame(regs: &mut PtRegs) -> Result<(Sigset, StackT)> {
    let frame = regs.rsp.wrapping_sub(8);
    let uc_at = frame.wrapping_add(core::mem::offset_of!(RtSigframe, uc) as u64);
    let uc: UContext = get_user(UserAddr::new(uc_at))?;
    restore_registers(regs, &uc);
    restore_fpu(uc.uc_mcontext.fpstate)?;
    Ok((uc.uc_sigmask, uc.uc_stack))
}

/// Linux: `restore_sigcontext`. Selectors that IRET would refuse lead to a SIGSEGV there.
fn restore_registers(regs: &mut PtRegs, uc: &UContext) {
    let sc = &uc.uc_mcontext;
    let ss = if uc.uc_flags & UC_STRICT_RESTORE_SS != 0 {
        u64::from(sc.ss | 3)
    } else {
        u64::from(USER_DS)
    };
    *regs = PtRegs {
        r8: sc.r8,
        r9: sc.r9,
        r10: sc.r10,
        r11: sc.r11,
        r12: sc.r12,
        r13: sc.r13,
        r14: sc.r14,
        r15: sc.r15,
        rdi: sc.di,
        rsi: sc.si,
        rbp: sc.bp,
        rbx: sc.bx,
        rdx: sc.dx,
        rax: sc.ax,
        rcx: sc.cx,
        rsp: sc.sp,
        rip: sc.ip,
        rflags: regs.rflags & !FIX_EFLAGS | sc.flags & FIX_EFLAGS,
        cs: u64::from(sc.cs | 3),
        ss,
        orig_rax: u64::MAX, // no system call to restart
    };
    if sc.cs != USER_CS && sc.cs != USER32_CS {
        pr_debug!("signal: unusual code selector {:#x} in a frame", sc.cs);
    }
}

/// Linux: `fpu__restore_sig`.
fn restore_fpu(at: u64) -> Result {
    if at == 0 {
        fpu::clear_user_state();
        return Ok(());
    }
    if at & 63 != 0 {
        return Err(Errno::EFAULT);
    }
    let mut image = state_image()?;
    let features = copy_fpu_frame(&mut image, at)?;
    fpu::sanitize(&mut image, features);
    fpu::replace_state(|bytes| bytes.copy_from_slice(&image));
    Ok(())
}

/// Reads the state; returns the features that the frame has. Without the magic numbers only the
/// FXSAVE part counts (Linux: `check_xstate_in_sigframe`).
fn copy_fpu_frame(image: &mut [u8], at: u64) -> Result<u64> {
    let size = image.len() as u64;
    let sw: FpxSwBytes = get_user(UserAddr::new(at + FPSTATE_SW_OFFSET as u64))?;
    let extended = fpu::xfeatures() != 0
        && sw.magic1 == FP_XSTATE_MAGIC1
        && u64::from(sw.xstate_size) == size
        && u64::from(sw.extended_size) >= size
        && get_user::<u32>(UserAddr::new(at + size))? == FP_XSTATE_MAGIC2;
    if extended {
        copy_from_user(image, UserAddr::new(at))?;
        return Ok(sw.xfeatures);
    }
    copy_from_user(&mut image[..fpu::FXSAVE_SIZE], UserAddr::new(at))?;
    if image.len() > fpu::XFEATURES_OFFSET {
        image[fpu::XFEATURES_OFFSET] = fpu::XFEATURES_LEGACY as u8;
    }
    Ok(fpu::XFEATURES_LEGACY)
}
