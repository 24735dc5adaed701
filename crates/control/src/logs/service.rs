//! The logs as the rest of the host uses them: lines come from functions, sessions and stages and are written behind their backs; who asks for events reads them here.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use frontdesk_store::{EVENT_OVERHEAD_BYTES, LogStore, NewEvent, StoreError};

use super::counting::{Filter, LogMetrics};
use super::tails::Tails;
use crate::timestamp::unix_ms;

/// Lines that wait to be written; more are lost, for no function and no caller waits for the disk.
const QUEUE_LINES_MAX: usize = 65_536;
/// What those lines may weigh together, in bytes.
const QUEUE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Lines that are written in one transaction, at most.
const BATCH_LINES_MAX: usize = 4096;
/// The pause after a batch, in which the next one gathers. Lines are safe from a killed process this much later.
const REST: Duration = Duration::from_millis(50);
/// How often old events are looked for.
const TIDY_INTERVAL_MS: i64 = 10_000;
/// Deletions in one go, each in a transaction of its own; the rest waits for the next time.
const TIDY_ROUNDS_MAX: usize = 50;
/// CloudWatch Logs' bound on an event with its overhead, in bytes.
pub(super) const EVENT_BYTES_MAX: usize = 1_048_576;

/// Whose the logs are, and how many may be kept.
#[derive(Debug, Clone)]
pub struct LogPlace {
    /// The region in their ARNs.
    pub region: String,
    /// The account in their ARNs.
    pub account_id: String,
    /// What all events together may weigh, in bytes, as CloudWatch Logs weighs them: the oldest go first.
    pub bytes_max: u64,
}

/// The logs.
pub struct LogService {
    pub(super) store: Arc<LogStore>,
    pub(super) tails: Tails,
    place: LogPlace,
    metrics: Arc<dyn LogMetrics>,
    filters: RwLock<HashMap<String, Vec<Arc<Filter>>>>,
    tasks: SyncSender<Task>,
    waiting_bytes: Arc<AtomicUsize>,
    lost: AtomicU64,
}

enum Task {
    Line(NewEvent),
    /// Answered when all lines before it are written.
    Flush(SyncSender<()>),
}

impl std::fmt::Debug for LogService {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("LogService").field("lost", &self.lost).finish_non_exhaustive()
    }
}

impl LogService {
    /// The logs in this database, and the thread that writes them; it ends with the service. What metric filters find goes to `metrics`.
    ///
    /// # Errors
    /// [`StoreError`], and the system's for a thread that cannot be started.
    pub fn open(
        store: LogStore,
        place: LogPlace,
        metrics: Arc<dyn LogMetrics>,
    ) -> Result<Arc<LogService>, Box<dyn std::error::Error + Send + Sync>> {
        let (tasks, to_do) = sync_channel(QUEUE_LINES_MAX);
        let service = Arc::new(LogService {
            store: Arc::new(store),
            tails: Tails::default(),
            place,
            metrics,
            filters: RwLock::default(),
            tasks,
            waiting_bytes: Arc::default(),
            lost: AtomicU64::new(0),
        });
        service.read_filters()?;
        let writing = Arc::downgrade(&service);
        let waiting_bytes = service.waiting_bytes.clone();
        let write = move |batch: &[NewEvent], now_ms: i64| {
            if let Some(service) = writing.upgrade() {
                service.write_batch(batch, now_ms);
            }
        };
        std::thread::Builder::new().name("logs".to_owned()).spawn(move || run_writer(&to_do, &waiting_bytes, write))?;
        Ok(service)
    }

