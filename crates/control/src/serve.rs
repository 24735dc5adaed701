//! One request through control: read, verified, judged, performed.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use frontdesk_aws::policy::Context;
use frontdesk_aws::sigv4::{self, BodyHash, Scope, SigningKeys};
use frontdesk_aws::{AccessKeyId, ServiceError};
use frontdesk_functions::FunctionService;
use frontdesk_gateway::metrics::TEXT_TYPE;
use frontdesk_gateway::{ApiService, KeyService};
use frontdesk_runtime::{Payload, ResponseBody, RuntimeService};
use frontdesk_trace::{Span, SpanContext, SpanKind, Spans};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Body;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::absent;
use crate::agentcore_control;
use crate::apigateway;
use crate::body::BodyReader;
use crate::cloudwatch;
use crate::cost_explorer;
use crate::data_plane;
use crate::host_api::{self, Call, HostRooms, StatusSource};
use crate::iam;
use crate::identity::{IdentityService, Principal};
use crate::lambda;
use crate::logs::{self, LogService};
use crate::metrics::MetricService;
use crate::oidc::{self, Bearers, Fetch, Refusal};
use crate::operation;
use crate::query::{self, Parameters, Protocol};
use crate::rpc::{self, RpcService, Wire};
use crate::sts;
use crate::timestamp::unix_ms;

/// The longest body of an operation that is no invocation: an import of keys is the largest of them.
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Writes all metrics, when asked.
pub type MetricsSource = Box<dyn Fn() -> String + Send + Sync>;

/// Where a request comes from, among its extensions; one that crosses in memory has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallerAddress(pub IpAddr);

