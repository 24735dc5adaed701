//! One request through the gateway, from the first byte to the last header.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use base64::Engine as _;
use bytes::{Bytes, BytesMut};
use frontdesk_store::ApiKeyId;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Incoming};
use tokio::sync::Semaphore;

use crate::admission::{self, Now};
use crate::answer::{GatewayAnswer, allow_any_origin};
use crate::integration::{Body, Caller, Integration, IntegrationError};
use crate::keys::KeyService;
use crate::model::{MethodIntegration, RestApi};
use crate::page;
use crate::route::{Route, route};

/// Headers that API Gateway keeps from an integration, because they speak of the connection and not of the request.
const DROPPED_REQUEST_HEADERS: [&str; 10] = [
    "connection",
    "content-md5",
    "expect",
    "max-forwards",
    "proxy-authenticate",
    "server",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// How much of an oversized body is read and thrown away so that its sender gets to read the 413.
const DISCARD_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// What the gateway bears, with API Gateway's own values as defaults.
#[derive(Debug, Clone, Copy)]
pub struct GatewayLimits {
    /// A longer body is refused with 413.
    pub body_bytes_max: u64,
    /// A body must arrive within this time.
    pub body_read_timeout: Duration,
    /// An integration must answer within this time.
    pub integration_timeout: Duration,
    /// Requests inside integrations at once; one more is turned away with 503 before it costs anything.
    pub in_flight_max: usize,
}

impl Default for GatewayLimits {
    fn default() -> Self {
        GatewayLimits {
            body_bytes_max: 10 * 1024 * 1024,
            body_read_timeout: Duration::from_secs(20),
            integration_timeout: Duration::from_secs(29),
            in_flight_max: 1024,
        }
    }
}

/// The gateway: its APIs, its keys and what is behind its methods.
pub struct Gateway {
    apis: Vec<RestApi>,
    keys: Arc<KeyService>,
    integrations: HashMap<&'static str, Arc<dyn Integration>>,
    limits: GatewayLimits,
    in_flight: Semaphore,
    began: Instant,
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Gateway").field("apis", &self.apis).field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// An answer, and whether its API lets pages of other origins read it.
struct Answered {
    response: Response<Body>,
    is_seeded_api: bool,
}

impl Gateway {
    /// A gateway for `apis`, the seeded one first. `integrations` are named by the APIs' methods.
    #[must_use]
    pub fn new(
        apis: Vec<RestApi>,
        keys: Arc<KeyService>,
        integrations: HashMap<&'static str, Arc<dyn Integration>>,
        limits: GatewayLimits,
    ) -> Gateway {
        Gateway { apis, keys, integrations, limits, in_flight: Semaphore::new(limits.in_flight_max), began: clock_began() }
    }

    /// Answers one request.
    pub async fn handle(self: Arc<Self>, request: Request<Incoming>, peer: SocketAddr) -> Response<Body> {
        let now = self.now();
        let request_id = uuid::Uuid::new_v4();
        let trace_id = trace_id(request.headers(), request_id, now);
        let verb = request.method().clone();
        let path = request.uri().path().to_owned();
        let Answered { mut response, is_seeded_api } = self.answer(request, peer, request_id, &trace_id, now).await;
        let headers = response.headers_mut();
        if is_seeded_api {
            allow_any_origin(headers);
        }
        insert(headers, "x-amzn-requestid", &request_id.to_string());
        insert(headers, "x-amz-apigw-id", &base64::engine::general_purpose::STANDARD.encode(&request_id.as_bytes()[..11]));
        insert(headers, "x-amzn-trace-id", &trace_id);
        let status = response.status().as_u16();
        let latency_ms = (self.now().monotonic_ns - now.monotonic_ns) / 1_000_000;
        tracing::debug!(target: "frontdesk::access", %request_id, %verb, path, status, latency_ms, source_ip = %peer.ip(), "answered");
        response
    }

    async fn answer(&self, request: Request<Incoming>, peer: SocketAddr, request_id: uuid::Uuid, trace_id: &str, now: Now) -> Answered {
        let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
        let host = host.or(request.uri().authority().map(http::uri::Authority::as_str));
        let names_an_api = host.is_some_and(|host| host.contains(".execute-api."));
        if let Some(response) = (!names_an_api).then(|| page::own_page(request.method(), request.uri().path())).flatten() {
            return Answered { response, is_seeded_api: false };
        }
        let (host, path, verb) = (host.map(str::to_owned), request.uri().path().to_owned(), request.method().clone());
        let route = match route(&self.apis, host.as_deref(), &path, verb.as_str()) {
            Ok(route) => route,
            // Nobody's API: the seeded one's manners apply unless another was named.
            Err(answer) => return Answered { response: answer.response(), is_seeded_api: !names_an_api },
        };
        let is_seeded_api = self.apis.first().is_some_and(|seeded| seeded.id == route.api.id);
        let answered = match &route.method.integration {
            MethodIntegration::CorsPreflight => Ok(preflight()),
            MethodIntegration::Proxy(name) => self.call(name, route, request, peer, request_id, trace_id, now).await,
        };
        Answered { response: answered.unwrap_or_else(GatewayAnswer::response), is_seeded_api }
    }

    #[expect(clippy::too_many_arguments, reason = "the facts of one request, each read once at the edge")]
    async fn call(
        &self,
        integration: &'static str,
        route: Route<'_>,
        request: Request<Incoming>,
        peer: SocketAddr,
        request_id: uuid::Uuid,
        trace_id: &str,
        now: Now,
    ) -> Result<Response<Body>, GatewayAnswer> {
        // Before anything is counted: who is turned away for our sake has not used its allowance.
        let _in_flight = self.in_flight.try_acquire().map_err(|_| GatewayAnswer::Overloaded)?;
        let api_key_id = if route.method.api_key_required { Some(self.admit(&request, route, now)?) } else { None };
        let (mut parts, body) = self.whole_body(request).await?;
        for name in DROPPED_REQUEST_HEADERS {
            parts.headers.remove(name);
        }
        let time_left = self.limits.integration_timeout;
        let caller =
            Caller { request_id: request_id.to_string(), trace_id: trace_id.to_owned(), api_key_id, source_ip: peer.ip(), time_left };
        parts.extensions.insert(caller);
        let body = Full::new(body).map_err(|never| match never {}).boxed_unsync();
        let behind = self.integrations.get(integration).ok_or(GatewayAnswer::InternalServerError)?;
        let answering = behind.call(Request::from_parts(parts, body));
        match tokio::time::timeout(time_left, answering).await {
            Ok(Ok(response)) => Ok(response),
            Err(_) | Ok(Err(IntegrationError::TimedOut)) => Err(GatewayAnswer::EndpointTimeout),
            Ok(Err(IntegrationError::Failed(error))) => {
                tracing::error!(%request_id, error = &*error as &dyn std::error::Error, "integration failed");
                Err(GatewayAnswer::InternalServerError)
            }
        }
    }

    fn admit(&self, request: &Request<Incoming>, route: Route<'_>, now: Now) -> Result<ApiKeyId, GatewayAnswer> {
        let digest = request.headers().get("x-api-key").and_then(|value| self.keys.digest(value.as_bytes()));
        let key = admission::admit(&self.keys.table(), digest, &route.api.id, &route.stage.name, now)?;
        Ok(key.id.clone())
    }

    /// API Gateway buffers a request before it calls the integration; so does this, within the limits.
    async fn whole_body(&self, request: Request<Incoming>) -> Result<(http::request::Parts, Bytes), GatewayAnswer> {
        let (parts, body) = request.into_parts();
        let limit = self.limits.body_bytes_max;
        // A client that asked whether to send its body has not begun to; one far over the limit is not worth listening to.
        let waits = parts.headers.contains_key(header::EXPECT);
        let announced = body.size_hint().lower();
        if announced > limit && (waits || announced > limit + DISCARD_BYTES_MAX) {
            return Err(GatewayAnswer::RequestTooLong);
        }
        match tokio::time::timeout(self.limits.body_read_timeout, read_body(body, limit)).await {
            Ok(read) => Ok((parts, read?)),
            Err(_) => Err(GatewayAnswer::BadBody),
        }
    }

    #[expect(clippy::disallowed_methods, reason = "this is the edge where a request's moment is read")]
    fn now(&self) -> Now {
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let since = Instant::now().duration_since(self.began);
        Now {
            unix_seconds: i64::try_from(unix.as_secs()).unwrap_or(i64::MAX),
            monotonic_ns: u64::try_from(since.as_nanos()).unwrap_or(u64::MAX / 2),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the edge where a request's moment is read")]
fn clock_began() -> Instant {
    Instant::now()
}

/// Reads a body of at most `limit` bytes. What comes beyond is read and thrown away, up to [`DISCARD_BYTES_MAX`]: a client that is still sending when the
/// connection closes never sees the answer.
async fn read_body(mut body: Incoming, limit: u64) -> Result<Bytes, GatewayAnswer> {
    let (mut kept, mut bytes) = (BytesMut::new(), 0);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| GatewayAnswer::BadBody)?.into_data() else { continue };
        bytes += data.len() as u64;
        if bytes > limit + DISCARD_BYTES_MAX {
            break;
        } else if bytes > limit {
            kept = BytesMut::new();
        } else {
            kept.extend_from_slice(&data);
        }
    }
    if bytes > limit { Err(GatewayAnswer::RequestTooLong) } else { Ok(kept.freeze()) }
}

/// What a MOCK integration on OPTIONS answers; the CORS headers are added to every answer of the seeded API.
fn preflight() -> Response<Body> {
    let mut response = Response::new(Full::default().map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = StatusCode::OK;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The caller's own trace goes on; else one begins here, in X-Ray's form (`Root=1-{8 hex digits of the time}-{24 hex digits}`,
/// <https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-tracingheader>).
fn trace_id(headers: &HeaderMap, request_id: uuid::Uuid, now: Now) -> String {
    let given = headers.get("x-amzn-trace-id").and_then(|value| value.to_str().ok());
    match given.filter(|given| given.starts_with("Root=1-") && given.len() <= 256) {
        Some(given) => given.to_owned(),
        None => format!("Root=1-{:08x}-{}", now.unix_seconds, &request_id.simple().to_string()[..24]),
    }
}

fn insert(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}
