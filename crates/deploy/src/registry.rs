//! Pushing an image to a registry by the OCI distribution protocol: what is there is not sent again, what is interrupted goes on where it stopped.
//!
//! The crate `oci-client` pushes too, but a chunk that fails ends its push: it neither asks the registry how much arrived nor tries again. On a slow line that
//! is the difference between a model of ninety megabytes that arrives and one that never does.

mod authentication;
pub mod ecr;
mod error;
mod reference;
mod upload;

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use backon::Retryable as _;
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use reqwest::{Body, Response, Url};

use crate::call::Retries;
use crate::image::document::{Descriptor, MANIFEST_TYPE, Manifest};
use crate::image::{Image, layout};
use authentication::Challenge;
pub use authentication::Login;
pub use error::RegistryError;
pub use reference::{ImageReference, ReferenceError};
use upload::Blob;

/// Blobs on their way at once: enough to fill a line while one of them waits for an answer.
const UPLOADS_MAX: usize = 3;

/// A repository of a registry, logged in or about to be.
#[derive(Debug)]
pub struct Registry {
    http: reqwest::Client,
    reference: ImageReference,
    base: Url,
    login: Login,
    /// What answered the last 401.
    authorization: Mutex<Option<HeaderValue>>,
    retries: Retries,
}

/// What happens while an image is pushed. Blobs are pushed at the same time, so their events mix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PushEvent {
    /// The registry has this blob already.
    BlobExists {
        /// Which.
        digest: String,
        /// Its size.
        bytes: u64,
    },
    /// The upload of a blob of that size begins.
    BlobBegun {
        /// Which.
        digest: String,
        /// Its size.
        bytes: u64,
    },
    /// So many bytes of it have arrived in all.
    Uploaded {
        /// Which.
        digest: String,
        /// From its beginning.
        bytes: u64,
    },
    /// The upload was interrupted and goes on there.
    Resumed {
        /// Which.
        digest: String,
        /// From its beginning.
        at: u64,
    },
    /// It is there.
    BlobDone {
        /// Which.
        digest: String,
    },
}

/// What a push came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// The image with its digest: `host/repository@sha256:…`, which is for ever this image.
    pub reference: String,
    /// What was sent, in bytes; zero when the registry had the image.
    pub bytes_sent: u64,
    /// Blobs that were sent.
    pub blobs_sent: usize,
    /// Blobs that were there.
    pub blobs_present: usize,
}

impl Registry {
    /// The registry and repository of `reference`: over HTTPS, but for one on this machine. Nothing is sent yet.
    ///
    /// # Errors
    /// [`RegistryError::Client`]; [`RegistryError::Malformed`] for a host that is none.
    pub fn new(reference: &ImageReference, login: Login) -> Result<Registry, RegistryError> {
        let http = crate::http_client::http_client(reference.is_local()).map_err(RegistryError::Client)?;
        let scheme = if reference.is_local() { "http" } else { "https" };
        let base = Url::parse(&format!("{scheme}://{}/v2/{}/", reference.host, reference.repository));
        let malformed = |error| RegistryError::Malformed { step: reference.to_string(), reason: format!("the name makes no URL: {error}") };
        let (base, reference) = (base.map_err(malformed)?, reference.clone());
        Ok(Registry { http, reference, base, login, authorization: Mutex::new(None), retries: Retries::default() })
    }

    /// The same with other retries.
    #[must_use]
    pub fn with_retries(mut self, retries: Retries) -> Registry {
        self.retries = retries;
        self
    }

    /// Pushes `image` under the reference's tag. When the registry has it under that tag, one question is all that is sent.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn push(&self, image: &Image, told: &(dyn Fn(PushEvent) + Sync)) -> Result<Pushed, RegistryError> {
        let reference = format!("{}/{}@{}", self.reference.host, self.reference.repository, image.manifest.digest);
        let path = layout::blob_path(&image.folder, &image.manifest.digest);
        let manifest: Manifest = layout::read_json(&path).ok_or_else(|| RegistryError::NoImage { path: path.clone() })?;
        let document = std::fs::read(&path).map_err(|source| RegistryError::Read { path, source })?;
        // The base layer may occur twice in theory; a registry need not be asked twice.
        let mut blobs: Vec<&Descriptor> = manifest.layers.iter().chain([&manifest.config]).collect();
        blobs.sort_by_key(|blob| std::cmp::Reverse(blob.size));
        blobs.dedup_by_key(|blob| &blob.digest);
        if self.has_manifest(&self.reference.tag, &image.manifest.digest).await? {
            return Ok(Pushed { reference, bytes_sent: 0, blobs_sent: 0, blobs_present: blobs.len() });
        }
        let pushes = futures_util::stream::iter(blobs.iter().map(|blob| self.push_blob(&image.folder, blob, told)));
        let sent: Vec<Option<u64>> = pushes.buffer_unordered(UPLOADS_MAX).try_collect().await?;

