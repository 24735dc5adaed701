//! A call's payload: in memory while it is small, else in a file without a name that ends with the last handle on it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::task::JoinHandle;

/// What is read of a file at a time.
const PIECE_BYTES: usize = 64 * 1024;

/// A payload that can be sent more than once. Cheap to clone.
#[derive(Debug, Clone)]
pub enum Payload {
    /// In memory.
    Memory(Bytes),
    /// In a file.
    Spooled {
        /// The file, which nobody else writes.
        file: Arc<File>,
        /// Its length.
        bytes: u64,
    },
}

impl Payload {
    /// Its length in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        match self {
            Payload::Memory(bytes) => bytes.len() as u64,
            Payload::Spooled { bytes, .. } => *bytes,
        }
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A body that sends it, to be read again elsewhere.
    #[must_use]
    pub fn into_body(self) -> impl Body<Data = Bytes, Error = io::Error> + Unpin + Send {
        PayloadBody { payload: self, sent: 0, reading: None }
    }

    /// A body that sends it from its beginning.
    pub(crate) fn body(&self) -> PayloadBody {
        PayloadBody { payload: self.clone(), sent: 0, reading: None }
    }
}

impl From<Bytes> for Payload {
    fn from(bytes: Bytes) -> Self {
        Payload::Memory(bytes)
    }
}

/// A payload on its way to an agent. A file is read piece by piece, on a blocking thread, as fast as the agent takes it.
#[derive(Debug)]
pub(crate) struct PayloadBody {
    payload: Payload,
    sent: u64,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
}

impl Body for PayloadBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let left = self.payload.len() - self.sent;
        if left == 0 {
            return Poll::Ready(None);
        }
        let piece = match &self.payload {
            Payload::Memory(bytes) => bytes.clone(),
            Payload::Spooled { file, .. } => {
                let (file, at) = (file.clone(), self.sent);
                let reading = self.reading.get_or_insert_with(|| tokio::task::spawn_blocking(move || read_piece(&file, at, left)));
                let read = std::task::ready!(Pin::new(reading).poll(context));
                self.reading = None;
                match read.map_err(io::Error::other).flatten() {
                    Ok(piece) => piece,
                    Err(error) => return Poll::Ready(Some(Err(error))),
                }
            }
        };
        self.sent += piece.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.sent == self.payload.len()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.payload.len() - self.sent)
    }
}

fn read_piece(file: &File, at: u64, left: u64) -> io::Result<Bytes> {
    let mut piece = vec![0; PIECE_BYTES.min(usize::try_from(left).unwrap_or(PIECE_BYTES))];
    file.read_exact_at(&mut piece, at)?;
    Ok(piece.into())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn a_spooled_payload_is_sent_whole_and_again() {
        let content: Vec<u8> = (0..200_000_u32).map(|number| number.to_le_bytes()[0]).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&content).unwrap();
        let payload = Payload::Spooled { file: Arc::new(file), bytes: content.len() as u64 };
        for _ in 0..2 {
            let body = payload.body();
            assert_eq!(body.size_hint().exact(), Some(200_000));
            assert!(body.collect().await.unwrap().to_bytes() == content);
        }
    }

    #[tokio::test]
    async fn a_file_that_is_too_short_breaks_the_call_off() {
        let payload = Payload::Spooled { file: Arc::new(tempfile::tempfile().unwrap()), bytes: 1 };
        assert!(payload.body().collect().await.is_err());
    }
}
