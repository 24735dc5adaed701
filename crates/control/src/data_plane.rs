//! AgentCore's data plane (service `bedrock-agentcore`, rest-json).

use bytes::Bytes;
use frontdesk_aws::ServiceError;
use frontdesk_aws::arn::AgentRuntimeArn;
use frontdesk_runtime::{
    Asked, DEFAULT_ENDPOINT, Invocation, InvokeError, Payload, ResponseBody, RuntimeService, SessionName, SocketAnswer, Target,
};
use frontdesk_store::AgentProtocol;
use frontdesk_trace::Span;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::upgrade::OnUpgrade;

use serde_json::Value;

use crate::identity::Principal;
use crate::oidc;
use crate::operation::Operation;

/// The operations of the data plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DataPlane {
    InvokeAgentRuntime,
    GetAgentCard,
    StopRuntimeSession,
    InvokeAgentRuntimeWithWebSocketStream,
    GetRuntimeProtectedResourceMetadata,
}

/// The table that dispatch works from.
pub(crate) const OPERATIONS: &[Operation<DataPlane>] = &[
    Operation {
        id: DataPlane::InvokeAgentRuntime,
        name: "InvokeAgentRuntime",
        verb: Method::POST,
        path: "/runtimes/{agentRuntimeArn}/invocations",
    },
    Operation {
        id: DataPlane::GetAgentCard,
        name: "GetAgentCard",
        verb: Method::GET,
        path: "/runtimes/{agentRuntimeArn}/invocations/.well-known/agent-card.json",
    },
    Operation {
        id: DataPlane::StopRuntimeSession,
        name: "StopRuntimeSession",
        verb: Method::POST,
        path: "/runtimes/{agentRuntimeArn}/stopruntimesession",
    },
    // No operation of the service model: it has the name of its IAM action.
    Operation {
        id: DataPlane::InvokeAgentRuntimeWithWebSocketStream,
        name: "InvokeAgentRuntimeWithWebSocketStream",
        verb: Method::GET,
        path: "/runtimes/{agentRuntimeArn}/ws",
    },
    // Nobody signs this one: it says where tokens come from.
    Operation {
        id: DataPlane::GetRuntimeProtectedResourceMetadata,
        name: "GetRuntimeProtectedResourceMetadata",
        verb: Method::GET,
        path: "/runtimes/{agentRuntimeArn}/invocations/.well-known/oauth-protected-resource",
    },
];

/// The service's name in ARNs, in IAM actions and in signatures.
pub(crate) const SERVICE: &str = "bedrock-agentcore";
/// AgentCore's bound on a payload.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 100_000_000;

const SESSION_ID: HeaderName = HeaderName::from_static("x-amzn-bedrock-agentcore-runtime-session-id");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-bedrock-agentcore-runtime-request-id");
const AMZN_REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static(frontdesk_trace::TRACEPARENT);
const USER_ID: HeaderName = HeaderName::from_static("x-amzn-bedrock-agentcore-runtime-user-id");
const MCP_SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
/// AgentCore's bounds on a session id.
const SESSION_ID_CHARS: std::ops::RangeInclusive<usize> = 33..=256;
/// AgentCore's bounds on a user's id.
const USER_ID_CHARS: std::ops::RangeInclusive<usize> = 1..=1024;

