//! The log files of Lambda functions: one a function, of JSON lines, turned over at 16 MiB as all log files are.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use frontdesk_functions::{LogEvent, LogSink};
use frontdesk_process::LogFile;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Writes every line of a function to `{folder}/{function}.jsonl`.
pub(crate) fn sink(folder: &Path) -> anyhow::Result<LogSink> {
    std::fs::create_dir_all(folder).with_context(|| format!("failed to make the folder {}", folder.display()))?;
    let files = Arc::new(FunctionLogs { folder: folder.to_owned(), open: Mutex::default() });
    Ok(Arc::new(move |event| files.append(&event)))
}

struct FunctionLogs {
    folder: PathBuf,
    open: Mutex<HashMap<String, Arc<LogFile>>>,
}

impl FunctionLogs {
    fn append(&self, event: &LogEvent) {
        let moment = OffsetDateTime::from_unix_timestamp_nanos(i128::from(event.timestamp_ms) * 1_000_000);
        let timestamp = moment.ok().and_then(|moment| moment.format(&Rfc3339).ok()).unwrap_or_default();
        let line = serde_json::json!({ "timestamp": timestamp, "stream": event.stream, "message": event.message });
        if let Some(file) = self.file(&event.function) {
            file.append(&line.to_string());
        }
    }

    /// A disk that takes no file loses the log, never the function.
    fn file(&self, function: &str) -> Option<Arc<LogFile>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = open.get(function) {
            return Some(file.clone());
        }
        let file = Arc::new(LogFile::open(&self.folder.join(format!("{function}.jsonl"))).ok()?);
        open.insert(function.to_owned(), file.clone());
        Some(file)
    }
}
