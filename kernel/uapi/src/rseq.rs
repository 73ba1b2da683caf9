//! Restartable sequences. Linux: linux/rseq.h.

pub const RSEQ_FLAG_UNREGISTER: u32 = 1;
pub const RSEQ_CPU_ID_UNINITIALIZED: u32 = u32::MAX;
pub const RSEQ_CPU_ID_REGISTRATION_FAILED: u32 = u32::MAX - 1;
/// Smallest size and alignment that rseq(2) takes, in bytes.
pub const ORIG_RSEQ_SIZE: u32 = 32;
/// `AT_RSEQ_FEATURE_SIZE`: bytes of `Rseq` that have a meaning.
pub const RSEQ_FEATURE_SIZE: u32 = 28;
/// `AT_RSEQ_ALIGN`, in bytes.
pub const RSEQ_ALIGN: u32 = 32;

pod_struct! {
    /// The area that a thread registers.
    pub struct Rseq {
        pub cpu_id_start: u32,
        pub cpu_id: u32,
        /// Address of the `RseqCs` being run, or 0.
        pub rseq_cs: u64,
        pub flags: u32,
        pub node_id: u32,
        pub mm_cid: u32,
        pub padding: u32,
    }

    /// A critical section.
    pub struct RseqCs {
        pub version: u32,
        pub flags: u32,
        pub start_ip: u64,
        pub post_commit_offset: u64,
        pub abort_ip: u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Pod;

    #[test]
    fn layouts_are_those_of_x86_64() {
        assert_eq!((Rseq::SIZE, RseqCs::SIZE), (32, 32));
        assert_eq!(core::mem::offset_of!(Rseq, mm_cid), 24);
    }
}