/// Headers of a call that reach the agent; besides, all that begin with [`CUSTOM_PREFIX`] and those that the runtime allows. An `Authorization` with a
/// signature is the host's and does not; one with a token does where the runtime allows it.
static HANDED_ON: [HeaderName; 12] = [
    header::ACCEPT,
    HeaderName::from_static("baggage"),
    header::CONTENT_TYPE,
    HeaderName::from_static("mcp-method"),
    HeaderName::from_static("mcp-name"),
    HeaderName::from_static("mcp-protocol-version"),
    MCP_SESSION_ID,
    TRACEPARENT,
    HeaderName::from_static("tracestate"),
    USER_ID,
    HeaderName::from_static("x-amzn-trace-id"),
    SESSION_ID,
];
const CUSTOM_PREFIX: &str = "x-amzn-bedrock-agentcore-runtime-custom-";
/// Headers that no allow list hands on: they speak of the connection to this host, or hold what was signed for it.
const NEVER_HANDED_ON: [HeaderName; 8] = [
    header::AUTHORIZATION,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::EXPECT,
    header::HOST,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// An ARN in a path is percent-encoded as RFC 3986 says.
const ESCAPED: &percent_encoding::AsciiSet = &percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What else of a WebSocket's handshake is the agent's to answer.
const HANDSHAKE: [HeaderName; 4] =
    [header::SEC_WEBSOCKET_KEY, header::SEC_WEBSOCKET_VERSION, header::SEC_WEBSOCKET_PROTOCOL, header::SEC_WEBSOCKET_EXTENSIONS];

/// Who calls, as far as it has been proved.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Caller<'a> {
    /// Who signed, whose policies decide.
    Signer(&'a Principal),
    /// Whoever holds a token that these rules let in, which is all there is to decide.
    Bearer(&'a Value),
}

/// A call of the data plane, verified.
pub(crate) struct Call<'a> {
    pub(crate) operation: &'a Operation<DataPlane>,
    /// The runtime's ARN, or its id beside an `accountId`.
    pub(crate) runtime: &'a str,
    pub(crate) request: &'a Parts,
    pub(crate) payload: Payload,
    /// The connection, once a handshake has been answered.
    pub(crate) upgrade: OnUpgrade,
    pub(crate) caller: Caller<'a>,
    /// The operation's.
    pub(crate) span: &'a Span,
}

/// Performs one operation of the data plane.
///
/// # Errors
/// The data plane's own errors, in AWS's words.
pub(crate) async fn perform(call: Call<'_>, runtimes: &RuntimeService) -> Result<Response<ResponseBody>, ServiceError> {
    let Call { operation, runtime, request, payload, upgrade, caller, span } = call;
    let addressed = addressed(runtime, request, runtimes)?;
    authorize(caller, operation.name, &addressed)?;
    let names_user = |name: &str| name.eq_ignore_ascii_case(USER_ID.as_str());
    let query = request.uri.query().unwrap_or_default();
    if request.headers.contains_key(USER_ID) || query.split(['&', '=']).any(names_user) {
        if let Caller::Bearer(_) = caller {
            return Err(ServiceError::validation("runtimeUserId is for signed calls: a token says itself who its user is"));
        }
        authorize(caller, "InvokeAgentRuntimeForUser", &addressed)?;
    }
    let Addressed { arn, endpoint, .. } = addressed;
    let headers = &request.headers;
    match operation.id {
        DataPlane::StopRuntimeSession => {
            let session_id = headers.get(SESSION_ID).ok_or_else(|| ServiceError::validation("runtimeSessionId is required"))?;
            let session = named(session_id)?;
            target(runtimes, caller, &arn, &endpoint)?;
            if !runtimes.stop_session(arn.id(), &endpoint, session.id()).await {
                return Err(ServiceError::resource_not_found(format!("No session {} is active", session.id())));
            }
            let mut response = Response::new(Full::new(Bytes::from_static(b"{}")).map_err(|never| match never {}).boxed_unsync());
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            response.headers_mut().insert(SESSION_ID, session_id.clone());
            Ok(response)
        }
        DataPlane::InvokeAgentRuntimeWithWebSocketStream => {
            let target = target(runtimes, caller, &arn, &endpoint)?;
            Box::pin(websocket(&target, caller, request, upgrade, runtimes, span)).await
        }
        DataPlane::GetRuntimeProtectedResourceMetadata => Err(ServiceError::unknown_operation("answered before anybody is identified")),
        DataPlane::InvokeAgentRuntime | DataPlane::GetAgentCard => {
            let target = target(runtimes, caller, &arn, &endpoint)?;
            let protocol = target.configuration().protocol;
            let asked = if operation.id == DataPlane::GetAgentCard { Asked::AgentCard } else { Asked::Invocation };
            if asked == Asked::AgentCard && protocol != AgentProtocol::A2a {
                return Err(ServiceError::validation(format!("Agent runtime {arn} speaks {}; only A2A has agent cards", protocol.name())));
            }
            check_user_id(headers)?;
            let session = session_of(headers, protocol)?;
            let session_id =
                HeaderValue::from_str(session.id()).map_err(|_| ServiceError::validation("runtimeSessionId is no header value"))?;
            let handed_on = headers_for_agent(headers, caller, &session_id, &target, span);
            let invocation = Invocation { asked, headers: handed_on, payload };
            let mut response = runtimes.invoke(&target, &session, invocation, span).await.map_err(of_invoke)?;
            let answered = response.headers_mut();
            if protocol == AgentProtocol::Mcp && !answered.contains_key(MCP_SESSION_ID) {
                answered.insert(MCP_SESSION_ID, session_id.clone());
            }
            answered.insert(SESSION_ID, session_id);
            Ok(response)
        }
    }
}

/// Hands a WebSocket's handshake to the agent and, when it takes the connection, carries the bytes of both. A caller that cannot set headers (a browser, with a
/// presigned URL) has the session and custom headers in its query, which is where AgentCore's SDKs put them.
async fn websocket(
    target: &Target,
    caller: Caller<'_>,
    request: &Parts,
    upgrade: OnUpgrade,
    runtimes: &RuntimeService,
    span: &Span,
) -> Result<Response<ResponseBody>, ServiceError> {
    let is_websocket = request.headers.get(header::UPGRADE).is_some_and(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"websocket"));
    if !is_websocket {
        return Err(ServiceError::validation("a WebSocket handshake is expected here: GET with Upgrade: websocket"));
    }
    let mut headers = request.headers.clone();
    for (name, value) in query_headers(request) {
        headers.entry(name).or_insert(value);
    }
    check_user_id(&headers)?;
    let session = session_of(&headers, target.configuration().protocol)?;
    let session_id = HeaderValue::from_str(session.id()).map_err(|_| ServiceError::validation("runtimeSessionId is no header value"))?;
    let mut handed_on = headers_for_agent(&headers, caller, &session_id, target, span);
    handed_on.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    handed_on.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    for name in HANDSHAKE {
        if let Some(value) = headers.get(&name) {
            handed_on.insert(name, value.clone());
        }
    }
    if let Some(protocols) = handed_on.get(header::SEC_WEBSOCKET_PROTOCOL).and_then(oidc::without_token) {
        handed_on.insert(header::SEC_WEBSOCKET_PROTOCOL, protocols);
    }
    let mut response = match runtimes.open_socket(target, &session, handed_on).await.map_err(of_invoke)? {
        SocketAnswer::Refused(response) => response,
        SocketAnswer::Open(socket) => {
            let mut response = Response::new(Full::new(Bytes::new()).map_err(|never| match never {}).boxed_unsync());
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            *response.headers_mut() = socket.headers.clone();
            tokio::spawn(async move {
                match upgrade.await {
                    Ok(caller) => socket.relay(caller).await,
                    Err(error) => tracing::debug!(error = &error as &dyn std::error::Error, "a WebSocket's caller left before it began"),
                }
            });
            response
        }
    };
    response.headers_mut().insert(SESSION_ID, session_id);
    Ok(response)
}

