//! The operations that looking and mending take. They are no part of the deployer's table: who deploys need not be allowed to mend.

use frontdesk_deploy::call::operation::Operation;
use frontdesk_deploy::call::service::{API_GATEWAY, CLOUDWATCH, IAM, LAMBDA, LOGS, Service};
use frontdesk_deploy::call::{Aws, Call, CallError, Element};
use http::Method;
use serde_json::Value;

/// Lists longer than this are those of accounts that are not one desk's.
const PAGES_MAX: usize = 20;
/// API Gateway's largest page.
pub(crate) const PAGE_ITEMS: &str = "500";

const fn of(service: &'static Service, name: &'static str, verb: Method, path: &'static str) -> Operation {
    Operation { service, name, verb, path, action: None }
}

macro_rules! operations {
    ($($constant:ident = $service:ident $name:literal $verb:ident $path:literal;)*) => {
        $(pub(crate) static $constant: Operation = of(&$service, $name, Method::$verb, $path);)*
    };
}

operations! {
    GET_REST_APIS = API_GATEWAY "GetRestApis" GET "/restapis";
    GET_REST_API = API_GATEWAY "GetRestApi" GET "/restapis/{id}";
    GET_ACCOUNT = API_GATEWAY "GetAccount" GET "/account";
    GET_STAGES = API_GATEWAY "GetStages" GET "/restapis/{id}/stages";
    UPDATE_STAGE = API_GATEWAY "UpdateStage" PATCH "/restapis/{id}/stages/{stage}";
    GET_RESOURCES = API_GATEWAY "GetResources" GET "/restapis/{id}/resources";
    PUT_INTEGRATION = API_GATEWAY "PutIntegration" PUT "/restapis/{id}/resources/{resource}/methods/{verb}/integration";
    UPDATE_INTEGRATION = API_GATEWAY "UpdateIntegration" PATCH "/restapis/{id}/resources/{resource}/methods/{verb}/integration";
    CREATE_DEPLOYMENT = API_GATEWAY "CreateDeployment" POST "/restapis/{id}/deployments";
    GET_API_KEYS = API_GATEWAY "GetApiKeys" GET "/apikeys";
    UPDATE_API_KEY = API_GATEWAY "UpdateApiKey" PATCH "/apikeys/{id}";
    GET_USAGE_PLANS = API_GATEWAY "GetUsagePlans" GET "/usageplans";
    UPDATE_USAGE_PLAN = API_GATEWAY "UpdateUsagePlan" PATCH "/usageplans/{id}";
    GET_USAGE_PLAN_KEYS = API_GATEWAY "GetUsagePlanKeys" GET "/usageplans/{id}/keys";
    CREATE_USAGE_PLAN_KEY = API_GATEWAY "CreateUsagePlanKey" POST "/usageplans/{id}/keys";
    GET_USAGE = API_GATEWAY "GetUsage" GET "/usageplans/{id}/usage";
    UPDATE_USAGE = API_GATEWAY "UpdateUsage" PATCH "/usageplans/{id}/keys/{key}/usage";

    LIST_FUNCTIONS = LAMBDA "ListFunctions" GET "/2015-03-31/functions";
    GET_FUNCTION = LAMBDA "GetFunction" GET "/2015-03-31/functions/{name}";
    GET_POLICY = LAMBDA "GetPolicy" GET "/2015-03-31/functions/{name}/policy";
    ADD_PERMISSION = LAMBDA "AddPermission" POST "/2015-03-31/functions/{name}/policy";
    UPDATE_FUNCTION_CONFIGURATION = LAMBDA "UpdateFunctionConfiguration" PUT "/2015-03-31/functions/{name}/configuration";
    INVOKE = LAMBDA "Invoke" POST "/2015-03-31/functions/{name}/invocations";

    DESCRIBE_LOG_GROUPS = LOGS "DescribeLogGroups" POST "/";
    DESCRIBE_ALARMS = CLOUDWATCH "DescribeAlarms" POST "/";

    LIST_ROLES = IAM "ListRoles" POST "/";
    LIST_POLICY_VERSIONS = IAM "ListPolicyVersions" POST "/";
    LIST_ATTACHED_ROLE_POLICIES = IAM "ListAttachedRolePolicies" POST "/";
    LIST_ROLE_POLICIES = IAM "ListRolePolicies" POST "/";
    LIST_USERS = IAM "ListUsers" POST "/";
    LIST_ACCESS_KEYS = IAM "ListAccessKeys" POST "/";
    LIST_GROUPS_FOR_USER = IAM "ListGroupsForUser" POST "/";
    LIST_ATTACHED_USER_POLICIES = IAM "ListAttachedUserPolicies" POST "/";
    LIST_USER_POLICIES = IAM "ListUserPolicies" POST "/";
    LIST_GROUPS = IAM "ListGroups" POST "/";
    LIST_ATTACHED_GROUP_POLICIES = IAM "ListAttachedGroupPolicies" POST "/";
    LIST_GROUP_POLICIES = IAM "ListGroupPolicies" POST "/";
    GET_ROLE_POLICY = IAM "GetRolePolicy" POST "/";
    LIST_POLICIES = IAM "ListPolicies" POST "/";
    GET_POLICY_OF_IAM = IAM "GetPolicy" POST "/";
    GET_POLICY_VERSION = IAM "GetPolicyVersion" POST "/";
    ATTACH_ROLE_POLICY = IAM "AttachRolePolicy" POST "/";
    PUT_ROLE_POLICY = IAM "PutRolePolicy" POST "/";
    CREATE_POLICY_VERSION = IAM "CreatePolicyVersion" POST "/";
}

