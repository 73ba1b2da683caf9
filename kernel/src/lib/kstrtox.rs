//! Text to numbers. Linux: lib/kstrtox.c, lib/vsprintf.c (`simple_strtoull`).
#![forbid(unsafe_code)]

use uapi::errno::Errno;

/// Takes the base from a prefix if `base` is 0, and drops a `0x` that fits the base.
fn strip_base(text: &str, base: u32) -> (u32, &str) {
    let hex = text.get(..2).is_some_and(|p| p.eq_ignore_ascii_case("0x"))
        && text.as_bytes().get(2).is_some_and(u8::is_ascii_hexdigit);
    match base {
        0 if hex => (16, &text[2..]),
        0 if text.starts_with('0') => (8, text),
        0 => (10, text),
        16 if hex => (16, &text[2..]),
        base => (base, text),
    }
}

/// Reads as many digits as there are and returns the number with the text behind it; no digit
/// gives 0. `base` 0 understands the prefixes 0 and 0x. Bits beyond 64 are lost.
pub fn simple_strtoull(text: &str, base: u32) -> (u64, &str) {
    let (base, digits) = strip_base(text, base);
    let mut number = 0u64;
    let mut len = 0;
    for digit in digits.chars().map_while(|c| c.to_digit(base)) {
        number = number
            .wrapping_mul(u64::from(base))
            .wrapping_add(u64::from(digit));
        len += 1;
    }
    (number, &digits[len..])
}

/// Reads a whole text as a number; one newline may follow it, one `+` stand before it.
///
/// # Errors
/// `EINVAL` if there is anything else, `ERANGE` beyond 64 bits.
pub fn kstrtou64(text: &str, base: u32) -> Result<u64, Errno> {
    let text = text.strip_suffix('\n').unwrap_or(text);
    let (base, digits) = strip_base(text.strip_prefix('+').unwrap_or(text), base);
    if digits.is_empty() {
        return Err(Errno::EINVAL);
    }
    digits.chars().try_fold(0u64, |number, c| {
        let digit = c.to_digit(base).ok_or(Errno::EINVAL)?;
        let number = number.checked_mul(u64::from(base)).ok_or(Errno::ERANGE)?;
        number.checked_add(u64::from(digit)).ok_or(Errno::ERANGE)
    })
}

/// [`kstrtou64`] for a number that may be negative.
///
/// # Errors
/// `EINVAL` if the text is no number, `ERANGE` if it does not fit.
pub fn kstrtoi64(text: &str, base: u32) -> Result<i64, Errno> {
    match text.strip_prefix('-') {
        Some(digits) if digits.starts_with('+') => Err(Errno::EINVAL),
        Some(digits) => 0i64
            .checked_sub_unsigned(kstrtou64(digits, base)?)
            .ok_or(Errno::ERANGE),
        None => i64::try_from(kstrtou64(text, base)?).map_err(|_| Errno::ERANGE),
    }
}

/// [`kstrtoi64`] for an `int`.
///
/// # Errors
/// `EINVAL` if the text is no number, `ERANGE` if it does not fit.
pub fn kstrtoi32(text: &str, base: u32) -> Result<i32, Errno> {
    i32::try_from(kstrtoi64(text, base)?).map_err(|_| Errno::ERANGE)
}

/// [`kstrtou64`] for an `unsigned int`.
///
/// # Errors
/// `EINVAL` if the text is no number, `ERANGE` if it does not fit.
pub fn kstrtou32(text: &str, base: u32) -> Result<u32, Errno> {
    u32::try_from(kstrtou64(text, base)?).map_err(|_| Errno::ERANGE)
}

/// Reads a truth value: its first letter (y, Y, t, T, 1 or n, N, f, F, 0), or `on` and `of(f)`.
///
/// # Errors
/// `EINVAL` for everything else.
pub fn kstrtobool(text: &str) -> Result<bool, Errno> {
    let second = text.as_bytes().get(1).map(u8::to_ascii_lowercase);
    match text.as_bytes().first().map(u8::to_ascii_lowercase) {
        Some(b'y' | b't' | b'1') => Ok(true),
        Some(b'n' | b'f' | b'0') => Ok(false),
        Some(b'o') if second == Some(b'n') => Ok(true),
        Some(b'o') if second == Some(b'f') => Ok(false),
        _ => Err(Errno::EINVAL),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_choose_the_base() {
        assert_eq!(simple_strtoull("0x1fz", 0), (31, "z"));
        assert_eq!(simple_strtoull("0x", 0), (0, "x"));
        assert_eq!(simple_strtoull("017", 0), (15, ""));
        assert_eq!(simple_strtoull("0x1f", 16), (31, ""));
        assert_eq!(simple_strtoull("99é", 10), (99, "é"));
        assert_eq!(simple_strtoull("é", 0), (0, "é"));
    }

    #[test]
    fn a_whole_number_tolerates_a_newline_and_nothing_else() {
        assert_eq!(kstrtou64("42\n", 10), Ok(42));
        assert_eq!(kstrtou64("+42", 10), Ok(42));
        assert_eq!(kstrtou64("42 ", 10), Err(Errno::EINVAL));
        assert_eq!(kstrtou64("", 10), Err(Errno::EINVAL));
        assert_eq!(kstrtou64("18446744073709551615", 10), Ok(u64::MAX));
        assert_eq!(kstrtou64("18446744073709551616", 10), Err(Errno::ERANGE));
    }

    #[test]
    fn signed_numbers_reach_their_least_value() {
        assert_eq!(kstrtoi64("-9223372036854775808", 10), Ok(i64::MIN));
        assert_eq!(kstrtoi64("9223372036854775808", 10), Err(Errno::ERANGE));
        assert_eq!(kstrtoi32("-0x10", 0), Ok(-16));
        assert_eq!(kstrtoi32("-+1", 0), Err(Errno::EINVAL));
        assert_eq!(kstrtou32("4294967296", 0), Err(Errno::ERANGE));
    }

    #[test]
    fn truth_values_go_by_their_first_letters() {
        assert!(
            ["y", "Yes", "1", "on", "true\n"]
                .iter()
                .all(|t| kstrtobool(t) == Ok(true))
        );
        assert!(
            ["n", "0", "OFF", "false"]
                .iter()
                .all(|t| kstrtobool(t) == Ok(false))
        );
        assert!(
            ["", "o", "maybe"]
                .iter()
                .all(|t| kstrtobool(t) == Err(Errno::EINVAL))
        );
    }
}
