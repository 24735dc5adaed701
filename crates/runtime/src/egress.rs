//! The way out of a session that has a network of its own: a relay of the host's, at a port of the session's loopback, to the hosts that the settings allow.
//!
//! It is an HTTP proxy: programs find it in `HTTPS_PROXY` and `HTTP_PROXY`. A tunnel (CONNECT) carries TLS that this host cannot read; plain requests are passed on one
//! by one. Whatever else a program tries reaches nothing, since its network has no other way. The relay ends with its session.

mod rules;

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::ResponseBody;

pub use rules::{EgressRuleError, EgressRules};

/// Where a session finds its relay, on its own loopback: below the ports that agents are given.
pub(crate) const RELAY_PORT: u16 = 3128;
/// Connections through one relay at once; more wait to be accepted.
const CONNECTIONS_MAX: usize = 256;
/// A program that connects says what it wants at once.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// A host that takes longer is not there.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);

/// Headers that speak of one connection and go no further (RFC 9110, section 7.6.1).
const OF_THE_CONNECTION: [HeaderName; 7] = [
    header::CONNECTION,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("proxy-connection"),
];

/// A connection to the world being made.
pub(crate) type Dialing = Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send>>;
/// Connects to one of a host's addresses that the check permits.
pub(crate) type Dial = Arc<dyn Fn(String, u16, AddressCheck) -> Dialing + Send + Sync>;
/// Whether an address may be reached.
pub(crate) type AddressCheck = fn(IpAddr) -> bool;

/// A relay of one session. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Relay {
    _serving: JoinSet<()>,
}

/// What a program finds in its environment to go through its relay, and not for its own loopback.
pub(crate) fn environment() -> Vec<(&'static str, String)> {
    let relay = format!("http://127.0.0.1:{RELAY_PORT}");
    let through = ["HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"].map(|name| (name, relay.clone()));
    let past = ["NO_PROXY", "no_proxy"].map(|name| (name, "127.0.0.1,localhost,::1".to_owned()));
    through.into_iter().chain(past).collect()
}

impl Relay {
    /// Begins to relay for one session of the agent with this name.
    pub(crate) fn begin(listener: TcpListener, rules: Arc<EgressRules>, dial: Dial, agent: &str) -> Relay {
        let way = Arc::new(Way { rules, dial, agent: agent.to_owned() });
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, way));
        Relay { _serving: serving }
    }
}

/// The dial of a real host: by the machine's own resolver.
pub(crate) fn dial() -> Dial {
    Arc::new(|host, port, check| {
        Box::pin(async move {
            let mut failure = io::Error::new(io::ErrorKind::PermissionDenied, format!("{host} has no address that may be reached"));
            // Connected to as it was checked: asking again might get another answer.
            for address in tokio::net::lookup_host((host, port)).await?.filter(|address| check(address.ip())) {
                match TcpStream::connect(address).await {
                    Ok(stream) => return Ok(stream),
                    Err(error) => failure = error,
                }
            }
            Err(failure)
        })
    })
}

struct Way {
    rules: Arc<EgressRules>,
    dial: Dial,
    agent: String,
}

async fn serve(listener: TcpListener, way: Arc<Way>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    // Dropped with this, they end their connections.
    let mut connections = JoinSet::new();
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        // An end of the namespace ends its sockets.
        let Ok((stream, _)) = listener.accept().await else { return };
        let way = way.clone();
        while connections.try_join_next().is_some() {}
        connections.spawn(async move {
            let service = service_fn(|request| way.clone().answer(request));
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                .serve_connection(TokioIo::new(stream), service)
                .with_upgrades();
            if let Err(error) = connection.await {
                tracing::debug!(error = &error as &dyn std::error::Error, "a connection to a session's relay broke off");
            }
            drop(place);
        });
    }
}

impl Way {
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<ResponseBody>, std::convert::Infallible> {
        let answered = if request.method() == Method::CONNECT { self.tunnel(request).await } else { self.pass_on(request).await };
        Ok(answered.unwrap_or_else(|refused| refused))
    }

