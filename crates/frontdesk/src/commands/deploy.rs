//! `frontdesk deploy`: the same agent on AWS, with one command that can be repeated, previewed and undone.

use std::collections::BTreeSet;
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use frontdesk_deploy::call::{Account, Aws};
use frontdesk_deploy::costs::{self, Month};
use frontdesk_deploy::deployer::{DeployError, Deployer, Outcome, Progress, Wanted, code, images, images::Part, stacks::Stack};
use frontdesk_deploy::python_package::PythonPackage;
use frontdesk_deploy::running::keys;
use frontdesk_deploy::stack::{self, Artifact, Model, StackName, StackSettings, outputs};
use frontdesk_deploy::{image, policy};

use super::image_progress::ImageProgress;
use super::on_aws::AwsArguments;
use crate::control_client::ControlClient;
use crate::deployment::{self, DeployedAgent, PythonAgent, differences};
use crate::run_file::RunFile;
use crate::settings::Settings;

/// What the endpoint is asked when it is new.
const QUESTION: &str = "How do I activate roaming?";

/// What may be printed instead of deployed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Printed {
    /// The CloudFormation template, for a pipeline of your own
    Template,
    /// A Terraform file (.tf.json) that carries it
    Terraform,
    /// The IAM policy that whoever deploys needs
    Policy,
}

/// The flags of `deploy`.
#[derive(Debug, Args)]
pub(crate) struct DeployArguments {
    #[command(flatten)]
    aws: AwsArguments,
    /// Say what would change and what it costs; change nothing
    #[arg(long)]
    plan: bool,
    /// Print something and call nobody
    #[arg(long, value_name = "WHAT", conflicts_with = "plan")]
    print: Option<Printed>,
    /// The Linux executable for arm64 that both images are made of [default: this one]
    #[arg(long, value_name = "FILE")]
    agent_binary: Option<PathBuf>,
    /// The agent's image, where it is in ECR already: nothing is built
    #[arg(long, value_name = "URI")]
    image: Option<String>,
    /// The proxy's image, where it is in ECR already
    #[arg(long, value_name = "URI")]
    proxy_image: Option<String>,
    /// Another registry's host, which plays ECR's for the push
    #[arg(long, value_name = "HOST", hide = true)]
    push_to: Option<String>,
    /// Deploy although API Gateway does some things otherwise that are in use here
    #[arg(long)]
    accept_differences: bool,
    /// What the endpoint is asked, as proof that it works
    #[arg(long, default_value = QUESTION)]
    question: String,
    /// Ask the endpoint nothing
    #[arg(long, conflicts_with = "question")]
    no_question: bool,
    /// Requests a month, for the estimate of `--plan`
    #[arg(long, value_name = "COUNT", default_value_t = 1_000_000)]
    requests: u64,
    /// File that the endpoint and its key are written to, for `source`
    #[arg(long, value_name = "FILE", default_value = "api-gateway-config.env")]
    config_env: PathBuf,
}

/// Deploys.
pub(crate) fn run(arguments: &DeployArguments, settings: &Settings) -> anyhow::Result<()> {
    let agent = DeployedAgent::find(settings, arguments.image.as_deref())?;
    let stack_settings = deployment::stack_settings(settings, &agent)?;
    // Made once before anything is done: it may not fit.
    let template = stack::template(&stack_settings)?;
    match arguments.print {
        Some(Printed::Template) => print!("{}", template.to_json()),
        Some(Printed::Terraform) => print!("{}", stack::terraform(&stack_settings.name, &template)),
        Some(Printed::Policy) => println!("{:#}", policy::document(&stack_settings.name)),
        None => return super::block_on(deploy(arguments, settings, &agent, stack_settings)),
    }
    Ok(())
}

