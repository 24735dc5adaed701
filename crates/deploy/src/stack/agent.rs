//! The agent: an AgentCore runtime, its endpoint, the role that it runs with, and where its output goes.
//!
//! Sources: the types `AWS::BedrockAgentCore::Runtime` and `RuntimeEndpoint` of CloudFormation's registry; "IAM permissions for AgentCore Runtime" of the
//! AgentCore developer guide (<https://docs.aws.amazon.com/bedrock-agentcore/latest/devguide/runtime-permissions.html>).

use serde_json::{Value, json};

use super::template::{self, Resource, Template, allow, attribute, reference, substitute};
use super::{AGENT_CODE_BUCKET, AGENT_CODE_KEY, AGENT_IMAGE, Artifact, MODEL_KEY_SECRET, Model, StackSettings};

/// The runtime.
pub(super) const RUNTIME: &str = "AgentRuntime";
/// The endpoint that the proxy calls.
pub(super) const ENDPOINT: &str = "AgentEndpoint";
/// The endpoint's name. It follows each deployment; DEFAULT, which AgentCore makes by itself, is for calls past the API.
pub const ENDPOINT_NAME: &str = "live";
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
}

fn runtime(settings: &StackSettings) -> Value {
    let mut variables: serde_json::Map<String, Value> =
        settings.agent_variables.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    if let Model::WithKey { key_variable } = &settings.model {
        variables.insert(SECRET_VARIABLE.to_owned(), reference(MODEL_KEY_SECRET));
        variables.insert("FRONTDESK_AGENT_API_KEY_VARIABLE".to_owned(), json!(key_variable));
    }
    let artifact = match &settings.artifact {
        Artifact::Image { .. } => json!({ "ContainerConfiguration": { "ContainerUri": reference(AGENT_IMAGE) } }),
        Artifact::Code { runtime, entry_point } => json!({ "CodeConfiguration": {
            "Code": { "S3": { "Bucket": reference(AGENT_CODE_BUCKET), "Prefix": reference(AGENT_CODE_KEY) } },
            "Runtime": runtime,
            "EntryPoint": entry_point,
        } }),
    };
    let headers: Vec<&str> = [DEADLINE_HEADER].into_iter().chain(settings.request_headers.iter().map(String::as_str)).collect();
    let mut runtime = json!({
        "AgentRuntimeName": settings.name.agent_name(),
        "Description": "The agent behind the API",
        "AgentRuntimeArtifact": artifact,
        "RoleArn": attribute(ROLE, "Arn"),
        "NetworkConfiguration": { "NetworkMode": "PUBLIC" },
        "ProtocolConfiguration": "HTTP",
        "LifecycleConfiguration": { "IdleRuntimeSessionTimeout": settings.idle_session_s, "MaxLifetime": settings.session_s_max },
        "RequestHeaderConfiguration": { "RequestHeaderAllowlist": headers },
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
    let groups = format!(
        "arn:${{AWS::Partition}}:logs:${{AWS::Region}}:${{AWS::AccountId}}:log-group:/aws/bedrock-agentcore/runtimes/{}-*",
        settings.name.agent_name()
    );
    let mut metrics = allow("Metrics", &["cloudwatch:PutMetricData"], json!("*"));
    metrics["Condition"] = json!({ "StringEquals": { "cloudwatch:namespace": "bedrock-agentcore" } });
    let mut statements = Vec::new();
    if let Artifact::Image { repository } = &settings.artifact {
        let repository = format!("arn:${{AWS::Partition}}:ecr:${{AWS::Region}}:${{AWS::AccountId}}:repository/{repository}");
        statements.push(allow("Image", &["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"], substitute(repository)));
        // A token is for no one repository.
        statements.push(allow("ImageToken", &["ecr:GetAuthorizationToken"], json!("*")));
    }
    statements.extend([
        allow("LogGroups", &["logs:CreateLogGroup", "logs:DescribeLogStreams"], substitute(groups.clone())),
        allow("Logs", &["logs:CreateLogStream", "logs:PutLogEvents"], substitute(format!("{groups}:log-stream:*"))),
        allow("Traces", &["xray:PutTraceSegments", "xray:PutTelemetryRecords"], json!("*")),
        metrics,
    ]);
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
