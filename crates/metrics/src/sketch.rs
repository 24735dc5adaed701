//! Many values in little room: how many, their sum and bounds exactly, any percentile within one in a hundred; and two of them make one.
//!
//! Values are counted in bins whose bounds grow by a constant factor, as in DDSketch (Masson, Rim and Lee, "DDSketch: A Fast and Fully-Mergeable Quantile
//! Sketch with Relative-Error Guarantees", VLDB 2019).

use std::collections::BTreeMap;

/// By how much a bin's upper bound is larger than its lower one. A bin's middle is within one in a hundred of whatever is in it.
const GROWTH: f64 = 1.02;

/// The bin of a value above zero: the smallest number whose power of [`GROWTH`] is not below it.
pub(crate) fn bin_of(value: f64) -> i32 {
    // The cast saturates, and the values that CloudWatch takes give less than 15,000.
    #[expect(clippy::cast_possible_truncation, reason = "rounded just before")]
    let bin = (value.ln() / GROWTH.ln()).ceil() as i32;
    bin
}

/// The value that stands for all of a bin: as far from its bounds in proportion.
fn middle_of(bin: i32) -> f64 {
    2.0 * GROWTH.powi(bin) / (GROWTH + 1.0)
}

/// Values, mergeable.
#[derive(Debug, Clone, PartialEq)]
pub struct Sketch {
    /// A count may be no whole number: CloudWatch's callers weigh values as they like.
    count: f64,
    sum: f64,
    min: f64,
    max: f64,
    /// Values of which only sum and bounds were told, so that nobody knows how they lie between.
    untold: f64,
    zeros: f64,
    above: BTreeMap<i32, f64>,
    /// By the bin of the value without its sign.
    below: BTreeMap<i32, f64>,
}

impl Default for Sketch {
    fn default() -> Self {
        Sketch {
            count: 0.0,
            sum: 0.0,
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
            untold: 0.0,
            zeros: 0.0,
            above: BTreeMap::new(),
            below: BTreeMap::new(),
        }
    }
}

impl Sketch {
    /// One value.
    #[must_use]
    pub fn of(value: f64) -> Sketch {
        let mut sketch = Sketch::default();
        sketch.add(value, 1.0);
        sketch
    }

    /// So many ones, and the rest of `all` zeros: what a yes-or-no question gives, whose average is a share.
    #[must_use]
    pub fn of_shares(ones: u64, all: u64) -> Sketch {
        #[expect(clippy::cast_precision_loss, reason = "exact below 2^53 requests a minute")]
        let (ones, all) = (ones as f64, all as f64);
        let mut sketch = Sketch::default();
        sketch.add(1.0, ones);
        sketch.add(0.0, all - ones);
        sketch
    }

    /// Adds a value `count` times. A value that is no number, or no count above zero, adds nothing.
    pub fn add(&mut self, value: f64, count: f64) {
        if !value.is_finite() || !count.is_finite() || count <= 0.0 {
            return;
        }
        self.bound(count, value * count, value, value);
        let bins = match value {
            0.0 => {
                self.zeros += count;
                return;
            }
            value if value > 0.0 => &mut self.above,
            _ => &mut self.below,
        };
        *bins.entry(bin_of(value.abs())).or_default() += count;
    }

    /// Adds values of which only these four figures are known. Where they leave no doubt (one value, or all the same) they are values as any others.
    pub fn add_summary(&mut self, count: f64, sum: f64, min: f64, max: f64) {
        #[expect(clippy::float_cmp, reason = "the caller's own numbers, as they came")]
        if min == max || count == 1.0 {
            return self.add(sum / count, count);
        }
        self.bound(count, sum, min, max);
        self.untold += count;
    }

    /// Adds what was counted in a bin above zero, whose values sum to `sum` together with those of other bins added at once.
    pub(crate) fn add_bin(&mut self, bin: i32, count: u64) {
        #[expect(clippy::cast_precision_loss, reason = "exact below 2^53 requests a minute")]
        let count = count as f64;
        self.count += count;
        *self.above.entry(bin).or_default() += count;
    }