async fn deploy(
    arguments: &DeployArguments,
    settings: &Settings,
    agent: &DeployedAgent,
    mut stack_settings: StackSettings,
) -> anyhow::Result<()> {
    let aws = arguments.aws.connect(settings).await?;
    let deployer = Deployer { aws: &aws, pause: arguments.aws.pause() };
    // Region and account before anything else: the wrong account is the dearest mistake.
    let account = deployer.account().await?;
    tell_where(&account, &aws, agent, &stack_settings);
    tell_differences(arguments, settings).await?;
    match (deployer.inspect(&stack_settings.name).await, aws.endpoint()) {
        // Something that plays AWS in part, a host's own control face for one.
        (Err(DeployError::Call(error)), Some(endpoint)) if error.has_code("InvalidAction") => {
            let called: BTreeSet<_> = policy::actions().iter().filter_map(|action| Some(action.split_once(':')?.0.to_owned())).collect();
            let called = Vec::from_iter(called).join(", ");
            return Err(error).with_context(|| format!("{endpoint} has not all that a deployment calls ({called}): nothing was made"));
        }
        (inspected, _) => drop(inspected?),
    }
    // Before minutes are spent on images: a key that is not there stops everything.
    let key = match (&stack_settings.model, &settings.deploy.model_key_secret_arn) {
        (Model::WithKey { key_variable }, None) if !arguments.plan => Some(deployment::model_key(key_variable)?),
        _ => None,
    };
    let parts = Parts { arguments, settings, deployer: &deployer, account: &account, stack: &stack_settings.name };
    let mut code_bytes = 0;
    let mut parameters = match agent.python() {
        Some(python) => {
            let package = parts.package(python, &stack_settings.model).await?;
            code_bytes = package.bytes;
            parts.code(&package).await?
        }
        None => vec![(stack::AGENT_IMAGE, parts.image(Part::Agent, arguments.image.as_deref(), &stack_settings.model).await?)],
    };
    parameters.push((stack::PROXY_IMAGE, parts.image(Part::Proxy, arguments.proxy_image.as_deref(), &stack_settings.model).await?));
    if let (Artifact::Image { repository }, Some(named)) = (&mut stack_settings.artifact, repository_of(&parameters[0].1)) {
        named.clone_into(repository);
    }
    let template = stack::template(&stack_settings)?.to_json();
    let (name, is_changing) = (stack_settings.name.clone(), AtomicBool::new(false));
    let mut progress = Shown::of(&is_changing);
    if stack_settings.model.needs_key() {
        let arn = match (&settings.deploy.model_key_secret_arn, &key) {
            (Some(arn), _) => arn.clone(),
            (None, Some(key)) => deployer.store_key(&stack_settings.name, key, &mut |event| progress.show(event)).await?,
            // A plan makes nothing: what the secret's ARN will be is not known before it is there.
            (None, None) => planned_secret_arn(&account, &aws, &stack_settings),
        };
        parameters.push((stack::MODEL_KEY_SECRET, arn));
    }
    let wanted = Wanted { name: &stack_settings.name, template: &template, parameters };
    println!("CloudFormation works out what changes…");
    if arguments.plan {
        let changes = deployer.plan(&wanted).await?;
        progress.show(Progress::Planned(&changes));
        print!("\n{}", costs::text(&month(arguments, &stack_settings, code_bytes)));
        return Ok(());
    }
    // From here on an interruption is more than an end: CloudFormation goes on.
    let work = carry_out(arguments, &deployer, &account, &stack_settings, &wanted, progress);
    super::on_aws::unless_interrupted(work, || match is_changing.load(Ordering::Relaxed) {
        true => format!(
            "interrupted: CloudFormation goes on with the stack {name} by itself. `frontdesk status --aws` says how far it is; `frontdesk deploy`, run again \
             when it rests, does what is left"
        ),
        false => format!("interrupted: nothing in the stack {name} was changed"),
    })
    .await
}

