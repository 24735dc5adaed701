//! Metrics of an agent's own, as log lines in CloudWatch's embedded metric format
//! (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>): on AWS CloudWatch makes metrics
//! of them without a call to any API, and a Frontdesk host shows them at its `/metrics`.

use serde_json::{Map, Value, json};
use time::OffsetDateTime;

/// The unit of a value, by CloudWatch's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A number of things.
    Count,
    /// A length of time.
    Milliseconds,
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Unit::Count => "Count",
            Unit::Milliseconds => "Milliseconds",
        }
    }
}

/// Writes one line of metrics to standard error. `dimensions` tell apart what is measured (few values each); names are CloudWatch's, such as
/// `InputTokenCount`.
///
/// ```
/// use frontdesk_agentcore::metrics::{self, Unit};
///
/// metrics::emit("MyAgent", &[("Tool", "search")], &[("Calls", 1.0, Unit::Count)]);
/// ```
pub fn emit(namespace: &str, dimensions: &[(&str, &str)], metrics: &[(&str, f64, Unit)]) {
    eprintln!("{}", line(namespace, dimensions, metrics, now_ms()));
}

fn line(namespace: &str, dimensions: &[(&str, &str)], metrics: &[(&str, f64, Unit)], at_ms: i64) -> Value {
    let names: Vec<&str> = dimensions.iter().map(|(name, _)| *name).collect();
    let definitions: Vec<Value> = metrics.iter().map(|(name, _, unit)| json!({ "Name": name, "Unit": unit.name() })).collect();
    let mut line = Map::new();
    let directive = json!({ "Namespace": namespace, "Dimensions": [names], "Metrics": definitions });
    line.insert("_aws".to_owned(), json!({ "Timestamp": at_ms, "CloudWatchMetrics": [directive] }));
    line.extend(dimensions.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value))));
    line.extend(metrics.iter().map(|(name, value, _)| ((*name).to_owned(), Value::from(*value))));
    Value::Object(line)
}

#[expect(clippy::disallowed_methods, reason = "an edge: a line is dated where it is written")]
fn now_ms() -> i64 {
    i64::try_from(OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_the_published_form() {
        let line = line(
            "Ours",
            &[("ModelId", "m")],
            &[("InputTokenCount", 7.0, Unit::Count), ("Wait", 1.5, Unit::Milliseconds)],
            1_700_000_000_000,
        );
        let expected = json!({
            "_aws": {
                "Timestamp": 1_700_000_000_000_i64,
                "CloudWatchMetrics": [{
                    "Namespace": "Ours",
                    "Dimensions": [["ModelId"]],
                    "Metrics": [{ "Name": "InputTokenCount", "Unit": "Count" }, { "Name": "Wait", "Unit": "Milliseconds" }],
                }],
            },
            "ModelId": "m",
            "InputTokenCount": 7.0,
            "Wait": 1.5,
        });
        assert_eq!(line, expected);
    }
}
