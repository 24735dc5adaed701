//! `frontdesk invoke`: a call of an agent past the gateway, as AgentCore's clients make it.

use std::io::{Read as _, Write as _};

use anyhow::{Context as _, bail};
use clap::Args;
use http::{HeaderName, HeaderValue, Response, header};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::Value;

use crate::control_client::{self, ControlClient, SESSION_ID};
use crate::project::Project;
use crate::settings::Settings;

/// AgentCore's bounds on a session's id, in characters.
const SESSION_ID_CHARS: std::ops::RangeInclusive<usize> = 33..=256;
/// AgentCore's largest payload.
const PAYLOAD_BYTES_MAX: u64 = 100 * 1024 * 1024;
const USER_ID: HeaderName = HeaderName::from_static("x-amzn-bedrock-agentcore-runtime-user-id");
const CUSTOM_PREFIX: &str = "x-amzn-bedrock-agentcore-runtime-custom-";

/// The flags of `invoke`.
#[derive(Debug, Args)]
pub(crate) struct InvokeArguments {
    /// The payload as JSON, such as '{"prompt": "Hello"}'; a text that is none is sent as the prompt; - reads it from standard input
    payload: String,
    /// The agent [default: the project's]
    #[arg(short, long, value_name = "NAME")]
    agent: Option<String>,
    /// The session, 33 to 256 characters [default: the one of the call before]
    #[arg(short, long, value_name = "ID", value_parser = session_id)]
    session_id: Option<String>,
    /// Begin a new session
    #[arg(long, conflicts_with = "session_id")]
    new_session: bool,
    /// Ask for a streamed answer; one that is streamed anyway is printed as it comes, too
    #[arg(long)]
    stream: bool,
    /// On whose behalf
    #[arg(short, long, value_name = "ID")]
    user_id: Option<String>,
    /// Headers for the agent, as `NAME:VALUE,NAME:VALUE`
    #[arg(long, value_name = "HEADERS", value_parser = custom_headers)]
    headers: Option<CustomHeaders>,
    /// Call with this token instead of a signature
    #[arg(long, value_name = "TOKEN", env = "BEDROCK_AGENTCORE_BEARER_TOKEN", hide_env_values = true)]
    bearer_token: Option<String>,
    /// Print the answer's bytes as they are
    #[arg(long)]
    raw: bool,
}

/// Headers that were given.
#[derive(Debug, Clone)]
struct CustomHeaders(Vec<(HeaderName, HeaderValue)>);

/// Calls.
pub(crate) fn run(arguments: &InvokeArguments, settings: &Settings) -> anyhow::Result<()> {
    let payload = payload(&arguments.payload)?;
    let mut project = Project::find()?;
    let name = super::agent_name(&project, arguments.agent.as_deref())?;
    let client = ControlClient::new(settings)?;
    let kept = if arguments.new_session { None } else { project.agent(&name)?.and_then(|agent| agent.session_id) };
    // A session that cannot be one may stand in a file that another tool wrote: it is not used, and replaced below.
    let kept = kept.filter(|kept| session_id(kept).is_ok());
    // The caller names it, as the toolkit does: a session that the runtime had to name itself would lose its process after the call.
    let session = arguments.session_id.clone().or(kept).unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
    super::block_on(async {
        let agent = super::hosted(&client, &name).await?;
        let session_header = HeaderValue::from_str(&session).context("the session's id cannot be sent in a header")?;
        let mut headers = vec![(SESSION_ID, session_header)];
        if let Some(user) = &arguments.user_id {
            headers.push((USER_ID, HeaderValue::from_str(user).context("the user's id cannot be sent in a header")?));
        }
        let accept = if arguments.stream { "text/event-stream, application/json" } else { "application/json, text/event-stream" };
        headers.push((header::ACCEPT, HeaderValue::from_static(accept)));
        headers.extend(arguments.headers.iter().flat_map(|CustomHeaders(headers)| headers.clone()));
        let response = client.invoke(&agent.agent_runtime_arn, payload, &headers, arguments.bearer_token.as_deref()).await?;
        if !response.status().is_success() {
            return Err(refused(response, &name).await);
        }
        eprintln!("Session: {session}");
        project.note(&name, |file| file.note_session(&name, Some(&session)))?;
        print(response, arguments.raw).await
    })
}

