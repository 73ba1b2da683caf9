//! The CRC-32 of gzip, Ethernet and Linux's `crc32_le`. Linux: lib/crc32.c.
#![forbid(unsafe_code)]

/// Generator polynomial, bit-reversed.
const POLYNOMIAL: u32 = 0xedb8_8320;

const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 != 0 {
                crc >> 1 ^ POLYNOMIAL
            } else {
                crc >> 1
            };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

/// Continues a checksum without inverting it before or after. Linux: `crc32_le`.
pub fn crc32_le(crc: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(crc, |crc, &byte| {
        crc >> 8 ^ TABLE[usize::from(crc as u8 ^ byte)]
    })
}

/// The checksum of a whole message, as gzip and zip store it.
pub fn crc32(bytes: &[u8]) -> u32 {
    !crc32_le(!0, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standard_check_value_comes_out() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32(b""), 0);
    }

    #[test]
    fn a_checksum_can_be_taken_in_pieces() {
        assert_eq!(
            !crc32_le(crc32_le(!0, b"1234"), b"56789"),
            crc32(b"123456789")
        );
    }
}
