//! Files whose text the kernel makes when they are read (Linux: fs/seq_file.c).
#![forbid(unsafe_code)]

use core::sync::atomic::Ordering;

use uapi::fcntl::{SEEK_CUR, SEEK_SET};

use crate::arch::PAGE_SIZE;
use crate::fs::file::{File, FileOperations};
use crate::fs::read_write::vfs_setpos;
use crate::mm::uaccess::IovIter;
use crate::prelude::*;

/// An open text file: `show` makes the whole text at the first read, and again when a read starts
/// at the beginning. Reads in between see one text, however small they are
/// (Linux: `single_open`).
pub struct SeqFile<S> {
    show: S,
    text: SpinLock<Option<Arc<Vec<u8>>>>,
}

impl<S: Fn(&mut Vec<u8>) -> Result + Send + Sync> SeqFile<S> {
    /// A file with the text that `show` appends.
    pub fn new(show: S) -> Self {
        Self {
            show,
            text: SpinLock::new(None),
        }
    }

    fn text(&self, pos: u64) -> Result<Arc<Vec<u8>>> {
        let kept = self.text.lock().clone();
        if let Some(text) = kept
            && pos != 0
        {
            return Ok(text);
        }
        let mut bytes = Vec::new();
        (self.show)(&mut bytes)?;
        let text = Arc::new(bytes);
        let old = self.text.lock().replace(text.clone());
        drop(old);
        Ok(text)
    }
}

impl<S: Fn(&mut Vec<u8>) -> Result + Send + Sync> FileOperations for SeqFile<S> {
    fn read_iter(&self, _file: &File, to: &mut IovIter<'_>, pos: &mut u64) -> Result<usize> {
        let text = self.text(*pos)?;
        let start = usize::try_from(*pos).unwrap_or(usize::MAX);
        let rest = text.get(start..).unwrap_or_default();
        let len = rest.len().min(to.count());
        let copied = to.copy_to_iter(&rest[..len])?;
        *pos += copied as u64;
        Ok(copied)
    }
    fn llseek(&self, file: &File, offset: i64, whence: u32) -> Result<u64> {
        seq_lseek(file, offset, whence)
    }
    fn seekable(&self) -> bool {
        true
    }
}

/// An open text file that can be written: `store` gets the bytes of each write(2), at most a page.
pub struct StoreFile<R, S> {
    /// What reading it does.
    pub text: R,
    /// What writing it does.
    pub store: S,
}

impl<R, S> FileOperations for StoreFile<R, S>
where
    R: FileOperations,
    S: Fn(&[u8]) -> Result + Send + Sync,
{
    fn read_iter(&self, file: &File, to: &mut IovIter<'_>, pos: &mut u64) -> Result<usize> {
        self.text.read_iter(file, to, pos)
    }
    fn write_iter(&self, _file: &File, from: &mut IovIter<'_>, pos: &mut u64) -> Result<usize> {
        let len = from.count().min(PAGE_SIZE);
        let mut bytes = vec![0; len];
        let copied = from.copy_from_iter(&mut bytes)?;
        (self.store)(bytes.get(..copied).unwrap_or_default())?;
        *pos = pos.saturating_add(copied as u64);
        Ok(copied)
    }
    fn llseek(&self, file: &File, offset: i64, whence: u32) -> Result<u64> {
        self.text.llseek(file, offset, whence)
    }
    fn seekable(&self) -> bool {
        true
    }
}

/// Bytes that a stream makes at a time, at least; a record may be longer.
const STREAM_CHUNK: usize = 4096;

/// An open file whose text is made piece by piece, so that its length costs no memory: `next`
/// appends what comes at a cursor, which starts at 0, and returns the cursor of what follows,
/// `None` at the end (Linux: `seq_open` with an iterator).
pub struct SeqStream<N> {
    next: N,
    state: SpinLock<Stream>,
}

/// The piece of the text that is at hand.
#[derive(Default)]
struct Stream {
    bytes: Vec<u8>,
    /// Where in the file it starts.
    start: u64,
    /// Where the next piece comes from.
    cursor: Option<u64>,
}

impl Stream {
    fn from_start() -> Self {
        Self {
            cursor: Some(0),
            ..Self::default()
        }
    }
    /// What is at hand from `pos` on.
    fn rest(&self, pos: u64) -> &[u8] {
        let skip = usize::try_from(pos.saturating_sub(self.start)).unwrap_or(usize::MAX);
        self.bytes.get(skip..).unwrap_or_default()
    }
}

