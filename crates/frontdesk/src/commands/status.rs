//! `frontdesk status`: how the running host is; or how an agent on it is, where one is named or the folder is an agent's project.

use clap::Args;

use super::{logs, moments};
use crate::control_client::ControlClient;
use crate::project::Project;
use crate::settings::Settings;

/// The flags of `status`.
#[derive(Debug, Args)]
pub(crate) struct StatusArguments {
    #[cfg(feature = "deploy")]
    #[command(flatten)]
    on_aws: super::on_aws::OnAws,
    /// An agent [default: the project's; without one, the host]
    #[arg(short, long, value_name = "NAME")]
    agent: Option<String>,
    /// The host, also in an agent's project
    #[arg(long, conflicts_with = "agent")]
    host: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Asks and prints.
pub(crate) fn run(arguments: &StatusArguments, settings: &Settings) -> anyhow::Result<()> {
    #[cfg(feature = "deploy")]
    if let Some(place) = arguments.on_aws.place()? {
        return super::on_aws::status::run(place, arguments.json, settings);
    }
    let project = if arguments.host { Project::None } else { Project::find()? };
    if let Some(name) = project.name(arguments.agent.as_deref())? {
        return of_agent(&name, &project, arguments, settings);
    }
    let client = ControlClient::new(settings)?;
    let status = super::block_on(client.status())?;
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&status)?);
        return Ok(());
    }
    let process = status.agent_pid.map(|pid| format!(" (process {pid})")).unwrap_or_default();
    let search = if status.embedding_model_missing {
        "keyword only: the embedding model is missing (`frontdesk model pull`, then restart)".to_owned()
    } else if status.agent_busy {
        let log = logs::file_of(&settings.data_dir, logs::BUILT_IN_AGENT);
        format!(
            "{}; the FAQ is being embedded (how far: {}), and a new one is searched by keywords meanwhile",
            status.search,
            log.display()
        )
    } else {
        status.search.clone()
    };
    let answers = match &status.endpoint_agent_arn {
        _ if status.is_built_in_at_endpoint() => None,
        Some(arn) => Some(("Answered by", arn.clone())),
        None => Some(("Answered by", format!("nobody: no agent named {} is hosted (`frontdesk launch` brings it)", status.endpoint_agent))),
    };
    let lines = [
        ("Agent status", format!("{}{process}", status.agent_status)),
        ("Agent ARN", status.agent_runtime_arn),
        ("Endpoint", status.endpoint),
        ("Chat page", format!("{}/", status.gateway)),
        ("Control", status.control),
        ("Region", status.region),
        ("Model", status.model),
        ("Search", search),
        ("Usage plan", status.usage_plan),
    ];
    let lines: Vec<_> = lines.into_iter().chain(answers).collect();
    super::print_lines(&lines);
    if let Some(failure) = status.agent_failure {
        println!("\nThe agent's last start failed:\n{failure}");
    }
    Ok(())
}

fn of_agent(name: &str, project: &Project, arguments: &StatusArguments, settings: &Settings) -> anyhow::Result<()> {
    let client = ControlClient::new(settings)?;
    let agent = super::block_on(super::hosted(&client, name))?;
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&agent)?);
        return Ok(());
    }
    let mut lines = vec![
        ("Agent status", agent.status.clone()),
        ("Agent name", agent.agent_runtime_name.clone()),
        ("Agent ID", agent.agent_runtime_id.clone()),
        ("Agent ARN", agent.agent_runtime_arn.clone()),
        ("Version", agent.agent_runtime_version.clone()),
    ];
    let endpoints = agent.endpoints.iter().map(|endpoint| format!("{} (version {}, {})", endpoint.name, endpoint.version, endpoint.status));
    lines.push(("Endpoints", endpoints.collect::<Vec<_>>().join(", ")));
    lines.push(("Sessions", agent.sessions.to_string()));
    if let Some(session) = project.agent(name)?.and_then(|agent| agent.session_id) {
        lines.push(("Last session", session));
    }
    lines.push(("Created", format!("{} ago", moments::ago(&agent.created_at))));
    lines.push(("Updated", format!("{} ago", moments::ago(&agent.last_updated_at))));
    lines.push(("Logs", logs::file_of(&settings.data_dir, name).display().to_string()));
    super::print_lines(&lines);
    if let Some(reason) = agent.failure_reason {
        println!("\n{reason}");
    }
    Ok(())
}
