//! The access logs of single stages (`accessLogSettings`): a format of their own, to a destination that is named by its ARN. What is behind an ARN the
//! composition root says: a file today, CloudWatch Logs with the room that serves it.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use frontdesk_store::StageAccessLog;

use crate::access_log::{AccessLog, LogFormat};
use crate::apis::ApiError;
use crate::log_writer::{LogSink, LogWriter};

/// API Gateway's bound on a format.
const FORMAT_BYTES_MAX: usize = 3072;

/// What opens a destination.
pub type OpenSink = Box<dyn FnOnce() -> io::Result<LogSink>>;
/// The destinations that there are.
pub trait Destinations: Send + Sync + 'static {
    /// Finds what opens the destination of an ARN; nothing is opened yet.
    ///
    /// # Errors
    /// What the owner of the stage is told.
    fn find(&self, arn: &str) -> Result<OpenSink, String>;
}

impl<Find: Fn(&str) -> Result<OpenSink, String> + Send + Sync + 'static> Destinations for Find {
    fn find(&self, arn: &str) -> Result<OpenSink, String> {
        self(arn)
    }
}

/// Where stages' access logs go.
pub struct StageLogs {
    account_id: String,
    destinations: Box<dyn Destinations>,
    /// One writer a destination, however many stages share it.
    writers: Mutex<HashMap<String, Weak<LogWriter>>>,
    lost: Arc<AtomicU64>,
}

impl std::fmt::Debug for StageLogs {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("StageLogs").field("writers", &self.writers).finish_non_exhaustive()
    }
}

impl StageLogs {
    /// Logs of stages of an account's APIs, which go to these destinations.
    #[must_use]
    pub fn new(account_id: String, destinations: Box<dyn Destinations>) -> StageLogs {
        StageLogs { account_id, destinations, writers: Mutex::default(), lost: Arc::default() }
    }

    /// Logs for a host without any.
    #[must_use]
    pub fn nowhere() -> StageLogs {
        StageLogs::new(String::new(), Box::new(|arn: &str| Err(format!("there is no access log at {arn}"))))
    }

    /// Lines that found a queue full.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Whether a stage's settings could be served.
    ///
    /// # Errors
    /// [`ApiError::BadRequest`].
    pub(crate) fn check(&self, settings: &StageAccessLog) -> Result<(), ApiError> {
        format_of(settings).map_err(ApiError::BadRequest)?;
        if !settings.destination_arn.is_empty() {
            self.destinations.find(&settings.destination_arn).map(drop).map_err(ApiError::BadRequest)?;
        }
        Ok(())
    }

    /// A stage's log; `None` where it names no destination. One that cannot be opened is told here, and keeps nobody from calling the stage.
    pub(crate) fn open(&self, settings: &StageAccessLog) -> Option<AccessLog> {
        let arn = &settings.destination_arn;
        if arn.is_empty() {
            return None;
        }
        let opened = format_of(settings).and_then(|format| Ok((format, self.writer(arn)?)));
        match opened {
            Ok((format, writer)) => Some(AccessLog::new(format, self.account_id.clone(), writer)),
            Err(reason) => {
                tracing::error!(arn, reason, "a stage's access log cannot be written");
                None
            }
        }
    }

    fn writer(&self, arn: &str) -> Result<Arc<LogWriter>, String> {
        let mut writers = self.writers.lock().unwrap_or_else(PoisonError::into_inner);
        writers.retain(|_, writer| writer.strong_count() > 0);
        if let Some(writer) = writers.get(arn).and_then(Weak::upgrade) {
            return Ok(writer);
        }
        let open = self.destinations.find(arn)?;
        let writer = open().and_then(|sink| LogWriter::start(sink, self.lost.clone())).map_err(|error| error.to_string())?;
        let writer = Arc::new(writer);
        writers.insert(arn.to_owned(), Arc::downgrade(&writer));
        Ok(writer)
    }
}

/// A stage's format; everything as JSON where it names none.
fn format_of(settings: &StageAccessLog) -> Result<LogFormat, String> {
    let text = match settings.format.trim_end() {
        "" => "json",
        text => text,
    };
    if text.len() > FORMAT_BYTES_MAX {
        return Err(format!("Invalid access log format specified: it is longer than {FORMAT_BYTES_MAX} bytes"));
    }
    if text.contains(['\n', '\r']) {
        return Err("Invalid access log format specified: it must be a single line".to_owned());
    }
    let format = LogFormat::parse(text).map_err(|error| error.to_string())?;
    // As API Gateway wants it: a line that cannot be told from another is of no use.
    if !format.names_the_request() {
        return Err("Invalid access log format specified: it must contain $context.requestId or $context.extendedRequestId".to_owned());
    }
    Ok(format)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(arn: &str, format: &str, expected: Result<(), &str>) {
        let find = |arn: &str| -> Result<OpenSink, String> {
            if arn == "known" { Ok(Box::new(|| Ok(Box::new(|_: &str| {})))) } else { Err(format!("{arn} is unknown")) }
        };
        let logs = StageLogs::new(String::new(), Box::new(find));
        let settings = StageAccessLog { destination_arn: arn.to_owned(), format: format.to_owned() };
        let told = logs.check(&settings).map_err(|error| error.to_string());
        match (&told, expected) {
            (Err(told), Err(expected)) => assert!(told.contains(expected), "{told}"),
            (told, expected) => assert_eq!(*told, expected.map_err(str::to_owned), "{arn} {format}"),
        }
        assert_eq!(logs.open(&settings).is_some(), told.is_ok() && arn == "known");
    }

    #[test]
    fn a_stage_s_log_is_checked_when_it_is_set() {
        check("known", "$context.requestId $context.status", Ok(()));
        check("known", "<line id=\"$context.extendedRequestId\"/>\n", Ok(()));
        check("known", "", Ok(()));
        check("", "$context.requestId", Ok(()));
        check("other", "$context.requestId", Err("other is unknown"));
        check("known", "$context.status", Err("must contain $context.requestId"));
        check("known", "$context.requestId\n$context.status", Err("single line"));
        check("known", "$context.requestId $context.password", Err("$context.password"));
        check("known", &format!("$context.requestId{}", "x".repeat(4000)), Err("longer than 3072"));
    }

    #[test]
    fn stages_share_a_destination_s_writer() {
        let opened = Arc::new(AtomicU64::new(0));
        let counted = opened.clone();
        let find = move |_: &str| -> Result<OpenSink, String> {
            counted.fetch_add(1, Ordering::Relaxed);
            Ok(Box::new(|| Ok(Box::new(|_: &str| {}))))
        };
        let logs = StageLogs::new(String::new(), Box::new(find));
        let settings = StageAccessLog { destination_arn: "known".to_owned(), format: String::new() };
        let (one, other) = (logs.open(&settings), logs.open(&settings));
        assert_eq!(opened.load(Ordering::Relaxed), 1);
        drop((one, other));
        let again = logs.open(&settings);
        assert_eq!((again.is_some(), opened.load(Ordering::Relaxed)), (true, 2), "a log that no stage uses any more was closed");
    }
}
