//! The signed hop inside one process: the same HTTP/1.1 request, over a stream in memory instead of a socket.
//!
//! Nothing is skipped: the request is serialised, parsed, verified and judged by `control` as if it had come from another host.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Context, Poll};

use bytes::Bytes;
use frontdesk_control::Control;
use frontdesk_proxy::{Sending, SignedRequest, Transport, TransportError};
use http::Uri;
use http_body_util::{BodyExt as _, Full};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::DuplexStream;

/// Bytes that one direction of a stream holds before its writer waits.
const STREAM_BUFFER_BYTES: usize = 64 * 1024;
/// Streams kept open between calls.
const IDLE_STREAMS_MAX: usize = 128;

/// Carries the proxy's requests to a control face in the same process.
#[derive(Clone)]
pub(crate) struct InProcess {
    client: Client<Connector, Full<Bytes>>,
}

/// The end that the control face is put to once it is there: it knows the APIs, whose function the proxy is, which needs this transport.
#[derive(Clone, Default)]
pub(crate) struct ControlEnd(Arc<OnceLock<Weak<Control>>>);

impl ControlEnd {
    /// Puts the control face to it; the first one stays.
    pub(crate) fn put(&self, control: &Arc<Control>) {
        let _ = self.0.set(Arc::downgrade(control));
    }
}

impl InProcess {
    pub(crate) fn new(end: ControlEnd) -> InProcess {
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(IDLE_STREAMS_MAX).build(Connector { end });
        InProcess { client }
    }
}

impl Transport for InProcess {
    fn send(&self, request: SignedRequest) -> Sending {
        let client = self.client.clone();
        Box::pin(async move {
            let response = client.request(request).await.map_err(TransportError::new)?;
            Ok(response.map(|body| body.map_err(TransportError::new).boxed_unsync()))
        })
    }
}

#[derive(Clone)]
struct Connector {
    end: ControlEnd,
}

impl tower_service::Service<Uri> for Connector {
    type Response = InMemoryStream;
    type Error = NoControl;
    type Future = std::future::Ready<Result<InMemoryStream, NoControl>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), NoControl>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let Some(control) = self.end.0.get().and_then(Weak::upgrade) else { return std::future::ready(Err(NoControl)) };
        let (client, server) = tokio::io::duplex(STREAM_BUFFER_BYTES);
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let answering = control.clone().handle(request);
                async move { Ok::<_, Infallible>(answering.await) }
            });
            // The client's end is dropped with the pool; that is how such a connection ends.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(server), service).await;
        });
        std::future::ready(Ok(InMemoryStream(TokioIo::new(client))))
    }
}

/// The host is only beginning, or ending.
#[derive(Debug, thiserror::Error)]
#[error("there is no control face to call")]
struct NoControl;

struct InMemoryStream(TokioIo<DuplexStream>);

impl Connection for InMemoryStream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for InMemoryStream {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: ReadBufCursor<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl Write for InMemoryStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
