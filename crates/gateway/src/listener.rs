//! An HTTP listener with limits and an orderly end: HTTP/1.1 and HTTP/2, plain or by TLS. It is handed its socket, its handler and its end.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use pin_project_lite::pin_project;
use prometheus_client::metrics::gauge::Gauge;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};

use crate::doorstep::{self, Answers, Doorstep};
use crate::integration::Body;
use crate::metrics::OneMore;
use crate::strangers::network_of;
use crate::tls::Tls;

/// What one listener bears.
#[derive(Debug, Clone, Copy)]
pub struct ListenerLimits {
    /// Connections at once; more wait in the kernel's queue.
    pub connections_max: usize,
    /// Connections at once from one address (IPv6: one /64 network); one more is closed.
    pub connections_per_address_max: usize,
    /// A TLS handshake, and then the request line and headers of each request, must arrive within this time; so an idle connection lasts no longer.
    pub header_read_timeout: Duration,
    /// Request line and headers may be this long, in bytes.
    pub header_bytes_max: usize,
    /// Requests at once on one HTTP/2 connection.
    pub streams_max: u32,
    /// Requests in flight get this long to finish when the listener ends.
    pub drain_timeout: Duration,
}

impl Default for ListenerLimits {
    fn default() -> Self {
        ListenerLimits {
            connections_max: 4096,
            connections_per_address_max: 1024,
            header_read_timeout: Duration::from_secs(10),
            header_bytes_max: 64 * 1024,
            streams_max: 100,
            drain_timeout: Duration::from_secs(30),
        }
    }
}

/// After a failed accept (too many open files, say) the listener waits so long before the next: the fault seldom passes at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// HTTP/2 without TLS begins with this (RFC 9113, section 3.4); no HTTP/1 request does.
const HTTP2_PREFACE: &[u8] = b"PRI ";
/// TLS begins with a record of this type (RFC 8446, section 5.1).
const TLS_HANDSHAKE: u8 = 22;
/// Between two looks at a connection whose first bytes could still be either.
const PREFACE_PAUSE: Duration = Duration::from_millis(5);
/// An HTTP/2 connection that is silent is asked for a sign of life so often.
const HTTP2_PING_PERIOD: Duration = Duration::from_secs(20);

/// A socket with what it may bear and who counts it.
#[derive(Debug)]
pub struct Listener {
    /// The socket.
    pub socket: TcpListener,
    /// What it bears.
    pub limits: ListenerLimits,
    /// TLS, unless it speaks plainly.
    pub tls: Option<Arc<Tls>>,
    /// Counts open connections.
    pub connections: Gauge,
}

/// Serves until `shutdown` ends, then lets requests in flight finish.
pub async fn run<Handler, Answering>(listener: Listener, handler: Handler, shutdown: impl Future<Output = ()>)
where
    Handler: Fn(Request<Incoming>, SocketAddr) -> Answering + Clone + Send + 'static,
    Answering: Future<Output = Response<Body>> + Send + 'static,
{
    let (socket, door) = Door::of(listener);
    door.serve(socket, handler, shutdown).await;
}

/// Threads that serve one listener, each with a runtime of its own: a connection stays on the thread that accepted it, and what is done for it on that thread
/// wakes no other. What must outlive its request belongs on another runtime, for these end with the listener.
/// Connections to backends and agents may be used by other threads than the one that opened them, so all threads go on until the last of them has served.
///
/// Against one runtime for all, at 64 connections: 1.2 times the requests on one core, 1.3 times on two.
#[derive(Debug)]
pub struct ListenerThreads {
    end: watch::Sender<bool>,
    served: Vec<oneshot::Receiver<()>>,
    lingering: Lingering,
}

/// Threads that serve nobody any more, and go on with what they have opened until this is dropped.
#[derive(Debug)]
pub struct Lingering(watch::Sender<()>);

