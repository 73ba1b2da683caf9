//! Taking command lines apart. Linux: lib/cmdline.c, kernel/params.c (`parse_args`, `parameq`).
#![forbid(unsafe_code)]

use alloc::vec::Vec;

use super::kstrtox::simple_strtoull;
use super::string_helpers::{is_space, skip_spaces};

/// One parameter: `name`, or `name=value` with the value's double quotes taken off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arg<'a> {
    /// The text before `=`; it is never empty.
    pub name: &'a str,
    /// The text after the first `=`, `None` if there is no `=`.
    pub value: Option<&'a str>,
}

/// Splits the first parameter off `args`, which must not start with white space; also returns the
/// rest without its leading white space.
///
/// Double quotes protect white space and may stand around the whole parameter or its value; there
/// is no escape character. A leading `=` belongs to the name. Linux: `next_arg`.
pub fn next_arg(args: &str) -> (Arg<'_>, &str) {
    let quoted = args.starts_with('"');
    let args = if quoted { &args[1..] } else { args };
    let (end, equals) = word_end(args, quoted);
    let mut word = &args[..end];
    // The value loses its quotes first: the word `"a="b c"` has only one at its end.
    let value_quoted = equals.is_some_and(|at| word[at + 1..].starts_with('"'));
    if value_quoted || quoted {
        word = word.strip_suffix('"').unwrap_or(word);
    }
    let arg = match equals {
        Some(at) => {
            let start = (at + 1 + usize::from(value_quoted)).min(word.len());
            Arg {
                name: &word[..at],
                value: Some(&word[start..]),
            }
        }
        None => Arg {
            name: word,
            value: None,
        },
    };
    (arg, skip_spaces(&args[end..]))
}

/// Where the first word ends, and the place of its first `=` that is not its first character.
fn word_end(args: &str, mut in_quote: bool) -> (usize, Option<usize>) {
    let mut equals = None;
    for (i, byte) in args.bytes().enumerate() {
        match byte {
            b if is_space(b) && !in_quote => return (i, equals),
            b'=' if i > 0 && equals.is_none() => equals = Some(i),
            b'"' => in_quote = !in_quote,
            _ => {}
        }
    }
    (args.len(), equals)
}

/// The parameters of a command line, up to a `--` of its own. Linux: `parse_args`.
#[derive(Clone, Debug)]
pub struct Args<'a> {
    rest: &'a str,
    after_dashes: Option<&'a str>,
}

/// Walks the parameters of `cmdline`.
pub fn parse_args(cmdline: &str) -> Args<'_> {
    Args {
        rest: skip_spaces(cmdline),
        after_dashes: None,
    }
}

impl<'a> Args<'a> {
    /// What follows `--`, for init; `None` until the iteration has met it.
    pub fn after_dashes(&self) -> Option<&'a str> {
        self.after_dashes
    }
}

impl<'a> Iterator for Args<'a> {
    type Item = Arg<'a>;

    fn next(&mut self) -> Option<Arg<'a>> {
        while !self.rest.is_empty() {
            let (arg, rest) = next_arg(self.rest);
            self.rest = rest;
            match arg {
                Arg {
                    name: "--",
                    value: None,
                } => {
                    self.after_dashes = Some(rest);
                    self.rest = "";
                }
                Arg { name: "", .. } => {}
                arg => return Some(arg),
            }
        }
        None
    }
}

fn dash_to_underscore(byte: u8) -> u8 {
    if byte == b'-' { b'_' } else { byte }
}

/// Compares parameter names, taking `-` and `_` for the same. Linux: `parameq`.
pub fn parameq(a: &str, b: &str) -> bool {
    a.bytes()
        .map(dash_to_underscore)
        .eq(b.bytes().map(dash_to_underscore))
}

/// [`parameq`] for the first `len` bytes; false if one name is shorter. Linux: `parameqn`.
pub fn parameqn(a: &str, b: &str, len: usize) -> bool {
    let head = |s: &str| {
        s.bytes()
            .map(dash_to_underscore)
            .take(len)
            .collect::<Vec<u8>>()
    };
    a.len() >= len && b.len() >= len && head(a) == head(b)
}

/// Reads a size in bytes such as `16M` and returns it with the text behind it.
///
/// The number may be decimal, octal (0) or hexadecimal (0x); K, M, G, T, P and E multiply by powers
/// of 1024. Bits that do not fit are lost, as in Linux. Linux: `memparse`.
pub fn memparse(text: &str) -> (u64, &str) {
    let (number, rest) = simple_strtoull(text, 0);
    let power = match rest.bytes().next().map(|b| b.to_ascii_uppercase()) {
        Some(b'K') => 1,
        Some(b'M') => 2,
        Some(b'G') => 3,
        Some(b'T') => 4,
        Some(b'P') => 5,
        Some(b'E') => 6,
        _ => return (number, rest),
    };
    (number << (10 * power), &rest[1..])
}

/// What stands behind the number that [`get_option`] read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptionEnd {
    /// Something that is no separator, or the end.
    Last,
    /// A comma, already skipped: another number follows.
    Comma,
    /// A hyphen: the number is the lower end of a range.
    Hyphen,
}

/// Reads one number of a list; `None` if there is none. Linux: `get_option`.
pub fn get_option(text: &str) -> Option<(i32, OptionEnd, &str)> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let (number, rest) = simple_strtoull(digits, 0);
    if rest.len() == digits.len() {
        return None;
    }
    // Truncation to `int` is what Linux does with a number that is too big.
    let number = number as i32;
    let value = if negative {
        number.wrapping_neg()
    } else {
        number
    };
    Some(match rest.bytes().next() {
        Some(b',') => (value, OptionEnd::Comma, &rest[1..]),
        Some(b'-') => (value, OptionEnd::Hyphen, rest),
        _ => (value, OptionEnd::Last, rest),
    })
}

