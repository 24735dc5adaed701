//! The proxy as a Lambda function: an event of API Gateway in, an answer out, whole or streamed.
//!
//! All that it adds to the proxy is in the form: the event's body and headers, the CORS headers that a function behind API Gateway must send by itself, the
//! invocation's own deadline, and Lambda's limit on a payload. It keeps no state from one invocation to the next but connections.

mod https;

use std::time::Duration;

use bytes::Bytes;
use frontdesk_aws::proxy_event::{ProxyAnswer, ProxyEvent, ProxyEventError};
use frontdesk_proxy::{Body, Caller, Proxy, TransportError};
use frontdesk_trace::Trace;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use lambda_runtime::streaming::Response as StreamResponse;
use lambda_runtime::{FunctionResponse, LambdaEvent, MetadataPrelude};
use serde_json::{Value, json};
use time::OffsetDateTime;
use tracing::Instrument as _;
use uuid::Uuid;

pub(crate) use https::Https;

/// Lambda refuses a longer answer that is handed back whole, in bytes of its JSON ("Exceeded maximum allowed payload size (6291556 bytes).").
const PAYLOAD_BYTES_MAX: usize = 6_291_556;
/// JSON writes one byte with at most six.
const ESCAPED_BYTES_MAX: usize = 6;
/// What is kept of the invocation's time, so that the answer is out before Lambda ends the process.
const RESERVE: Duration = Duration::from_millis(500);
/// The resource whose integration streams; API Gateway does not tell a function how it was invoked.
const STREAM: &str = "/stream";

/// What the function answers: whole, or a prelude with status and headers and then a body that is streamed.
pub(crate) type Answer = FunctionResponse<ProxyAnswer, BoxStream<'static, Result<Bytes, lambda_runtime::Error>>>;

/// The function.
pub(crate) struct Function {
    proxy: Proxy,
    integration_timeout: Duration,
}

impl Function {
    /// A function that answers by `proxy`, while API Gateway waits for `integration_timeout`.
    pub(crate) fn new(proxy: Proxy, integration_timeout: Duration) -> Function {
        Function { proxy, integration_timeout }
    }

    /// Answers one invocation that is received at `now`. Whatever is wrong is an answer, too.
    pub(crate) async fn answer(&self, event: LambdaEvent<Value>, now: OffsetDateTime) -> Answer {
        let (event, context) = event.into_parts();
        let invocation = tracing::info_span!("invocation", functionRequestId = context.request_id);
        let event = match ProxyEvent::from_value(event) {
            Ok(event) => event,
            Err(error) => return Answer::BufferedResponse(refused(error).into()),
        };
        let caller = self.caller(&event, &context, now);
        self.answer_event(&event, &caller, now).instrument(invocation).await
    }

    async fn answer_event(&self, event: &ProxyEvent, caller: &Caller, now: OffsetDateTime) -> Answer {
        let body = match event.body() {
            Ok(body) => body,
            Err(error) => return Answer::BufferedResponse(refused(error).into()),
        };
        if event.path.ends_with(STREAM) {
            let answer = self.proxy.handle_stream(&body, caller, now).await;
            let answer = answer.unwrap_or_else(|timed_out| timed_out.answer().map(whole));
            log(answer.status(), caller);
            return Answer::StreamingResponse(streamed(answer));
        }
        let answer = self.proxy.handle(&body, caller, now).await.unwrap_or_else(|timed_out| timed_out.answer());
        log(answer.status(), caller);
        Answer::BufferedResponse(fitting(answer))
    }

    /// The caller, as API Gateway and Lambda tell of it.
    fn caller(&self, event: &ProxyEvent, context: &lambda_runtime::Context, now: OffsetDateTime) -> Caller {
        let mut headers = event.header_map();
        // Lambda's own segment goes on in AgentCore, not the one of API Gateway above it.
        if let Some(trace_id) = context.xray_trace_id.as_deref().and_then(|id| HeaderValue::from_str(id).ok()) {
            headers.insert("x-amzn-trace-id", trace_id);
        }
        let id = Uuid::parse_str(&context.request_id).unwrap_or_else(|_| Uuid::new_v4());
        let trace = Trace::of(&headers, id, now.unix_timestamp());
        let request_id = Some(&event.request_context.request_id).filter(|id| !id.is_empty()).unwrap_or(&context.request_id);
        Caller {
            api_key_id: event.request_context.identity.api_key_id.clone(),
            request_id: request_id.clone(),
            amzn_trace_id: trace.amzn_trace_id,
            span: trace.span,
            tracestate: trace.tracestate,
            time_left: self.integration_timeout.min(time_left(context.deadline, now)),
        }
    }
}

