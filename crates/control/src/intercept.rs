//! The intercepting proxy: programs that were told of it (`HTTPS_PROXY`) find this host under AWS's own names, so that a hard-coded URL reaches it.
//!
//! It answers CONNECT on the control face's port. Behind a tunnel to `*.amazonaws.com` it ends the TLS with a certificate of the host's own authority and hands each
//! request to the control face or to the gateway, which verify and judge it as if it had come to them directly. Other hosts are tunnelled untouched, or refused, by
//! setting. It is no open relay: callers are on this machine and show a credential that only the host's own user, and what it started, can know; or have it in their
//! environment, where it is looked up for clients that send a proxy none.

mod authority;
mod credential;
mod destination;
mod peer_process;

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use frontdesk_gateway::{Gateway, ListenerLimits, Protocols};
use frontdesk_runtime::ResponseBody;
use http::uri::Authority as HostAndPort;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use time::OffsetDateTime;
use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;

use crate::serve::{CallerAddress, Control};
use destination::Destination;
use peer_process::Connection;

pub use authority::{Authority, AuthorityError};
pub use credential::{ProxyCredentials, ProxyUser};

/// Tunnels at once, each with two sockets where it leads out; one more is refused.
const TUNNELS_MAX: usize = 256;
/// A host that takes longer is not there.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);
/// Processes that are looked up at once, each by a walk through all of the machine's: strangers must not keep it busy. More wait.
const LOOK_UPS_MAX: usize = 2;
/// Requests in flight behind tunnels get this long to finish when the host ends.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// What a proxy is sent and nobody behind it (RFC 9110, section 11.7).
const FOR_THE_PROXY: [HeaderName; 2] = [header::PROXY_AUTHORIZATION, HeaderName::from_static("proxy-connection")];

/// What becomes of a tunnel to a host that is not AWS's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForeignHosts {
    /// Its bytes are carried, unread.
    Tunnel,
    /// It is refused: nothing leaves this machine by the proxy.
    Refuse,
}

/// The proxy.
pub struct Interceptor {
    control: Arc<Control>,
    gateway: Arc<Gateway>,
    authority: Authority,
    credentials: Arc<ProxyCredentials>,
    foreign: ForeignHosts,
    protocols: Protocols,
    places: Arc<Semaphore>,
    look_ups: Arc<Semaphore>,
    /// The port at which it is called.
    port: u16,
    /// True once the host ends. Each tunnel holds a receiver.
    closing: watch::Sender<bool>,
}

impl std::fmt::Debug for Interceptor {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Interceptor").field("foreign", &self.foreign).finish_non_exhaustive()
    }
}

impl Interceptor {
    /// A proxy before these two faces at this port, with certificates of this authority, for who shows one of these credentials.
    #[must_use]
    pub fn new(
        port: u16,
        control: Arc<Control>,
        gateway: Arc<Gateway>,
        authority: Authority,
        credentials: ProxyCredentials,
        foreign: ForeignHosts,
    ) -> Interceptor {
        let protocols = Protocols::new(ListenerLimits::default());
        let places = Arc::new(Semaphore::new(TUNNELS_MAX));
        let look_ups = Arc::new(Semaphore::new(LOOK_UPS_MAX));
        let credentials = Arc::new(credentials);
        Interceptor {
            control,
            gateway,
            authority,
            credentials,
            foreign,
            protocols,
            places,
            look_ups,
            port,
            closing: watch::Sender::new(false),
        }
    }

    /// Whether a request on the control port is meant for a proxy: CONNECT, or a whole URL where a path would be. A URL that names an address may as well be meant
    /// for the control face itself (RFC 9112, section 3.2.2), which answers at no name.
    pub fn concerns<B>(request: &Request<B>) -> bool {
        if request.method() == Method::CONNECT {
            return true;
        }
        // In HTTP/2 every request names its scheme and host.
        let host = request.uri().host().filter(|_| request.version() < Version::HTTP_2);
        host.is_some_and(|host| !is_address(host))
    }

    /// Answers one such request.
    pub async fn handle(self: Arc<Self>, request: Request<Incoming>, peer: SocketAddr) -> Response<ResponseBody> {
        match self.admitted(request.method(), request.headers(), request.uri(), peer).await {
            Ok(target) if request.method() == Method::CONNECT => self.tunnel(request, target, peer).await,
            Ok(target) => self.pass_on(request, target, peer).await,
            Err(refused) => refused.response(),
        }
    }

