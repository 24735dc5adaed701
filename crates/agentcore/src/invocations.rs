//! `POST /invocations`: the payload in, the handler's answer out, and the table of what may go wrong between.
//!
//! The request's content type is not looked at, as in the published SDKs.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use frontdesk_trace::{SpanContext, SpanKind};
use http::{StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::Instant;
use tracing::Instrument;

use crate::answer::Answer;
use crate::app::{Served, json, text};
use crate::context::Context;
use crate::unwind::guard;

const UTF8_BOM: &[u8] = b"\xef\xbb\xbf";

pub(crate) async fn invoke(State(served): State<Arc<Served>>, request: Request) -> Response {
    let mut traced = served.spans.begin("POST /invocations", SpanKind::Server, SpanContext::of(request.headers()));
    let context = Context::from_headers(request.headers(), traced.as_parent(), served.ping.clone());
    traced.set("http.request.method", || "POST");
    traced.set("http.route", || "/invocations");
    traced.set("agentcore.request_id", || context.request_id.clone());
    // As it stands in the gateway's access log, so that one search finds a request in both.
    let trace_id = request.headers().get("x-amzn-trace-id").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let span = tracing::info_span!(
        "invocation",
        requestId = context.request_id,
        sessionId = context.session_id.as_deref().unwrap_or_default(),
        traceId = trace_id,
    );
    async move {
        let began = Instant::now();
        let response = answer(&served, request.into_body(), context).await;
        tracing::info!(
            status = response.status().as_u16(),
            duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
            "Invocation answered"
        );
        traced.set_status(response.status(), 500);
        if traced.context().is_none() { response } else { response.map(|body| Body::new(traced.until_the_end_of(body))) }
    }
    .instrument(span)
    .await
}

async fn answer(served: &Served, body: Body, context: Context) -> Response {
    let body = match read(body, served.body_bytes_max).await {
        Ok(body) => body,
        Err(refusal) => return refusal,
    };
    let payload = match parse(&body) {
        Ok(payload) => payload,
        Err(refusal) => return json(StatusCode::BAD_REQUEST, &refusal),
    };
    // The handler is called inside the guard, because it may panic before its first await.
    let handler = served.handler.clone();
    match guard(async move { handler(payload, context).await }).await {
        Ok(Answer::Value(value)) => json(StatusCode::OK, &value),
        Ok(Answer::Stream(stream)) => {
            let headers = [(header::CONTENT_TYPE, "text/event-stream; charset=utf-8"), (header::CACHE_CONTROL, "no-cache")];
            (headers, Body::new(stream)).into_response()
        }
        Err(error) => {
            tracing::warn!(errorType = error.type_name(), errorMessage = %error, "Handler failed");
            json(error.status(), &json!({ "error": error.to_string() }))
        }
    }
}

async fn read(body: Body, body_bytes_max: usize) -> Result<Bytes, Response> {
    match Limited::new(body, body_bytes_max).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(text(StatusCode::PAYLOAD_TOO_LARGE, "Payload Too Large")),
        // The caller broke off; this answer is for the log, nobody reads it.
        Err(_) => Err(text(StatusCode::BAD_REQUEST, "Bad Request")),
    }
}

/// A payload that cannot be read.
#[derive(Serialize)]
struct Refusal {
    error: &'static str,
    details: String,
}

fn parse(body: &[u8]) -> Result<Value, Refusal> {
    let body = body.strip_prefix(UTF8_BOM).unwrap_or(body);
    let text = std::str::from_utf8(body).map_err(|error| Refusal { error: "Invalid encoding", details: error.to_string() })?;
    serde_json::from_str(text).map_err(|error| Refusal { error: "Invalid JSON", details: error.to_string() })
}
