//! FPU, SSE and AVX registers of user programs (Linux: arch/x86/kernel/fpu/).
//!
//! The kernel itself never uses them (it is compiled for soft float), so the registers always
//! hold the state of the last user task on this CPU. They are saved at every switch away from it,
//! and loaded again only if another task used them or the task moved.

use core::alloc::Layout;
use core::arch::asm;
use core::arch::x86_64::__cpuid_count;
use core::ptr::NonNull;
use core::slice;
use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use uapi::signal::{FPE_FLTDIV, FPE_FLTINV, FPE_FLTOVF, FPE_FLTRES, FPE_FLTUND};

use super::cpu::{Feature, boot_cpu_has};
use super::process::with_fpu;
use super::traps::Trap;
use crate::arch::smp_processor_id;
use crate::arch::x86::asm::cr::{Cr0, Cr4, read_cr0, read_cr4, write_cr0, write_cr4, xsetbv};
use crate::mm::percpu::PerCpu;
use crate::prelude::*;

/// x87, SSE, AVX and the three parts of AVX-512: the features that programs expect.
const XFEATURES_WANTED: u64 = 0b1110_0111;
/// x87 and SSE, which FXSAVE knows as well.
pub const XFEATURES_LEGACY: u64 = 0b11;
/// Bytes of the FXSAVE part.
pub const FXSAVE_SIZE: usize = 512;
/// Bytes of the FXSAVE part and the XSAVE header.
pub const XSAVE_HEADER_END: usize = 576;
/// MXCSR of a new program: all exceptions masked.
const MXCSR_DEFAULT: u32 = 0x1f80;
/// x87 control word of a new program.
const FCW_DEFAULT: u16 = 0x37f;
/// Offset of MXCSR in the FXSAVE part.
pub const MXCSR_OFFSET: usize = 24;
/// Offset of the feature bits in the XSAVE header.
pub const XFEATURES_OFFSET: usize = 512;

/// Features in XCR0; 0 on a CPU without XSAVE.
static XFEATURES: AtomicU64 = AtomicU64::new(0);
/// Bytes of a state buffer.
static STATE_SIZE: AtomicUsize = AtomicUsize::new(FXSAVE_SIZE);
/// MXCSR bits that may be set.
static MXCSR_MASK: AtomicU32 = AtomicU32::new(0xffbf);

/// Address of the buffer whose contents are in this CPU's registers.
#[per_cpu]
static FPREGS_OWNER: PerCpu<AtomicUsize> = PerCpu::new(AtomicUsize::new(0));

/// Features that a buffer holds; 0 if only FXSAVE is there.
pub fn xfeatures() -> u64 {
    XFEATURES.load(Ordering::Relaxed)
}
/// Bytes of a state buffer.
pub fn state_size() -> usize {
    STATE_SIZE.load(Ordering::Relaxed)
}
/// MXCSR bits that may be set.
pub fn mxcsr_mask() -> u32 {
    MXCSR_MASK.load(Ordering::Relaxed)
}

/// Switches the FPU and the XSAVE features on and measures the state
/// (Linux: `fpu__init_system`). Boot CPU.
#[__init]
pub fn fpu_init_system() {
    fpu_init_cpu();
    MXCSR_MASK.store(read_mxcsr_mask(), Ordering::Relaxed);
    let features = xfeatures();
    if features == 0 {
        pr_info!("x86/fpu: x87 FPU will use FXSAVE");
        return;
    }
    const NAMES: [&str; 8] = [
        "x87 floating point registers",
        "SSE registers",
        "AVX registers",
        "",
        "",
        "AVX-512 opmask",
        "AVX-512 Hi256",
        "AVX-512 ZMM_Hi256",
    ];
    for (bit, name) in NAMES
        .iter()
        .enumerate()
        .filter(|(bit, _)| features & 1 << bit != 0)
    {
        pr_info!(
            "x86/fpu: Supporting XSAVE feature 0x{:03x}: '{name}'",
            1 << bit
        );
    }
    for bit in (2..8).filter(|bit| features & 1 << bit != 0) {
        let leaf = __cpuid_count(0xd, bit);
        pr_info!(
            "x86/fpu: xstate_offset[{bit}]: {:4}, xstate_sizes[{bit}]: {:4}",
            leaf.ebx,
            leaf.eax
        );
    }
    pr_info!(
        "x86/fpu: Enabled xstate features 0x{features:x}, context size is {} bytes, using 'standard' format.",
        state_size()
    );
}

