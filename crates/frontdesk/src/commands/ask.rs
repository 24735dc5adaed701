//! `frontdesk ask`: a question through the front door, like any third party's.

use anyhow::{Context as _, bail};
use clap::Args;
use http::{Method, Request, StatusCode, header};
use serde_json::{Value, json};

use crate::control_client::{self, ControlClient};
use crate::run_file::RunFile;
use crate::settings::Settings;

/// The flags of `ask`.
#[derive(Debug, Args)]
pub(crate) struct AskArguments {
    /// The question
    question: String,
    /// Who asks
    #[arg(long)]
    actor: Option<String>,
    /// The conversation it belongs to
    #[arg(long)]
    thread: Option<String>,
    /// The API key to ask with [default: the key that `up` made first]
    #[arg(long, env = "FRONTDESK_API_KEY", hide_env_values = true)]
    key: Option<String>,
    /// Print the whole answer as JSON
    #[arg(long)]
    json: bool,
}

/// Asks.
pub(crate) fn run(arguments: &AskArguments, settings: &Settings) -> anyhow::Result<()> {
    let run = RunFile::find(settings)?;
    if run.endpoint.starts_with("https://") {
        bail!("the gateway speaks TLS, and only its callers know whom to trust: ask {} with curl and --cacert", run.endpoint);
    }
    super::block_on(async {
        let key = match &arguments.key {
            Some(key) => key.clone(),
            None => ControlClient::new(settings)?.key_value(super::keys::FIRST_KEY).await?.value,
        };
        let body = json!({ "prompt": arguments.question, "actor_id": arguments.actor, "thread_id": arguments.thread });
        let request = Request::builder()
            .method(Method::POST)
            .uri(&run.endpoint)
            .header(header::CONTENT_TYPE, "application/json")
            .header("x-api-key", key)
            .body(body.to_string().into())
            .context("the API key cannot be sent in a header")?;
        let (status, answer) = control_client::send(request, &run.endpoint).await?;
        let answer: Value = serde_json::from_slice(&answer).context("the answer is not JSON")?;
        if status != StatusCode::OK {
            let text = |field: &str| answer.get(field).and_then(Value::as_str);
            let what = text("message").or(text("error")).unwrap_or("no reason given");
            bail!(
                "the answer is {}: {what}{}",
                status.as_u16(),
                text("details").map(|details| format!(" ({details})")).unwrap_or_default()
            );
        }
        match answer.get("result").and_then(Value::as_str) {
            Some(result) if !arguments.json => println!("{result}"),
            _ => println!("{answer:#}"),
        }
        Ok(())
    })
}
