//! Log lines as AgentCore's published SDKs write them: one JSON object a line on standard error, with `timestamp` (UTC, milliseconds),
//! `level`, `message`, `logger`, and inside an invocation `requestId` and `sessionId`; beyond theirs `traceId`, the call's `X-Amzn-Trace-Id`. Further fields of an event stand beside these.

use std::fmt;

use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{JsonFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

/// `2026-01-31T12:00:00.123Z`.
const TIMESTAMP: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

/// Sends this program's log lines to standard error: everything from `info` on, or what the variable `RUST_LOG` names. Does nothing where
/// the program has chosen another way of logging already.
pub fn init() {
    init_with(EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info")));
}

/// As [`init`], with a filter of the program's own.
pub fn init_with(filter: EnvFilter) {
    let lines = tracing_subscriber::fmt().with_env_filter(filter).fmt_fields(JsonFields::new()).event_format(JsonLines);
    let lines = lines.with_writer(std::io::stderr);
    // Fails when there is a logger already, which then stays.
    let _ = lines.try_init();
}

/// The form of a line.
#[derive(Debug, Clone, Copy)]
pub struct JsonLines;

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut line = Map::new();
        line.insert("timestamp".to_owned(), Value::from(now()));
        let metadata = event.metadata();
        line.insert("level".to_owned(), Value::from(metadata.level().as_str()));
        line.insert("logger".to_owned(), Value::from(metadata.target()));
        for span in context.event_scope().into_iter().flat_map(|scope| scope.from_root()) {
            let extensions = span.extensions();
            let fields = extensions.get::<FormattedFields<N>>().map(|fields| fields.fields.as_str()).unwrap_or_default();
            if let Ok(Value::Object(fields)) = serde_json::from_str(fields) {
                line.extend(fields.into_iter().filter(|(_, value)| value != ""));
            }
        }
        event.record(&mut Fields(&mut line));
        writeln!(writer, "{}", Value::Object(line))
    }
}

#[expect(clippy::disallowed_methods, reason = "an edge: a line is dated where it is written")]
fn now() -> String {
    OffsetDateTime::now_utc().format(TIMESTAMP).unwrap_or_default()
}

/// Puts an event's fields into a line.
struct Fields<'a>(&'a mut Map<String, Value>);

impl Fields<'_> {
    fn insert(&mut self, field: &Field, value: Value) {
        self.0.insert(field.name().to_owned(), value);
    }
}

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.insert(field, Value::from(format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.insert(field, Value::from(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.insert(field, Value::from(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.insert(field, Value::from(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.insert(field, Value::from(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.insert(field, Value::from(value));
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_has_the_fields_that_the_sdks_give_it() {
        let written = Written::default();
        let writer = written.clone();
        let lines =
            tracing_subscriber::fmt().fmt_fields(JsonFields::new()).event_format(JsonLines).with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(lines, || {
            let invocation = tracing::info_span!("invocation", requestId = "r-1", sessionId = "");
            let _inside = invocation.enter();
            tracing::warn!(errorType = "Boom", count = 3, ok = false, "It \"failed\"\nhere");
        });
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        let mut line: Map<String, Value> = serde_json::from_str(&text).unwrap();
        let timestamp = line.remove("timestamp").unwrap();
        let timestamp = timestamp.as_str().unwrap();
        assert!(timestamp.len() == 24 && timestamp.ends_with('Z') && &timestamp[10..11] == "T", "{timestamp}");
        let expected = serde_json::json!({
            "level": "WARN", "message": "It \"failed\"\nhere", "logger": "frontdesk_agentcore::log::tests",
            "requestId": "r-1", "errorType": "Boom", "count": 3, "ok": false,
        });
        assert_eq!(Value::Object(line), expected);
    }
}
