//! Times, counted in place by any number of threads: a few atomic additions for each, no lock, no allocation.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::sketch::{Sketch, bin_of};

/// The shortest and the longest time that has a bin of its own, in milliseconds: a microsecond, and more than any deadline. What is beyond is counted in the last
/// bin, and the bounds keep what it was.
const RANGE_MS: (f64, f64) = (0.001, 1_000_000.0);
/// `bin_of` of [`RANGE_MS`]; a test holds them to it.
const FIRST_BIN: i32 = -348;
const LAST_BIN: i32 = 698;
const BINS: usize = (LAST_BIN - FIRST_BIN + 1) as usize;

/// Times that have come since they were last taken. About 8 KB.
#[derive(Debug)]
pub struct Durations {
    bins: Box<[AtomicU64; BINS]>,
    sum_ns: AtomicU64,
    min_ns: AtomicU64,
    max_ns: AtomicU64,
}

impl Default for Durations {
    fn default() -> Self {
        let bins = Box::new([const { AtomicU64::new(0) }; BINS]);
        Durations { bins, sum_ns: AtomicU64::new(0), min_ns: AtomicU64::new(u64::MAX), max_ns: AtomicU64::new(0) }
    }
}

impl Durations {
    /// Counts one.
    pub fn record(&self, duration: Duration) {
        let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        // The bin last: whoever takes it then finds the sum and the bounds told.
        self.sum_ns.fetch_add(ns, Relaxed);
        self.min_ns.fetch_min(ns, Relaxed);
        self.max_ns.fetch_max(ns, Relaxed);
        let bin = bin_of((duration.as_secs_f64() * 1000.0).clamp(RANGE_MS.0, RANGE_MS.1)).clamp(FIRST_BIN, LAST_BIN);
        self.bins[(bin - FIRST_BIN).unsigned_abs() as usize].fetch_add(1, Relaxed);
    }

    /// Takes what has come since the last time, in milliseconds. One that comes meanwhile is in this or in the next, whole in its count; its part of the sum may be
    /// in the one before.
    pub fn take(&self) -> Sketch {
        let mut sketch = Sketch::default();
        for (bin, counted) in (FIRST_BIN..).zip(self.bins.iter()) {
            // Most are empty, and reading is cheaper than writing.
            if counted.load(Relaxed) > 0 {
                sketch.add_bin(bin, counted.swap(0, Relaxed));
            }
        }
        if sketch.is_empty() {
            return sketch;
        }
        #[expect(clippy::cast_precision_loss, reason = "exact below 2^53 nanoseconds, which are a hundred days")]
        let ms = |ns: u64| ns as f64 / 1e6;
        let (sum, min, max) = (self.sum_ns.swap(0, Relaxed), self.min_ns.swap(u64::MAX, Relaxed), self.max_ns.swap(0, Relaxed));
        sketch.set_bounds(ms(sum), (min <= max).then(|| (ms(min), ms(max))));
        sketch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bins_are_those_of_the_range() {
        assert_eq!((bin_of(RANGE_MS.0), bin_of(RANGE_MS.1)), (FIRST_BIN, LAST_BIN));
    }

    #[test]
    fn what_is_recorded_is_taken_once() {
        let durations = Durations::default();
        for ms in 1..=200 {
            durations.record(Duration::from_millis(ms));
        }
        durations.record(Duration::ZERO);
        durations.record(Duration::from_secs(5000));
        let sketch = durations.take();
        assert_eq!((sketch.count(), sketch.min(), sketch.max()), (202.0, 0.0, 5_000_000.0));
        assert_eq!(sketch.sum(), 20_100.0 + 5_000_000.0);
        let median = sketch.percentile(50.0).unwrap();
        assert!((median - 100.0).abs() <= 1.0, "{median}");
        assert!(durations.take().is_empty());
    }

    #[test]
    fn nothing_is_lost_while_others_record() {
        let durations = Durations::default();
        let mut taken = Sketch::default();
        std::thread::scope(|scope| {
            let recording: Vec<_> =
                (0..3).map(|_| scope.spawn(|| (0..20_000).for_each(|number| durations.record(Duration::from_micros(number))))).collect();
            while !recording.iter().all(std::thread::ScopedJoinHandle::is_finished) {
                taken.merge(&durations.take());
            }
        });
        taken.merge(&durations.take());
        assert_eq!(taken.count(), 60_000.0);
        // To a nanosecond's fraction: the parts were summed in another order.
        let expected = 3.0 * (19_999.0 * 20_000.0 / 2.0) / 1000.0;
        assert!((taken.sum() - expected).abs() < 1e-3, "{} is not {expected}", taken.sum());
    }
}
