//! The settings as a stack on AWS has them: the same agent, with what AWS adds and without what only a machine has.

mod agent;
pub(crate) mod differences;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, bail};
use frontdesk_agent::ModelChoice;
use frontdesk_agent::llm::provider::usual_key_variable;
use frontdesk_agent::retrieval::model::ModelFiles;
use frontdesk_deploy::deployer::images::Part;
use frontdesk_deploy::image::{ImageSpec, Platform};
use frontdesk_deploy::stack::{AlarmSettings, Limits, Model, QuotaLimit, StackName, StackSettings, Timeouts};
use frontdesk_gateway::access_log;

pub(crate) use agent::{DeployedAgent, PythonAgent};

use crate::settings::{HostedAgentSettings, QuotaPeriodSetting, Settings, agent_variables, variable_of};

/// The provider whose models an agent on AWS calls with its role.
const BEDROCK: &str = "bedrock";
/// Settings of the agent that name a place or a size of this machine; the image has its own.
const OF_THIS_MACHINE: [&str; 4] = ["agent.faq", "agent.model_dir", "agent.cache_dir", "agent.embedding_threads"];

/// The stack that the settings describe, for this agent.
///
/// # Errors
/// Names the setting that does not fit AWS, and what would.
pub(crate) fn stack_settings(settings: &Settings, deployed: &DeployedAgent) -> anyhow::Result<StackSettings> {
    let Settings { gateway, usage_plan, deploy, agent, .. } = settings;
    let name = StackName::new(&deploy.stack_name)?;
    let chosen = chosen_model(settings);
    let python = deployed.python();
    let agent_variables = match python {
        Some(python) => python.variables().collect(),
        None => faq_variables(agent, &chosen)?,
    };
    let format = match settings.access_log.format.as_str() {
        "json" => access_log::JSON,
        "clf" => access_log::CLF,
        format => format,
    };
    let stack = StackSettings {
        artifact: deployed.artifact(&name)?,
        request_headers: python.map(|python| python.agent.request_headers.clone()).unwrap_or_default(),
        name,
        stage: gateway.stage.clone(),
        agent_variables,
        model: model(&chosen, settings)?,
        idle_session_s: python.and_then(|python| python.agent.idle_timeout_s).map_or(deploy.idle_session_s, u64::from),
        session_s_max: python.and_then(|python| python.agent.lifetime_max_s).map_or(deploy.session_s_max, u64::from),
        function_memory_mb: deploy.function_memory_mb,
        prompt_chars_max: gateway.prompt_chars_max,
        timeouts: Timeouts::new(gateway.integration_timeout_ms, deploy.function_timeout_s, deploy.stream_timeout_s)?,
        all_keys: Limits { rate_limit: gateway.rate_limit, burst_limit: gateway.burst_limit },
        each_key: Limits { rate_limit: usage_plan.rate_limit, burst_limit: usage_plan.burst_limit },
        quota: (usage_plan.quota_limit > 0)
            .then(|| QuotaLimit { limit: usage_plan.quota_limit, period: period(usage_plan.quota_period).to_owned() }),
        access_log_format: format.to_owned(),
        log_retention_days: deploy.log_retention_days,
        alarms: AlarmSettings {
            error_percent_max: deploy.error_percent_max,
            throttled_per_minute_max: deploy.throttled_per_minute_max,
            address: deploy.alarm_address.clone(),
        },
    };
    stack.check()?;
    Ok(stack)
}

/// The variables of the FAQ agent, and of an image, which may be one of it.
fn faq_variables(agent: &HostedAgentSettings, chosen: &ModelChoice) -> anyhow::Result<BTreeMap<String, String>> {
    let mut variables = agent_variables(agent)?;
    variables.retain(|(variable, _)| !OF_THIS_MACHINE.iter().any(|path| variable_of(path) == *variable));
    // The stack names the variable beside the secret.
    variables.retain(|(variable, _)| *variable != variable_of("agent.api_key_variable"));
    let mut variables: BTreeMap<_, _> = variables.into_iter().collect();
    variables.insert(variable_of("agent.model"), chosen.to_string());
    Ok(variables)
}

/// The model on AWS. `auto` is decided here, where the provider's key is: on AWS it would find none.
pub(crate) fn chosen_model(settings: &Settings) -> ModelChoice {
    let choice = settings.deploy.model.clone().unwrap_or_else(|| settings.agent.model.clone());
    choice.resolve(|name| std::env::var(name).ok())
}

