//! `frontdesk logs`: what an agent's sessions have printed, from the files in the data folder; with `--group` what any log group holds. No host need run.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Seek as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::Value;
use time::OffsetDateTime;

use super::{group_logs, moments};
use crate::project::Project;
use crate::settings::Settings;

/// The built-in agent, whose log lies where it always has.
pub(crate) const BUILT_IN_AGENT: &str = "lauki_faq";
/// How often a followed file is looked at.
const FOLLOW_POLL: Duration = Duration::from_millis(250);

/// The flags of `logs`.
#[derive(Debug, Args)]
pub(crate) struct LogsArguments {
    #[cfg(feature = "deploy")]
    #[command(flatten)]
    on_aws: super::on_aws::OnAws,
    /// The agent [default: the project's, else the built-in one]
    #[arg(short, long, value_name = "NAME")]
    agent: Option<String>,
    /// Of a log group instead, such as /aws/lambda/NAME
    #[arg(short, long, value_name = "NAME", conflicts_with = "agent")]
    group: Option<String>,
    /// Go on with what comes, until Ctrl-C
    #[arg(short, long)]
    follow: bool,
    /// Of one session; its beginning is enough
    #[arg(short, long, value_name = "ID")]
    session: Option<String>,
    /// Of one request
    #[arg(short, long, value_name = "ID")]
    request: Option<String>,
    /// Not older than this, such as 10m
    #[arg(long, value_name = "LENGTH", value_parser = moments::length_s)]
    since: Option<u32>,
    /// Print the lines as they are kept: JSON
    #[arg(long)]
    json: bool,
}

/// The file of an agent's log.
pub(crate) fn file_of(data_dir: &Path, agent: &str) -> PathBuf {
    let logs = data_dir.join("logs");
    if agent == BUILT_IN_AGENT { logs.join("agent.log") } else { logs.join("agents").join(format!("{agent}.jsonl")) }
}

/// Whether an agent is the built-in one.
#[cfg(feature = "deploy")]
pub(crate) fn is_built_in(agent: &str) -> bool {
    agent == BUILT_IN_AGENT
}

/// The last lines of a log file, for reading; none where it cannot be read.
#[cfg(feature = "deploy")]
pub(crate) fn tail(file: &Path, lines_max: usize) -> Vec<String> {
    let text = std::fs::read(file).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let last = lines.iter().skip(lines.len().saturating_sub(lines_max));
    let all = Wanted { session: None, request: None, since: None };
    last.filter_map(|line| shown(line, &all, false)).collect()
}

/// The file in which the lines lie that were too many for this one.
fn former(file: &Path) -> PathBuf {
    // As the host's log files are turned over: the ending is replaced.
    file.with_extension("log.1")
}

/// Which lines are wanted.
struct Wanted {
    session: Option<String>,
    request: Option<String>,
    since: Option<OffsetDateTime>,
}

/// What is wanted of the logs on AWS.
#[cfg(feature = "deploy")]
fn wanted_on_aws(arguments: &LogsArguments) -> super::on_aws::logs::Wanted {
    super::on_aws::logs::Wanted {
        follows: arguments.follow,
        since: arguments.since.map(moments::before),
        // A session's and a request's id stand in the lines themselves.
        containing: arguments.session.clone().or_else(|| arguments.request.clone()),
    }
}

/// Prints.
pub(crate) fn run(arguments: &LogsArguments, settings: &Settings) -> anyhow::Result<()> {
    #[cfg(feature = "deploy")]
    if let Some(place) = arguments.on_aws.place()? {
        return super::on_aws::logs::run(place, &wanted_on_aws(arguments), settings);
    }
    if let Some(group) = &arguments.group {
        let wanted = group_logs::Wanted {
            group: group.clone(),
            follows: arguments.follow,
            since: arguments.since.map(moments::before),
            containing: arguments.session.iter().chain(&arguments.request).cloned().collect(),
            json: arguments.json,
        };
        return group_logs::run(&wanted, &settings.data_dir);
    }
    let name = match Project::find()?.name(arguments.agent.as_deref())? {
        Some(name) => name,
        None => BUILT_IN_AGENT.to_owned(),
    };
    let file = file_of(&settings.data_dir, &name);
    let former = former(&file);
    if !file.exists() && !former.exists() && !arguments.follow {
        bail!("the agent {name} has printed nothing here: {} is not there", file.display());
    }
    let LogsArguments { session, request, .. } = arguments;
    let wanted = Wanted { session: session.clone(), request: request.clone(), since: arguments.since.map(moments::before) };
    let show = |line: &str| show(line, &wanted, arguments.json);
    if let Some(former) = open(&former)? {
        read(&mut BufReader::new(former), &mut String::new(), &show)?;
    }
    let current = open(&file)?.map(BufReader::new);
    let (mut current, mut unfinished) = (current, String::new());
    if let Some(current) = &mut current {
        read(current, &mut unfinished, &show)?;
    }
    if !arguments.follow {
        // A line that is being written belongs to what is there.
        return if unfinished.is_empty() { Ok(()) } else { show(&unfinished) };
    }
    super::block_on(follow(&file, current, unfinished, &show))
}

