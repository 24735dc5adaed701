//! `frontdesk doctor`: goes through what may be wrong, as a troubleshooting list would have you do, and says what to do about it.

use std::path::Path;
use std::time::Duration;

use clap::Args;
use frontdesk_agent::retrieval::Faq;
use frontdesk_agent::retrieval::model::ModelFiles;
use frontdesk_control::{HostStatus, KeyDocument, PlanDocument};
use frontdesk_process::{Enforcement, enforcement};
use frontdesk_runtime::default_sandbox;
use serde::Serialize;

use crate::control_client::ControlClient;
use crate::host;
use crate::run_file::RunFile;
use crate::settings::Settings;

/// How long the public door may take to answer.
const DOOR_TIMEOUT: Duration = Duration::from_secs(5);

/// The flags of `doctor`.
#[derive(Debug, Args)]
pub(crate) struct DoctorArguments {
    #[cfg(feature = "deploy")]
    #[command(flatten)]
    on_aws: super::on_aws::OnAws,
    /// Why this key opens nothing: its id or name [default: all keys]
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// How a thing that was looked at is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    Good,
    /// It works, with something less.
    Lacking,
    Bad,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
pub(super) struct Finding {
    what: String,
    verdict: Verdict,
    /// How it is, and what to do where it is not good.
    said: String,
}

pub(super) fn good(what: impl Into<String>, said: impl Into<String>) -> Finding {
    Finding { what: what.into(), verdict: Verdict::Good, said: said.into() }
}

pub(super) fn lacking(what: impl Into<String>, said: impl Into<String>) -> Finding {
    Finding { what: what.into(), verdict: Verdict::Lacking, said: said.into() }
}

pub(super) fn bad(what: impl Into<String>, said: impl Into<String>) -> Finding {
    Finding { what: what.into(), verdict: Verdict::Bad, said: said.into() }
}

/// Looks and tells.
///
/// # Errors
/// When something is bad, so that a script learns of it.
pub(crate) fn run(arguments: &DoctorArguments, settings: &Settings) -> anyhow::Result<()> {
    #[cfg(feature = "deploy")]
    if let Some(place) = arguments.on_aws.place()? {
        return super::on_aws::doctor::run(place, arguments.json, settings);
    }
    let mut findings = super::block_on(async { Ok(of_host(arguments, settings).await) })?;
    let of_sessions = host::with_own_user(default_sandbox(), settings);
    findings.extend(enforcement(&of_sessions).into_iter().map(sandbox));
    tell(&findings, arguments.json)
}

/// Prints what was found.
///
/// # Errors
/// When something is bad.
pub(super) fn tell(findings: &[Finding], json: bool) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(findings)?);
    } else {
        for Finding { what, verdict, said } in findings {
            let mark = match verdict {
                Verdict::Good => "ok  ",
                Verdict::Lacking => "less",
                Verdict::Bad => "BAD ",
            };
            println!("{mark}  {what}: {said}");
        }
    }
    match findings.iter().filter(|finding| finding.verdict == Verdict::Bad).count() {
        0 => Ok(()),
        1 => anyhow::bail!("one thing is bad"),
        many => anyhow::bail!("{many} things are bad"),
    }
}

fn faq(path: &Path) -> Finding {
    match Faq::read(path) {
        Ok(faq) => good("FAQ", format!("{} entries and pages in {}", faq.pages().len(), path.display())),
        Err(error) => bad("FAQ", format!("{:#}", anyhow::Error::new(error))),
    }
}

fn model(folder: &Path) -> Finding {
    match ModelFiles::locate(folder) {
        Ok(Some(_)) => good("Embedding model", folder.display().to_string()),
        Ok(None) => lacking("Embedding model", "it is missing, so the search is by keywords: `frontdesk model pull` fetches it"),
        Err(error) => bad("Embedding model", format!("{:#}", anyhow::Error::new(error))),
    }
}

