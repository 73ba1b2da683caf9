//! Compression of an initramfs.

use std::io::Write;
use std::process::{Command, Stdio};

use flate2::write::GzEncoder;

use crate::command::start_error;
use crate::error::{Error, Result};

/// How an initramfs is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Compression {
    /// Not at all: fastest when the loader is.
    None,
    /// By the library in this program.
    Gzip,
    /// By the program `zstd`.
    Zstd,
    /// By the program `xz`, with the check that kernels can verify.
    Xz,
}

impl Compression {
    /// Compresses `bytes`.
    pub fn apply(self, bytes: Vec<u8>) -> Result<Vec<u8>> {
        match self {
            Self::None => Ok(bytes),
            Self::Gzip => gzip(&bytes),
            Self::Zstd => filter("zstd", &["-19", "-q", "-c"], bytes),
            Self::Xz => filter("xz", &["--check=crc32", "--lzma2=dict=1MiB", "-c"], bytes),
        }
    }
}

fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder
        .write_all(bytes)
        .and_then(|()| encoder.finish())
        .map_err(|error| Error::Other(format!("cannot compress the initramfs: {error}")))
}

/// Pipes `input` through a program.
fn filter(program: &str, arguments: &[&str], input: Vec<u8>) -> Result<Vec<u8>> {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = command
        .spawn()
        .map_err(|source| start_error(&command, source))?;
    let mut stdin = child.stdin.take().expect("the pipe was asked for");
    // The program may fill its output pipe before it has read everything: feed it from the side.
    let feeder = std::thread::spawn(move || stdin.write_all(&input));
    let output = child
        .wait_with_output()
        .map_err(|source| start_error(&command, source))?;
    let fed = feeder.join().is_ok_and(|result| result.is_ok());
    if fed && output.status.success() {
        return Ok(output.stdout);
    }
    Err(Error::Failed {
        what: format!("compressing with {program}"),
        output: String::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn gzip_gives_back_what_went_in() {
        let text = b"the same words, the same words, the same words".to_vec();
        let packed = Compression::Gzip.apply(text.clone()).unwrap();
        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(&packed[..])
            .read_to_end(&mut unpacked)
            .unwrap();
        assert_eq!(unpacked, text);
    }

    #[test]
    fn a_filter_may_answer_more_than_a_pipe_holds() {
        let input = vec![b'x'; 1 << 20];
        assert_eq!(filter("cat", &[], input.clone()).unwrap(), input);
    }

    #[test]
    fn a_failing_filter_is_an_error() {
        assert!(filter("false", &[], Vec::new()).is_err());
    }
}
