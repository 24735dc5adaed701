//! A stand-in for Lambda's Runtime API, as a function's process sees it: hands out invocations one by one, and keeps what is answered
//! (<https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::routing::{get, post};
use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;

/// A function that has not answered by then never will.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// Invocations, and pieces of an answer, that may wait.
const WAITING_MAX: usize = 64;

/// An invocation to hand out.
#[derive(Debug, Clone)]
pub struct Invocation {
    /// The invocation's id.
    pub request_id: String,
    /// The event.
    pub event: Value,
    /// How much time it has from the moment that it is handed out.
    pub time_left: Duration,
    /// X-Ray's header.
    pub trace_id: String,
}

impl Invocation {
    /// An event with an id, half a minute and a trace of its own.
    #[must_use]
    pub fn of(event: Value) -> Invocation {
        let request_id = "8476a536-e9f4-11e8-9739-2dfe598c3fcd".to_owned();
        let trace_id = "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=1".to_owned();
        Invocation { request_id, event, time_left: Duration::from_secs(30), trace_id }
    }
}

/// What a function did with an invocation.
#[derive(Debug)]
pub struct Answered {
    /// Whether it reported an error instead of answering.
    pub is_error: bool,
    /// The headers of its answer.
    pub headers: HeaderMap,
    pieces: mpsc::Receiver<Bytes>,
}

impl Answered {
    /// The answer's next piece, as it came; `None` at the end.
    pub async fn piece(&mut self) -> Option<Bytes> {
        tokio::time::timeout(ANSWER_TIMEOUT, self.pieces.recv()).await.expect("the function goes on answering")
    }

    /// What is left of the answer.
    pub async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        while let Some(piece) = self.piece().await {
            rest.extend_from_slice(&piece);
        }
        rest
    }

    /// The answer as the document that API Gateway reads.
    ///
    /// # Panics
    /// If the function reported an error, or answered something else.
    pub async fn document(&mut self) -> Value {
        let body = self.rest().await;
        assert!(!self.is_error, "the function failed: {}", String::from_utf8_lossy(&body));
        serde_json::from_slice(&body).expect("the answer is JSON")
    }
}

#[derive(Debug)]
struct Shared {
    invocations: Mutex<mpsc::Receiver<Invocation>>,
    answers: mpsc::Sender<Answered>,
}

/// The stand-in. It ends when dropped.
#[derive(Debug)]
pub struct RuntimeApi {
    address: SocketAddr,
    invocations: mpsc::Sender<Invocation>,
    answers: mpsc::Receiver<Answered>,
    serving: JoinHandle<()>,
}

impl RuntimeApi {
    /// Starts one on a free port.
    ///
    /// # Errors
    /// When there is no port.
    pub async fn start() -> io::Result<RuntimeApi> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let (invocations, waiting) = mpsc::channel(WAITING_MAX);
        let (answers, answered) = mpsc::channel(WAITING_MAX);
        let shared = Arc::new(Shared { invocations: Mutex::new(waiting), answers });
        let router = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/{outcome}", post(answer))
            .with_state(shared);
        let serving = tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Ok(RuntimeApi { address, invocations, answers: answered, serving })
    }

    /// Host and port, for `AWS_LAMBDA_RUNTIME_API`.
    #[must_use]
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Hands an invocation to the function and waits for the beginning of its answer.
    pub async fn invoke(&mut self, invocation: Invocation) -> Answered {
        self.invocations.send(invocation).await.expect("the stand-in serves");
        let answered = tokio::time::timeout(ANSWER_TIMEOUT, self.answers.recv()).await;
        answered.expect("the function answers").expect("the stand-in serves")
    }
}

impl Drop for RuntimeApi {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Waits for an invocation, as Lambda does.
async fn next(State(shared): State<Arc<Shared>>) -> Response<Body> {
    let Some(invocation) = shared.invocations.lock().await.recv().await else {
        return Response::builder().status(StatusCode::GONE).body(Body::empty()).expect("a response");
    };
    #[expect(clippy::disallowed_methods, reason = "a test is an edge")]
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("the clock is past 1970");
    let deadline_ms = (now + invocation.time_left).as_millis().to_string();
    Response::builder()
        .header("Content-Type", "application/json")
        .header("Lambda-Runtime-Aws-Request-Id", invocation.request_id)
        .header("Lambda-Runtime-Deadline-Ms", deadline_ms)
        .header("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:us-east-1:123456789012:function:AgentCoreProxy")
        .header("Lambda-Runtime-Trace-Id", invocation.trace_id)
        .body(Body::from(invocation.event.to_string()))
        .expect("a response")
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    Path((_id, outcome)): Path<(String, String)>,
    headers: HeaderMap,
    mut body: Body,
) -> StatusCode {
    let (sender, pieces) = mpsc::channel(WAITING_MAX);
    let answered = Answered { is_error: outcome == "error", headers, pieces };
    let _ = shared.answers.send(answered).await;
    while let Some(Ok(frame)) = body.frame().await {
        if let Ok(piece) = frame.into_data() {
            let _ = sender.send(piece).await;
        }
    }
    StatusCode::ACCEPTED
}