    /// Opens a tunnel, whose bytes are carried until either end is done.
    async fn tunnel(&self, mut request: Request<Incoming>) -> Result<Response<ResponseBody>, Response<ResponseBody>> {
        let authority = request.uri().authority().cloned().ok_or_else(|| refuse(StatusCode::BAD_REQUEST, "CONNECT names no host"))?;
        let mut outside = self.reach(&authority, None).await?;
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            if let Ok(inside) = upgrade.await {
                // However it ends, both sides see it.
                let _ = copy_bidirectional(&mut TokioIo::new(inside), &mut outside).await;
            }
        });
        Ok(Response::new(body("")))
    }

    /// Passes a plain request on, and its answer back.
    async fn pass_on(&self, request: Request<Incoming>) -> Result<Response<ResponseBody>, Response<ResponseBody>> {
        let target = request.uri().clone();
        let (Some("http"), Some(authority)) = (target.scheme_str(), target.authority().cloned()) else {
            return Err(refuse(StatusCode::BAD_REQUEST, "this is a proxy: a request for http://… or CONNECT is expected"));
        };
        let outside = self.reach(&authority, Some(80)).await?;
        let failed = |error: hyper::Error| refuse(StatusCode::BAD_GATEWAY, &format!("{authority} did not answer: {error}"));
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(outside)).await.map_err(failed)?;
        tokio::spawn(connection);
        let (mut parts, body) = request.into_parts();
        drop_hop_headers(&mut parts.headers);
        if let Ok(host) = HeaderValue::from_str(authority.as_str()) {
            parts.headers.insert(header::HOST, host);
        }
        parts.uri = target.path_and_query().and_then(|path| path.as_str().parse().ok()).unwrap_or(Uri::from_static("/"));
        let mut response = sender.send_request(Request::from_parts(parts, body)).await.map_err(failed)?;
        drop_hop_headers(response.headers_mut());
        Ok(response.map(|body| body.map_err(Into::into).boxed_unsync()))
    }

    /// Connects to where a request wants to go, if it may.
    async fn reach(&self, authority: &Authority, default_port: Option<u16>) -> Result<TcpStream, Response<ResponseBody>> {
        let port = authority.port_u16().or(default_port).ok_or_else(|| refuse(StatusCode::BAD_REQUEST, "CONNECT names no port"))?;
        let host = rules::normal(authority.host());
        let Some(check) = self.rules.check(&host, port) else {
            tracing::info!(agent = self.agent, host, port, "a session was not let out: runtime.egress_allow does not name the host");
            let message = format!("{host}:{port} is not among the hosts that runtime.egress_allow names");
            return Err(refuse(StatusCode::FORBIDDEN, &message));
        };
        let dialed = tokio::time::timeout(DIAL_TIMEOUT, (self.dial)(host.clone(), port, check)).await;
        dialed.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(|error| {
            tracing::info!(agent = self.agent, host, port, %error, "a session could not be let out");
            let is_forbidden = error.kind() == io::ErrorKind::PermissionDenied;
            let status = if is_forbidden { StatusCode::FORBIDDEN } else { StatusCode::BAD_GATEWAY };
            refuse(status, &format!("{host}:{port} cannot be reached: {error}"))
        })
    }
}

fn drop_hop_headers(headers: &mut HeaderMap) {
    for name in OF_THE_CONNECTION {
        headers.remove(name);
    }
}

