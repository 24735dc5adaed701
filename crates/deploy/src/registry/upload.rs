//! The upload of one blob: in chunks, resumed where the registry says it stopped; whole, for a small blob and for a registry that takes no chunks.
//!
//! By "Pushing a blob in chunks" of the distribution specification
//! (<https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md#pushing-a-blob-in-chunks>).

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use backon::BackoffBuilder as _;
use bytes::Bytes;
use http::{HeaderName, Method, StatusCode, header};
use reqwest::{Body, Response, Url};

use super::{PushEvent, Registry, RegistryError};

/// A chunk: above the five megabytes that S3, behind many registries, wants of all parts but the last, and small enough to lose.
const CHUNK_BYTES: u64 = 8 * 1024 * 1024;
/// A registry may want larger chunks, but not such as do not fit into memory.
const CHUNK_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Read at once while a whole blob is streamed.
const PIECE_BYTES: usize = 256 * 1024;
const OCI_CHUNK_MIN_LENGTH: HeaderName = HeaderName::from_static("oci-chunk-min-length");

/// A blob of a layout.
pub(super) struct Blob<'a> {
    pub(super) digest: &'a str,
    pub(super) size: u64,
    pub(super) path: &'a Path,
}

/// How far an upload is.
enum Place {
    /// Not begun, or forgotten by the registry.
    Nowhere,
    /// The registry has the bytes up to `offset`. `is_told` when it was asked and said so.
    At { location: Url, offset: u64, chunk_bytes: u64, is_told: bool },
    /// A chunk was interrupted: how much of it arrived, only the registry knows.
    Unsure { location: Url, chunk_bytes: u64 },
    /// Everything is there and confirmed.
    Done,
}

/// A step that failed: where that leaves the upload, when trying again may help.
struct Failed {
    error: RegistryError,
    place: Option<Place>,
}

impl From<RegistryError> for Failed {
    /// An error that no further attempt helps.
    fn from(error: RegistryError) -> Failed {
        Failed { error, place: None }
    }
}

impl Failed {
    /// What may pass leaves the upload at `place`.
    fn at(error: RegistryError, place: Place) -> Failed {
        Failed { place: error.is_passing().then_some(place), error }
    }
}

/// Uploads `blob`, which the registry does not have.
pub(super) async fn upload(registry: &Registry, blob: &Blob<'_>, told: &(dyn Fn(PushEvent) + Sync)) -> Result<(), RegistryError> {
    let upload = Upload { registry, blob, told, step: format!("the upload of {}", blob.digest) };
    let mut waits = registry.retries.backoff().build();
    let (mut place, mut reached) = (Place::Nowhere, 0);
    loop {
        match upload.step(place).await {
            Ok(Place::Done) => return Ok(()),
            Ok(next) => {
                if let Place::At { offset, .. } = next
                    && offset > reached
                {
                    // What moves on has its full number of attempts again.
                    (waits, reached) = (registry.retries.backoff().build(), offset);
                }
                place = next;
            }
            Err(Failed { error, place: Some(left) }) => {
                let Some(wait) = waits.next() else { return Err(error) };
                tracing::debug!(digest = blob.digest, %error, "upload is interrupted");
                tokio::time::sleep(wait).await;
                place = left;
            }
            Err(Failed { error, place: None }) => return Err(error),
        }
    }
}

struct Upload<'a> {
    registry: &'a Registry,
    blob: &'a Blob<'a>,
    told: &'a (dyn Fn(PushEvent) + Sync),
    step: String,
}

