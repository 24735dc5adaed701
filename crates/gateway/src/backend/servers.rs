//! The servers behind methods, each with the connections that wait for its next request.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use frontdesk_upstream::{Answer, Connection, Idle, IdleLimits, SendError};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Request, Response, Uri, header};
use http_body_util::Full;
use hyper::service::Service as _;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::service::TowerToHyperService;

use crate::integration::BoxError;

/// A connection to a backend is made within this time or not at all.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Shorter than what common servers allow, so that they are seldom the ones who close.
const IDLE_CONNECTIONS: IdleLimits = IdleLimits { connections_max: 1024, timeout: Duration::from_secs(50) };

type KnownServers = HashMap<(Scheme, Authority), Weak<Server>>;

/// All servers that somebody calls.
#[derive(Clone)]
pub(crate) struct Servers {
    connector: HttpsConnector<HttpConnector>,
    /// Whoever calls one keeps it, and so do the connections that wait.
    known: Arc<Mutex<KnownServers>>,
}

/// A server, as far as a URL names it.
pub(crate) struct Server {
    connector: HttpsConnector<HttpConnector>,
    /// Scheme and authority, with an empty path.
    origin: Uri,
    host: HeaderValue,
    idle: Idle<Full<Bytes>>,
}

impl std::fmt::Debug for Servers {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Servers").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Server").field("origin", &self.origin).field("idle", &self.idle).finish_non_exhaustive()
    }
}

impl Servers {
    /// None yet. Their certificates are checked as this machine does it.
    ///
    /// # Errors
    /// When the machine's certificate authorities cannot be read.
    pub(crate) fn new() -> std::io::Result<Servers> {
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let tls = HttpsConnectorBuilder::new().with_provider_and_platform_verifier(rustls::crypto::ring::default_provider())?;
        let connector = tls.https_or_http().enable_http1().wrap_connector(connector);
        Ok(Servers { connector, known: Arc::default() })
    }

    /// The server of a URL; `None` where it names none.
    pub(crate) fn of(&self, uri: &Uri) -> Option<Arc<Server>> {
        let key = (uri.scheme()?.clone(), uri.authority()?.clone());
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = known.get(&key).and_then(Weak::upgrade) {
            return Some(server);
        }
        let server = Arc::new(Server::new(self.connector.clone(), &key.0, &key.1)?);
        // A caller may have a say in the host: those that nobody calls any more must not pile up.
        known.retain(|_, server| server.strong_count() > 0);
        known.insert(key, Arc::downgrade(&server));
        Some(server)
    }
}

impl Server {
    fn new(connector: HttpsConnector<HttpConnector>, scheme: &Scheme, authority: &Authority) -> Option<Server> {
        let default_port = if *scheme == Scheme::HTTPS { 443 } else { 80 };
        // Without user and password, and without a port that goes without saying (RFC 9110, section 4.2.3).
        let host = match authority.port_u16() {
            Some(port) if port != default_port => HeaderValue::from_str(&format!("{}:{port}", authority.host())),
            _ => HeaderValue::from_str(authority.host()),
        };
        let origin = Uri::builder().scheme(scheme.clone()).authority(authority.clone()).path_and_query("/").build();
        Some(Server { connector, origin: origin.ok()?, host: host.ok()?, idle: Idle::new(IDLE_CONNECTIONS) })
    }

    /// `Host`, as it is told.
    pub(crate) fn host(&self) -> HeaderValue {
        self.host.clone()
    }

    /// Sends a request, whose URI may be absolute, and waits for the head of its answer.
    ///
    /// # Errors
    /// Those of connecting and of the connection.
    pub(crate) async fn send(&self, mut request: Box<Request<Full<Bytes>>>) -> Result<Response<Answer<Full<Bytes>>>, BoxError> {
        let path = request.uri_mut();
        *path = Uri::from(path.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/")));
        request.headers_mut().entry(header::HOST).or_insert_with(|| self.host.clone());
        let sent = self.idle.send(request, || Box::pin(self.connect())).await;
        sent.map_err(|error| match error {
            SendError::NoConnection { source, .. } => source,
            SendError::Broken(source) => source.into(),
        })
    }

    async fn connect(&self) -> Result<Connection<Full<Bytes>>, BoxError> {
        let stream = TowerToHyperService::new(self.connector.clone()).call(self.origin.clone()).await?;
        Ok(Connection::over(stream).await?)
    }
}
