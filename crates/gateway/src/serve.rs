//! One request through the gateway, from the first byte to the last header.

mod trial;

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use frontdesk_store::Throttle;
use frontdesk_trace::Spans;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Incoming};
use ipnet::IpNet;
use tokio::sync::Semaphore;

use crate::access_log::AccessLog;
use crate::admission::{self, Asking, Decision, Now, Speeds};
use crate::answer::{GatewayAnswer, allow_any_origin, extended_request_id};
use crate::apis::ApiService;
use crate::backend::{Backend, Facts, TimedBody, remove_hop_by_hop};
use crate::cache::{self, CacheKey, ResponseCache};
use crate::exchange::{CacheUse, Exchange, Integrated};
use crate::forwarded::caller_address;
use crate::gathered::Gathered;
use crate::header_names::{API_KEY, EXTENDED_REQUEST_ID, REQUEST_ID, TRACE_ID};
use crate::integration::{Actor, Body, BoxError, Caller, Integration, IntegrationError};
use crate::keys::KeyService;
use crate::limits::LimitsLeft;
use crate::listener::{Listener, ListenerThreads};
use crate::metrics::{Metrics, OneMore};
use crate::observe::{Observation, ObservedBody};
use crate::page;
use crate::quota::day_of;
use crate::refused::discard_refused;
use crate::route::{Route, RouteEntry, StageFacts};
use crate::strangers::Strangers;
use crate::throttle::TokenBucket;
use frontdesk_trace::Trace;

pub use trial::{Trial, Tried};

/// Headers that the gateway adds to an answer, at most.
const OWN_HEADERS: usize = 9;

/// How much of an oversized body is read and thrown away so that its sender gets to read the 413.
const DISCARD_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// What the gateway bears, with API Gateway's own values as defaults.
#[derive(Debug, Clone)]
pub struct GatewayLimits {
    /// A longer body is refused with 413.
    pub body_bytes_max: u64,
    /// A body must arrive within this time.
    pub body_read_timeout: Duration,
    /// An integration must answer within this time.
    pub integration_timeout: Duration,
    /// Requests inside integrations at once; one more is turned away with 503 before it costs anything.
    pub in_flight_max: usize,
    /// The speed of all keys together, as an AWS account has it.
    pub throttle: Throttle,
    /// Networks of proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
}

impl Default for GatewayLimits {
    fn default() -> Self {
        GatewayLimits {
            body_bytes_max: 10 * 1024 * 1024,
            body_read_timeout: Duration::from_secs(20),
            integration_timeout: Duration::from_secs(29),
            in_flight_max: 1024,
            throttle: Throttle { rate_limit: 10_000.0, burst_limit: 5_000 },
            trusted_proxies: Vec::new(),
        }
    }
}

/// Who is told of every exchange.
#[derive(Debug)]
pub struct Observers {
    /// The access log, if one is kept.
    pub access_log: Option<Arc<AccessLog>>,
    /// The metrics.
    pub metrics: Metrics,
    /// The trace.
    pub spans: Spans,
}

/// The gateway: its APIs, its keys and what is behind its methods.
pub struct Gateway {
    apis: Arc<ApiService>,
    keys: Arc<KeyService>,
    limits: GatewayLimits,
    observers: Arc<Observers>,
    in_flight: Semaphore,
    bucket: TokenBucket,
    strangers: Strangers,
    began: Instant,
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Gateway").field("apis", &self.apis).field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl Gateway {
    /// A gateway for these APIs and keys.
    #[must_use]
    pub fn new(apis: Arc<ApiService>, keys: Arc<KeyService>, limits: GatewayLimits, observers: Observers) -> Gateway {
        Gateway {
            apis,
            keys,
            in_flight: Semaphore::new(limits.in_flight_max),
            limits,
            observers: Arc::new(observers),
            bucket: TokenBucket::default(),
            strangers: Strangers::default(),
            began: instant(),
        }
    }

    /// Who is told of every exchange.
    #[must_use]
    pub fn observers(&self) -> &Arc<Observers> {
        &self.observers
    }

    /// Serves a listener on so many threads, each with a runtime of its own.
    ///
    /// # Errors
    /// When the system grants no thread, or no event queue for one. Then none of them serves.
    pub fn listen(self: Arc<Self>, listener: Listener, threads: usize) -> std::io::Result<ListenerThreads> {
        ListenerThreads::start(listener, threads, move |request, peer| self.clone().handle(request, peer))
    }

