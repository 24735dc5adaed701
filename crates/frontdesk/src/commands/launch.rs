//! `frontdesk launch`: makes an agent's program and has the running host serve it; each launch that changes anything is a new version.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use frontdesk_control::AgentDocument;

use crate::control_client::ControlClient;
use crate::project::prepare::{self, How, Programs};
use crate::project::{Agent, Project};
use crate::settings::Settings;

/// How long an agent's status may be on its way.
const READY_TIMEOUT: Duration = Duration::from_secs(300);
/// How often it is asked for.
const READY_POLL: Duration = Duration::from_millis(200);
/// AgentCore's largest number of variables.
const VARIABLES_MAX: usize = 50;

/// The flags of `launch`.
#[derive(Debug, Args)]
pub(crate) struct LaunchArguments {
    /// The agent [default: the project's]
    #[arg(short, long, value_name = "NAME")]
    agent: Option<String>,
    /// A variable for the agent; may be repeated
    #[arg(long = "env", value_name = "NAME=VALUE", value_parser = variable)]
    environment: Vec<(String, String)>,
    /// A file of variables for the agent, such as .env; --env goes before it
    #[arg(long, value_name = "FILE")]
    env_file: Option<PathBuf>,
    /// Go back: a new version that equals this one
    #[arg(long, value_name = "NUMBER", conflicts_with_all = ["environment", "env_file", "in_place", "force_rebuild_deps"])]
    version: Option<String>,
    /// Run in the agent's own folder instead of a copy: edits reach the next session, and versions share their files
    #[arg(long)]
    in_place: bool,
    /// Make the Python environment anew, even if it is there
    #[arg(long)]
    force_rebuild_deps: bool,
    /// As the toolkit has it; an agent that is there is always updated
    #[arg(long, hide = true)]
    auto_update_on_conflict: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Launches.
pub(crate) fn run(arguments: &LaunchArguments, settings: &Settings) -> anyhow::Result<()> {
    let mut project = Project::find()?;
    if let Some(version) = &arguments.version {
        let name = super::agent_name(&project, arguments.agent.as_deref())?;
        let client = ControlClient::new(settings)?;
        let launched = super::block_on(async {
            client.put_agent_version(&name, version).await?;
            ready(&client, &name).await
        })?;
        project.note(&name, |file| file.note_launched(&name, &launched.agent_runtime_id, &launched.agent_runtime_arn))?;
        return print(arguments, settings, &launched, &[("Same as version", version.clone())]);
    }
    let agent = project.expect_agent(arguments.agent.as_deref())?;
    // Before anything is installed: without a host all of that would be in vain.
    let client = ControlClient::new(settings)?;
    let environment = environment(arguments, &agent)?;
    let programs = Programs::new(&settings.programs_folder()?, &settings.data_dir)?;
    let how = How { in_place: arguments.in_place, rebuild: arguments.force_rebuild_deps };
    let mut prepared = prepare::program(&agent, &programs, how)?;
    let notes = std::mem::take(&mut prepared.notes);
    let request = prepare::request(&agent, prepared, environment)?;
    let launched = super::block_on(async {
        client.put_agent(&agent.name, &request).await?;
        ready(&client, &agent.name).await
    })?;
    if let Some(former) = agent.arn.filter(|former| *former != launched.agent_runtime_arn) {
        eprintln!("The project's file named another runtime before: {former}");
    }
    project.note(&agent.name, |file| file.note_launched(&agent.name, &launched.agent_runtime_id, &launched.agent_runtime_arn))?;
    print(arguments, settings, &launched, &notes)
}

/// Waits until the agent's status is settled.
async fn ready(client: &ControlClient, name: &str) -> anyhow::Result<AgentDocument> {
    let settled = async {
        loop {
            let agent = super::hosted(client, name).await?;
            match agent.status.as_str() {
                "READY" => return Ok(agent),
                status if status.ends_with("_FAILED") => {
                    let reason = agent.failure_reason.unwrap_or_else(|| "no reason given".to_owned());
                    bail!("the agent {name} could not be launched ({status}): {reason}");
                }
                _ => tokio::time::sleep(READY_POLL).await,
            }
        }
    };
    tokio::time::timeout(READY_TIMEOUT, settled).await.with_context(|| format!("the agent {name} was not ready in time"))?
}

fn print(arguments: &LaunchArguments, settings: &Settings, launched: &AgentDocument, notes: &[(&str, String)]) -> anyhow::Result<()> {
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(launched)?);
        return Ok(());
    }
    let name = &launched.agent_runtime_name;
    let mut lines = vec![
        ("Agent name", name.clone()),
        ("Agent ARN", launched.agent_runtime_arn.clone()),
        ("Version", launched.agent_runtime_version.clone()),
        ("Status", launched.status.clone()),
    ];
    lines.extend(notes.iter().map(|(note, value)| (*note, value.clone())));
    lines.push(("Logs", super::logs::file_of(&settings.data_dir, name).display().to_string()));
    super::print_lines(&lines);
    println!("\nCall it:         frontdesk invoke -a {name} '{{\"prompt\": \"Hello\"}}'");
    println!("Watch its log:   frontdesk logs -a {name} -f");
    println!("See it:          frontdesk status -a {name}");
    Ok(())
}

