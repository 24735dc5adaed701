//! `frontdesk destroy`: takes an agent off the running host. It removes what `launch` made, and says what it leaves.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;

use crate::control_client::ControlClient;
use crate::project::Project;
use crate::project::prepare::Programs;
use crate::settings::Settings;

/// How long its sessions may take to end: they have 10 seconds, and are killed then.
const GONE_PATIENCE: Duration = Duration::from_secs(30);
/// How often is looked.
const GONE_PERIOD: Duration = Duration::from_millis(50);

/// The flags of `destroy`.
#[derive(Debug, Args)]
pub(crate) struct DestroyArguments {
    /// The agent [default: the project's]
    #[arg(short, long, value_name = "NAME")]
    agent: Option<String>,
    /// Do not ask
    #[arg(long)]
    force: bool,
}

impl DestroyArguments {
    /// The same with `--force`.
    pub(crate) fn without_asking(self) -> DestroyArguments {
        DestroyArguments { force: true, ..self }
    }
}

/// Destroys.
pub(crate) fn run(arguments: &DestroyArguments, settings: &Settings) -> anyhow::Result<()> {
    let mut project = Project::find()?;
    let name = super::agent_name(&project, arguments.agent.as_deref())?;
    let client = ControlClient::new(settings)?;
    super::block_on(async {
        let agent = super::hosted(&client, &name).await?;
        if !arguments.force {
            confirm(&format!("Destroy {name} ({} sessions end, all {} versions go)?", agent.sessions, agent.agent_runtime_version))?;
        }
        client.delete_agent(&name).await?;
        until_gone(&client, &name).await?;
        println!("{name} is destroyed: {}", agent.agent_runtime_arn);
        let copies = Programs::new(&settings.programs_folder()?, &settings.data_dir)?.copies_of(&name);
        match std::fs::remove_dir_all(&copies) {
            Ok(()) => println!("Removed: {} (the versions' files)", copies.display()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("failed to remove {}", copies.display())),
        }
        let is_configured = project.agent(&name)?.is_some();
        project.note(&name, |file| file.note_destroyed(&name))?;
        if is_configured {
            println!("Kept:    its configuration in this folder, and its files");
        }
        let log = super::logs::file_of(&settings.data_dir, &name);
        if log.exists() {
            println!("Kept:    {} (its log)", log.display());
        }
        Ok(())
    })
}

/// Waits for its sessions to end: only then is its name free again.
async fn until_gone(client: &ControlClient, name: &str) -> anyhow::Result<()> {
    let looking = async {
        while client.agent(name).await?.is_some() {
            tokio::time::sleep(GONE_PERIOD).await;
        }
        anyhow::Ok(())
    };
    let looked = tokio::time::timeout(GONE_PATIENCE, looking).await;
    looked.unwrap_or_else(|_| bail!("{name} is still being deleted after {} s: its sessions do not end", GONE_PATIENCE.as_secs()))
}

fn confirm(question: &str) -> anyhow::Result<()> {
    if !std::io::stdin().is_terminal() {
        bail!("nobody is there to be asked: --force destroys without asking");
    }
    print!("{question} [y/N] ");
    std::io::stdout().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    if !matches!(answer.trim(), "y" | "Y" | "yes") {
        bail!("nothing was destroyed");
    }
    Ok(())
}
