//! The command line: what can be asked, and who answers it.

use std::ffi::OsString;
use std::path::Path;
#[cfg(feature = "agent")]
use std::path::PathBuf;

#[cfg(feature = "agent")]
use clap::Args;
use clap::{Parser, Subcommand};

use crate::commands;
#[cfg(feature = "agent")]
use crate::settings::{self, Override, Settings};

/// An AI agent behind a simple API key: on your machine, and on AWS.
#[derive(Debug, Parser)]
#[command(name = "frontdesk", version, about, max_term_width = 100)]
pub(crate) struct Cli {
    #[cfg(feature = "agent")]
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    place: Place,
}

/// The places to live.
#[derive(Debug, Subcommand)]
enum Place {
    #[cfg(feature = "host")]
    #[command(flatten)]
    Host(Box<Command>),
    #[cfg(feature = "agent")]
    /// Be the agent: serve the AgentCore contract on a port (started by `up`, or in a container)
    Agent(commands::agent::AgentArguments),
    #[cfg(feature = "lambda")]
    /// Be the Lambda function between API Gateway and AgentCore (started by AWS Lambda)
    Lambda(commands::lambda::LambdaArguments),
}

/// What every command takes.
#[cfg(feature = "agent")]
#[derive(Debug, Args)]
pub(crate) struct Common {
    /// Settings file [default: frontdesk.toml, if there is one]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder of the database, the keys and the logs [default: .frontdesk]
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

/// The commands of a host, and those that speak to one.
#[cfg(feature = "host")]
#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the agent on this machine, until Ctrl-C
    Up(commands::up::UpArguments),
    /// Ask a question through the front door
    Ask(commands::ask::AskArguments),
    /// Write what is known of an agent of your own into .bedrock_agentcore.yaml
    Configure(Box<commands::configure::ConfigureArguments>),
    /// Have the running host serve an agent of your own
    Launch(commands::launch::LaunchArguments),
    /// Call an agent past the gateway, as AgentCore's clients do
    Invoke(commands::invoke::InvokeArguments),
    /// List the sessions of the running host's agents, or end one
    Sessions(commands::sessions::SessionsArguments),
    /// End a session of an agent, by default the one of the last call
    #[command(visible_alias = "stop-session")]
    Stop(commands::stop::StopArguments),
    /// Print what an agent's sessions have printed
    Logs(commands::logs::LogsArguments),
    /// Take an agent off the running host
    Destroy(commands::destroy::DestroyArguments),
    /// Say how the running host is, or an agent on it
    Status(commands::status::StatusArguments),
    /// Make, import, list, show, change, rotate and delete API keys of the running host
    Keys(commands::keys::KeysArguments),
    /// Make, list, change and delete usage plans of the running host, and put keys into them
    #[command(subcommand)]
    Plans(commands::plans::PlansCommand),
    /// Say who used how much, exact to the moment; or extend a quota
    Usage(commands::usage::UsageArguments),
    /// Write what a third party is handed for a key: how to call, an OpenAPI description, examples
    #[cfg(feature = "deploy")]
    Share(commands::share::ShareArguments),
    /// Say what a month's traffic here would have cost on AWS
    Cost(commands::cost::CostArguments),
    /// Put the same agent onto AWS, or bring it there up to date
    #[cfg(feature = "deploy")]
    Deploy(Box<commands::deploy::DeployArguments>),
    /// Remove from AWS what `deploy` has put there
    #[cfg(feature = "deploy")]
    Undeploy(commands::undeploy::UndeployArguments),
    /// Run a command whose AWS is the running host
    Exec(commands::exec::ExecArguments),
    /// Print the variables that point a shell's programs at the running host
    Env(commands::env::EnvArguments),
    /// Look for what is wrong, say what to do about it, and with --fix do it
    #[cfg(feature = "deploy")]
    Doctor(commands::doctor::DoctorArguments),
    /// The embedding model's files
    #[command(subcommand)]
    Model(commands::model::ModelCommand),
    /// Build a container image without Docker, and push it to a registry
    #[cfg(feature = "deploy")]
    Image(commands::image::ImageArguments),
    /// Measure how well an FAQ is searched, on labelled questions
    Eval(commands::eval::EvalArguments),
    /// Print the reference page of all settings, as Markdown
    #[command(hide = true)]
    SettingsReference,
    /// Print the page of AWS's operations that are served, as Markdown
    #[command(hide = true)]
    Compatibility,
}

