//! `frontdesk up`: serves until it is interrupted.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use frontdesk_agent::retrieval::SearchKind;
use tokio::sync::oneshot;
use tracing_subscriber::EnvFilter;

use super::logs;
use crate::host::{self, Host};
use crate::otlp::{MetricsExport, TracesExport};
use crate::settings::{Override, Settings};

/// Who exports by OpenTelemetry, where its variables name no other.
const SERVICE_NAME: &str = "frontdesk";

/// The flags of `up`.
#[derive(Debug, Args)]
pub(crate) struct UpArguments {
    /// The FAQ: CSV with the header `question,answer`, JSON Lines, Markdown, or a folder of them
    #[arg(long, value_name = "FILE")]
    faq: Option<PathBuf>,
    /// Name of the agent that answers at the endpoint, one that `frontdesk launch` brings to this host [default: the built-in FAQ agent]
    #[arg(long, value_name = "NAME", conflicts_with = "faq")]
    agent: Option<String>,
    /// Address of the public gateway; port 0 picks a free one [default: 127.0.0.1:8000]
    #[arg(long, value_name = "HOST:PORT")]
    gateway_listen: Option<String>,
    /// Address of the control face; port 0 picks a free one [default: 127.0.0.1:4566]
    #[arg(long, value_name = "HOST:PORT")]
    control_listen: Option<String>,
    /// Once everything answers, write its addresses and keys to this file, as JSON (mode 0600)
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
}

impl UpArguments {
    /// The settings that the flags override.
    pub(crate) fn overrides(&self) -> Vec<Override> {
        let faq = self.faq.as_ref().map(|faq| faq.to_string_lossy().into_owned());
        let flags = [
            ("agent.faq", &faq),
            ("gateway.agent", &self.agent),
            ("gateway.listen", &self.gateway_listen),
            ("control.listen", &self.control_listen),
        ];
        flags.into_iter().filter_map(|(path, value)| Some((path, toml::Value::from(value.clone()?)))).collect()
    }
}

/// Serves.
pub(crate) fn run(arguments: &UpArguments, settings: Settings) -> anyhow::Result<()> {
    let filter = EnvFilter::try_from_env("FRONTDESK_LOG").unwrap_or_else(|_| EnvFilter::new("warn,frontdesk=info"));
    let is_terminal = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(is_terminal).with_target(false).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("failed to start the async runtime")?;
    check_shell()?;
    runtime.block_on(async {
        // Listened for from the beginning: who interrupts a slow start must not have to do it twice.
        let interrupted = agentcore::interrupted();
        tokio::pin!(interrupted);
        if settings.gateway.agent.is_none() {
            check_faq(&settings.agent.faq)?;
        }
        let traces = TracesExport::from_environment(SERVICE_NAME)?;
        let metrics = MetricsExport::from_environment(SERVICE_NAME)?;
        let host = Host::set_up(&settings, traces.spans()).await?;
        tokio::select! {
            started = host.start_agent() => started?,
            () = &mut interrupted => return Ok(()),
        }
        host.announce()?;
        if let Some(path) = &arguments.ready_file {
            write_ready_file(path, &ready_document(&host))?;
        }
        println!("{}", greeting(&host, &settings));
        let (page, (end_metrics, metrics_end)) = (host.metrics.clone(), oneshot::channel::<()>());
        let metrics = metrics.map(|metrics| {
            tokio::spawn(metrics.run(move || page(), async move {
                let _ = metrics_end.await;
            }))
        });
        host.serve(async {
            interrupted.await;
            println!("Finishing requests in flight, then stopping.");
        })
        .await?;
        drop(end_metrics);
        if let Some(metrics) = metrics {
            let _ = metrics.await;
        }
        traces.flush().await;
        println!("Stopped. Keys, plan and counts are kept in {}.", settings.data_dir.display());
        Ok(())
    })
}

/// What `frontdesk env` prints is for callers of a host. A host that took it over would hand it on to its agents, and call an earlier one.
fn check_shell() -> anyhow::Result<()> {
    for name in ["HTTPS_PROXY", "https_proxy"] {
        if std::env::var(name).is_ok_and(|value| value.starts_with("http://exec:")) {
            bail!("{name} is that of `frontdesk env`, which is for those who call a host: start `up` in another shell");
        }
    }
    Ok(())
}