impl ListenerThreads {
    /// Begins to serve on `threads` threads.
    ///
    /// # Errors
    /// When the system grants no thread, or no event queue for one. Then none of them serves.
    pub(crate) fn start<Handler, Answering>(listener: Listener, threads: usize, handler: Handler) -> std::io::Result<ListenerThreads>
    where
        Handler: Fn(Request<Incoming>, SocketAddr) -> Answering + Clone + Send + 'static,
        Answering: Future<Output = Response<Body>> + Send + 'static,
    {
        let (socket, door) = Door::of(listener);
        let socket = socket.into_std()?;
        let lingering = Lingering(watch::Sender::new(()));
        let mut started = ListenerThreads { end: watch::Sender::new(false), served: Vec::with_capacity(threads), lingering };
        for number in 0..threads {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let (socket, door, handler, mut ended) = (socket.try_clone()?, door.clone(), handler.clone(), started.end.subscribe());
            let mut lingering = started.lingering.0.subscribe();
            let (tell, served) = oneshot::channel();
            std::thread::Builder::new().name(format!("listener-{number}")).spawn(move || {
                runtime.block_on(async move {
                    match TcpListener::from_std(socket) {
                        Ok(socket) => door.serve(socket, handler, async move { drop(ended.wait_for(|ended| *ended).await) }).await,
                        Err(error) => tracing::error!(%error, "a thread cannot listen"),
                    }
                    let _ = tell.send(());
                    while lingering.changed().await.is_ok() {}
                });
            })?;
            started.served.push(served);
        }
        Ok(started)
    }

    /// Lets requests in flight finish.
    pub async fn end(self) -> Lingering {
        let _ = self.end.send(true);
        for served in self.served {
            let _ = served.await;
        }
        self.lingering
    }
}

/// What all who accept at one socket share.
#[derive(Clone)]
struct Door {
    protocols: Protocols,
    tls: Option<Arc<Tls>>,
    connections: Gauge,
    places: Arc<Semaphore>,
    addresses: Addresses,
}

impl Door {
    fn of(listener: Listener) -> (TcpListener, Door) {
        let Listener { socket, limits, tls, connections } = listener;
        let places = Arc::new(Semaphore::new(limits.connections_max));
        (socket, Door { protocols: Protocols::new(limits), tls, connections, places, addresses: Addresses::default() })
    }

    async fn serve<Handler, Answering>(self, socket: TcpListener, handler: Handler, shutdown: impl Future<Output = ()>)
    where
        Handler: Fn(Request<Incoming>, SocketAddr) -> Answering + Clone + Send + 'static,
        Answering: Future<Output = Response<Body>> + Send + 'static,
    {
        let limits = self.protocols.limits;
        // Each connection holds a receiver until it ends.
        let close = watch::Sender::new(false);
        tokio::pin!(shutdown);
        loop {
            let accepted = tokio::select! {
                accepted = accept(&socket, &self.places) => accepted,
                () = &mut shutdown => break,
            };
            let (stream, peer, place) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Some(guest) = self.addresses.admit(peer.ip(), limits.connections_per_address_max) else {
                tracing::debug!(%peer, "closed: too many connections from its address");
                continue;
            };
            let (protocols, handler, tls) = (self.protocols.clone(), handler.clone(), self.tls.clone());
            let closing = close.subscribe();
            let open = OneMore::of(&self.connections);
            tokio::spawn(async move {
                if let Err(error) = connect(stream, peer, tls, &protocols, handler, closing).await {
                    tracing::debug!(%peer, error = &*error, "connection ended early");
                }
                drop((place, guest, open));
            });
        }
        drop(socket);
        close.send_replace(true);
        if tokio::time::timeout(limits.drain_timeout, close.closed()).await.is_err() {
            tracing::warn!(drain_timeout_s = limits.drain_timeout.as_secs(), "requests still in flight are cut");
        }
    }
}

async fn accept(socket: &TcpListener, places: &Arc<Semaphore>) -> std::io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let place = places.clone().acquire_owned().await.expect("the semaphore is never closed");
    let (stream, peer) = socket.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, peer, place))
}