fn model(chosen: &ModelChoice, settings: &Settings) -> anyhow::Result<Model> {
    let ModelChoice::Provider { provider, name } = chosen else { return Ok(Model::Keyless) };
    let agent = &settings.agent;
    if provider == BEDROCK && agent.api_key_variable.is_none() {
        return Ok(Model::Bedrock { id: name.clone() });
    }
    if let Some(url) = agent.base_url.as_deref().filter(|url| is_of_this_machine(url)) {
        bail!(
            "agent.base_url is {url}, which on AWS is the agent's own container: name an address that AWS can reach, or set deploy.model to another model"
        );
    }
    let key_variable = agent.api_key_variable.as_deref().or_else(|| usual_key_variable(provider));
    // An endpoint of the user's own may be open.
    match key_variable.filter(|_| agent.base_url.is_none() || agent.api_key_variable.is_some()) {
        Some(key_variable) => Ok(Model::WithKey { key_variable: key_variable.to_owned() }),
        None => Ok(Model::Keyless),
    }
}

fn is_of_this_machine(url: &str) -> bool {
    let host = url.split("://").nth(1).unwrap_or(url);
    ["localhost", "127.", "[::1]", "0.0.0.0"].iter().any(|local| host.starts_with(local))
}

/// The image of a part of the stack: of `binary`, else of this executable.
///
/// # Errors
/// Where this executable cannot be found, cannot reach the model on AWS, or the embedding model's files cannot be read.
pub(crate) fn image_spec(settings: &Settings, part: Part, binary: Option<&Path>, model: &Model) -> anyhow::Result<ImageSpec> {
    let program = match binary {
        Some(program) => program.to_owned(),
        None => std::env::current_exe().context("failed to find this executable: name one with --agent-binary")?,
    };
    // AgentCore runs nothing else.
    let platform = Platform::LinuxArm64;
    if part == Part::Proxy {
        return Ok(ImageSpec::lambda(&program, platform));
    }
    let faq = &settings.agent.faq;
    if !faq.is_file() {
        bail!("agent.faq is {}, which is not there: name the FAQ that the agent on AWS answers from", faq.display());
    }
    if *model != Model::Keyless && !speaks_to_aws(&program)? {
        bail!(
            "{} was built without the Cargo feature `aws`, so the agent could reach neither Bedrock nor its model's key: `make build-arm64` makes one with it, for --agent-binary",
            program.display()
        );
    }
    let model = ModelFiles::locate(&settings.agent.model_dir)?;
    let model = model.map(|files| vec![files.weights().to_owned(), files.tokenizer().to_owned()]).unwrap_or_default();
    if model.is_empty() {
        println!("The embedding model is not here, so the agent on AWS will search by keywords: `frontdesk model pull` fetches it.");
    }
    Ok(ImageSpec::agent(&program, platform, &model, faq))
}

/// Whether a program, which may be for another machine and cannot be asked, was built with the feature `aws`: it holds the name of a call that nothing else makes.
/// The name is put together here, so that this program does not hold it for having looked.
fn speaks_to_aws(program: &Path) -> anyhow::Result<bool> {
    let name = ["secretsmanager.", "GetSecretValue"].concat();
    let bytes = std::fs::read(program).with_context(|| format!("failed to read {}", program.display()))?;
    Ok(bytes.windows(name.len()).any(|window| window == name.as_bytes()))
}

/// The provider's key, from the environment or `.env`.
///
/// # Errors
/// Names the variable that is not set.
pub(crate) fn model_key(key_variable: &str) -> anyhow::Result<String> {
    let key = std::env::var(key_variable).ok().filter(|key| !key.trim().is_empty());
    let key = key.with_context(|| {
        format!(
            "the model needs the key {key_variable}, which is not set: put it into the environment or .env, name a secret of yours with \
             deploy.model_key_secret_arn, or choose a model without a key (deploy.model)"
        )
    })?;
    Ok(key.trim().to_owned())
}

fn period(period: QuotaPeriodSetting) -> &'static str {
    match period {
        QuotaPeriodSetting::Day => "DAY",
        QuotaPeriodSetting::Week => "WEEK",
        QuotaPeriodSetting::Month => "MONTH",
    }
}
