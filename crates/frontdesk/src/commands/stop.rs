//! `frontdesk stop` (the toolkit's `stop-session`): ends a session of an agent. The host goes on, and the session's next call begins it anew.

use clap::Args;

use crate::control_client::ControlClient;
use crate::project::Project;
use crate::settings::Settings;

/// The flags of `stop`.
#[derive(Debug, Args)]
pub(crate) struct StopArguments {
    /// The agent [default: the project's]
    #[arg(short, long, value_name = "NAME")]
    agent: Option<String>,
    /// The session [default: the one of the last call]
    #[arg(short, long, value_name = "ID", conflicts_with = "all")]
    session_id: Option<String>,
    /// All sessions of the agent
    #[arg(long)]
    all: bool,
}

/// Ends what is named.
pub(crate) fn run(arguments: &StopArguments, settings: &Settings) -> anyhow::Result<()> {
    let mut project = Project::find()?;
    let client = ControlClient::new(settings)?;
    super::block_on(async {
        if let Some(session) = &arguments.session_id {
            return end(&client, session).await;
        }
        let name = super::agent_name(&project, arguments.agent.as_deref())?;
        if arguments.all {
            let sessions = client.list_sessions(Some(&name)).await?.sessions;
            for session in &sessions {
                // One that has ended by itself in between has ended too.
                client.end_session(&session.session_id).await?;
            }
            println!("{} sessions of {name} were stopped.", sessions.len());
            return Ok(());
        }
        let kept = project.agent(&name)?.and_then(|agent| agent.session_id);
        let Some(session) = kept else {
            anyhow::bail!(
                "no call of {name} has been noted in this folder: name a session with -s (`frontdesk sessions` lists them), or stop --all"
            );
        };
        let ended = end(&client, &session).await;
        // Ended or gone: the next call begins a new one.
        project.note(&name, |file| file.note_session(&name, None))?;
        ended
    })
}

/// Ends one session.
pub(crate) async fn end(client: &ControlClient, session: &str) -> anyhow::Result<()> {
    match client.end_session(session).await? {
        Some(_) => {
            println!("{session} is stopped.");
            Ok(())
        }
        None => anyhow::bail!("the host has no session {session}: it may have ended already (`frontdesk sessions` lists them)"),
    }
}
