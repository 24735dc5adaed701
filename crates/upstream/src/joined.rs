//! Short writes of several slices as writes of one: for what an answer or a question usually is, a head and a few hundred bytes, copying them costs less than
//! handing the kernel a list.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};

/// What is copied at most, in bytes.
pub const JOINED_BYTES_MAX: usize = 2048;

/// The slices as one, if all of them fit into the buffer.
#[must_use]
pub fn joined<'a>(slices: &[IoSlice<'_>], buffer: &'a mut [u8; JOINED_BYTES_MAX]) -> Option<&'a [u8]> {
    let mut bytes = 0;
    for slice in slices {
        buffer.get_mut(bytes..bytes + slice.len())?.copy_from_slice(slice);
        bytes += slice.len();
    }
    Some(&buffer[..bytes])
}

/// A stream that is written to in this way.
#[derive(Debug)]
pub(crate) struct Joined<Stream>(pub(crate) Stream);

impl<Stream: Read + Unpin> Read for Joined<Stream> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl<Stream: Write + Unpin> Write for Joined<Stream> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match joined(slices, &mut [0; JOINED_BYTES_MAX]) {
            Some(bytes) => Pin::new(&mut self.0).poll_write(context, bytes),
            None => Pin::new(&mut self.0).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_is_one_piece_and_what_does_not_is_left() {
        let long = [7; JOINED_BYTES_MAX];
        let check = |slices: &[&[u8]], expected: Option<&[u8]>| {
            let slices: Vec<IoSlice<'_>> = slices.iter().map(|slice| IoSlice::new(slice)).collect();
            assert_eq!(joined(&slices, &mut [0; JOINED_BYTES_MAX]), expected);
        };
        check(&[b"head", b"", b"body"], Some(b"headbody"));
        check(&[], Some(b""));
        check(&[&long], Some(&long));
        check(&[b"head", &long], None);
    }
}
