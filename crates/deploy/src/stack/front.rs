//! The front door: a regional REST API with `/invoke` and `/stream`, a key required, CORS on preflights and on API Gateway's own answers, a deployment, a stage
//! and the access log.
//!
//! Sources: "Set up a Lambda proxy integration with payload response streaming"
//! (<https://docs.aws.amazon.com/apigateway/latest/developerguide/response-transfer-mode-lambda.html>), "Gateway responses" of the same guide.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::access_log::AccessLog;
use super::proxy::{self, ProxyFunction};
use super::template::{Resource, Template, attribute, reference, substitute};
use super::{HAS_NO_LOG_ROLE, LOG_ACCOUNT, StackSettings};

/// The REST API.
pub(super) const API: &str = "Api";
/// The stage.
pub(super) const STAGE: &str = "Stage";
/// The access log.
pub(super) const LOGS: &str = "AccessLogs";

/// The headers that let a page of any origin read an answer, as the API's documentation names them.
const CORS: [(&str, &str); 3] = [
    ("Access-Control-Allow-Headers", "'Content-Type,x-api-key'"),
    ("Access-Control-Allow-Methods", "'POST,OPTIONS'"),
    ("Access-Control-Allow-Origin", "'*'"),
];
/// API Gateway's own answers, of which every refusal is one: without CORS a page sees no 403 and no 429.
const GATEWAY_RESPONSES: [(&str, &str); 2] = [("RefusedResponse", "DEFAULT_4XX"), ("FailedResponse", "DEFAULT_5XX")];
/// Hexadecimal digits of the API's hash in the deployment's name.
const HASH_DIGITS: usize = 16;

pub(super) fn put(template: &mut Template, settings: &StackSettings, access_log: &AccessLog) {
    let group = json!({ "LogGroupName": format!("/aws/apigateway/{}", settings.name.with("access")), "RetentionInDays": settings.log_retention_days });
    template.resources.put(LOGS, Resource::new("AWS::Logs::LogGroup", group));
    let api = api(settings);
    // A deployment is a copy of the API as it was: one with another name is made whenever the API changes.
    let mut hash = Sha256::new();
    for (name, resource) in &api {
        hash.update(name);
        hash.update(resource.properties.to_string());
    }
    let hash = hex::encode_upper(hash.finalize());
    let deployment = format!("Deployment{}", &hash[..HASH_DIGITS]);
    let parts: Vec<_> = api.iter().map(|(name, _)| name.clone()).filter(|name| name != API).collect();
    for (name, resource) in api {
        template.resources.put(name, resource);
    }
    let properties = json!({ "RestApiId": reference(API), "Description": "Made anew whenever the API changes" });
    template.resources.put(&*deployment, Resource::new("AWS::ApiGateway::Deployment", properties).after(parts));
    let stage = Resource::new("AWS::ApiGateway::Stage", stage(&deployment, settings, access_log));
    template.resources.put(STAGE, stage);
}

fn stage(deployment: &str, settings: &StackSettings, access_log: &AccessLog) -> Value {
    let destination = substitute(format!("arn:${{AWS::Partition}}:logs:${{AWS::Region}}:${{AWS::AccountId}}:log-group:${{{LOGS}}}"));
    // API Gateway refuses an access log while the account has no role to write it with. The mention makes the stage wait for the role, where the stack makes it;
    // a plain dependency must not be on what may not be made.
    let description =
        json!({ "Fn::If": [HAS_NO_LOG_ROLE, substitute(format!("Logs by ${{{LOG_ACCOUNT}}}")), "Logs by the account's own role"] });
    json!({
        "Description": description,
        "RestApiId": reference(API),
        "DeploymentId": reference(deployment),
        "StageName": settings.stage,
        "AccessLogSetting": { "DestinationArn": destination, "Format": access_log.format },
        "MethodSettings": [{
            "ResourcePath": "/*",
            "HttpMethod": "*",
            "ThrottlingRateLimit": settings.all_keys.rate_limit,
            "ThrottlingBurstLimit": settings.all_keys.burst_limit,
            // Bodies are questions and answers: they are logged nowhere.
            "DataTraceEnabled": false,
            "LoggingLevel": "OFF",
        }],
    })
}

