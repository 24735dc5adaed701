//! The proxy: one image as two Lambda functions, since a function has one timeout and a stream may take longer than an answer.

use serde_json::{Value, json};

use super::template::{self, Resource, Template, allow, attribute, reference, substitute};
use super::{PROXY_IMAGE, StackSettings, agent, front};

/// What the functions print.
pub(super) const LOGS: &str = "ProxyLogs";
const ROLE: &str = "ProxyRole";

/// One of the functions and what is in front of it.
pub(super) struct ProxyFunction {
    pub(super) function: &'static str,
    pub(super) path: &'static str,
    /// The end of its name.
    part: &'static str,
    permission: &'static str,
}

/// Answers `/invoke`.
pub(super) const INVOKE: ProxyFunction = ProxyFunction { function: "Proxy", path: "invoke", part: "proxy", permission: "ProxyPermission" };
/// Answers `/stream`.
pub(super) const STREAM: ProxyFunction =
    ProxyFunction { function: "StreamProxy", path: "stream", part: "stream-proxy", permission: "StreamProxyPermission" };

pub(super) fn put(template: &mut Template, settings: &StackSettings) {
    let resources = &mut template.resources;
    let group =
        json!({ "LogGroupName": format!("/aws/lambda/{}", settings.name.with("proxy")), "RetentionInDays": settings.log_retention_days });
    resources.put(LOGS, Resource::new("AWS::Logs::LogGroup", group));
    resources.put(ROLE, Resource::new("AWS::IAM::Role", role()));
    let timeouts = settings.timeouts;
    for (proxy, timeout_s, caller_waits_ms) in
        [(INVOKE, timeouts.function_s, timeouts.integration_ms), (STREAM, timeouts.stream_s, timeouts.stream_s * 1000)]
    {
        let function = function(&proxy, timeout_s, caller_waits_ms, settings);
        resources.put(proxy.function, Resource::new("AWS::Lambda::Function", function));
        let source = format!(
            "arn:${{AWS::Partition}}:execute-api:${{AWS::Region}}:${{AWS::AccountId}}:${{{}}}/{}/POST/{}",
            front::API,
            settings.stage,
            proxy.path
        );
        let permission = json!({
            "Action": "lambda:InvokeFunction",
            "FunctionName": reference(proxy.function),
            "Principal": "apigateway.amazonaws.com",
            "SourceAccount": reference("AWS::AccountId"),
            "SourceArn": substitute(source),
        });
        resources.put(proxy.permission, Resource::new("AWS::Lambda::Permission", permission));
    }
}

fn function(proxy: &ProxyFunction, timeout_s: u64, caller_waits_ms: u64, settings: &StackSettings) -> Value {
    json!({
        "FunctionName": settings.name.with(proxy.part),
        "Description": format!("Signs calls of /{} for the agent", proxy.path),
        "PackageType": "Image",
        "Code": { "ImageUri": reference(PROXY_IMAGE) },
        "Architectures": ["arm64"],
        "MemorySize": settings.function_memory_mb,
        "Timeout": timeout_s,
        "Role": attribute(ROLE, "Arn"),
        "Environment": { "Variables": {
            "AGENT_RUNTIME_ARN": attribute(agent::RUNTIME, "AgentRuntimeArn"),
            "AGENT_RUNTIME_QUALIFIER": agent::ENDPOINT_NAME,
            "FRONTDESK_GATEWAY_INTEGRATION_TIMEOUT_MS": caller_waits_ms.to_string(),
            "FRONTDESK_GATEWAY_PROMPT_CHARS_MAX": settings.prompt_chars_max.to_string(),
        } },
        "LoggingConfig": { "LogFormat": "JSON", "LogGroup": reference(LOGS) },
    })
}

/// The runtime and its endpoint in the place of the guide's `*`: IAM asks for both.
fn role() -> Value {
    let runtime = json!([attribute(agent::RUNTIME, "AgentRuntimeArn"), attribute(agent::ENDPOINT, "AgentRuntimeEndpointArn")]);
    let statements = vec![
        allow("InvokeAgent", &["bedrock-agentcore:InvokeAgentRuntime"], runtime),
        allow("Logs", &["logs:CreateLogStream", "logs:PutLogEvents"], attribute(LOGS, "Arn")),
    ];
    template::role("The proxy runs with this", "lambda.amazonaws.com", None, statements)
}