    /// Tells the sum and the bounds of what was added by bins.
    pub(crate) fn set_bounds(&mut self, sum: f64, bounds: Option<(f64, f64)>) {
        self.sum += sum;
        let by_bins = || {
            let (first, last) = (self.above.keys().next()?, self.above.keys().next_back()?);
            Some((middle_of(*first), middle_of(*last)))
        };
        if let Some((min, max)) = bounds.or_else(by_bins) {
            (self.min, self.max) = (self.min.min(min), self.max.max(max));
        }
    }

    fn bound(&mut self, count: f64, sum: f64, min: f64, max: f64) {
        self.count += count;
        self.sum += sum;
        self.min = self.min.min(min);
        self.max = self.max.max(max);
    }

    /// Takes another's values in.
    pub fn merge(&mut self, other: &Sketch) {
        self.bound(other.count, other.sum, other.min, other.max);
        self.untold += other.untold;
        self.zeros += other.zeros;
        for (bins, others) in [(&mut self.above, &other.above), (&mut self.below, &other.below)] {
            for (bin, count) in others {
                *bins.entry(*bin).or_default() += count;
            }
        }
    }

    /// Whether nothing was added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count <= 0.0
    }

    /// How many values.
    #[must_use]
    pub fn count(&self) -> f64 {
        self.count
    }

    /// Their sum.
    #[must_use]
    pub fn sum(&self) -> f64 {
        self.sum
    }

    /// The smallest; infinity where there is none.
    #[must_use]
    pub fn min(&self) -> f64 {
        self.min
    }

    /// The largest; minus infinity where there is none.
    #[must_use]
    pub fn max(&self) -> f64 {
        self.max
    }

    /// Their mean.
    #[must_use]
    pub fn average(&self) -> f64 {
        self.sum / self.count
    }

    /// The value that so many percent of all do not exceed, within one in a hundred. `None` where there is no value, or where of some only sum and bounds are
    /// known: as in CloudWatch, statistic sets have no percentiles.
    #[must_use]
    pub fn percentile(&self, percent: f64) -> Option<f64> {
        if self.is_empty() || self.untold > 0.0 {
            return None;
        }
        // The nearest rank. A little less than the product: 0.95 times 20 must not be more than 19.
        let rank = (percent / 100.0 * self.count - 1e-9).max(0.0);
        let below = self.below.iter().rev().map(|(bin, count)| (-middle_of(*bin), *count));
        let above = self.above.iter().map(|(bin, count)| (middle_of(*bin), *count));
        let mut passed = 0.0;
        for (value, count) in below.chain([(0.0, self.zeros)]).chain(above) {
            passed += count;
            if passed >= rank && count > 0.0 {
                return Some(value.clamp(self.min, self.max));
            }
        }
        Some(self.max)
    }

    /// The form at rest: a version, six numbers, and each bin with its count; little-endian.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![1];
        for number in [self.count, self.sum, self.min, self.max, self.untold, self.zeros] {
            bytes.extend(number.to_le_bytes());
        }
        for bins in [&self.above, &self.below] {
            bytes.extend(u32::try_from(bins.len()).unwrap_or(u32::MAX).to_le_bytes());
            for (bin, count) in bins {
                bytes.extend(bin.to_le_bytes());
                bytes.extend(count.to_le_bytes());
            }
        }
        bytes
    }

    /// Reads [`Sketch::to_bytes`]. `None` for anything else.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Sketch> {
        let (version, mut rest) = bytes.split_first()?;
        if *version != 1 {
            return None;
        }
        let mut number = [0.0; 6];
        for number in &mut number {
            *number = f64::from_le_bytes(take(&mut rest)?);
        }
        let mut bins = || {
            let length = u32::from_le_bytes(take(&mut rest)?);
            (0..length).map(|_| Some((i32::from_le_bytes(take(&mut rest)?), f64::from_le_bytes(take(&mut rest)?)))).collect::<Option<_>>()
        };
        let (above, below) = (bins()?, bins()?);
        let [count, sum, min, max, untold, zeros] = number;
        rest.is_empty().then_some(Sketch { count, sum, min, max, untold, zeros, above, below })
    }
}

