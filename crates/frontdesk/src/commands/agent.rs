//! `frontdesk agent`: this executable as the agent, in a child process of the host or in a container.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use frontdesk_agent::{AgentSettings, ApiKey};
use tracing_subscriber::EnvFilter;

use crate::otlp::TracesExport;
use crate::settings::{HostedAgentSettings, Override};

/// Who exports by OpenTelemetry, where its variables name no other.
const SERVICE_NAME: &str = "frontdesk-agent";

/// The flags of `agent`. Its settings come from the file and the variables, as everywhere.
#[derive(Debug, Args)]
pub(crate) struct AgentArguments {
    /// Port to serve on; AgentCore's containers serve on 8080
    #[arg(long, env = "PORT", default_value_t = 8080)]
    port: u16,
    /// The FAQ: CSV with the header `question,answer`, JSON Lines, Markdown, or a folder of them
    #[arg(long, value_name = "FILE")]
    faq: Option<PathBuf>,
    /// Print the agent's graph as a Mermaid flowchart, and serve nothing
    #[arg(long)]
    graph: bool,
}

impl AgentArguments {
    /// The settings that the flags override.
    pub(crate) fn overrides(&self) -> Vec<Override> {
        let faq = self.faq.as_ref().map(|faq| ("agent.faq", toml::Value::from(faq.to_string_lossy().into_owned())));
        faq.into_iter().collect()
    }
}

/// Serves the AgentCore contract until SIGTERM or Ctrl-C.
pub(crate) fn run(arguments: &AgentArguments, settings: HostedAgentSettings) -> anyhow::Result<()> {
    if arguments.graph {
        print!("{}", frontdesk_agent::serve::graph_drawing()?);
        return Ok(());
    }
    // Machine-read: one JSON object a line, on standard error.
    // genai logs what a provider answers, and a provider may quote the key.
    let quiet = "genai=off".parse().expect("a directive");
    let filter =
        EnvFilter::try_from_env("FRONTDESK_LOG").unwrap_or_else(|_| EnvFilter::new("warn,frontdesk_agent=info")).add_directive(quiet);
    agentcore::log::init_with(filter);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("failed to start the async runtime")?;
    runtime.block_on(async {
        // Its metrics are in its log, where the host reads them.
        let traces = TracesExport::from_environment(SERVICE_NAME)?;
        let address = (agentcore::bind_address(), arguments.port);
        let listener = tokio::net::TcpListener::bind(address)
            .await
            .with_context(|| format!("failed to listen on {}:{}: is another program using the port?", address.0, address.1))?;
        let api_key = fetched_key(&settings).await?;
        let settings = AgentSettings { api_key, ..agent_settings(settings) };
        let served = frontdesk_agent::run(listener, settings, traces.spans(), agentcore::interrupted()).await;
        traces.flush().await;
        served
    })
}

/// The model's key, where a secret holds it.
async fn fetched_key(settings: &HostedAgentSettings) -> anyhow::Result<Option<ApiKey>> {
    let Some(arn) = &settings.api_key_secret else { return Ok(None) };
    #[cfg(feature = "aws")]
    return crate::secret::api_key(arn, settings.api_key_variable.as_deref()).await.map(Some);
    #[cfg(not(feature = "aws"))]
    anyhow::bail!("the secret {arn} (agent.api_key_secret) cannot be fetched by this build: it is one without the Cargo feature `aws`");
}

/// The agent's settings as its crate has them.
pub(super) fn agent_settings(settings: HostedAgentSettings) -> AgentSettings {
    let HostedAgentSettings {
        faq,
        company,
        system_prompt,
        model,
        base_url,
        api_key_variable,
        api_key_secret: _,
        search,
        model_dir,
        cache_dir,
        embedding_threads,
        embedding_wait_ms,
        steps_max,
    } = settings;
    AgentSettings {
        faq,
        company,
        system_prompt,
        model,
        base_url,
        api_key_variable,
        search,
        model_dir,
        cache_dir,
        embedding_threads,
        embedding_wait_ms,
        steps_max,
        ..AgentSettings::default()
    }
}
