//! What an agent's sessions print, as JSON lines in one file for each runtime.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use frontdesk_process::{LogFile, OutputStream};
use serde::Serialize;
use time::OffsetDateTime;
use time::macros::format_description;

/// A runtime's log; all its sessions write into it.
#[derive(Debug)]
pub(crate) struct SessionLog {
    agent: String,
    file: LogFile,
}

/// What an agent printed and was read together, for whoever keeps lines besides the runtime's own file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AgentOutput<'a> {
    /// The runtime's id.
    pub runtime_id: &'a str,
    /// The endpoint that the session is called through; a process that serves many is the default one's.
    pub endpoint: &'a str,
    /// The session; empty for a process that sessions share.
    pub session_id: &'a str,
    /// Unix milliseconds.
    pub timestamp_ms: i64,
    /// The lines, without their ends.
    pub lines: &'a [String],
}

/// Takes lines. It is called where an agent's output is read: it must not block.
#[derive(Clone)]
pub struct AgentLines(pub Arc<dyn Fn(AgentOutput<'_>) + Send + Sync>);

impl Default for AgentLines {
    fn default() -> Self {
        AgentLines(Arc::new(|_| {}))
    }
}

impl std::fmt::Debug for AgentLines {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("AgentLines")
    }
}

/// One line of output, with where it comes from.
#[derive(Serialize)]
struct LogLine<'a> {
    timestamp: &'a str,
    agent: &'a str,
    version: &'a str,
    session: &'a str,
    pid: Option<u32>,
    stream: &'static str,
    message: &'a str,
}

/// Whom a process serves, and its id: known to the log while both change.
#[derive(Debug, Default)]
pub(crate) struct Serving(Mutex<(String, Option<u32>)>);

impl Serving {
    /// The session's id.
    pub(crate) fn session_id(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    pub(crate) fn set_session_id(&self, session_id: &str) {
        session_id.clone_into(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner).0);
    }

    /// The process's id, once it has been started.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1
    }

    pub(crate) fn set_pid(&self, pid: u32) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1 = Some(pid);
    }
}

impl SessionLog {
    /// Opens `{folder}/{agent}.jsonl`, making the folder where it is missing.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub(crate) fn open(folder: &Path, agent: &str) -> std::io::Result<SessionLog> {
        std::fs::create_dir_all(folder)?;
        Ok(SessionLog { agent: agent.to_owned(), file: LogFile::open(&folder.join(format!("{agent}.jsonl")))? })
    }

    /// Appends lines that a process of this version printed, in one write.
    pub(crate) fn append(&self, version: u32, serving: &Serving, stream: OutputStream, printed: &[String], now: OffsetDateTime) {
        let (session, pid) = serving.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.file.append(&lines(&self.agent, version, &session, pid, (stream, printed), now));
    }
}

fn lines(
    agent: &str,
    version: u32,
    session: &str,
    pid: Option<u32>,
    (stream, printed): (OutputStream, &[String]),
    now: OffsetDateTime,
) -> String {
    let form = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    let timestamp = now.format(form).expect("every moment has a date and a time");
    let version = version.to_string();
    let line = |message: &String| {
        let line = LogLine { timestamp: &timestamp, agent, version: &version, session, pid, stream: stream.name(), message };
        serde_json::to_string(&line).expect("texts and numbers become JSON")
    };
    printed.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// The log of a runtime, or none where it keeps its own file.
pub(crate) type SharedLog = Option<Arc<SessionLog>>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_where_it_comes_from() {
        let now = OffsetDateTime::from_unix_timestamp_nanos(1_700_000_000_007_000_000).unwrap();
        assert_eq!(
            lines("faq", 3, "s-1", Some(7), (OutputStream::Stderr, &["say \"hi\"\u{1b}".to_owned()]), now),
            r#"{"timestamp":"2023-11-14T22:13:20.007Z","agent":"faq","version":"3","session":"s-1","pid":7,"stream":"stderr","message":"say \"hi\"\u001b"}"#
        );
    }

    #[test]
    fn the_session_is_the_one_that_is_served_at_that_moment() {
        let folder = tempfile::tempdir().unwrap();
        let log = SessionLog::open(&folder.path().join("agents"), "faq").unwrap();
        let serving = Serving::default();
        for session in ["one", "two"] {
            serving.set_session_id(session);
            log.append(1, &serving, OutputStream::Stdout, &["hello".to_owned()], OffsetDateTime::UNIX_EPOCH);
        }
        let written = std::fs::read_to_string(folder.path().join("agents/faq.jsonl")).unwrap();
        let sessions: Vec<_> =
            written.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["session"].clone()).collect();
        assert_eq!(sessions, ["one", "two"]);
    }
}