    /// Answers one request.
    pub async fn handle(self: Arc<Self>, request: Request<Incoming>, peer: SocketAddr) -> Response<Body> {
        let (arrived, now) = (instant(), self.now());
        let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
        let host = host.or(request.uri().authority().map(http::uri::Authority::as_str)).map(str::to_owned);
        let names_an_api = host.as_deref().is_some_and(|host| host.contains(".execute-api."));
        if let Some(response) = (!names_an_api).then(|| page::own_page(request.method(), request.uri().path())).flatten() {
            return response;
        }
        let request_id = uuid::Uuid::new_v4();
        let exchange = Exchange {
            request_id,
            trace: Trace::of(request.headers(), request_id, now.unix_seconds()).decided_by(&self.observers.spans),
            began: now,
            source_ip: caller_address(peer.ip(), request.headers(), &self.limits.trusted_proxies),
            version: request.version(),
            verb: request.method().clone(),
            path: request.uri().path().to_owned(),
            host,
            user_agent: request.headers().get(header::USER_AGENT).cloned(),
            route: None,
            api_key_id: None,
            refusal: None,
            integration: None,
            cache: None,
            // Unless something is answered, the caller has gone.
            status: caller_gone(),
        };
        let mut exchange = Observation::new(exchange, arrived, self.observers.clone());
        let found = self.apis.routes().find(exchange.host.as_deref(), &exchange.path, exchange.verb.as_str());
        let stage = found.as_ref().map_or_else(|none| none.stage.clone(), |route| Some(route.entry.stage.clone()));
        // An API that has its own words for a refusal may put parts of the request into them.
        let own = stage.filter(|stage| !stage.own_answers.is_empty()).map(|stage| (stage, Box::new(head_of(&request))));
        // What goes through many hands, each of which keeps room for it.
        let request = Box::new(request);
        let (answered, limits_left) = match found {
            Ok(route) => {
                exchange.route = Some(route.entry.clone());
                self.answer(&route, request, &mut exchange).await
            }
            Err(none) => {
                discard_refused(*request).await;
                (exchange.unrouted, exchange.unrouted_stage) = (none.metrics, none.stage);
                (Err(none.answer), None)
            }
        };
        // Nobody's API: the seeded one's manners apply unless another was named.
        let is_seeded = exchange.route.as_ref().map_or(!names_an_api, |route| route.is_seeded);
        let mut response = answered.unwrap_or_else(|refusal| {
            exchange.refusal = Some(refusal);
            self.observers.metrics.refused(refusal);
            let mut response = refusal.response();
            if let Some((stage, head)) = &own {
                self.in_own_words(refusal, &mut response, stage, head, &exchange);
            }
            response
        });
        exchange.status = response.status();
        let headers = response.headers_mut();
        headers.reserve(OWN_HEADERS);
        if is_seeded {
            allow_any_origin(headers);
        }
        if let Some(limits_left) = limits_left {
            limits_left.write(headers);
        }
        insert(headers, REQUEST_ID, request_id.hyphenated().encode_lower(&mut uuid::Uuid::encode_buffer()));
        insert(headers, EXTENDED_REQUEST_ID, &extended_request_id(request_id));
        insert(headers, TRACE_ID, &exchange.trace.amzn_trace_id);
        response.map(|body| ObservedBody::new(body, exchange).boxed_unsync())
    }

    fn in_own_words(&self, refusal: GatewayAnswer, response: &mut Response<Body>, stage: &StageFacts, head: &Parts, exchange: &Exchange) {
        let facts = Facts::of(exchange, self.apis.account_id(), head, &[], &stage.variables, b"");
        stage.own_answers.apply(refusal, response, &facts);
    }

    async fn answer(
        &self,
        route: &Route,
        request: Box<Request<Incoming>>,
        exchange: &mut Exchange,
    ) -> (Result<Response<Body>, GatewayAnswer>, Option<LimitsLeft>) {
        let entry = &route.entry;
        // Before anything is counted: who is turned away for our sake has not used its allowance.
        let Ok(in_flight) = self.in_flight.try_acquire() else {
            discard_refused(*request).await;
            return (Err(GatewayAnswer::Overloaded), None);
        };
        let mut limits_left = None;
        let stage = entry.throttle.as_ref().map(|(bucket, throttle)| (&**bucket, *throttle));
        let speeds = Speeds { stage, shared: (&self.bucket, self.limits.throttle) };
        if entry.api_key_required {
            let decision = self.admit(&request, entry, speeds, exchange);
            exchange.api_key_id = decision.key.as_ref().map(|key| key.id.clone());
            limits_left = decision.limits;
            if let Some(meter) = &decision.meter {
                meter.top_up(day_of(exchange.began.unix_seconds()));
            }
            if let Some(refusal) = decision.refusal {
                // Who waits here must not keep others out.
                drop(in_flight);
                self.hold_back(&request, &decision, exchange).await;
                discard_refused(*request).await;
                return (Err(refusal), limits_left);
            }
            if let Some(meter) = &decision.meter {
                self.keys.note(meter);
            }
        } else if let Err(refusal) = admission::admit_anyone(speeds, exchange.began) {
            discard_refused(*request).await;
            return (Err(refusal), None);
        }
        let _counted = OneMore::of(self.observers.metrics.in_flight());
        (self.call(route, request, exchange).await, limits_left)
    }

