//! Shell patterns. Linux: lib/glob.c.
#![forbid(unsafe_code)]

/// True if `pattern` describes the whole of `text`.
///
/// `*` stands for any bytes, `?` for one, `[a-z]` for one of a set (`[!a-z]` for one outside it),
/// and `\` takes the next byte as it is. An unclosed `[` stands for itself. It does not treat `/`
/// or a leading dot specially and needs no memory. Linux: `glob_match`.
pub fn glob_match(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where to go on if the present guess for the last `*` turns out too short.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        if pattern.get(p) == Some(&b'*') {
            p += 1;
            retry = Some((p, t));
            continue;
        }
        let step = match text.get(t) {
            Some(&byte) => match_one(&pattern[p..], byte),
            None if p == pattern.len() => return true,
            None => return false,
        };
        match (step, retry) {
            (Some(len), _) => (p, t) = (p + len, t + 1),
            (None, Some((star, start))) => {
                (p, t) = (star, start + 1);
                retry = Some((star, start + 1));
            }
            (None, None) => return false,
        }
    }
}

/// Length of the first pattern element if it accepts `byte`.
fn match_one(pattern: &[u8], byte: u8) -> Option<usize> {
    let (len, accepts) = match pattern {
        [] => return None,
        [b'?', ..] => (1, true),
        [b'\\', literal, ..] => (2, *literal == byte),
        [b'[', class @ ..] => match match_class(class, byte) {
            Some((len, accepts)) => (1 + len, accepts),
            None => (1, byte == b'['),
        },
        [literal, ..] => (1, *literal == byte),
    };
    accepts.then_some(len)
}

/// Length of the set behind `[`, with its `]`, and whether it accepts `byte`; `None` if unclosed.
fn match_class(class: &[u8], byte: u8) -> Option<(usize, bool)> {
    let inverted = class.first() == Some(&b'!');
    let first = usize::from(inverted);
    let mut at = first;
    let mut found = false;
    loop {
        let low = *class.get(at)?;
        // A `]` right after the bracket is a member.
        if low == b']' && at > first {
            return Some((at + 1, found != inverted));
        }
        let high = match class.get(at + 1..at + 3) {
            Some(&[b'-', high]) if high != b']' => {
                at += 2;
                high
            }
            _ => low,
        };
        found |= (low..=high).contains(&byte);
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::glob_match;

    fn matches(pattern: &str, text: &str) -> bool {
        glob_match(pattern.as_bytes(), text.as_bytes())
    }

    #[test]
    fn plain_text_matches_itself_only() {
        assert!(matches("", "") && matches("abc", "abc"));
        assert!(!matches("abc", "ab") && !matches("ab", "abc") && !matches("", "a"));
    }

    #[test]
    fn a_star_takes_as_much_as_is_needed() {
        for (pattern, text) in [
            ("*", ""),
            ("*", "abc"),
            ("a*c", "abcbc"),
            ("*ab*cd*", "abcdecd"),
            ("**", "x"),
            ("*.ko", "a.ko.ko"),
            ("a*a*a*b", "aaaaaaaaab"),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        assert!(!matches("a*c", "abcd") && !matches("*b", "a"));
        assert!(!matches(
            "a*a*a*a*a*a*a*b",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        ));
    }

    #[test]
    fn sets_have_ranges_and_can_be_inverted() {
        assert!(matches("[a-c]x", "bx") && matches("[!a-c]x", "dx"));
        assert!(!matches("[a-c]x", "dx") && !matches("[!a-c]x", "bx"));
        assert!(matches("[]]", "]") && matches("[!]]", "a") && matches("[a-]", "-"));
        assert!(matches("[a", "[a"), "an unclosed set is plain text");
    }

    #[test]
    fn a_backslash_quotes() {
        assert!(matches("\\*", "*") && !matches("\\*", "a"));
        assert!(matches("a\\", "a\\"), "a last backslash is plain text");
        assert!(matches("?", "a") && !matches("?", ""));
    }
}
