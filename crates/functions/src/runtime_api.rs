//! Lambda's Runtime API, version 2018-06-01, for one environment: its process asks for work, and tells what came of it
//! (<https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>).

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::routing::{get, post};
use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::invoke::PAYLOAD_BYTES_MAX;

/// An error's document is an object with a message and a stack trace.
const ERROR_BYTES_MAX: usize = 256 * 1024;

/// Work for a process.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) request_id: String,
    pub(crate) payload: Bytes,
    /// How long the process has from the moment that it takes the job.
    pub(crate) timeout: Duration,
    pub(crate) function_arn: String,
    pub(crate) trace_id: String,
    /// As its caller sent it, decoded.
    pub(crate) client_context: Option<String>,
    /// Told what came of it.
    pub(crate) outcome: oneshot::Sender<Outcome>,
    /// Told that the process has taken it.
    pub(crate) taken: oneshot::Sender<()>,
}

/// What a process tells of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It answered.
    Answered(Bytes),
    /// It reported an error: a document with `errorMessage`, `errorType`, `stackTrace`.
    Failed(Bytes),
}

/// What is known of a process by what it asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// How often it asked for work. The first time is the end of its start.
    pub(crate) asked: u64,
    /// Why it could not start.
    pub(crate) init_error: Option<Bytes>,
}

#[derive(Debug)]
struct Desk {
    jobs: tokio::sync::Mutex<mpsc::Receiver<Job>>,
    current: Mutex<Option<(String, oneshot::Sender<Outcome>)>>,
    progress: watch::Sender<Progress>,
}

/// The API of one environment. It ends when dropped.
#[derive(Debug)]
pub(crate) struct RuntimeApi {
    address: SocketAddr,
    jobs: mpsc::Sender<Job>,
    progress: watch::Receiver<Progress>,
    serving: JoinHandle<()>,
}

impl RuntimeApi {
    /// Serves one on a free port of the loopback.
    pub(crate) async fn start() -> io::Result<RuntimeApi> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        // An environment does one thing at a time.
        let (jobs, waiting) = mpsc::channel(1);
        let (told, progress) = watch::channel(Progress::default());
        let desk = Arc::new(Desk { jobs: tokio::sync::Mutex::new(waiting), current: Mutex::default(), progress: told });
        let router = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{request_id}/response", post(response))
            .route("/2018-06-01/runtime/invocation/{request_id}/error", post(error))
            .route("/2018-06-01/runtime/init/error", post(init_error))
            .with_state(desk);
        let serving = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(error = &error as &dyn std::error::Error, "an environment's Runtime API ended");
            }
        });
        Ok(RuntimeApi { address, jobs, progress, serving })
    }

    /// Host and port, for `AWS_LAMBDA_RUNTIME_API`.
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// Puts a job where the process finds it.
    pub(crate) async fn give(&self, job: Job) {
        // Only a server that has ended refuses; then the job's outcome is dropped, which its caller sees.
        let _ = self.jobs.send(job).await;
    }

    pub(crate) fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }
}

