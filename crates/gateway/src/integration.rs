//! The seam behind a method: a request with a streaming body goes in, a response with a streaming body comes out.
//!
//! The composition root injects what is behind it. The gateway never learns whether that is the proxy, a function or another server.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use frontdesk_store::ApiKeyId;
use http::{Request, Response};

use crate::exchange::Exchange;
use frontdesk_trace::Trace;

/// Any error, boxed.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A streaming body.
pub type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, BoxError>;

/// What the gateway knows of a request beyond its bytes; found in the request's extensions.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The id that the answer carries as `x-amzn-RequestId`.
    pub request_id: String,
    /// The trace to hand on.
    pub trace: Trace,
    /// The key that opened the door; `None` where the method needs none.
    pub api_key_id: Option<ApiKeyId>,
    /// Who is at the other end of the connection.
    pub source_ip: IpAddr,
    /// Whether the answer is handed on while it comes.
    pub is_streaming: bool,
    /// The time that is left for an answer.
    pub time_left: Duration,
}

impl Caller {
    /// Who sent the request of an exchange.
    pub(crate) fn of(exchange: &Exchange, is_streaming: bool, time_left: Duration) -> Caller {
        Caller {
            request_id: exchange.request_id.to_string(),
            trace: exchange.trace.clone(),
            api_key_id: exchange.api_key_id.clone(),
            source_ip: exchange.source_ip,
            is_streaming,
            time_left,
        }
    }
}

/// The role that a request is made in the name of, by its ARN; found in the extensions of requests to services of AWS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleArn(pub String);

/// The method that a function is called for, as permissions name it behind their account: `{api}/{stage}/{verb}{resource path}`; found in the extensions of calls of functions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceMethod(pub String);

/// Whom an answer was for, as the caller named it; an integration that knows puts it among the response's extensions, and usage is told apart by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor(pub String);

/// Why an integration has no answer. Its own errors are answers; this is for what broke around it.
#[derive(Debug, thiserror::Error)]
pub enum IntegrationError {
    /// It gave up waiting by itself.
    #[error("the integration gave up waiting")]
    TimedOut,
    /// It broke.
    #[error("the integration failed")]
    Failed(#[source] BoxError),
}

/// The future of an answer.
pub type Answering = Pin<Box<dyn Future<Output = Result<Response<Body>, IntegrationError>> + Send>>;

/// What is behind a method.
pub trait Integration: Send + Sync + 'static {
    /// Answers one request. Dropping the future, or the response's body, ends the work.
    fn call(&self, request: Request<Body>) -> Answering;
}