/// The part that every CPU needs (Linux: `fpu__init_cpu`).
pub fn fpu_init_cpu() {
    let cr0 = read_cr0() & !(Cr0::EM | Cr0::TS).bits() | (Cr0::MP | Cr0::NE).bits();
    // SAFETY: the FPU is on and reports its errors as exception 16.
    unsafe { write_cr0(cr0) };
    let mut cr4 = read_cr4() | (Cr4::OSFXSR | Cr4::OSXMMEXCPT).bits();
    let has_xsave = boot_cpu_has(Feature::XSAVE);
    if has_xsave {
        cr4 |= Cr4::OSXSAVE.bits();
    }
    // SAFETY: this file saves and restores what the bits make usable.
    unsafe { write_cr4(cr4) };
    // SAFETY: resets the x87 state, which belongs to nobody yet.
    unsafe { asm!("fninit", options(nostack)) };
    if has_xsave {
        enable_xfeatures();
    }
}

/// AVX-512 is all three parts or none, and none without AVX.
fn enable_xfeatures() {
    const AVX: u64 = 1 << 2;
    const AVX512: u64 = 0b1110_0000;
    let leaf = __cpuid_count(0xd, 0);
    let mut features = XFEATURES_WANTED & (u64::from(leaf.edx) << 32 | u64::from(leaf.eax));
    if features & (AVX | AVX512) != AVX | AVX512 {
        features &= !AVX512;
    }
    features |= XFEATURES_LEGACY;
    // SAFETY: CR4.OSXSAVE is on and the CPU has these features.
    unsafe { xsetbv(0, features) };
    XFEATURES.store(features, Ordering::Relaxed);
    // EBX is the size for the features that are on now.
    STATE_SIZE.store(__cpuid_count(0xd, 0).ebx as usize, Ordering::Relaxed);
}

fn read_mxcsr_mask() -> u32 {
    #[repr(C, align(16))]
    struct Area([u8; FXSAVE_SIZE]);
    let mut area = Area([0; FXSAVE_SIZE]);
    // SAFETY: the area has the size and alignment that the instruction wants.
    unsafe { asm!("fxsave64 [{}]", in(reg) &mut area, options(nostack)) };
    let mask = [area.0[28], area.0[29], area.0[30], area.0[31]];
    match u32::from_le_bytes(mask) {
        0 => 0xffbf,
        mask => mask,
    }
}

/// Clears CR0.TS, which nobody sets; false if it was clear already.
pub fn clear_stray_ts() -> bool {
    let cr0 = read_cr0();
    if cr0 & Cr0::TS.bits() == 0 {
        return false;
    }
    // SAFETY: the FPU is always usable in this kernel.
    unsafe { write_cr0(cr0 & !Cr0::TS.bits()) };
    true
}

/// The saved registers of a task; kernel threads have no buffer.
pub struct Fpu {
    buffer: Option<NonNull<u8>>,
    /// CPU that loaded the buffer last; -1: its contents are in no CPU's registers.
    last_cpu: i32,
}

impl Default for Fpu {
    fn default() -> Self {
        Self::new()
    }
}

fn layout() -> Layout {
    // XSAVE wants 64 bytes of alignment.
    Layout::from_size_align(state_size(), 64).expect("a size that CPUID gave")
}

