//! One request through control: read, verified, judged, performed.

use std::sync::Arc;

use bytes::Bytes;
use frontdesk_aws::ServiceError;
use frontdesk_aws::sigv4::{self, BodyHash, Scope, SigningKeys};
use frontdesk_functions::FunctionService;
use frontdesk_gateway::metrics::TEXT_TYPE;
use frontdesk_gateway::{ApiService, KeyService};
use frontdesk_runtime::{Payload, ResponseBody, RuntimeService};
use frontdesk_trace::{Span, SpanContext, SpanKind, Spans};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use time::OffsetDateTime;

use crate::agentcore_control;
use crate::apigateway;
use crate::body::BodyReader;
use crate::data_plane;
use crate::host_api::{self, Call, HostRooms, StatusSource};
use crate::identity::{Identities, Principal};
use crate::lambda;
use crate::operation;
use crate::timestamp::unix_ms;

/// The longest body of an operation that is no invocation: an import of keys is the largest of them.
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Writes all metrics, when asked.
pub type MetricsSource = Box<dyn Fn() -> String + Send + Sync>;

/// The control face.
pub struct Control {
    region: String,
    identities: Identities,
    signing_keys: SigningKeys,
    runtimes: Arc<RuntimeService>,
    keys: Arc<KeyService>,
    apis: Arc<ApiService>,
    functions: Option<Arc<FunctionService>>,
    status: StatusSource,
    metrics: Option<MetricsSource>,
    bodies: BodyReader,
    spans: Spans,
}

impl std::fmt::Debug for Control {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Control").field("region", &self.region).field("status", &self.status).finish_non_exhaustive()
    }
}

impl Control {
    /// A control face over these runtimes, keys and APIs, for these principals. With `metrics` it answers `GET /metrics`, unsigned.
    #[must_use]
    pub fn new(
        region: String,
        identities: Identities,
        runtimes: Arc<RuntimeService>,
        keys: Arc<KeyService>,
        apis: Arc<ApiService>,
        status: StatusSource,
        metrics: Option<MetricsSource>,
    ) -> Control {
        let (signing_keys, bodies) = (SigningKeys::new(), BodyReader::default());
        Control {
            region,
            identities,
            signing_keys,
            runtimes,
            keys,
            apis,
            functions: None,
            status,
            metrics,
            spans: Spans::default(),
            bodies,
        }
    }

    /// The same, with Lambda functions.
    #[must_use]
    pub fn with_functions(self, functions: Arc<FunctionService>) -> Control {
        Control { functions: Some(functions), ..self }
    }

    /// `spans` are told of invocations.
    #[must_use]
    pub fn with_spans(self, spans: Spans) -> Control {
        Control { spans, ..self }
    }

    /// Answers one request. The answer is AWS's in every case, its errors too.
    pub async fn handle(self: Arc<Self>, request: Request<Incoming>) -> Response<ResponseBody> {
        let request_id = uuid::Uuid::new_v4().to_string();
        let mut span = Span::default();
        let mut response = match self.answer(request, &request_id, &mut span).await {
            Ok(response) => response,
            Err(error) => {
                tracing::debug!(request_id, status = error.status.as_u16(), code = %error.code, message = error.message, "refused");
                span.set("aws.error_code", || error.code.to_string());
                if error.status == StatusCode::FAILED_DEPENDENCY {
                    // A failure of the agent's, although the caller reads a status below 500.
                    span.fail(|| error.code.to_string());
                }
                error.to_rest_json().map(full)
            }
        };
        if span.context().is_some() {
            span.set_status(response.status(), 500);
            response = response.map(|body| span.until_the_end_of(body).boxed_unsync());
        }
        // An invocation of a function has an id of its own, which stands in the function's log.
        if let Ok(request_id) = HeaderValue::from_str(&request_id) {
            response.headers_mut().entry("x-amzn-requestid").or_insert(request_id);
        }
        response
    }

