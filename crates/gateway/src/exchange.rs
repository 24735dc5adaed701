//! The facts of one request and its answer: what the access log writes and the metrics count.

use std::sync::Arc;
use std::time::Duration;

use frontdesk_store::ApiKeyId;
use http::{HeaderValue, Method, StatusCode, Version};
use std::net::IpAddr;
use uuid::Uuid;

use crate::admission::Now;
use crate::answer::GatewayAnswer;
use crate::route::RouteEntry;
use frontdesk_trace::Trace;

/// What the response cache had to do with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheUse {
    /// The answer came from it.
    Hit,
    /// It was asked and had nothing.
    Miss,
}

/// One request through the gateway.
#[derive(Debug)]
pub struct Exchange {
    /// The id that the answer carries.
    pub request_id: Uuid,
    /// The trace it belongs to.
    pub trace: Trace,
    /// When it came.
    pub began: Now,
    /// Who sent it.
    pub source_ip: IpAddr,
    /// The protocol.
    pub version: Version,
    /// The verb.
    pub verb: Method,
    /// The path as it came, without the query.
    pub path: String,
    /// The host that was asked for.
    pub host: Option<String>,
    /// The caller's program.
    pub user_agent: Option<HeaderValue>,
    /// The method that it was routed to.
    pub route: Option<Arc<RouteEntry>>,
    /// The key that was recognised, whether it opened the door or not.
    pub api_key_id: Option<ApiKeyId>,
    /// The gateway's own answer, when it gave one.
    pub refusal: Option<GatewayAnswer>,
    /// What came of the integration, once it was called.
    pub integration: Option<Integrated>,
    /// What the cache did.
    pub cache: Option<CacheUse>,
    /// The status that was answered.
    pub status: StatusCode,
}

/// What came of calling an integration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Integrated {
    /// Its status; a function's is what stands in its answer. `None` where it gave none.
    pub status: Option<StatusCode>,
    /// How long it took to its first byte.
    pub latency: Duration,
    /// What Lambda said of an invocation, beside the function itself.
    pub service: Option<ServiceCall>,
}

/// What a service said that calls a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceCall {
    /// Its status.
    pub status: StatusCode,
    /// The id of the invocation.
    pub request_id: Option<String>,
    /// Why the gateway has no answer of it.
    pub error: Option<String>,
}

/// How an exchange ended.
#[derive(Debug, Clone, Copy)]
pub struct Ended {
    /// From the first byte to the last.
    pub latency: Duration,
    /// Bytes of the answer's body that were handed out.
    pub response_bytes: u64,
}
