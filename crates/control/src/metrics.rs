//! Metrics: what the rooms count and callers send, kept by the minute, and read as statistics by period.
//!
//! The rooms count in memory; a task empties them every second and commits what came, so that a killed host forgets a second at most. Whoever asks is answered with
//! all that was counted until then. Alarms are judged by the same task. How the API writes any of this is not known here (`cloudwatch.rs`).

mod alarm;
mod alarms;
mod math;
mod query;
mod statistic;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use frontdesk_metrics::{Figures, Series, Sketch};
use frontdesk_store::{KnownSeries, MetricPoint, Store, StoreError};
use time::OffsetDateTime;

use crate::timestamp::unix_ms;

pub(crate) use alarms::{AlarmChange, AlarmError, initial, missing_name, state_name};
pub use alarms::{AlarmNotice, AlarmSink};
pub(crate) use query::{Datum, Interval, check, period_of, period_of_query};
pub(crate) use statistic::Statistic;

/// How long a figure stays in memory alone.
const PERIOD: Duration = Duration::from_secs(1);
/// The span of a point, unless its sender wants seconds.
pub(crate) const SPAN_S: u32 = 60;
/// Points that wait for a database that refuses them; beyond, new ones are lost.
const PENDING_MAX: usize = 100_000;
/// How often points are aged and history is forgotten.
const AGEING_S: i64 = 600;
/// How long what became of an alarm is known, as in CloudWatch: 30 days.
const HISTORY_MS: i64 = 30 * 86_400_000;

/// Hands over what was counted since it was last asked.
pub type FigureSource = Box<dyn Fn() -> Figures + Send + Sync>;

/// A metric's point that waits to be written: by metric, beginning and span.
type Pending = HashMap<(Series, i64, u32), Sketch>;

/// The metrics and alarms of a host.
pub struct MetricService {
    store: Arc<Store>,
    region: String,
    account_id: String,
    sources: Vec<FigureSource>,
    told: AlarmSink,
    pending: Mutex<Pending>,
    /// One writes at a time, and who reads waits for it.
    writing: Mutex<()>,
    /// When the sources were last emptied, in Unix seconds.
    gathered_at: Mutex<i64>,
    /// The metrics, without units, that were written, by whomever, since the alarms were last judged.
    touched: Mutex<HashSet<Series>>,
    alarms: Mutex<alarms::Alarms>,
    /// Queries for points so far.
    #[cfg(test)]
    queries: std::sync::atomic::AtomicUsize,
}

impl std::fmt::Debug for MetricService {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("MetricService").field("region", &self.region).finish_non_exhaustive()
    }
}