    /// Ends all tunnels: requests behind them are finished, if that does not take long.
    pub async fn end(&self) {
        self.closing.send_replace(true);
        if tokio::time::timeout(DRAIN_TIMEOUT, self.closing.closed()).await.is_err() {
            tracing::warn!(drain_timeout_s = DRAIN_TIMEOUT.as_secs(), "tunnels of the intercepting proxy are cut");
        }
    }

    /// Where a request wants to go, if its sender may use the proxy at all.
    async fn admitted(&self, method: &Method, headers: &HeaderMap, target: &Uri, peer: SocketAddr) -> Result<HostAndPort, Refused> {
        check_place(peer)?;
        // What is shown counts, also where it is wrong.
        let user = match headers.contains_key(header::PROXY_AUTHORIZATION) || method != Method::CONNECT {
            true => self.credentials.user(headers),
            false => self.look_up(peer).await,
        };
        if user.is_none() {
            let wanted = "the intercepting proxy wants its credential: `frontdesk env` prints HTTPS_PROXY with it";
            return Err(Refused::new(StatusCode::PROXY_AUTHENTICATION_REQUIRED, wanted));
        }
        target.authority().cloned().ok_or_else(|| Refused::new(StatusCode::BAD_REQUEST, "the request names no host"))
    }

    /// The user as whom a process on this machine was started, by its end of the connection.
    async fn look_up(&self, peer: SocketAddr) -> Option<ProxyUser> {
        let _place = self.look_ups.acquire().await.ok()?;
        let (connection, credentials) = (Connection { from: peer, to_port: self.port }, self.credentials.clone());
        tokio::task::spawn_blocking(move || peer_process::user(Path::new(peer_process::PROC), connection, &credentials)).await.ok()?
    }

    async fn tunnel(self: Arc<Self>, mut request: Request<Incoming>, target: HostAndPort, peer: SocketAddr) -> Response<ResponseBody> {
        let Some(port) = target.port_u16() else { return Refused::new(StatusCode::BAD_REQUEST, "CONNECT names no port").response() };
        let Ok(place) = self.places.clone().try_acquire_owned() else {
            let message = format!("{TUNNELS_MAX} tunnels are open at once, which is the most");
            return Refused::new(StatusCode::SERVICE_UNAVAILABLE, message).response();
        };
        let host = destination::normal(target.host());
        let upgrade = hyper::upgrade::on(&mut request);
        match destination::of(&host) {
            Destination::Foreign => {
                let mut outside = match self.reach(&host, port).await {
                    Ok(outside) => outside,
                    Err(refused) => return refused.response(),
                };
                let mut closing = self.closing.subscribe();
                tokio::spawn(async move {
                    let Ok(inside) = upgrade.await else { return };
                    let mut inside = TokioIo::new(inside);
                    tokio::select! {
                        // However it ends, both sides see it.
                        _ = copy_bidirectional(&mut inside, &mut outside) => {}
                        _ = closing.wait_for(|closing| *closing) => {}
                    }
                    drop(place);
                });
            }
            _ if port != 443 => {
                // Not passed on to the real one: who was told of this proxy does not mean to call it.
                let message = format!("{host} is answered by this host at port 443, not at {port}");
                return Refused::new(StatusCode::FORBIDDEN, message).response();
            }
            destination => {
                let (this, closing) = (self.clone(), self.closing.subscribe());
                tokio::spawn(async move {
                    let Ok(inside) = upgrade.await else { return };
                    if let Err(error) = this.inside(TokioIo::new(inside), &host, destination, peer, closing).await {
                        tracing::debug!(host, error = &*error, "a tunnel broke off");
                    }
                    drop(place);
                });
            }
        }
        Response::new(body(""))
    }

    /// Serves what comes out of a tunnel to one of AWS's hosts.
    async fn inside(
        self: Arc<Self>,
        tunnel: TokioIo<hyper::upgrade::Upgraded>,
        host: &str,
        destination: Destination,
        peer: SocketAddr,
        closing: watch::Receiver<bool>,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let acceptor = TlsAcceptor::from(self.authority.server(host, now())?);
        let handshake = tokio::time::timeout(ListenerLimits::default().header_read_timeout, acceptor.accept(tunnel));
        let stream = handshake.await.map_err(|_| "no TLS handshake in time")??;
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let this = self.clone();
        let handler = move |request, peer| this.clone().dispatch(request, destination, peer);
        self.protocols.serve(stream, is_http2, peer, handler, closing).await
    }

