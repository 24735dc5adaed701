//! API Gateway's control plane (service `apigateway`, rest-json): REST APIs, deployments, stages, keys, plans and usage, over the gateway's service layer
//! (<https://docs.aws.amazon.com/apigateway/latest/api/API_Operations.html>).

mod account;
mod apis;
mod deployments;
mod documents;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod keys;
mod patch;
mod plans;
mod requests;
mod trial;

use std::sync::Arc;

use bytes::Bytes;
use frontdesk_aws::ServiceError;
use frontdesk_gateway::{ApiError, ApiService, Gateway, KeyService, KeyServiceError};
use frontdesk_store::StoreError;
use http::{HeaderValue, Method, Response, StatusCode, header};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::identity::{IdentityService, Principal};
use crate::operation::{operations, page_at, query_parameter};

/// The service's name in ARNs, in IAM actions and in signatures.
pub(crate) const SERVICE: &str = "apigateway";

/// A page of a list, unless its caller says otherwise, and at most.
const PAGE_ITEMS: usize = 25;
const PAGE_ITEMS_MAX: usize = 500;

operations! {
    ApiGateway:
    CreateRestApi POST "/restapis";
    GetRestApis GET "/restapis";
    GetRestApi GET "/restapis/{restapi_id}";
    UpdateRestApi PATCH "/restapis/{restapi_id}";
    DeleteRestApi DELETE "/restapis/{restapi_id}";
    GetResources GET "/restapis/{restapi_id}/resources";
    CreateResource POST "/restapis/{restapi_id}/resources/{parent_id}";
    GetResource GET "/restapis/{restapi_id}/resources/{resource_id}";
    DeleteResource DELETE "/restapis/{restapi_id}/resources/{resource_id}";
    PutMethod PUT "/restapis/{restapi_id}/resources/{resource_id}/methods/{http_method}";
    GetMethod GET "/restapis/{restapi_id}/resources/{resource_id}/methods/{http_method}";
    UpdateMethod PATCH "/restapis/{restapi_id}/resources/{resource_id}/methods/{http_method}";
    TestInvokeMethod POST "/restapis/{restapi_id}/resources/{resource_id}/methods/{http_method}";
    DeleteMethod DELETE "/restapis/{restapi_id}/resources/{resource_id}/methods/{http_method}";
    PutMethodResponse PUT "/restapis/{restapi_id}/resources/{resource_id}/methods/{http_method}/responses/{status_code}";
    GetMethodResponse GET "/restapis/{restapi_id}/resources/{resource_id}/methods/{http_method}/responses/{status_code}";
    DeleteMethodResponse DELETE "/restapis/{restapi_id}/resources/{resource_id}/methods/{http_method}/responses/{status_code}";
    PutIntegration PUT "/restapis/{restapi_id}/resources/{resource_id}/methods/{http_method}/integration";
    GetIntegration GET "/restapis/{restapi_id}/resources/{resource_id}/methods/{http_method}/integration";
    UpdateIntegration PATCH "/restapis/{restapi_id}/resources/{resource_id}/methods/{http_method}/integration";
    DeleteIntegration DELETE "/restapis/{restapi_id}/resources/{resource_id}/methods/{http_method}/integration";
    PutIntegrationResponse PUT "/restapis/{restapi_id}/resources/{resource_id}/methods/{http_method}/integration/responses/{status_code}";
    GetIntegrationResponse GET "/restapis/{restapi_id}/resources/{resource_id}/methods/{http_method}/integration/responses/{status_code}";
    DeleteIntegrationResponse DELETE "/restapis/{restapi_id}/resources/{resource_id}/methods/{http_method}/integration/responses/{status_code}";
    GetGatewayResponses GET "/restapis/{restapi_id}/gatewayresponses";
    PutGatewayResponse PUT "/restapis/{restapi_id}/gatewayresponses/{response_type}";
    GetGatewayResponse GET "/restapis/{restapi_id}/gatewayresponses/{response_type}";
    DeleteGatewayResponse DELETE "/restapis/{restapi_id}/gatewayresponses/{response_type}";
    CreateDeployment POST "/restapis/{restapi_id}/deployments";
    GetDeployments GET "/restapis/{restapi_id}/deployments";
    GetDeployment GET "/restapis/{restapi_id}/deployments/{deployment_id}";
    DeleteDeployment DELETE "/restapis/{restapi_id}/deployments/{deployment_id}";
    CreateStage POST "/restapis/{restapi_id}/stages";
    GetStages GET "/restapis/{restapi_id}/stages";
    GetStage GET "/restapis/{restapi_id}/stages/{stage_name}";
    UpdateStage PATCH "/restapis/{restapi_id}/stages/{stage_name}";
    DeleteStage DELETE "/restapis/{restapi_id}/stages/{stage_name}";
    FlushStageCache DELETE "/restapis/{restapi_id}/stages/{stage_name}/cache/data";
    CreateApiKey POST "/apikeys";
    GetApiKeys GET "/apikeys";
    GetApiKey GET "/apikeys/{api_Key}";
    UpdateApiKey PATCH "/apikeys/{api_Key}";
    DeleteApiKey DELETE "/apikeys/{api_Key}";
    CreateUsagePlan POST "/usageplans";
    GetUsagePlans GET "/usageplans";
    GetUsagePlan GET "/usageplans/{usageplanId}";
    UpdateUsagePlan PATCH "/usageplans/{usageplanId}";
    DeleteUsagePlan DELETE "/usageplans/{usageplanId}";
    CreateUsagePlanKey POST "/usageplans/{usageplanId}/keys";
    GetUsagePlanKeys GET "/usageplans/{usageplanId}/keys";
    GetUsagePlanKey GET "/usageplans/{usageplanId}/keys/{keyId}";
    DeleteUsagePlanKey DELETE "/usageplans/{usageplanId}/keys/{keyId}";
    GetUsage GET "/usageplans/{usageplanId}/usage";
    UpdateUsage PATCH "/usageplans/{usageplanId}/keys/{keyId}/usage";
    GetAccount GET "/account";
    UpdateAccount PATCH "/account";
}