/// Why a connection ended early.
pub type ConnectionError = Box<dyn std::error::Error + Send + Sync>;

/// Serves one connection to its end.
async fn connect<Handler, Answering>(
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<Arc<Tls>>,
    protocols: &Protocols,
    handler: Handler,
    closing: watch::Receiver<bool>,
) -> Result<(), ConnectionError>
where
    Handler: Fn(Request<Incoming>, SocketAddr) -> Answering + Clone + Send + 'static,
    Answering: Future<Output = Response<Body>> + Send + 'static,
{
    let limit = protocols.limits.header_read_timeout;
    match tls {
        None => {
            let Ok(is_http2) = tokio::time::timeout(limit, begins_http2(&stream)).await else {
                // Something like the beginning of HTTP/2, and no more.
                if stream.try_read(&mut [0; HTTP2_PREFACE.len()]).is_ok_and(|read| read > 0) {
                    doorstep::refuse_slow(stream).await;
                }
                return Err("it sent no request".into());
            };
            protocols.serve(stream, is_http2?, peer, handler, closing).await
        }
        Some(tls) => {
            let no_handshake = |_| "no TLS handshake in time";
            if !tokio::time::timeout(limit, begins_tls(&stream)).await.map_err(no_handshake)?? {
                doorstep::refuse_plain(stream).await;
                return Err("it did not begin with TLS".into());
            }
            let stream = tokio::time::timeout(limit, tls.acceptor().accept(stream)).await.map_err(no_handshake)??;
            let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            protocols.serve(stream, is_http2, peer, handler, closing).await
        }
    }
}

/// Looks at the first bytes without taking them.
async fn begins_http2(stream: &TcpStream) -> std::io::Result<bool> {
    let mut first = [0; HTTP2_PREFACE.len()];
    loop {
        let seen = stream.peek(&mut first).await?;
        if seen == 0 || first[..seen] != HTTP2_PREFACE[..seen] {
            return Ok(false);
        }
        if seen == HTTP2_PREFACE.len() {
            return Ok(true);
        }
        tokio::time::sleep(PREFACE_PAUSE).await;
    }
}

/// Whether the first byte is one of TLS; so is none at all, which is for TLS to complain of.
async fn begins_tls(stream: &TcpStream) -> std::io::Result<bool> {
    let mut first = [0];
    let seen = stream.peek(&mut first).await?;
    Ok(seen == 0 || first[0] == TLS_HANDSHAKE)
}

/// How the two protocols are spoken on one connection, within a listener's limits; also on one that somebody else accepted, such as the inside of a tunnel.
#[derive(Clone)]
pub struct Protocols {
    limits: ListenerLimits,
    http1: hyper::server::conn::http1::Builder,
    http2: hyper::server::conn::http2::Builder<TokioExecutor>,
}

impl std::fmt::Debug for Protocols {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Protocols").field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl Protocols {
    /// The protocols with these limits on time and length; those on numbers of connections are a listener's.
    #[must_use]
    pub fn new(limits: ListenerLimits) -> Protocols {
        let mut http1 = hyper::server::conn::http1::Builder::new();
        http1
            .timer(TokioTimer::new())
            .header_read_timeout(limits.header_read_timeout)
            // The buffer's bound alone is for what waits to be read: a longer head that arrives at once would pass.
            .max_header_size(limits.header_bytes_max)
            .max_buf_size(limits.header_bytes_max);
        let mut http2 = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        http2
            .timer(TokioTimer::new())
            .max_concurrent_streams(limits.streams_max)
            .max_header_list_size(u32::try_from(limits.header_bytes_max).unwrap_or(u32::MAX))
            .keep_alive_interval(HTTP2_PING_PERIOD)
            .keep_alive_timeout(limits.header_read_timeout);
        Protocols { limits, http1, http2 }
    }

