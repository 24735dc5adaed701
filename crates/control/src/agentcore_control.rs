//! AgentCore's control plane (service `bedrock-agentcore-control`, rest-json): agent runtimes, their versions and endpoints
//! (<https://docs.aws.amazon.com/bedrock-agentcore-control/latest/APIReference/API_Operations.html>).

mod documents;
mod endpoints;
mod requests;
mod runtimes;

use std::sync::Arc;

use bytes::Bytes;
use frontdesk_aws::ServiceError;
use frontdesk_aws::policy::Context;
use frontdesk_runtime::{RuntimeError, RuntimeService};
use http::{HeaderValue, Response, StatusCode, header};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::identity::Principal;
use crate::json_document::without_nulls;
use crate::operation::{Operation, operations, page_at, query_value};

pub(crate) use requests::protocol;

/// The service's name in ARNs, in IAM actions and in signatures: the data plane's, although its endpoint has another.
pub(crate) const SERVICE: &str = crate::data_plane::SERVICE;

/// A page of a list, unless its caller says otherwise, and at most.
const PAGE_ITEMS_MAX: usize = 100;

operations! {
    AgentCoreControl:
    CreateAgentRuntime PUT "/runtimes/";
    ListAgentRuntimes POST "/runtimes/";
    GetAgentRuntime GET "/runtimes/{agentRuntimeId}/";
    UpdateAgentRuntime PUT "/runtimes/{agentRuntimeId}/";
    DeleteAgentRuntime DELETE "/runtimes/{agentRuntimeId}/";
    ListAgentRuntimeVersions POST "/runtimes/{agentRuntimeId}/versions/";
    CreateAgentRuntimeEndpoint PUT "/runtimes/{agentRuntimeId}/runtime-endpoints/";
    ListAgentRuntimeEndpoints POST "/runtimes/{agentRuntimeId}/runtime-endpoints/";
    GetAgentRuntimeEndpoint GET "/runtimes/{agentRuntimeId}/runtime-endpoints/{endpointName}/";
    UpdateAgentRuntimeEndpoint PUT "/runtimes/{agentRuntimeId}/runtime-endpoints/{endpointName}/";
    DeleteAgentRuntimeEndpoint DELETE "/runtimes/{agentRuntimeId}/runtime-endpoints/{endpointName}/";
}

/// A call, verified.
pub(crate) struct Call {
    pub(crate) operation: &'static Operation<AgentCoreControl>,
    /// The path's parameters, decoded.
    pub(crate) parameters: Vec<String>,
    /// The query, undecoded.
    pub(crate) query: String,
    pub(crate) body: Bytes,
    pub(crate) now_ms: i64,
}

impl Call {
    fn parameter(&self, index: usize) -> &str {
        self.parameters.get(index).map_or("", String::as_str)
    }

    /// A value of the query, decoded.
    fn query_value(&self, name: &str) -> Option<String> {
        query_value(&self.query, name)
    }

    /// The body; an empty one stands for a document without members.
    fn read<T: DeserializeOwned>(&self) -> Result<T, ServiceError> {
        let body: &[u8] = if self.body.is_empty() { b"{}" } else { &self.body };
        serde_json::from_slice(body).map_err(|error| ServiceError::validation(format!("the request body: {error}")))
    }

    /// The page of a list that the query asks for.
    fn page<T>(&self, member: &str, items: Vec<T>, document: impl Fn(T) -> Value) -> Answer {
        let number = |name: &str, text: Option<String>| {
            let parsed = text.map(|text| text.parse::<usize>());
            parsed.transpose().map_err(|_| ServiceError::validation(format!("{name} is not one that was given out")))
        };
        let begin = number("nextToken", self.query_value("nextToken"))?.unwrap_or(0);
        let limit = number("maxResults", self.query_value("maxResults"))?.unwrap_or(PAGE_ITEMS_MAX);
        if !(1..=PAGE_ITEMS_MAX).contains(&limit) {
            return Err(ServiceError::validation(format!("maxResults is {limit}; it must be between 1 and {PAGE_ITEMS_MAX}")));
        }
        let (page, next) = page_at(items, begin, limit);
        let page: Vec<Value> = page.into_iter().map(document).collect();
        Ok((StatusCode::OK, without_nulls(json!({ member: page, "nextToken": next }))))
    }
}

/// What an operation answers: a status and a document.
type Answer = Result<(StatusCode, Value), ServiceError>;

/// Checks that a principal may: the runtime that the path names, and its endpoint where it names one
/// (<https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonbedrockagentcore.html>).
///
/// # Errors
/// AccessDeniedException.
pub(crate) fn authorize(principal: &Principal, call: &Call, runtimes: &RuntimeService) -> Result<(), ServiceError> {
    let (region, account) = runtimes.region_and_account();
    let id = call.parameters.first().map_or("*", String::as_str);
    let runtime = format!("arn:aws:{SERVICE}:{region}:{account}:runtime/{id}");
    let action = format!("{SERVICE}:{}", call.operation.name);
    match call.parameters.get(1) {
        None => principal.authorize(&action, &[&runtime])?,
        Some(endpoint) => principal.authorize(&action, &[&runtime, &format!("{runtime}/runtime-endpoint/{endpoint}")])?,
    }
    match call.operation.id {
        AgentCoreControl::CreateAgentRuntime | AgentCoreControl::UpdateAgentRuntime => may_pass_role(principal, call),
        _ => Ok(()),
    }
}

