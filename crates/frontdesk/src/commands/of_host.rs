//! What several commands share that speak to a running host.

use std::future::Future;

use anyhow::{Context as _, bail};
use frontdesk_control::AgentDocument;

use crate::control_client::ControlClient;
use crate::project::Project;

/// Runs a short command's future on a small runtime of its own.
pub(super) fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("failed to start the async runtime")?;
    runtime.block_on(work)
}

/// The name of the agent that a command means: the given one, else the project's.
pub(super) fn agent_name(project: &Project, given: Option<&str>) -> anyhow::Result<String> {
    project.name(given)?.context("there is no agent's project in this folder: name an agent with -a, or `frontdesk configure -e FILE`")
}

/// An agent that must be on the host.
pub(super) async fn hosted(client: &ControlClient, name: &str) -> anyhow::Result<AgentDocument> {
    if let Some(agent) = client.agent(name).await? {
        return Ok(agent);
    }
    let others = client.list_agents().await?.agents;
    let others: Vec<_> = others.into_iter().map(|agent| agent.agent_runtime_name).collect();
    bail!("the host has no agent {name} (it has: {}): `frontdesk launch -a {name}` launches it", others.join(", "));
}

/// Prints names and values in two columns.
pub(super) fn print_lines<N: AsRef<str>>(lines: &[(N, String)]) {
    let width = lines.iter().map(|(name, _)| name.as_ref().len() + 1).max().unwrap_or(0).max(13);
    for (name, value) in lines {
        println!("{:<width$} {value}", format!("{}:", name.as_ref()));
    }
}
