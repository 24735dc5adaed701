//! Statistics: a number made of the values of a period.

use frontdesk_metrics::Sketch;

/// A statistic by CloudWatch's name.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Statistic {
    SampleCount,
    Average,
    Sum,
    Minimum,
    Maximum,
    /// In percent.
    Percentile(f64),
}

impl Statistic {
    /// The statistic of a name, such as `Sum` or `p99.9`. `None` for others, of which CloudWatch knows some (`tm90`, `IQM`) that are not computed here.
    pub(crate) fn named(name: &str) -> Option<Statistic> {
        Some(match name {
            "SampleCount" => Statistic::SampleCount,
            "Average" => Statistic::Average,
            "Sum" => Statistic::Sum,
            "Minimum" => Statistic::Minimum,
            "Maximum" => Statistic::Maximum,
            name => {
                let digits = name.strip_prefix(['p', 'P'])?;
                let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
                let percent = digits.parse().ok().filter(|percent| is_plain && (0.0..=100.0).contains(percent))?;
                Statistic::Percentile(percent)
            }
        })
    }

    /// Whether a span that is not over can only give more of it: what is above a threshold already stays above.
    pub(crate) fn only_grows(self) -> bool {
        matches!(self, Statistic::SampleCount | Statistic::Sum | Statistic::Maximum)
    }

    /// The number; none of no values, or where it cannot be told.
    pub(crate) fn of(self, sketch: &Sketch) -> Option<f64> {
        if sketch.is_empty() {
            return None;
        }
        match self {
            Statistic::SampleCount => Some(sketch.count()),
            Statistic::Average => Some(sketch.average()),
            Statistic::Sum => Some(sketch.sum()),
            Statistic::Minimum => Some(sketch.min()),
            Statistic::Maximum => Some(sketch.max()),
            Statistic::Percentile(percent) => sketch.percentile(percent),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_have_names() {
        assert_eq!(Statistic::named("Sum"), Some(Statistic::Sum));
        assert_eq!(Statistic::named("p99.9"), Some(Statistic::Percentile(99.9)));
        for unknown in ["sum", "p101", "p", "p-1", "pinf", "tm90", "p1e1", ""] {
            assert_eq!(Statistic::named(unknown), None, "{unknown}");
        }
    }
}