impl Cli {
    /// Runs the command.
    pub(crate) fn run(self) -> anyhow::Result<()> {
        // Provider keys may be kept in `.env`; what the environment has already goes first.
        let _ = dotenvy::dotenv();
        match self.place {
            #[cfg(feature = "host")]
            Place::Host(command) => command.run(&self.common),
            #[cfg(feature = "agent")]
            Place::Agent(arguments) => {
                let settings = self.common.settings(arguments.overrides())?;
                commands::agent::run(&arguments, settings.agent)
            }
            #[cfg(feature = "lambda")]
            Place::Lambda(arguments) => commands::lambda::run(arguments),
        }
    }
}

/// The arguments as they are meant: Lambda starts a file of the name `bootstrap`, without any.
pub(crate) fn arguments(given: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments: Vec<_> = given.into_iter().collect();
    let is_bootstrap = arguments.first().is_some_and(|program| Path::new(program).file_name().is_some_and(|name| name == "bootstrap"));
    if is_bootstrap && arguments.len() == 1 {
        arguments.push("lambda".into());
    }
    arguments
}

#[cfg(feature = "host")]
impl Command {
    fn run(self, common: &Common) -> anyhow::Result<()> {
        let load = |flags: Vec<Override>| common.settings(flags);
        match self {
            Command::Up(arguments) => {
                let settings = load(arguments.overrides())?;
                commands::up::run(&arguments, settings)
            }
            Command::Ask(arguments) => commands::ask::run(&arguments, &load(Vec::new())?),
            Command::Configure(arguments) => commands::configure::run(&arguments, &load(Vec::new())?),
            Command::Launch(arguments) => commands::launch::run(&arguments, &load(Vec::new())?),
            Command::Invoke(arguments) => commands::invoke::run(&arguments, &load(Vec::new())?),
            Command::Sessions(arguments) => commands::sessions::run(&arguments, &load(Vec::new())?),
            Command::Stop(arguments) => commands::stop::run(&arguments, &load(Vec::new())?),
            Command::Logs(arguments) => commands::logs::run(&arguments, &load(Vec::new())?),
            Command::Destroy(arguments) => commands::destroy::run(&arguments, &load(Vec::new())?),
            Command::Status(arguments) => commands::status::run(&arguments, &load(Vec::new())?),
            Command::Keys(arguments) => commands::keys::run(arguments, &load(Vec::new())?),
            Command::Plans(command) => commands::plans::run(command, &load(Vec::new())?),
            Command::Usage(arguments) => commands::usage::run(&arguments, &load(Vec::new())?),
            Command::Cost(arguments) => commands::cost::run(&arguments, &load(Vec::new())?),
            #[cfg(feature = "deploy")]
            Command::Share(arguments) => commands::share::run(&arguments, &load(Vec::new())?),
            #[cfg(feature = "deploy")]
            Command::Deploy(arguments) => commands::deploy::run(&arguments, &load(Vec::new())?),
            #[cfg(feature = "deploy")]
            Command::Undeploy(arguments) => commands::undeploy::run(&arguments, &load(Vec::new())?),
            Command::Exec(arguments) => commands::exec::run(&arguments, &load(Vec::new())?),
            Command::Env(arguments) => commands::env::run(&arguments, &load(Vec::new())?),
            #[cfg(feature = "deploy")]
            Command::Doctor(arguments) => commands::doctor::run(&arguments, &load(Vec::new())?),
            Command::Model(command) => commands::model::run(&command, &load(Vec::new())?),
            #[cfg(feature = "deploy")]
            Command::Image(arguments) => commands::image::run(&arguments, &load(Vec::new())?),
            Command::Eval(arguments) => {
                let settings = load(arguments.overrides())?;
                commands::eval::run(&arguments, settings.agent)
            }
            Command::SettingsReference => {
                print!("{}", commands::settings_reference::page());
                Ok(())
            }
            Command::Compatibility => {
                print!("{}", commands::compatibility::page());
                Ok(())
            }
        }
    }
}

#[cfg(feature = "agent")]
impl Common {
    pub(crate) fn settings(&self, mut flags: Vec<Override>) -> anyhow::Result<Settings> {
        if let Some(data_dir) = &self.data_dir {
            flags.push(("data_dir", toml::Value::from(data_dir.to_string_lossy().into_owned())));
        }
        settings::load(self.config.as_deref(), std::env::vars(), flags)
    }
}
