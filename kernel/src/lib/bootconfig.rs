//! The boot configuration that may hang at the end of an initramfs. Linux: lib/bootconfig.c,
//! init/main.c (`get_boot_config_from_initrd`), fs/proc/bootconfig.c,
//! Documentation/admin-guide/bootconfig.rst.
#![forbid(unsafe_code)]

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write};

use super::string_helpers::{is_space, skip_spaces, strim};

/// What the file ends in.
pub const BOOTCONFIG_MAGIC: &[u8; 12] = b"#BOOTCONFIG\n";
/// Greatest size of the text in bytes. Linux: `XBC_DATA_MAX`.
pub const DATA_MAX: usize = 32767;
/// Greatest number of keys and values. Linux: `XBC_NODE_MAX`.
pub const NODE_MAX: usize = 8192;
/// Greatest length of a whole key in bytes, counting a dot or NUL behind each word.
pub const KEYLEN_MAX: usize = 256;
/// Greatest number of words in a key and of open braces.
pub const DEPTH_MAX: usize = 16;

/// A configuration cut off an initramfs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trailer<'a> {
    /// The initramfs without it.
    pub initrd: &'a [u8],
    /// The text with its NUL padding.
    pub data: &'a [u8],
}

/// What is wrong with a configuration that is there; it prints Linux's message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrailerError {
    /// The text would start before the initramfs does.
    TooBig {
        /// Size in bytes that the trailer gives.
        size: u32,
        /// Size in bytes of the initramfs.
        initrd_size: usize,
    },
    /// The text is not what was written.
    Checksum,
}

impl fmt::Display for TrailerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooBig { size, initrd_size } => {
                write!(
                    f,
                    "bootconfig size {size} is greater than initrd size {initrd_size}"
                )
            }
            Self::Checksum => f.write_str("bootconfig checksum failed"),
        }
    }
}

/// The sum of all bytes. Linux: `xbc_calc_checksum`.
pub fn checksum(data: &[u8]) -> u32 {
    data.iter()
        .fold(0, |sum: u32, &byte| sum.wrapping_add(u32::from(byte)))
}

/// Looks for a configuration at the end of `initrd`: text, padding, size, checksum (32 bits each,
/// little endian), magic; up to 3 bytes of alignment may follow. `Ok(None)` if there is none.
///
/// # Errors
/// If there is one that cannot be used; the initramfs is then to be taken as a whole.
pub fn find_trailer(initrd: &[u8]) -> Result<Option<Trailer<'_>>, TrailerError> {
    let body = (0..4).find_map(|slack| {
        initrd
            .get(..initrd.len().checked_sub(slack)?)?
            .strip_suffix(BOOTCONFIG_MAGIC)
    });
    let Some((body, &sum)) = body.and_then(|body| body.split_last_chunk::<4>()) else {
        return Ok(None);
    };
    let Some((body, &size)) = body.split_last_chunk::<4>() else {
        return Ok(None);
    };
    let size = u32::from_le_bytes(size);
    let Some(start) = body.len().checked_sub(size as usize) else {
        return Err(TrailerError::TooBig {
            size,
            initrd_size: initrd.len(),
        });
    };
    let (rest, data) = body.split_at(start);
    if checksum(data) != u32::from_le_bytes(sum) {
        return Err(TrailerError::Checksum);
    }
    Ok(Some(Trailer { initrd: rest, data }))
}

/// Why a text could not be read. It prints `message at position`, as Linux logs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// Linux's words.
    pub message: &'static str,
    /// Offset in bytes from the start of the text.
    pub position: usize,
    /// Line of that position, counted from 1.
    pub line: usize,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.message, self.position)
    }
}

/// One word of a key, with what hangs below it.
#[derive(Debug, Default)]
struct Key {
    word: String,
    parent: Option<usize>,
    children: Vec<usize>,
    /// `None` until there is a `=`.
    values: Option<Vec<String>>,
    position: usize,
}

impl Key {
    /// A key that stands for itself, not only for the words below it. Linux: `xbc_node_is_leaf`.
    fn is_leaf(&self) -> bool {
        self.values.is_some() || self.children.is_empty()
    }
}

/// A parsed configuration: a tree of words with lists of values.
#[derive(Debug)]
pub struct BootConfig {
    keys: Vec<Key>,
    roots: Vec<usize>,
    nr_nodes: usize,
}