/// Has the stack made or changed, then writes and asks what the guide's reader does.
async fn carry_out(
    arguments: &DeployArguments,
    deployer: &Deployer<'_>,
    account: &Account,
    stack_settings: &StackSettings,
    wanted: &Wanted<'_>,
    mut progress: Shown<'_>,
) -> anyhow::Result<()> {
    let aws = deployer.aws;
    let outcome = deployer.deploy(wanted, &mut |event| progress.show(event)).await?;
    if let Outcome::Unchanged(stack) = &outcome {
        println!("The stack {} is unchanged.", stack.name);
    }
    let stack = outcome.stack();
    deployer.keep_agent_logs(stack, stack_settings.log_retention_days).await?;
    let key = keys::with_value(aws, stack.output(outputs::API_KEY_ID)?).await?.value;
    write_config(&arguments.config_env, &config_env(stack, &key, aws, account)?)?;
    println!("\nConfiguration saved to {}\n", arguments.config_env.display());
    print!("{}", summary(stack, &key, stack_settings)?);
    if !arguments.no_question {
        let endpoint = stack.output(outputs::ENDPOINT)?;
        println!("\nAsking: {}", arguments.question);
        let answer = deployer.ask(endpoint, &key, &arguments.question, &mut |event| progress.show(event)).await?;
        println!("Answer: {answer}");
    }
    Ok(())
}

fn tell_where(account: &Account, aws: &Aws, agent: &DeployedAgent, settings: &StackSettings) {
    let mut lines = vec![
        ("Account", account.id.clone()),
        ("As", account.arn.clone()),
        ("Region", aws.region().to_owned()),
        ("Stack", settings.name.to_string()),
    ];
    if let Some(endpoint) = aws.endpoint() {
        lines.push(("Endpoint", endpoint.to_owned()));
    }
    let model = match &settings.model {
        Model::Keyless => "built in, or without a key".to_owned(),
        Model::Bedrock { id } => format!("{id} on Amazon Bedrock, by the agent's role"),
        Model::WithKey { key_variable } => format!("with {key_variable} from Secrets Manager"),
    };
    lines.push(("Agent", agent.in_words()));
    lines.push(("Model", model));
    super::print_lines(&lines);
}

/// Says what API Gateway does otherwise, and stops where that is in use and not accepted.
async fn tell_differences(arguments: &DeployArguments, settings: &Settings) -> anyhow::Result<()> {
    let keys = match RunFile::find(settings) {
        Ok(_) => ControlClient::new(settings)?.list_keys().await.ok().map(|list| list.keys),
        Err(_) => None,
    };
    let found = differences::differences(settings, keys.as_deref());
    println!("\nOn AWS otherwise than here:");
    for difference in &found {
        let mark = if difference.is_in_use { "!" } else { "-" };
        println!("  {mark} {}: {}", difference.what, difference.on_aws);
    }
    println!();
    let count = found.iter().filter(|difference| difference.is_in_use).count();
    if count > 0 && !arguments.accept_differences {
        bail!("{count} of these are in use here (marked !): --accept-differences deploys without them. Nothing was changed");
    }
    Ok(())
}

/// What the stack is made of, built here and brought to where AWS takes it from; for a plan only built.
struct Parts<'a> {
    arguments: &'a DeployArguments,
    settings: &'a Settings,
    deployer: &'a Deployer<'a>,
    account: &'a Account,
    stack: &'a StackName,
}