fn language_model(settings: &Settings) -> Finding {
    good("Language model", host::model_name(settings))
}

/// What the built-in agent answers from.
fn knowledge(faq_path: &Path, settings: &Settings) -> Vec<Finding> {
    vec![faq(faq_path), model(&settings.agent.model_dir), language_model(settings)]
}

/// How the running host is; where none runs, what one started here would answer from.
async fn of_host(arguments: &DoctorArguments, settings: &Settings) -> Vec<Finding> {
    let without_host = |finding: Finding| {
        let mut findings = knowledge(&settings.agent.faq, settings);
        findings.push(finding);
        findings
    };
    let (run, client) = match RunFile::find(settings).and_then(|run| Ok((run, ControlClient::new(settings)?))) {
        Ok(found) => found,
        Err(error) => return without_host(lacking("Host", format!("{error:#}"))),
    };
    let status = match client.status().await {
        Ok(status) => status,
        Err(error) => return without_host(bad("Host", format!("{error:#}"))),
    };
    // Its own FAQ: it may have been started from another folder, with other flags. An agent of one's own has none.
    let mut findings = if status.is_built_in_at_endpoint() { knowledge(Path::new(&status.faq), settings) } else { Vec::new() };
    findings.extend([good("Host", format!("process {}, control at {}", run.pid, run.control)), door(&run).await]);
    findings.extend(at_endpoint(&status));
    findings.push(agent(&status));
    match (client.list_keys().await, client.list_plans().await) {
        (Ok(keys), Ok(plans)) => findings.extend(of_keys(arguments.key.as_deref(), &keys.keys, &plans.usage_plans, now_unix())),
        (Err(error), _) | (_, Err(error)) => findings.push(bad("Keys", format!("{error:#}"))),
    }
    findings
}

/// Whether the public door takes connections, without a key and without counting for anybody.
async fn door(run: &RunFile) -> Finding {
    let address = run.gateway.split_once("://").map_or(run.gateway.as_str(), |(_, address)| address);
    match tokio::time::timeout(DOOR_TIMEOUT, tokio::net::TcpStream::connect(address)).await {
        Ok(Ok(_)) => good("Gateway", format!("takes connections at {}", run.gateway)),
        Ok(Err(error)) => bad("Gateway", format!("{} refuses connections ({error}): is something between?", run.gateway)),
        Err(_) => bad("Gateway", format!("{} takes no connection within {} s", run.gateway, DOOR_TIMEOUT.as_secs())),
    }
}

/// The agent behind the key, where it is not the built-in one.
fn at_endpoint(status: &HostStatus) -> Option<Finding> {
    let name = &status.endpoint_agent;
    match &status.endpoint_agent_arn {
        _ if status.is_built_in_at_endpoint() => None,
        Some(arn) => Some(good("Endpoint", format!("answered by {arn}"))),
        None => {
            Some(bad("Endpoint", format!("no agent named {name} is hosted, so callers get 404: `frontdesk launch -a {name}` brings it")))
        }
    }
}

fn agent(status: &HostStatus) -> Finding {
    match &status.agent_failure {
        Some(failure) => bad("Agent", format!("its last start failed (callers see 424); the next call tries again: {failure}")),
        None => good("Agent", format!("{}, {}", status.agent_status, status.agent_runtime_arn)),
    }
}

/// The causes of a 403 Forbidden, key by key.
fn of_keys(wanted: Option<&str>, keys: &[KeyDocument], plans: &[PlanDocument], now_unix: i64) -> Vec<Finding> {
    if keys.is_empty() {
        return vec![bad("Keys", "there is none, so nobody comes in: `frontdesk keys create NAME --usage-plan PLAN` makes one")];
    }
    let is_wanted = |key: &&KeyDocument| wanted.is_none_or(|wanted| key.id == wanted || key.name == wanted);
    let findings: Vec<_> = keys.iter().filter(is_wanted).map(|key| of_key(key, plans, now_unix)).collect();
    match (wanted, findings.is_empty()) {
        (Some(wanted), true) => vec![bad(format!("Key {wanted}"), "there is none of that id or name: `frontdesk keys list` shows all")],
        _ => findings,
    }
}

