//! How the running host is, and the API on it; where no host runs, what one started here would answer from.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use frontdesk_agent::retrieval::Faq;
use frontdesk_agent::retrieval::model::ModelFiles;
use frontdesk_control::{HostStatus, KeyDocument};
use frontdesk_deploy::call::Retries;
use frontdesk_process::{Enforcement, enforcement};
use frontdesk_runtime::default_sandbox;

use super::{DoctorArguments, look_and_mend};
use crate::commands::{logs, moments};
use crate::control_client::ControlClient;
use crate::diagnosis::{Facts, Finding, Known, Probe};
use crate::host;
use crate::run_file::RunFile;
use crate::settings::Settings;

/// How long the public door may take to answer.
const DOOR_TIMEOUT: Duration = Duration::from_secs(5);
/// So many of an agent's last lines are shown.
const LOG_TAIL_LINES: usize = 10;

/// Looks.
///
/// # Errors
/// As [`look_and_mend`].
pub(super) async fn findings(arguments: &DoctorArguments, settings: &Settings) -> anyhow::Result<Vec<Finding>> {
    let mut findings = of_host(arguments, settings).await?;
    let of_sessions = host::with_own_user(default_sandbox(), settings);
    findings.extend(enforcement(&of_sessions).into_iter().map(sandbox));
    Ok(findings)
}

async fn of_host(arguments: &DoctorArguments, settings: &Settings) -> anyhow::Result<Vec<Finding>> {
    let without_host = |finding: Finding| {
        let mut findings = knowledge(&settings.agent.faq, settings);
        findings.push(finding);
        findings
    };
    let (run, client) = match RunFile::find(settings).and_then(|run| Ok((run, ControlClient::new(settings)?))) {
        Ok(found) => found,
        Err(error) => return Ok(without_host(Finding::lacking("Host", format!("{error:#}")))),
    };
    let status = match client.status().await {
        Ok(status) => status,
        Err(error) => return Ok(without_host(Finding::bad("Host", format!("{error:#}")))),
    };
    // Its own FAQ: it may have been started from another folder, with other flags. An agent of one's own has none.
    let mut findings = if status.is_built_in_at_endpoint() { knowledge(Path::new(&status.faq), settings) } else { Vec::new() };
    findings.extend([Finding::good("Host", format!("process {}, control at {}", run.pid, run.control)), door(&run).await]);
    findings.extend(at_endpoint(&status));
    findings.push(agent(&status));

    let aws = client.aws()?.with_retries(Retries { times_max: 1, ..Retries::default() });
    let api = arguments.api.as_deref();
    let wanted = super::super::of_host::wanted(&status, api, arguments.stage.as_deref(), arguments.question());
    let keys = client.list_keys().await.map(|list| list.keys).unwrap_or_default();
    let refused = refused(&run).await;
    let add = |facts: &mut Facts| {
        facts.refused.clone_from(&refused);
        of_keys(facts, &keys);
        of_logs(facts, settings);
    };
    findings.extend(look_and_mend(&aws, &wanted, Some(&client), arguments, add).await?);
    Ok(findings)
}

/// What a host knows of its keys beside what API Gateway's documents hold.
fn of_keys(facts: &mut Facts, keys: &[KeyDocument]) {
    for key in &mut facts.keys {
        let Some(document) = keys.iter().find(|document| document.id == key.id) else { continue };
        key.has_expired = document.expires_at.is_some_and(moments::has_passed);
        key.source_ranges.clone_from(&document.source_ranges);
    }
}

/// The last lines of an agent that does not answer as it should; and what only a program that was launched here has: earlier versions to go back to.
fn of_logs(facts: &mut Facts, settings: &Settings) {
    for agent in facts.agents.values_mut() {
        let Known::Is(agent) = agent else { continue };
        agent.can_go_back &= !logs::is_built_in(&agent.name);
        if agent.probe.as_ref().is_some_and(|probe| !matches!(probe, Probe::Answered(answer) if answer.contains("\"result\""))) {
            agent.log_tail = logs::tail(&logs::file_of(&settings.data_dir, &agent.name), LOG_TAIL_LINES);
        }
    }
}

/// How many requests the gateway has turned away, by reason. A host whose metrics are shut tells nothing.
async fn refused(run: &RunFile) -> BTreeMap<String, u64> {
    let request = http::Request::get(format!("{}/metrics", run.control)).body(http_body_util::Full::default());
    let Ok(request) = request else { return BTreeMap::new() };
    match crate::control_client::send(request, &run.control).await {
        Ok((http::StatusCode::OK, page)) => refused_of(&String::from_utf8_lossy(&page)),
        _ => BTreeMap::new(),
    }
}

