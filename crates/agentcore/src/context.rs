//! What a handler is told about its call besides the payload.

use std::fmt;
use std::sync::Arc;

use frontdesk_trace::SpanParent;
use http::HeaderMap;
use uuid::Uuid;

use crate::ping::{Ping, PingStatus};

mod restricted;

use restricted::is_handed_on;

const SESSION_ID: &str = "x-amzn-bedrock-agentcore-runtime-session-id";
const REQUEST_ID: &str = "x-amzn-bedrock-agentcore-runtime-request-id";
const IDENTITY_TOKEN: &str = "x-amz-bedrock-agentcore-identity-wat";
const WORKLOAD_TOKEN: &str = "workloadaccesstoken";
const OAUTH2_CALLBACK: &str = "oauth2callbackurl";

/// The circumstances of one invocation.
///
/// The header names are those of the AgentCore runtime's published SDKs.
#[derive(Clone)]
pub struct Context {
    /// The session, when the host named one. Not validated.
    pub session_id: Option<String>,
    /// The host's id of this request, or a new UUID.
    pub request_id: String,
    /// The workload's access token, when the host gave one. A secret.
    pub workload_access_token: Option<String>,
    /// Where an OAuth 2 login started by the agent should return to.
    pub oauth2_callback_url: Option<String>,
    /// The W3C `baggage` header.
    pub baggage: Option<String>,
    /// The caller's own headers: `Authorization`, `X-Amzn-Bedrock-AgentCore-Runtime-Custom-*` and others, but none of the connection's, of
    /// proxies or of AWS's signing.
    pub headers: HeaderMap,
    /// The invocation's span: work that deserves one of its own begins it below this.
    pub span: SpanParent,
    ping: Arc<Ping>,
}

impl Context {
    pub(crate) fn from_headers(headers: &HeaderMap, span: SpanParent, ping: Arc<Ping>) -> Context {
        let text = |name: &str| Some(headers.get(name)?.to_str().ok()?.to_owned());
        Context {
            session_id: text(SESSION_ID),
            request_id: text(REQUEST_ID).unwrap_or_else(|| Uuid::new_v4().to_string()),
            workload_access_token: text(IDENTITY_TOKEN).or_else(|| text(WORKLOAD_TOKEN)),
            oauth2_callback_url: text(OAUTH2_CALLBACK),
            baggage: text("baggage"),
            headers: headers.iter().filter(|(name, _)| is_handed_on(name)).map(|(k, v)| (k.clone(), v.clone())).collect(),
            span,
            ping,
        }
    }

    /// Sets what `/ping` says, whatever tasks run and whatever the app's own function says; `None` takes that back.
    pub fn force_ping_status(&self, status: Option<PingStatus>) {
        self.ping.force(status);
    }

    /// Marks work that outlives the answer. Until the guard is dropped `/ping` says `HealthyBusy`, so that the host keeps the
    /// session although no call is in flight.
    #[must_use = "the task ends when the guard is dropped"]
    pub fn background_task(&self) -> BackgroundTask {
        BackgroundTask::begin(self.ping.clone())
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Tokens and the caller's headers stay out of logs.
        formatter
            .debug_struct("Context")
            .field("session_id", &self.session_id)
            .field("request_id", &self.request_id)
            .finish_non_exhaustive()
    }
}

/// A piece of work in the background, from [`Context::background_task`] until it is dropped.
pub struct BackgroundTask {
    ping: Arc<Ping>,
}

impl BackgroundTask {
    fn begin(ping: Arc<Ping>) -> BackgroundTask {
        ping.task_began();
        BackgroundTask { ping }
    }
}

impl Drop for BackgroundTask {
    fn drop(&mut self) {
        self.ping.task_ended();
    }
}

impl fmt::Debug for BackgroundTask {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("BackgroundTask")
    }
}