/// The headers that a query stands in for.
fn query_headers(request: &Parts) -> Vec<(HeaderName, HeaderValue)> {
    let pairs = request.uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    let headers = pairs.filter_map(|(name, value)| {
        let name = name.to_ascii_lowercase();
        if name != SESSION_ID.as_str() && name != USER_ID.as_str() && !name.starts_with(CUSTOM_PREFIX) {
            return None;
        }
        let value = percent_encoding::percent_decode_str(value).decode_utf8().ok()?;
        Some((name.parse().ok()?, HeaderValue::from_str(&value).ok()?))
    });
    headers.collect()
}

/// Where a call says that it goes.
struct Addressed {
    arn: AgentRuntimeArn,
    endpoint: String,
    endpoint_arn: String,
}

fn addressed(runtime: &str, request: &Parts, runtimes: &RuntimeService) -> Result<Addressed, ServiceError> {
    let invalid = |error: frontdesk_aws::arn::ArnError| ServiceError::validation(format!("agentRuntimeArn: {error}"));
    let account_id = query_value(request, "accountId");
    let arn: AgentRuntimeArn = if runtime.starts_with("arn:") {
        runtime.parse().map_err(invalid)?
    } else {
        let account_id = account_id.as_deref().ok_or_else(|| ServiceError::validation("accountId is required with an agent id"))?;
        let (name, suffix) = runtime.rsplit_once('-').unwrap_or((runtime, ""));
        AgentRuntimeArn::new(runtimes.region_and_account().0, account_id, name, suffix).map_err(invalid)?
    };
    if account_id.is_some_and(|account_id| account_id != arn.account()) {
        return Err(ServiceError::validation("accountId is not the account of agentRuntimeArn"));
    }
    let endpoint = query_value(request, "qualifier").unwrap_or_else(|| DEFAULT_ENDPOINT.to_owned());
    let endpoint_arn = arn.endpoint(&endpoint).map_err(|error| ServiceError::validation(format!("qualifier: {error}")))?;
    Ok(Addressed { arn, endpoint, endpoint_arn })
}