/// Who gives a role to a runtime must be allowed to: the runtime acts as it.
fn may_pass_role(principal: &Principal, call: &Call) -> Result<(), ServiceError> {
    let wanted: Value = call.read()?;
    let Some(role) = wanted.get("roleArn").and_then(Value::as_str) else { return Ok(()) };
    let keys = Context::new().with("iam:PassedToService", "bedrock-agentcore.amazonaws.com");
    principal.authorize_with("iam:PassRole", &[role], &keys)
}

/// Performs one operation. Blocks on the database, so it runs on a blocking thread.
///
/// # Errors
/// The control plane's own: ValidationException, ResourceNotFoundException, ConflictException, ServiceQuotaExceededException.
pub(crate) async fn perform(call: Call, runtimes: Arc<RuntimeService>) -> Result<Response<Bytes>, ServiceError> {
    let done = tokio::task::spawn_blocking(move || answer(&call, &runtimes)).await;
    let (status, document) = done.map_err(|panicked| ServiceError::internal_server(panicked.to_string()))??;
    let mut response = Response::new(Bytes::from(document.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

fn answer(call: &Call, runtimes: &Arc<RuntimeService>) -> Answer {
    use AgentCoreControl as Op;
    match call.operation.id {
        Op::CreateAgentRuntime => runtimes::create(call, runtimes),
        Op::ListAgentRuntimes => call.page("agentRuntimes", runtimes.views(), |view| documents::listed_runtime(&view)),
        Op::GetAgentRuntime => runtimes::get(call, runtimes),
        Op::UpdateAgentRuntime => runtimes::update(call, runtimes),
        Op::DeleteAgentRuntime => runtimes::delete(call, runtimes),
        Op::ListAgentRuntimeVersions => {
            let versions = runtimes.versions(call.parameter(0)).map_err(of_runtime)?;
            call.page("agentRuntimes", versions, |view| documents::listed_runtime(&view))
        }
        Op::CreateAgentRuntimeEndpoint => endpoints::create(call, runtimes),
        Op::ListAgentRuntimeEndpoints => {
            let view = runtimes.view(call.parameter(0), None).map_err(of_runtime)?;
            call.page("runtimeEndpoints", view.endpoints, |endpoint| documents::listed_endpoint(&view.arn, &endpoint))
        }
        Op::GetAgentRuntimeEndpoint => endpoints::get(call, runtimes),
        Op::UpdateAgentRuntimeEndpoint => endpoints::update(call, runtimes),
        Op::DeleteAgentRuntimeEndpoint => endpoints::delete(call, runtimes),
    }
}

/// A version's number, from 1 to 99999.
fn version_number(text: &str) -> Result<u32, ServiceError> {
    let number = text.parse::<u32>().ok().filter(|number| (1..=99_999).contains(number) && !text.starts_with(['0', '+']));
    number.ok_or_else(|| {
        ServiceError::validation(format!(
            "1 validation error detected: Value '{text}' at 'agentRuntimeVersion' failed to satisfy constraint: \
             Member must satisfy regular expression pattern: ([1-9][0-9]{{0,4}})"
        ))
    })
}

/// What AWS says of an error of the service.
pub(crate) fn of_runtime(error: RuntimeError) -> ServiceError {
    match error {
        RuntimeError::Invalid(message) => ServiceError::validation(message),
        RuntimeError::NotFound(message) => ServiceError::resource_not_found(message),
        RuntimeError::Conflict(message) => ServiceError::conflict(message),
        RuntimeError::QuotaExceeded(message) => ServiceError::service_quota_exceeded(message),
        RuntimeError::File { .. } | RuntimeError::Store(_) => {
            tracing::error!(error = &error as &dyn std::error::Error, "AgentCore's control plane failed");
            ServiceError::internal_server(error.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_is_found_at_its_path() {
        for operation in OPERATIONS {
            let path = operation.path.replace("{agentRuntimeId}", "a-0123456789").replace("{endpointName}", "DEFAULT");
            let (found, _) = crate::operation::find(OPERATIONS, &operation.verb, &path).expect(operation.name);
            assert_eq!(found.id, operation.id);
        }
    }

    #[test]
    fn versions_are_numbers_without_ornament() {
        let check = |text: &str, expected: Option<u32>| assert_eq!(version_number(text).ok(), expected, "{text}");
        check("1", Some(1));
        check("99999", Some(99_999));
        for text in ["", "0", "01", "+1", "100000", "-1", "one"] {
            check(text, None);
        }
    }
}