/// The control face.
pub struct Control {
    region: String,
    identities: Arc<IdentityService>,
    signing_keys: SigningKeys,
    runtimes: Arc<RuntimeService>,
    keys: Arc<KeyService>,
    apis: Arc<ApiService>,
    functions: Option<Arc<FunctionService>>,
    logs: Option<Arc<LogService>>,
    figures: Option<Arc<MetricService>>,
    status: StatusSource,
    metrics: Option<MetricsSource>,
    bodies: BodyReader,
    bearers: Bearers,
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
        identities: Arc<IdentityService>,
        runtimes: Arc<RuntimeService>,
        keys: Arc<KeyService>,
        apis: Arc<ApiService>,
        status: StatusSource,
        metrics: Option<MetricsSource>,
    ) -> Control {
        let (signing_keys, bodies, bearers) = (SigningKeys::new(), BodyReader::default(), Bearers::new(oidc::no_fetch()));
        Control {
            region,
            identities,
            signing_keys,
            runtimes,
            keys,
            apis,
            functions: None,
            logs: None,
            figures: None,
            status,
            metrics,
            spans: Spans::default(),
            bodies,
            bearers,
        }
    }

    /// The same, with Lambda functions.
    #[must_use]
    pub fn with_functions(self, functions: Arc<FunctionService>) -> Control {
        Control { functions: Some(functions), ..self }
    }

    /// The same, with logs.
    #[must_use]
    pub fn with_logs(self, logs: Arc<LogService>) -> Control {
        Control { logs: Some(logs), ..self }
    }

    /// The same, with metrics and alarms.
    #[must_use]
    pub fn with_metrics(self, figures: Arc<MetricService>) -> Control {
        Control { figures: Some(figures), ..self }
    }

    /// `spans` are told of invocations.
    #[must_use]
    pub fn with_spans(self, spans: Spans) -> Control {
        Control { spans, ..self }
    }

    /// Tokens of OpenID providers are judged by keys that `fetch` gets. Without it no token lets anybody in.
    #[must_use]
    pub fn with_fetch(self, fetch: Fetch) -> Control {
        Control { bearers: Bearers::new(fetch), ..self }
    }

    /// Answers one request. The answer is AWS's in every case, its errors too.
    pub async fn handle<B: Body<Data = Bytes> + Unpin>(self: Arc<Self>, request: Request<B>) -> Response<ResponseBody> {
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
    async fn answer<B: Body<Data = Bytes> + Unpin>(
        &self,
        mut request: Request<B>,
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
            let runtime = parameters.first().map(String::as_str).unwrap_or_default();
            if operation.id == data_plane::DataPlane::GetRuntimeProtectedResourceMetadata {
                return self.protected_resource(runtime, &parts);
            }
            // Before the body, which a stranger may make long.
            let admitted = match self.admit_bearer(runtime, &parts).await? {
                Ok(admitted) => admitted,
                Err(refused) => return Ok(refused.map(full)),
            };
            let (payload, hash) = self.bodies.read(body, data_plane::PAYLOAD_BYTES_MAX).await?;
            let signer;
            let caller = match &admitted {
                Some(rules) => data_plane::Caller::Bearer(rules),
                None => {
                    signer = self.authenticate(&parts, &hash, data_plane::SERVICE)?;
                    data_plane::Caller::Signer(&signer)
                }
            };
            let call = data_plane::Call { operation, runtime, request: &parts, payload, upgrade, caller, span };
            return data_plane::perform(call, &self.runtimes).await;
        }
        // On the heap, for it is many times as large, and every invocation's future would hold room for it.
        Box::pin(self.answer_documents(request, request_id, verb, path)).await
    }

    /// Answers a request of everything but the data plane.
    async fn answer_documents<B: Body<Data = Bytes> + Unpin>(
        &self,
        request: Request<B>,
        request_id: &str,
        verb: Method,
        path: String,
    ) -> Result<Response<ResponseBody>, ServiceError> {
        if let Some((operation, parameters)) = operation::find(agentcore_control::OPERATIONS, &verb, &path) {
            let (parts, body, principal) = self.verified(request, agentcore_control::SERVICE).await?;
            let query = parts.uri.query().unwrap_or_default().to_owned();
            let call = agentcore_control::Call { operation, parameters, query, body, now_ms: unix_ms(now()) };
            agentcore_control::authorize(&principal, &call, &self.runtimes)?;
            Ok(agentcore_control::perform(call, self.runtimes.clone()).await?.map(full))
        } else if let Some((operation, parameters)) = operation::find(host_api::OPERATIONS, &verb, &path) {
            let (parts, body, principal) = self.verified(request, host_api::HOST_SERVICE).await?;
            let query = parts.uri.query().unwrap_or_default().to_owned();
            let call = Call { operation, parameters, query, body, principal: &principal, now_ms: unix_ms(now()) };
            let rooms = HostRooms {
                region: &self.region,
                source: &self.status,
                runtimes: self.runtimes.clone(),
                keys: self.keys.clone(),
                metrics: self.figures.clone(),
            };
            Ok(host_api::perform(call, rooms).await?.map(full))
        } else if let Some((operation, parameters)) = operation::find(apigateway::OPERATIONS, &verb, &path) {
            let (parts, body, principal) = self.verified(request, apigateway::SERVICE).await?;
            apigateway::authorize(&principal, &self.region, &verb, &path)?;
            let query = parts.uri.query().unwrap_or_default().to_owned();
            let call = apigateway::Call { operation: operation.id, parameters, query, body, now_unix: now().unix_timestamp() };
            let identities = Some(self.identities.clone());
            let rooms = apigateway::Rooms { apis: self.apis.clone(), keys: self.keys.clone(), identities };
            Ok(apigateway::perform(call, rooms).await?.map(full))
        } else if let Some(name) = logs::target(&request)
            && let Some(logs) = &self.logs
        {
            let answered = self.logs(request, &name, logs.clone()).await.unwrap_or_else(|error| {
                tracing::debug!(request_id, code = %error.code, message = error.message, operation = name, "refused");
                logs::refuse(&error)
            });
            Ok(answered.map(full))
        } else if let Some(protocol) = query_service(&request) {
            let answered = self.query(request, protocol, request_id).await.unwrap_or_else(|error| {
                tracing::debug!(request_id, code = %error.code, message = error.message, service = protocol.service, "refused");
                query::refuse(protocol, &error, request_id)
            });
            Ok(answered.map(full))
        } else if let Some((service, wire)) = rpc::called(&[&cloudwatch::RPC, &cost_explorer::RPC], &request) {
            let answered = self.rpc(request, service, wire, request_id).await.unwrap_or_else(|error| {
                tracing::debug!(request_id, code = %error.code, message = error.message, service = service.signing_name, "refused");
                rpc::refuse(service, wire, &error, request_id)
            });
            Ok(answered.map(full))
        } else if let Some((operation, parameters)) = operation::find(lambda::OPERATIONS, &verb, &path)
            && let Some(functions) = &self.functions
        {
            let (parts, body, principal) = self.verified_within(request, lambda::SERVICE, lambda::BODY_BYTES_MAX).await?;
            let query = parts.uri.query().unwrap_or_default().to_owned();
            let call = lambda::Call { operation, parameters, query, headers: parts.headers, body, now_ms: unix_ms(now()) };
            lambda::authorize(&principal, &call, functions)?;
            lambda::check_role(&call, &self.identities)?;
            Ok(lambda::perform(call, functions.clone()).await?.map(full))
        } else if let Some(metrics) = self.metrics.as_ref().filter(|_| verb == Method::GET && path == "/metrics") {
            let mut response = Response::new(full(metrics().into()));
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(TEXT_TYPE));
            Ok(response)
        } else {
            let refusal = absent::refuse(&verb, request.uri(), request.headers()).map(full);
            frontdesk_gateway::discard_refused(request).await;
            Ok(refusal)
        }
    }

    /// Lets the bearer of a token in where the runtime takes tokens: returns the rules that did; nothing for a call that must be signed, and the answer for one
    /// that is turned away.
    async fn admit_bearer(&self, runtime: &str, parts: &Parts) -> Result<Result<Option<Value>, Response<Bytes>>, ServiceError> {
        let token = oidc::bearer_token(&parts.headers);
        let is_signed = || {
            let in_query = parts.uri.query().is_some_and(|query| operation::query_parameter(query, "X-Amz-Signature").is_some());
            in_query || parts.headers.contains_key(header::AUTHORIZATION)
        };
        if token.is_none() && is_signed() {
            return Ok(Ok(None));
        }
        let Some(rules) = data_plane::authorizer(runtime, parts, &self.runtimes) else {
            return match token {
                Some(_) => Err(sigv4::VerifyError::AuthorizationMethodMismatch.into()),
                None => Ok(Ok(None)),
            };
        };
        let admitted = match token {
            Some(token) => self.bearers.admit(&token, &rules, now().unix_timestamp()).await,
            None => Err(Refusal::Missing),
        };
        Ok(match admitted {
            Ok(()) => Ok(Some(rules)),
            Err(refusal) => {
                tracing::debug!(runtime, %refusal, "a token was refused");
                let (_, metadata) = data_plane::resource_urls(runtime, parts);
                Err(refusal.to_response(&metadata))
            }
        })
    }

    /// Says who gives tokens for a runtime that takes them (RFC 9728).
    fn protected_resource(&self, runtime: &str, parts: &Parts) -> Result<Response<ResponseBody>, ServiceError> {
        let (resource, _) = data_plane::resource_urls(runtime, parts);
        let rules = data_plane::authorizer(runtime, parts, &self.runtimes);
        let document = rules.and_then(|rules| oidc::protected_resource(&rules, &resource));
        let document = document.ok_or_else(|| ServiceError::resource_not_found("No agent runtime that takes tokens is here"))?;
        let mut response = Response::new(full(document.to_string().into()));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok(response)
    }

    /// Performs an operation of CloudWatch Logs.
    async fn logs<B>(&self, request: Request<B>, name: &str, logs: Arc<LogService>) -> Result<Response<Bytes>, ServiceError>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let (_, body, principal) = self.verified(request, logs::SERVICE).await?;
        let call = logs::Call::read(name, &body, unix_ms(now()))?;
        logs::authorize(&principal, &call, &logs)?;
        logs::perform(call, logs).await
    }

    /// Performs an operation of IAM or STS.
    async fn query<B: Body<Data = Bytes> + Unpin>(
        &self,
        request: Request<B>,
        protocol: Protocol,
        request_id: &str,
    ) -> Result<Response<Bytes>, ServiceError> {
        let (parts, body) = request.into_parts();
        let (payload, hash) = self.bodies.read(body, BODY_BYTES_MAX).await?;
        // Both are signed for their own region by some clients, and for the host's by others.
        let is_global = query::signed_scope(&parts.headers, &parts.uri).is_some_and(|(region, _)| region == iam::REGION);
        let region = if is_global { iam::REGION } else { &self.region };
        let principal = self.authenticate_in(&parts, &hash, Scope { region, service: protocol.service })?;
        let parameters = match parts.method {
            Method::GET => Parameters::read(parts.uri.query().unwrap_or_default().as_bytes())?,
            _ => Parameters::read(&in_memory(payload).await?)?,
        };
        let action = parameters.get("Action").unwrap_or_default().to_owned();
        let now_unix = now().unix_timestamp();
        let unknown = || ServiceError::unknown_operation(format!("Could not find operation {action} of {} here", protocol.service));
        let result = if protocol == sts::PROTOCOL {
            let (_, operation) = sts::OPERATIONS.iter().find(|(name, _)| *name == action).ok_or_else(unknown)?;
            sts::perform(*operation, &parameters, &principal, &self.identities, now_unix)?
        } else {
            let operation = iam::OPERATIONS.iter().find(|operation| operation.name == action).ok_or_else(unknown)?;
            iam::perform(iam::Call { operation, parameters, principal, now_unix }, self.identities.clone()).await?
        };
        Ok(query::answer(protocol, &action, &result, request_id))
    }

    /// Performs an operation of CloudWatch or Cost Explorer.
    async fn rpc<B: Body<Data = Bytes> + Unpin>(
        &self,
        request: Request<B>,
        service: &RpcService,
        wire: Wire,
        request_id: &str,
    ) -> Result<Response<Bytes>, ServiceError> {
        let (parts, body) = request.into_parts();
        let (payload, hash) = self.bodies.read(body, BODY_BYTES_MAX).await?;
        // Cost Explorer is one for all regions, and signed for this one.
        let is_global = *service == cost_explorer::RPC
            && query::signed_scope(&parts.headers, &parts.uri).is_some_and(|(region, _)| region == iam::REGION);
        let region = if is_global { iam::REGION } else { &self.region };
        let principal = self.authenticate_in(&parts, &hash, Scope { region, service: service.signing_name })?;
        let body = in_memory(payload).await?;
        let (operation, request) = rpc::read(service, wire, &parts, &body, BODY_BYTES_MAX)?;
        let metrics = self.figures.clone().ok_or_else(|| ServiceError::internal_server("this host keeps no metrics"))?;
        let result = if *service == cost_explorer::RPC {
            let call = cost_explorer::Call { operation: operation.clone(), request, principal, now: now() };
            cost_explorer::perform(call, metrics).await?
        } else {
            let call = cloudwatch::Call { operation: operation.clone(), request, principal, now_ms: unix_ms(now()) };
            cloudwatch::perform(call, metrics).await?
        };
        Ok(rpc::answer(service, wire, &operation, &result, request_id))
    }

    /// Reads a request whose body is a document, and finds out who sent it.
    async fn verified<B>(&self, request: Request<B>, service: &str) -> Result<(Parts, Bytes, Principal), ServiceError>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        self.verified_within(request, service, BODY_BYTES_MAX).await
    }

    /// The same, with another limit on the body.
    async fn verified_within<B>(
        &self,
        request: Request<B>,
        service: &str,
        bytes_max: usize,
    ) -> Result<(Parts, Bytes, Principal), ServiceError>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let (parts, body) = request.into_parts();
        let (payload, hash) = self.bodies.read(body, bytes_max).await?;
        let principal = self.authenticate(&parts, &hash, service)?;
        Ok((parts, in_memory(payload).await?, principal))
    }

    fn authenticate(&self, request: &Parts, body: &BodyHash, service: &str) -> Result<Principal, ServiceError> {
        self.authenticate_in(request, body, Scope { region: &self.region, service })
    }

    fn authenticate_in(&self, request: &Parts, body: &BodyHash, scope: Scope<'_>) -> Result<Principal, ServiceError> {
        let now = now();
        let token = session_token(request);
        let mut claimed = None;
        let lookup = |id: &AccessKeyId| {
            claimed = self.identities.claimed(id, token.as_deref());
            claimed.as_ref().map(|claimed| claimed.credentials.clone())
        };
        sigv4::verify(request, body, scope, &self.signing_keys, lookup, now)?;
        let claimed = claimed.ok_or_else(|| ServiceError::internal_server("the principal vanished"))?;
        self.identities.note_use(&claimed, scope.service, scope.region, now.unix_timestamp());
        self.identities.principal(claimed, request_context(request, scope.region, now), now)
    }
}

