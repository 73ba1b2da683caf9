//! Unpacking of compressed data by its magic number. Linux: lib/decompress.c and
//! lib/decompress_{inflate,unxz,unzstd}.c.
//!
//! Every method hands its output on in pieces and keeps no more than its window, so the memory
//! needed does not depend on the size of the data.
#![forbid(unsafe_code)]

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use super::crc32::crc32_le;

/// Greatest window in bytes of xz and zstd data. Linux: `ZSTD_WINDOWLOG_MAX`.
pub const WINDOW_MAX: usize = 128 << 20;
/// Output is handed on in pieces of at most this size in bytes.
const PIECE_SIZE: usize = 64 << 10;

/// What compressed the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// RFC 1952.
    Gzip,
    /// Not configured.
    Bzip2,
    /// The format before xz; not configured.
    Lzma,
    /// The .xz format; checksums CRC32, CRC64 and none.
    Xz,
    /// Not configured.
    Lzo,
    /// The old frame format; not configured.
    Lz4,
    /// RFC 8878.
    Zstd,
}

impl Method {
    /// Linux's name, as in "Detected gzip compressed data".
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Bzip2 => "bzip2",
            Self::Lzma => "lzma",
            Self::Xz => "xz",
            Self::Lzo => "lzo",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

/// Recognises compressed data by its first two bytes. Linux: `decompress_method`.
pub fn decompress_method(input: &[u8]) -> Option<Method> {
    match *input.first_chunk()? {
        [0x1f, 0x8b | 0x9e] => Some(Method::Gzip),
        [0x42, 0x5a] => Some(Method::Bzip2),
        [0x5d, 0x00] => Some(Method::Lzma),
        [0xfd, 0x37] => Some(Method::Xz),
        [0x89, 0x4c] => Some(Method::Lzo),
        [0x02, 0x21] => Some(Method::Lz4),
        [0x28, 0xb5] => Some(Method::Zstd),
        _ => None,
    }
}

/// The receiver of the output wants no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stop;

/// Why decompression ended early; it prints Linux's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// This kernel has no code for the method.
    NotConfigured(Method),
    /// The data is not good; the text is the method's own.
    Data(&'static str),
    /// The receiver answered [`Stop`].
    Stopped,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotConfigured(method) => {
                write!(f, "compression method {} not configured", method.name())
            }
            Self::Data(text) => f.write_str(text),
            Self::Stopped => f.write_str("write error"),
        }
    }
}

impl From<Stop> for Error {
    fn from(_: Stop) -> Self {
        Self::Stopped
    }
}

/// Where output goes, piece by piece.
pub type Flush<'a> = dyn FnMut(&[u8]) -> Result<(), Stop> + 'a;

/// Decompresses the archive at the start of `input` and returns its length in bytes: what follows
/// is not looked at.
///
/// # Errors
/// If the data is damaged, cut short or needs a window beyond [`WINDOW_MAX`], if the method is not
/// configured or if `flush` stops. Output before the error has been handed on.
pub fn decompress(method: Method, input: &[u8], flush: &mut Flush<'_>) -> Result<usize, Error> {
    match method {
        Method::Gzip => gunzip(input, flush),
        Method::Xz => unxz(input, flush),
        Method::Zstd => unzstd(input, flush),
        method => Err(Error::NotConfigured(method)),
    }
}

mod gzip_flag {
    pub const HEADER_CRC: u8 = 1 << 1;
    pub const EXTRA: u8 = 1 << 2;
    pub const NAME: u8 = 1 << 3;
    pub const COMMENT: u8 = 1 << 4;
    pub const RESERVED: u8 = 0xe0;
}

/// Length of a gzip header in bytes (RFC 1952, 2.3).
fn gzip_header(input: &[u8]) -> Option<usize> {
    let &[0x1f, 0x8b, 8, flags, ..] = input.first_chunk::<10>()? else {
        return None;
    };
    if flags & gzip_flag::RESERVED != 0 {
        return None;
    }
    let mut len = 10;
    if flags & gzip_flag::EXTRA != 0 {
        let extra = input.get(len..)?.first_chunk::<2>()?;
        len += 2 + usize::from(u16::from_le_bytes(*extra));
    }
    for flag in [gzip_flag::NAME, gzip_flag::COMMENT] {
        if flags & flag != 0 {
            len += input.get(len..)?.iter().position(|&b| b == 0)? + 1;
        }
    }
    if flags & gzip_flag::HEADER_CRC != 0 {
        len += 2;
    }
    Some(len)
}

