//! `frontdesk sessions`: the sessions of the running host's agents, what they use, and their end.

use clap::{Args, Subcommand};
use comfy_table::{CellAlignment, Table};
use frontdesk_control::SessionDocument;

use super::moments;
use crate::control_client::ControlClient;
use crate::settings::Settings;

/// The flags of `sessions`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct SessionsArguments {
    #[command(subcommand)]
    command: Option<SessionsCommand>,
    #[command(flatten)]
    list: ListArguments,
}

/// What can be done with sessions.
#[derive(Debug, Subcommand)]
pub(crate) enum SessionsCommand {
    /// List them (what `sessions` alone does, too)
    List(ListArguments),
    /// End a session: its process is stopped
    Stop {
        /// Its id
        #[arg(value_name = "ID")]
        session_id: String,
    },
}

/// The flags of `sessions list`.
#[derive(Debug, Args)]
pub(crate) struct ListArguments {
    /// Of one agent [default: of all]
    #[arg(short, long, value_name = "NAME")]
    agent: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Does it.
pub(crate) fn run(arguments: &SessionsArguments, settings: &Settings) -> anyhow::Result<()> {
    let client = ControlClient::new(settings)?;
    super::block_on(async {
        let list = match &arguments.command {
            Some(SessionsCommand::Stop { session_id }) => return super::stop::end(&client, session_id).await,
            Some(SessionsCommand::List(list)) => list,
            None => &arguments.list,
        };
        let sessions = client.list_sessions(list.agent.as_deref()).await?;
        if list.json {
            println!("{}", serde_json::to_string_pretty(&sessions)?);
        } else {
            println!("{}", table(&sessions.sessions));
        }
        Ok(())
    })
}

fn table(sessions: &[SessionDocument]) -> Table {
    let mut table = Table::new();
    let header = ["SESSION", "AGENT", "VERSION", "STATE", "PID", "MEMORY", "CPU", "AGE", "LAST CALL", "CALLS"];
    table.load_style(comfy_table::presets::NOTHING).set_header(header);
    for session in sessions {
        table.add_row([
            session.session_id.clone(),
            session.agent.clone(),
            session.version.clone(),
            session.state.clone(),
            session.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string()),
            megabytes(session.resident_bytes),
            seconds(session.cpu_ms),
            moments::ago(&session.started_at),
            moments::ago(&session.last_call_at),
            session.calls.to_string(),
        ]);
    }
    for column in [4, 5, 6, 9] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn megabytes(bytes: u64) -> String {
    format!("{}.{} MB", bytes / 1_000_000, bytes % 1_000_000 / 100_000)
}

fn seconds(milliseconds: u64) -> String {
    format!("{}.{} s", milliseconds / 1000, milliseconds % 1000 / 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_a_row() {
        let session = serde_json::json!({"sessionId": "s", "agent": "a", "version": "2", "state": "READY", "pid": 7, "residentBytes": 45_678_901,
            "cpuMs": 1234, "startedAt": "2000-01-01T00:00:00Z", "lastCallAt": "2000-01-01T00:00:00Z", "calls": 3});
        let sessions: Vec<SessionDocument> = vec![serde_json::from_value(session).unwrap()];
        let shown = table(&sessions).to_string();
        let row = shown.lines().last().unwrap();
        for part in ["s", "READY", "7", "45.6 MB", "1.2 s", "years", "3"] {
            assert!(row.contains(part), "{part} is missing in {row:?}");
        }
        assert_eq!(table(&[]).to_string().lines().count(), 1);
    }
}