fn refused_of(page: &str) -> BTreeMap<String, u64> {
    let mut refused = BTreeMap::new();
    for line in page.lines().filter(|line| line.starts_with("apigateway_refused_total{")) {
        let reason = line.split("reason=\"").nth(1).and_then(|rest| rest.split('"').next());
        let count = line.rsplit(' ').next().and_then(|count| count.parse::<u64>().ok());
        if let (Some(reason), Some(count)) = (reason, count) {
            *refused.entry(reason.to_owned()).or_default() += count;
        }
    }
    refused
}

fn faq(path: &Path) -> Finding {
    match Faq::read(path) {
        Ok(faq) => Finding::good("FAQ", format!("{} entries and pages in {}", faq.pages().len(), path.display())),
        Err(error) => Finding::bad("FAQ", format!("{:#}", anyhow::Error::new(error))),
    }
}

fn model(folder: &Path) -> Finding {
    match ModelFiles::locate(folder) {
        Ok(Some(_)) => Finding::good("Embedding model", folder.display().to_string()),
        Ok(None) => Finding::lacking("Embedding model", "it is missing, so the search is by keywords: `frontdesk model pull` fetches it"),
        Err(error) => Finding::bad("Embedding model", format!("{:#}", anyhow::Error::new(error))),
    }
}

/// What the built-in agent answers from.
fn knowledge(faq_path: &Path, settings: &Settings) -> Vec<Finding> {
    vec![faq(faq_path), model(&settings.agent.model_dir), Finding::good("Language model", host::model_name(settings))]
}

/// Whether the public door takes connections, without a key and without counting for anybody.
async fn door(run: &RunFile) -> Finding {
    let address = run.gateway.split_once("://").map_or(run.gateway.as_str(), |(_, address)| address);
    match tokio::time::timeout(DOOR_TIMEOUT, tokio::net::TcpStream::connect(address)).await {
        Ok(Ok(_)) => Finding::good("Gateway", format!("takes connections at {}", run.gateway)),
        Ok(Err(error)) => Finding::bad("Gateway", format!("{} refuses connections ({error}): is something between?", run.gateway)),
        Err(_) => Finding::bad("Gateway", format!("{} takes no connection within {} s", run.gateway, DOOR_TIMEOUT.as_secs())),
    }
}

/// The agent behind the key, where it is not the built-in one.
fn at_endpoint(status: &HostStatus) -> Option<Finding> {
    let name = &status.endpoint_agent;
    match &status.endpoint_agent_arn {
        _ if status.is_built_in_at_endpoint() => None,
        Some(arn) => Some(Finding::good("Endpoint", format!("answered by {arn}"))),
        None => Some(Finding::bad(
            "Endpoint",
            format!("no agent named {name} is hosted, so callers get 404: `frontdesk launch -a {name}` brings it"),
        )),
    }
}

fn agent(status: &HostStatus) -> Finding {
    match &status.agent_failure {
        Some(failure) => Finding::bad("Agent", format!("its last start failed (callers see 424); the next call tries again: {failure}")),
        None => Finding::good("Agent", format!("{}, {}", status.agent_status, status.agent_runtime_arn)),
    }
}

/// What the kernel gives to keep agents' sessions apart.
fn sandbox(Enforcement { what, by, why_not }: Enforcement) -> Finding {
    let what = format!("Sandbox, {what}");
    match (by, why_not) {
        (Some(by), None) => Finding::good(what, by),
        (Some(by), Some(why_not)) => Finding::lacking(what, format!("{by}, but {why_not}")),
        (None, why_not) => Finding::lacking(what, format!("not enforced: {}", why_not.unwrap_or_default())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_added_up_by_reason() {
        let page = "# TYPE apigateway_refused counter\napigateway_refused_total{api_id=\"a\",reason=\"throttled\"} 2\n\
                    apigateway_refused_total{api_id=\"b\",reason=\"throttled\"} 3\napigateway_refused_total{reason=\"forbidden\"} 1\n# EOF\n";
        assert_eq!(refused_of(page), BTreeMap::from([("throttled".to_owned(), 5), ("forbidden".to_owned(), 1)]));
    }
}
