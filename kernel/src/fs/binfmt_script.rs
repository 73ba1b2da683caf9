//! `#!` scripts (Linux: fs/binfmt_script.c).
#![forbid(unsafe_code)]

use crate::fs::exec::{BINPRM_BUF_SIZE, Binprm};
use crate::fs::exec_hooks;
use crate::prelude::*;

/// What a `#!` line says.
#[derive(Debug, PartialEq, Eq)]
pub struct Shebang<'a> {
    /// Path of the interpreter.
    pub interpreter: &'a [u8],
    /// The rest of the line as one argument, if there is any.
    pub argument: Option<&'a [u8]>,
}

fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

fn trim_start(text: &[u8]) -> &[u8] {
    let start = text
        .iter()
        .position(|&byte| !is_blank(byte))
        .unwrap_or(text.len());
    &text[start..]
}

fn trim_end(text: &[u8]) -> &[u8] {
    let end = text
        .iter()
        .rposition(|&byte| !is_blank(byte))
        .map_or(0, |last| last + 1);
    &text[..end]
}

/// Where a word ends: at a blank or a NUL.
fn word_end(text: &[u8]) -> Option<usize> {
    text.iter().position(|&byte| is_blank(byte) || byte == 0)
}

/// Parses the first bytes of a file, zeroes after its end. `None` unless they are a usable `#!`
/// line: a line that does not end in the buffer counts only if the interpreter's path does.
pub fn parse(head: &[u8; BINPRM_BUF_SIZE]) -> Option<Shebang<'_>> {
    let text = head.strip_prefix(b"#!")?;
    let line = match text.iter().position(|&byte| byte == b'\n' || byte == 0) {
        Some(end) if text[end] == b'\n' => &text[..end],
        // As on Linux, the last byte of the buffer never counts.
        _ => {
            let text = &text[..text.len() - 1];
            let name = trim_start(text);
            if name.is_empty() || word_end(name).is_none() {
                return None;
            }
            text
        }
    };
    let line = trim_start(trim_end(line));
    let end = word_end(line).unwrap_or(line.len());
    let (interpreter, rest) = line.split_at(end);
    if interpreter.is_empty() {
        return None;
    }
    let rest = if rest.first() == Some(&0) {
        &[]
    } else {
        trim_start(rest)
    };
    let rest = &rest[..rest
        .iter()
        .position(|&byte| byte == 0)
        .unwrap_or(rest.len())];
    Some(Shebang {
        interpreter,
        argument: (!rest.is_empty()).then_some(rest),
    })
}

/// Makes the interpreter the program and puts it in front of the arguments.
/// Errors: ENOEXEC if the file is no script, E2BIG, and those of opening the interpreter.
pub fn load_script(bprm: &mut Binprm) -> Result<Arc<crate::fs::file::File>> {
    let head = bprm.head;
    let Shebang {
        interpreter,
        argument,
    } = parse(&head).ok_or(Errno::ENOEXEC)?;
    if bprm.path_inaccessible {
        // The interpreter could not open `/dev/fd/N`: exec closes the descriptor.
        return Err(Errno::ENOENT);
    }
    bprm.args.remove_arg_zero();
    let script = core::mem::take(&mut bprm.interp);
    bprm.args.prepend(&script)?;
    if let Some(argument) = argument {
        bprm.args.prepend(argument)?;
    }
    bprm.args.prepend(interpreter)?;
    bprm.interp = interpreter.to_vec();
    exec_hooks::open_exec(interpreter)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &[u8]) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
        let mut head = [0; BINPRM_BUF_SIZE];
        let len = text.len().min(head.len());
        head[..len].copy_from_slice(&text[..len]);
        parse(&head).map(|line| (line.interpreter.to_vec(), line.argument.map(<[u8]>::to_vec)))
    }

    fn line(interpreter: &str, argument: Option<&str>) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
        Some((interpreter.into(), argument.map(Into::into)))
    }

    #[test]
    fn a_script_line_has_an_interpreter_and_at_most_one_argument() {
        assert_eq!(parsed(b"#!/bin/sh\necho"), line("/bin/sh", None));
        assert_eq!(parsed(b"#! \t/bin/sh \t\n"), line("/bin/sh", None));
        assert_eq!(
            parsed(b"#!/usr/bin/env python3 -u \n"),
            line("/usr/bin/env", Some("python3 -u"))
        );
        assert_eq!(
            parsed(b"#!/bin/sh"),
            line("/bin/sh", None),
            "the file may end there"
        );
        assert_eq!(parsed(b"#!/bin/sh -x"), line("/bin/sh", Some("-x")));
        assert_eq!(parsed(b"#!/bin/sh -x\0y\n"), line("/bin/sh", Some("-x")));
    }

    #[test]
    fn what_is_no_script_line_is_refused() {
        for text in [
            &b"#!"[..],
            b"#!\n",
            b"#! \t\n",
            b"#",
            b"",
            b"\x7fELF",
            b" #!/bin/sh\n",
        ] {
            assert_eq!(parsed(text), None, "{text:?}");
        }
        assert_eq!(
            parsed(&[&b"#!"[..], &[b' '; 300]].concat()),
            None,
            "blanks only"
        );
    }

    #[test]
    fn a_path_that_the_buffer_cuts_is_refused_but_a_cut_argument_is_not() {
        let long = [&b"#!/"[..], &[b'a'; 300]].concat();
        assert_eq!(parsed(&long), None);
        let cut = [&b"#!/bin/sh "[..], &[b'x'; 300]].concat();
        let argument = "x".repeat(BINPRM_BUF_SIZE - 1 - 10);
        assert_eq!(parsed(&cut), line("/bin/sh", Some(&argument)));
    }
}
