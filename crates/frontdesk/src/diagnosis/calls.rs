//! The operations that looking and mending take. They are no part of the deployer's table: who deploys need not be allowed to mend.

use frontdesk_deploy::call::operation::Operation;
use frontdesk_deploy::call::service::{API_GATEWAY, IAM, LAMBDA, Service};
use http::Method;

const fn of(service: &'static Service, name: &'static str, verb: Method, path: &'static str) -> Operation {
    Operation { service, name, verb, path, action: None }
}

macro_rules! operations {
    ($($constant:ident = $service:ident $name:literal $verb:ident $path:literal;)*) => {
        $(pub(super) static $constant: Operation = of(&$service, $name, Method::$verb, $path);)*
    };
}

operations! {
    GET_REST_API = API_GATEWAY "GetRestApi" GET "/restapis/{id}";
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
    DELETE_FUNCTION_CONCURRENCY = LAMBDA "DeleteFunctionConcurrency" DELETE "/2017-10-31/functions/{name}/concurrency";
    INVOKE = LAMBDA "Invoke" POST "/2015-03-31/functions/{name}/invocations";

    LIST_ATTACHED_ROLE_POLICIES = IAM "ListAttachedRolePolicies" POST "/";
    LIST_ROLE_POLICIES = IAM "ListRolePolicies" POST "/";
    GET_ROLE_POLICY = IAM "GetRolePolicy" POST "/";
    LIST_POLICIES = IAM "ListPolicies" POST "/";
    GET_POLICY_OF_IAM = IAM "GetPolicy" POST "/";
    GET_POLICY_VERSION = IAM "GetPolicyVersion" POST "/";
    ATTACH_ROLE_POLICY = IAM "AttachRolePolicy" POST "/";
    PUT_ROLE_POLICY = IAM "PutRolePolicy" POST "/";
    CREATE_POLICY_VERSION = IAM "CreatePolicyVersion" POST "/";
}