pub(crate) fn is_absent(error: &CallError) -> bool {
    error.refusal().is_some_and(|refusal| refusal.status == http::StatusCode::NOT_FOUND || refusal.code.starts_with("NoSuchEntity"))
}

pub(crate) async fn document(aws: &Aws, call: Call<'_>) -> Result<Value, CallError> {
    aws.send(call).await?.json()
}

pub(crate) async fn xml(aws: &Aws, call: Call<'_>) -> Result<Element, CallError> {
    aws.send(call).await?.xml()
}

/// All items of a list of API Gateway's.
pub(crate) async fn pages(
    aws: &Aws,
    operation: &'static Operation,
    path: &[(&'static str, &str)],
    query: &[(&'static str, &str)],
) -> Result<Vec<Value>, CallError> {
    let (mut found, mut position) = (Vec::new(), None::<String>);
    for _ in 0..PAGES_MAX {
        let mut call = Call::new(operation, operation.name).parameter("limit", PAGE_ITEMS);
        for (name, value) in path {
            call = call.path(name, value);
        }
        for (name, value) in query {
            call = call.parameter(name, *value);
        }
        if let Some(position) = &position {
            call = call.parameter("position", position.as_str());
        }
        let page = document(aws, call).await?;
        found.extend(items(&page).cloned());
        position = page["position"].as_str().map(str::to_owned);
        if position.is_none() {
            break;
        }
    }
    Ok(found)
}

/// The names of all functions.
pub(crate) async fn function_names(aws: &Aws) -> Result<Vec<String>, CallError> {
    let (mut names, mut marker) = (Vec::new(), None::<String>);
    for _ in 0..PAGES_MAX {
        let call = Call::new(&LIST_FUNCTIONS, "functions").parameters(marker.map(|marker| ("Marker", marker)));
        let page = document(aws, call).await?;
        names.extend(page["Functions"].as_array().into_iter().flatten().map(|function| text(function, "FunctionName")));
        marker = page["NextMarker"].as_str().filter(|marker| !marker.is_empty()).map(str::to_owned);
        if marker.is_none() {
            break;
        }
    }
    Ok(names)
}

/// `item` on the wire.
pub(crate) fn items(page: &Value) -> impl Iterator<Item = &Value> {
    page.get("item").or_else(|| page.get("items")).and_then(Value::as_array).into_iter().flatten()
}

pub(crate) fn text(document: &Value, name: &str) -> String {
    document[name].as_str().unwrap_or_default().to_owned()
}
