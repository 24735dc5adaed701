//! What a function's log holds: its own lines, and Lambda's around each invocation
//! (<https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs.html>).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

/// What an invocation's caller may be shown of its log, in bytes: the last four KB.
const TAIL_BYTES_MAX: usize = 4096;
/// `2026/01/31`.
const DAY: &[BorrowedFormatItem<'_>] = format_description!("[year]/[month]/[day]");

/// Whose log it is: an environment's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSource {
    /// The function.
    pub function: String,
    /// The role that it plays, and writes as.
    pub role_arn: String,
    /// The environment's stream: `{day}/[{version}]{32 hexadecimal digits}`.
    pub stream: String,
}

/// Finds where the lines of an environment go.
pub type LogSinks = Arc<dyn Fn(LogSource) -> LogSink + Send + Sync>;

/// Takes a line: its moment in Unix milliseconds, and the line without its end. It is called where a function's output is read: it must not block.
pub type LogSink = Arc<dyn Fn(i64, &str) + Send + Sync>;

/// The name of a new environment's stream.
pub(crate) fn stream_name(version: &str, now: OffsetDateTime) -> String {
    let day = now.format(DAY).expect("every moment has a date");
    format!("{day}/[{version}]{}", uuid::Uuid::new_v4().simple())
}

/// An environment's log: every line goes to the sink, and the last of an invocation are held for its caller.
#[derive(Clone)]
pub(crate) struct EnvironmentLog {
    stream: String,
    sink: LogSink,
    tail: Arc<Mutex<Tail>>,
}

#[derive(Default)]
struct Tail {
    lines: VecDeque<String>,
    bytes: usize,
}

impl EnvironmentLog {
    pub(crate) fn open(source: LogSource, sinks: &LogSinks) -> EnvironmentLog {
        EnvironmentLog { stream: source.stream.clone(), sink: sinks(source), tail: Arc::default() }
    }

    pub(crate) fn stream(&self) -> &str {
        &self.stream
    }

    /// Takes a line.
    pub(crate) fn line(&self, message: &str, now: OffsetDateTime) {
        self.tail().push(message);
        (self.sink)(i64::try_from(now.unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX), message);
    }

    /// Forgets what came before, for a new invocation's sake.
    pub(crate) fn begin(&self) {
        *self.tail() = Tail::default();
    }

    /// The end of the invocation's log.
    pub(crate) fn text(&self) -> String {
        let tail = self.tail();
        let text: String = tail.lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
        let mut start = text.len().saturating_sub(TAIL_BYTES_MAX);
        while !text.is_char_boundary(start) {
            start += 1;
        }
        text[start..].to_owned()
    }

    fn tail(&self) -> MutexGuard<'_, Tail> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tail {
    fn push(&mut self, line: &str) {
        self.bytes += line.len() + 1;
        self.lines.push_back(line.to_owned());
        // The oldest that are not needed for the last four KB.
        while let Some(oldest) = self.lines.front().map(|line| line.len() + 1).filter(|oldest| self.bytes - oldest >= TAIL_BYTES_MAX) {
            self.bytes -= oldest;
            self.lines.pop_front();
        }
    }
}

/// What an invocation has used.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Report {
    pub(crate) duration: Duration,
    /// Of the environment's start, where the invocation was its first.
    pub(crate) init: Option<Duration>,
    pub(crate) memory_mb: u32,
    pub(crate) memory_used_mb: u64,
    pub(crate) is_timeout: bool,
}

impl Report {
    /// Lambda's last line on an invocation.
    pub(crate) fn line(&self, request_id: &str) -> String {
        let ms = |duration: Duration| duration.as_secs_f64() * 1000.0;
        let billed = (ms(self.duration) + self.init.map_or(0.0, ms)).ceil();
        let Report { memory_mb, memory_used_mb, .. } = self;
        let mut line = format!(
            "REPORT RequestId: {request_id}\tDuration: {:.2} ms\tBilled Duration: {billed} ms\tMemory Size: {memory_mb} MB\tMax Memory Used: {memory_used_mb} MB\t",
            ms(self.duration)
        );
        if let Some(init) = self.init {
            line.push_str(&format!("Init Duration: {:.2} ms\t", ms(init)));
        }
        if self.is_timeout {
            line.push_str("Status: timeout");
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn the_tail_is_the_last_four_kilobytes() {
        let source = LogSource { function: "f".to_owned(), role_arn: "r".to_owned(), stream: "s".to_owned() };
        let sinks: LogSinks = Arc::new(|_| Arc::new(|_, _| {}));
        let log = EnvironmentLog::open(source, &sinks);
        let now = datetime!(2026-01-31 12:00 UTC);
        log.line("before", now);
        log.begin();
        assert_eq!(log.text(), "");
        for number in 0..2000 {
            log.line(&format!("line {number} ä"), now);
        }
        let text = log.text();
        assert!(text.len() <= 4096 && text.len() > 4080 && text.ends_with("line 1999 ä\n"), "{}", text.len());
        log.begin();
        log.line(&"x".repeat(10_000), now);
        assert_eq!(log.text().len(), 4096);
    }

    #[test]
    fn a_report_reads_as_lambdas() {
        let report = Report {
            duration: Duration::from_micros(12_344),
            init: Some(Duration::from_millis(110)),
            memory_mb: 128,
            memory_used_mb: 35,
            is_timeout: false,
        };
        let expected = "REPORT RequestId: r\tDuration: 12.34 ms\tBilled Duration: 123 ms\tMemory Size: 128 MB\tMax Memory Used: 35 MB\tInit Duration: 110.00 ms\t";
        assert_eq!(report.line("r"), expected);
        let timeout = Report { init: None, is_timeout: true, ..report };
        assert!(timeout.line("r").ends_with("Max Memory Used: 35 MB\tStatus: timeout"));
    }
}