        // By its digest first: a tag never names an image that is not whole.
        for name in [&image.manifest.digest, &self.reference.tag] {
            self.put_manifest(name, Bytes::from(document.clone()), &image.manifest.digest).await?;
        }
        let blobs_sent = sent.iter().flatten().count();
        let bytes_sent = sent.iter().flatten().sum::<u64>() + document.len() as u64;
        Ok(Pushed { reference, bytes_sent, blobs_sent, blobs_present: sent.len() - blobs_sent })
    }

    /// The bytes sent; `None` when the registry had the blob.
    async fn push_blob(&self, folder: &Path, blob: &Descriptor, told: &(dyn Fn(PushEvent) + Sync)) -> Result<Option<u64>, RegistryError> {
        let (digest, bytes) = (blob.digest.clone(), blob.size);
        if self.has_blob(&blob.digest).await? {
            told(PushEvent::BlobExists { digest, bytes });
            return Ok(None);
        }
        told(PushEvent::BlobBegun { digest: digest.clone(), bytes });
        let path = layout::blob_path(folder, &blob.digest);
        upload::upload(self, &Blob { digest: &blob.digest, size: blob.size, path: &path }, told).await?;
        told(PushEvent::BlobDone { digest });
        Ok(Some(blob.size))
    }

    async fn has_blob(&self, digest: &str) -> Result<bool, RegistryError> {
        let step = format!("the question for {digest}");
        let url = self.url(&format!("blobs/{digest}"));
        let answer = self.asked(&step, Method::HEAD, &url, &[], Bytes::new()).await;
        Ok(found(answer)?.is_some())
    }

    /// Whether `tag` names the image `digest`.
    async fn has_manifest(&self, tag: &str, digest: &str) -> Result<bool, RegistryError> {
        let url = self.url(&format!("manifests/{tag}"));
        let accept = [(header::ACCEPT, MANIFEST_TYPE.to_owned())];
        let answer = self.asked(&format!("the question for {}", self.reference), Method::HEAD, &url, &accept, Bytes::new()).await;
        let named = found(answer)?.and_then(|response| response.headers().get(DOCKER_CONTENT_DIGEST)?.to_str().ok().map(str::to_owned));
        Ok(named.as_deref() == Some(digest))
    }

    async fn put_manifest(&self, name: &str, document: Bytes, digest: &str) -> Result<(), RegistryError> {
        let step = format!("the manifest {name}");
        let url = self.url(&format!("manifests/{name}"));
        let response = self.asked(&step, Method::PUT, &url, &[(header::CONTENT_TYPE, MANIFEST_TYPE.to_owned())], document).await?;
        match response.headers().get(DOCKER_CONTENT_DIGEST) {
            Some(kept) if kept.as_bytes() != digest.as_bytes() => {
                let kept = String::from_utf8_lossy(kept.as_bytes());
                Err(RegistryError::Malformed { step, reason: format!("it keeps it as {kept}, not as {digest}") })
            }
            _ => Ok(()),
        }
    }

    /// A call that may be repeated: again while the registry is away or overloaded.
    async fn asked(
        &self,
        step: &str,
        method: Method,
        url: &Url,
        headers: &[(HeaderName, String)],
        body: Bytes,
    ) -> Result<Response, RegistryError> {
        let attempt = || self.call(step, method.clone(), url, headers, || Ok(Body::from(body.clone())));
        attempt.retry(self.retries.backoff()).when(RegistryError::is_passing).await
    }

    /// One call; an answer that is an error is one here. A 401 is answered once, with what it asks for.
    async fn call(
        &self,
        step: &str,
        method: Method,
        url: &Url,
        headers: &[(HeaderName, String)],
        body: impl Fn() -> Result<Body, RegistryError>,
    ) -> Result<Response, RegistryError> {
        let mut is_answered = false;
        loop {
            let mut request = self.http.request(method.clone(), url.clone()).body(body()?);
            for (name, value) in headers {
                request = request.header(name, value);
            }
            // Uploads may go to another host, by addresses that carry their own proof; the token is none of its business.
            let authorization = self.authorization.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if let Some(authorization) = authorization.filter(|_| url.origin() == self.base.origin()) {
                request = request.header(header::AUTHORIZATION, authorization);
            }
            let response = request.send().await.map_err(|source| RegistryError::unreachable(step, source))?;
            let status = response.status();
            if status.is_success() || (status.is_redirection() && method == Method::HEAD) {
                return Ok(response);
            }
            let challenge = Challenge::of(response.headers()).filter(|_| status == StatusCode::UNAUTHORIZED && !is_answered);
            let Some(challenge) = challenge else { return Err(RegistryError::refused(step, response).await) };
            let authorization = authentication::authorization(&self.http, &challenge, &self.login, &self.reference.repository).await?;
            *self.authorization.lock().unwrap_or_else(PoisonError::into_inner) = Some(authorization);
            is_answered = true;
        }
    }

    fn url(&self, path: &str) -> Url {
        self.base.join(path).expect("digests, tags and the protocol's own words make a path")
    }
}

const DOCKER_CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// An answer, or `None` when it is that there is nothing there.
fn found(answer: Result<Response, RegistryError>) -> Result<Option<Response>, RegistryError> {
    match answer {
        Ok(response) => Ok(Some(response)),
        Err(error) if error.status() == Some(StatusCode::NOT_FOUND) => Ok(None),
        Err(error) => Err(error),
    }
}