impl Parts<'_> {
    /// The package of an agent in Python.
    async fn package(&self, agent: &PythonAgent, model: &Model) -> anyhow::Result<PythonPackage> {
        println!("Packaging the agent's code, with the wheels that it needs for arm64…");
        let key_variable = match model {
            Model::WithKey { key_variable } => Some(key_variable.as_str()),
            Model::Keyless | Model::Bedrock { .. } => None,
        };
        agent.package(&self.settings.data_dir.join("packages"), &self.arguments.config_env, key_variable).await
    }

    /// The parameters that say where the code is, or will be.
    async fn code(&self, package: &PythonPackage) -> anyhow::Result<Vec<(&'static str, String)>> {
        println!("Code of the agent: {:.3} MB, {} files", megabytes(package.bytes), package.files);
        let stored = if self.arguments.plan {
            code::planned(self.account, self.deployer.aws.region(), self.stack, package)
        } else {
            let stored = self.deployer.store_code(self.account, self.stack, package).await?;
            match stored.is_new {
                true => println!("  sent to s3://{}/{}", stored.bucket, stored.key),
                false => println!("  is in s3://{} already", stored.bucket),
            }
            stored
        };
        Ok(vec![(stack::AGENT_CODE_BUCKET, stored.bucket), (stack::AGENT_CODE_KEY, stored.key)])
    }

    /// The URI of an image: the one that was named; otherwise it is built, and for more than a plan pushed.
    async fn image(&self, part: Part, named: Option<&str>, model: &Model) -> anyhow::Result<String> {
        if let Some(named) = named {
            return Ok(named.to_owned());
        }
        let Parts { arguments, settings, deployer, account, stack } = self;
        let spec = deployment::image_spec(settings, part, arguments.agent_binary.as_deref(), model)?;
        let folder = settings.data_dir.join("images").join(part.name());
        let progress = ImageProgress::new(true);
        let built = image::build(&spec, &folder, &|event| progress.built(event));
        progress.clear();
        let image = built?;
        let new: Vec<_> = image.layers.iter().filter(|layer| !layer.is_reused).map(|layer| layer.name).collect();
        let new = if new.is_empty() { "all layers as before".to_owned() } else { format!("new layers: {}", new.join(", ")) };
        println!("Image of the {}: {:.1} MB, {new}", part.name(), megabytes(image.size()));
        if arguments.plan {
            return Ok(images::planned_uri(account, deployer.aws.region(), stack, part, &image));
        }
        let progress = ImageProgress::new(true);
        let stored = deployer.store_image(stack, part, &image, arguments.push_to.as_deref(), &|event| progress.pushed(event)).await;
        progress.clear();
        let stored = stored?;
        match &stored.pushed {
            Some(pushed) if pushed.bytes_sent > 0 => println!("  pushed {:.3} MB", megabytes(pushed.bytes_sent)),
            _ => println!("  is in the registry already"),
        }
        Ok(stored.uri)
    }
}

#[expect(clippy::cast_precision_loss, reason = "for people, to a thousandth")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// The repository of an image's URI: what is between its registry and its tag or digest.
fn repository_of(image: &str) -> Option<&str> {
    let (_registry, rest) = image.split_once('/')?;
    let rest = rest.split_once('@').map_or(rest, |(repository, _digest)| repository);
    Some(rest.rsplit_once(':').map_or(rest, |(repository, _tag)| repository))
}

fn planned_secret_arn(account: &Account, aws: &Aws, settings: &StackSettings) -> String {
    format!("arn:{}:secretsmanager:{}:{}:secret:{}-planned", account.partition(), aws.region(), account.id, settings.name.secret())
}

/// `code_bytes`: of the agent's package, where it is no image.
#[expect(clippy::cast_precision_loss, reason = "an estimate to the cent")]
fn month(arguments: &DeployArguments, settings: &StackSettings, code_bytes: u64) -> Month {
    Month {
        requests: arguments.requests,
        answer_s: 2.0,
        cpu_s: 0.1,
        requests_per_session: 4.0,
        idle_session_s: settings.idle_session_s,
        agent_gb: 0.25,
        function_memory_mb: settings.function_memory_mb,
        log_bytes: 2000.0,
        // The proxy's alone is a tenth of both.
        image_gb: if code_bytes > 0 { 0.02 } else { 0.2 },
        code_gb: code_bytes as f64 / 1e9,
        has_secret: settings.model.needs_key(),
    }
}

/// The file that the guide has its readers write: `source` it, and its commands run.
fn config_env(stack: &Stack, key: &str, aws: &Aws, account: &Account) -> anyhow::Result<String> {
    let output = |name| stack.output(name);
    Ok(format!(
        "# API Gateway Configuration\nexport API_ID=\"{}\"\nexport API_ENDPOINT=\"{}\"\nexport API_KEY=\"{key}\"\nexport API_KEY_ID=\"{}\"\n\
         export USAGE_PLAN_ID=\"{}\"\n\n# Lambda Configuration\nexport LAMBDA_FUNCTION=\"{}\"\nexport LAMBDA_ARN=\"{}\"\n\n\
         # AgentCore Configuration\nexport AGENT_ARN=\"{}\"\nexport AWS_REGION=\"{}\"\nexport AWS_ACCOUNT_ID=\"{}\"\n",
        output(outputs::API_ID)?,
        output(outputs::ENDPOINT)?,
        output(outputs::API_KEY_ID)?,
        output(outputs::USAGE_PLAN_ID)?,
        output(outputs::FUNCTION)?,
        output(outputs::FUNCTION_ARN)?,
        output(outputs::AGENT_ARN)?,
        aws.region(),
        account.id,
    ))
}

