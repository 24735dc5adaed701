//! What metric filters count: values of the events that match, and a default for a minute in which none did
//! (<https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_MetricTransformation.html>).

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use frontdesk_store::{MetricFilter, NewEvent};
use serde_json::Value;

use super::pattern::{InvalidPattern, Pattern, Selector, document};

const MINUTE_MS: i64 = 60_000;

/// A value that a metric filter found in an event.
#[derive(Debug, Clone, PartialEq)]
pub struct LogMetric<'a> {
    /// The metric's namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// The value.
    pub value: f64,
    /// Its unit, in CloudWatch's words.
    pub unit: Option<&'a str>,
    /// Dimensions, by name.
    pub dimensions: BTreeMap<&'a str, String>,
    /// The event's moment, or the beginning of a minute without a match; Unix milliseconds.
    pub timestamp_ms: i64,
}

/// Takes what metric filters find.
pub trait LogMetrics: Send + Sync + 'static {
    /// Takes one value. It is called where events are written: it must not block for long.
    fn record(&self, metric: LogMetric<'_>);
}

/// For a host that keeps no metrics: filters are kept, and what they find is forgotten.
impl LogMetrics for () {
    fn record(&self, _: LogMetric<'_>) {}
}

/// A metric filter, read once.
pub(super) struct Filter {
    filter: MetricFilter,
    pattern: Pattern,
    minute: Mutex<Option<Minute>>,
}

/// A minute in which events came: by the moment of their coming, and not by their own.
struct Minute {
    from_ms: i64,
    has_matched: bool,
}

impl Filter {
    pub(super) fn compile(filter: MetricFilter) -> Result<Filter, InvalidPattern> {
        let pattern = Pattern::parse(&filter.pattern)?;
        Ok(Filter { filter, pattern, minute: Mutex::default() })
    }

    /// Whether this is what was made of a filter.
    pub(super) fn is(&self, filter: &MetricFilter) -> bool {
        self.filter == *filter
    }

    /// Hands over what is found among events that came now.
    pub(super) fn count(&self, events: &[&NewEvent], now_ms: i64, metrics: &dyn LogMetrics) {
        self.close_minute(now_ms, metrics);
        let matching: Vec<_> = events.iter().filter(|event| self.pattern.matches(&event.message)).collect();
        {
            let mut minute = self.minute.lock().unwrap_or_else(PoisonError::into_inner);
            let minute = minute.get_or_insert(Minute { from_ms: now_ms - now_ms.rem_euclid(MINUTE_MS), has_matched: false });
            minute.has_matched |= !matching.is_empty();
        }
        for transformation in &self.filter.transformations {
            for event in &matching {
                let document = document(&event.message);
                let Some(value) = number(&transformation.metric_value, document.as_ref()) else { continue };
                let dimensions = transformation.dimensions.iter().filter_map(|(name, place)| {
                    let found = text(place, document.as_ref())?;
                    Some((name.as_str(), found))
                });
                metrics.record(LogMetric {
                    namespace: &transformation.metric_namespace,
                    name: &transformation.metric_name,
                    value,
                    unit: transformation.unit.as_deref(),
                    dimensions: dimensions.collect(),
                    timestamp_ms: event.timestamp_ms,
                });
            }
        }
    }

    /// Hands over the default of a minute that is over, if events came in it and none matched.
    pub(super) fn close_minute(&self, now_ms: i64, metrics: &dyn LogMetrics) {
        let is_over = |minute: &mut Minute| now_ms >= minute.from_ms + MINUTE_MS;
        let over = self.minute.lock().unwrap_or_else(PoisonError::into_inner).take_if(is_over);
        let Some(Minute { from_ms, has_matched: false }) = over else { return };
        for transformation in &self.filter.transformations {
            let Some(value) = transformation.default_value else { continue };
            metrics.record(LogMetric {
                namespace: &transformation.metric_namespace,
                name: &transformation.metric_name,
                value,
                unit: transformation.unit.as_deref(),
                dimensions: BTreeMap::new(),
                timestamp_ms: from_ms,
            });
        }
    }
}

/// A metric's value: a number as it is, or what stands at a place of the event.
fn number(value: &str, document: Option<&Value>) -> Option<f64> {
    if let Ok(number) = value.parse() {
        return Some(number);
    }
    match first(value, document?)? {
        Value::String(text) => text.parse().ok(),
        other => other.as_f64(),
    }
}

fn text(place: &str, document: Option<&Value>) -> Option<String> {
    match first(place, document?)? {
        Value::String(text) => Some(text.clone()),
        other @ (Value::Number(_) | Value::Bool(_)) => Some(other.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn first<'v>(place: &str, document: &'v Value) -> Option<&'v Value> {
    Selector::parse(place).ok()?.found(document).into_iter().next()
}