impl<N: Fn(u64, &mut Vec<u8>) -> Result<Option<u64>> + Send + Sync> SeqStream<N> {
    /// A file with the text that `next` makes.
    pub fn new(next: N) -> Self {
        Self {
            next,
            state: SpinLock::new(Stream::from_start()),
        }
    }

    /// Goes on until there is something at `pos`, or the text ends before.
    fn fill(&self, stream: &mut Stream, pos: u64) -> Result {
        if pos == 0 || pos < stream.start {
            *stream = Stream::from_start();
        }
        while stream.rest(pos).is_empty()
            && let Some(cursor) = stream.cursor
        {
            stream.start = stream.start.saturating_add(stream.bytes.len() as u64);
            stream.bytes.clear();
            stream.cursor = (self.next)(cursor, &mut stream.bytes)?;
            while stream.bytes.len() < STREAM_CHUNK
                && let Some(cursor) = stream.cursor
            {
                stream.cursor = (self.next)(cursor, &mut stream.bytes)?;
            }
        }
        Ok(())
    }
}

impl<N: Fn(u64, &mut Vec<u8>) -> Result<Option<u64>> + Send + Sync> FileOperations
    for SeqStream<N>
{
    fn read_iter(&self, _file: &File, to: &mut IovIter<'_>, pos: &mut u64) -> Result<usize> {
        // Two readers of one open file: the second one makes the text anew.
        let taken = core::mem::take(&mut *self.state.lock());
        let mut stream = if taken.bytes.is_empty() {
            Stream::from_start()
        } else {
            taken
        };
        self.fill(&mut stream, *pos)?;
        let rest = stream.rest(*pos);
        let copied = to.copy_to_iter(&rest[..rest.len().min(to.count())])?;
        *pos = pos.saturating_add(copied as u64);
        let old = core::mem::replace(&mut *self.state.lock(), stream);
        drop(old);
        Ok(copied)
    }
    fn llseek(&self, file: &File, offset: i64, whence: u32) -> Result<u64> {
        seq_lseek(file, offset, whence)
    }
    fn seekable(&self) -> bool {
        true
    }
}

/// lseek(2) without an end (Linux: `seq_lseek`). Errors: EINVAL.
pub fn seq_lseek(file: &File, offset: i64, whence: u32) -> Result<u64> {
    let target = match whence {
        SEEK_SET => Some(offset),
        SEEK_CUR => offset.checked_add(file.pos.load(Ordering::Relaxed) as i64),
        _ => None,
    };
    vfs_setpos(file, target.ok_or(Errno::EINVAL)?, i64::MAX as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(cursor: u64, out: &mut Vec<u8>) -> Result<Option<u64>> {
        out.extend_from_slice(format!("line {cursor:05}\n").as_bytes());
        Ok((cursor < 9999).then_some(cursor + 1))
    }

    type Step = fn(u64, &mut Vec<u8>) -> Result<Option<u64>>;

    fn read_at(file: &SeqStream<Step>, pos: u64) -> Vec<u8> {
        let mut stream = core::mem::take(&mut *file.state.lock());
        file.fill(&mut stream, pos).unwrap();
        let rest = stream.rest(pos).to_vec();
        *file.state.lock() = stream;
        rest
    }

    #[test]
    fn a_stream_is_read_whole_in_pieces_of_any_length() {
        let file = SeqStream::new(lines as fn(u64, &mut Vec<u8>) -> Result<Option<u64>>);
        let mut pos = 0;
        let mut text = Vec::new();
        loop {
            let piece = read_at(&file, pos);
            if piece.is_empty() {
                break;
            }
            let len = piece.len().min(77);
            text.extend_from_slice(&piece[..len]);
            pos += len as u64;
            assert!(piece.len() < 2 * STREAM_CHUNK);
        }
        assert_eq!(text.len(), 10_000 * 11);
        assert!(text.ends_with(b"line 09998\nline 09999\n"));
    }

    #[test]
    fn going_back_makes_the_text_anew() {
        let file = SeqStream::new(lines as fn(u64, &mut Vec<u8>) -> Result<Option<u64>>);
        assert!(read_at(&file, 11 * 5000).starts_with(b"line 05000\n"));
        assert!(read_at(&file, 11).starts_with(b"line 00001\n"));
        assert!(read_at(&file, 11 * 10_000).is_empty());
    }
}