/// Writes the file so that only its owner can read it: it holds the key.
fn write_config(path: &Path, text: &str) -> anyhow::Result<()> {
    use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
    let write = || {
        let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        // An older file keeps its mode when it is opened.
        file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
        file.write_all(text.as_bytes())
    };
    write().with_context(|| format!("failed to write {}", path.display()))
}

/// What the guide prints in the end.
fn summary(stack: &Stack, key: &str, settings: &StackSettings) -> anyhow::Result<String> {
    let rate = match settings.each_key.rate_limit {
        rate if rate > 0.0 => format!("{rate} req/s (burst: {})", settings.each_key.burst_limit),
        _ => "none".to_owned(),
    };
    let quota = settings
        .quota
        .as_ref()
        .map_or_else(|| "none".to_owned(), |quota| format!("{} requests a {}", quota.limit, quota.period.to_lowercase()));
    Ok(format!(
        "Summary:\n  - API Endpoint: {}\n  - API Key: {key}\n  - Rate Limit: {rate}\n  - Quota: {quota}\n",
        stack.output(outputs::ENDPOINT)?
    ))
}

/// Shows what happens, a line each; a resource that is under way is only shown where somebody watches.
#[derive(Debug, Default)]
pub(crate) struct Shown<'a> {
    done: usize,
    /// Set when CloudFormation has been told to change something, or is about to be.
    is_changing: Option<&'a AtomicBool>,
}

impl<'a> Shown<'a> {
    /// Shows a deployment that somebody may interrupt.
    fn of(is_changing: &'a AtomicBool) -> Shown<'a> {
        Shown { done: 0, is_changing: Some(is_changing) }
    }

    pub(crate) fn show(&mut self, progress: Progress<'_>) {
        let changes = matches!(progress, Progress::Planned(_) | Progress::RemovingFailedStack(_));
        if let Some(is_changing) = self.is_changing.filter(|_| changes) {
            is_changing.store(true, Ordering::Relaxed);
        }
        match progress {
            Progress::RemovingFailedStack(name) => {
                println!("The first creation of {name} has failed before: what is left of it is removed")
            }
            Progress::KeyStored(name) => println!("The model provider's key is in the secret {name}"),
            Progress::Planned([]) => println!("No resource changes."),
            Progress::Planned(changes) => {
                println!("Changes:");
                for change in changes {
                    let replaced =
                        change.replacement.as_deref().filter(|replacement| *replacement == "True").map_or("", |_| " (made anew)");
                    println!("  {:<7} {:<28} {}{replaced}", change.action, change.resource, change.kind);
                }
            }
            Progress::Happened(event) => {
                let is_under_way = event.status.ends_with("_IN_PROGRESS");
                if event.status.ends_with("_COMPLETE") && !event.is_of_stack() {
                    self.done += 1;
                }
                if !is_under_way || event.is_of_stack() || std::io::stdout().is_terminal() {
                    let reason = event.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
                    println!("  {:>3} {:<36} {:<28} {}{reason}", self.done, event.status, event.resource, event.kind);
                }
            }
            Progress::StillAt(resources) => {
                let resources: Vec<_> = resources.iter().map(String::as_str).collect();
                println!("      still at {}", resources.join(", "));
            }
            Progress::NotYet(said) => println!("  not yet: {said}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_names_its_repository() {
        let check = |image: &str, expected: &str| assert_eq!(repository_of(image), Some(expected));
        check("123456789012.dkr.ecr.eu-west-1.amazonaws.com/faq/agent@sha256:ab", "faq/agent");
        check("123456789012.dkr.ecr.eu-west-1.amazonaws.com/faq/agent:v1", "faq/agent");
        check("127.0.0.1:5000/agent", "agent");
    }
}