/// Shows what is added to a file, also after it has been turned over.
async fn follow(
    file: &Path,
    mut current: Option<BufReader<File>>,
    mut unfinished: String,
    show: &impl Fn(&str) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    loop {
        if let Some(current) = &mut current {
            read(current, &mut unfinished, show)?;
        }
        let is_another = match (&current, std::fs::metadata(file)) {
            (Some(current), Ok(now)) => current.get_ref().metadata()?.ino() != now.ino(),
            (None, Ok(_)) => true,
            (_, Err(_)) => false,
        };
        if is_another {
            if let Some(current) = &mut current {
                // What was written between the last look and the turning over.
                read(current, &mut unfinished, show)?;
            }
            unfinished.clear();
            current = open(file)?.map(BufReader::new);
            continue;
        }
        if let Some(current) = &mut current
            && current.get_ref().metadata()?.len() < current.stream_position()?
        {
            current.rewind()?;
        }
        tokio::time::sleep(FOLLOW_POLL).await;
    }
}

fn open(file: &Path) -> anyhow::Result<Option<File>> {
    match File::open(file) {
        Ok(open) => Ok(Some(open)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("failed to read {}", file.display())),
    }
}

/// Shows the whole lines that can be read; the beginning of another is kept.
fn read(from: &mut BufReader<File>, unfinished: &mut String, show: &impl Fn(&str) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        if from.read_until(b'\n', &mut bytes)? == 0 {
            return Ok(());
        }
        unfinished.push_str(&String::from_utf8_lossy(&bytes));
        if unfinished.ends_with('\n') {
            show(unfinished.trim_end())?;
            unfinished.clear();
        }
    }
}

fn show(line: &str, wanted: &Wanted, json: bool) -> anyhow::Result<()> {
    let Some(shown) = shown(line, wanted, json) else { return Ok(()) };
    match writeln!(std::io::stdout(), "{shown}") {
        // Who reads no further (`| head`) has what was wanted.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        written => Ok(written?),
    }
}

/// A line as it is shown; `None` if it is not wanted.
fn shown(line: &str, wanted: &Wanted, json: bool) -> Option<String> {
    let kept: Value = serde_json::from_str(line).unwrap_or_default();
    let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    let message = text(&kept, "message").unwrap_or_else(|| line.to_owned());
    // What a session printed may be JSON of its own, as AgentCore's SDKs log; the built-in agent's log has nothing around it.
    let inner: Option<Value> = serde_json::from_str(&message).ok().filter(Value::is_object);
    let inner = inner.unwrap_or_else(|| kept.clone());
    let session = text(&kept, "session").or_else(|| text(&kept, "sessionId")).or_else(|| text(&inner, "sessionId"));
    if let Some(wanted) = &wanted.session
        && !session.as_ref().is_some_and(|session| session.starts_with(wanted.as_str()))
    {
        return None;
    }
    if let Some(wanted) = &wanted.request {
        let request = text(&inner, "requestId").or_else(|| text(&kept, "requestId")).or_else(|| text(&kept, "request"));
        if request.as_ref() != Some(wanted) && !message.contains(wanted.as_str()) {
            return None;
        }
    }
    let timestamp = text(&kept, "timestamp");
    if let Some(since) = wanted.since {
        // A line without a time cannot be older than it looks.
        if timestamp.as_deref().and_then(moments::of_iso).is_some_and(|moment| moment < since) {
            return None;
        }
    }
    if json {
        return Some(line.to_owned());
    }
    let session = session.map(|session| format!(" [{}]", session.chars().take(8).collect::<String>())).unwrap_or_default();
    let level = text(&inner, "level").unwrap_or_default();
    let message = text(&inner, "message").unwrap_or(message);
    let level = if level.is_empty() { level } else { format!(" {level}") };
    let details: String =
        ["errorMessage", "stackTrace"].iter().filter_map(|name| detail(&inner, name)).map(|text| format!("\n    {text}")).collect();
    Some(format!("{}{session}{level} {message}{details}", timestamp.unwrap_or_default()).trim_start().to_owned())
}

