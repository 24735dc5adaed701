//! One invocation carried to the agent and back.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;

use crate::ResponseBody;
use crate::agent_process::AgentProcess;
use crate::host::HostedAgent;

/// How long after a cut connection the agent's end may be announced: its last words belong into the caller's error.
const LAST_WORDS_TIMEOUT: Duration = Duration::from_millis(500);
/// An agent's error answer is quoted to the caller up to this size.
const ERROR_BODY_BYTES_MAX: usize = 64 * 1024;

/// What is sent to an agent's `/invocations`.
#[derive(Debug)]
pub struct Invocation {
    /// Headers for the agent (session id, request id, content type, trace, custom ones); the caller has chosen which are handed on.
    pub headers: HeaderMap,
    /// The payload.
    pub payload: Bytes,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum InvokeError {
    /// As many calls as are allowed are in flight.
    #[error("too many calls are in flight for this agent")]
    Busy,
    /// The agent could not start, crashed, was killed, or answered 5xx. The text holds its last log lines, as AgentCore's RuntimeClientError does.
    #[error("{0}")]
    Agent(String),
}

impl HostedAgent {
    /// Carries an invocation to the agent, starting it if need be. The answer streams; dropping it stops the agent's work on it.
    ///
    /// A status below 500 is the agent's own answer and passes through.
    ///
    /// # Errors
    /// See [`InvokeError`].
    pub async fn invoke(&self, invocation: Invocation) -> Result<Response<ResponseBody>, InvokeError> {
        let permit = self.in_flight.clone().try_acquire_owned().map_err(|_| InvokeError::Busy)?;
        let process = self.ready_process().await.map_err(InvokeError::Agent)?;
        let mut sent = process.send(agent_request(&invocation)).await;
        if sent.as_ref().is_err_and(hyper_util::client::legacy::Error::is_connect) {
            // Nobody listens there any more, so nothing was delivered: the call may go to the next process.
            let _ = tokio::time::timeout(LAST_WORDS_TIMEOUT, process.child.wait()).await;
            let next = self.ready_process().await.map_err(InvokeError::Agent)?;
            sent = next.send(agent_request(&invocation)).await;
        }
        // No retry of any other failure: the agent may have acted on the call already.
        let response = match sent {
            Ok(response) => response,
            Err(error) => return Err(InvokeError::Agent(last_words(&process, &error.to_string()).await)),
        };
        if response.status().is_server_error() {
            return Err(InvokeError::Agent(error_answer(&process, response).await));
        }
        Ok(response.map(|body| {
            let held_while_streaming = permit;
            body.map_err(Into::into)
                .map_frame(move |frame| {
                    let _ = &held_while_streaming;
                    frame
                })
                .boxed_unsync()
        }))
    }
}

fn agent_request(invocation: &Invocation) -> Request<Full<Bytes>> {
    let mut request = Request::builder()
        .method(Method::POST)
        .uri("/invocations")
        .body(Full::new(invocation.payload.clone()))
        .expect("a request made of constants is valid");
    *request.headers_mut() = invocation.headers.clone();
    request.headers_mut().remove(header::HOST);
    request
}

/// What a caller is told when the connection broke: how the agent ended, if it did, and what it printed last.
async fn last_words(process: &AgentProcess, error: &str) -> String {
    let how = match tokio::time::timeout(LAST_WORDS_TIMEOUT, process.child.wait()).await {
        Ok(ended) => format!("The agent ended before it answered ({ended})."),
        Err(_) => format!("The agent closed the connection before it answered ({error})."),
    };
    with_tail(&how, process)
}

/// What a caller is told when the agent answered 5xx.
async fn error_answer(process: &AgentProcess, response: Response<Incoming>) -> String {
    let status = response.status();
    let body = match Limited::new(response.into_body(), ERROR_BODY_BYTES_MAX).collect().await {
        Ok(collected) => String::from_utf8_lossy(&collected.to_bytes()).into_owned(),
        Err(_) => String::new(),
    };
    with_tail(&format!("The agent answered {}: {body}", status.as_u16()), process)
}

fn with_tail(how: &str, process: &AgentProcess) -> String {
    let tail = process.child.tail();
    if tail.is_empty() { how.to_owned() } else { format!("{how}\nIts last log lines:\n{tail}") }
}
