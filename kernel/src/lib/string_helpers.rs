//! Text for people and for /proc. Linux: lib/string_helpers.c, lib/ctype.c.
#![forbid(unsafe_code)]

use core::fmt;

/// C's `isspace` for ASCII.
pub const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// The text without the white space before it. Linux: `skip_spaces`.
pub fn skip_spaces(text: &str) -> &str {
    text.trim_start_matches(|c: char| u8::try_from(c).is_ok_and(is_space))
}

/// The text without the white space around it. Linux: `strim`.
pub fn strim(text: &str) -> &str {
    text.trim_matches(|c: char| u8::try_from(c).is_ok_and(is_space))
}

/// Units of [`string_get_size`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StringUnits {
    /// kB, MB, GB: powers of 1000.
    Units10,
    /// KiB, MiB, GiB: powers of 1024.
    Units2,
}

/// A size in bytes with three digits and a unit, such as `8.59 GB`. Linux: `string_get_size`.
pub fn string_get_size(size_bytes: u128, units: StringUnits) -> impl fmt::Display {
    fmt::from_fn(move |f| {
        let (base, names): (u128, _) = match units {
            StringUnits::Units10 => (1000, ["B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"]),
            StringUnits::Units2 => (
                1024,
                ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"],
            ),
        };
        let mut divisor = 1u128;
        let mut unit = 0;
        while size_bytes / divisor >= base && unit + 1 < names.len() {
            divisor *= base;
            unit += 1;
        }
        let whole = size_bytes / divisor;
        // Three digits in all; the last one is rounded.
        let decimals = if unit == 0 || whole >= 100 {
            0
        } else {
            2 - usize::from(whole >= 10)
        };
        let scale = 10u128.pow(decimals as u32);
        let rounded = (size_bytes % divisor * scale + divisor / 2) / divisor;
        let (whole, fraction) = (whole + rounded / scale, rounded % scale);
        match decimals {
            0 => write!(f, "{whole} {}", names[unit]),
            _ => write!(f, "{whole}.{fraction:0decimals$} {}", names[unit]),
        }
    })
}

/// Bytes with those in `escaped` and the backslash written as `\ooo`, as in /proc/mounts; bytes
/// that are no text become U+FFFD. Linux: `mangle_path`, `string_escape_mem` with `ESCAPE_OCTAL`.
pub fn escape_octal<'a>(bytes: &'a [u8], escaped: &'a [u8]) -> impl fmt::Display + 'a {
    fmt::from_fn(move |f| {
        for chunk in bytes.utf8_chunks() {
            for c in chunk.valid().chars() {
                match u8::try_from(c) {
                    Ok(byte) if byte == b'\\' || escaped.contains(&byte) => {
                        write!(f, "\\{byte:03o}")?;
                    }
                    _ => write!(f, "{c}")?,
                }
            }
            if !chunk.invalid().is_empty() {
                write!(f, "\u{fffd}")?;
            }
        }
        Ok(())
    })
}

/// The bytes before the first NUL, all of them if there is none.
pub fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|&b| b == 0).next().unwrap_or(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn sizes_have_three_digits() {
        let ten = |bytes| string_get_size(bytes, StringUnits::Units10).to_string();
        let two = |bytes| string_get_size(bytes, StringUnits::Units2).to_string();
        assert_eq!(
            (ten(8_589_934_592), two(8_589_934_592)),
            ("8.59 GB".into(), "8.00 GiB".into())
        );
        assert_eq!((ten(0), ten(999)), ("0 B".into(), "999 B".into()));
        assert_eq!(ten(42_949_672_960), "42.9 GB");
        assert_eq!(two(549_755_813_888), "512 GiB");
        assert_eq!(two(1_048_575), "1024 KiB");
    }

    #[test]
    fn blanks_in_paths_become_octal() {
        let text = escape_octal(b"/a b\\c\n\xff", b" \t\n#").to_string();
        assert_eq!(text, "/a\\040b\\134c\\012\u{fffd}");
    }

    #[test]
    fn white_space_is_cut_at_the_ends_only() {
        assert_eq!(strim("\t a b\r\n"), "a b");
        assert_eq!(skip_spaces("\x0b x "), "x ");
        assert_eq!(until_nul(b"ab\0c"), b"ab");
        assert_eq!(until_nul(b"abc"), b"abc");
    }
}
