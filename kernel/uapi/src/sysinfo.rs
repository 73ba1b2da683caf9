//! System statistics. Linux: linux/sysinfo.h.

/// One load unit in `loads`: averages are fixed point with 16 fraction bits.
pub const SI_LOAD_SHIFT: u32 = 16;

pod_struct! {
    /// Result of sysinfo(2); memory sizes are in units of `mem_unit` bytes.
    pub struct Sysinfo {
        /// Seconds since boot.
        pub uptime: i64,
        pub loads: [u64; 3],
        pub totalram: u64,
        pub freeram: u64,
        pub sharedram: u64,
        pub bufferram: u64,
        pub totalswap: u64,
        pub freeswap: u64,
        pub procs: u16,
        pub pad: u16,
        pub totalhigh: u64,
        pub freehigh: u64,
        pub mem_unit: u32,
    }
}

#[cfg(test)]
mod tests {
    use super::Sysinfo;

    #[test]
    fn layout_is_that_of_x86_64() {
        assert_eq!(<Sysinfo as crate::Pod>::SIZE, 112);
        assert_eq!(core::mem::offset_of!(Sysinfo, procs), 80);
        assert_eq!(core::mem::offset_of!(Sysinfo, totalhigh), 88);
        assert_eq!(core::mem::offset_of!(Sysinfo, mem_unit), 104);
    }
}
