//! AgentCore's data plane (service `bedrock-agentcore`, rest-json).

use bytes::Bytes;
use frontdesk_aws::ServiceError;
use frontdesk_aws::arn::AgentRuntimeArn;
use frontdesk_runtime::{DEFAULT_ENDPOINT, HostedAgent, Invocation, InvokeError, ResponseBody};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response};

use crate::identity::Principal;
use crate::operation::Operation;

/// The operations of the data plane.
#[derive(Debug, Clone, Copy)]
pub(crate) enum DataPlane {
    InvokeAgentRuntime,
}

/// The table that dispatch works from.
pub(crate) const OPERATIONS: &[Operation<DataPlane>] = &[Operation {
    id: DataPlane::InvokeAgentRuntime,
    name: "InvokeAgentRuntime",
    verb: Method::POST,
    path: "/runtimes/{agentRuntimeArn}/invocations",
}];

/// The service's name in ARNs, in IAM actions and in signatures.
pub(crate) const SERVICE: &str = "bedrock-agentcore";

const SESSION_ID: &str = "x-amzn-bedrock-agentcore-runtime-session-id";
const REQUEST_ID: &str = "x-amzn-bedrock-agentcore-runtime-request-id";
/// AgentCore's bounds on a session id.
const SESSION_ID_CHARS: std::ops::RangeInclusive<usize> = 33..=256;

/// Headers of a call that reach the agent; besides, all that begin with [`CUSTOM_PREFIX`]. `Authorization` is the host's and does not.
const HANDED_ON: [&str; 10] = [
    "accept",
    "baggage",
    "content-type",
    "mcp-protocol-version",
    "mcp-session-id",
    "traceparent",
    "tracestate",
    "x-amzn-bedrock-agentcore-runtime-user-id",
    "x-amzn-trace-id",
    SESSION_ID,
];
const CUSTOM_PREFIX: &str = "x-amzn-bedrock-agentcore-runtime-custom-";

/// Carries one invocation to its agent.
///
/// # Errors
/// The data plane's own errors, in AWS's words.
pub(crate) async fn invoke_agent_runtime(
    agents: &[HostedAgent],
    principal: &Principal,
    arn: &str,
    request: &Parts,
    payload: Bytes,
) -> Result<Response<ResponseBody>, ServiceError> {
    let qualifier = query_parameter(request, "qualifier").unwrap_or_else(|| DEFAULT_ENDPOINT.to_owned());
    let arn: AgentRuntimeArn = arn.parse().map_err(|error| ServiceError::validation(format!("agentRuntimeArn: {error}")))?;
    let endpoint = arn.endpoint(&qualifier).map_err(|error| ServiceError::validation(format!("qualifier: {error}")))?;
    let resources = [arn.to_string(), endpoint.to_string()];
    principal.authorize("bedrock-agentcore:InvokeAgentRuntime", &resources.each_ref().map(String::as_str))?;
    let session_id = session_id(&request.headers)?;
    let agent = agents.iter().find(|agent| *agent.arn() == arn);
    let agent = agent.ok_or_else(|| ServiceError::resource_not_found(format!("No agent runtime has the ARN {arn}")))?;
    if qualifier != DEFAULT_ENDPOINT {
        return Err(ServiceError::resource_not_found(format!("Agent runtime {arn} has no endpoint named {qualifier}")));
    }
    let headers = headers_for_agent(&request.headers, &session_id);
    let mut response = agent.invoke(Invocation { headers, payload }).await.map_err(|error| match error {
        InvokeError::Busy => ServiceError::throttling(error.to_string()),
        InvokeError::Agent(message) => ServiceError::runtime_client(message),
    })?;
    response.headers_mut().insert(SESSION_ID, session_id);
    Ok(response)
}

/// The call's session id, or a new one where it names none.
fn session_id(headers: &HeaderMap) -> Result<HeaderValue, ServiceError> {
    match headers.get(SESSION_ID) {
        None => Ok(HeaderValue::from_str(&uuid::Uuid::new_v4().to_string()).expect("a UUID is a header value")),
        Some(given) if SESSION_ID_CHARS.contains(&given.len()) => Ok(given.clone()),
        Some(given) => Err(ServiceError::validation(format!(
            "runtimeSessionId has {} characters; it must have at least {} and at most {}",
            given.len(),
            SESSION_ID_CHARS.start(),
            SESSION_ID_CHARS.end()
        ))),
    }
}

fn headers_for_agent(headers: &HeaderMap, session_id: &HeaderValue) -> HeaderMap {
    let is_handed_on = |name: &HeaderName| HANDED_ON.contains(&name.as_str()) || name.as_str().starts_with(CUSTOM_PREFIX);
    let mut handed_on = HeaderMap::new();
    for (name, value) in headers.iter().filter(|(name, _)| is_handed_on(name)) {
        handed_on.append(name.clone(), value.clone());
    }
    handed_on.insert(SESSION_ID, session_id.clone());
    let request_id = headers.get("x-amzn-request-id").cloned();
    let request_id = request_id.or_else(|| HeaderValue::from_str(&uuid::Uuid::new_v4().to_string()).ok());
    if let Some(request_id) = request_id {
        handed_on.insert(REQUEST_ID, request_id);
    }
    handed_on
}

fn query_parameter(request: &Parts, name: &str) -> Option<String> {
    let pairs = request.uri.query()?.split('&').filter_map(|pair| pair.split_once('='));
    let value = pairs.filter(|(key, _)| *key == name).map(|(_, value)| value).next()?;
    Some(percent_encoding::percent_decode_str(value).decode_utf8_lossy().into_owned())
}
