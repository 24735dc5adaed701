//! One invocation carried to its session's process and back.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use frontdesk_metrics::{CallFigures, CallOutcome};
use frontdesk_store::AgentProtocol;
use frontdesk_trace::{Span, SpanKind};
use http::{HeaderMap, Method, Request, Response, Uri};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::ResponseBody;
use crate::agent_client::{AgentBody, SendError};
use crate::agent_process::AgentProcess;
use crate::host::{SessionHost, SessionName};
use crate::hosted::Target;
use crate::payload::{Payload, PayloadBody};
use crate::session::Inside;

/// How long after a cut connection the agent's end may be announced: its last words belong into the caller's error.
const LAST_WORDS_TIMEOUT: Duration = Duration::from_millis(500);
/// An agent's error answer is quoted to the caller up to this size.
const ERROR_BODY_BYTES_MAX: usize = 64 * 1024;
/// Where an agent that speaks A2A says what it can do.
const AGENT_CARD: &str = "/.well-known/agent-card.json";

/// What is asked of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// An answer to a payload.
    Invocation,
    /// Its card, which says what it can do.
    AgentCard,
}

/// What is sent to an agent.
#[derive(Debug)]
pub struct Invocation {
    /// What is asked.
    pub asked: Asked,
    /// Headers for the agent (session id, request id, content type, trace, custom ones); the caller has chosen which are handed on.
    pub headers: HeaderMap,
    /// The payload.
    pub payload: Payload,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum InvokeError {
    /// As many calls or sessions as are allowed are there.
    #[error("too many sessions or calls are in progress; try again later")]
    Busy,
    /// No such runtime or endpoint.
    #[error("{0}")]
    NotFound(String),
    /// The endpoint leads nowhere yet.
    #[error("{0}")]
    NotReady(String),
    /// The agent could not start, crashed, was killed, or answered 5xx. The text holds its last log lines, as AgentCore's RuntimeClientError does.
    #[error("{0}")]
    Agent(String),
}

/// Carries an invocation to its session, starting a process if need be. The answer streams; dropping it stops the agent's work on it.
///
/// A status below 500 is the agent's own answer and passes through. A start that had to be waited for is told below `span`.
pub(crate) async fn invoke(
    host: &SessionHost,
    target: &Target,
    session: &SessionName,
    invocation: Invocation,
    span: &Span,
) -> Result<Response<ResponseBody>, InvokeError> {
    let counting = Counting { calls: target.version.standing.calls_of(&target.endpoint), began: Instant::now() };
    let response = carry(host, target, session, invocation, span).await.inspect_err(|error| counting.failed(error))?;
    Ok(response.map(|mut held| {
        held.counting = Some(counting);
        held.boxed_unsync()
    }))
}

/// A call's count, told when its answer has been handed out.
#[derive(Debug)]
struct Counting {
    calls: Arc<CallFigures>,
    began: Instant,
}

impl Counting {
    fn failed(&self, error: &InvokeError) {
        let outcome = match error {
            InvokeError::Busy => CallOutcome::Throttled,
            // AgentCore answers all of these with a status below 500.
            InvokeError::NotFound(_) | InvokeError::NotReady(_) | InvokeError::Agent(_) => CallOutcome::CallerOrCodeFailed,
        };
        self.calls.record(outcome, Some(self.began.elapsed()));
    }
}

async fn carry(
    host: &SessionHost,
    target: &Target,
    session: &SessionName,
    invocation: Invocation,
    span: &Span,
) -> Result<Response<HeldBody>, InvokeError> {
    let permit = target.version.standing.in_flight.clone().try_acquire_owned().map_err(|_| InvokeError::Busy)?;
    let protocol = target.configuration().protocol;
    let (mut inside, mut process) = enter(host, target, session, span).await?;
    inside.session.count_call();
    let mut sent = process.send(agent_request(invocation, protocol)).await;
    if let Err(SendError::NoConnection { request, .. }) = sent {
        // Nobody listens there any more, so nothing was delivered: the call may go to the next process.
        let _ = tokio::time::timeout(LAST_WORDS_TIMEOUT, process.child.wait()).await;
        (inside, process) = enter(host, target, session, span).await?;
        sent = process.send(request).await;
    }
    // No retry of any other failure: the agent may have acted on the call already.
    let response = match sent {
        Ok(response) => response,
        Err(error) => return Err(InvokeError::Agent(Box::pin(last_words(&process, &error.to_string())).await)),
    };
    if response.status().is_server_error() {
        let answer = Box::pin(error_answer(&process, response)).await;
        inside.is_finished = true;
        return Err(InvokeError::Agent(answer));
    }
    Ok(response.map(|body| HeldBody { body, inside, counting: None, _permit: permit }))
}

/// An answer on its way, with the call's presence in its session.
#[derive(Debug)]
struct HeldBody {
    body: AgentBody,
    inside: Inside,
    counting: Option<Counting>,
    _permit: OwnedSemaphorePermit,
}

impl Body for HeldBody {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if matches!(polled, Poll::Ready(None)) {
            self.inside.is_finished = true;
        }
        polled.map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for HeldBody {
    fn drop(&mut self) {
        // Who knows the length asks for no frame after the last.
        self.inside.is_finished |= self.body.is_end_stream();
        if let Some(Counting { calls, began }) = &self.counting {
            calls.record(CallOutcome::Answered, Some(began.elapsed()));
        }
    }
}

/// [`SessionHost::enter`], with a span of its own where a start is waited for.
async fn enter(
    host: &SessionHost,
    target: &Target,
    session: &SessionName,
    span: &Span,
) -> Result<(Inside, Arc<AgentProcess>), InvokeError> {
    if let Some(entered) = host.enter_warm(target, session) {
        return Ok(entered);
    }
    let mut starting = span.as_parent().child(|| "start agent", SpanKind::Internal);
    let (inside, process) = Box::pin(host.enter(target, session)).await.inspect_err(|_| starting.fail(|| "start_failed"))?;
    starting.set("process.pid", || i64::from(process.child.pid()));
    Ok((inside, process))
}

fn agent_request(invocation: Invocation, protocol: AgentProtocol) -> Box<Request<PayloadBody>> {
    let Invocation { asked, headers, payload } = invocation;
    let (method, path) = match (asked, protocol) {
        (Asked::AgentCard, _) => (Method::GET, AGENT_CARD),
        (Asked::Invocation, AgentProtocol::Http | AgentProtocol::Agui) => (Method::POST, "/invocations"),
        (Asked::Invocation, AgentProtocol::Mcp) => (Method::POST, "/mcp"),
        (Asked::Invocation, AgentProtocol::A2a) => (Method::POST, "/"),
    };
    let mut request = Box::new(Request::new(payload.body()));
    (*request.method_mut(), *request.uri_mut(), *request.headers_mut()) = (method, Uri::from_static(path), headers);
    request
}

/// What a caller is told when the connection broke: how the agent ended, if it did, and what it printed last.
pub(crate) async fn last_words(process: &AgentProcess, error: &str) -> String {
    let how = match tokio::time::timeout(LAST_WORDS_TIMEOUT, process.child.wait()).await {
        Ok(ended) => format!("The agent ended before it answered ({ended})."),
        Err(_) => format!("The agent closed the connection before it answered ({error})."),
    };
    with_tail(&how, process)
}

/// What a caller is told when the agent answered 5xx.
async fn error_answer(process: &AgentProcess, response: Response<AgentBody>) -> String {
    let status = response.status();
    let body = match Limited::new(response.into_body(), ERROR_BODY_BYTES_MAX).collect().await {
        Ok(collected) => String::from_utf8_lossy(&collected.to_bytes()).into_owned(),
        Err(_) => String::new(),
    };
    // What it printed before it answered may still be in its pipe.
    process.child.drain().await;
    with_tail(&format!("The agent answered {}: {body}", status.as_u16()), process)
}

fn with_tail(how: &str, process: &AgentProcess) -> String {
    let tail = process.child.tail();
    if tail.is_empty() { how.to_owned() } else { format!("{how}\nIts last log lines:\n{tail}") }
}
