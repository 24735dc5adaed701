//! What a child prints: the last lines in memory, everything in a log file that is turned over when it is full.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::unix::pipe;
use tokio::sync::{Notify, oneshot};

/// Lines kept in memory for error messages.
const TAIL_LINES_MAX: usize = 40;
/// A longer line is cut into pieces of this size, so that a child that never ends its line cannot fill the memory.
const LINE_BYTES_MAX: usize = 16 * 1024;
/// Read at once: what a pipe holds.
const READ_BYTES_MAX: usize = 64 * 1024;
/// After a read the next one waits so long: a child that prints a line for each of its calls would wake the host for each of them. A pipe holds what it prints
/// meanwhile, and who wants it at once asks for it.
const REST: Duration = Duration::from_millis(5);
/// At this size the log file becomes `<name>.1`, replacing the one before.
const LOG_FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

thread_local! {
    /// What a thread reads into: most reads are of a line or of none, and cost less than clearing room for what a pipe holds.
    static READ: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Where a line was printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl OutputStream {
    /// `stdout` or `stderr`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            OutputStream::Stdout => "stdout",
            OutputStream::Stderr => "stderr",
        }
    }
}

type Hear = dyn Fn(OutputStream, &[String]) + Send + Sync;

/// Hears every line that a child prints, in the order read, and together what was read together. It is called where the output is read: it must not block.
#[derive(Clone)]
pub struct LineListener(pub Arc<Hear>);

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

    fn extend(&self, printed: Vec<String>) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let passed_over = printed.len().saturating_sub(TAIL_LINES_MAX);
        lines.extend(printed.into_iter().skip(passed_over));
        let surplus = lines.len().saturating_sub(TAIL_LINES_MAX);
        lines.drain(..surplus);
    }
}

/// Those who wait until all is read of one stream that was printed by the time they asked. A channel in its place would keep a block of messages for each of a
/// thousand children.
#[derive(Debug, Default)]
pub(crate) struct Drains {
    waiting: Mutex<Waiting>,
    has_asked: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    askers: Vec<oneshot::Sender<()>>,
    is_over: bool,
}

impl Drains {
    /// Waits until all is read; at once where the stream has ended.
    pub(crate) async fn ask(&self) {
        let (told, drained) = oneshot::channel();
        {
            let mut waiting = self.waiting();
            if waiting.is_over {
                return;
            }
            waiting.askers.push(told);
        }
        self.has_asked.notify_one();
        // Ended without an answer where the reader has ended: everything is read.
        let _ = drained.await;
    }

    fn take(&self) -> Vec<oneshot::Sender<()>> {
        std::mem::take(&mut self.waiting().askers)
    }

    fn end(&self) {
        *self.waiting() = Waiting { askers: Vec::new(), is_over: true };
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Poison is ignored: the list is consistent between any two of its operations.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the lines of one stream go.
#[derive(Debug)]
pub(crate) struct Lines {
    pub(crate) stream: OutputStream,
    pub(crate) tail: Arc<OutputTail>,
    pub(crate) log_file: Option<Arc<LogFile>>,
    pub(crate) listener: Option<LineListener>,
    /// The beginning of a line whose end has not come.
    begun: Vec<u8>,
    /// Lines that nobody has been told of.
    untold: Vec<String>,
}

impl Lines {
    pub(crate) fn new(
        stream: OutputStream,
        tail: Arc<OutputTail>,
        log_file: Option<Arc<LogFile>>,
        listener: Option<LineListener>,
    ) -> Lines {
        Lines { stream, tail, log_file, listener, begun: Vec::new(), untold: Vec::new() }
    }

    /// Reads a pipe to its end. Between reads only a begun line is held, for most children say nothing most of the time. Whoever asks by `drains` is told when
    /// all is read that had been printed by then.
    pub(crate) async fn read(mut self, pipe: pipe::Receiver, drains: Arc<Drains>) {
        if let Err(error) = self.read_to_end(pipe, &drains).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                stream = self.stream.name(),
                "a child's output cannot be read any more"
            );
        }
        if !self.begun.is_empty() {
            self.end_line();
            self.tell();
        }
        drains.end();
    }

    async fn read_to_end(&mut self, mut pipe: pipe::Receiver, drains: &Drains) -> io::Result<()> {
        loop {
            tokio::select! {
                readable = pipe.readable() => readable?,
                () = drains.has_asked.notified() => {}
            }
            // From here on nobody is woken by what it prints, until it has printed nothing for a while.
            let file = File::from(pipe.into_nonblocking_fd()?);
            loop {
                let askers = drains.take();
                let bytes = self.read_what_is_there(&file).await?;
                for asker in askers {
                    let _ = asker.send(());
                }
                match bytes {
                    None => return Ok(()),
                    Some(0) => break,
                    Some(_) => {}
                }
                let _ = tokio::time::timeout(REST, drains.has_asked.notified()).await;
            }
            pipe = pipe::Receiver::from_file(file)?;
        }
    }

