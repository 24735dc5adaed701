//! A stand-in for AgentCore's data plane, which fails on demand in the ways that the real one does. It checks no signature: for that there is the host's own
//! control face.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// How the data plane behaves.
#[derive(Debug)]
pub enum Behaviour {
    /// Answers 200 with these bytes.
    Answer(Vec<u8>),
    /// Refuses: a status, an error's code and its message, as the rest-json protocol writes them.
    Refuse(u16, &'static str, &'static str),
    /// Accepts the request and never answers.
    Hang,
    /// Streams the pieces that the test sends; an error cuts the answer off.
    Stream(mpsc::Receiver<Result<Bytes, io::Error>>),
}

/// A request that came.
#[derive(Debug, Clone)]
pub struct Received {
    /// Path and query.
    pub target: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Value,
}

impl Received {
    /// A header as text; empty when it is missing.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

#[derive(Debug)]
struct Shared {
    behaviour: Mutex<Behaviour>,
    received: Mutex<Vec<Received>>,
}

/// The stand-in. It ends when dropped.
#[derive(Debug)]
pub struct AgentCoreDouble {
    address: SocketAddr,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

impl AgentCoreDouble {
    /// Starts one on a free port.
    ///
    /// # Errors
    /// When there is no port.
    pub async fn start() -> io::Result<AgentCoreDouble> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared { behaviour: Mutex::new(Behaviour::Hang), received: Mutex::default() });
        let router = Router::new().fallback(answer).with_state(shared.clone());
        let serving = tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Ok(AgentCoreDouble { address, shared, serving })
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Changes how it behaves from the next request on. [`Behaviour::Stream`] is for one request; the next one hangs.
    pub fn behave(&self, behaviour: Behaviour) {
        *lock(&self.shared.behaviour) = behaviour;
    }

    /// The requests so far.
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        lock(&self.shared.received).clone()
    }
}

impl Drop for AgentCoreDouble {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let target = parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    let body = serde_json::from_slice(&body).unwrap_or_default();
    lock(&shared.received).push(Received { target, headers: parts.headers, body });
    let stream = match &mut *lock(&shared.behaviour) {
        Behaviour::Answer(body) => return respond(StatusCode::OK, body.clone()),
        Behaviour::Refuse(status, code, message) => {
            let status = StatusCode::from_u16(*status).expect("the test's status is one");
            let mut response = respond(status, serde_json::json!({ "message": message }).to_string().into_bytes());
            response.headers_mut().insert("x-amzn-errortype", http::HeaderValue::from_static(code));
            return response;
        }
        behaviour @ Behaviour::Stream(_) => std::mem::replace(behaviour, Behaviour::Hang),
        Behaviour::Hang => Behaviour::Hang,
    };
    let Behaviour::Stream(pieces) = stream else { return std::future::pending().await };
    let mut response = Response::new(Body::new(Pieces(pieces)));
    response.headers_mut().insert("content-type", http::HeaderValue::from_static("text/event-stream; charset=utf-8"));
    response
}

fn respond(status: StatusCode, body: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert("content-type", http::HeaderValue::from_static("application/json"));
    response
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A body of pieces that the test sends.
struct Pieces(mpsc::Receiver<Result<Bytes, io::Error>>);

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, io::Error>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|piece| piece.map(hyper::body::Frame::data)))
    }
}
