//! How a collector is reached, and how the log is told of it.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use bytes::Bytes;
use http::{Request, Response};
use opentelemetry_http::{HttpClient, HttpError};
use tokio::runtime::Handle;

use super::variables::Destination;

/// A collector's answer says what it refused. A longer one is none of a collector's.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// An HTTP client for requests to `destination`.
pub(super) fn client(destination: &Destination) -> anyhow::Result<reqwest::Client> {
    frontdesk_agent::choose_crypto_provider();
    let client = reqwest::Client::builder().timeout(destination.timeout).redirect(reqwest::redirect::Policy::none());
    // A proxy from the environment is for what lies outside this machine.
    let client = if is_local(&destination.url) { client.no_proxy() } else { client };
    client.build().context("failed to make the HTTP client of the OpenTelemetry export")
}

/// Whether `url` is on this machine.
fn is_local(url: &str) -> bool {
    let host = reqwest::Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default();
    host == "localhost" || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Tells the log when a collector begins to fail and when it is back; not a word for each batch.
#[derive(Debug)]
pub(super) struct Health {
    signal: &'static str,
    is_failing: AtomicBool,
}

impl Health {
    pub(super) fn of(signal: &'static str) -> Health {
        Health { signal, is_failing: AtomicBool::new(false) }
    }

    /// Notes what came of a request; the error in words.
    pub(super) fn note(&self, sent: Result<(), String>) {
        let was_failing = self.is_failing.swap(sent.is_err(), Ordering::Relaxed);
        match sent {
            Err(error) if !was_failing => {
                tracing::warn!(signal = self.signal, error, "the OpenTelemetry collector fails; what it does not take is lost");
            }
            Ok(()) if was_failing => tracing::warn!(signal = self.signal, "the OpenTelemetry collector answers again"),
            _ => {}
        }
    }
}

/// The client for a thread without an async runtime, as the one that sends spans is: this program's own carries the requests.
#[derive(Debug)]
pub(super) struct RuntimeClient {
    client: reqwest::Client,
    runtime: Handle,
}

impl RuntimeClient {
    /// Must be called inside the async runtime.
    pub(super) fn new(client: reqwest::Client) -> RuntimeClient {
        RuntimeClient { client, runtime: Handle::current() }
    }
}

type Sending<'a> = Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'a>>;

impl HttpClient for RuntimeClient {
    fn send_bytes<'client, 'sending>(&'client self, request: Request<Bytes>) -> Sending<'sending>
    where
        'client: 'sending,
    {
        let client = self.client.clone();
        let sent = self.runtime.spawn(async move {
            let mut answer = client.execute(request.try_into()?).await?;
            let mut response = Response::builder().status(answer.status());
            if let Some(headers) = response.headers_mut() {
                *headers = answer.headers().clone();
            }
            let mut body = Vec::new();
            while let Some(piece) = answer.chunk().await? {
                if body.len() + piece.len() > ANSWER_BYTES_MAX {
                    return Err("the collector's answer is too long".into());
                }
                body.extend_from_slice(&piece);
            }
            Ok::<_, HttpError>(response.body(Bytes::from(body))?)
        });
        Box::pin(async move { sent.await? })
    }
}