    fn admit(&self, request: &Request<Incoming>, entry: &RouteEntry, speeds: Speeds<'_>, exchange: &Exchange) -> Decision {
        let names = &entry.names;
        let asking = Asking {
            digest: request.headers().get(API_KEY).and_then(|value| self.keys.digest(value.as_bytes())),
            source_ip: exchange.source_ip,
            api_id: &names.api_id,
            stage: &names.stage,
            resource: &names.resource,
            verb: &names.verb,
            speeds,
            now: exchange.began,
        };
        admission::admit(&self.keys.table(), &asking)
    }

    /// Answers a wrong key late, if its address has presented many.
    async fn hold_back(&self, request: &Request<Incoming>, decision: &Decision, exchange: &Exchange) {
        if decision.key.is_some() || !request.headers().contains_key(API_KEY) {
            return;
        }
        let wait = self.strangers.wrong_key(exchange.source_ip, exchange.began.monotonic_ns);
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }

    async fn call(&self, route: &Route, request: Box<Request<Incoming>>, exchange: &mut Exchange) -> Result<Response<Body>, GatewayAnswer> {
        let (parts, body) = self.whole_body(request).await?;
        let Some((cache, ttl)) = &route.entry.cache else { return self.integrate(route, parts, body, exchange).await };
        let path_and_query = parts.uri.path_and_query().map_or("", |path| path.as_str());
        let api_key_id = exchange.api_key_id.as_ref().map(|id| id.0.as_str());
        let key = cache.key(parts.method.as_str(), path_and_query, &body, api_key_id);
        if let Some(response) = cache.find(&key, &parts.headers, *ttl, self.now()) {
            exchange.cache = Some(CacheUse::Hit);
            self.count_actor(&response, exchange);
            return Ok(response);
        }
        exchange.cache = Some(CacheUse::Miss);
        let response = self.integrate(route, parts, body, exchange).await?;
        self.keep(cache, key, response).await
    }

    /// Reads a cacheable answer to its end and keeps it.
    async fn keep(&self, cache: &ResponseCache, key: CacheKey, response: Response<Body>) -> Result<Response<Body>, GatewayAnswer> {
        let (mut parts, body) = response.into_parts();
        let body = body.collect().await.map_err(|_| GatewayAnswer::InternalServerError)?.to_bytes();
        // It may be a piece of a connection's buffer, all of which would be kept.
        let body = Bytes::copy_from_slice(&body);
        let is_stored = cache.store(key, &parts, &body, self.now());
        cache::note_miss(&mut parts.headers, is_stored);
        Ok(Response::from_parts(parts, whole(body)))
    }

    async fn integrate(
        &self,
        route: &Route,
        mut parts: Parts,
        body: Bytes,
        exchange: &mut Exchange,
    ) -> Result<Response<Body>, GatewayAnswer> {
        remove_hop_by_hop(&mut parts.headers, is_kept_back);
        let called = instant();
        let account_id = self.apis.account_id();
        let variables = &route.entry.stage.variables;
        let mut service = None;
        let answered = match &route.entry.backend {
            Backend::Function { function, is_streaming, timeout } => {
                let function = function.as_ref().ok_or(GatewayAnswer::InternalServerError)?;
                // A stream has its integration's time to begin, and TimedBody's to end; anything else has no longer than the gateway allows.
                let time_left = if *is_streaming { *timeout } else { self.limits.integration_timeout.min(*timeout) };
                let answered = self.call_function(&**function, Caller::of(exchange, *is_streaming, time_left), parts, body).await;
                answered.map(|response| if *is_streaming { response.map(|body| TimedBody::new(body).boxed_unsync()) } else { response })
            }
            Backend::Lambda(backend) => {
                let facts = Facts::of(exchange, account_id, &parts, &route.parameters, variables, &body);
                let outcome = backend.call(&body, &route.path, &facts, self.limits.integration_timeout).await;
                service = outcome.service;
                outcome.answered
            }
            Backend::Http(backend) => {
                let headers = backend.takes_the_headers().then(|| std::mem::take(&mut parts.headers));
                let facts = Facts::of(exchange, account_id, &parts, &route.parameters, variables, &body);
                backend.call(headers, body.clone(), &facts, self.limits.integration_timeout).await
            }
            Backend::Mock(backend) => {
                return backend.call(&Facts::of(exchange, account_id, &parts, &route.parameters, variables, &body));
            }
        };
        let status = answered.as_ref().ok().map(Response::status);
        // An invocation that came to nothing took its time, too.
        if status.is_some() || service.is_some() {
            exchange.integration = Some(Integrated { status, latency: instant().duration_since(called), service });
        }
        let response = answered?;
        self.count_actor(&response, exchange);
        Ok(response)
    }