    /// Answers a request; `span` becomes that of the operation, where it has one.
    async fn answer(
        &self,
        mut request: Request<Incoming>,
        request_id: &str,
        span: &mut Span,
    ) -> Result<Response<ResponseBody>, ServiceError> {
        let (verb, path) = (request.method().clone(), request.uri().path().to_owned());
        if let Some((operation, parameters)) = operation::find(data_plane::OPERATIONS, &verb, &path) {
            *span = self.spans.begin(operation.name, SpanKind::Server, SpanContext::of(request.headers()));
            span.set("rpc.system", || "aws-api");
            span.set("rpc.service", || "BedrockAgentCore");
            span.set("rpc.method", || operation.name);
            span.set("http.request.method", || operation.verb.to_string());
            span.set("http.route", || operation.path);
            span.set("aws.request_id", || request_id.to_owned());
            let upgrade = hyper::upgrade::on(&mut request);
            let (parts, body) = request.into_parts();
            let (payload, hash) = self.bodies.read(body, data_plane::PAYLOAD_BYTES_MAX).await?;
            let principal = self.authenticate(&parts, &hash, data_plane::SERVICE)?;
            let runtime = parameters.first().map(String::as_str).unwrap_or_default();
            let call = data_plane::Call { operation, runtime, request: &parts, payload, upgrade, principal, span };
            data_plane::perform(call, &self.runtimes).await
        } else if let Some((operation, parameters)) = operation::find(agentcore_control::OPERATIONS, &verb, &path) {
            let (parts, body, principal) = self.verified(request, agentcore_control::SERVICE).await?;
            let query = parts.uri.query().unwrap_or_default().to_owned();
            let call = agentcore_control::Call { operation, parameters, query, body, now_ms: unix_ms(now()) };
            agentcore_control::authorize(principal, &call, &self.runtimes)?;
            Ok(agentcore_control::perform(call, self.runtimes.clone()).await?.map(full))
        } else if let Some((operation, parameters)) = operation::find(host_api::OPERATIONS, &verb, &path) {
            let (parts, body, principal) = self.verified(request, host_api::HOST_SERVICE).await?;
            let query = parts.uri.query().unwrap_or_default().to_owned();
            let call = Call { operation, parameters, query, body, principal, now_ms: unix_ms(now()) };
            let rooms = HostRooms { region: &self.region, source: &self.status, runtimes: self.runtimes.clone(), keys: self.keys.clone() };
            Ok(host_api::perform(call, rooms).await?.map(full))
        } else if let Some((operation, parameters)) = operation::find(apigateway::OPERATIONS, &verb, &path) {
            let (parts, body, principal) = self.verified(request, apigateway::SERVICE).await?;
            apigateway::authorize(principal, &self.region, &verb, &path)?;
            let query = parts.uri.query().unwrap_or_default().to_owned();
            let call = apigateway::Call { operation: operation.id, parameters, query, body, now_unix: now().unix_timestamp() };
            let rooms = apigateway::Rooms { apis: self.apis.clone(), keys: self.keys.clone() };
            Ok(apigateway::perform(call, rooms).await?.map(full))
        } else if let Some((operation, parameters)) = operation::find(lambda::OPERATIONS, &verb, &path)
            && let Some(functions) = &self.functions
        {
            let (parts, body, principal) = self.verified_within(request, lambda::SERVICE, lambda::BODY_BYTES_MAX).await?;
            let query = parts.uri.query().unwrap_or_default().to_owned();
            let call = lambda::Call { operation, parameters, query, headers: parts.headers, body, now_ms: unix_ms(now()) };
            lambda::authorize(principal, &call, functions)?;
            Ok(lambda::perform(call, functions.clone()).await?.map(full))
        } else if let Some(metrics) = self.metrics.as_ref().filter(|_| verb == Method::GET && path == "/metrics") {
            let mut response = Response::new(full(metrics().into()));
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(TEXT_TYPE));
            Ok(response)
        } else {
            Err(ServiceError::unknown_operation(format!("no operation answers {verb} {path} here")))
        }
    }

    /// Reads a request whose body is a document, and finds out who sent it.
    async fn verified(&self, request: Request<Incoming>, service: &str) -> Result<(Parts, Bytes, &Principal), ServiceError> {
        self.verified_within(request, service, BODY_BYTES_MAX).await
    }

    /// The same, with another limit on the body.
    async fn verified_within(
        &self,
        request: Request<Incoming>,
        service: &str,
        bytes_max: usize,
    ) -> Result<(Parts, Bytes, &Principal), ServiceError> {
        let (parts, body) = request.into_parts();
        let (payload, hash) = self.bodies.read(body, bytes_max).await?;
        let principal = self.authenticate(&parts, &hash, service)?;
        Ok((parts, in_memory(payload).await?, principal))
    }

    fn authenticate(&self, request: &Parts, body: &BodyHash, service: &str) -> Result<&Principal, ServiceError> {
        let scope = Scope { region: &self.region, service };
        let lookup = |id: &frontdesk_aws::AccessKeyId| self.identities.find(id).map(|principal| &principal.credentials);
        let verified = sigv4::verify(request, body, scope, &self.signing_keys, lookup, now())?;
        self.identities.find(&verified.access_key_id).ok_or_else(|| ServiceError::internal_server("the principal vanished"))
    }
}

/// A document is read whole.
async fn in_memory(payload: Payload) -> Result<Bytes, ServiceError> {
    match payload {
        Payload::Memory(bytes) => Ok(bytes),
        payload @ Payload::Spooled { .. } => {
            let read = payload.into_body().collect().await;
            let read = read.map_err(|error| ServiceError::internal_server(format!("the request body could not be read again: {error}")))?;
            Ok(read.to_bytes())
        }
    }
}

fn full(body: Bytes) -> ResponseBody {
    Full::new(body).map_err(|never| match never {}).boxed_unsync()
}

#[expect(clippy::disallowed_methods, reason = "this is the edge where a request's moment is read")]
fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}