    /// Serves a connection to its end. When `closing` becomes true, or its sender is gone, it finishes the requests in flight and takes no other.
    ///
    /// # Errors
    /// What broke it off.
    pub async fn serve<Stream, Handler, Answering>(
        &self,
        stream: Stream,
        is_http2: bool,
        peer: SocketAddr,
        handler: Handler,
        mut closing: watch::Receiver<bool>,
    ) -> Result<(), ConnectionError>
    where
        Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        Handler: Fn(Request<Incoming>, SocketAddr) -> Answering + Clone + Send + 'static,
        Answering: Future<Output = Response<Body>> + Send + 'static,
    {
        let is_closing = closing.clone();
        let is_closing = move || *is_closing.borrow() || is_closing.has_changed().is_err();
        let closed = async {
            let _ = closing.wait_for(|closing| *closing).await;
        };
        if is_http2 {
            let service = service_fn(move |request| {
                let answering = handler(request, peer);
                async move { Ok::<_, Infallible>(answering.await) }
            });
            let mut connection = std::pin::pin!(self.http2.serve_connection(TokioIo::new(stream), service));
            tokio::select! {
                served = connection.as_mut() => served?,
                () = closed => {
                    connection.as_mut().graceful_shutdown();
                    connection.await?;
                }
            }
            return Ok(());
        }
        let doorstep = Doorstep::new(stream);
        let answers = doorstep.answers();
        let service = service_fn(move |request: Request<Incoming>| {
            let is_chunked = request.headers().contains_key(header::TRANSFER_ENCODING);
            let is_tunnel = request.method() == Method::CONNECT;
            Http1Answering { answering: handler(request, peer), answers: answers.clone(), is_chunked, is_tunnel }
        });
        // It may become something else (a WebSocket, a tunnel), and is the handler's then.
        let mut connection = self.http1.serve_connection(TokioIo::new(doorstep), service).with_upgrades();
        let mut closed = std::pin::pin!(closed);
        let mut is_awaited = false;
        let served = std::future::poll_fn(|context| {
            let served = Pin::new(&mut connection).poll(context);
            // Asked once, it wakes this task when the time has come; until then a look is enough.
            if served.is_pending() && (!is_awaited || is_closing()) {
                is_awaited = true;
                return closed.as_mut().poll(context).map(|()| None);
            }
            served.map(Some)
        });
        let served = match served.await {
            Some(served) => served,
            None => {
                Pin::new(&mut connection).graceful_shutdown();
                (&mut connection).await
            }
        };
        let doorstep = connection.into_parts().map(|parts| parts.io.into_inner());
        match (&served, doorstep) {
            (Err(error), Some(doorstep)) => doorstep.refuse(error).await,
            (Ok(()), Some(doorstep)) => doorstep.finish().await?,
            (_, None) => {}
        }
        Ok(served?)
    }
}

pin_project! {
    /// The answer to one request on an HTTP/1.1 connection. An async block would do, and copy the handler's whole state once more.
    struct Http1Answering<Answering> {
        #[pin]
        answering: Answering,
        answers: Arc<Answers>,
        is_chunked: bool,
        is_tunnel: bool,
    }
}

impl<Answering: Future<Output = Response<Body>>> Future for Http1Answering<Answering> {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.answering.poll(context));
        if *this.is_chunked && response.status() != StatusCode::SWITCHING_PROTOCOLS {
            // It may have had a Content-Length too, which hyper passes over and a proxy in front may have believed: what comes behind it is nobody's request
            // (RFC 9112, section 6.1).
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        this.answers.give(response.status(), *this.is_tunnel);
        Poll::Ready(Ok(response))
    }
}