impl Fpu {
    /// No buffer yet.
    pub const fn new() -> Self {
        Self {
            buffer: None,
            last_cpu: -1,
        }
    }
    /// Whether the task has user registers.
    #[inline]
    pub fn is_allocated(&self) -> bool {
        self.buffer.is_some()
    }
    /// Gives the task a buffer with a new program's state. Errors: ENOMEM.
    pub fn allocate(&mut self) -> Result {
        if self.buffer.is_some() {
            return Ok(());
        }
        // SAFETY: the layout is not empty.
        let memory = unsafe { alloc::alloc::alloc_zeroed(layout()) };
        self.buffer = Some(NonNull::new(memory).ok_or(Errno::ENOMEM)?);
        self.init_image();
        Ok(())
    }
    /// The bytes; the registers may be newer while the task runs.
    pub fn bytes(&mut self) -> Option<&mut [u8]> {
        // SAFETY: allocated with this size, and `self` is borrowed for as long as the slice.
        self.buffer
            .map(|buffer| unsafe { slice::from_raw_parts_mut(buffer.as_ptr(), state_size()) })
    }
    fn init_image(&mut self) {
        if let Some(bytes) = self.bytes() {
            init_image(bytes);
        }
    }
    /// Whether this CPU's registers hold exactly this buffer. Interrupts are off.
    #[inline]
    pub fn is_loaded_here(&self) -> bool {
        let owner = FPREGS_OWNER.raw_this().load(Ordering::Relaxed);
        self.last_cpu == smp_processor_id() as i32
            && self
                .buffer
                .is_some_and(|buffer| buffer.addr().get() == owner)
    }
    /// Registers to buffer. The task is running here and interrupts are off.
    #[inline]
    pub fn save(&mut self) {
        if let Some(buffer) = self.buffer {
            // SAFETY: the buffer has the size of the enabled features and 64-byte alignment.
            unsafe { save_to(buffer.as_ptr()) };
        }
    }
    /// Buffer to registers. Interrupts are off.
    #[inline]
    pub fn load(&mut self) {
        if let Some(buffer) = self.buffer {
            self.last_cpu = smp_processor_id() as i32;
            FPREGS_OWNER
                .raw_this()
                .store(buffer.addr().get(), Ordering::Relaxed);
            // SAFETY: the contents come from `save` or were checked by `sanitize`.
            unsafe { load_from(buffer.as_ptr()) };
        }
    }
    /// A new program's state, in the buffer and in the registers. Interrupts are off.
    pub fn reset(&mut self) {
        self.init_image();
        self.load();
    }
    /// A copy of the running task's registers in a buffer of its own. Errors: ENOMEM.
    pub fn dup(&mut self) -> Result<Fpu> {
        let mut copy = Fpu::new();
        if self.buffer.is_some() {
            copy.allocate()?;
            copy.save();
        }
        Ok(copy)
    }
}

impl Drop for Fpu {
    fn drop(&mut self) {
        if let Some(buffer) = self.buffer {
            // A CPU may still think that it holds this buffer's contents; a new buffer at the same
            // address starts with last_cpu -1, so it does not matter.
            // SAFETY: allocated with the same layout; the size is fixed before any task exists.
            unsafe { alloc::alloc::dealloc(buffer.as_ptr(), layout()) };
        }
    }
}

/// Writes a new program's state: defaults in the FXSAVE part, all features in their initial state.
fn init_image(bytes: &mut [u8]) {
    bytes.fill(0);
    bytes[..2].copy_from_slice(&FCW_DEFAULT.to_le_bytes());
    bytes[MXCSR_OFFSET..MXCSR_OFFSET + 4].copy_from_slice(&MXCSR_DEFAULT.to_le_bytes());
}