/// The rules for tokens of the runtime that a call is for, if it is one that takes tokens.
pub(crate) fn authorizer(runtime: &str, request: &Parts, runtimes: &RuntimeService) -> Option<Value> {
    let Addressed { arn, endpoint, .. } = addressed(runtime, request, runtimes).ok()?;
    if (arn.region(), arn.account()) != runtimes.region_and_account() {
        return None;
    }
    runtimes.resolve(arn.id(), &endpoint).ok()?.configuration().authorizer.clone()
}

/// The URL of a call's runtime as a resource, and of the document that says who gives tokens for it.
pub(crate) fn resource_urls(runtime: &str, request: &Parts) -> (String, String) {
    let runtime = percent_encoding::utf8_percent_encode(runtime, ESCAPED);
    let host = request.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    let is_https = request.headers.get("x-forwarded-proto").is_some_and(|scheme| scheme == "https");
    let scheme = if is_https { "https" } else { "http" };
    let qualifier = query_value(request, "qualifier").unwrap_or_else(|| DEFAULT_ENDPOINT.to_owned());
    let qualifier = percent_encoding::utf8_percent_encode(&qualifier, ESCAPED);
    let resource = format!("{scheme}://{host}/runtimes/{runtime}/invocations");
    (format!("{resource}?qualifier={qualifier}"), format!("{resource}/.well-known/oauth-protected-resource?qualifier={qualifier}"))
}

fn authorize(caller: Caller<'_>, action: &str, Addressed { arn, endpoint_arn, .. }: &Addressed) -> Result<(), ServiceError> {
    let Caller::Signer(principal) = caller else { return Ok(()) };
    principal.authorize(&[SERVICE, ":", action].concat(), &[arn.as_str(), endpoint_arn])
}

fn target(runtimes: &RuntimeService, caller: Caller<'_>, arn: &AgentRuntimeArn, endpoint: &str) -> Result<Target, ServiceError> {
    // Another region's or account's runtime is somebody else's, whatever its id.
    if (arn.region(), arn.account()) != runtimes.region_and_account() {
        return Err(ServiceError::resource_not_found(format!("No agent runtime has the ARN {arn}")));
    }
    let target = runtimes.resolve(arn.id(), endpoint).map_err(of_invoke)?;
    // The rules that let a token in must still be the runtime's: it may have been updated since.
    let is_method_right = match (caller, &target.configuration().authorizer) {
        (Caller::Signer(_), None) => true,
        (Caller::Bearer(admitted), Some(authorizer)) => admitted == authorizer,
        _ => false,
    };
    if is_method_right { Ok(target) } else { Err(frontdesk_aws::sigv4::VerifyError::AuthorizationMethodMismatch.into()) }
}