/// Open connections by address.
#[derive(Debug, Clone, Default)]
struct Addresses(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// One connection's place among its address's; given back when dropped.
#[derive(Debug)]
struct Guest {
    addresses: Arc<Mutex<HashMap<IpAddr, usize>>>,
    network: IpAddr,
}

impl Addresses {
    fn admit(&self, address: IpAddr, max: usize) -> Option<Guest> {
        let network = network_of(address);
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(network).or_default();
        if *count >= max {
            return None;
        }
        *count += 1;
        Some(Guest { addresses: self.0.clone(), network })
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut open = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.network) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[test]
    fn an_address_has_so_many_connections_and_gets_them_back() {
        let addresses = Addresses::default();
        let (one, other): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let first = addresses.admit(one, 2).unwrap();
        let second = addresses.admit(one, 2).unwrap();
        assert!(addresses.admit(one, 2).is_none());
        assert!(addresses.admit(other, 2).is_some());
        drop(first);
        assert!(addresses.admit(one, 2).is_some());
        drop(second);
        assert!(addresses.0.lock().unwrap().is_empty());
    }

    /// What a caller that sends these bytes and then waits is told, to the end of the connection.
    async fn check_slow(bytes: &[u8], expected: &str) {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let limits = ListenerLimits { header_read_timeout: Duration::from_millis(50), ..ListenerLimits::default() };
        let listener = Listener { socket, limits, tls: None, connections: Gauge::default() };
        let answer = async |_, _| Response::new(http_body_util::Empty::new().map_err(|never| match never {}).boxed_unsync());
        let serving = tokio::spawn(run(listener, answer, std::future::pending()));
        let mut caller = TcpStream::connect(address).await.unwrap();
        caller.write_all(bytes).await.unwrap();
        let mut told = String::new();
        caller.read_to_string(&mut told).await.unwrap();
        serving.abort();
        let heads: Vec<&str> = told.split("HTTP/1.1 ").skip(1).map(|answer| answer.lines().next().unwrap()).collect();
        assert_eq!(heads.join(", "), expected, "{:?}: {told:?}", String::from_utf8_lossy(bytes));
    }

    #[tokio::test]
    async fn a_head_over_the_limit_is_refused_however_it_arrives() {
        let long = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(70_000));
        for _ in 0..20 {
            check_slow(long.as_bytes(), "431 Request Header Fields Too Large").await;
        }
    }

    #[tokio::test]
    async fn who_does_not_finish_a_head_is_told_and_who_says_nothing_is_not() {
        check_slow(b"GET / HTTP/1.1\r\nHost: x\r\n", "408 Request Timeout").await;
        check_slow(b"PR", "408 Request Timeout").await;
        check_slow(b"", "").await;
        check_slow(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "200 OK").await;
        check_slow(b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP", "200 OK").await;
    }

    /// One request of a caller's on a connection of its own, to its end.
    async fn call(address: SocketAddr) -> String {
        let mut caller = TcpStream::connect(address).await.unwrap();
        caller.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut told = String::new();
        caller.read_to_string(&mut told).await.unwrap();
        told.lines().next().unwrap_or_default().to_owned()
    }

    #[tokio::test]
    async fn threads_serve_one_socket_and_finish_what_is_in_flight() {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let listener = Listener { socket, limits: ListenerLimits::default(), tls: None, connections: Gauge::default() };
        let (begun, go_on) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let handler = {
            let (begun, go_on) = (begun.clone(), go_on.clone());
            move |_, _| {
                let (begun, go_on) = (begun.clone(), go_on.clone());
                async move {
                    begun.add_permits(1);
                    go_on.acquire().await.unwrap().forget();
                    Response::new(http_body_util::Empty::new().map_err(|never| match never {}).boxed_unsync())
                }
            }
        };
        let threads = ListenerThreads::start(listener, 3, handler).unwrap();
        let calls: Vec<_> = (0..12).map(|_| tokio::spawn(call(address))).collect();
        begun.acquire_many(12).await.unwrap().forget();
        let ending = tokio::spawn(threads.end());
        go_on.add_permits(12);
        for call in calls {
            assert_eq!(call.await.unwrap(), "HTTP/1.1 200 OK");
        }
        ending.await.unwrap();
        assert_eq!(TcpStream::connect(address).await.unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
    }
}