fn refuse(status: StatusCode, message: &str) -> Response<ResponseBody> {
    let mut response = Response::new(body(&format!("{message}\n")));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

fn body(text: &str) -> ResponseBody {
    Full::new(Bytes::copy_from_slice(text.as_bytes())).map_err(|never| match never {}).boxed_unsync()
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::Mutex;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// A relay, and a world in which every name leads to one server that says what it was sent.
    struct World {
        relay: SocketAddr,
        dialed: Arc<Mutex<Vec<String>>>,
        _relay: Relay,
    }

    async fn world(allow: &str) -> World {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = server.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = server.accept().await {
                tokio::spawn(async move {
                    let mut heard = vec![0; 4096];
                    let length = stream.read(&mut heard).await.unwrap();
                    let text = String::from_utf8_lossy(&heard[..length]).into_owned();
                    let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", text.len());
                    stream.write_all(head.as_bytes()).await.unwrap();
                    stream.write_all(text.as_bytes()).await.unwrap();
                });
            }
        });
        let dialed = Arc::new(Mutex::new(Vec::new()));
        let noted = dialed.clone();
        let dial: Dial = Arc::new(move |host, port, _| {
            noted.lock().unwrap().push(format!("{host}:{port}"));
            Box::pin(TcpStream::connect(address))
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let relay = listener.local_addr().unwrap();
        let rules = Arc::new(EgressRules::parse(allow).unwrap());
        World { relay, dialed, _relay: Relay::begin(listener, rules, dial, "echo") }
    }

    impl World {
        /// Sends a text to the relay, and another once it has answered. Returns all that came back.
        async fn say(&self, first: &str, then: &str) -> String {
            let mut stream = TcpStream::connect(self.relay).await.unwrap();
            stream.write_all(first.as_bytes()).await.unwrap();
            let mut heard = vec![0; 4096];
            let length = stream.read(&mut heard).await.unwrap();
            let mut heard = String::from_utf8_lossy(&heard[..length]).into_owned();
            if !then.is_empty() {
                stream.write_all(then.as_bytes()).await.unwrap();
                stream.read_to_string(&mut heard).await.unwrap();
            }
            heard
        }

        fn dialed(&self) -> Vec<String> {
            self.dialed.lock().unwrap().clone()
        }
    }

    #[tokio::test]
    async fn a_tunnel_leads_to_an_allowed_host_and_to_no_other() {
        let world = world("api.example.com, *.example.org:8443").await;
        let heard = world.say("CONNECT API.example.com.:443 HTTP/1.1\r\nhost: x\r\n\r\n", "hidden").await;
        assert!(heard.starts_with("HTTP/1.1 200 OK\r\n") && heard.ends_with("\r\n\r\nhidden"), "{heard}");
        let heard = world.say("CONNECT a.b.example.org:8443 HTTP/1.1\r\nhost: x\r\n\r\n", "hidden").await;
        assert!(heard.ends_with("hidden"), "{heard}");
        for elsewhere in ["api.example.com:22", "example.com:443", "api.example.com.evil.net:443", "a.example.org:443", "127.0.0.1:4566"] {
            let heard = world.say(&format!("CONNECT {elsewhere} HTTP/1.1\r\nhost: x\r\n\r\n"), "").await;
            assert!(heard.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{elsewhere}: {heard}");
        }
        assert_eq!(world.dialed(), ["api.example.com:443", "a.b.example.org:8443"]);
    }

    #[tokio::test]
    async fn a_plain_request_is_passed_on_without_what_was_for_the_relay() {
        let world = world("api.example.com").await;
        let request = "POST http://api.example.com/a?b=c HTTP/1.1\r\nhost: other\r\nproxy-connection: keep-alive\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi";
        let heard = world.say(request, " ").await;
        assert!(heard.contains("POST /a?b=c HTTP/1.1\r\n") && heard.contains("host: api.example.com\r\n"), "{heard}");
        assert!(!heard.contains("proxy-connection") && !heard.contains("other"), "{heard}");
        let heard = world.say("GET /x HTTP/1.1\r\nhost: api.example.com\r\n\r\n", "").await;
        assert!(heard.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{heard}");
        let heard = world.say("GET http://other.example.com/ HTTP/1.1\r\nhost: api.example.com\r\n\r\n", "").await;
        assert!(heard.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{heard}");
        assert_eq!(world.dialed(), ["api.example.com:80"]);
    }
}
