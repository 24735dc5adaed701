//! API Gateway's documents: what is shown of an API, a stage, a key, a plan. Members without a value are left out, moments are epoch seconds.

use std::collections::BTreeMap;

use frontdesk_store::{
    ApiKey, Deployment, GatewayResponse, Integration, IntegrationResponse, Method, MethodResponse, MethodSettings, Resource, RestApi,
    Stage, Throttle, UsagePlan,
};
use serde_json::{Map, Value, json};

/// Takes out members that are null, at any depth.
pub(super) fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(members) => Value::Object(
            members.into_iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| (name, without_nulls(value))).collect(),
        ),
        Value::Array(items) => items.into_iter().map(without_nulls).collect(),
        other => other,
    }
}

/// A map, or nothing where it is empty.
fn filled<T: serde::Serialize>(map: &BTreeMap<String, T>) -> Value {
    if map.is_empty() { Value::Null } else { json!(map) }
}

pub(super) fn rest_api(api: &RestApi) -> Value {
    let root = api.resources.values().find(|resource| resource.parent_id.is_none()).map(|root| &root.id);
    without_nulls(json!({
        "id": api.id,
        "name": api.name,
        "description": api.description,
        "version": api.version,
        "createdDate": api.created_at,
        "binaryMediaTypes": (!api.binary_media_types.is_empty()).then_some(&api.binary_media_types),
        "apiKeySource": api.api_key_source,
        "endpointConfiguration": { "types": [api.endpoint_type] },
        "disableExecuteApiEndpoint": false,
        "rootResourceId": root,
        "tags": filled(&api.tags),
    }))
}

pub(super) fn resource(resource: &Resource, with_methods: bool) -> Value {
    let methods: Map<String, Value> = resource
        .methods
        .iter()
        .map(|(verb, of)| (verb.clone(), if with_methods { method(verb, of, &resource.id) } else { json!({}) }))
        .collect();
    without_nulls(json!({
        "id": resource.id,
        "parentId": resource.parent_id,
        "pathPart": resource.path_part,
        "path": resource.path,
        "resourceMethods": (!methods.is_empty()).then_some(methods),
    }))
}

pub(super) fn method(verb: &str, method: &Method, resource_id: &str) -> Value {
    let responses: Map<String, Value> =
        method.method_responses.iter().map(|(status, response)| (status.clone(), method_response(status, response))).collect();
    without_nulls(json!({
        "httpMethod": verb,
        "authorizationType": method.authorization_type,
        "apiKeyRequired": method.api_key_required,
        "operationName": method.operation_name,
        "requestParameters": filled(&method.request_parameters),
        "methodResponses": (!responses.is_empty()).then_some(responses),
        "methodIntegration": method.integration.as_ref().map(|of| integration(of, resource_id)),
    }))
}

pub(super) fn method_response(status: &str, response: &MethodResponse) -> Value {
    without_nulls(json!({
        "statusCode": status,
        "responseParameters": filled(&response.response_parameters),
        "responseModels": filled(&response.response_models),
    }))
}

pub(super) fn integration(integration: &Integration, resource_id: &str) -> Value {
    let responses: Map<String, Value> =
        integration.responses.iter().map(|(status, response)| (status.clone(), integration_response(status, response))).collect();
    without_nulls(json!({
        "type": integration.kind.name(),
        "httpMethod": integration.http_method,
        "uri": integration.uri,
        "credentials": integration.credentials,
        "requestParameters": filled(&integration.request_parameters),
        "requestTemplates": filled(&integration.request_templates),
        "passthroughBehavior": integration.passthrough_behavior,
        "timeoutInMillis": integration.timeout_ms,
        "responseTransferMode": integration.is_streaming.then_some("STREAM"),
        "cacheNamespace": resource_id,
        "cacheKeyParameters": integration.cache_key_parameters,
        "integrationResponses": (!responses.is_empty()).then_some(responses),
    }))
}

pub(super) fn integration_response(status: &str, response: &IntegrationResponse) -> Value {
    without_nulls(json!({
        "statusCode": status,
        "selectionPattern": response.selection_pattern,
        "responseParameters": filled(&response.response_parameters),
        "responseTemplates": filled(&response.response_templates),
    }))
}