fn of_key(key: &KeyDocument, plans: &[PlanDocument], now_unix: i64) -> Finding {
    let what = format!("Key {}", key.name);
    let id = &key.id;
    if !key.enabled {
        return bad(what, format!("it is disabled: `frontdesk keys enable {id}`"));
    }
    if key.expires_at.is_some_and(|expires_at| expires_at <= now_unix) {
        return bad(what, format!("it has expired: `frontdesk keys update {id} --never-expires`, or --expires MOMENT"));
    }
    let its: Vec<_> = plans.iter().filter(|plan| key.usage_plans.iter().any(|name| *name == plan.name || *name == plan.id)).collect();
    if its.is_empty() {
        return bad(what, format!("it is in no usage plan, so it opens nothing: `frontdesk plans add PLAN {id}`"));
    }
    if its.iter().all(|plan| plan.stages.is_empty()) {
        return bad(what, format!("its usage plan {} opens no stage: `frontdesk plans update {} --stage prod`", its[0].name, its[0].id));
    }
    let from = if key.source_ranges.is_empty() { String::new() } else { format!(", only from {}", key.source_ranges.join(", ")) };
    good(what, format!("opens what {} opens{from}; used {} times today", its[0].name, key.used_today))
}

/// What the kernel gives to keep agents' sessions apart.
fn sandbox(Enforcement { what, by, why_not }: Enforcement) -> Finding {
    let what = format!("Sandbox, {what}");
    match (by, why_not) {
        (Some(by), None) => good(what, by),
        (Some(by), Some(why_not)) => lacking(what, format!("{by}, but {why_not}")),
        (None, why_not) => lacking(what, format!("not enforced: {}", why_not.unwrap_or_default())),
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the edge where a command's moment is read")]
fn now_unix() -> i64 {
    time::OffsetDateTime::now_utc().unix_timestamp()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(key: serde_json::Value, stages: serde_json::Value, verdict: Verdict, said: &str) {
        let mut document = json!({"id": "i", "name": "k", "description": "", "hint": "", "enabled": true, "created_at": 0, "expires_at": null,
            "former_value_retires_at": null, "source_ranges": [], "tags": {}, "usage_plans": ["p"], "used_today": 3});
        document.as_object_mut().unwrap().extend(key.as_object().unwrap().clone());
        let plan = json!({"id": "q", "name": "p", "description": "", "throttle": null, "quota": null, "stages": stages, "keys": 1});
        let (key, plan) = (serde_json::from_value(document).unwrap(), serde_json::from_value(plan).unwrap());
        let finding = of_key(&key, &[plan], 1000);
        assert!(finding.verdict == verdict && finding.said.contains(said), "{finding:?}");
    }

    #[test]
    fn every_cause_of_a_refusal_is_named_with_its_remedy() {
        let prod = json!([{"api_id": "a", "stage": "prod"}]);
        check(json!({}), prod.clone(), Verdict::Good, "used 3 times");
        check(json!({"source_ranges": ["10.0.0.0/8"]}), prod.clone(), Verdict::Good, "only from 10.0.0.0/8");
        check(json!({"enabled": false}), prod.clone(), Verdict::Bad, "frontdesk keys enable i");
        check(json!({"expires_at": 1000}), prod.clone(), Verdict::Bad, "expired");
        check(json!({"expires_at": 1001}), prod.clone(), Verdict::Good, "opens");
        check(json!({"usage_plans": []}), prod, Verdict::Bad, "frontdesk plans add PLAN i");
        check(json!({}), json!([]), Verdict::Bad, "opens no stage");
    }

    #[test]
    fn a_key_that_is_not_there_is_said() {
        assert_eq!(of_keys(None, &[], &[], 0)[0].verdict, Verdict::Bad);
    }
}