/// A call, verified.
pub(crate) struct Call {
    pub(crate) operation: ApiGateway,
    /// The path's parameters, decoded.
    pub(crate) parameters: Vec<String>,
    /// The query, undecoded.
    pub(crate) query: String,
    pub(crate) body: Bytes,
    pub(crate) now_unix: i64,
}

impl Call {
    fn parameter(&self, index: usize) -> &str {
        self.parameters.get(index).map_or("", String::as_str)
    }

    /// A value of the query, decoded.
    fn query_value(&self, name: &str) -> Option<String> {
        let value = query_parameter(&self.query, name)?;
        Some(percent_encoding::percent_decode_str(&value.replace('+', " ")).decode_utf8_lossy().into_owned())
    }

    fn is_set(&self, name: &str) -> bool {
        self.query_value(name).as_deref() == Some("true")
    }

    /// The body; an empty one stands for a document without members.
    fn read<T: DeserializeOwned>(&self) -> Result<T, ServiceError> {
        let body: &[u8] = if self.body.is_empty() { b"{}" } else { &self.body };
        serde_json::from_slice(body).map_err(|error| bad_request(format!("Invalid request input: {error}")))
    }

    /// The page of a list that the query asks for.
    fn page<T>(&self, items: Vec<T>, document: impl Fn(T) -> Value) -> Result<Value, ServiceError> {
        let number = |name: &str| match self.query_value(name) {
            None => Ok(None),
            Some(text) => text.parse::<usize>().map(Some).map_err(|_| bad_request(format!("Invalid {name} specified: {text}"))),
        };
        let limit = number("limit")?.unwrap_or(PAGE_ITEMS).clamp(1, PAGE_ITEMS_MAX);
        let begin = number("position")?.unwrap_or(0);
        let (page, position) = page_at(items, begin, limit);
        let page: Vec<Value> = page.into_iter().map(document).collect();
        Ok(documents::without_nulls(json!({ "item": page, "position": position })))
    }
}

/// What the operations work on.
#[derive(Debug, Clone)]
pub(crate) struct Rooms {
    pub(crate) apis: Arc<ApiService>,
    pub(crate) keys: Arc<KeyService>,
    /// Who says which role trusts whom; without it none does.
    pub(crate) identities: Option<Arc<IdentityService>>,
    /// Who calls what is behind a method that is tried; without it none can be.
    pub(crate) gateway: Option<Arc<Gateway>>,
}

/// What an operation answers: a status and a document.
type Answer = Result<(StatusCode, Value), ServiceError>;

/// Checks that a principal may, with the verb as the action and the path as the resource
/// (<https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-iam-policy-examples.html>).
///
/// # Errors
/// AccessDeniedException.
pub(crate) fn authorize(principal: &Principal, region: &str, verb: &Method, path: &str) -> Result<(), ServiceError> {
    principal.authorize(&format!("{SERVICE}:{verb}"), &[&format!("arn:aws:apigateway:{region}::{path}")])
}

