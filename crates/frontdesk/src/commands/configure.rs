//! `frontdesk configure`: writes what is known of an agent into `.bedrock_agentcore.yaml`, as AgentCore's toolkit does. No host is needed, and nothing is asked.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand, ValueEnum};

use crate::project::entry_point::EntryPoint;
use crate::project::{Configured, OwnSettings, ToolkitFile, name, prepare};
use crate::settings::Settings;

/// AgentCore's bounds on a session's idle time and lifetime, in seconds.
const SECONDS: std::ops::RangeInclusive<i64> = 60..=28_800;
/// AgentCore's longest list of headers that are handed on.
const REQUEST_HEADERS_MAX: usize = 20;

/// The flags of `configure`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct ConfigureArguments {
    #[command(subcommand)]
    command: Option<ConfigureCommand>,
    /// The entry point: a Python file, a TypeScript or JavaScript file, an executable, or a folder with a main.py, agent.py or app.py
    #[arg(short, long, value_name = "FILE", required_unless_present = "image")]
    entrypoint: Option<String>,
    /// A container image instead
    #[arg(long, value_name = "IMAGE", conflicts_with = "entrypoint", requires = "name")]
    image: Option<String>,
    /// The agent's name: a letter, then up to 47 letters, digits and underscores [default: made of the file's]
    #[arg(short, long)]
    name: Option<String>,
    /// What the agent speaks [default: HTTP]
    #[arg(short, long, ignore_case = true, value_parser = clap::builder::PossibleValuesParser::new(prepare::PROTOCOLS))]
    protocol: Option<String>,
    /// What Python is to install [default: requirements.txt or pyproject.toml beside the entry point]
    #[arg(long, value_name = "FILE")]
    requirements_file: Option<PathBuf>,
    /// How long a session may be idle, in seconds [default: 900]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(SECONDS))]
    idle_timeout: Option<u32>,
    /// How long a session may live, in seconds [default: 28800]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(SECONDS))]
    max_lifetime: Option<u32>,
    /// Headers of a call that reach the agent, separated by commas
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    request_header_allowlist: Option<Vec<String>>,
    /// Who may call with a JWT, as JSON: {"customJWTAuthorizer": {"discoveryUrl": …}}
    #[arg(long, value_name = "JSON")]
    authorizer_config: Option<String>,
    /// The role's ARN on AWS
    #[arg(long, value_name = "ARN")]
    execution_role: Option<String>,
    /// The AWS region [default: the settings']
    #[arg(long)]
    region: Option<String>,
    /// Whether each session has a process of its own, or all share one [default: process]
    #[arg(long, value_enum)]
    sessions: Option<Sessions>,
    /// How far a session's process is kept apart [default: process]
    #[arg(long, value_enum)]
    isolation: Option<Isolation>,
    /// Memory that a session may use, such as 512M or 2G
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    memory: Option<u64>,
    /// Processes that a session may have
    #[arg(long, value_name = "NUMBER")]
    processes: Option<u32>,
    /// Files that a session may have open
    #[arg(long, value_name = "NUMBER")]
    open_files: Option<u64>,
    /// Processors that a session may use; may be a fraction
    #[arg(long, value_name = "NUMBER", value_parser = cpus)]
    cpus: Option<f64>,
    /// As the toolkit has it; nothing is ever asked here
    #[arg(long, hide = true)]
    non_interactive: bool,
    /// As the toolkit has it; no memory is made here
    #[arg(long, hide = true)]
    disable_memory: bool,
}

/// What else can be done with the file.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigureCommand {
    /// List the agents of the project
    List,
    /// Choose the agent that is meant when none is named
    SetDefault {
        /// Its name
        name: String,
    },
}

/// Whether sessions have processes of their own.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Sessions {
    Process,
    Shared,
}

/// How far a session's process is kept apart.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Isolation {
    None,
    Process,
    Namespace,
}

/// Writes.
pub(crate) fn run(arguments: &ConfigureArguments, settings: &Settings) -> anyhow::Result<()> {
    let folder = std::env::current_dir().context("failed to find the working folder")?;
    let mut file = ToolkitFile::read_or_new(&folder)?;
    match &arguments.command {
        Some(ConfigureCommand::List) => {
            for name in file.names() {
                let is_default = file.default_agent() == Some(name);
                println!("{name}{}", if is_default { " (default)" } else { "" });
            }
            return Ok(());
        }
        Some(ConfigureCommand::SetDefault { name }) => {
            if !file.names().contains(&name.as_str()) {
                bail!("{} has no agent {name}", file.path.display());
            }
            file.set_default(name);
            file.write()?;
            println!("{name} is the default agent now.");
            return Ok(());
        }
        None => {}
    }
    let configured = configured(arguments, settings, &folder)?;
    file.configure(&configured);
    file.write()?;
    let Configured { name, entry_point, own, .. } = &configured;
    let what = own.image.clone().unwrap_or_else(|| entry_point.clone());
    let mut lines = vec![("Agent name", name.clone()), ("Entry point", what), ("Region", configured.region.clone())];
    lines.push(("Config", file.path.display().to_string()));
    super::print_lines(&lines);
    println!("\nLaunch it on the running host with: frontdesk launch");
    Ok(())
}