impl BootConfig {
    /// Reads a text; it ends at its first NUL. Linux: `xbc_init`.
    ///
    /// # Errors
    /// Linux's message with the place.
    pub fn parse(data: &[u8]) -> Result<Self, ParseError> {
        let refuse = |message, position| ParseError {
            message,
            position,
            line: 1,
        };
        if data.is_empty() {
            return Err(refuse("Config data is empty", 0));
        }
        if data.len() > DATA_MAX {
            return Err(refuse("Config data is too big", 0));
        }
        let data = super::string_helpers::until_nul(data);
        let (text, invalid) = match str::from_utf8(data) {
            Ok(text) => (text, false),
            Err(error) => {
                let valid = &data[..error.valid_up_to()];
                (str::from_utf8(valid).unwrap_or_default(), true)
            }
        };
        let mut parser = Parser::new(text);
        let result = if invalid {
            Err(("Non printable value", text.len()))
        } else {
            parser.run().and_then(|()| parser.verify())
        };
        match result {
            Ok(()) => Ok(parser.config),
            Err((message, position)) => {
                let before = &text.as_bytes()[..position.min(text.len())];
                let line = 1 + before.iter().filter(|&&b| b == b'\n').count();
                Err(ParseError {
                    message,
                    position,
                    line,
                })
            }
        }
    }

    /// Number of words and values, as the log line `Load bootconfig: ... nodes` counts them.
    pub fn nr_nodes(&self) -> usize {
        self.nr_nodes
    }

    fn child(&self, parent: Option<usize>, word: &str) -> Option<usize> {
        let siblings = match parent {
            Some(parent) => &self.keys[parent].children,
            None => &self.roots,
        };
        siblings
            .iter()
            .copied()
            .find(|&key| self.keys[key].word == word)
    }

    fn find(&self, key: &str) -> Option<usize> {
        key.split('.')
            .try_fold(None, |parent, word| self.child(parent, word).map(Some))
            .flatten()
    }

    /// The values of `key`, empty for a key without `=`; `None` if there is no such key or it only
    /// leads to others. Linux: `xbc_find_value` with `xbc_array_for_each_value`.
    pub fn values(&self, key: &str) -> Option<&[String]> {
        let key = &self.keys[self.find(key)?];
        key.is_leaf()
            .then(|| key.values.as_deref().unwrap_or_default())
    }

    /// The first value of `key`, empty if it has none. Linux: `xbc_find_value`.
    pub fn value(&self, key: &str) -> Option<&str> {
        self.values(key)
            .map(|values| values.first().map_or("", String::as_str))
    }

    /// The whole keys with their values, in the order of the text, words below a key after it.
    /// Linux: `xbc_for_each_key_value`.
    pub fn iter(&self) -> impl Iterator<Item = (String, &[String])> {
        self.leaves(&self.roots, String::new()).into_iter()
    }

    /// As [`BootConfig::iter`], for the keys below the word `root` and without it.
    /// Linux: `xbc_node_for_each_key_value`.
    pub fn iter_below(&self, root: &str) -> impl Iterator<Item = (String, &[String])> {
        let below = self
            .find(root)
            .map_or(&[][..], |root| &self.keys[root].children);
        self.leaves(below, String::new()).into_iter()
    }

    /// Depth is bounded by [`DEPTH_MAX`], so is the recursion.
    fn leaves(&self, keys: &[usize], prefix: String) -> Vec<(String, &[String])> {
        let mut found = Vec::new();
        for key in keys.iter().map(|&key| &self.keys[key]) {
            let mut name = prefix.clone();
            name.push_str(&key.word);
            if key.is_leaf() {
                found.push((name.clone(), key.values.as_deref().unwrap_or_default()));
            }
            name.push('.');
            found.append(&mut self.leaves(&key.children, name));
        }
        found
    }

    /// The keys below `root` (`kernel` or `init`) as parameters, each with a blank behind it; a
    /// value with white space gets quotes. Linux: `xbc_make_cmdline`, `xbc_snprint_cmdline`.
    pub fn cmdline(&self, root: &str) -> String {
        let mut line = String::new();
        for (name, values) in self.iter_below(root) {
            if values.is_empty() {
                line += &name;
                line.push(' ');
            }
            for value in values {
                let quote = if value.bytes().any(is_space) {
                    "\""
                } else {
                    ""
                };
                // A String takes everything.
                let _ = write!(line, "{name}={quote}{value}{quote} ");
            }
        }
        line
    }

