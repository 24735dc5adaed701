//! The program around a handler: routes, the server, its end.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use frontdesk_trace::Spans;
use http::{StatusCode, header};
use serde::Serialize;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::answer::Answer;
use crate::context::Context;
use crate::error::HandlerError;
use crate::invocations;
use crate::ping::{Ping, PingStatus, StatusSource};
use crate::websocket::{self, Connection, WebSocketHandler};

/// The largest payload: AgentCore's own limit for InvokeAgentRuntime.
const BODY_BYTES_MAX: usize = 100 * 1024 * 1024;

/// How long calls in flight may take to finish after the shutdown signal. The host kills after ten seconds.
const DRAIN_MAX: Duration = Duration::from_secs(8);

/// The port of AgentCore's HTTP protocol.
const PORT: u16 = 8080;

type HandlerFuture = Pin<Box<dyn Future<Output = Result<Answer, HandlerError>> + Send>>;
type Handler = dyn Fn(Value, Context) -> HandlerFuture + Send + Sync;

/// An AgentCore program around one async handler.
pub struct App {
    handler: Arc<Handler>,
    websocket: Option<Arc<WebSocketHandler>>,
    ping: Option<StatusSource>,
    body_bytes_max: usize,
    spans: Spans,
}

/// What the routes share.
pub(crate) struct Served {
    pub(crate) handler: Arc<Handler>,
    pub(crate) websocket: Option<Arc<WebSocketHandler>>,
    pub(crate) ping: Arc<Ping>,
    pub(crate) body_bytes_max: usize,
    pub(crate) spans: Spans,
}

impl App {
    /// An app whose `POST /invocations` calls `handler` with the payload, any JSON value, and the call's [`Context`].
    ///
    /// The handler's future is dropped when the caller goes away. A panic inside answers 500 and the server lives on.
    pub fn new<H, F, A, E>(handler: H) -> App
    where
        H: Fn(Value, Context) -> F + Send + Sync + 'static,
        F: Future<Output = Result<A, E>> + Send + 'static,
        A: Into<Answer>,
        E: Into<HandlerError>,
    {
        let handler = move |payload, context| {
            let future = handler(payload, context);
            let future: HandlerFuture = Box::pin(async move { future.await.map(Into::<Answer>::into).map_err(Into::<HandlerError>::into) });
            future
        };
        App { handler: Arc::new(handler), websocket: None, ping: None, body_bytes_max: BODY_BYTES_MAX, spans: Spans::default() }
    }