fn payload(text: &str) -> anyhow::Result<Vec<u8>> {
    let mut read = String::new();
    let text = if text == "-" {
        std::io::stdin().take(PAYLOAD_BYTES_MAX + 1).read_to_string(&mut read).context("failed to read standard input")?;
        read.as_str()
    } else {
        text
    };
    if u64::try_from(text.len()).is_ok_and(|bytes| bytes > PAYLOAD_BYTES_MAX) {
        bail!("the payload is larger than {} MB, more than AgentCore takes", PAYLOAD_BYTES_MAX / 1024 / 1024);
    }
    match serde_json::from_str::<Value>(text) {
        Ok(_) => Ok(text.as_bytes().to_vec()),
        Err(error) if text.trim_start().starts_with(['{', '[', '"']) => {
            bail!("the payload is no JSON ({error}): write it in single quotes, as '{{\"prompt\": \"Hello\"}}'")
        }
        Err(_) => Ok(serde_json::json!({ "prompt": text }).to_string().into_bytes()),
    }
}

/// Checks a session's id. A short one is refused before anything is sent, and so is never noted.
pub(crate) fn session_id(text: &str) -> Result<String, String> {
    let chars = text.chars().count();
    if !SESSION_ID_CHARS.contains(&chars) {
        return Err(format!(
            "it has {chars} characters; AgentCore wants {} to {}: lengthen it (`{text}-$(uuidgen)`), or leave it out for a new one",
            SESSION_ID_CHARS.start(),
            SESSION_ID_CHARS.end()
        ));
    }
    if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_') {
        return Err("a session's id is of letters, digits, - and _".to_owned());
    }
    Ok(text.to_owned())
}

/// As the toolkit has it: what is no header of AgentCore's gets the prefix by which it is handed on.
fn custom_headers(text: &str) -> Result<CustomHeaders, String> {
    let header = |part: &str| {
        let (name, value) = part.split_once(':').ok_or_else(|| format!("`{part}`: write a header as NAME:VALUE"))?;
        let name = name.trim().to_ascii_lowercase();
        let name = if name == "authorization" || name.starts_with(CUSTOM_PREFIX) { name } else { format!("{CUSTOM_PREFIX}{name}") };
        let name = HeaderName::try_from(name).map_err(|error| format!("`{part}`: {error}"))?;
        let value = HeaderValue::from_str(value.trim()).map_err(|error| format!("`{part}`: {error}"))?;
        Ok::<_, String>((name, value))
    };
    text.split(',').filter(|part| !part.trim().is_empty()).map(header).collect::<Result<_, _>>().map(CustomHeaders)
}

async fn refused(response: Response<Incoming>, name: &str) -> anyhow::Error {
    let (parts, body) = response.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let message = control_client::message_of(&body).unwrap_or_else(|| String::from_utf8_lossy(&body).into_owned());
    let kind = parts.headers.get("x-amzn-errortype").and_then(|kind| kind.to_str().ok()).unwrap_or("no reason given");
    let status = parts.status.as_u16();
    let hint = if status == 424 { format!("\nIts log: frontdesk logs -a {name}") } else { String::new() };
    anyhow::anyhow!("the answer is {status} {kind}: {message}{hint}")
}

