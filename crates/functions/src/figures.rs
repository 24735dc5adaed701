//! Lambda's metrics of functions (<https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html>): counted in memory, and taken from time to time.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use frontdesk_metrics::{CallFigures, CallOutcome, Figures, Series, Sketch, unit};

/// The namespace of Lambda's metrics.
const NAMESPACE: &str = "AWS/Lambda";
/// The namespace and the name of what Lambda's bill has besides invocations, which no metric of Lambda's tells.
const USAGE: (&str, &str) = ("Frontdesk/Usage", "FunctionGBSeconds");

/// What is counted of one function.
#[derive(Debug, Default)]
pub struct FunctionFigures {
    calls: CallFigures,
    /// Memory that the function has, times how long it ran: in MB-milliseconds.
    mb_ms: AtomicU64,
    running: AtomicU64,
    /// The most that ran at once since it was last taken.
    running_max: AtomicU64,
}

/// What is counted of all functions, by name.
#[derive(Debug, Default)]
pub(crate) struct AllFigures(Mutex<BTreeMap<String, Arc<FunctionFigures>>>);

impl AllFigures {
    pub(crate) fn of(&self, function: &str) -> Arc<FunctionFigures> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.get(function) {
            return known.clone();
        }
        all.entry(function.to_owned()).or_default().clone()
    }

    /// Takes what has come since the last time.
    pub(crate) fn take(&self) -> Figures {
        let all: Vec<_> = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone().into_iter().collect();
        all.into_iter().flat_map(|(name, figures)| figures.take(&name)).collect()
    }
}

/// One invocation that runs; it ends when this is dropped.
#[derive(Debug)]
pub struct Running(Arc<FunctionFigures>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Relaxed);
    }
}

impl FunctionFigures {
    /// Counts an invocation as running, for as long as the answer lives.
    #[must_use]
    pub fn begin(self: &Arc<Self>) -> Running {
        let running = self.running.fetch_add(1, Relaxed) + 1;
        self.running_max.fetch_max(running, Relaxed);
        Running(self.clone())
    }

    /// Counts an invocation's end, how long it ran, and the memory that it had.
    pub fn record(&self, outcome: CallOutcome, duration: Duration, memory_mb: u32) {
        let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        // Lambda bills whole milliseconds, the begun one too.
        self.mb_ms.fetch_add(ms.saturating_add(1).saturating_mul(u64::from(memory_mb)), Relaxed);
        self.calls.record(outcome, Some(duration));
    }

    /// Counts an invocation that was turned away.
    pub fn throttled(&self) {
        self.calls.record(CallOutcome::Throttled, None);
    }

    /// Takes what has come since the last time, for the function of this name and for all together.
    #[must_use]
    pub fn take(&self, name: &str) -> Figures {
        let Some(taken) = self.calls.take() else { return Vec::new() };
        let running_max = self.running_max.swap(self.running.load(Relaxed), Relaxed);
        #[expect(clippy::cast_precision_loss, reason = "exact below 2^53")]
        let (running_max, gb_s) = (running_max as f64, self.mb_ms.swap(0, Relaxed) as f64 / 1024.0 / 1000.0);
        let failures = taken.code_failures + taken.host_failures;
        let sketches = [
            ("Invocations", unit::COUNT, Sketch::of_shares(taken.calls, taken.calls)),
            ("Errors", unit::COUNT, Sketch::of_shares(failures, taken.calls)),
            ("Throttles", unit::COUNT, Sketch::of_shares(taken.throttled, taken.calls + taken.throttled)),
            ("Duration", unit::MILLISECONDS, taken.durations),
            ("ConcurrentExecutions", unit::COUNT, Sketch::of(running_max)),
        ];
        let own = [("FunctionName", name)];
        let mut figures = Figures::new();
        for (metric, unit, sketch) in sketches.into_iter().filter(|(_, _, sketch)| !sketch.is_empty()) {
            figures.push((Series::new(NAMESPACE, metric, &own, unit), sketch.clone()));
            figures.push((Series::new(NAMESPACE, metric, &[], unit), sketch));
        }
        if gb_s > 0.0 {
            figures.push((Series::new(USAGE.0, USAGE.1, &own, unit::NONE), Sketch::of(gb_s)));
        }
        figures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_functions_metrics_are_lambdas() {
        let all = AllFigures::default();
        let figures = all.of("teller");
        {
            let _two = (figures.begin(), figures.begin());
            figures.record(CallOutcome::Answered, Duration::from_millis(9), 1024);
            figures.record(CallOutcome::CallerOrCodeFailed, Duration::from_millis(989), 1024);
        }
        figures.throttled();
        let taken: BTreeMap<_, _> = all.take().into_iter().collect();
        let sum = |name: &str, dimensions: &[(&str, &str)], unit: &str| {
            taken.get(&Series::new(NAMESPACE, name, dimensions, unit)).map(|sketch| (sketch.sum(), sketch.count()))
        };
        let own = [("FunctionName", "teller")];
        assert_eq!(sum("Invocations", &own, "Count"), Some((2.0, 2.0)));
        assert_eq!(sum("Errors", &own, "Count"), Some((1.0, 2.0)));
        assert_eq!(sum("Errors", &[], "Count"), Some((1.0, 2.0)));
        assert_eq!(sum("Throttles", &own, "Count"), Some((1.0, 3.0)));
        assert_eq!(sum("Duration", &own, "Milliseconds"), Some((998.0, 2.0)));
        assert_eq!(sum("ConcurrentExecutions", &own, "Count"), Some((2.0, 1.0)));
        let used = &taken[&Series::new(USAGE.0, USAGE.1, &own, "None")];
        assert!((used.sum() - 1.0).abs() < 1e-9, "{}", used.sum());
        assert!(all.take().is_empty());
    }
}