/// Reads a list such as `1,4-6` into at most `max` numbers and returns the text behind it; ranges
/// are written out. A range that runs backwards ends the list. Linux: `get_options`.
pub fn get_options(mut text: &str, max: usize) -> (Vec<i32>, &str) {
    let mut numbers = Vec::new();
    while numbers.len() < max {
        let Some((value, end, rest)) = get_option(text) else {
            break;
        };
        text = rest;
        if end == OptionEnd::Hyphen {
            let Some((upper, ..)) = get_option(&rest[1..]) else {
                break;
            };
            if upper < value {
                break;
            }
            // The upper end is read again as the next number.
            text = &rest[1..];
            numbers.extend((value..upper).take(max - numbers.len()));
            continue;
        }
        numbers.push(value);
        if end == OptionEnd::Last {
            break;
        }
    }
    (numbers, text)
}

/// True if the comma-separated list `text` has `option` as one of its elements.
/// Linux: `parse_option_str`.
pub fn parse_option_str(text: &str, option: &str) -> bool {
    text.split(',').any(|element| element == option)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(cmdline: &str) -> Vec<(&str, Option<&str>)> {
        parse_args(cmdline)
            .map(|arg| (arg.name, arg.value))
            .collect()
    }

    #[test]
    fn words_are_split_at_white_space_and_the_first_equals_sign() {
        assert_eq!(
            args("  quiet\troot=/dev/sda1  opt=a=b\n"),
            [
                ("quiet", None),
                ("root", Some("/dev/sda1")),
                ("opt", Some("a=b"))
            ]
        );
        assert_eq!(args(" \n"), []);
    }

    #[test]
    fn quotes_protect_white_space_around_values_and_whole_words() {
        assert_eq!(args("a=\"b c\" d"), [("a", Some("b c")), ("d", None)]);
        assert_eq!(args("\"a=b c\" d"), [("a", Some("b c")), ("d", None)]);
        assert_eq!(args("\"a b\""), [("a b", None)]);
        assert_eq!(
            args("x=\"\" y=\"open"),
            [("x", Some("")), ("y", Some("open"))]
        );
        assert_eq!(
            args("dyndbg=\"func f +p\"tail"),
            [("dyndbg", Some("func f +p\"tail"))]
        );
    }

    #[test]
    fn a_value_may_be_empty_but_a_name_may_not() {
        assert_eq!(args("init= =x"), [("init", Some("")), ("=x", None)]);
        assert_eq!(args("\"\" a"), [("a", None)]);
        assert_eq!(args("a=\""), [("a", Some(""))]);
    }

    #[test]
    fn two_dashes_end_the_kernels_part() {
        let mut iter = parse_args("quiet -- -s single");
        assert_eq!(iter.after_dashes(), None);
        assert_eq!(iter.by_ref().count(), 1);
        assert_eq!(iter.after_dashes(), Some("-s single"));
        assert_eq!(args("a --x=1 -- b"), [("a", None), ("--x", Some("1"))]);
    }

    #[test]
    fn names_match_across_dash_and_underscore() {
        assert!(parameq("log-buf_len", "log_buf-len"));
        assert!(!parameq("log_buf", "log_buf_len"));
        assert!(parameqn("log-buf_len", "log_buf", 7));
        assert!(!parameqn("log", "log_buf", 7));
    }

    #[test]
    fn sizes_take_suffixes_and_bases() {
        assert_eq!(memparse("16M@0x1000"), (16 << 20, "@0x1000"));
        assert_eq!(memparse("0x10k"), (16 << 10, ""));
        assert_eq!(memparse("010"), (8, ""));
        assert_eq!(memparse("1E"), (1 << 60, ""));
        assert_eq!(memparse("2g,high"), (2 << 30, ",high"));
        assert_eq!(memparse("junk"), (0, "junk"));
    }

    #[test]
    fn a_number_tells_what_follows_it() {
        assert_eq!(get_option("7,8"), Some((7, OptionEnd::Comma, "8")));
        assert_eq!(get_option("-7"), Some((-7, OptionEnd::Last, "")));
        assert_eq!(get_option("3-5"), Some((3, OptionEnd::Hyphen, "-5")));
        assert_eq!(get_option("x"), None);
        assert_eq!(get_option(""), None);
    }

    #[test]
    fn lists_write_their_ranges_out() {
        assert_eq!(
            get_options("1,4-6,0x9 x", 10),
            (alloc::vec![1, 4, 5, 6, 9], " x")
        );
        assert_eq!(get_options("1-100", 3).0, [1, 2, 3]);
        assert_eq!(get_options("5-3,1", 10).0, []);
        assert_eq!(get_options("", 10).0, []);
    }

    #[test]
    fn a_list_element_is_found_only_as_a_whole() {
        assert!(parse_option_str("a,bc,d", "bc"));
        assert!(!parse_option_str("a,bcd", "bc"));
    }

    #[test]
    fn no_line_makes_the_splitter_panic() {
        let alphabet = ['"', '=', ' ', '-', 'a', 'é', ','];
        for seed in 0..7usize.pow(5) {
            let line: alloc::string::String =
                (0..5).map(|i| alphabet[seed / 7usize.pow(i) % 7]).collect();
            let _ = (args(&line), memparse(&line), get_options(&line, 4));
        }
    }
}
