//! The agent: an AgentCore runtime, its endpoint, the role that it runs with, and where its output goes.
//!
//! Sources: the types `AWS::BedrockAgentCore::Runtime` and `RuntimeEndpoint` of CloudFormation's registry; "IAM permissions for AgentCore Runtime" of the
//! AgentCore developer guide (<https://docs.aws.amazon.com/bedrock-agentcore/latest/devguide/runtime-permissions.html>).

use serde_json::{Value, json};

use super::template::{self, Resource, Template, allow, attribute, reference, substitute};
use super::{AGENT_IMAGE, MODEL_KEY_SECRET, Model, StackSettings};

/// The runtime.
pub(super) const RUNTIME: &str = "AgentRuntime";
/// The endpoint that the proxy calls.
pub(super) const ENDPOINT: &str = "AgentEndpoint";
/// The endpoint's name. It follows each deployment; DEFAULT, which AgentCore makes by itself, is for calls past the API.
pub(super) const ENDPOINT_NAME: &str = "live";
/// What the endpoint's sessions print.
pub(super) const LOGS: &str = "AgentLogs";
const ROLE: &str = "AgentRole";

/// The header by which the proxy tells the agent its deadline; AgentCore hands on only headers that are listed.
const DEADLINE_HEADER: &str = "X-Amzn-Bedrock-AgentCore-Runtime-Custom-Deadline-Ms";
/// The variable that names the secret with the model provider's key.
const SECRET_VARIABLE: &str = "FRONTDESK_AGENT_API_KEY_SECRET";

pub(super) fn put(template: &mut Template, settings: &StackSettings) {
    let resources = &mut template.resources;
    resources.put(ROLE, Resource::new("AWS::IAM::Role", role(settings)));
    resources.put(RUNTIME, Resource::new("AWS::BedrockAgentCore::Runtime", runtime(settings)));
    let endpoint = json!({
        "AgentRuntimeId": attribute(RUNTIME, "AgentRuntimeId"),
        "AgentRuntimeVersion": attribute(RUNTIME, "AgentRuntimeVersion"),
        "Name": ENDPOINT_NAME,
        "Description": "What the API calls",
    });
    resources.put(ENDPOINT, Resource::new("AWS::BedrockAgentCore::RuntimeEndpoint", endpoint));
    // AgentCore would make these groups at the first call, and keep what is in them for ever.
    for (name, endpoint) in [(LOGS, ENDPOINT_NAME), ("AgentDefaultLogs", "DEFAULT")] {
        let group = substitute(format!("/aws/bedrock-agentcore/runtimes/${{{RUNTIME}.AgentRuntimeId}}-{endpoint}"));
        let group = json!({ "LogGroupName": group, "RetentionInDays": settings.log_retention_days });
        resources.put(name, Resource::new("AWS::Logs::LogGroup", group));
    }
}

fn runtime(settings: &StackSettings) -> Value {
    let mut variables: serde_json::Map<String, Value> =
        settings.agent_variables.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    if let Model::WithKey { key_variable } = &settings.model {
        variables.insert(SECRET_VARIABLE.to_owned(), reference(MODEL_KEY_SECRET));
        variables.insert("FRONTDESK_AGENT_API_KEY_VARIABLE".to_owned(), json!(key_variable));
    }
    let mut runtime = json!({
        "AgentRuntimeName": settings.name.agent_name(),
        "Description": "The agent behind the API",
        "AgentRuntimeArtifact": { "ContainerConfiguration": { "ContainerUri": reference(AGENT_IMAGE) } },
        "RoleArn": attribute(ROLE, "Arn"),
        "NetworkConfiguration": { "NetworkMode": "PUBLIC" },
        "ProtocolConfiguration": "HTTP",
        "LifecycleConfiguration": { "IdleRuntimeSessionTimeout": settings.idle_session_s, "MaxLifetime": settings.session_s_max },
        "RequestHeaderConfiguration": { "RequestHeaderAllowlist": [DEADLINE_HEADER] },
    });
    if !variables.is_empty() {
        runtime["EnvironmentVariables"] = Value::Object(variables);
    }
    runtime
}

/// What an agent needs and no more. The runtime's id is not known before the runtime is, and that needs the role: so its log groups are named up to the part
/// of the id that AgentCore makes up.
fn role(settings: &StackSettings) -> Value {
    let trust = json!({
        "StringEquals": { "aws:SourceAccount": reference("AWS::AccountId") },
        "ArnLike": { "aws:SourceArn": substitute("arn:${AWS::Partition}:bedrock-agentcore:${AWS::Region}:${AWS::AccountId}:*") },
    });
    let repository =
        substitute(format!("arn:${{AWS::Partition}}:ecr:${{AWS::Region}}:${{AWS::AccountId}}:repository/{}", settings.agent_repository));
    let groups = format!(
        "arn:${{AWS::Partition}}:logs:${{AWS::Region}}:${{AWS::AccountId}}:log-group:/aws/bedrock-agentcore/runtimes/{}-*",
        settings.name.agent_name()
    );
    let mut metrics = allow("Metrics", &["cloudwatch:PutMetricData"], json!("*"));
    metrics["Condition"] = json!({ "StringEquals": { "cloudwatch:namespace": "bedrock-agentcore" } });
    let mut statements = vec![
        allow("Image", &["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"], repository),
        // These know no resources.
        allow("ImageToken", &["ecr:GetAuthorizationToken"], json!("*")),
        allow("LogGroups", &["logs:CreateLogGroup", "logs:DescribeLogStreams"], substitute(groups.clone())),
        allow("Logs", &["logs:CreateLogStream", "logs:PutLogEvents"], substitute(format!("{groups}:log-stream:*"))),
        allow("Traces", &["xray:PutTraceSegments", "xray:PutTelemetryRecords"], json!("*")),
        metrics,
    ];
    match &settings.model {
        Model::Keyless => {}
        Model::Bedrock { id } => {
            let actions = ["bedrock:InvokeModel", "bedrock:InvokeModelWithResponseStream"];
            statements.push(allow("Model", &actions, bedrock_resources(id)));
        }
        Model::WithKey { .. } => statements.push(allow("ModelKey", &["secretsmanager:GetSecretValue"], reference(MODEL_KEY_SECRET))),
    }
    template::role("The agent runs with this", "bedrock-agentcore.amazonaws.com", Some(trust), statements)
}

/// What a call of a model touches: the model itself; for an inference profile (an id with a geography in front) the profile, and the model wherever it runs.
fn bedrock_resources(id: &str) -> Value {
    let geographies = ["us.", "us-gov.", "eu.", "apac.", "jp.", "au.", "ca.", "global."];
    match geographies.iter().find_map(|geography| id.strip_prefix(geography)) {
        None => json!([substitute(format!("arn:${{AWS::Partition}}:bedrock:${{AWS::Region}}::foundation-model/{id}"))]),
        Some(model) => json!([
            substitute(format!("arn:${{AWS::Partition}}:bedrock:${{AWS::Region}}:${{AWS::AccountId}}:inference-profile/{id}")),
            substitute(format!("arn:${{AWS::Partition}}:bedrock:*::foundation-model/{model}")),
        ]),
    }
}