/// The service of the query protocol that a request is for.
fn query_service<B>(request: &Request<B>) -> Option<Protocol> {
    if request.uri().path() != "/" || ![Method::POST, Method::GET].contains(request.method()) {
        return None;
    }
    let (_, service) = query::signed_scope(request.headers(), request.uri())?;
    [iam::PROTOCOL, sts::PROTOCOL].into_iter().find(|protocol| protocol.service == service)
}

/// The session token that a request names, in its headers or in the query of a presigned URL.
fn session_token(request: &Parts) -> Option<String> {
    if let Some(token) = request.headers.get(sigv4::X_AMZ_SECURITY_TOKEN) {
        return token.to_str().ok().map(str::to_owned);
    }
    let token = operation::query_parameter(request.uri.query()?, "X-Amz-Security-Token")?;
    percent_encoding::percent_decode_str(token).decode_utf8().ok().map(|token| token.into_owned())
}

/// What policies may ask of any request
/// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html>).
fn request_context(request: &Parts, region: &str, now: OffsetDateTime) -> Context {
    let address = request.extensions.get::<CallerAddress>().map(|CallerAddress(address)| address.to_canonical());
    // This face speaks no TLS itself. On this machine nobody listens in; from elsewhere anybody may.
    let is_secure = address.is_none_or(|address| address.is_loopback());
    let mut context = Context::new()
        .with("aws:RequestedRegion", region)
        .with("aws:CurrentTime", now.replace_nanosecond(0).unwrap_or(now).format(&Rfc3339).unwrap_or_default())
        .with("aws:EpochTime", now.unix_timestamp().to_string())
        .with("aws:SecureTransport", is_secure.to_string());
    if let Some(address) = address {
        context = context.with("aws:SourceIp", address.to_string());
    }
    for (name, key) in [(header::USER_AGENT, "aws:UserAgent"), (header::REFERER, "aws:Referer")] {
        if let Some(value) = request.headers.get(name).and_then(|value| value.to_str().ok()) {
            context = context.with(key, value);
        }
    }
    context
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