impl Drop for RuntimeApi {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Desk {
    fn current(&self) -> MutexGuard<'_, Option<(String, oneshot::Sender<Outcome>)>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the job's outcome, if it is still the current one.
    fn tell(&self, request_id: &str, outcome: Outcome) -> Response<Body> {
        let current = self.current().take_if(|(current, _)| current == request_id);
        match current {
            Some((_, waiting)) => {
                let _ = waiting.send(outcome);
                respond(StatusCode::ACCEPTED, &json!({ "status": "OK" }))
            }
            None => {
                let message = format!("Invalid request ID {request_id}");
                respond(StatusCode::BAD_REQUEST, &json!({ "errorMessage": message, "errorType": "InvalidRequestID" }))
            }
        }
    }
}

/// Waits for a job, however long.
async fn next(State(desk): State<Arc<Desk>>) -> Response<Body> {
    desk.progress.send_modify(|progress| progress.asked += 1);
    let Some(job) = desk.jobs.lock().await.recv().await else {
        return respond(StatusCode::GONE, &json!({ "errorMessage": "The environment has ended", "errorType": "Gone" }));
    };
    let deadline_ms = (now() + job.timeout).unix_timestamp_nanos() / 1_000_000;
    let mut response = Response::builder()
        .header(header::CONTENT_TYPE, "application/json")
        .header("Lambda-Runtime-Aws-Request-Id", &job.request_id)
        .header("Lambda-Runtime-Deadline-Ms", deadline_ms.to_string())
        .header("Lambda-Runtime-Invoked-Function-Arn", &job.function_arn)
        .header("Lambda-Runtime-Trace-Id", &job.trace_id);
    if let Some(context) = &job.client_context {
        response = response.header("Lambda-Runtime-Client-Context", context);
    }
    match response.body(Body::from(job.payload)) {
        Ok(response) => {
            *desk.current() = Some((job.request_id, job.outcome));
            let _ = job.taken.send(());
            response
        }
        // Something of the caller's cannot stand in a header. Its outcome is dropped, which the caller sees.
        Err(_) => respond(StatusCode::INTERNAL_SERVER_ERROR, &json!({ "errorType": "InternalError" })),
    }
}

async fn response(State(desk): State<Arc<Desk>>, Path(request_id): Path<String>, body: Body) -> Response<Body> {
    match Limited::new(body, PAYLOAD_BYTES_MAX).collect().await {
        Ok(answer) => desk.tell(&request_id, Outcome::Answered(answer.to_bytes())),
        Err(error) if error.is::<LengthLimitError>() => {
            let message = format!("Response payload size exceeded maximum allowed payload size ({PAYLOAD_BYTES_MAX} bytes).");
            let document = json!({ "errorMessage": message, "errorType": "Function.ResponseSizeTooLarge" });
            desk.tell(&request_id, Outcome::Failed(document.to_string().into()));
            respond(StatusCode::PAYLOAD_TOO_LARGE, &document)
        }
        Err(_) => respond(StatusCode::BAD_REQUEST, &json!({ "errorType": "BrokenBody" })),
    }
}

async fn error(State(desk): State<Arc<Desk>>, Path(request_id): Path<String>, headers: HeaderMap, body: Body) -> Response<Body> {
    let document = error_document(&headers, body).await;
    desk.tell(&request_id, Outcome::Failed(document))
}

async fn init_error(State(desk): State<Arc<Desk>>, headers: HeaderMap, body: Body) -> Response<Body> {
    let document = error_document(&headers, body).await;
    desk.progress.send_modify(|progress| progress.init_error = Some(document));
    respond(StatusCode::ACCEPTED, &json!({ "status": "OK" }))
}

/// What of an error's document its caller must find in it.
#[derive(Deserialize)]
struct ErrorDocument {
    #[serde(rename = "errorMessage")]
    _message: String,
}

/// The document as the process wrote it; where it wrote none, one that has its kind.
async fn error_document(headers: &HeaderMap, body: Body) -> Bytes {
    let body = Limited::new(body, ERROR_BYTES_MAX).collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    if serde_json::from_slice::<ErrorDocument>(&body).is_ok() {
        return body;
    }
    let kind = headers.get("lambda-runtime-function-error-type").and_then(|kind| kind.to_str().ok()).unwrap_or("Runtime.UnknownReason");
    json!({ "errorMessage": String::from_utf8_lossy(&body), "errorType": kind }).to_string().into()
}

fn respond(status: StatusCode, document: &serde_json::Value) -> Response<Body> {
    let mut response = Response::new(Body::from(document.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}

#[expect(clippy::disallowed_methods, reason = "an edge: the process must know the moment of its deadline")]
fn now() -> time::OffsetDateTime {
    time::OffsetDateTime::now_utc()
}
