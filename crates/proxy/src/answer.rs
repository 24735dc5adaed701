//! What callers are told, in the bodies that the API documents.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};

use crate::Body;
use crate::payload::Refused;

/// The agent's own answer, as it is.
pub(crate) fn success(body: Bytes) -> Response<Bytes> {
    respond(StatusCode::OK, body)
}

/// The agent's events, as they come.
pub(crate) fn streamed(response: Response<Body>) -> Response<Body> {
    let (agentcore, body) = response.into_parts();
    let mut response = Response::new(body);
    let json = HeaderValue::from_static("application/json");
    let content_type = agentcore.headers.get(header::CONTENT_TYPE).cloned().unwrap_or(json);
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    // A cache or a buffering proxy on the way would hold back what is meant to be read at once.
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// A body that was refused before anything was called.
pub(crate) fn refused(refused: &Refused) -> Response<Bytes> {
    let body = match refused {
        Refused::NotJson { details } => json!({ "error": refused.to_string(), "details": details }),
        _ => json!({ "error": refused.to_string() }),
    };
    respond_json(StatusCode::BAD_REQUEST, &body)
}

/// AgentCore said no, or the agent failed: the status is handed on, with what it said.
pub(crate) fn agentcore_error(status: StatusCode, body: &Bytes) -> Response<Bytes> {
    let error = format!("AgentCore error: {}", status.as_u16());
    respond_json(status, &json!({ "error": error, "details": String::from_utf8_lossy(body) }))
}

/// AgentCore's answer is longer than one that is handed back whole may be.
pub(crate) fn too_large() -> Response<Bytes> {
    let details = "an answer of /invoke has at most 6 MB, as one document; /stream has no such limit";
    respond_json(StatusCode::BAD_GATEWAY, &json!({ "error": "The agent's answer is too large", "details": details }))
}

/// AgentCore did not answer in time: API Gateway's own words.
pub(crate) fn timed_out() -> Response<Bytes> {
    respond_json(StatusCode::GATEWAY_TIMEOUT, &json!({ "message": "Endpoint request timed out" }))
}

/// Something of ours broke.
pub(crate) fn internal(error: &dyn std::error::Error) -> Response<Bytes> {
    respond_json(StatusCode::INTERNAL_SERVER_ERROR, &json!({ "error": "Internal server error", "details": error.to_string() }))
}

fn respond_json(status: StatusCode, body: &Value) -> Response<Bytes> {
    respond(status, Bytes::from(body.to_string()))
}

fn respond(status: StatusCode, body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