/// Makes sure that `size` bytes can be had, as the decoders' own allocations cannot fail gracefully.
fn check_memory(size: u64, out_of_memory: &'static str) -> Result<(), Error> {
    let mut memory = Vec::<u8>::new();
    match usize::try_from(size) {
        Ok(size) if size <= WINDOW_MAX && memory.try_reserve_exact(size).is_ok() => {}
        _ => return Err(Error::Data(out_of_memory)),
    }
    // An allocation that nobody looks at could be optimised away.
    core::hint::black_box(memory);
    Ok(())
}

/// The inflater's 10 KiB of tables. They are built on the stack, so this stays a call of its own:
/// what `flush` does later must not find them still there.
#[inline(never)]
fn inflate_state() -> Box<miniz_oxide::inflate::core::DecompressorOxide> {
    Box::default()
}

fn gunzip(input: &[u8], flush: &mut Flush<'_>) -> Result<usize, Error> {
    use miniz_oxide::inflate::TINFLStatus;
    use miniz_oxide::inflate::core::{decompress, inflate_flags};

    let header = gzip_header(input).ok_or(Error::Data("Not a gzip file"))?;
    let body = input.get(header..).ok_or(Error::Data("header error"))?;
    // A ring that holds the 32 KiB window.
    let mut window = vec![0; PIECE_SIZE];
    let mut state = inflate_state();
    let (mut consumed, mut at) = (0, 0);
    let (mut crc, mut size) = (!0, 0u32);
    loop {
        let rest = &body[consumed..];
        let flags = inflate_flags::TINFL_FLAG_IGNORE_ADLER32;
        let (status, taken, made) = decompress(&mut state, rest, &mut window, at, flags);
        consumed += taken;
        let piece = &window[at..at + made];
        crc = crc32_le(crc, piece);
        size = size.wrapping_add(made as u32);
        flush(piece)?;
        at = (at + made) % PIECE_SIZE;
        match status {
            TINFLStatus::Done => break,
            TINFLStatus::HasMoreOutput => {}
            _ => return Err(Error::Data("uncompression error")),
        }
    }
    let trailer = body[consumed..]
        .first_chunk::<8>()
        .ok_or(Error::Data("read error"))?;
    let mut expected = [0; 8];
    expected[..4].copy_from_slice(&(!crc).to_le_bytes());
    expected[4..].copy_from_slice(&size.to_le_bytes());
    if *trailer == expected {
        Ok(header + consumed + trailer.len())
    } else {
        Err(Error::Data("crc error"))
    }
}

fn unxz(input: &[u8], flush: &mut Flush<'_>) -> Result<usize, Error> {
    use xz4rust::{XzDecoder, XzError, XzNextBlockResult};

    let mut decoder = XzDecoder::in_heap_with_alloc_dict_size(PIECE_SIZE, PIECE_SIZE);
    let mut output = vec![0; PIECE_SIZE];
    let (mut consumed, mut started) = (0, false);
    loop {
        let result = match decoder.decode(&input[consumed..], &mut output) {
            // The first block tells how big the window is.
            Err(XzError::DictionaryTooLarge(window)) if !started => {
                check_memory(window, "XZ decompressor ran out of memory")?;
                decoder = XzDecoder::in_heap_with_alloc_dict_size(window as usize, WINDOW_MAX);
                (consumed, started) = (0, true);
                continue;
            }
            result => result.map_err(xz_error)?,
        };
        started |= result.output_produced() > 0;
        flush(&output[..result.output_produced()])?;
        consumed += result.input_consumed();
        match result {
            XzNextBlockResult::EndOfStream(..) => return Ok(consumed),
            _ if !result.made_progress() => {
                return Err(Error::Data(XZ_CORRUPT));
            }
            _ => {}
        }
    }
}

const XZ_CORRUPT: &str = "XZ-compressed data is corrupt";