/// A missing or broken FAQ is told before anything is started.
fn check_faq(path: &Path) -> anyhow::Result<()> {
    frontdesk_agent::retrieval::Faq::read(path)?;
    Ok(())
}

fn greeting(host: &Host, settings: &Settings) -> String {
    let run = &host.run;
    let model = host::model_name(settings);
    let mut lines = vec![String::new(), "Frontdesk is up.".to_owned(), String::new(), format!("  Endpoint    {}", run.endpoint)];
    let key = host.first_key.as_ref().map(|created| created.value.expose());
    match key {
        Some(key) => {
            lines.push(format!("  API key     {key}"));
            lines.push(format!("  Chat page   {}/#key={key}", run.gateway));
        }
        None => {
            lines.push("  API key     as before; `frontdesk keys show` prints it".to_owned());
            lines.push(format!("  Chat page   {}/", run.gateway));
        }
    }
    lines.push(format!("  Control     {}", run.control));
    lines.push(format!("  Agent       {}", host.front_agent_in_words()));
    if host.is_faq_in_front() {
        lines.push(format!("  Model       {}", model_in_words(&model)));
        lines.push(format!("  Search      {}", search_in_words(host.search, host.agent_is_busy(), settings)));
    }
    lines.push(format!("  Usage plan  {}", host::usage_plan_in_words(settings)));
    lines.push(String::new());
    lines.push("Ask it something:".to_owned());
    lines.push(String::new());
    let header = match key {
        Some(key) => key.to_owned(),
        None => "$(frontdesk keys show --value-only)".to_owned(),
    };
    lines.push(format!(
        "  curl -X POST {} -H 'Content-Type: application/json' -H \"x-api-key: {header}\" -d '{{\"prompt\": \"How do I activate roaming?\"}}'",
        run.endpoint
    ));
    lines.push(String::new());
    lines.push("Ctrl-C stops it.".to_owned());
    lines.join("\n")
}

fn model_in_words(model: &str) -> String {
    match model {
        "extractive" => "extractive (built in: answers in the FAQ's own words; set GROQ_API_KEY for a language model)".to_owned(),
        model => model.to_owned(),
    }
}

fn search_in_words(search: SearchKind, agent_is_busy: bool, settings: &Settings) -> String {
    match search {
        search if search != settings.agent.search => {
            "keyword only: the embedding model is missing; `frontdesk model pull` fetches it, then start again".to_owned()
        }
        SearchKind::Keyword => "keyword".to_owned(),
        search if agent_is_busy => {
            let log = logs::file_of(&settings.data_dir, logs::BUILT_IN_AGENT);
            format!("{search} (all-MiniLM-L6-v2), once the FAQ is embedded; by keywords until then ({} says how far it is)", log.display())
        }
        search => format!("{search} (all-MiniLM-L6-v2)"),
    }
}

fn ready_document(host: &Host) -> serde_json::Value {
    serde_json::json!({
        "gateway": host.run.gateway,
        "endpoint": host.run.endpoint,
        "control": host.run.control,
        "api_key": host.first_key.as_ref().map(|created| created.value.expose()),
        "agent_runtime_arn": host.agent_runtime_arn.to_string(),
        "region": host.run.region,
        "access_key_id": host.root_key.id,
        "secret_access_key": host.root_key.secret.expose(),
    })
}

/// Whole or not at all, and for its owner alone: who waits for the file must never read half of it.
fn write_ready_file(path: &Path, document: &serde_json::Value) -> anyhow::Result<()> {
    use std::io::Write as _;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let write = || -> std::io::Result<()> {
        let mut beside = tempfile::Builder::new().prefix(".ready-").tempfile_in(folder)?;
        beside.write_all(document.to_string().as_bytes())?;
        beside.persist(path)?;
        Ok(())
    };
    write().with_context(|| format!("failed to write the ready file {}", path.display()))
}