    /// Reads until the pipe is empty, and says how many bytes there were; nothing when it has come to its end.
    async fn read_what_is_there(&mut self, pipe: &File) -> io::Result<Option<usize>> {
        let mut bytes = 0;
        loop {
            match self.read_once(pipe) {
                Ok(0) => return Ok(None),
                Ok(length) => bytes += length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Some(bytes)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            // A child that prints without end must not keep the thread to itself.
            tokio::task::yield_now().await;
        }
    }

    fn read_once(&mut self, mut pipe: &File) -> io::Result<usize> {
        READ.with_borrow_mut(|buffer| {
            buffer.resize(READ_BYTES_MAX, 0);
            let length = pipe.read(buffer)?;
            self.take(&buffer[..length]);
            Ok(length)
        })
    }

    fn take(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = &bytes[..bytes.len().min(LINE_BYTES_MAX - self.begun.len())];
            let line_end = room.iter().position(|byte| *byte == b'\n');
            let taken = line_end.map_or(room.len(), |at| at + 1);
            self.begun.extend_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
            if line_end.is_some() || self.begun.len() == LINE_BYTES_MAX {
                self.end_line();
            }
        }
        if self.begun.is_empty() {
            self.begun = Vec::new();
        }
        self.tell();
    }

    fn end_line(&mut self) {
        self.untold.push(String::from_utf8_lossy(&self.begun).trim_end().to_owned());
        self.begun.clear();
    }

    fn tell(&mut self) {
        let lines = std::mem::take(&mut self.untold);
        if lines.is_empty() {
            return;
        }
        if let Some(log_file) = &self.log_file {
            log_file.append(&lines.join("\n"));
        }
        if let Some(LineListener(listen)) = &self.listener {
            listen(self.stream, &lines);
        }
        self.tail.extend(lines);
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

    /// Appends a line, or several that are joined, in one write. A full disk loses the line, never the child.
    pub fn append(&self, line: &str) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.bytes >= LOG_FILE_BYTES_MAX
            && std::fs::rename(&self.path, self.path.with_extension("log.1")).is_ok()
            && let Ok(fresh) = OpenLog::at(&self.path)
        {
            *open = fresh;
        }
        let line = format!("{line}\n");
        if open.file.write_all(line.as_bytes()).is_ok() {
            open.bytes += line.len() as u64;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_of(chunks: &[&[u8]]) -> Vec<String> {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let hears = heard.clone();
        let listener = LineListener(Arc::new(move |stream, lines: &[String]| {
            assert_eq!(stream, OutputStream::Stderr);
            hears.lock().unwrap().extend_from_slice(lines);
        }));
        let mut lines = Lines::new(OutputStream::Stderr, Arc::default(), None, Some(listener));
        for chunk in chunks {
            lines.take(chunk);
        }
        drop(lines);
        Arc::into_inner(heard).unwrap().into_inner().unwrap()
    }

    #[test]
    fn lines_are_put_together_wherever_they_were_cut() {
        assert_eq!(lines_of(&[b"one\ntw", b"o\r\n\nthr", b"ee\nrest"]), ["one", "two", "", "three"]);
    }

    #[test]
    fn a_line_without_end_is_cut() {
        let endless = vec![b'x'; 2 * LINE_BYTES_MAX + 7];
        let lines = lines_of(&[&endless, b"\n"]);
        assert_eq!(lines.iter().map(String::len).collect::<Vec<_>>(), [LINE_BYTES_MAX, LINE_BYTES_MAX, 7]);
    }

    #[test]
    fn the_tail_is_the_last_lines() {
        let tail = OutputTail::default();
        let lines = |range: std::ops::Range<usize>| range.map(|number| number.to_string()).collect::<Vec<_>>();
        tail.extend(lines(0..3));
        assert_eq!(tail.text(), "0\n1\n2");
        tail.extend(lines(3..TAIL_LINES_MAX + 2));
        assert_eq!(tail.text(), lines(2..TAIL_LINES_MAX + 2).join("\n"));
        tail.extend(lines(0..TAIL_LINES_MAX + 5));
        assert_eq!(tail.text(), lines(5..TAIL_LINES_MAX + 5).join("\n"));
    }
}