/// Linux's words for what the decoder found.
fn xz_error(error: xz4rust::XzError) -> Error {
    use xz4rust::XzError as E;
    Error::Data(match error {
        E::StreamHeaderMagicNumberMismatch => "Input is not in the XZ format (wrong magic bytes)",
        E::UnsupportedStreamHeaderOption
        | E::UnsupportedBlockHeaderOption
        | E::UnsupportedLzmaProperties(_)
        | E::UnsupportedCheckType(_)
        | E::UnsupportedBcjFilter(_)
        | E::Sha256NotSupported => {
            "Input was encoded with settings that are not supported by this XZ decoder"
        }
        E::DictionaryTooLarge(_) => "XZ decompressor ran out of memory",
        _ => XZ_CORRUPT,
    })
}

/// A decoder behind the frame header, with the window that the header asks for.
fn zstd_decoder(input: &mut &[u8]) -> Result<ruzstd::decoding::FrameDecoder, Error> {
    use ruzstd::decoding::errors::FrameDecoderError;

    let start = *input;
    let mut decoder = ruzstd::decoding::FrameDecoder::new();
    decoder.set_max_window_size(PIECE_SIZE as u64);
    match decoder.init(&mut *input) {
        Err(FrameDecoderError::WindowSizeTooBig { requested, .. })
            if requested <= WINDOW_MAX as u64 =>
        {
            check_memory(requested, "Out of memory while allocating ZSTD_DStream")?;
            decoder.set_max_window_size(requested);
            *input = start;
            decoder.init(input).map_err(zstd_error)?;
        }
        result => result.map_err(zstd_error)?,
    }
    Ok(decoder)
}

fn unzstd(input: &[u8], flush: &mut Flush<'_>) -> Result<usize, Error> {
    use ruzstd::decoding::BlockDecodingStrategy;
    use ruzstd::io_nostd::Read;

    let mut rest = input;
    let mut decoder = zstd_decoder(&mut rest)?;
    let mut output = vec![0; PIECE_SIZE];
    while !decoder.is_finished() {
        decoder
            .decode_blocks(&mut rest, BlockDecodingStrategy::UptoBytes(PIECE_SIZE))
            .map_err(zstd_error)?;
        while decoder.can_collect() > 0 {
            let made = decoder
                .read(&mut output)
                .map_err(|_| Error::Data(ZSTD_CORRUPT))?;
            flush(&output[..made])?;
        }
    }
    let stored = decoder.get_checksum_from_data();
    if stored.is_some() && stored != decoder.get_calculated_checksum() {
        return Err(Error::Data(ZSTD_CORRUPT));
    }
    Ok(input.len() - rest.len())
}

const ZSTD_CORRUPT: &str = "ZSTD-compressed data is corrupt";