fn of_invoke(error: InvokeError) -> ServiceError {
    match error {
        InvokeError::Busy => ServiceError::throttling(error.to_string()),
        InvokeError::NotFound(message) => ServiceError::resource_not_found(message),
        InvokeError::NotReady(message) => ServiceError::new(StatusCode::CONFLICT, "RetryableConflictException", message),
        InvokeError::Agent(message) => ServiceError::runtime_client(message),
    }
}

/// The call's session, or a new one where it names none.
fn session_of(headers: &HeaderMap, protocol: AgentProtocol) -> Result<SessionName, ServiceError> {
    let new = || uuid::Uuid::new_v4().to_string();
    match (headers.get(SESSION_ID), protocol) {
        (Some(given), _) => named(given),
        // An MCP client knows its own header only, and comes back with what it was given in it.
        (None, AgentProtocol::Mcp) => match headers.get(MCP_SESSION_ID).map(named) {
            Some(Ok(known)) => Ok(known),
            _ => Ok(SessionName::Named(new())),
        },
        (None, _) => Ok(SessionName::Generated(new())),
    }
}

fn named(given: &HeaderValue) -> Result<SessionName, ServiceError> {
    let text = given.to_str().map_err(|_| ServiceError::validation("runtimeSessionId holds characters that are not printable ASCII"))?;
    if SESSION_ID_CHARS.contains(&text.len()) {
        return Ok(SessionName::Named(text.to_owned()));
    }
    Err(ServiceError::validation(format!(
        "runtimeSessionId has {} characters; it must have at least {} and at most {}",
        text.len(),
        SESSION_ID_CHARS.start(),
        SESSION_ID_CHARS.end()
    )))
}

fn check_user_id(headers: &HeaderMap) -> Result<(), ServiceError> {
    match headers.get(USER_ID) {
        Some(user_id) if !USER_ID_CHARS.contains(&user_id.len()) => Err(ServiceError::validation(format!(
            "runtimeUserId has {} characters; it must have at least {} and at most {}",
            user_id.len(),
            USER_ID_CHARS.start(),
            USER_ID_CHARS.end()
        ))),
        _ => Ok(()),
    }
}

fn headers_for_agent(headers: &HeaderMap, caller: Caller<'_>, session_id: &HeaderValue, target: &Target, span: &Span) -> HeaderMap {
    let configuration = target.configuration();
    let is_never = |name: &HeaderName| match caller {
        Caller::Bearer(_) if *name == header::AUTHORIZATION => false,
        _ => NEVER_HANDED_ON.contains(name),
    };
    let is_allowed = |name: &HeaderName| {
        let listed = configuration.request_headers.iter().any(|allowed| name.as_str().eq_ignore_ascii_case(allowed));
        listed && !is_never(name) && !name.as_str().starts_with("x-amz-")
    };
    // Room for what the runtime adds.
    let mut handed_on = HeaderMap::with_capacity(headers.len() + 4);
    let is_handed_on = |name: &HeaderName| HANDED_ON.contains(name) || name.as_str().starts_with(CUSTOM_PREFIX) || is_allowed(name);
    for (name, value) in headers.iter().filter(|(name, _)| is_handed_on(name)) {
        handed_on.append(name.clone(), value.clone());
    }
    handed_on.insert(SESSION_ID, session_id.clone());
    if let Some(context) = span.context() {
        handed_on.insert(TRACEPARENT, context.header());
    }
    if configuration.protocol == AgentProtocol::Mcp && !handed_on.contains_key(MCP_SESSION_ID) {
        handed_on.insert(MCP_SESSION_ID, session_id.clone());
    }
    let request_id = headers.get(AMZN_REQUEST_ID).cloned();
    let new = || HeaderValue::from_str(uuid::Uuid::new_v4().hyphenated().encode_lower(&mut uuid::Uuid::encode_buffer())).ok();
    let request_id = request_id.or_else(new);
    if let Some(request_id) = request_id {
        handed_on.insert(REQUEST_ID, request_id);
    }
    handed_on
}

fn query_value(request: &Parts, name: &str) -> Option<String> {
    crate::operation::query_value(request.uri.query()?, name)
}