fn take<const LENGTH: usize>(bytes: &mut &[u8]) -> Option<[u8; LENGTH]> {
    let (taken, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*taken)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The nearest rank among the values themselves.
    fn reference(values: &[f64], percent: f64) -> f64 {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few thousand values")]
        let rank = (percent / 100.0 * sorted.len() as f64 - 1e-9).ceil().max(1.0) as usize;
        sorted[rank - 1]
    }

    fn sketch_of(values: &[f64]) -> Sketch {
        let mut sketch = Sketch::default();
        values.iter().for_each(|value| sketch.add(*value, 1.0));
        sketch
    }

    proptest! {
        #[test]
        fn percentiles_are_within_one_in_a_hundred(values in prop::collection::vec(-1e9_f64..1e9, 1..400), percent in 0.1_f64..100.0) {
            let found = sketch_of(&values).percentile(percent).unwrap();
            let expected = reference(&values, percent);
            prop_assert!((found - expected).abs() <= expected.abs() * 0.01 + 1e-12, "{found} is not {expected}");
        }

        #[test]
        fn two_make_one(values in prop::collection::vec(-1e3_f64..1e3, 2..100), at in 0_usize..100) {
            let (left, right) = values.split_at(at.min(values.len()));
            let mut merged = sketch_of(left);
            merged.merge(&sketch_of(right));
            let whole = sketch_of(&values);
            prop_assert!((merged.sum() - whole.sum()).abs() < 1e-6);
            prop_assert_eq!((merged.count(), merged.min(), merged.max()), (whole.count(), whole.min(), whole.max()));
            prop_assert_eq!(merged.percentile(90.0), whole.percentile(90.0));
        }

        #[test]
        fn what_is_written_is_read(values in prop::collection::vec(prop::num::f64::NORMAL, 0..100), junk in prop::collection::vec(any::<u8>(), 0..80)) {
            let sketch = sketch_of(&values);
            prop_assert_eq!(Sketch::from_bytes(&sketch.to_bytes()), Some(sketch));
            let _ = Sketch::from_bytes(&junk);
        }
    }

    #[test]
    fn the_simple_figures_are_exact() {
        let mut sketch = sketch_of(&[3.0, 1.5, 0.0, -2.0]);
        assert_eq!((sketch.count(), sketch.sum(), sketch.min(), sketch.max(), sketch.average()), (4.0, 2.5, -2.0, 3.0, 0.625));
        sketch.add(f64::NAN, 1.0);
        sketch.add(7.0, 0.0);
        assert_eq!(sketch.count(), 4.0);
        assert_eq!(Sketch::default().percentile(50.0), None);
    }

    #[test]
    fn shares_are_averages() {
        let sketch = Sketch::of_shares(3, 12);
        assert_eq!((sketch.sum(), sketch.count(), sketch.average(), sketch.max()), (3.0, 12.0, 0.25, 1.0));
        assert_eq!(Sketch::of_shares(0, 2).max(), 0.0);
    }

    #[test]
    fn a_summary_has_no_percentiles_unless_it_leaves_no_doubt() {
        let mut sketch = Sketch::default();
        sketch.add_summary(3.0, 12.0, 4.0, 4.0);
        assert_eq!(sketch.percentile(50.0), Some(4.0));
        sketch.add_summary(2.0, 11.0, 1.0, 10.0);
        assert_eq!((sketch.percentile(50.0), sketch.count(), sketch.sum(), sketch.max()), (None, 5.0, 23.0, 10.0));
    }
}
