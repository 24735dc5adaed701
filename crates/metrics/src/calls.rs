//! Calls of one thing (a function, an agent): how many, how long, and how they failed.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::durations::Durations;
use crate::sketch::Sketch;

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallOutcome {
    /// With an answer.
    Answered,
    /// With the called one's or the caller's fault.
    CallerOrCodeFailed,
    /// With the host's fault.
    HostFailed,
    /// It was turned away because too many were there.
    Throttled,
}

/// Calls that have come since they were last taken.
#[derive(Debug, Default)]
pub struct CallFigures {
    calls: AtomicU64,
    code_failures: AtomicU64,
    host_failures: AtomicU64,
    throttled: AtomicU64,
    durations: Durations,
}

/// What [`CallFigures::take`] hands over.
#[derive(Debug, Clone, PartialEq)]
pub struct TakenCalls {
    /// All that were not turned away.
    pub calls: u64,
    /// Of these, [`CallOutcome::CallerOrCodeFailed`].
    pub code_failures: u64,
    /// Of these, [`CallOutcome::HostFailed`].
    pub host_failures: u64,
    /// Besides, those that were turned away.
    pub throttled: u64,
    /// How long they took, in milliseconds, as far as it was told.
    pub durations: Sketch,
}

impl CallFigures {
    /// Counts a call's end, and how long it took where that says something.
    pub fn record(&self, outcome: CallOutcome, duration: Option<Duration>) {
        let failures = match outcome {
            CallOutcome::Throttled => {
                self.throttled.fetch_add(1, Relaxed);
                return;
            }
            CallOutcome::Answered => None,
            CallOutcome::CallerOrCodeFailed => Some(&self.code_failures),
            CallOutcome::HostFailed => Some(&self.host_failures),
        };
        if let Some(duration) = duration {
            self.durations.record(duration);
        }
        if let Some(failures) = failures {
            failures.fetch_add(1, Relaxed);
        }
        self.calls.fetch_add(1, Relaxed);
    }

    /// Takes what has come since the last time; `None` where nothing has. A call that ends meanwhile may be in this with its failure and in the next with itself.
    pub fn take(&self) -> Option<TakenCalls> {
        let take = |counted: &AtomicU64| counted.swap(0, Relaxed);
        let (calls, throttled) = (take(&self.calls), take(&self.throttled));
        if calls == 0 && throttled == 0 {
            return None;
        }
        let (code_failures, host_failures) = (take(&self.code_failures), take(&self.host_failures));
        Some(TakenCalls { calls, code_failures, host_failures, throttled, durations: self.durations.take() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_by_their_end() {
        let figures = CallFigures::default();
        assert_eq!(figures.take(), None);
        figures.record(CallOutcome::Answered, Some(Duration::from_millis(4)));
        figures.record(CallOutcome::CallerOrCodeFailed, Some(Duration::from_millis(6)));
        figures.record(CallOutcome::HostFailed, None);
        figures.record(CallOutcome::Throttled, None);
        let taken = figures.take().unwrap();
        assert_eq!((taken.calls, taken.code_failures, taken.host_failures, taken.throttled), (3, 1, 1, 1));
        assert_eq!((taken.durations.count(), taken.durations.sum()), (2.0, 10.0));
        assert_eq!(figures.take(), None);
    }
}
