//! Telling of alarms that change state: to a webhook, and to a command. An SNS topic, which CloudWatch would tell, is not to be had on this machine.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use frontdesk_control::{AlarmNotice, AlarmSink, MetricService};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::mpsc;

use crate::settings::AlarmSettings;

/// Changes that wait to be told; more are lost, and said to be.
const QUEUE_MAX: usize = 256;
/// The waits before a failed telling is tried again.
const RETRIES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(5)];

/// Tells of alarms, one after the other.
pub(crate) struct AlarmTeller {
    notices: mpsc::Receiver<AlarmNotice>,
    receivers: Vec<Receiver>,
}

/// Who is told.
enum Receiver {
    Webhook(reqwest::Client, reqwest::Url),
    Command(PathBuf, Duration),
}

impl AlarmTeller {
    /// A teller, and where it takes word from.
    ///
    /// # Errors
    /// A webhook that is no HTTP URL.
    pub(crate) fn new(settings: &AlarmSettings) -> anyhow::Result<(AlarmSink, AlarmTeller)> {
        let (sender, notices) = mpsc::channel(QUEUE_MAX);
        let timeout = Duration::from_millis(settings.timeout_ms);
        let mut receivers = Vec::new();
        if let Some(url) = settings.webhook.as_deref().map(webhook_of).transpose()? {
            frontdesk_agent::choose_crypto_provider();
            let client = reqwest::Client::builder().timeout(timeout).redirect(reqwest::redirect::Policy::none()).build();
            receivers.push(Receiver::Webhook(client.context("failed to make the HTTP client for alarms.webhook")?, url));
        }
        receivers.extend(settings.command.clone().map(|command| Receiver::Command(command, timeout)));
        let sink: AlarmSink = Arc::new(move |notice: AlarmNotice| {
            tracing::warn!(
                alarm = notice.alarm,
                state = notice.state,
                was = notice.old_state,
                reason = notice.reason,
                "an alarm has changed"
            );
            if let Err(mpsc::error::TrySendError::Full(notice)) = sender.try_send(notice) {
                tracing::error!(alarm = notice.alarm, "an alarm is told to nobody: {QUEUE_MAX} wait already");
            }
        });
        Ok((sink, AlarmTeller { notices, receivers }))
    }

    /// Tells, and writes into the alarms' history whether it was heard, until there is nobody left to send.
    pub(crate) async fn run(mut self, figures: Arc<MetricService>) {
        while let Some(notice) = self.notices.recv().await {
            for receiver in &self.receivers {
                let told = receiver.tell_with_retries(&notice).await;
                note(&figures, &notice, &receiver.name(), told).await;
            }
        }
    }
}

impl Receiver {
    /// Neither path nor query of a webhook: its address often holds its secret.
    fn name(&self) -> String {
        match self {
            Receiver::Webhook(_, url) => format!("webhook {}", url.host_str().unwrap_or_default()),
            Receiver::Command(command, _) => format!("command {}", command.display()),
        }
    }

    async fn tell(&self, notice: &AlarmNotice) -> anyhow::Result<()> {
        match self {
            Receiver::Webhook(client, url) => post(client, url, notice).await,
            Receiver::Command(command, timeout) => run_command(command, notice, *timeout).await,
        }
    }

    async fn tell_with_retries(&self, notice: &AlarmNotice) -> anyhow::Result<()> {
        for wait in RETRIES {
            match self.tell(notice).await {
                Ok(()) => return Ok(()),
                Err(error) => tracing::debug!(error = format!("{error:#}"), "an alarm could not be told; trying again"),
            }
            tokio::time::sleep(wait).await;
        }
        self.tell(notice).await
    }
}

/// The URL of a webhook.
///
/// # Errors
/// When it is none, or not of HTTP.
pub(crate) fn webhook_of(text: &str) -> anyhow::Result<reqwest::Url> {
    let url = reqwest::Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    url.with_context(|| "alarms.webhook is no http:// or https:// URL")
}

async fn note(figures: &Arc<MetricService>, notice: &AlarmNotice, whom: &str, told: anyhow::Result<()>) {
    let summary = match &told {
        Ok(()) => format!("Successfully executed action {whom}"),
        Err(error) => {
            tracing::error!(alarm = notice.alarm, whom, error = format!("{error:#}"), "an alarm could not be told");
            format!("Failed to execute action {whom}. Received error: \"{error:#}\"")
        }
    };
    let (figures, alarm) = (figures.clone(), notice.alarm.clone());
    let noting = tokio::task::spawn_blocking(move || figures.note_action(&alarm, &summary, told.is_ok(), now_ms()));
    let _ = noting.await;
}

async fn post(client: &reqwest::Client, url: &reqwest::Url, notice: &AlarmNotice) -> anyhow::Result<()> {
    let request = client.post(url.clone()).header("content-type", "application/json").body(notice.document.clone());
    // Without its URL, which may hold a secret.
    let answered = request.send().await.and_then(reqwest::Response::error_for_status);
    answered.map(drop).map_err(|error| error.without_url().into())
}

async fn run_command(command: &Path, notice: &AlarmNotice, timeout: Duration) -> anyhow::Result<()> {
    let mut program = tokio::process::Command::new(command);
    program.env("ALARM_NAME", &notice.alarm).env("NEW_STATE", notice.state).env("OLD_STATE", notice.old_state);
    // It is told of an alarm, not of the host's secrets.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("FRONTDESK_") || text.ends_with("_API_KEY") {
            program.env_remove(&name);
        }
    }
    program.stdin(Stdio::piped()).stdout(Stdio::null()).kill_on_drop(true);
    let mut child = program.spawn().with_context(|| format!("failed to start {}", command.display()))?;
    let running = async {
        if let Some(mut stdin) = child.stdin.take() {
            // One that reads nothing may still have heard.
            let _ = stdin.write_all(notice.document.as_bytes()).await;
        }
        child.wait().await
    };
    let ended = tokio::time::timeout(timeout, running).await.with_context(|| format!("it took longer than {timeout:?}"))??;
    anyhow::ensure!(ended.success(), "it ended with {ended}");
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "this is the edge where a telling's moment is read")]
fn now_ms() -> i64 {
    i64::try_from(time::OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX)
}