    async fn call_function(
        &self,
        function: &dyn Integration,
        caller: Caller,
        mut parts: Parts,
        body: Bytes,
    ) -> Result<Response<Body>, GatewayAnswer> {
        let (time_left, request_id) = (caller.time_left, caller.request_id.clone());
        parts.extensions.insert(caller);
        let answering = function.call(Request::from_parts(parts, whole(body)));
        match tokio::time::timeout(time_left, answering).await {
            Ok(Ok(response)) => Ok(response),
            Err(_) | Ok(Err(IntegrationError::TimedOut)) => Err(GatewayAnswer::EndpointTimeout),
            Ok(Err(IntegrationError::Failed(error))) => {
                tracing::error!(request_id, error = &*error as &dyn std::error::Error, "integration failed");
                Err(GatewayAnswer::InternalServerError)
            }
        }
    }

    fn count_actor(&self, response: &Response<Body>, exchange: &Exchange) {
        if let (Some(Actor(actor)), Some(key_id)) = (response.extensions().get(), &exchange.api_key_id) {
            self.keys.count_actor(key_id, actor, exchange.began.unix_seconds());
        }
    }

    /// API Gateway buffers a request before it calls the integration; so does this, within the limits.
    async fn whole_body(&self, request: Box<Request<Incoming>>) -> Result<(Parts, Bytes), GatewayAnswer> {
        let (parts, body) = request.into_parts();
        let limit = self.limits.body_bytes_max;
        // A client that asked whether to send its body has not begun to; one far over the limit is not worth listening to.
        let waits = parts.headers.contains_key(header::EXPECT);
        let announced = body.size_hint().lower();
        if announced > limit && (waits || announced > limit + DISCARD_BYTES_MAX) {
            return Err(GatewayAnswer::RequestTooLong);
        }
        match tokio::time::timeout(self.limits.body_read_timeout, pin!(read_body(body, limit))).await {
            Ok(read) => Ok((parts, read?)),
            Err(_) => Err(GatewayAnswer::BadBody),
        }
    }

    #[expect(clippy::disallowed_methods, reason = "this is the edge where a request's moment is read")]
    fn now(&self) -> Now {
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let since = Instant::now().duration_since(self.began);
        Now {
            unix_ms: i64::try_from(unix.as_millis()).unwrap_or(i64::MAX),
            monotonic_ns: u64::try_from(since.as_nanos()).unwrap_or(u64::MAX / 2),
        }
    }
}

/// Whether API Gateway keeps a header from an integration, beside those that speak of the connection.
fn is_kept_back(name: &str) -> bool {
    matches!(name, "content-md5" | "expect" | "max-forwards" | "server")
}

/// What nginx logs of a caller that did not wait for its answer; no caller ever sees it.
fn caller_gone() -> StatusCode {
    StatusCode::from_u16(499).expect("499 is a number that a status may have")
}

#[expect(clippy::disallowed_methods, reason = "this is the edge where a request's moment is read")]
fn instant() -> Instant {
    Instant::now()
}

fn whole(body: Bytes) -> Body {
    Full::new(body).map_err(|never| -> BoxError { match never {} }).boxed_unsync()
}

/// Reads a body of at most `limit` bytes. What comes beyond is read and thrown away, up to [`DISCARD_BYTES_MAX`]: a client that is still sending when the
/// connection closes never sees the answer.
async fn read_body(mut body: Incoming, limit: u64) -> Result<Bytes, GatewayAnswer> {
    let (mut kept, mut bytes) = (Gathered::default(), 0);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| GatewayAnswer::BadBody)?.into_data() else { continue };
        bytes += data.len() as u64;
        if bytes > limit + DISCARD_BYTES_MAX {
            break;
        } else if bytes > limit {
            kept = Gathered::default();
        } else {
            kept.push(data);
        }
    }
    if bytes > limit { Err(GatewayAnswer::RequestTooLong) } else { Ok(kept.into_bytes()) }
}

/// A request's head, for what must read it after it was sent on.
fn head_of<B>(request: &Request<B>) -> Parts {
    let mut head = Request::new(());
    (*head.method_mut(), *head.uri_mut(), *head.headers_mut()) =
        (request.method().clone(), request.uri().clone(), request.headers().clone());
    head.into_parts().0
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}
