//! The agents' own metrics among the host's, for Prometheus: each metric that one writes into its log is a counter of its values' sum and one of their number.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use frontdesk_runtime::{MetricSeries, MetricTotal, RuntimeService};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;

/// Reads the metrics of all agents when they are asked for.
#[derive(Debug)]
pub(crate) struct AgentMetrics(pub(crate) Arc<RuntimeService>);

impl Collector for AgentMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut families: BTreeMap<String, Vec<(MetricSeries, MetricTotal)>> = BTreeMap::new();
        for (series, total) in self.0.emitted_metrics() {
            families.entry(format!("agent_{}", snake_case(&series.name))).or_default().push((series, total));
        }
        for (name, members) in families {
            let unit = &members[0].0.unit;
            let help = format!("Sum of what agents emitted as {} ({unit})", members[0].0.name);
            let mut family = encoder.encode_descriptor(&name, &help, None, MetricType::Counter)?;
            for (series, total) in &members {
                let labels = labels(series);
                ConstCounter::new(total.sum).encode(family.encode_family(&labels)?)?;
            }
            let (samples, help) = (format!("{name}_samples"), format!("Number of the values in {name}"));
            let mut family = encoder.encode_descriptor(&samples, &help, None, MetricType::Counter)?;
            for (series, total) in &members {
                let labels = labels(series);
                ConstCounter::new(total.samples).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

fn labels(series: &MetricSeries) -> Vec<(String, String)> {
    let dimensions = series.dimensions.iter().map(|(name, value)| (snake_case(name), value.clone()));
    std::iter::once(("namespace".to_owned(), series.namespace.clone())).chain(dimensions).collect()
}

/// `InputTokenCount` is `input_token_count`; what no metric's name may hold is an underscore.
fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    let mut was_lower = false;
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && was_lower {
            snake.push('_');
        }
        was_lower = letter.is_ascii_lowercase() || letter.is_ascii_digit();
        snake.push(if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '_' });
    }
    snake
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_prometheus_s() {
        assert_eq!(snake_case("InputTokenCount"), "input_token_count");
        assert_eq!(snake_case("4XXError"), "4_xxerror");
        assert_eq!(snake_case("Wait/time"), "wait_time");
    }
}
