//! Gzip whose bytes depend on nothing but what goes in: no name, no time, and one compressor on every machine.
//!
//! Not `flate2`: it takes whichever of its backends another crate of the build asks for, and zlib-rs's output depends on the processor. miniz_oxide is plain code.
//! Format: RFC 1952 (<https://www.rfc-editor.org/rfc/rfc1952>).

use std::io::{self, Write};

use crc32fast::Hasher;
use miniz_oxide::deflate::core::{CompressorOxide, create_comp_flags_from_zip_params};
use miniz_oxide::deflate::stream::deflate;
use miniz_oxide::{MZFlush, MZStatus};

/// Magic, deflate, no flags, no time, no hint about speed, an unknown system.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
/// Deflate without zlib's own frame.
const RAW_WINDOW_BITS: i32 = -15;
const BUFFER_BYTES: usize = 64 * 1024;

/// Compresses what is written to it.
pub(super) struct Gzip<W> {
    output: W,
    compressor: CompressorOxide,
    buffer: Vec<u8>,
    crc: Hasher,
    /// Modulo 2³², as the trailer has it.
    bytes: u32,
}

impl<W: Write> Gzip<W> {
    /// Levels go from 1, fast, to 9, small.
    pub(super) fn new(mut output: W, level: i32) -> io::Result<Gzip<W>> {
        output.write_all(&HEADER)?;
        let compressor = CompressorOxide::new(create_comp_flags_from_zip_params(level, RAW_WINDOW_BITS, 0));
        Ok(Gzip { output, compressor, buffer: vec![0; BUFFER_BYTES], crc: Hasher::new(), bytes: 0 })
    }

    /// Writes what is left and the trailer.
    pub(super) fn finish(mut self) -> io::Result<W> {
        loop {
            let result = deflate(&mut self.compressor, &[], &mut self.buffer, MZFlush::Finish);
            self.output.write_all(&self.buffer[..result.bytes_written])?;
            if result.status.map_err(failed)? == MZStatus::StreamEnd {
                break;
            }
        }
        self.output.write_all(&self.crc.finalize().to_le_bytes())?;
        self.output.write_all(&self.bytes.to_le_bytes())?;
        Ok(self.output)
    }
}

impl<W: Write> Write for Gzip<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let result = deflate(&mut self.compressor, rest, &mut self.buffer, MZFlush::None);
            result.status.map_err(failed)?;
            self.output.write_all(&self.buffer[..result.bytes_written])?;
            rest = &rest[result.bytes_consumed..];
        }
        self.crc.update(bytes);
        // Modulo 2³² is what the format wants.
        self.bytes = self.bytes.wrapping_add(u32::try_from(bytes.len()).map_err(io::Error::other)?);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

fn failed(error: miniz_oxide::MZError) -> io::Error {
    io::Error::other(format!("deflate failed: {error:?}"))
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn others_read_it() {
        let check = |content: &[u8], pieces: usize| {
            let mut gzip = Gzip::new(Vec::new(), 6).unwrap();
            content.chunks(pieces).for_each(|piece| gzip.write_all(piece).unwrap());
            let compressed = gzip.finish().unwrap();
            let mut read = Vec::new();
            flate2::read::GzDecoder::new(compressed.as_slice()).read_to_end(&mut read).unwrap();
            assert!(read == content, "{} bytes", content.len());
        };
        let text: Vec<u8> = (0..300_000u32).flat_map(|number| (number.wrapping_mul(number) % 251).to_le_bytes()).collect();
        check(b"", 1);
        check(b"a", 1);
        check(&text, 1000);
        check(&text, text.len());
    }

    #[test]
    fn its_bytes_are_known() {
        let mut gzip = Gzip::new(Vec::new(), 6).unwrap();
        gzip.write_all(b"frontdesk frontdesk frontdesk").unwrap();
        assert_eq!(hex::encode(gzip.finish().unwrap()), "1f8b08000000000000ff4b2bcacf2b49492dce5648c3640100e34c7a731d000000");
    }
}
