//! Request in, signed InvokeAgentRuntime out: the part that a Lambda function plays between API Gateway and AgentCore.
//!
//! It checks the prompt, names the session, signs with SigV4 and tells the caller what came of it, in the bodies that the API documents. It knows neither the
//! gateway nor the store nor the host: in one process with them, and in Lambda, it differs only in its [`Transport`] and its credentials.

mod answer;
mod payload;
mod session;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use frontdesk_aws::Credentials;
use frontdesk_aws::arn::AgentRuntimeArn;
use frontdesk_aws::sigv4::{self, BodyHash, Scope, SigningKeys};
use frontdesk_trace::{Span, SpanContext, SpanKind, Spans, TRACEPARENT};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use time::OffsetDateTime;

pub use payload::PROMPT_CHARS_MAX;
pub use session::SESSION_ID_HEADER;

/// A request whose body is at hand, and is sent whole.
pub type SignedRequest = Request<http_body_util::Full<Bytes>>;
/// A streaming body.
pub type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, TransportError>;
/// The future of AgentCore's answer.
pub type Sending = Pin<Box<dyn Future<Output = Result<Response<Body>, TransportError>> + Send>>;

/// AgentCore cannot be reached, or its answer was cut off.
#[derive(Debug, thiserror::Error)]
#[error("AgentCore cannot be reached")]
pub struct TransportError(#[source] BoxError);

type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl TransportError {
    /// Wraps whatever the transport failed with.
    pub fn new(cause: impl Into<BoxError>) -> TransportError {
        TransportError(cause.into())
    }
}

/// The signing name of AgentCore's data plane.
const SERVICE: &str = "bedrock-agentcore";
/// An answer of AgentCore is read up to this size: it is handed back whole, as a Lambda function must.
const ANSWER_BYTES_MAX: usize = 6 * 1024 * 1024;

/// Tells the agent how many milliseconds are left for its answer. AgentCore hands custom headers on to an agent that lists them.
const DEADLINE_HEADER: &str = "x-amzn-bedrock-agentcore-runtime-custom-deadline-ms";
/// What each hop keeps of the time that is left, so that its own word reaches the caller before the caller gives up; a tenth where less than ten
/// times as much is left.
const HOP_MARGIN: Duration = Duration::from_secs(1);

/// Carries a signed request to AgentCore: over HTTPS on AWS, over a stream in memory on one machine.
pub trait Transport: Send + Sync + 'static {
    /// Sends one request. Dropping the future ends the call.
    fn send(&self, request: SignedRequest) -> Sending;
}

/// Who calls, as far as the proxy must know.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Keeps apart the conversations of different keys; `None` where no key is required.
    pub api_key_id: Option<String>,
    /// The id under which the request is found in every log.
    pub request_id: String,
    /// X-Ray's trace header to hand on.
    pub amzn_trace_id: String,
    /// The span that the call belongs to.
    pub span: SpanContext,
    /// What tracing systems add to W3C's trace header.
    pub tracestate: Option<HeaderValue>,
    /// The time that is left for an answer.
    pub time_left: Duration,
}

/// Settings of a proxy.
#[derive(Debug, Clone)]
pub struct ProxySettings {
    /// The agent runtime to invoke.
    pub agent_runtime_arn: AgentRuntimeArn,
    /// The endpoint of the runtime, `DEFAULT` as a rule.
    pub qualifier: String,
    /// Scheme and authority of AgentCore's data plane, such as `https://bedrock-agentcore.us-east-1.amazonaws.com`.
    pub endpoint: String,
    /// A longer prompt is refused with 400.
    pub prompt_chars_max: usize,
}

/// The proxy.
pub struct Proxy {
    settings: ProxySettings,
    invoke_uri: Uri,
    credentials: Credentials,
    signing_keys: SigningKeys,
    transport: Arc<dyn Transport>,
    spans: Spans,
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Proxy").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// Whom an answer is for, as the caller named it (or the documented default); among the extensions of every answer to a sound question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor(pub String);

/// How an answer is wanted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answering {
    Whole,
    Streamed,
}

/// The call's deadline passed. Everything else that can go wrong is an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("AgentCore did not answer within the time left")]
pub struct TimedOut;

impl TimedOut {
    /// What API Gateway says then: 504. For whoever has no gateway in front that says it.
    #[must_use]
    pub fn answer(self) -> Response<Bytes> {
        answer::timed_out()
    }
}