fn configured(arguments: &ConfigureArguments, settings: &Settings, folder: &Path) -> anyhow::Result<Configured> {
    let entry_point = match (&arguments.entrypoint, &arguments.image) {
        (Some(file), _) => EntryPoint::find(file, folder)?,
        (None, Some(image)) => EntryPoint::Image { name: image.clone() },
        (None, None) => bail!("name an entry point with -e FILE, or an image with --image"),
    };
    let name = match (&arguments.name, entry_point.file()) {
        (Some(name), _) => name.clone(),
        (None, Some(file)) => name::infer(file, folder)?,
        (None, None) => bail!("an agent of an image needs a --name"),
    };
    name::check(&name)?;
    let requirements_file = arguments.requirements_file.as_ref().map(|file| {
        let file = std::path::absolute(file)?;
        if !file.is_file() {
            bail!("the requirements file {} is not there", file.display());
        }
        Ok(file)
    });
    if let (Some(idle), Some(lifetime)) = (arguments.idle_timeout, arguments.max_lifetime)
        && idle > lifetime
    {
        bail!("--idle-timeout is {idle} s, longer than --max-lifetime, {lifetime} s");
    }
    if let Some(headers) = &arguments.request_header_allowlist
        && headers.len() > REQUEST_HEADERS_MAX
    {
        bail!("--request-header-allowlist has {} headers; at most {REQUEST_HEADERS_MAX} are handed on", headers.len());
    }
    let authorizer = arguments.authorizer_config.as_ref().map(|json| {
        let authorizer: serde_json::Value = serde_json::from_str(json).context("--authorizer-config is no JSON")?;
        if authorizer.pointer("/customJWTAuthorizer/discoveryUrl").is_none() {
            bail!("--authorizer-config names no customJWTAuthorizer with a discoveryUrl");
        }
        Ok(authorizer)
    });
    let word = |value: Option<clap::builder::PossibleValue>| value.map(|value| value.get_name().to_owned());
    let source_path = entry_point.file().and_then(Path::parent).unwrap_or(folder).to_owned();
    Ok(Configured {
        name,
        runtime_type: matches!(entry_point, EntryPoint::Python { .. }).then(prepare::python_runtime_type).flatten(),
        entry_point: entry_point.in_toolkit(),
        source_path,
        language: entry_point.language(),
        execution_role: arguments.execution_role.clone(),
        account: settings.account_id.clone(),
        region: arguments.region.clone().unwrap_or_else(|| settings.region.clone()),
        protocol: arguments.protocol.as_ref().map(|protocol| protocol.to_uppercase()),
        idle_timeout_s: arguments.idle_timeout,
        lifetime_max_s: arguments.max_lifetime,
        request_headers: arguments.request_header_allowlist.clone(),
        authorizer: authorizer.transpose()?,
        own: OwnSettings {
            image: arguments.image.clone(),
            requirements_file: requirements_file.transpose()?,
            sessions: word(arguments.sessions.and_then(|sessions| sessions.to_possible_value())),
            isolation: word(arguments.isolation.and_then(|isolation| isolation.to_possible_value())),
            memory_bytes: arguments.memory,
            processes: arguments.processes,
            open_files: arguments.open_files,
            cpus: arguments.cpus,
        },
    })
}

/// Reads a number of bytes, such as `512M`.
fn bytes(text: &str) -> Result<u64, String> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let unit: u64 = match unit.trim_end_matches("iB").trim_end_matches('B').to_ascii_uppercase().as_str() {
        "" => 1,
        "K" => 1 << 10,
        "M" => 1 << 20,
        "G" => 1 << 30,
        _ => return Err("write a number of bytes as 512M or 2G".to_owned()),
    };
    let number: u64 = number.parse().map_err(|_| "write a number of bytes as 512M or 2G")?;
    number.checked_mul(unit).filter(|bytes| *bytes > 0).ok_or_else(|| "that is no amount of memory".to_owned())
}

fn cpus(text: &str) -> Result<f64, String> {
    let cpus: f64 = text.parse().map_err(|_| "write a number of processors as 2 or 0.5")?;
    if cpus.is_finite() && cpus > 0.0 { Ok(cpus) } else { Err("a session needs more than no processor".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_as_people_write_them() {
        assert_eq!((bytes("512M"), bytes("2GiB"), bytes("1k"), bytes("7")), (Ok(512 << 20), Ok(2 << 30), Ok(1024), Ok(7)));
        for wrong in ["", "M", "0", "1.5G", "5T", "99999999999G"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
        assert_eq!(cpus("0.5"), Ok(0.5));
        assert!(cpus("0").is_err() && cpus("nan").is_err() && cpus("two").is_err());
    }
}