impl Upload<'_> {
    async fn step(&self, place: Place) -> Result<Place, Failed> {
        match place {
            Place::Nowhere => self.begin().await,
            Place::Unsure { location, chunk_bytes } => self.ask(location, chunk_bytes).await,
            Place::At { location, offset, chunk_bytes, .. } if offset == self.blob.size => self.finish(location, chunk_bytes).await,
            Place::At { location, offset, chunk_bytes, is_told } => self.send_chunk(location, offset, chunk_bytes, is_told).await,
            Place::Done => Ok(Place::Done),
        }
    }

    /// Asks for an upload: its address, and how large its chunks shall be.
    async fn ask_for_one(&self) -> Result<(Url, u64), Failed> {
        let url = self.registry.url("blobs/uploads/");
        let begun = self.registry.call(&self.step, Method::POST, &url, &[], nothing).await;
        let response = begun.map_err(|error| Failed::at(error, Place::Nowhere))?;
        let wanted = response.headers().get(OCI_CHUNK_MIN_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        let location = self.location(&url, &response)?.ok_or_else(|| self.malformed("it names no place to upload to"))?;
        Ok((location, CHUNK_BYTES.max(wanted.unwrap_or(0)).min(CHUNK_BYTES_MAX)))
    }

    /// Begins an upload. A blob that fits into one chunk is sent at once.
    async fn begin(&self) -> Result<Place, Failed> {
        let (location, chunk_bytes) = self.ask_for_one().await?;
        if self.blob.size <= chunk_bytes {
            return self.send_whole(location).await;
        }
        Ok(Place::At { location, offset: 0, chunk_bytes, is_told: false })
    }

    /// Sends the next chunk.
    async fn send_chunk(&self, location: Url, offset: u64, chunk_bytes: u64, is_told: bool) -> Result<Place, Failed> {
        let length = chunk_bytes.min(self.blob.size - offset);
        let chunk = self.read(offset, length)?;
        let headers = [
            (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
            (header::CONTENT_RANGE, format!("{offset}-{}", offset + length - 1)),
        ];
        let sent = self.registry.call(&self.step, Method::PATCH, &location, &headers, || Ok(Body::from(chunk.clone()))).await;
        let error = match sent {
            Ok(response) => {
                let offset = received(&response).unwrap_or(offset + length).min(self.blob.size);
                let location = self.location(&location, &response)?.unwrap_or(location);
                (self.told)(PushEvent::Uploaded { digest: self.blob.digest.to_owned(), bytes: offset });
                return Ok(Place::At { location, offset, chunk_bytes, is_told: false });
            }
            Err(error) => error,
        };
        match error.status() {
            // Another registry's blob store may know nothing of chunks, and says so in many ways.
            Some(
                StatusCode::BAD_REQUEST
                | StatusCode::METHOD_NOT_ALLOWED
                | StatusCode::LENGTH_REQUIRED
                | StatusCode::UNSUPPORTED_MEDIA_TYPE
                | StatusCode::NOT_IMPLEMENTED,
            ) if offset == 0 => {
                tracing::debug!(digest = self.blob.digest, %error, "registry takes no chunks");
                self.send_whole(self.ask_for_one().await?.0).await
            }
            Some(StatusCode::NOT_FOUND) => Err(Failed { error, place: Some(Place::Nowhere) }),
            // It has more or less than was thought. When that is what it just told, only a new upload helps.
            Some(StatusCode::RANGE_NOT_SATISFIABLE) if is_told => Err(Failed { error, place: Some(Place::Nowhere) }),
            Some(StatusCode::RANGE_NOT_SATISFIABLE) => Err(Failed { error, place: Some(Place::Unsure { location, chunk_bytes }) }),
            _ => Err(Failed::at(error, Place::Unsure { location, chunk_bytes })),
        }
    }

    /// Asks how far the upload is.
    async fn ask(&self, location: Url, chunk_bytes: u64) -> Result<Place, Failed> {
        let answer = self.registry.call(&self.step, Method::GET, &location, &[], nothing).await;
        match answer {
            Ok(response) => {
                let offset = received(&response).unwrap_or(0).min(self.blob.size);
                let location = self.location(&location, &response)?.unwrap_or(location);
                (self.told)(PushEvent::Resumed { digest: self.blob.digest.to_owned(), at: offset });
                Ok(Place::At { location, offset, chunk_bytes, is_told: true })
            }
            Err(error) if error.is_passing() => Err(Failed { error, place: Some(Place::Unsure { location, chunk_bytes }) }),
            // Forgotten, or a registry that does not tell.
            Err(error) => Err(Failed { error, place: Some(Place::Nowhere) }),
        }
    }

    /// Closes the upload; the registry compares the digest.
    async fn finish(&self, location: Url, chunk_bytes: u64) -> Result<Place, Failed> {
        let url = with_digest(&location, self.blob.digest);
        let finished = self.registry.call(&self.step, Method::PUT, &url, &[], nothing).await;
        let Err(error) = finished else { return Ok(Place::Done) };
        // The answer may have been lost, and the blob be there.
        if (error.is_passing() || error.status() == Some(StatusCode::NOT_FOUND))
            && self.registry.has_blob(self.blob.digest).await.unwrap_or(false)
        {
            return Ok(Place::Done);
        }
        Err(Failed::at(error, Place::Unsure { location, chunk_bytes }))
    }

    /// Sends the blob in one request.
    async fn send_whole(&self, location: Url) -> Result<Place, Failed> {
        let url = with_digest(&location, self.blob.digest);
        let headers = [(header::CONTENT_TYPE, "application/octet-stream".to_owned()), (header::CONTENT_LENGTH, self.blob.size.to_string())];
        let body = || Ok(Body::wrap_stream(futures_util::stream::iter(Pieces::of(self.blob).map_err(|source| self.unreadable(source))?)));
        let sent = self.registry.call(&self.step, Method::PUT, &url, &headers, body).await;
        sent.map_err(|error| Failed::at(error, Place::Nowhere))?;
        (self.told)(PushEvent::Uploaded { digest: self.blob.digest.to_owned(), bytes: self.blob.size });
        Ok(Place::Done)
    }

    /// A part of the blob. Plain blocking reads: the image was just written, so they are of the page cache.
    fn read(&self, offset: u64, length: u64) -> Result<Bytes, RegistryError> {
        let read = || -> io::Result<Vec<u8>> {
            let mut file = File::open(self.blob.path)?;
            file.seek(SeekFrom::Start(offset))?;
            let mut bytes = Vec::new();
            file.take(length).read_to_end(&mut bytes)?;
            if bytes.len() as u64 == length { Ok(bytes) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
        };
        read().map(Bytes::from).map_err(|source| self.unreadable(source))
    }

    fn unreadable(&self, source: io::Error) -> RegistryError {
        RegistryError::Read { path: self.blob.path.to_owned(), source }
    }

    /// Where the upload goes on: `Location`, absolute or relative.
    fn location(&self, base: &Url, response: &Response) -> Result<Option<Url>, RegistryError> {
        let Some(location) = response.headers().get(header::LOCATION) else { return Ok(None) };
        let location = location.to_str().ok().and_then(|location| base.join(location).ok());
        location.map(Some).ok_or_else(|| self.malformed("its `Location` is no URL"))
    }

    fn malformed(&self, reason: &str) -> RegistryError {
        RegistryError::Malformed { step: self.step.clone(), reason: reason.to_owned() }
    }
}

fn nothing() -> Result<Body, RegistryError> {
    Ok(Body::from(Bytes::new()))
}

/// How many bytes the registry says it has: `Range: 0-N` means `N + 1`. Docker's registry writes `0-0` for none.
fn received(response: &Response) -> Option<u64> {
    let range = response.headers().get(header::RANGE)?.to_str().ok()?;
    let end: u64 = range.trim_start_matches("bytes=").split_once('-')?.1.parse().ok()?;
    Some(if end == 0 { 0 } else { end + 1 })
}

fn with_digest(location: &Url, digest: &str) -> Url {
    let mut url = location.clone();
    url.query_pairs_mut().append_pair("digest", digest);
    url
}

/// The pieces of a file, for a streamed body.
struct Pieces(io::Take<File>);

impl Pieces {
    fn of(blob: &Blob<'_>) -> io::Result<Pieces> {
        Ok(Pieces(File::open(blob.path)?.take(blob.size)))
    }
}

impl Iterator for Pieces {
    type Item = io::Result<Bytes>;

    fn next(&mut self) -> Option<io::Result<Bytes>> {
        let mut piece = vec![0; PIECE_BYTES];
        match self.0.read(&mut piece) {
            Ok(0) => None,
            Ok(length) => {
                piece.truncate(length);
                Some(Ok(piece.into()))
            }
            Err(error) => Some(Err(error)),
        }
    }
}
