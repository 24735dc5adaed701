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

/// What is to be looked at on a host: its own API, or another of its APIs by id.
#[cfg(feature = "deploy")]
pub(super) fn wanted(
    status: &frontdesk_control::HostStatus,
    api: Option<&str>,
    stage: Option<&str>,
    question: Option<&'static str>,
) -> crate::diagnosis::Wanted {
    let account = status.agent_runtime_arn.split(':').nth(4).unwrap_or_default().to_owned();
    let own = crate::host::proxy_arn(&status.region, &account);
    let api_id = api.unwrap_or(&status.rest_api_id).to_owned();
    // `http://127.0.0.1:8000/prod/invoke`
    let of_endpoint = || status.endpoint.rsplit('/').nth(1).filter(|_| api_id == status.rest_api_id);
    let stage = stage.or_else(of_endpoint).map(str::to_owned);
    let today = super::moments::today();
    crate::diagnosis::Wanted { account, api_id, stage, own: Some((own, status.endpoint_agent_arn.clone())), question, keys: None, today }
}
