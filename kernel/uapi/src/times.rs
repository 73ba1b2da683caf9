//! Process times. Linux: linux/times.h.

pod_struct! {
    /// Result of times(2), in ticks of [`crate::time::USER_HZ`].
    pub struct Tms {
        pub tms_utime: i64,
        pub tms_stime: i64,
        pub tms_cutime: i64,
        pub tms_cstime: i64,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn layout_is_that_of_x86_64() {
        assert_eq!(<super::Tms as crate::Pod>::SIZE, 32);
    }
}