/// # Safety
/// `buffer` is valid for `state_size()` bytes, 64-byte aligned, its XSAVE header clean.
#[inline]
unsafe fn save_to(buffer: *mut u8) {
    if xfeatures() != 0 {
        // SAFETY: the caller's promise; all enabled features are asked for.
        unsafe {
            asm!("xsave64 [{}]", in(reg) buffer, in("eax") u32::MAX, in("edx") u32::MAX,
                options(nostack, preserves_flags));
        }
    } else {
        // SAFETY: the caller's promise.
        unsafe { asm!("fxsave64 [{}]", in(reg) buffer, options(nostack, preserves_flags)) };
    }
}

/// # Safety
/// As `save_to`, and the contents are a valid state.
#[inline]
unsafe fn load_from(buffer: *const u8) {
    if xfeatures() != 0 {
        // SAFETY: the caller's promise.
        unsafe {
            asm!("xrstor64 [{}]", in(reg) buffer, in("eax") u32::MAX, in("edx") u32::MAX,
                options(nostack, preserves_flags));
        }
    } else {
        // SAFETY: the caller's promise.
        unsafe { asm!("fxrstor64 [{}]", in(reg) buffer, options(nostack, preserves_flags)) };
    }
}

/// Makes a state that a program wrote harmless: XRSTOR faults on reserved bits
/// (Linux: `__fpu_restore_sig`).
pub fn sanitize(bytes: &mut [u8], user_features: u64) {
    let at = MXCSR_OFFSET..MXCSR_OFFSET + 4;
    let mxcsr = u32::from_le_bytes([bytes[24], bytes[25], bytes[26], bytes[27]]) & mxcsr_mask();
    bytes[at].copy_from_slice(&mxcsr.to_le_bytes());
    if bytes.len() >= XSAVE_HEADER_END {
        let header = &mut bytes[XFEATURES_OFFSET..XSAVE_HEADER_END];
        let mut raw = [0; 8];
        raw.copy_from_slice(&header[..8]);
        let features = u64::from_le_bytes(raw) & user_features & xfeatures();
        header.fill(0);
        header[..8].copy_from_slice(&features.to_le_bytes());
    }
}

/// Registers of the running task into its buffer, then `f` with the bytes; `None` without FPU
/// state. `f` must not sleep.
pub fn with_saved_state<R>(f: impl FnOnce(&mut [u8]) -> R) -> Option<R> {
    with_fpu(|fpu| {
        fpu.save();
        fpu.bytes().map(f)
    })
}

/// Fills the running task's buffer by `f`, then loads it. `f` must leave a valid state.
pub fn replace_state(f: impl FnOnce(&mut [u8])) {
    with_fpu(|fpu| {
        if let Some(bytes) = fpu.bytes() {
            f(bytes);
        }
        fpu.load();
    });
}

/// A new program's state for a signal handler (Linux: `fpu__clear_user_states`).
pub fn clear_user_state() {
    with_fpu(Fpu::reset);
}

/// Which floating point error is pending (Linux: `fpu__exception_code`); `None`: it is gone.
pub fn exception_code(trap: Trap) -> Option<i32> {
    let errors = with_saved_state(|bytes| match trap {
        Trap::MF => {
            let control = u16::from_le_bytes([bytes[0], bytes[1]]);
            let status = u16::from_le_bytes([bytes[2], bytes[3]]);
            u32::from(status & !control)
        }
        _ => {
            let mxcsr = u32::from_le_bytes([bytes[24], bytes[25], bytes[26], bytes[27]]);
            !(mxcsr >> 7) & mxcsr
        }
    })?;
    match errors {
        e if e & 0x01 != 0 => Some(FPE_FLTINV),
        e if e & 0x04 != 0 => Some(FPE_FLTDIV),
        e if e & 0x08 != 0 => Some(FPE_FLTOVF),
        e if e & 0x12 != 0 => Some(FPE_FLTUND),
        e if e & 0x20 != 0 => Some(FPE_FLTRES),
        _ => None,
    }
}