/// Linux's words for what the decoder found.
fn zstd_error(error: ruzstd::decoding::errors::FrameDecoderError) -> Error {
    use ruzstd::decoding::errors::{
        DecodeBlockContentError as B, DecompressBlockError as D, FrameDecoderError as E,
        ReadFrameHeaderError as H,
    };
    Error::Data(match error {
        E::ReadFrameHeaderError(H::BadMagicNumber(_) | H::SkipFrame { .. }) => {
            "Input is not in the ZSTD format (wrong magic bytes)"
        }
        E::ReadFrameHeaderError(_) => "ZSTD-compressed data has an incomplete frame header",
        E::WindowSizeTooBig { .. } => "ZSTD-compressed data has too large a window size",
        E::FailedToReadBlockHeader(_)
        | E::FailedToReadChecksum(_)
        | E::FailedToReadBlockBody(
            B::ReadError { .. } | B::DecompressBlockError(D::BlockContentReadError(_)),
        ) => "ZSTD-compressed data is truncated",
        _ => ZSTD_CORRUPT,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::ToString;

    /// "hello, hello, hello, world\n" as gzip -n, xz --check=crc32, xz --check=crc64 and zstd pack it.
    const PLAIN: &[u8] = b"hello, hello, hello, world\n";
    const GZIP: &[u8] = &[
        0x1f, 0x8b, 0x8, 0x0, 0x0, 0x0, 0x0, 0x0, 0x2, 0x3, 0xcb, 0x48, 0xcd, 0xc9, 0xc9, 0xd7,
        0x51, 0xc8, 0x40, 0xa1, 0xca, 0xf3, 0x8b, 0x72, 0x52, 0xb8, 0x0, 0xc3, 0x70, 0xa3, 0xc2,
        0x1b, 0x0, 0x0, 0x0,
    ];
    const XZ_CRC32: &[u8] = &[
        0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x0, 0x0, 0x1, 0x69, 0x22, 0xde, 0x36, 0x2, 0x0, 0x21, 0x1,
        0xc, 0x0, 0x0, 0x0, 0x8f, 0x98, 0x41, 0x9c, 0xe0, 0x0, 0x1a, 0x0, 0x13, 0x5d, 0x0, 0x34,
        0x19, 0x49, 0xdb, 0x85, 0x5c, 0xd1, 0xd6, 0x5a, 0xe2, 0xf7, 0xc6, 0xd7, 0x73, 0x27, 0x50,
        0x3b, 0xd0, 0x0, 0x0, 0x0, 0xc3, 0x70, 0xa3, 0xc2, 0x0, 0x1, 0x2b, 0x1b, 0xae, 0x81, 0x93,
        0xdc, 0x90, 0x42, 0x99, 0xd, 0x1, 0x0, 0x0, 0x0, 0x0, 0x1, 0x59, 0x5a,
    ];
    const XZ_CRC64: &[u8] = &[
        0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x0, 0x0, 0x4, 0xe6, 0xd6, 0xb4, 0x46, 0x2, 0x0, 0x21, 0x1,
        0xc, 0x0, 0x0, 0x0, 0x8f, 0x98, 0x41, 0x9c, 0xe0, 0x0, 0x1a, 0x0, 0x13, 0x5d, 0x0, 0x34,
        0x19, 0x49, 0xdb, 0x85, 0x5c, 0xd1, 0xd6, 0x5a, 0xe2, 0xf7, 0xc6, 0xd7, 0x73, 0x27, 0x50,
        0x3b, 0xd0, 0x0, 0x0, 0x0, 0x4a, 0x99, 0x31, 0x63, 0x90, 0x7e, 0x3f, 0x3, 0x0, 0x1, 0x2f,
        0x1b, 0xaa, 0x44, 0xff, 0xb8, 0x1f, 0xb6, 0xf3, 0x7d, 0x1, 0x0, 0x0, 0x0, 0x0, 0x4, 0x59,
        0x5a,
    ];
    const ZSTD: &[u8] = &[
        0x28, 0xb5, 0x2f, 0xfd, 0x4, 0x58, 0x9d, 0x0, 0x0, 0x68, 0x68, 0x65, 0x6c, 0x6c, 0x6f,
        0x2c, 0x20, 0x77, 0x6f, 0x72, 0x6c, 0x64, 0xa, 0x1, 0x0, 0x92, 0x8b, 0x11, 0x8a, 0x96,
        0xf4, 0xb,
    ];

    fn unpack(method: Method, input: &[u8]) -> (Vec<u8>, Result<usize, Error>) {
        let mut output = Vec::new();
        let result = decompress(method, input, &mut |piece| {
            output.extend_from_slice(piece);
            Ok(())
        });
        (output, result)
    }

    fn samples() -> [(Method, &'static [u8]); 4] {
        [
            (Method::Gzip, GZIP),
            (Method::Xz, XZ_CRC32),
            (Method::Xz, XZ_CRC64),
            (Method::Zstd, ZSTD),
        ]
    }

    #[test]
    fn each_method_is_known_by_its_magic_number() {
        for (method, packed) in samples() {
            assert_eq!(decompress_method(packed), Some(method));
        }
        let names = |bytes: &[u8]| decompress_method(bytes).map(Method::name);
        assert_eq!(names(b"BZh9"), Some("bzip2"));
        assert_eq!(names(b"\x5d\0\0"), Some("lzma"));
        assert_eq!(names(b"\x89LZO"), Some("lzo"));
        assert_eq!(names(b"\x02\x21"), Some("lz4"));
        assert_eq!((names(b"\x1f"), names(b"0707")), (None, None));
    }

    #[test]
    fn the_length_of_the_archive_comes_back_whatever_follows_it() {
        for (method, packed) in samples() {
            for tail in [&b""[..], b"\0\0\0\0", b"070701 and more"] {
                let (output, result) = unpack(method, &[packed, tail].concat());
                assert_eq!(
                    (output.as_slice(), result),
                    (PLAIN, Ok(packed.len())),
                    "{method:?}"
                );
            }
        }
    }

    #[test]
    fn an_archive_that_is_cut_short_is_an_error() {
        for (method, packed) in samples() {
            for len in 0..packed.len() {
                assert!(
                    unpack(method, &packed[..len]).1.is_err(),
                    "{method:?} cut at {len}"
                );
            }
        }
        let text = |method, packed| unpack(method, packed).1.unwrap_err().to_string();
        assert_eq!(text(Method::Xz, &XZ_CRC32[..40]), XZ_CORRUPT);
        assert_eq!(
            text(Method::Zstd, &ZSTD[..12]),
            "ZSTD-compressed data is truncated"
        );
    }

    #[test]
    fn damage_is_noticed_and_never_panics() {
        for (method, packed) in samples() {
            for at in 0..packed.len() {
                for bit in 0..8 {
                    let mut damaged = packed.to_vec();
                    damaged[at] ^= 1 << bit;
                    let (output, result) = unpack(method, &damaged);
                    assert!(
                        result.is_err() || output == PLAIN,
                        "{method:?} byte {at} bit {bit}"
                    );
                }
            }
        }
    }

    #[test]
    fn checksums_are_checked() {
        let mut gzip = GZIP.to_vec();
        let at = gzip.len() - 8;
        gzip[at] ^= 1;
        assert_eq!(unpack(Method::Gzip, &gzip).1, Err(Error::Data("crc error")));
        let mut zstd = ZSTD.to_vec();
        *zstd.last_mut().unwrap() ^= 1;
        assert_eq!(
            unpack(Method::Zstd, &zstd).1,
            Err(Error::Data(ZSTD_CORRUPT))
        );
    }

    #[test]
    fn gzip_headers_may_carry_names_and_extras() {
        let header = b"\x1f\x8b\x08\x1e\0\0\0\0\0\x03\x02\0abname\0comment\0hh";
        let packed = [&header[..], &GZIP[10..]].concat();
        assert_eq!(
            unpack(Method::Gzip, &packed),
            (PLAIN.to_vec(), Ok(packed.len()))
        );
        assert_eq!(
            unpack(Method::Gzip, &header[..18]).1,
            Err(Error::Data("Not a gzip file"))
        );
    }

    #[test]
    fn output_beyond_one_piece_comes_in_order() {
        // 200,000 bytes of stored blocks: deflate's way to say "as it is".
        let plain: Vec<u8> = (0..200_000u32).map(|i| (i % 251) as u8).collect();
        let mut packed = GZIP[..10].to_vec();
        let blocks: Vec<&[u8]> = plain.chunks(40_000).collect();
        for (i, block) in blocks.iter().enumerate() {
            packed.push(u8::from(i + 1 == blocks.len()));
            packed.extend((block.len() as u16).to_le_bytes());
            packed.extend((!(block.len() as u16)).to_le_bytes());
            packed.extend(*block);
        }
        packed.extend(crate::lib::crc32::crc32(&plain).to_le_bytes());
        packed.extend((plain.len() as u32).to_le_bytes());
        let (output, result) = unpack(Method::Gzip, &packed);
        assert_eq!(result, Ok(packed.len()));
        assert!(output == plain);
    }

    #[test]
    fn a_window_that_is_too_big_is_refused_before_it_is_allocated() {
        // A zstd header for 256 MiB, and the properties byte of an xz dictionary of 3 GiB.
        let zstd = b"\x28\xb5\x2f\xfd\x00\x90";
        let text = "ZSTD-compressed data has too large a window size";
        assert_eq!(unpack(Method::Zstd, zstd).1, Err(Error::Data(text)));
        let mut xz = XZ_CRC32.to_vec();
        xz[16] = 39;
        let crc = crate::lib::crc32::crc32(&xz[12..20]);
        xz[20..24].copy_from_slice(&crc.to_le_bytes());
        let text = "XZ decompressor ran out of memory";
        assert_eq!(unpack(Method::Xz, &xz).1, Err(Error::Data(text)));
    }

    #[test]
    fn a_receiver_can_stop() {
        for (method, packed) in samples() {
            let result = decompress(method, packed, &mut |_| Err(Stop));
            assert_eq!(result, Err(Error::Stopped), "{method:?}");
        }
    }

    #[test]
    fn missing_methods_are_named() {
        for method in [Method::Bzip2, Method::Lzma, Method::Lzo, Method::Lz4] {
            let error = unpack(method, b"").1.unwrap_err().to_string();
            assert_eq!(
                error,
                format!("compression method {} not configured", method.name())
            );
        }
    }
}
