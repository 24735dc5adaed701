//! The metrics that an agent writes into its log, in CloudWatch's embedded metric format
//! (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>), added up.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Deserialize;
use serde_json::{Map, Value};

/// Series that are kept of one agent; more are passed over, for an agent may name them as it likes.
const SERIES_MAX: usize = 1000;

/// What is measured.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct MetricSeries {
    /// The namespace.
    pub namespace: String,
    /// The metric's name, such as `InputTokenCount`.
    pub name: String,
    /// Its unit, by CloudWatch's name.
    pub unit: String,
    /// Names and values of its dimensions.
    pub dimensions: Vec<(String, String)>,
}

/// All values of a series so far.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct MetricTotal {
    /// Their sum.
    pub sum: f64,
    /// Their number.
    pub samples: u64,
}

/// An agent's metrics. Cheap to clone: all clones are the same.
#[derive(Debug, Clone, Default)]
pub struct EmittedMetrics(Arc<Mutex<BTreeMap<MetricSeries, MetricTotal>>>);

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Directive {
    namespace: String,
    dimensions: Vec<Vec<String>>,
    metrics: Vec<Definition>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Definition {
    name: String,
    #[serde(default)]
    unit: Option<String>,
}

impl EmittedMetrics {
    /// Reads a line of the agent's output. Most are none of metrics, and cost a search for `"_aws"`.
    pub(crate) fn read(&self, line: &str) {
        if !line.contains("\"_aws\"") {
            return;
        }
        let Ok(document) = serde_json::from_str::<Map<String, Value>>(line) else { return };
        let directives = document.get("_aws").and_then(|metadata| metadata.get("CloudWatchMetrics")).cloned().unwrap_or_default();
        let directives: Vec<Directive> = serde_json::from_value(directives).unwrap_or_default();
        for Directive { namespace, dimensions, metrics } in directives {
            for names in dimensions {
                let value_of = |name: &String| Some((name.clone(), document.get(name)?.as_str()?.to_owned()));
                let Some(dimensions) = names.iter().map(value_of).collect::<Option<Vec<_>>>() else { continue };
                for Definition { name, unit } in &metrics {
                    let Some(values) = document.get(name).and_then(numbers) else { continue };
                    let unit = unit.clone().unwrap_or_else(|| "None".to_owned());
                    self.add(
                        MetricSeries { namespace: namespace.clone(), name: name.clone(), unit, dimensions: dimensions.clone() },
                        &values,
                    );
                }
            }
        }
    }

    fn add(&self, series: MetricSeries, values: &[f64]) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= SERIES_MAX && !all.contains_key(&series) {
            return;
        }
        let total = all.entry(series).or_default();
        total.sum += values.iter().sum::<f64>();
        total.samples += values.len() as u64;
    }

    /// Everything so far.
    #[must_use]
    pub fn totals(&self) -> Vec<(MetricSeries, MetricTotal)> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().map(|(series, total)| (series.clone(), *total)).collect()
    }
}

/// A metric's value is a number or a list of them.
fn numbers(value: &Value) -> Option<Vec<f64>> {
    match value {
        Value::Array(values) => values.iter().map(Value::as_f64).collect(),
        value => Some(vec![value.as_f64()?]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(model: &str, values: &str) -> String {
        format!(
            r#"{{"_aws":{{"Timestamp":1,"CloudWatchMetrics":[{{"Namespace":"N","Dimensions":[["Model"]],"Metrics":[{{"Name":"Tokens","Unit":"Count"}}]}}]}},"Model":"{model}","Tokens":{values}}}"#
        )
    }

    fn check(lines: &[String], expected: &str) {
        let metrics = EmittedMetrics::default();
        lines.iter().for_each(|line| metrics.read(line));
        let told = metrics
            .totals()
            .into_iter()
            .map(|(series, total)| format!("{}/{} {:?} {} {}", series.namespace, series.name, series.dimensions, total.sum, total.samples));
        assert_eq!(told.collect::<Vec<_>>().join("; "), expected);
    }

    #[test]
    fn values_are_added_up_by_series() {
        check(
            &[line("a", "5"), line("b", "[1, 2.5]"), line("a", "2"), "{\"message\":\"hello\"}".to_owned()],
            r#"N/Tokens [("Model", "a")] 7 2; N/Tokens [("Model", "b")] 3.5 2"#,
        );
    }

    #[test]
    fn rubbish_is_passed_over() {
        check(
            &[
                "\"_aws\"".to_owned(),
                "{\"_aws\": 7}".to_owned(),
                line("a", "\"many\""),
                line("a", "5").replace("Model\":\"a", "Other\":\"a"),
            ],
            "",
        );
        let many: Vec<_> = (0..SERIES_MAX + 9).map(|index| line(&index.to_string(), "1")).collect();
        let metrics = EmittedMetrics::default();
        many.iter().for_each(|line| metrics.read(line));
        assert_eq!(metrics.totals().len(), SERIES_MAX);
    }
}