/// An error's detail, indented below its message.
fn detail(inner: &Value, name: &str) -> Option<String> {
    let text = match inner.get(name)? {
        Value::String(text) => text.clone(),
        Value::Array(lines) => lines.iter().filter_map(Value::as_str).collect::<String>(),
        _ => return None,
    };
    Some(text.trim_end().replace('\n', "\n    "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"timestamp":"2026-01-02T03:04:05.678Z","agent":"a","version":"1","session":"0123456789abcdef","pid":7,"stream":"stdout","message":"hello"}"#;

    fn wanted() -> Wanted {
        Wanted { session: None, request: None, since: None }
    }

    #[test]
    fn a_line_is_shown_for_reading() {
        assert_eq!(shown(LINE, &wanted(), false).unwrap(), "2026-01-02T03:04:05.678Z [01234567] hello");
        assert_eq!(shown(LINE, &wanted(), true).unwrap(), LINE);
        let said = r#"{"level":"ERROR","message":"failed","requestId":"r-1","errorMessage":"boom","stackTrace":["one\n","two\n"]}"#;
        let line = LINE.replace("\"hello\"", &serde_json::to_string(said).unwrap());
        assert_eq!(shown(&line, &wanted(), false).unwrap(), "2026-01-02T03:04:05.678Z [01234567] ERROR failed\n    boom\n    one\n    two");
        assert_eq!(shown("plain text", &wanted(), false).unwrap(), "plain text");
        assert_eq!(shown(said, &wanted(), false).unwrap(), "ERROR failed\n    boom\n    one\n    two");
    }

    #[test]
    fn lines_are_found_by_session_request_and_time() {
        let is_shown = |wanted: Wanted| shown(LINE, &wanted, false).is_some();
        assert!(is_shown(Wanted { session: Some("01234567".to_owned()), ..wanted() }));
        assert!(!is_shown(Wanted { session: Some("1".to_owned()), ..wanted() }));
        assert!(!is_shown(Wanted { request: Some("r-1".to_owned()), ..wanted() }));
        let said = LINE.replace("hello", r#"{\"message\":\"x\",\"requestId\":\"r-1\"}"#);
        assert!(shown(&said, &Wanted { request: Some("r-1".to_owned()), ..wanted() }, false).is_some());
        let at = |text: &str| Some(moments::of_iso(text).unwrap());
        assert!(is_shown(Wanted { since: at("2026-01-02T03:04:05Z"), ..wanted() }));
        assert!(!is_shown(Wanted { since: at("2026-01-02T03:04:06Z"), ..wanted() }));
    }

    #[tokio::test]
    async fn a_file_that_grows_and_is_turned_over_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.jsonl");
        let (send, mut shown) = tokio::sync::mpsc::unbounded_channel();
        let show = move |line: &str| Ok(send.send(line.to_owned())?);
        let following = follow(&file, None, String::new(), &show);
        let writing = async {
            let mut next = async |expected: &str| assert_eq!(shown.recv().await.as_deref(), Some(expected));
            std::fs::write(&file, "one\ntw").unwrap();
            next("one").await;
            let mut open = File::options().append(true).open(&file).unwrap();
            open.write_all(b"o\nthree\n").unwrap();
            next("two").await;
            next("three").await;
            std::fs::rename(&file, former(&file)).unwrap();
            std::fs::write(&file, "four\n").unwrap();
            next("four").await;
        };
        tokio::select! {
            followed = following => panic!("{followed:?}"),
            () = writing => {}
        }
    }
}