    /// The contents of /proc/bootconfig: `key = "value", "value"` per line, then the boot loader's
    /// command line as a comment unless it is empty. Linux: `copy_xbc_key_value_list`.
    pub fn proc_text(&self, boot_command_line: &str) -> String {
        let mut text = String::new();
        for (name, values) in self.iter() {
            text += &name;
            text += " = ";
            for (i, value) in values.iter().enumerate() {
                let quote = if value.contains('"') { '\'' } else { '"' };
                let comma = if i > 0 { ", " } else { "" };
                let _ = write!(text, "{comma}{quote}{value}{quote}");
            }
            text += if values.is_empty() { "\"\"\n" } else { "\n" };
        }
        if !boot_command_line.is_empty() {
            let _ = write!(
                text,
                "# Parameters from bootloader:\n# {boot_command_line}\n"
            );
        }
        text
    }
}

/// A message and its offset in bytes.
type Failure = (&'static str, usize);

/// How a value joins those that its key has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Assign {
    /// `=`: there must be none.
    Define,
    /// `+=`
    Append,
    /// `:=`
    Override,
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    config: BootConfig,
    /// The key whose braces are open here.
    parent: Option<usize>,
    /// The keys whose braces are open, outermost first.
    braces: Vec<usize>,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Self {
        let config = BootConfig {
            keys: Vec::new(),
            roots: Vec::new(),
            nr_nodes: 0,
        };
        Self {
            text,
            at: 0,
            config,
            parent: None,
            braces: Vec::new(),
        }
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Linux: `xbc_parse_tree`.
    fn run(&mut self) -> Result<(), Failure> {
        while let Some(len) = self.rest().find(['{', '}', '=', '+', ';', ':', '\n', '#']) {
            let key_at = self.at;
            let key = &self.rest()[..len];
            self.at += len;
            let delimiter = self.byte();
            self.at += 1;
            match delimiter {
                Some(b'=') => self.assignment(key, key_at, Assign::Define)?,
                Some(b'+') => {
                    self.expect_equals("Wrong '+' operator")?;
                    self.assignment(key, key_at, Assign::Append)?;
                }
                Some(b':') => {
                    self.expect_equals("Wrong ':' operator")?;
                    self.assignment(key, key_at, Assign::Override)?;
                }
                Some(b'{') => self.open_brace(key, key_at)?,
                Some(b'}') => {
                    self.bare_key(key, key_at)?;
                    self.close_brace()?;
                }
                Some(b'#') => {
                    self.bare_key(key, key_at)?;
                    self.skip_comment();
                }
                _ => self.bare_key(key, key_at)?,
            }
        }
        self.skip_blank();
        if self.rest().is_empty() {
            Ok(())
        } else {
            Err(("No delimiter", self.at))
        }
    }

    fn expect_equals(&mut self, message: &'static str) -> Result<(), Failure> {
        if self.byte() != Some(b'=') {
            return Err((message, self.at - 1));
        }
        self.at += 1;
        Ok(())
    }

    /// Goes behind the end of the line.
    fn skip_comment(&mut self) {
        self.at += self
            .rest()
            .find('\n')
            .map_or(self.rest().len(), |len| len + 1);
    }

    fn count_node(&mut self, position: usize) -> Result<(), Failure> {
        if self.config.nr_nodes == NODE_MAX {
            return Err(("Too many nodes", position));
        }
        self.config.nr_nodes += 1;
        Ok(())
    }

    /// The key named by the words of `key` below the open brace, made if it is new.
    fn add_keys(&mut self, key: &str, key_at: usize) -> Result<usize, Failure> {
        let mut position = key_at + (key.len() - skip_spaces(key).len());
        let mut parent = self.parent;
        for word in strim(key).split('.') {
            let valid = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
            if word.is_empty() || !word.bytes().all(valid) {
                return Err(("Invalid keyword", position));
            }
            parent = Some(match self.config.child(parent, word) {
                Some(existing) => existing,
                None => self.add_key(parent, word, position)?,
            });
            position += word.len() + 1;
        }
        // A split yields at least one word.
        parent.ok_or(("Invalid keyword", position))
    }

    fn add_key(
        &mut self,
        parent: Option<usize>,
        word: &str,
        position: usize,
    ) -> Result<usize, Failure> {
        self.count_node(position)?;
        let key = self.config.keys.len();
        let node = Key {
            word: word.into(),
            parent,
            position,
            ..Key::default()
        };
        self.config.keys.push(node);
        match parent {
            Some(parent) => self.config.keys[parent].children.push(key),
            None => self.config.roots.push(key),
        }
        Ok(key)
    }

    /// A key that a delimiter ends without a value; nothing at all is fine too.
    fn bare_key(&mut self, key: &str, key_at: usize) -> Result<(), Failure> {
        if !strim(key).is_empty() {
            self.add_keys(key, key_at)?;
        }
        Ok(())
    }

    fn open_brace(&mut self, key: &str, key_at: usize) -> Result<(), Failure> {
        let key = self.add_keys(key, key_at)?;
        self.braces.push(key);
        self.parent = Some(key);
        if self.braces.len() >= DEPTH_MAX {
            return Err(("Exceed max depth of braces", self.at - 1));
        }
        Ok(())
    }

    fn close_brace(&mut self) -> Result<(), Failure> {
        self.braces
            .pop()
            .ok_or(("Unexpected closing brace", self.at - 1))?;
        self.parent = self.braces.last().copied();
        Ok(())
    }

    /// Everything behind `key =` up to the end of its list.
    fn assignment(&mut self, key: &str, key_at: usize, assign: Assign) -> Result<(), Failure> {
        let key = self.add_keys(key, key_at)?;
        let first_at = self.at;
        let mut list = Vec::new();
        let end = loop {
            let (value, end) = self.value()?;
            list.push(String::from(value));
            if end != Some(b',') {
                break end;
            }
        };
        self.store(key, list, assign, first_at)?;
        if end == Some(b'}') {
            self.close_brace()?;
        }
        Ok(())
    }

    fn store(
        &mut self,
        key: usize,
        list: Vec<String>,
        assign: Assign,
        position: usize,
    ) -> Result<(), Failure> {
        for _ in &list {
            self.count_node(position)?;
        }
        match (&mut self.config.keys[key].values, assign) {
            (Some(_), Assign::Define) => return Err(("Value is redefined", position)),
            (Some(values), Assign::Append) => values.extend(list),
            (values, _) => *values = Some(list),
        }
        Ok(())
    }

    /// Reads one value and what ended it; a comment counts as the end of the line.
    /// Linux: `__xbc_parse_value`.
    fn value(&mut self) -> Result<(&'a str, Option<u8>), Failure> {
        self.skip_blank();
        while self.byte() == Some(b'#') {
            self.skip_comment();
            self.skip_blank();
        }
        let value = match self.byte() {
            Some(quote @ (b'"' | b'\'')) => self.quoted_value(char::from(quote))?,
            _ => {
                let end = self.rest().find([',', ';', '\n', '#', '}']);
                let value = &self.rest()[..end.unwrap_or(self.rest().len())];
                self.check_printable(value)?;
                self.at += value.len();
                strim(value)
            }
        };
        let end = self.byte();
        if end == Some(b'#') {
            self.skip_comment();
            return Ok((value, Some(b'\n')));
        }
        self.at += usize::from(end.is_some());
        Ok((value, end))
    }

    fn skip_blank(&mut self) {
        self.at = self.text.len() - skip_spaces(self.rest()).len();
    }

    /// The text between quotes; leaves the cursor on the delimiter behind it.
    fn quoted_value(&mut self, quote: char) -> Result<&'a str, Failure> {
        self.at += 1;
        let Some(len) = self.rest().find(quote) else {
            return Err(("No closing quotes", self.text.len()));
        };
        let value = &self.rest()[..len];
        self.check_printable(value)?;
        self.at += len + 1;
        while self.byte().is_some_and(|b| is_space(b) && b != b'\n') {
            self.at += 1;
        }
        match self.byte() {
            None | Some(b',' | b';' | b'\n' | b'#' | b'}') => Ok(value),
            Some(_) => Err(("No value delimiter", self.at)),
        }
    }

    fn check_printable(&self, value: &str) -> Result<(), Failure> {
        let bad = value
            .char_indices()
            .find(|(_, c)| c.is_control() && !u8::try_from(*c).is_ok_and(is_space));
        bad.map_or(Ok(()), |(i, _)| Err(("Non printable value", self.at + i)))
    }

    /// What can only be judged at the end. Linux: `xbc_verify_tree`.
    fn verify(&self) -> Result<(), Failure> {
        if let Some(&open) = self.braces.last() {
            return Err(("Brace is not closed", self.config.keys[open].position));
        }
        if self.config.keys.is_empty() {
            return Err(("Empty config", 0));
        }
        for key in &self.config.keys {
            let mut len = 0;
            let mut depth = 0;
            let mut word = Some(key);
            while let Some(node) = word {
                len += node.word.len() + 1;
                depth += 1;
                word = node.parent.map(|parent| &self.config.keys[parent]);
            }
            if len > KEYLEN_MAX {
                return Err(("Too long key length", key.position));
            }
            if depth > DEPTH_MAX {
                return Err(("Too many key words", key.position));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
