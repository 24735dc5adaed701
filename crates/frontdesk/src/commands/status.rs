//! `frontdesk status`: how the running host is.

use clap::Args;

use crate::control_client::ControlClient;
use crate::settings::Settings;

/// The flags of `status`.
#[derive(Debug, Args)]
pub(crate) struct StatusArguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Asks and prints.
pub(crate) fn run(arguments: &StatusArguments, settings: &Settings) -> anyhow::Result<()> {
    let client = ControlClient::new(settings)?;
    let status = super::block_on(client.status())?;
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&status)?);
        return Ok(());
    }
    let process = status.agent_pid.map(|pid| format!(" (process {pid})")).unwrap_or_default();
    let search = if status.embedding_model_missing {
        "keyword only: the embedding model is missing (`frontdesk model pull`, then restart)"
    } else {
        &status.search
    };
    let lines = [
        ("Agent status", format!("{}{process}", status.agent_status)),
        ("Agent ARN", status.agent_runtime_arn),
        ("Endpoint", status.endpoint),
        ("Chat page", format!("{}/", status.gateway)),
        ("Control", status.control),
        ("Region", status.region),
        ("Model", status.model),
        ("Search", search.to_owned()),
        ("Usage plan", status.usage_plan),
    ];
    for (name, value) in lines {
        println!("{:<13} {value}", format!("{name}:"));
    }
    if let Some(failure) = status.agent_failure {
        println!("\nThe agent's last start failed:\n{failure}");
    }
    Ok(())
}
