//! A thread that writes lines: a slow disk slows nobody, and lines that find no more room are lost and counted.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Lines that wait for the disk, together.
const WAITING_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Room that is kept for the next lines: more than a busy core writes before the thread gets its turn, since new room is paid for page by page.
const KEPT_BYTES: usize = 1024 * 1024;
/// How long the thread rests between two writes: under load many lines make one write, and nobody has to wake it for each.
const REST: Duration = Duration::from_millis(10);

/// Takes one or more finished lines, with line ends between them and none at the end.
pub type LogSink = Box<dyn FnMut(&str) + Send>;

/// The lines that wait, and the thread that takes them. It ends with the writer, when all is written.
#[derive(Debug)]
pub(crate) struct LogWriter {
    shared: Arc<Shared>,
    lost: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
struct Shared {
    lines: Mutex<Lines>,
    came: Condvar,
}

#[derive(Debug, Default)]
struct Lines {
    text: String,
    /// Whether the thread sleeps until a line comes.
    is_awaited: bool,
    has_ended: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Lines> {
        // Poison is ignored: a text is a text after whatever.
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Exchanges what waits for an empty text with room; `None` after the last line.
    fn take(&self, empty: String) -> Option<String> {
        let mut lines = self.lock();
        while lines.text.is_empty() {
            if lines.has_ended {
                return None;
            }
            lines.is_awaited = true;
            lines = self.came.wait(lines).unwrap_or_else(PoisonError::into_inner);
        }
        lines.is_awaited = false;
        Some(std::mem::replace(&mut lines.text, empty))
    }
}

impl LogWriter {
    /// Starts the thread. Lines that find no room are counted in `lost`.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(crate) fn start(mut sink: LogSink, lost: Arc<AtomicU64>) -> std::io::Result<LogWriter> {
        let shared = Arc::new(Shared::default());
        let taken = shared.clone();
        std::thread::Builder::new().name("access-log".to_owned()).spawn(move || {
            let mut empty = String::new();
            while let Some(mut text) = taken.take(empty) {
                sink(&text);
                text.clear();
                text.shrink_to(KEPT_BYTES);
                empty = text;
                std::thread::sleep(REST);
            }
        })?;
        Ok(LogWriter { shared, lost })
    }

    /// Leaves a line, without its end, for the thread.
    pub(crate) fn write(&self, line: &str) {
        let mut lines = self.shared.lock();
        if lines.text.len() + line.len() >= WAITING_BYTES_MAX {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        if !lines.text.is_empty() {
            lines.text.push('\n');
        }
        lines.text.push_str(line);
        if lines.is_awaited {
            lines.is_awaited = false;
            self.shared.came.notify_one();
        }
    }

    /// Lines that found no room.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        self.shared.lock().has_ended = true;
        self.shared.came.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use super::*;

    /// A writer whose sink waits for a word before each write, the words, and what was written.
    fn writer() -> (LogWriter, std::sync::mpsc::Sender<()>, Receiver<String>) {
        let ((go_on, may), (tell, written)) = (channel(), channel());
        let sink = Box::new(move |text: &str| {
            let _ = may.recv();
            let _ = tell.send(text.to_owned());
        });
        (LogWriter::start(sink, Arc::default()).unwrap(), go_on, written)
    }

    #[test]
    fn lines_that_came_meanwhile_are_one_write_and_none_is_left_behind() {
        let (writer, go_on, written) = writer();
        writer.write("first");
        while !writer.shared.lock().text.is_empty() {
            std::thread::yield_now();
        }
        writer.write("second");
        writer.write("third");
        drop(writer);
        drop(go_on);
        assert_eq!(written.into_iter().collect::<Vec<_>>(), ["first", "second\nthird"]);
    }

    #[test]
    fn what_finds_no_room_is_lost_and_counted() {
        let (writer, go_on, written) = writer();
        let line = "x".repeat(WAITING_BYTES_MAX / 4);
        writer.write("first");
        while !writer.shared.lock().text.is_empty() {
            std::thread::yield_now();
        }
        (0..6).for_each(|_| writer.write(&line));
        assert_eq!(writer.lost(), 3);
        drop((writer, go_on));
        assert_eq!(written.into_iter().map(|text| text.len()).collect::<Vec<_>>(), [5, 3 * line.len() + 2]);
    }
}
