//! Entropy from the CPU (Linux: asm/archrandom.h).
/// A number from RDRAND, when the CPU has it.
pub fn arch_get_random() -> Option<u64> {
    todo!()
}
