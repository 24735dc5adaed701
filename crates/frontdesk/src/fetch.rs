//! Fetching the documents of OpenID providers for the control face, which opens no connection itself.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::{Bytes, BytesMut};
use frontdesk_control::{Fetch, FetchError};

/// A provider that takes longer is away.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// A set of keys is a few kilobytes.
const DOCUMENT_BYTES_MAX: usize = 1024 * 1024;

/// A way to fetch documents, with the machine's certificate authorities and proxies.
pub(crate) fn documents() -> anyhow::Result<Fetch> {
    frontdesk_agent::choose_crypto_provider();
    let client = reqwest::Client::builder().timeout(FETCH_TIMEOUT).redirect(reqwest::redirect::Policy::none());
    let client = client.build().context("failed to make the HTTP client for OpenID providers")?;
    Ok(Arc::new(move |url| {
        let client = client.clone();
        Box::pin(async move { fetch(&client, &url).await.map_err(|error| FetchError(format!("{error:#}"))) })
    }))
}

async fn fetch(client: &reqwest::Client, url: &str) -> anyhow::Result<Bytes> {
    let mut response = client.get(url).send().await?.error_for_status()?;
    let mut document = BytesMut::new();
    while let Some(piece) = response.chunk().await? {
        anyhow::ensure!(document.len() + piece.len() <= DOCUMENT_BYTES_MAX, "{url} is longer than {DOCUMENT_BYTES_MAX} bytes");
        document.extend_from_slice(&piece);
    }
    Ok(document.freeze())
}