impl MetricService {
    /// Reads the alarms. `sources` are emptied every second once it runs; `told` hears of alarms that change.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn open(
        store: Arc<Store>,
        region: &str,
        account_id: &str,
        sources: Vec<FigureSource>,
        told: AlarmSink,
    ) -> Result<MetricService, StoreError> {
        let alarms = Mutex::new(alarms::Alarms::new(store.metric_alarms()?));
        let (pending, writing, gathered_at) = (Mutex::default(), Mutex::default(), Mutex::new(now_ms() / 1000));
        let (region, account_id) = (region.to_owned(), account_id.to_owned());
        Ok(MetricService {
            store,
            region,
            account_id,
            sources,
            told,
            pending,
            writing,
            gathered_at,
            touched: Mutex::default(),
            alarms,
            #[cfg(test)]
            queries: Default::default(),
        })
    }

    /// Counts a value of a metric at a moment (Unix milliseconds). It is written within a second; this neither blocks nor fails.
    pub fn put(&self, series: Series, value: f64, at_ms: i64) {
        self.put_sketch(series, at_ms, SPAN_S, Sketch::of(value));
    }

    /// Counts values, in a point of this span.
    pub(crate) fn put_sketch(&self, series: Series, at_ms: i64, span_s: u32, sketch: Sketch) {
        let at = at_ms.div_euclid(1000);
        let mut pending = lock(&self.pending);
        let is_full = pending.len() >= PENDING_MAX;
        let key = (series, at - at.rem_euclid(i64::from(span_s)), span_s);
        match pending.get_mut(&key) {
            Some(there) => there.merge(&sketch),
            None if is_full => {}
            None => {
                pending.insert(key, sketch);
            }
        }
    }

    /// Empties the sources. What came since the last time counts for the minute that it began in.
    fn gather(&self, now_s: i64) {
        // Held throughout, so that nobody dates another's figures.
        let mut gathered_at = lock(&self.gathered_at);
        for (series, sketch) in self.sources.iter().flat_map(|source| source()) {
            if !sketch.is_empty() {
                self.put_sketch(series, *gathered_at * 1000, SPAN_S, sketch);
            }
        }
        *gathered_at = now_s;
    }

    /// Writes what waits. Blocks on the database.
    ///
    /// # Errors
    /// [`StoreError`]; then it goes on waiting.
    pub(crate) fn commit(&self, now_s: i64) -> Result<(), StoreError> {
        let _writing = lock(&self.writing);
        self.gather(now_s);
        let taken = std::mem::take(&mut *lock(&self.pending));
        if taken.is_empty() {
            return Ok(());
        }
        let point = |((series, at, span_s), sketch): ((Series, i64, u32), Sketch)| (series, MetricPoint { at, span_s, sketch });
        let points: Vec<_> = taken.into_iter().map(point).collect();
        match self.store.add_metric_points(&points) {
            Ok(refused) => {
                if refused > 0 {
                    tracing::warn!(refused, "there are too many metrics; points of new ones are lost");
                }
                lock(&self.touched).extend(points.into_iter().map(|(series, _)| Series { unit: String::new(), ..series }));
                Ok(())
            }
            Err(error) => {
                for (series, MetricPoint { at, span_s, sketch }) in points {
                    self.put_sketch(series, at * 1000, span_s, sketch);
                }
                Err(error)
            }
        }
    }

    /// The metrics that there are points of; of one namespace, if it is named.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn known(&self, namespace: Option<&str>, now_s: i64) -> Result<Vec<KnownSeries>, StoreError> {
        self.commit(now_s)?;
        self.store.metric_series(namespace)
    }

    /// Writes, judges alarms and ages points until `shutdown` ends, and writes once more then.
    pub async fn run(self: Arc<Self>, shutdown: impl Future<Output = ()>) {
        tokio::pin!(shutdown);
        let mut period = tokio::time::interval(PERIOD);
        period.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut is_failing, mut aged_at) = (false, 0);
        loop {
            let is_last = tokio::select! {
                _ = period.tick() => false,
                () = &mut shutdown => true,
            };
            let (service, now_ms) = (self.clone(), now_ms());
            let is_ageing = now_ms / 1000 - aged_at >= AGEING_S;
            let working = tokio::task::spawn_blocking(move || service.work(now_ms, is_ageing));
            match working.await.expect("metrics' work does not panic, and the runtime outlives it") {
                Ok(has_more) => {
                    is_failing = false;
                    if is_ageing && !has_more {
                        aged_at = now_ms / 1000;
                    }
                }
                // Said once, not every second.
                Err(error) if !is_failing => {
                    is_failing = true;
                    tracing::error!(error = &error as &dyn std::error::Error, "metrics cannot be written; trying again");
                }
                Err(_) => {}
            }
            if is_last {
                return;
            }
        }
    }

    /// A second's work. Returns whether there is more to age.
    fn work(&self, now_ms: i64, is_ageing: bool) -> Result<bool, StoreError> {
        self.commit(now_ms / 1000)?;
        let touched = std::mem::take(&mut *lock(&self.touched));
        if let Err(error) = self.judge_alarms(now_ms, &touched) {
            // They are as much news the next time.
            lock(&self.touched).extend(touched);
            return Err(error);
        }
        if !is_ageing {
            return Ok(false);
        }
        self.store.forget_alarm_history(now_ms - HISTORY_MS)?;
        self.store.age_metrics(now_ms / 1000)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[expect(clippy::disallowed_methods, reason = "this is the edge where figures are dated")]
fn now_ms() -> i64 {
    unix_ms(OffsetDateTime::now_utc())
}
