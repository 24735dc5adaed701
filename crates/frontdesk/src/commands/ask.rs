//! `frontdesk ask`: a question through the front door, like any third party's.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;
use http::{Method, Request, StatusCode, header};
use serde_json::{Value, json};

use crate::control_client::ControlClient;
use crate::https::{self, Trust};
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
    /// The endpoint to ask [default: the running host's]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// PEM file of certificates to trust: the gateway's own, or those of who vouches for it [default: the running host's own, or this machine's authorities]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Print the whole answer as JSON
    #[arg(long)]
    json: bool,
}

/// Asks.
pub(crate) fn run(arguments: &AskArguments, settings: &Settings) -> anyhow::Result<()> {
    let (endpoint, certificate) = match &arguments.url {
        Some(url) => (url.clone(), None),
        None => {
            let run = RunFile::find(settings)?;
            (run.endpoint, run.certificate)
        }
    };
    let trust = match (&arguments.ca, certificate) {
        (Some(file), _) => Trust::Authorities(file.clone()),
        (None, Some(own)) => Trust::Exactly(own),
        (None, None) => Trust::System,
    };
    super::block_on(async {
        let key = match &arguments.key {
            Some(key) => key.clone(),
            None if arguments.url.is_some() => bail!("only the host that runs here gives its key away: name one for {endpoint} with --key"),
            None => ControlClient::new(settings)?.key_value(super::keys::FIRST_KEY).await?.value,
        };
        let body = json!({ "prompt": arguments.question, "actor_id": arguments.actor, "thread_id": arguments.thread });
        let request = Request::builder()
            .method(Method::POST)
            .uri(&endpoint)
            .header(header::CONTENT_TYPE, "application/json")
            .header("x-api-key", key)
            .body(body.to_string().into())
            .context("neither the URL nor the API key may hold such letters")?;
        let (status, answer) = https::send(request, &trust).await?;
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