/// What callers are told when an answer does not fit where it must be handed back whole: 502, naming the limit.
#[must_use]
pub fn too_large() -> Response<Bytes> {
    answer::too_large()
}

impl Proxy {
    /// A proxy that signs with `credentials`, sends through `transport` and tells `spans` of its calls.
    ///
    /// # Errors
    /// When the endpoint is no URL.
    pub fn new(
        settings: ProxySettings,
        credentials: Credentials,
        transport: Arc<dyn Transport>,
        spans: Spans,
    ) -> Result<Proxy, http::uri::InvalidUri> {
        let arn = percent_encoding::utf8_percent_encode(&settings.agent_runtime_arn.to_string(), URI_COMPONENT).to_string();
        let invoke_uri = format!("{}/runtimes/{arn}/invocations?qualifier={}", settings.endpoint, settings.qualifier).parse()?;
        Ok(Proxy { settings, invoke_uri, credentials, signing_keys: SigningKeys::new(), transport, spans })
    }

    /// Answers one request of the API: `body` is `{"prompt", "actor_id"?, "thread_id"?}`.
    ///
    /// # Errors
    /// [`TimedOut`], for which the gateway has an answer of its own.
    pub async fn handle(&self, body: &[u8], caller: &Caller, now: OffsetDateTime) -> Result<Response<Bytes>, TimedOut> {
        let (request, actor, mut span) = match self.request(body, Answering::Whole, caller, now) {
            Ok(asked) => asked,
            Err(refusal) => return Ok(*refusal),
        };
        let carried = async {
            let response = self.transport.send(request).await?;
            let status = response.status();
            Ok((status, whole(response.into_body()).await?))
        };
        let carried = self.within(caller, carried).await;
        tell(&mut span, carried.as_ref().map(|carried| carried.as_ref().ok().map(|(status, _)| *status)));
        let answered = match carried? {
            Ok((StatusCode::OK, body)) => answer::success(body),
            Ok((status, body)) => answer::agentcore_error(status, &body),
            Err(failure) => failure,
        };
        Ok(naming(actor, answered))
    }

    /// As [`Proxy::handle`], but the answer is streamed as server-sent events while the agent writes it. The time limit is for its
    /// beginning; the agent ends it. Dropping the response's body ends the agent's work.
    ///
    /// # Errors
    /// As [`Proxy::handle`].
    pub async fn handle_stream(&self, body: &[u8], caller: &Caller, now: OffsetDateTime) -> Result<Response<Body>, TimedOut> {
        let at_once =
            |answer: Response<Bytes>| answer.map(|body| http_body_util::Full::new(body).map_err(|never| match never {}).boxed_unsync());
        let (request, actor, mut span) = match self.request(body, Answering::Streamed, caller, now) {
            Ok(asked) => asked,
            Err(refusal) => return Ok(at_once(*refusal)),
        };
        let carried = async {
            let response = self.transport.send(request).await?;
            let status = response.status();
            if status == StatusCode::OK { Ok(Ok(response)) } else { Ok(Err((status, whole(response.into_body()).await?))) }
        };
        let carried = self.within(caller, carried).await;
        let status =
            |carried: &Result<Response<Body>, (StatusCode, Bytes)>| carried.as_ref().map_or_else(|(status, _)| *status, Response::status);
        tell(&mut span, carried.as_ref().map(|carried| carried.as_ref().ok().map(status)));
        let answered = match carried? {
            Ok(Ok(response)) => answer::streamed(response.map(|body| span.until_the_end_of(body).boxed_unsync())),
            Ok(Err((status, body))) => at_once(answer::agentcore_error(status, &body)),
            Err(failure) => at_once(failure),
        };
        Ok(naming(actor, answered))
    }

    /// The signed request for a caller's body, whom it is for and the span of the call; or what the caller is told instead.
    fn request(
        &self,
        body: &[u8],
        answering: Answering,
        caller: &Caller,
        now: OffsetDateTime,
    ) -> Result<(SignedRequest, Actor, Span), Box<Response<Bytes>>> {
        let question = payload::parse(body, self.settings.prompt_chars_max).map_err(|refused| Box::new(answer::refused(&refused)))?;
        let session_id = session::session_id(caller.api_key_id.as_deref(), &question);
        let payload = question.to_agent(answering == Answering::Streamed);
        let span = self.span(caller);
        let signed = self.signed(payload, &session_id, caller, &span, now).map_err(|error| Box::new(answer::internal(&*error)))?;
        Ok((signed, Actor(question.actor().to_owned()), span))
    }