pub(super) fn gateway_response(response_type: &str, response: Option<&GatewayResponse>) -> Value {
    let default = GatewayResponse::default();
    let known = response.unwrap_or(&default);
    without_nulls(json!({
        "responseType": response_type,
        "statusCode": known.status_code.map(|status| status.to_string()),
        "responseParameters": known.response_parameters,
        "responseTemplates": known.response_templates,
        "defaultResponse": response.is_none(),
    }))
}

pub(super) fn deployment(deployment: &Deployment) -> Value {
    without_nulls(json!({ "id": deployment.id, "description": deployment.description, "createdDate": deployment.created_at }))
}

pub(super) fn stage(stage: &Stage) -> Value {
    let settings: Map<String, Value> =
        stage.method_settings.iter().map(|(key, settings)| (shown_key(key), method_settings(settings))).collect();
    let log = stage.access_log.as_ref().map(|log| json!({ "destinationArn": log.destination_arn, "format": log.format }));
    without_nulls(json!({
        "deploymentId": stage.deployment_id,
        "stageName": stage.name,
        "description": stage.description,
        "cacheClusterEnabled": stage.is_cached,
        "cacheClusterSize": stage.cache_cluster_size,
        "cacheClusterStatus": if stage.is_cached { "AVAILABLE" } else { "NOT_AVAILABLE" },
        "methodSettings": settings,
        "variables": filled(&stage.variables),
        "accessLogSettings": log,
        "tracingEnabled": stage.is_traced,
        "tags": filled(&stage.tags),
        "createdDate": stage.created_at,
        "lastUpdatedDate": stage.updated_at,
    }))
}

/// `invoke/POST` for `~1invoke/POST`: API Gateway takes the one and shows the other.
fn shown_key(key: &str) -> String {
    match key.rsplit_once('/') {
        Some((path, verb)) if path.len() > 2 => format!("{}/{verb}", path.replace("~1", "/").trim_start_matches('/')),
        _ => key.to_owned(),
    }
}

fn method_settings(settings: &MethodSettings) -> Value {
    without_nulls(json!({
        "metricsEnabled": settings.has_metrics.unwrap_or(false),
        "loggingLevel": settings.logging_level.as_deref().unwrap_or("OFF"),
        "dataTraceEnabled": settings.logs_data.unwrap_or(false),
        "throttlingRateLimit": settings.throttle.map(|throttle| throttle.rate_limit),
        "throttlingBurstLimit": settings.throttle.map(|throttle| throttle.burst_limit),
        "cachingEnabled": settings.is_cached.unwrap_or(false),
        "cacheTtlInSeconds": settings.cache_ttl_s.unwrap_or(300),
        "cacheDataEncrypted": false,
    }))
}

pub(super) fn api_key(key: &ApiKey, value: Option<&str>, stages: &[String]) -> Value {
    without_nulls(json!({
        "id": key.id.0,
        "value": value,
        "name": key.name,
        "description": (!key.description.is_empty()).then_some(&key.description),
        "enabled": key.enabled,
        "createdDate": key.created_at,
        "lastUpdatedDate": key.updated_at,
        "stageKeys": stages,
        "tags": filled(&key.tags),
    }))
}

pub(super) fn usage_plan(plan: &UsagePlan) -> Value {
    let throttle = |throttle: Throttle| json!({ "burstLimit": throttle.burst_limit, "rateLimit": throttle.rate_limit });
    let stages: Vec<Value> = plan
        .stages
        .iter()
        .map(|open| {
            let of_methods: BTreeMap<String, Value> =
                open.method_throttles.iter().map(|(method, of)| (method.clone(), throttle(*of))).collect();
            json!({ "apiId": open.stage.api_id, "stage": open.stage.stage, "throttle": filled(&of_methods) })
        })
        .collect();
    without_nulls(json!({
        "id": plan.id.0,
        "name": plan.name,
        "description": (!plan.description.is_empty()).then_some(&plan.description),
        "apiStages": stages,
        "throttle": plan.throttle.map(throttle),
        "quota": plan.quota.map(|quota| json!({ "limit": quota.limit, "offset": quota.offset, "period": quota.period.name() })),
    }))
}

pub(super) fn usage_plan_key(key: &ApiKey, value: Option<&str>) -> Value {
    without_nulls(json!({ "id": key.id.0, "type": "API_KEY", "value": value, "name": key.name }))
}