    /// Serves `/ws` with `handler`, which is given each connection and the [`Context`] of its handshake. An error or a panic closes the
    /// connection with code 1011; without a handler the handshake gets 403.
    #[must_use]
    pub fn websocket<H>(self, handler: H) -> App
    where
        H: for<'a> Fn(&'a mut Connection, Context) -> Pin<Box<dyn Future<Output = Result<(), HandlerError>> + Send + 'a>>,
        H: Send + Sync + 'static,
    {
        App { websocket: Some(Arc::new(handler)), ..self }
    }

    /// Lets `status` say at each ping how the agent is, in place of its background tasks. It should answer at once.
    #[must_use]
    pub fn ping(self, status: impl Fn() -> PingStatus + Send + Sync + 'static) -> App {
        App { ping: Some(Box::new(status)), ..self }
    }

    /// Serves as AgentCore's containers must, until Ctrl-C or SIGTERM: on the port that the variable `PORT` names, else 8080, on all
    /// addresses inside a container and on this machine alone elsewhere. Logs go to standard error as [`crate::log`] writes them.
    pub async fn serve(self) -> io::Result<()> {
        crate::log::init();
        let port = match std::env::var("PORT") {
            Ok(port) => {
                port.parse().map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, format!("PORT is `{port}`, which is no port")))?
            }
            Err(_) => PORT,
        };
        let address = SocketAddr::new(bind_address(), port);
        let failed =
            |error: io::Error| io::Error::new(error.kind(), format!("failed to listen on {address}: {error}; PORT names another port"));
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        self.run(listener, interrupted()).await
    }

    /// Lowers the limit on a payload, in bytes. The default is AgentCore's: 100 MB.
    #[must_use]
    pub fn body_bytes_max(self, body_bytes_max: usize) -> App {
        App { body_bytes_max, ..self }
    }

    /// Tells `spans` of each invocation, below the span that its `traceparent` names. By default nobody is told.
    #[must_use]
    pub fn spans(self, spans: Spans) -> App {
        App { spans, ..self }
    }

    /// Serves on `listener` until `shutdown` completes, then stops accepting, lets calls in flight finish for at most eight
    /// seconds, and returns. `/ping` answers from the first connection on, so bind early and call this when the agent is ready.
    pub async fn run(self, listener: TcpListener, shutdown: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
        let (drain_began, drain_begins) = oneshot::channel();
        let shutdown = async move {
            shutdown.await;
            // The receiver is alive as long as this server is.
            let _ = drain_began.send(());
        };
        let listener = listener.tap_io(|stream| {
            // Without it small answers wait for the peer's delayed acknowledgement. A stream that refuses is only slower.
            let _ = stream.set_nodelay(true);
        });
        let server = axum::serve(listener, self.router()).with_graceful_shutdown(shutdown).into_future();
        let drain_over = async {
            if drain_begins.await.is_err() {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(DRAIN_MAX).await;
        };
        tokio::select! {
            served = server => served,
            () = drain_over => {
                tracing::warn!(seconds = DRAIN_MAX.as_secs(), "Calls still in flight were dropped at shutdown");
                Ok(())
            }
        }
    }

    fn router(self) -> Router {
        let ping = Arc::new(Ping::new(self.ping));
        let served =
            Served { handler: self.handler, websocket: self.websocket, ping, body_bytes_max: self.body_bytes_max, spans: self.spans };
        Router::new()
            .route("/invocations", post(invocations::invoke))
            .route("/ping", get(ping_document))
            .route("/ws", get(websocket::upgrade))
            .fallback(not_found)
            .method_not_allowed_fallback(method_not_allowed)
            .with_state(Arc::new(served))
    }
}

impl fmt::Debug for App {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("App").field("body_bytes_max", &self.body_bytes_max).finish_non_exhaustive()
    }
}

async fn ping_document(State(served): State<Arc<Served>>) -> Response {
    json(StatusCode::OK, &served.ping.document())
}

/// Where a program of AgentCore's listens: on all addresses inside a container, which is told as the published SDKs do, and on this machine
/// alone elsewhere.
pub fn bind_address() -> IpAddr {
    let in_container = std::path::Path::new("/.dockerenv").exists() || std::env::var_os("DOCKER_CONTAINER").is_some();
    if in_container { Ipv4Addr::UNSPECIFIED.into() } else { Ipv4Addr::LOCALHOST.into() }
}

/// Ends with Ctrl-C or SIGTERM.
pub async fn interrupted() {
    let ctrl_c = async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    #[cfg(unix)]
    let terminated = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => drop(signal.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    #[cfg(not(unix))]
    let terminated = std::future::pending::<()>();
    tokio::select! {
        () = ctrl_c => {}
        () = terminated => {}
    }
}

async fn not_found() -> Response {
    text(StatusCode::NOT_FOUND, "Not Found")
}

async fn method_not_allowed() -> Response {
    text(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed")
}

/// A `text/plain` answer.
pub(crate) fn text(status: StatusCode, text: &'static str) -> Response {
    (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()
}

/// An `application/json` answer. `document` is one of this crate's own or a [`Value`], so it serializes.
pub(crate) fn json(status: StatusCode, document: &impl Serialize) -> Response {
    let body = serde_json::to_vec(document).expect("strings, numbers and JSON values always serialize");
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}