    /// Takes a line for a stream of a group, both of which are made where they are missing. Never waits: what finds no room is counted as lost.
    pub fn write(&self, group: &str, stream: &str, timestamp_ms: i64, message: &str) {
        let mut end = message.len().min(EVENT_BYTES_MAX - EVENT_OVERHEAD_BYTES);
        while !message.is_char_boundary(end) {
            end -= 1;
        }
        // An empty line is no event at CloudWatch Logs.
        if end == 0 {
            return;
        }
        let event = NewEvent { group: group.to_owned(), stream: stream.to_owned(), timestamp_ms, message: message[..end].to_owned() };
        let bytes = weight(&event);
        if self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed) > QUEUE_BYTES_MAX || !self.send(Task::Line(event)) {
            self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn send(&self, task: Task) -> bool {
        !matches!(self.tasks.try_send(task), Err(TrySendError::Full(_) | TrySendError::Disconnected(_)))
    }

    /// Lines that found no room.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Waits until all lines that were taken before are written. Blocks.
    pub fn flush(&self) {
        let (done, written) = sync_channel(1);
        if self.tasks.send(Task::Flush(done)).is_ok() {
            // Ended without an answer: the writer is gone, and nothing more can be done.
            let _ = written.recv();
        }
    }

    /// Ends the sessions of those who look on, within a second: a host that ends waits for its answers.
    pub fn end_tails(&self) {
        self.tails.end();
    }

    /// Writes events now, and tells the metric filters. Blocks on the database.
    pub(super) fn put(&self, events: &[NewEvent], now_ms: i64) -> Result<(), StoreError> {
        self.store.append_log_events(events, now_ms)?;
        self.count(events, now_ms);
        self.tails.tell(events, now_ms);
        Ok(())
    }

    fn write_batch(&self, batch: &[NewEvent], now_ms: i64) {
        if batch.is_empty() {
            self.tidy(now_ms).unwrap_or_else(|error| {
                tracing::error!(error = &error as &dyn std::error::Error, "old log events could not be deleted");
            });
        } else if let Err(error) = self.put(batch, now_ms) {
            self.lost.fetch_add(batch.len() as u64, Ordering::Relaxed);
            tracing::error!(error = &error as &dyn std::error::Error, lines = batch.len(), "log events could not be written");
        }
    }

    /// Deletes what is too old or too much.
    fn tidy(&self, now_ms: i64) -> Result<(), StoreError> {
        for _ in 0..TIDY_ROUNDS_MAX {
            let deleted = self.store.delete_expired_log_events(now_ms)? + self.store.delete_oldest_log_events(self.place.bytes_max)?;
            if deleted == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Reads the metric filters again, after a change of them. Those that are as they were go on counting their minute.
    pub(super) fn read_filters(&self) -> Result<(), StoreError> {
        let mut held = self.filters.write().unwrap_or_else(PoisonError::into_inner);
        let mut filters: HashMap<String, Vec<Arc<Filter>>> = HashMap::new();
        for (group, filter) in self.store.metric_filters()? {
            if let Some(known) = held.get(&group).and_then(|filters| filters.iter().find(|known| known.is(&filter))) {
                filters.entry(group).or_default().push(known.clone());
                continue;
            }
            match Filter::compile(filter) {
                Ok(filter) => filters.entry(group).or_default().push(Arc::new(filter)),
                // One was checked when it was put; another version may have read it otherwise.
                Err(error) => tracing::error!(group, %error, "a metric filter cannot be used"),
            }
        }
        *held = filters;
        Ok(())
    }

    /// Has the metric filters count their default for minutes that are over. Whoever reads metrics asks for it before.
    pub fn close_minutes(&self, now_ms: i64) {
        let filters = self.filters.read().unwrap_or_else(PoisonError::into_inner);
        filters.values().flatten().for_each(|filter| filter.close_minute(now_ms, &*self.metrics));
    }

    fn count(&self, events: &[NewEvent], now_ms: i64) {
        let filters = self.filters.read().unwrap_or_else(PoisonError::into_inner);
        if filters.is_empty() {
            return;
        }
        let mut by_group: HashMap<&str, Vec<&NewEvent>> = HashMap::new();
        for event in events {
            by_group.entry(&event.group).or_default().push(event);
        }
        for (group, events) in by_group {
            for filter in filters.get(group).into_iter().flat_map(|filters| filters.iter()) {
                filter.count(&events, now_ms, &*self.metrics);
            }
        }
    }

    /// The ARN of a group, as policies name it.
    pub(super) fn arn(&self, group: &str) -> String {
        let LogPlace { region, account_id, .. } = &self.place;
        format!("arn:aws:logs:{region}:{account_id}:log-group:{group}")
    }
}

fn weight(event: &NewEvent) -> usize {
    event.message.len() + event.group.len() + event.stream.len() + EVENT_OVERHEAD_BYTES
}

/// Writes what comes, in batches, until nobody can send any more; an empty batch is the time to tidy.
fn run_writer(tasks: &Receiver<Task>, waiting_bytes: &AtomicUsize, write: impl Fn(&[NewEvent], i64)) {
    let (mut batch, mut flushes, mut tidied_ms) = (Vec::new(), Vec::new(), now_ms());
    loop {
        let mut take = |task| match task {
            Task::Line(event) => batch.push(event),
            Task::Flush(done) => flushes.push(done),
        };
        match tasks.recv_timeout(Duration::from_millis(TIDY_INTERVAL_MS.unsigned_abs())) {
            Ok(task) => take(task),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        tasks.try_iter().take(BATCH_LINES_MAX - 1).for_each(take);
        let now_ms = now_ms();
        if !batch.is_empty() {
            write(&batch, now_ms);
            waiting_bytes.fetch_sub(batch.iter().map(weight).sum(), Ordering::Relaxed);
            batch.clear();
        }
        for done in flushes.drain(..) {
            let _ = done.send(());
        }
        if now_ms - tidied_ms >= TIDY_INTERVAL_MS {
            write(&[], now_ms);
            tidied_ms = now_ms;
        }
        std::thread::sleep(REST);
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the edge where the moment of writing is read")]
fn now_ms() -> i64 {
    unix_ms(time::OffsetDateTime::now_utc())
}

#[cfg(test)]
mod tests {
    use super::super::counting::LogMetric;
    use super::*;
    use frontdesk_store::{EventRange, MetricFilter, MetricTransformation};
    use std::sync::Mutex;

    #[derive(Default)]
    struct Recorded(Mutex<Vec<String>>);

    impl LogMetrics for Recorded {
        fn record(&self, metric: LogMetric<'_>) {
            let LogMetric { namespace, name, value, dimensions, timestamp_ms, .. } = metric;
            self.0.lock().unwrap().push(format!("{namespace}/{name} {value} {dimensions:?} {timestamp_ms}"));
        }
    }

    #[test]
    fn lines_are_written_behind_the_writers_back_and_counted() {
        let folder = tempfile::tempdir().unwrap();
        let store = LogStore::open(&folder.path().join("logs.db")).unwrap();
        let recorded = Arc::new(Recorded::default());
        let place = LogPlace { region: "us-east-1".to_owned(), account_id: "0".to_owned(), bytes_max: u64::MAX };
        let service = LogService::open(store, place, recorded.clone()).unwrap();
        service.write("g", "s", 1, "before the filter");
        service.flush();
        let transformation = MetricTransformation {
            metric_name: "Slow".to_owned(),
            metric_namespace: "Desk".to_owned(),
            metric_value: "$.ms".to_owned(),
            default_value: None,
            dimensions: [("Path".to_owned(), "$.path".to_owned())].into(),
            unit: None,
        };
        let filter = MetricFilter {
            name: "f".to_owned(),
            pattern: "{ $.ms > 10 }".to_owned(),
            transformations: vec![transformation],
            created_at_ms: 0,
        };
        service.store.put_metric_filter("g", &filter).unwrap();
        service.read_filters().unwrap();
        for (timestamp_ms, line) in [(2, r#"{"ms": 20, "path": "/a"}"#), (3, r#"{"ms": 5, "path": "/a"}"#), (4, "")] {
            service.write("g", "s", timestamp_ms, line);
        }
        service.write("elsewhere", "s", 5, r#"{"ms": 20}"#);
        service.flush();
        let range = EventRange {
            group: "g".to_owned(),
            streams: None,
            from_ms: 0,
            until_ms: i64::MAX,
            is_backward: false,
            beyond: None,
            limit: 10,
            bytes_max: usize::MAX,
        };
        let moments: Vec<_> = service.store.log_events(&range).unwrap().events.iter().map(|event| event.timestamp_ms).collect();
        assert_eq!((moments, service.lost()), (vec![1, 2, 3], 0));
        assert_eq!(*recorded.0.lock().unwrap(), [r#"Desk/Slow 20 {"Path": "/a"} 2"#]);
    }

    /// CloudWatch Logs' rule: a minute in which events came and none matched has the default, once, and no other minute.
    #[test]
    fn the_default_counts_once_for_a_minute_without_a_match() {
        const MINUTE: i64 = 60_000;
        let folder = tempfile::tempdir().unwrap();
        let store = LogStore::open(&folder.path().join("logs.db")).unwrap();
        let recorded = Arc::new(Recorded::default());
        let place = LogPlace { region: "us-east-1".to_owned(), account_id: "0".to_owned(), bytes_max: u64::MAX };
        let service = LogService::open(store, place, recorded.clone()).unwrap();
        let put = |at_ms: i64, message: &str| {
            let event = NewEvent { group: "g".to_owned(), stream: "s".to_owned(), timestamp_ms: at_ms, message: message.to_owned() };
            service.put(&[event], at_ms).unwrap();
        };
        put(0, "first: the group must be there");
        let transformation = MetricTransformation {
            metric_name: "Errors".to_owned(),
            metric_namespace: "Desk".to_owned(),
            metric_value: "1".to_owned(),
            default_value: Some(0.0),
            dimensions: [].into(),
            unit: None,
        };
        let filter =
            MetricFilter { name: "f".to_owned(), pattern: "ERROR".to_owned(), transformations: vec![transformation], created_at_ms: 0 };
        service.store.put_metric_filter("g", &filter).unwrap();
        service.read_filters().unwrap();
        // The second minute matches after a line that does not; the fourth has none at all; the fifth is not over.
        for (at_ms, line) in
            [(MINUTE, "fine"), (MINUTE + 1, "fine"), (2 * MINUTE, "fine"), (2 * MINUTE + 5, "ERROR"), (2 * MINUTE + 9, "fine")]
        {
            put(at_ms, line);
        }
        put(3 * MINUTE + 7, "fine");
        // A change of another filter keeps the minute.
        service
            .store
            .put_metric_filter(
                "g",
                &MetricFilter { name: "other".to_owned(), pattern: "nothing".to_owned(), transformations: vec![], ..filter },
            )
            .unwrap();
        service.read_filters().unwrap();
        service.close_minutes(4 * MINUTE);
        service.close_minutes(5 * MINUTE);
        put(5 * MINUTE, "fine");
        service.close_minutes(6 * MINUTE - 1);
        let defaults = [
            format!("Desk/Errors 0 {{}} {MINUTE}"),
            format!("Desk/Errors 1 {{}} {}", 2 * MINUTE + 5),
            format!("Desk/Errors 0 {{}} {}", 3 * MINUTE),
        ];
        assert_eq!(*recorded.0.lock().unwrap(), defaults);
    }
}