/// What the invocation has left at `now`, less the reserve.
fn time_left(deadline_unix_ms: u64, now: OffsetDateTime) -> Duration {
    let now_unix_ms = u64::try_from(now.unix_timestamp_nanos() / 1_000_000).unwrap_or(0);
    Duration::from_millis(deadline_unix_ms.saturating_sub(now_unix_ms)).saturating_sub(RESERVE)
}

/// An event that nothing can be made of. API Gateway sends none such; somebody calls by hand.
fn refused(error: ProxyEventError) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(json!({ "error": error.to_string() }).to_string()));
    *response.status_mut() = StatusCode::BAD_REQUEST;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    allow_any_origin(response.headers_mut());
    response
}

/// The answer as a document that Lambda takes.
fn fitting(mut answer: Response<Bytes>) -> ProxyAnswer {
    allow_any_origin(answer.headers_mut());
    // Most answers are short, and need not be written twice.
    let is_short = answer.body().len() < PAYLOAD_BYTES_MAX / (ESCAPED_BYTES_MAX + 1);
    let document = ProxyAnswer::from(answer);
    if is_short || document.document_bytes().is_ok_and(|bytes| bytes <= PAYLOAD_BYTES_MAX) {
        return document;
    }
    tracing::error!(limit = PAYLOAD_BYTES_MAX, "The agent's answer does not fit Lambda's limit on a payload");
    let mut answer = frontdesk_proxy::too_large();
    allow_any_origin(answer.headers_mut());
    answer.into()
}

/// The answer as API Gateway takes it in pieces, where the integration's response transfer mode is `STREAM`: a prelude of JSON, eight zero bytes, the body
/// (<https://docs.aws.amazon.com/apigateway/latest/developerguide/response-transfer-mode-lambda.html>).
fn streamed(answer: Response<Body>) -> StreamResponse<BoxStream<'static, Result<Bytes, lambda_runtime::Error>>> {
    let (mut parts, body) = answer.into_parts();
    allow_any_origin(&mut parts.headers);
    let mut prelude = MetadataPrelude::default();
    (prelude.status_code, prelude.headers) = (parts.status, parts.headers);
    StreamResponse { metadata_prelude: prelude, stream: pieces(body).boxed() }
}

/// The body's pieces. Where it is cut off, the reader is told in the stream, as an agent would tell of its own failure: the status is out already.
fn pieces(body: Body) -> impl futures_util::Stream<Item = Result<Bytes, lambda_runtime::Error>> {
    stream::unfold(Some(body.into_data_stream()), async |body| {
        let mut body = body?;
        match body.next().await? {
            Ok(piece) => Some((Ok(piece), Some(body))),
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "AgentCore's answer was cut off");
                Some((Ok(cut_off(&error)), None))
            }
        }
    })
}

/// The event that ends a stream which was cut off.
fn cut_off(error: &TransportError) -> Bytes {
    let document = json!({
        "error": error.to_string(),
        "error_type": "TransportError",
        "message": "An error occurred during streaming",
    });
    // An event may have been cut in the middle: an empty line ends it.
    Bytes::from(format!("\n\ndata: {document}\n\n"))
}

fn whole(body: Bytes) -> Body {
    http_body_util::Full::new(body).map_err(|never| match never {}).boxed_unsync()
}

/// The headers with which a page of any origin may call: a function's answers pass through API Gateway as they are.
fn allow_any_origin(headers: &mut HeaderMap) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("Content-Type,x-api-key"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST,OPTIONS"));
}

/// One line an invocation: what was asked and answered is not in it, nor is the key.
fn log(status: StatusCode, caller: &Caller) {
    tracing::info!(
        requestId = caller.request_id,
        traceId = caller.amzn_trace_id,
        apiKeyId = caller.api_key_id,
        status = status.as_u16(),
        "Invocation answered"
    );
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn the_time_left_is_the_invocations_less_a_reserve() {
        let check = |deadline_after_ms: i64, expected_ms: u64| {
            let now = datetime!(2026-01-31 12:00 UTC);
            let deadline = u64::try_from(now.unix_timestamp() * 1000 + deadline_after_ms).unwrap();
            assert_eq!(time_left(deadline, now), Duration::from_millis(expected_ms));
        };
        check(30_000, 29_500);
        check(500, 0);
        check(-1, 0);
    }

    #[test]
    fn an_answer_that_does_not_fit_is_told_of() {
        let check = |body: Vec<u8>, expected: u64| {
            let answer = serde_json::to_value(fitting(Response::new(Bytes::from(body)))).unwrap();
            assert_eq!(answer["statusCode"], expected);
            assert_eq!(answer["headers"]["access-control-allow-origin"], "*");
        };
        check(vec![b'a'; 6_000_000], 200);
        check(vec![b'a'; PAYLOAD_BYTES_MAX], 502);
        // Each of these is two bytes of JSON.
        check(vec![b'"'; 3_000_000], 200);
        check(vec![b'"'; 3_200_000], 502);
    }
}
