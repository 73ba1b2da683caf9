//! Instructions that may fault, and where to go on if they do (Linux: asm/extable.h).

/// What the fix-up has to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum ExType {
    /// Jump to the fix-up address.
    Default = 1,
    /// As `Default`, but complain: the fault shows a wrong value in a register.
    Wrmsr = 2,
    /// As `Default`, and zero rax and rdx as RDMSR's result.
    Rdmsr = 3,
}

/// One entry of the `__ex_table` section; both addresses are relative to their own field.
#[repr(C)]
pub struct ExceptionTableEntry {
    insn: i32,
    fixup: i32,
    kind: u32,
}

impl ExceptionTableEntry {
    fn resolve(field: &i32) -> u64 {
        let base: *const i32 = field;
        (base as u64).wrapping_add_signed(i64::from(*field))
    }
    /// Address of the instruction that may fault.
    pub fn insn(&self) -> u64 {
        Self::resolve(&self.insn)
    }
    /// Where execution goes on.
    pub fn fixup(&self) -> u64 {
        Self::resolve(&self.fixup)
    }
    /// What else to do.
    pub fn kind(&self) -> ExType {
        match self.kind {
            2 => ExType::Wrmsr,
            3 => ExType::Rdmsr,
            _ => ExType::Default,
        }
    }
}

/// Text for `asm!` that enters the instruction at local label `$insn` into the table; on a fault
/// execution goes on at local label `$fixup`.
#[macro_export]
macro_rules! ex_table {
    ($insn:literal, $fixup:literal) => {
        $crate::ex_table!($insn, $fixup, "1")
    };
    ($insn:literal, $fixup:literal, $kind:literal) => {
        concat!(
            ".pushsection __ex_table,\"a\",@progbits\n.balign 4\n.long ",
            $insn,
            " - .\n.long ",
            $fixup,
            " - .\n.long ",
            $kind,
            "\n.popsection"
        )
    };
}
