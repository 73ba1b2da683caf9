//! Formatting into memory of a fixed size. Linux: lib/seq_buf.c.
#![forbid(unsafe_code)]

use core::fmt;

/// Text that is written to a borrowed buffer; what does not fit is cut off and remembered.
#[derive(Debug)]
pub struct SeqBuf<'a> {
    buffer: &'a mut [u8],
    len: usize,
    overflowed: bool,
}

impl<'a> SeqBuf<'a> {
    /// An empty text in `buffer`.
    pub fn new(buffer: &'a mut [u8]) -> Self {
        Self {
            buffer,
            len: 0,
            overflowed: false,
        }
    }

    /// Appends as many of `bytes` as fit.
    pub fn put(&mut self, bytes: &[u8]) {
        let room = self.buffer.len() - self.len;
        let count = room.min(bytes.len());
        self.buffer[self.len..self.len + count].copy_from_slice(&bytes[..count]);
        self.len += count;
        self.overflowed |= count < bytes.len();
    }

    /// The bytes written so far.
    pub fn as_bytes(&self) -> &[u8] {
        &self.buffer[..self.len]
    }

    /// The text written so far, up to a character that was cut.
    pub fn as_str(&self) -> &str {
        self.as_bytes()
            .utf8_chunks()
            .next()
            .map_or("", |chunk| chunk.valid())
    }

    /// Number of bytes written.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if nothing was written.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// True if something did not fit. Linux: `seq_buf_has_overflowed`.
    pub fn has_overflowed(&self) -> bool {
        self.overflowed
    }
}

/// Never fails: a full buffer cuts the text and sets [`SeqBuf::has_overflowed`].
impl fmt::Write for SeqBuf<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.put(text.as_bytes());
        Ok(())
    }
}

/// A text of at most `N` bytes in place, for where nothing may be allocated.
#[derive(Clone, Copy)]
pub struct StackString<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> StackString<N> {
    /// The empty text.
    pub const fn new() -> Self {
        Self {
            bytes: [0; N],
            len: 0,
        }
    }

    /// What `args` says, cut after `N` bytes.
    pub fn format(args: fmt::Arguments<'_>) -> Self {
        let mut text = Self::new();
        // Writing never fails: it cuts.
        let _ = fmt::write(&mut text, args);
        text
    }

    /// The text, up to a character that was cut.
    pub fn as_str(&self) -> &str {
        self.bytes[..self.len]
            .utf8_chunks()
            .next()
            .map_or("", |chunk| chunk.valid())
    }

    /// Makes the text empty again.
    pub fn clear(&mut self) {
        self.len = 0;
    }
}

impl<const N: usize> Default for StackString<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> fmt::Write for StackString<N> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let count = text.len().min(N - self.len);
        self.bytes[self.len..self.len + count].copy_from_slice(&text.as_bytes()[..count]);
        self.len += count;
        Ok(())
    }
}

impl<const N: usize> fmt::Display for StackString<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl<const N: usize> fmt::Debug for StackString<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::fmt::Write;

    #[test]
    fn a_text_that_fits_is_kept_whole() {
        let mut memory = [0; 8];
        let mut buf = SeqBuf::new(&mut memory);
        write!(buf, "{}-{:x}", 12, 255).unwrap();
        assert_eq!(
            (buf.as_str(), buf.len(), buf.has_overflowed()),
            ("12-ff", 5, false)
        );
    }

    #[test]
    fn a_text_that_is_too_long_is_cut_before_the_character_that_did_not_fit() {
        let mut memory = [0; 4];
        let mut buf = SeqBuf::new(&mut memory);
        write!(buf, "abcé").unwrap();
        assert_eq!(
            (buf.as_bytes().len(), buf.as_str(), buf.has_overflowed()),
            (4, "abc", true)
        );
        assert_eq!(
            StackString::<3>::format(format_args!("{}", 12345)).as_str(),
            "123"
        );
    }

    #[test]
    fn a_stack_string_obeys_the_width() {
        let name = StackString::<16>::format(format_args!("tty{}", 1));
        assert_eq!(alloc::format!("[{name:>6}]"), "[  tty1]");
    }
}
