//! What a child prints: the last lines in memory, everything in a log file that is turned over when it is full.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader};

/// Lines kept in memory for error messages.
const TAIL_LINES_MAX: usize = 40;
/// A longer line is cut into pieces of this size, so that a child that never ends its line cannot fill the memory.
const LINE_BYTES_MAX: u64 = 16 * 1024;
/// At this size the log file becomes `<name>.1`, replacing the one before.
const LOG_FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Hears every line that a child prints.
#[derive(Clone)]
pub struct LineListener(pub Arc<dyn Fn(&str) + Send + Sync>);

impl std::fmt::Debug for LineListener {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("LineListener(…)")
    }
}

/// The last lines that a child printed.
#[derive(Debug, Default)]
pub(crate) struct OutputTail {
    lines: Mutex<VecDeque<String>>,
}

impl OutputTail {
    pub(crate) fn text(&self) -> String {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    }

    fn push(&self, line: String) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == TAIL_LINES_MAX {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    /// Reads a pipe to its end.
    pub(crate) async fn read(
        self: Arc<Self>,
        pipe: impl AsyncRead + Unpin,
        log_file: Option<Arc<LogFile>>,
        listener: Option<LineListener>,
    ) {
        let mut reader = BufReader::new(pipe);
        let mut line = Vec::new();
        loop {
            line.clear();
            match (&mut reader).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            if let Some(log_file) = &log_file {
                log_file.append(&text);
            }
            if let Some(LineListener(listen)) = &listener {
                listen(&text);
            }
            self.push(text);
        }
    }
}

/// A log file that several readers append to, turned over at 16 MiB.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    open: Mutex<OpenLog>,
}

#[derive(Debug)]
struct OpenLog {
    file: File,
    bytes: u64,
}

impl LogFile {
    /// Opens the file for appending, creating it where it is missing.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn open(path: &Path) -> io::Result<LogFile> {
        let open = OpenLog::at(path)?;
        Ok(LogFile { path: path.to_owned(), open: Mutex::new(open) })
    }

    /// Appends a line. A full disk loses the line, never the child.
    pub fn append(&self, line: &str) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.bytes >= LOG_FILE_BYTES_MAX
            && std::fs::rename(&self.path, self.path.with_extension("log.1")).is_ok()
            && let Ok(fresh) = OpenLog::at(&self.path)
        {
            *open = fresh;
        }
        if writeln!(open.file, "{line}").is_ok() {
            open.bytes += line.len() as u64 + 1;
        }
    }
}

impl OpenLog {
    fn at(path: &Path) -> io::Result<OpenLog> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let bytes = file.metadata()?.len();
        Ok(OpenLog { file, bytes })
    }
}