/// Prints an answer: JSON for reading, a stream's items as they come, all else as it is.
async fn print(response: Response<Incoming>, raw: bool) -> anyhow::Result<()> {
    let (parts, mut body) = response.into_parts();
    let content_type = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_json = content_type.starts_with("application/json");
    let is_stream = content_type.starts_with("text/event-stream");
    let mut out = std::io::stdout();
    if is_json && !raw {
        let body = body.collect().await.context("the answer broke off")?.to_bytes();
        match serde_json::from_slice::<Value>(&body) {
            Ok(answer) => writeln!(out, "{answer:#}")?,
            Err(_) => out.write_all(&body)?,
        }
        return Ok(());
    }
    let mut events = Events::default();
    while let Some(frame) = body.frame().await {
        let frame = frame.context("the answer broke off")?;
        let Ok(data) = frame.into_data() else { continue };
        if is_stream && !raw {
            for event in events.push(&data) {
                writeln!(out, "{event}")?;
            }
        } else {
            out.write_all(&data)?;
        }
        out.flush()?;
    }
    if is_stream
        && !raw
        && let Some(event) = events.rest()
    {
        writeln!(out, "{event}")?;
    }
    Ok(())
}

/// Server-sent events out of the pieces in which they come: the data of each.
#[derive(Debug, Default)]
struct Events {
    unread: Vec<u8>,
    data: Vec<String>,
}

impl Events {
    fn push(&mut self, piece: &[u8]) -> Vec<String> {
        self.unread.extend_from_slice(piece);
        let mut events = Vec::new();
        while let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.unread.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            events.extend(self.line(line.trim_end_matches(['\r', '\n'])));
        }
        events
    }

    fn line(&mut self, line: &str) -> Option<String> {
        if line.is_empty() {
            return self.end();
        }
        if let Some(data) = line.strip_prefix("data:") {
            self.data.push(data.strip_prefix(' ').unwrap_or(data).to_owned());
        }
        None
    }

    fn end(&mut self) -> Option<String> {
        let data = std::mem::take(&mut self.data);
        (!data.is_empty()).then(|| data.join("\n"))
    }

    /// What came without its end.
    fn rest(&mut self) -> Option<String> {
        let line = String::from_utf8_lossy(&std::mem::take(&mut self.unread)).into_owned();
        self.line(&line).or_else(|| self.end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_json_or_a_prompt() {
        let sent = |text: &str| payload(text).map(|bytes| String::from_utf8(bytes).unwrap()).map_err(|error| error.to_string());
        assert_eq!(sent(r#"{"prompt": "x"}"#), Ok(r#"{"prompt": "x"}"#.to_owned()));
        assert_eq!(sent("how are you?"), Ok(r#"{"prompt":"how are you?"}"#.to_owned()));
        assert!(sent("{prompt: x}").unwrap_err().contains("single quotes"));
    }

    #[test]
    fn a_short_session_id_is_refused_with_what_to_do() {
        assert!(session_id("mine").unwrap_err().contains("uuidgen"));
        assert!(session_id(&"a".repeat(33)).is_ok());
        assert!(session_id(&"a".repeat(257)).is_err());
        assert!(session_id(&" ".repeat(40)).is_err());
    }

    #[test]
    fn headers_get_the_prefix_by_which_they_are_handed_on() {
        let CustomHeaders(headers) = custom_headers("Tenant: a, X-Amzn-Bedrock-AgentCore-Runtime-Custom-B:c:d").unwrap();
        let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        let prefix = CUSTOM_PREFIX;
        assert_eq!(headers, [(format!("{prefix}tenant").as_str(), "a"), (format!("{prefix}b").as_str(), "c:d")]);
        assert!(custom_headers("x").is_err() && custom_headers("a b:c").is_err());
    }

    #[test]
    fn events_are_read_out_of_any_pieces() {
        let stream = b"data: {\"a\": 1}\n\n: comment\ndata: two\r\ndata: lines\r\n\r\ndata: cut off";
        for size in [1, 3, stream.len()] {
            let mut events = Events::default();
            let mut found: Vec<String> = stream.chunks(size).flat_map(|piece| events.push(piece)).collect();
            found.extend(events.rest());
            assert_eq!(found, ["{\"a\": 1}", "two\nlines", "cut off"], "in pieces of {size}");
        }
    }
}
