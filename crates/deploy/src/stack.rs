//! The CloudFormation stack, made from typed values: the agent on AgentCore, the proxy as Lambda functions, and API Gateway with a key in front.
//!
//! It makes a template and calls nothing. What a template must not hold it does not know: the model provider's key is in Secrets Manager, and the stack is
//! given the secret's ARN.

mod access_log;
mod agent;
mod alarms;
mod front;
mod permissions;
mod plan;
mod proxy;
mod settings;
mod template;
mod terraform;
mod timeouts;

use serde_json::json;

pub use access_log::{AccessLog, FormatError};
pub use agent::ENDPOINT_NAME as AGENT_ENDPOINT;
pub use permissions::{RESOURCE_TYPES, ResourceType};
pub use settings::{AlarmSettings, Artifact, Limits, Model, QuotaLimit, SettingsError, StackName, StackSettings};
pub use template::Template;
pub use terraform::terraform;
pub use timeouts::{TimeoutError, Timeouts};

use template::{Output, Parameter, Resource, attribute, reference, substitute};

/// Parameter: the URI of the agent's image.
pub const AGENT_IMAGE: &str = "AgentImage";
/// Parameter: the bucket of the agent's code, where it is no image.
pub const AGENT_CODE_BUCKET: &str = "AgentCodeBucket";
/// Parameter: the key of the agent's code in its bucket.
pub const AGENT_CODE_KEY: &str = "AgentCodeKey";
/// Parameter: the URI of the proxy's image.
pub const PROXY_IMAGE: &str = "ProxyImage";
/// Parameter: the ARN of the secret with the model provider's key; only where the model needs one.
pub const MODEL_KEY_SECRET: &str = "ModelKeySecretArn";
/// Parameter: whether the account has no role yet with which API Gateway writes logs.
pub const MAKE_LOG_ROLE: &str = "MakeLogRole";

/// The tag of the stack: who made it. CloudFormation puts it on whatever in the stack takes tags.
pub const TAG_MADE_BY: &str = "made-by";
/// The value of [`TAG_MADE_BY`].
pub const MADE_BY: &str = "frontdesk";
/// The tag that names the stack on what is made beside it: image repositories, the secret.
pub const TAG_STACK: &str = "frontdesk-stack";

/// The outputs of the stack.
pub mod outputs {
    /// The address that third parties call.
    pub const ENDPOINT: &str = "ApiEndpoint";
    /// The same for streamed answers.
    pub const STREAM_ENDPOINT: &str = "StreamEndpoint";
    /// The REST API's id.
    pub const API_ID: &str = "ApiId";
    /// The id of the first key; its value is asked for.
    pub const API_KEY_ID: &str = "ApiKeyId";
    /// The usage plan's id.
    pub const USAGE_PLAN_ID: &str = "UsagePlanId";
    /// The proxy's name.
    pub const FUNCTION: &str = "LambdaFunction";
    /// The proxy's ARN.
    pub const FUNCTION_ARN: &str = "LambdaArn";
    /// The agent runtime's ARN.
    pub const AGENT_ARN: &str = "AgentArn";
    /// The log group of what the agent prints.
    pub const AGENT_LOGS: &str = "AgentLogGroup";
    /// The log group of the proxy.
    pub const PROXY_LOGS: &str = "ProxyLogGroup";
    /// The log group of the access log.
    pub const ACCESS_LOGS: &str = "AccessLogGroup";
}

/// The template of a stack with these settings.
///
/// # Errors
/// [`FormatError`], when the access log's format does not serve on AWS.
pub fn template(settings: &StackSettings) -> Result<Template, FormatError> {
    let access_log = AccessLog::new(&settings.access_log_format)?;
    let mut template = Template::new("An AI agent on Amazon Bedrock AgentCore behind an API key, made by frontdesk");
    parameters(&mut template, settings);
    agent::put(&mut template, settings);
    proxy::put(&mut template, settings);
    log_role(&mut template);
    front::put(&mut template, settings, &access_log);
    plan::put(&mut template, settings);
    alarms::put(&mut template, settings, &access_log);
    put_outputs(&mut template, settings);
    Ok(template)
}

/// An image in ECR by its digest or tag: AgentCore and Lambda take images from nowhere else.
const IMAGE_PATTERN: &str = r"^[0-9]{12}\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com(\.cn)?/[a-z0-9._/-]+[:@].+$";