/// The variables that were given, those of the file below those of the flags.
fn environment(arguments: &LaunchArguments, agent: &Agent) -> anyhow::Result<BTreeMap<String, String>> {
    let mut environment = BTreeMap::new();
    if let Some(file) = &arguments.env_file {
        let variables = dotenvy::from_path_iter(file).with_context(|| format!("failed to read {}", file.display()))?;
        for read in variables {
            let (name, value) = read.with_context(|| format!("{} has a mistake", file.display()))?;
            check_name(&name).map_err(|error| anyhow::anyhow!("{}: {error}", file.display()))?;
            environment.insert(name, value);
        }
    }
    environment.extend(arguments.environment.iter().cloned());
    let number = environment.keys().chain(agent.environment.keys().filter(|name| !environment.contains_key(*name))).count();
    if number > VARIABLES_MAX {
        bail!("the agent has {number} variables; AgentCore takes at most {VARIABLES_MAX}");
    }
    Ok(environment)
}

fn variable(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write a variable as NAME=VALUE")?;
    check_name(name)?;
    Ok((name.to_owned(), value.to_owned()))
}

fn check_name(name: &str) -> Result<(), String> {
    let is_fit =
        name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') && !name.starts_with(|first: char| first.is_ascii_digit());
    if name.is_empty() || !is_fit {
        return Err(format!("`{name}` names no variable: letters, digits and underscores do, not a digit first"));
    }
    if name == "PORT" {
        return Err("PORT is the host's to set: each session has its own".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        arguments: LaunchArguments,
    }

    fn check_environment(line: &[&str], file: &str, expected: &[(&str, &str)]) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("variables");
        std::fs::write(&path, file).unwrap();
        let path = path.to_string_lossy().into_owned();
        let line = ["launch", "--env-file", &path].into_iter().chain(line.iter().copied());
        let Line { arguments } = Line::try_parse_from(line).unwrap();
        let environment = environment(&arguments, &Agent::default()).unwrap();
        let environment: Vec<_> = environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(environment, expected);
    }

    #[test]
    fn variables_are_given_by_flags_and_by_a_file() {
        check_environment(&["--env", "A=1", "--env", "B=x=y, z", "--env", "C="], "", &[("A", "1"), ("B", "x=y, z"), ("C", "")]);
        check_environment(&["--env", "A=flag"], "# why\nA=file\nexport B='two words'\n", &[("A", "flag"), ("B", "two words")]);
    }

    #[test]
    fn what_is_no_variable_is_refused() {
        for (wrong, expected) in [
            ("A", "NAME=VALUE"),
            ("=1", "names no variable"),
            ("1A=1", "names no variable"),
            ("A-B=1", "names no variable"),
            ("PORT=1", "the host's"),
        ] {
            let error = Line::try_parse_from(["launch", "--env", wrong]).unwrap_err().to_string();
            assert!(error.contains(expected), "{wrong}: {error}");
        }
        let many = Agent { environment: (0..51).map(|number| (format!("V{number}"), String::new())).collect(), ..Agent::default() };
        let Line { arguments } = Line::try_parse_from(["launch"]).unwrap();
        assert!(environment(&arguments, &many).unwrap_err().to_string().contains("at most 50"));
    }
}