    /// Answers a request that was sent to the proxy itself, as some clients do for `https` too (axios), in the clear on this machine's loopback.
    async fn pass_on(self: Arc<Self>, request: Request<Incoming>, target: HostAndPort, peer: SocketAddr) -> Response<ResponseBody> {
        let host = destination::normal(target.host());
        let destination = destination::of(&host);
        if destination == Destination::Foreign {
            let message = format!("for hosts such as {host} this proxy opens tunnels only (CONNECT); plain http needs no proxy");
            return Refused::new(StatusCode::NOT_IMPLEMENTED, message).response();
        }
        let (mut parts, body) = request.into_parts();
        parts.uri = parts.uri.path_and_query().and_then(|path| path.as_str().parse().ok()).unwrap_or(Uri::from_static("/"));
        for name in FOR_THE_PROXY {
            parts.headers.remove(name);
        }
        self.dispatch(Request::from_parts(parts, body), destination, peer).await
    }

    async fn dispatch(
        self: Arc<Self>,
        mut request: Request<Incoming>,
        destination: Destination,
        peer: SocketAddr,
    ) -> Response<ResponseBody> {
        if destination == Destination::Gateway {
            return self.gateway.clone().handle(request, peer).await;
        }
        request.extensions_mut().insert(CallerAddress(peer.ip()));
        self.control.clone().handle(request).await
    }

    /// Connects to a host that is not AWS's, if the settings let anybody out.
    async fn reach(&self, host: &str, port: u16) -> Result<TcpStream, Refused> {
        if self.foreign == ForeignHosts::Refuse {
            let message = format!("{host}:{port} is not of amazonaws.com, and control.foreign_hosts = \"refuse\" lets nobody out");
            return Err(Refused::new(StatusCode::FORBIDDEN, message));
        }
        let dialed = tokio::time::timeout(DIAL_TIMEOUT, TcpStream::connect((host.trim_matches(['[', ']']), port))).await;
        dialed.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(|error| {
            tracing::debug!(host, port, %error, "a tunnel could not be opened");
            Refused::new(StatusCode::BAD_GATEWAY, format!("{host}:{port} cannot be reached: {error}"))
        })
    }
}

/// From where the proxy may be called: from this machine.
fn check_place(peer: SocketAddr) -> Result<(), Refused> {
    if peer.ip().to_canonical().is_loopback() {
        return Ok(());
    }
    tracing::warn!(%peer, "a stranger tried to use the intercepting proxy");
    Err(Refused::new(StatusCode::FORBIDDEN, "the intercepting proxy is for programs on its own machine, called at 127.0.0.1"))
}

/// Why a caller of the proxy gets no further.
#[derive(Debug)]
struct Refused {
    status: StatusCode,
    message: String,
}

impl Refused {
    fn new(status: StatusCode, message: impl Into<String>) -> Refused {
        Refused { status, message: message.into() }
    }

    fn response(&self) -> Response<ResponseBody> {
        let mut response = Response::new(body(&format!("{}\n", self.message)));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        if self.status == StatusCode::PROXY_AUTHENTICATION_REQUIRED {
            headers.insert(header::PROXY_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"frontdesk\""));
        }
        response
    }
}

/// Whether a URL's host is an address or this machine's own name.
fn is_address(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok()
}

fn body(text: &str) -> ResponseBody {
    Full::new(Bytes::copy_from_slice(text.as_bytes())).map_err(|never| match never {}).boxed_unsync()
}

#[expect(clippy::disallowed_methods, reason = "an edge: a certificate's first day is the day it is asked for")]
fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(verb: &str, uri: &str, expected: bool) {
        let request = Request::builder().method(verb).uri(uri).body(()).unwrap();
        assert_eq!(Interceptor::concerns(&request), expected, "{verb} {uri}");
    }

    #[test]
    fn only_this_machine_s_programs_may_use_it() {
        let status = |peer: &str| {
            let checked = check_place(SocketAddr::new(peer.parse().unwrap(), 9));
            checked.map_or_else(|refused| refused.response().status().as_u16(), |()| 200)
        };
        for here in ["127.0.0.1", "127.0.0.7", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(status(here), 200, "{here}");
        }
        for elsewhere in ["192.0.2.1", "10.0.0.1", "::ffff:192.0.2.1", "2001:db8::1"] {
            assert_eq!(status(elsewhere), 403, "{elsewhere}");
        }
    }

    #[test]
    fn a_proxy_s_requests_are_told_from_the_control_face_s() {
        check("CONNECT", "lambda.us-east-1.amazonaws.com:443", true);
        check("CONNECT", "127.0.0.1:80", true);
        check("POST", "https://lambda.us-east-1.amazonaws.com/x", true);
        check("GET", "http://example.com/", true);
        for own in ["/", "/runtimes/a/invocations", "http://127.0.0.1:4566/", "http://[::1]:4566/", "http://LOCALHOST:4566/"] {
            check("POST", own, false);
        }
    }
}