    /// The call's span, by OpenTelemetry's conventions for AWS SDKs (<https://opentelemetry.io/docs/specs/semconv/cloud-providers/aws-sdk/>).
    fn span(&self, caller: &Caller) -> Span {
        let mut span = self.spans.begin("InvokeAgentRuntime", SpanKind::Client, Some(caller.span));
        span.set("rpc.system", || "aws-api");
        span.set("rpc.service", || "BedrockAgentCore");
        span.set("rpc.method", || "InvokeAgentRuntime");
        span.set("cloud.region", || self.settings.agent_runtime_arn.region().to_owned());
        span.set("frontdesk.agent_runtime_arn", || self.settings.agent_runtime_arn.to_string());
        span.set("frontdesk.request_id", || caller.request_id.clone());
        span
    }

    /// Waits for `carried` until shortly before the caller gives up, so that the answer is ours to word.
    async fn within<T>(
        &self,
        caller: &Caller,
        carried: impl Future<Output = Result<T, BoxError>>,
    ) -> Result<Result<T, Response<Bytes>>, TimedOut> {
        let carried = tokio::time::timeout(less_hops(caller.time_left, 1), carried).await.map_err(|_| TimedOut)?;
        Ok(carried.map_err(|error| {
            if error.is::<LengthLimitError>() {
                tracing::error!(request_id = caller.request_id, limit = ANSWER_BYTES_MAX, "AgentCore's answer is too large");
                return answer::too_large();
            }
            tracing::error!(request_id = caller.request_id, error = &*error as &dyn std::error::Error, "AgentCore cannot be reached");
            answer::internal(&*error)
        }))
    }

    fn signed(
        &self,
        payload: Bytes,
        session_id: &str,
        caller: &Caller,
        span: &Span,
        now: OffsetDateTime,
    ) -> Result<SignedRequest, BoxError> {
        let mut request = Request::new(());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.invoke_uri.clone();
        let headers = request.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(HeaderName::from_static(SESSION_ID_HEADER), HeaderValue::from_str(session_id)?);
        headers.insert(HeaderName::from_static("x-amzn-trace-id"), HeaderValue::from_str(&caller.amzn_trace_id)?);
        headers.insert(HeaderName::from_static(TRACEPARENT), span.context().unwrap_or(caller.span).header());
        if let Some(tracestate) = &caller.tracestate {
            headers.insert("tracestate", tracestate.clone());
        }
        let (deadline, agent_ms) = deadline_header(caller.time_left);
        headers.insert(deadline, agent_ms);
        let (mut parts, ()) = request.into_parts();
        let scope = Scope { region: self.settings.agent_runtime_arn.region(), service: SERVICE };
        sigv4::sign(&mut parts, &BodyHash::of(&payload), &self.credentials, scope, &self.signing_keys, now)?;
        Ok(Request::from_parts(parts, http_body_util::Full::new(payload)))
    }
}

/// What tells an agent how long it has, of the time that is left for a caller's answer.
#[must_use]
pub fn deadline_header(time_left: Duration) -> (HeaderName, HeaderValue) {
    let agent_ms = u64::try_from(less_hops(time_left, 2).as_millis()).unwrap_or(u64::MAX);
    (HeaderName::from_static(DEADLINE_HEADER), HeaderValue::from(agent_ms))
}

/// Tells what came of a call: AgentCore's status, none when it could not be reached, or that the time was up.
fn tell(span: &mut Span, carried: Result<Option<StatusCode>, &TimedOut>) {
    match carried {
        Ok(Some(status)) => span.set_status(status, 400),
        Ok(None) => span.fail(|| "unreachable"),
        Err(TimedOut) => span.fail(|| "timeout"),
    }
}

fn naming<B>(actor: Actor, mut answer: Response<B>) -> Response<B> {
    answer.extensions_mut().insert(actor);
    answer
}

/// `time_left` without the margins of `hops` hops.
fn less_hops(time_left: Duration, hops: u32) -> Duration {
    time_left.saturating_sub(HOP_MARGIN.min(time_left / 10) * hops)
}

/// An answer of AgentCore as a whole.
async fn whole(body: Body) -> Result<Bytes, BoxError> {
    Ok(Limited::new(body, ANSWER_BYTES_MAX).collect().await?.to_bytes())
}

/// Everything but RFC 3986's unreserved characters, as `urllib.parse.quote(…, safe='')` and the AWS SDKs encode a path segment.
const URI_COMPONENT: &percent_encoding::AsciiSet = &percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