/// A bucket's name, as AgentCore takes it.
const BUCKET_PATTERN: &str = "^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$";

fn parameters(template: &mut Template, settings: &StackSettings) {
    let parameters = &mut template.parameters;
    match &settings.artifact {
        Artifact::Image { .. } => parameters.put(AGENT_IMAGE, Parameter::text("Image of the agent (linux/arm64), in ECR.", IMAGE_PATTERN)),
        Artifact::Code { .. } => {
            parameters.put(AGENT_CODE_BUCKET, Parameter::text("Bucket of the agent's code, in this region.", BUCKET_PATTERN));
            parameters.put(AGENT_CODE_KEY, Parameter::text("Key of the agent's code in its bucket: a zip.", r"^.+\.zip$"));
        }
    }
    parameters.put(PROXY_IMAGE, Parameter::text("Image of the proxy (linux/arm64), in ECR.", IMAGE_PATTERN));
    if settings.model.needs_key() {
        let description = "ARN of the secret in Secrets Manager that holds the model provider's key.";
        parameters.put(MODEL_KEY_SECRET, Parameter::text(description, "^arn:[^:]+:secretsmanager:[^:]+:[0-9]{12}:secret:.+$"));
    }
    let description =
        "Whether to make the role with which API Gateway writes logs. An account has one for each region: say true only where it has none.";
    parameters.put(MAKE_LOG_ROLE, Parameter::choice(description));
}

/// The condition of [`MAKE_LOG_ROLE`].
const HAS_NO_LOG_ROLE: &str = "AccountHasNoLogRole";
/// What the stage waits for: without the role API Gateway refuses a stage with an access log.
const LOG_ACCOUNT: &str = "LogAccount";

/// The account-wide role is made where there is none, never put in another's place, and stays when the stack goes: others may have come to rely on it.
fn log_role(template: &mut Template) {
    let condition = json!({ "Fn::Equals": [reference(MAKE_LOG_ROLE), "true"] });
    template.conditions.put(HAS_NO_LOG_ROLE, condition);
    let mut role = template::role("API Gateway writes logs, for the whole account", "apigateway.amazonaws.com", None, Vec::new());
    role["ManagedPolicyArns"] =
        json!([substitute("arn:${AWS::Partition}:iam::aws:policy/service-role/AmazonAPIGatewayPushToCloudWatchLogs")]);
    let name = "LogRole";
    template.resources.put(name, Resource::new("AWS::IAM::Role", role).only_if(HAS_NO_LOG_ROLE).kept());
    let account = json!({ "CloudWatchRoleArn": attribute(name, "Arn") });
    template.resources.put(LOG_ACCOUNT, Resource::new("AWS::ApiGateway::Account", account).only_if(HAS_NO_LOG_ROLE).kept());
}

fn put_outputs(template: &mut Template, settings: &StackSettings) {
    let address = |path: &str| {
        substitute(format!(
            "https://${{{api}}}.execute-api.${{AWS::Region}}.${{AWS::URLSuffix}}/{}/{path}",
            settings.stage,
            api = front::API
        ))
    };
    let agent_logs = substitute(format!("/aws/bedrock-agentcore/runtimes/${{{}.AgentRuntimeId}}-{AGENT_ENDPOINT}", agent::RUNTIME));
    let all = [
        (outputs::ENDPOINT, "The address that third parties call.", address("invoke")),
        (outputs::STREAM_ENDPOINT, "The same, for answers that are streamed.", address("stream")),
        (outputs::API_ID, "The REST API.", reference(front::API)),
        (outputs::API_KEY_ID, "The first API key. Its value is no output.", reference(plan::KEY)),
        (outputs::USAGE_PLAN_ID, "The usage plan.", reference(plan::PLAN)),
        (outputs::FUNCTION, "The proxy.", reference(proxy::INVOKE.function)),
        (outputs::FUNCTION_ARN, "The proxy's ARN.", attribute(proxy::INVOKE.function, "Arn")),
        (outputs::AGENT_ARN, "The agent runtime.", attribute(agent::RUNTIME, "AgentRuntimeArn")),
        (outputs::AGENT_LOGS, "What the agent prints.", agent_logs),
        (outputs::PROXY_LOGS, "What the proxy prints.", reference(proxy::LOGS)),
        (outputs::ACCESS_LOGS, "One line a request.", reference(front::LOGS)),
    ];
    for (name, description, value) in all {
        template.outputs.put(name, Output::new(description, value));
    }
}