/// Performs one operation. All but one block on the database, so they run on a blocking thread.
///
/// # Errors
/// API Gateway's own: NotFoundException, BadRequestException, ConflictException, LimitExceededException.
pub(crate) async fn perform(call: Call, rooms: Rooms) -> Result<Response<Bytes>, ServiceError> {
    let (status, document) = match call.operation {
        ApiGateway::TestInvokeMethod => trial::test_invoke(&call, &rooms).await?,
        _ => {
            let done = tokio::task::spawn_blocking(move || answer(&call, &rooms)).await;
            done.map_err(|panicked| ServiceError::internal_server(panicked.to_string()))??
        }
    };
    let body = if document.is_null() { Bytes::new() } else { Bytes::from(document.to_string()) };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

fn answer(call: &Call, rooms: &Rooms) -> Answer {
    use ApiGateway as Op;
    match call.operation {
        Op::CreateRestApi | Op::GetRestApis | Op::GetRestApi | Op::UpdateRestApi | Op::DeleteRestApi => apis::rest_api(call, &rooms.apis),
        Op::GetResources | Op::CreateResource | Op::GetResource | Op::DeleteResource => apis::resource(call, &rooms.apis),
        Op::PutMethod | Op::GetMethod | Op::UpdateMethod | Op::DeleteMethod => apis::method(call, &rooms.apis),
        Op::TestInvokeMethod => unreachable!("it waits for what is behind the method: see `perform`"),
        Op::PutMethodResponse | Op::GetMethodResponse | Op::DeleteMethodResponse => apis::method_response(call, &rooms.apis),
        Op::PutIntegration | Op::GetIntegration | Op::UpdateIntegration | Op::DeleteIntegration => apis::integration(call, &rooms.apis),
        Op::PutIntegrationResponse | Op::GetIntegrationResponse | Op::DeleteIntegrationResponse => {
            apis::integration_response(call, &rooms.apis)
        }
        Op::GetGatewayResponses | Op::PutGatewayResponse | Op::GetGatewayResponse | Op::DeleteGatewayResponse => {
            apis::gateway_response(call, &rooms.apis)
        }
        Op::CreateDeployment | Op::GetDeployments | Op::GetDeployment | Op::DeleteDeployment => deployments::deployment(call, &rooms.apis),
        Op::CreateStage | Op::GetStages | Op::GetStage | Op::UpdateStage | Op::DeleteStage | Op::FlushStageCache => {
            deployments::stage(call, &rooms.apis)
        }
        Op::CreateApiKey | Op::GetApiKeys | Op::GetApiKey | Op::UpdateApiKey | Op::DeleteApiKey => keys::api_key(call, rooms),
        Op::CreateUsagePlan | Op::GetUsagePlans | Op::GetUsagePlan | Op::UpdateUsagePlan | Op::DeleteUsagePlan => {
            plans::usage_plan(call, rooms)
        }
        Op::CreateUsagePlanKey | Op::GetUsagePlanKeys | Op::GetUsagePlanKey | Op::DeleteUsagePlanKey => plans::usage_plan_key(call, rooms),
        Op::GetUsage | Op::UpdateUsage => plans::usage(call, rooms),
        Op::GetAccount | Op::UpdateAccount => account::account(call, rooms),
    }
}

fn bad_request(message: impl Into<String>) -> ServiceError {
    ServiceError::new(StatusCode::BAD_REQUEST, "BadRequestException", message)
}

fn not_found(message: impl Into<String>) -> ServiceError {
    ServiceError::new(StatusCode::NOT_FOUND, "NotFoundException", message)
}

fn conflict(message: impl Into<String>) -> ServiceError {
    ServiceError::new(StatusCode::CONFLICT, "ConflictException", message)
}

fn broken(error: &(dyn std::error::Error + 'static)) -> ServiceError {
    tracing::error!(error, "API Gateway's control plane failed");
    ServiceError::internal_server(error.to_string())
}

fn of_api(error: ApiError) -> ServiceError {
    match error {
        ApiError::NotFound(message) => not_found(message),
        ApiError::BadRequest(message) => bad_request(message),
        ApiError::Conflict(message) => conflict(message),
        ApiError::LimitExceeded(message) => ServiceError::new(StatusCode::TOO_MANY_REQUESTS, "LimitExceededException", message),
        ApiError::Random(_) | ApiError::Store(_) => broken(&error),
    }
}

fn of_key(error: KeyServiceError) -> ServiceError {
    match &error {
        KeyServiceError::NoSuchKey(_) => not_found("Invalid API Key identifier specified"),
        KeyServiceError::NoSuchPlan(_) => not_found("Invalid Usage Plan ID specified"),
        KeyServiceError::NameTooLong
        | KeyServiceError::Value(_)
        | KeyServiceError::Invalid(_)
        | KeyServiceError::Import(_)
        | KeyServiceError::ValueNotKept(_)
        | KeyServiceError::Ambiguous { .. }
        | KeyServiceError::AmbiguousPlan { .. } => bad_request(error.to_string()),
        KeyServiceError::Store(StoreError::Exists { what }) if what.contains("value") => conflict("API Key already exists"),
        KeyServiceError::Store(StoreError::Exists { .. }) => conflict(error.to_string()),
        KeyServiceError::Random(_) | KeyServiceError::Store(_) => broken(&error),
    }
}
