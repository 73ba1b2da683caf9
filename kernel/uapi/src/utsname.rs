//! Names of the system. Linux: linux/utsname.h.

use crate::Pod;

/// Bytes of one name without its NUL.
pub const NEW_UTS_LEN: usize = 64;

pod_struct! {
    /// Result of uname(2): six NUL-terminated names.
    pub struct UtsName {
        pub sysname: [u8; 65],
        pub nodename: [u8; 65],
        pub release: [u8; 65],
        pub version: [u8; 65],
        pub machine: [u8; 65],
        pub domainname: [u8; 65],
    }
}

/// A name field from text; cut after 64 bytes.
pub fn field(text: &str) -> [u8; 65] {
    let mut name = <[u8; 65]>::zeroed();
    let len = text.len().min(NEW_UTS_LEN);
    name[..len].copy_from_slice(&text.as_bytes()[..len]);
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout_is_that_of_x86_64() {
        assert_eq!(UtsName::SIZE, 390);
        assert_eq!(core::mem::offset_of!(UtsName, domainname), 325);
    }

    #[test]
    fn a_long_name_keeps_its_terminator() {
        assert_eq!(&field("Linux")[..7], b"Linux\0\0");
        let long = field(core::str::from_utf8(&[b'x'; 80]).unwrap());
        assert_eq!((long[63], long[64]), (b'x', 0));
    }
}
