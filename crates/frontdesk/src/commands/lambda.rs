//! `frontdesk lambda`: this executable as the Lambda function between API Gateway and AgentCore.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use frontdesk_aws::arn::AgentRuntimeArn;
use frontdesk_aws::{Arn, Credentials};
use frontdesk_proxy::{PROMPT_CHARS_MAX, Proxy, ProxySettings};
use frontdesk_trace::Spans;
use lambda_runtime::{LambdaEvent, Runtime, service_fn};
use serde_json::Value;
use time::OffsetDateTime;
use tracing_subscriber::EnvFilter;

use crate::lambda::{Function, Https};

/// The variables by which Lambda tells a function of its environment, without which it is none
/// (<https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html#configuration-envvars-runtime>).
const OF_LAMBDA: [&str; 4] =
    ["AWS_LAMBDA_RUNTIME_API", "AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "AWS_LAMBDA_FUNCTION_VERSION"];

/// The flags of `lambda`; on AWS, where a function has no command line to speak of, its variables.
#[derive(Debug, Args)]
pub(crate) struct LambdaArguments {
    /// The agent runtime to invoke
    #[arg(long, env = "AGENT_RUNTIME_ARN", value_name = "ARN")]
    agent_runtime_arn: Option<String>,
    /// The endpoint of the runtime
    #[arg(long, env = "AGENT_RUNTIME_QUALIFIER", value_name = "NAME", default_value = "DEFAULT")]
    qualifier: String,
    /// AgentCore's data plane, where it is not AWS's own in the runtime's region
    #[arg(long, env = "AWS_ENDPOINT_URL_BEDROCK_AGENTCORE", value_name = "URL")]
    endpoint_url: Option<String>,
    /// How long API Gateway waits for an answer
    #[arg(long, env = "FRONTDESK_GATEWAY_INTEGRATION_TIMEOUT_MS", value_name = "MS", default_value_t = 29_000)]
    integration_timeout_ms: u64,
    /// A longer prompt is refused with 400, in characters
    #[arg(long, env = "FRONTDESK_GATEWAY_PROMPT_CHARS_MAX", value_name = "COUNT", default_value_t = PROMPT_CHARS_MAX)]
    prompt_chars_max: usize,
}

/// Answers invocations until Lambda ends the process.
pub(crate) fn run(arguments: LambdaArguments) -> anyhow::Result<()> {
    let filter = EnvFilter::try_from_env("FRONTDESK_LOG").unwrap_or_else(|_| EnvFilter::new("warn,frontdesk=info"));
    agentcore::log::init_with(filter);
    if let Some(missing) = OF_LAMBDA.iter().find(|name| std::env::var_os(name).is_none()) {
        bail!("{missing} is not set: `frontdesk lambda` is for AWS Lambda to start; `frontdesk up` serves on this machine");
    }
    let integration_timeout = Duration::from_millis(arguments.integration_timeout_ms);
    let function = Function::new(proxy(arguments)?, integration_timeout);
    // One invocation at a time is all that Lambda gives a process.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("failed to start the async runtime")?;
    let answering = async |event: LambdaEvent<Value>| Ok::<_, lambda_runtime::Error>(function.answer(event, now()).await);
    let ended = runtime.block_on(Runtime::new(service_fn(answering)).run());
    ended.map_err(|error| anyhow::anyhow!(error).context("Lambda's Runtime API failed"))
}

fn proxy(arguments: LambdaArguments) -> anyhow::Result<Proxy> {
    let arn = arguments.agent_runtime_arn.context("AGENT_RUNTIME_ARN is not set: it names the agent runtime to invoke")?;
    let agent_runtime_arn: AgentRuntimeArn = arn.parse().context("AGENT_RUNTIME_ARN names no agent runtime")?;
    let endpoint = match arguments.endpoint_url {
        Some(url) => url.trim_end_matches('/').to_owned(),
        None => endpoint(&arn.parse()?),
    };
    let qualifier = arguments.qualifier;
    let settings = ProxySettings { agent_runtime_arn, qualifier, endpoint, prompt_chars_max: arguments.prompt_chars_max };
    Proxy::new(settings, credentials()?, Arc::new(Https::new()?), Spans::default()).context("the endpoint URL is none")
}

/// AgentCore's data plane in the runtime's own region, which need not be the function's.
fn endpoint(arn: &Arn) -> String {
    let domain = if arn.partition == "aws-cn" { "amazonaws.com.cn" } else { "amazonaws.com" };
    format!("https://bedrock-agentcore.{}.{domain}", arn.region)
}

/// The function's role, as Lambda gives it: for the whole life of the process.
fn credentials() -> anyhow::Result<Credentials> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let needed =
        |name| variable(name).with_context(|| format!("{name} is not set: Lambda sets it to the credentials of the function's role"));
    let credentials = Credentials::new(needed("AWS_ACCESS_KEY_ID")?, needed("AWS_SECRET_ACCESS_KEY")?);
    Ok(match variable("AWS_SESSION_TOKEN") {
        Some(token) => credentials.with_session_token(token),
        None => credentials,
    })
}

#[expect(clippy::disallowed_methods, reason = "this is the edge where an invocation's moment is read")]
fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}
