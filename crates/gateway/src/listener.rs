//! An HTTP/1.1 listener with limits and an orderly end. It is handed its socket, its handler and its end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::integration::Body;

/// What one listener bears.
#[derive(Debug, Clone, Copy)]
pub struct ListenerLimits {
    /// Connections at once; more wait in the kernel's queue.
    pub connections_max: usize,
    /// Request line and headers must arrive within this time.
    pub header_read_timeout: Duration,
    /// Request line and headers may be this long, in bytes.
    pub header_bytes_max: usize,
    /// Requests in flight get this long to finish when the listener ends.
    pub drain_timeout: Duration,
}

impl Default for ListenerLimits {
    fn default() -> Self {
        ListenerLimits {
            connections_max: 4096,
            header_read_timeout: Duration::from_secs(10),
            header_bytes_max: 64 * 1024,
            drain_timeout: Duration::from_secs(30),
        }
    }
}

/// After a failed accept (too many open files, say) the listener waits so long before the next: the fault seldom passes at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until `shutdown` ends, then lets requests in flight finish.
pub async fn run<Handler, Answering>(listener: TcpListener, handler: Handler, limits: ListenerLimits, shutdown: impl Future<Output = ()>)
where
    Handler: Fn(Request<Incoming>, SocketAddr) -> Answering + Clone + Send + 'static,
    Answering: Future<Output = Response<Body>> + Send + 'static,
{
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits.header_read_timeout)
        .max_buf_size(limits.header_bytes_max)
        .pipeline_flush(true);
    let connections = Arc::new(Semaphore::new(limits.connections_max));
    let graceful = GracefulShutdown::new();
    tokio::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &connections) => accepted,
            () = &mut shutdown => break,
        };
        let (stream, peer, permit) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let handler = handler.clone();
        let service = service_fn(move |request| {
            let answering = handler(request, peer);
            async move { Ok::<_, Infallible>(answering.await) }
        });
        let connection = graceful.watch(http.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%peer, %error, "connection ended early");
            }
            drop(permit);
        });
    }
    drop(listener);
    if tokio::time::timeout(limits.drain_timeout, graceful.shutdown()).await.is_err() {
        tracing::warn!(drain_timeout_s = limits.drain_timeout.as_secs(), "requests still in flight are cut");
    }
}

async fn accept(
    listener: &TcpListener,
    connections: &Arc<Semaphore>,
) -> std::io::Result<(tokio::net::TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    let permit = connections.clone().acquire_owned().await.expect("the semaphore is never closed");
    let (stream, peer) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, peer, permit))
}
