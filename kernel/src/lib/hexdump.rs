//! Bytes for people. Linux: lib/hexdump.c.
#![forbid(unsafe_code)]

use core::fmt;

/// Bytes per row, as Linux prints them.
pub const ROW_SIZE: usize = 16;

/// One row of at most 16 bytes: two digits each, then, with `ascii`, the printable characters in a
/// column of their own. Linux: `hex_dump_to_buffer` with a group size of 1.
pub fn hex_row(bytes: &[u8], ascii: Ascii) -> impl fmt::Display + '_ {
    fmt::from_fn(move |f| {
        let bytes = &bytes[..bytes.len().min(ROW_SIZE)];
        for (i, byte) in bytes.iter().enumerate() {
            write!(f, "{}{byte:02x}", if i > 0 { " " } else { "" })?;
        }
        if ascii == Ascii::Shown {
            let digits = (bytes.len() * 3).saturating_sub(1);
            write!(f, "{:1$}", "", ROW_SIZE * 3 + 1 - digits)?;
            for &byte in bytes {
                let shown = byte.is_ascii_graphic() || byte == b' ';
                write!(f, "{}", if shown { char::from(byte) } else { '.' })?;
            }
        }
        Ok(())
    })
}

/// Whether a row ends in its characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ascii {
    /// Digits only.
    Hidden,
    /// Digits, then characters.
    Shown,
}

/// The rows of a dump with their offsets in bytes. Linux: `print_hex_dump`, `DUMP_PREFIX_OFFSET`.
pub fn rows(bytes: &[u8], ascii: Ascii) -> impl Iterator<Item = impl fmt::Display + '_> + '_ {
    bytes.chunks(ROW_SIZE).enumerate().map(move |(i, row)| {
        fmt::from_fn(move |f| write!(f, "{:08x}: {}", i * ROW_SIZE, hex_row(row, ascii)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec::Vec;

    #[test]
    fn characters_stand_in_one_column_whatever_the_length() {
        let full = hex_row(b"0123456789abcdef", Ascii::Shown).to_string();
        assert_eq!(
            full,
            "30 31 32 33 34 35 36 37 38 39 61 62 63 64 65 66  0123456789abcdef"
        );
        let short = hex_row(b"a\x00", Ascii::Shown).to_string();
        assert_eq!(short.find("a."), full.find("0123"));
    }

    #[test]
    fn rows_carry_their_offsets() {
        let rows: Vec<_> = rows(&[0xff; 17], Ascii::Hidden)
            .map(|row| row.to_string())
            .collect();
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[1], "00000010: ff");
        assert_eq!(hex_row(b"", Ascii::Hidden).to_string(), "");
    }
}
