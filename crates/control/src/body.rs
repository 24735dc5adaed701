//! A request's body, hashed while it comes: in memory while it is small, then in a file without a name.

use std::fs::File;
use std::io::Write as _;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use frontdesk_aws::ServiceError;
use frontdesk_aws::sigv4::BodyHash;
use frontdesk_runtime::Payload;
use http_body_util::BodyExt as _;
use hyper::body::Body;
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;

/// A longer body goes to a file.
const MEMORY_BYTES_MAX: usize = 1024 * 1024;
/// Bodies that may be on their way to a file at once; others wait for their turn, unread.
const SPOOLS_MAX: usize = 16;

/// Reads bodies.
#[derive(Debug)]
pub(crate) struct BodyReader {
    spools: Semaphore,
}

impl Default for BodyReader {
    fn default() -> Self {
        BodyReader { spools: Semaphore::new(SPOOLS_MAX) }
    }
}

impl BodyReader {
    /// Reads a body to its end, if it has no more than `bytes_max` bytes.
    ///
    /// # Errors
    /// RequestEntityTooLargeException, ValidationException when the body breaks off, and InternalServerException when no file can be written.
    pub(crate) async fn read<B>(&self, mut body: B, bytes_max: usize) -> Result<(Payload, BodyHash), ServiceError>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let too_large = || ServiceError::request_entity_too_large(format!("the request body is larger than {bytes_max} bytes"));
        if body.size_hint().lower() > bytes_max as u64 {
            return Err(too_large());
        }
        let mut hasher = Sha256::new();
        let mut held = BytesMut::new();
        let mut spool: Option<Spool> = None;
        let mut whole_bytes = 0;
        // Waits only when the body turns out to be a large one, so small ones never queue behind large ones.
        let mut place = None;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| ServiceError::validation("the request body did not come to its end"))?;
            let Ok(piece) = frame.into_data() else { continue };
            whole_bytes += piece.len();
            if whole_bytes > bytes_max {
                return Err(too_large());
            }
            hasher.update(&piece);
            if whole_bytes == piece.len() && body.is_end_stream() && piece.len() <= MEMORY_BYTES_MAX {
                // It came in one piece.
                return Ok((Payload::Memory(piece), BodyHash::finish(hasher)));
            }
            held.extend_from_slice(&piece);
            if held.len() > MEMORY_BYTES_MAX {
                if place.is_none() {
                    place = Some(self.spools.acquire().await.expect("the semaphore is never closed"));
                }
                spool = Some(written(spool, held.split().freeze()).await?);
            }
        }
        let hash = BodyHash::finish(hasher);
        match spool {
            None => Ok((Payload::Memory(held.freeze()), hash)),
            Some(spool) => {
                let Spool { file, bytes } = written(Some(spool), held.freeze()).await?;
                Ok((Payload::Spooled { file: Arc::new(file), bytes }, hash))
            }
        }
    }
}

struct Spool {
    file: File,
    bytes: u64,
}

/// Appends to the spool file, making it first; on a blocking thread, for a disk may be slow.
async fn written(spool: Option<Spool>, piece: Bytes) -> Result<Spool, ServiceError> {
    let writing = tokio::task::spawn_blocking(move || -> std::io::Result<Spool> {
        let mut spool = match spool {
            Some(spool) => spool,
            None => Spool { file: tempfile::tempfile()?, bytes: 0 },
        };
        spool.file.write_all(&piece)?;
        spool.bytes += piece.len() as u64;
        Ok(spool)
    });
    writing.await.map_err(std::io::Error::other).flatten().map_err(|error| {
        tracing::error!(error = &error as &dyn std::error::Error, "a request body could not be kept in a file");
        ServiceError::internal_server("the request body could not be kept")
    })
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;

    use super::*;

    async fn check(bytes: usize, bytes_max: usize, expected: &str) {
        let content: Vec<u8> = (0..bytes).map(|number| number.to_le_bytes()[0]).collect();
        let read = BodyReader::default().read(Full::new(Bytes::from(content.clone())), bytes_max).await;
        let seen = match read {
            Err(error) => error.status.as_u16().to_string(),
            Ok((payload, hash)) => {
                assert_eq!(hash, BodyHash::of(&content));
                assert_eq!(payload.len(), bytes as u64);
                match payload {
                    Payload::Memory(held) => {
                        assert!(held == content);
                        "memory".to_owned()
                    }
                    Payload::Spooled { file, .. } => {
                        assert_eq!(file.metadata().unwrap().len(), bytes as u64);
                        "file".to_owned()
                    }
                }
            }
        };
        assert_eq!(seen, expected, "{bytes} bytes");
    }

    #[tokio::test]
    async fn a_large_body_goes_to_a_file() {
        check(0, 10, "memory").await;
        check(MEMORY_BYTES_MAX, usize::MAX, "memory").await;
        check(MEMORY_BYTES_MAX + 1, usize::MAX, "file").await;
        check(11, 10, "413").await;
    }
}
