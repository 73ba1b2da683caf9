//! The bootconfig trailer: kernel parameters carried at the end of an initramfs, for loaders without a command line.
//!
//! Linux: Documentation/admin-guide/bootconfig.rst. `[initramfs][text][zeros][size][checksum]["#BOOTCONFIG\n"]`, where
//! both numbers are little-endian 32 bits and the whole is a multiple of four bytes.

use crate::error::{Error, Result};

const MAGIC: &[u8; 12] = b"#BOOTCONFIG\n";
/// Linux: `XBC_DATA_MAX`.
const TEXT_LIMIT: usize = 32 * 1024 - 1;

/// Appends a trailer that holds the parameters of a kernel command line.
pub fn append(initramfs: &mut Vec<u8>, cmdline: &str) -> Result<()> {
    let text = text_of(cmdline)?;
    if text.len() > TEXT_LIMIT {
        return Err(Error::Other(format!(
            "the kernel parameters are too long: {} bytes of bootconfig text, {TEXT_LIMIT} fit",
            text.len()
        )));
    }
    let start = initramfs.len();
    initramfs.extend_from_slice(text.as_bytes());
    // The size and the checksum are eight bytes, the magic is twelve: aligning here aligns the end.
    initramfs.resize(initramfs.len().next_multiple_of(4), 0);
    let padded = &initramfs[start..];
    let size = u32::try_from(padded.len()).expect("the text is below the limit");
    let checksum = padded
        .iter()
        .fold(0_u32, |sum, byte| sum.wrapping_add(u32::from(*byte)));
    initramfs.extend_from_slice(&size.to_le_bytes());
    initramfs.extend_from_slice(&checksum.to_le_bytes());
    initramfs.extend_from_slice(MAGIC);
    Ok(())
}

/// Writes a command line as bootconfig text: `kernel.` keys, and `init.` keys for what follows `--`.
fn text_of(cmdline: &str) -> Result<String> {
    let mut keys = Vec::<(String, Vec<String>)>::new();
    let mut prefix = "kernel";
    for word in words(cmdline) {
        if word == "--" {
            prefix = "init";
            continue;
        }
        let (name, value) = word.split_once('=').unwrap_or((word.as_str(), ""));
        check_name(name)?;
        let key = format!("{prefix}.{name}");
        match keys.iter_mut().find(|(known, _)| *known == key) {
            Some((_, values)) => values.push(quoted(value)?),
            None if word.contains('=') => keys.push((key, vec![quoted(value)?])),
            None => keys.push((key, Vec::new())),
        }
    }
    Ok(keys.iter().map(|(key, values)| line(key, values)).collect())
}

/// One `key = value, value` line. A parameter that is given twice, such as `console=`, becomes an array.
fn line(key: &str, values: &[String]) -> String {
    if values.is_empty() {
        return format!("{key}\n");
    }
    format!("{key} = {}\n", values.join(", "))
}

/// Splits a command line at blanks outside of double quotes, and drops the quotes.
fn words(cmdline: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut in_quotes = false;
    for character in cmdline.chars().chain([' ']) {
        match character {
            '"' => in_quotes = !in_quotes,
            c if c.is_whitespace() && !in_quotes => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            c => word.push(c),
        }
    }
    words
}

fn check_name(name: &str) -> Result<()> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if !name.is_empty() && name.chars().all(allowed) {
        return Ok(());
    }
    Err(Error::Other(format!(
        "`{name}` cannot be the name of a kernel parameter in an image"
    )))
}

/// The syntax has no escapes: a value may hold one kind of quote, but not both.
fn quoted(value: &str) -> Result<String> {
    if !value.contains('"') {
        return Ok(format!("\"{value}\""));
    }
    if !value.contains('\'') {
        return Ok(format!("'{value}'"));
    }
    Err(Error::Other(format!(
        "a kernel parameter's value cannot hold both kinds of quotes: {value}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_become_keys_and_arguments_of_init_too() {
        assert_eq!(
            text_of("quiet console=tty0 console=ttyS0 a.b=1,2 -- single x=y").unwrap(),
            "kernel.quiet\nkernel.console = \"tty0\", \"ttyS0\"\nkernel.a.b = \"1,2\"\ninit.single\ninit.x = \"y\"\n"
        );
    }

    #[test]
    fn quotes_keep_blanks_together() {
        assert_eq!(words(r#"a="b c" d"#), ["a=b c", "d"]);
    }

    #[test]
    fn the_trailer_is_aligned_and_its_checksum_adds_up() {
        for length in 0..9 {
            let mut bytes = vec![0xee; length * 4];
            let start = bytes.len();
            append(&mut bytes, &"x".repeat(length + 1)).unwrap();
            assert_eq!(bytes.len() % 4, 0);
            let (rest, magic) = bytes.split_at(bytes.len() - 12);
            assert_eq!(magic, MAGIC);
            let (text, numbers) = rest.split_at(rest.len() - 8);
            let size = u32::from_le_bytes(numbers[..4].try_into().unwrap());
            let sum = u32::from_le_bytes(numbers[4..].try_into().unwrap());
            assert_eq!(size as usize, text.len() - start);
            assert_eq!(
                sum,
                text[start..]
                    .iter()
                    .map(|byte| u32::from(*byte))
                    .sum::<u32>()
            );
        }
    }

    #[test]
    fn impossible_names_are_refused() {
        assert!(text_of("a{b=1").is_err());
        assert!(text_of("=1").is_err());
    }
}