/// What a deployment copies.
fn api(settings: &StackSettings) -> Vec<(String, Resource)> {
    let api = json!({
        "Name": settings.name.with("api"),
        "Description": "The agent, for holders of an API key",
        "EndpointConfiguration": { "Types": ["REGIONAL"] },
        "ApiKeySourceType": "HEADER",
    });
    let mut resources = vec![(API.to_owned(), Resource::new("AWS::ApiGateway::RestApi", api))];
    let uses = [
        (proxy::INVOKE, "Invoke", json!({ "TimeoutInMillis": settings.timeouts.integration_ms })),
        (proxy::STREAM, "Stream", json!({ "TimeoutInMillis": settings.timeouts.stream_s * 1000, "ResponseTransferMode": "STREAM" })),
    ];
    for (proxy, name, extra) in uses {
        let resource = json!({ "RestApiId": reference(API), "ParentId": attribute(API, "RootResourceId"), "PathPart": proxy.path });
        let path = format!("{name}Path");
        resources.push((path.clone(), Resource::new("AWS::ApiGateway::Resource", resource)));
        resources.push((format!("{name}Post"), Resource::new("AWS::ApiGateway::Method", post(&path, &proxy, extra))));
        resources.push((format!("{name}Options"), Resource::new("AWS::ApiGateway::Method", preflight(&path))));
    }
    for (name, response_type) in GATEWAY_RESPONSES {
        let parameters: serde_json::Map<_, _> =
            CORS.iter().map(|(header, value)| (format!("gatewayresponse.header.{header}"), json!(value))).collect();
        let response = json!({ "RestApiId": reference(API), "ResponseType": response_type, "ResponseParameters": parameters });
        resources.push((name.to_owned(), Resource::new("AWS::ApiGateway::GatewayResponse", response)));
    }
    resources
}

fn post(path: &str, proxy: &ProxyFunction, extra: Value) -> Value {
    let is_streaming = extra.get("ResponseTransferMode").is_some();
    let (version, action) = if is_streaming { ("2021-11-15", "response-streaming-invocations") } else { ("2015-03-31", "invocations") };
    let uri =
        format!("arn:${{AWS::Partition}}:apigateway:${{AWS::Region}}:lambda:path/{version}/functions/${{{}.Arn}}/{action}", proxy.function);
    let mut integration = json!({ "Type": "AWS_PROXY", "IntegrationHttpMethod": "POST", "Uri": substitute(uri) });
    for (name, value) in extra.as_object().into_iter().flatten() {
        integration[name] = value.clone();
    }
    json!({
        "RestApiId": reference(API),
        "ResourceId": reference(path),
        "HttpMethod": "POST",
        "AuthorizationType": "NONE",
        "ApiKeyRequired": true,
        "Integration": integration,
    })
}

/// OPTIONS, answered by API Gateway itself and without a key: browsers send none with it.
fn preflight(path: &str) -> Value {
    let name = |header: &str| format!("method.response.header.{header}");
    let declared: serde_json::Map<_, _> = CORS.iter().map(|(header, _)| (name(header), json!(true))).collect();
    let given: serde_json::Map<_, _> = CORS.iter().map(|(header, value)| (name(header), json!(value))).collect();
    json!({
        "RestApiId": reference(API),
        "ResourceId": reference(path),
        "HttpMethod": "OPTIONS",
        "AuthorizationType": "NONE",
        "ApiKeyRequired": false,
        "Integration": {
            "Type": "MOCK",
            "RequestTemplates": { "application/json": "{\"statusCode\": 200}" },
            "IntegrationResponses": [{ "StatusCode": "200", "ResponseParameters": given }],
        },
        "MethodResponses": [{ "StatusCode": "200", "ResponseParameters": declared }],
    })
}
