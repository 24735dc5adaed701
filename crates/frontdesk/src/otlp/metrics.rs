//! The metrics' way out: what `/metrics` shows is read again at each interval, and sent by OTLP over HTTP
//! (<https://opentelemetry.io/docs/specs/otlp/#otlphttp-request>).
//!
//! So a metric is defined once, and counting costs a request the same whether it is exported or not. The page is this program's own: what stands on it in any
//! other form than its encoder's is left out.

use std::future::Future;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum,
    number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;
use tokio::time::MissedTickBehavior;

use super::FLUSH_TIMEOUT;
use super::collector::{self, Health};
use super::variables::{self, Destination, METRICS};

/// How often OpenTelemetry sends metrics where no variable says otherwise.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(60);

/// Metrics on their way to a collector.
pub(crate) struct MetricsExport {
    client: reqwest::Client,
    destination: Destination,
    headers: HeaderMap,
    interval: Duration,
    resource: Resource,
    health: Health,
    /// When this program began to count.
    began: SystemTime,
}

impl MetricsExport {
    /// As the environment says; `None` unless it names an endpoint. `service_name` is for where it names no service.
    ///
    /// # Errors
    /// Names the variable whose value cannot be used.
    pub(crate) fn from_environment(service_name: &'static str) -> anyhow::Result<Option<MetricsExport>> {
        let variable = &variables::environment;
        let Some(destination) = variables::destination(&METRICS, variable)? else { return Ok(None) };
        let interval = variables::milliseconds("OTEL_METRIC_EXPORT_INTERVAL", variable)?.unwrap_or(DEFAULT_INTERVAL);
        let mut headers = headers(&variables::of_signal(&METRICS, "HEADERS", variable).map(|(_, value)| value).unwrap_or_default())?;
        headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        let resource = variables::resource(variable, service_name);
        let attributes = resource.iter().map(|(name, value)| attribute(name.as_str(), &value.to_string())).collect();
        Ok(Some(MetricsExport {
            client: collector::client(&destination)?,
            destination,
            headers,
            interval: interval.max(Duration::from_millis(1)),
            resource: Resource { attributes, ..Resource::default() },
            health: Health::of("metrics"),
            began: now(),
        }))
    }

    /// Sends what `page` shows at each interval until `shutdown` completes, and then once more.
    pub(crate) async fn run(self, page: impl Fn() -> String, shutdown: impl Future<Output = ()>) {
        let mut interval = tokio::time::interval_at(tokio::time::Instant::now() + self.interval, self.interval);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        tokio::pin!(shutdown);
        loop {
            let next = async {
                interval.tick().await;
                self.send(&page()).await;
            };
            tokio::select! {
                () = &mut shutdown => break,
                () = next => {}
            }
        }
        // Whoever waits no longer loses the last minute's counts, and nothing else.
        let _ = tokio::time::timeout(FLUSH_TIMEOUT, self.send(&page())).await;
    }

    async fn send(&self, page: &str) {
        let scope =
            InstrumentationScope { name: "frontdesk".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned(), ..Default::default() };
        let metrics = metrics(page, unix_ns(self.began), unix_ns(now()));
        let scope_metrics = vec![ScopeMetrics { scope: Some(scope), metrics, ..ScopeMetrics::default() }];
        let of_this_program = ResourceMetrics { resource: Some(self.resource.clone()), scope_metrics, ..ResourceMetrics::default() };
        let body = ExportMetricsServiceRequest { resource_metrics: vec![of_this_program] }.encode_to_vec();
        let request = self.client.post(&self.destination.url).headers(self.headers.clone()).body(body);
        let sent = request.send().await.and_then(reqwest::Response::error_for_status);
        // The URL is left out: it may hold a password.
        self.health.note(sent.map(drop).map_err(|error| format!("{:#}", anyhow::Error::from(error.without_url()))));
    }
}

/// `name=value` pairs, separated by commas, percent-encoded as in `baggage`
/// (<https://opentelemetry.io/docs/specs/otel/protocol/exporter/#specifying-headers-via-environment-variables>).
fn headers(text: &str) -> anyhow::Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (name, value) in text.split(',').filter_map(|pair| pair.split_once('=')) {
        let value = percent_encoding::percent_decode_str(value.trim()).decode_utf8_lossy();
        // The value is a secret as a rule; only the name is told.
        let parsed = || Some((HeaderName::try_from(name.trim()).ok()?, HeaderValue::from_str(&value).ok()?));
        let (name, mut value) = parsed().with_context(|| format!("OTEL_EXPORTER_OTLP_HEADERS: `{}` is no header", name.trim()))?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(headers)
}

/// The metrics of an OpenMetrics page, counted from `began_ns` to `now_ns` (Unix nanoseconds).
fn metrics(page: &str, began_ns: u64, now_ns: u64) -> Vec<Metric> {
    let mut all: Vec<Metric> = Vec::new();
    for line in page.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            all.push(Metric { name: name.to_owned(), description: help.to_owned(), ..Metric::default() });
            continue;
        }
        let Some(metric) = all.last_mut() else { continue };
        if let Some((_, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            metric.data = data(kind);
        } else if let Some((_, unit)) = line.strip_prefix("# UNIT ").and_then(|rest| rest.split_once(' ')) {
            metric.unit = if unit == "seconds" { "s" } else { unit }.to_owned();
        } else if let Some(sample) = Sample::read(line) {
            sample.add_to(metric, began_ns, now_ns);
        }
    }
    all.retain(|metric| metric.data.is_some());
    all
}

/// An empty metric of a kind, by Prometheus's name.
fn data(kind: &str) -> Option<Data> {
    let aggregation_temporality = AggregationTemporality::Cumulative.into();
    match kind {
        "counter" => Some(Data::Sum(Sum { data_points: Vec::new(), aggregation_temporality, is_monotonic: true })),
        "gauge" => Some(Data::Gauge(Gauge { data_points: Vec::new() })),
        "histogram" => Some(Data::Histogram(Histogram { data_points: Vec::new(), aggregation_temporality })),
        _ => None,
    }
}

/// A line of the page: `name{label="value",…} number`.
#[derive(Debug, PartialEq)]
struct Sample<'a> {
    name: &'a str,
    labels: Vec<(&'a str, &'a str)>,
    number: &'a str,
}

impl<'a> Sample<'a> {
    fn read(line: &'a str) -> Option<Sample<'a>> {
        let Some((name, mut rest)) = line.split_once('{') else {
            let (name, number) = line.split_once(' ')?;
            return Some(Sample { name, labels: Vec::new(), number });
        };
        let mut labels = Vec::new();
        loop {
            let (label, quoted) = rest.split_once("=\"")?;
            // The encoder escapes nothing; a value with a quotation mark makes a line that is left out.
            let (value, after) = quoted.split_once('"')?;
            labels.push((label, value));
            match after.strip_prefix(',') {
                Some(more) => rest = more,
                None => return Some(Sample { name, labels, number: after.strip_prefix("} ")? }),
            }
        }
    }

    fn add_to(self, metric: &mut Metric, start_time_unix_nano: u64, time_unix_nano: u64) {
        let Sample { name, labels, number } = self;
        let attributes =
            || -> Vec<KeyValue> { labels.iter().filter(|(name, _)| *name != "le").map(|(name, value)| attribute(name, value)).collect() };
        match &mut metric.data {
            Some(Data::Sum(Sum { data_points, .. }) | Data::Gauge(Gauge { data_points })) => {
                let integer = number.parse().map(number_data_point::Value::AsInt).ok();
                let value = integer.or_else(|| number.parse().map(number_data_point::Value::AsDouble).ok());
                let attributes = attributes();
                data_points.push(NumberDataPoint { attributes, start_time_unix_nano, time_unix_nano, value, ..NumberDataPoint::default() });
            }
            Some(Data::Histogram(Histogram { data_points, .. })) => {
                // A series begins with its sum; its count and its buckets, each with all below it, follow.
                if name.ends_with("_sum") {
                    let (attributes, sum) = (attributes(), number.parse().ok());
                    let point =
                        HistogramDataPoint { attributes, start_time_unix_nano, time_unix_nano, sum, ..HistogramDataPoint::default() };
                    data_points.push(point);
                    return;
                }
                let (Some(point), Ok(count)) = (data_points.last_mut(), number.parse::<u64>()) else { return };
                if name.ends_with("_count") {
                    point.count = count;
                } else if let Some((_, bound)) = labels.iter().find(|(name, _)| *name == "le") {
                    let below: u64 = point.bucket_counts.iter().sum();
                    point.bucket_counts.push(count.saturating_sub(below));
                    point.explicit_bounds.extend(bound.parse().ok().filter(|bound: &f64| bound.is_finite()));
                }
            }
            _ => {}
        }
    }
}

fn attribute(name: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(any_value::Value::StringValue(value.to_owned())) });
    KeyValue { key: name.to_owned(), value, ..KeyValue::default() }
}

fn unix_ns(moment: SystemTime) -> u64 {
    let since = moment.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[expect(clippy::disallowed_methods, reason = "this is the edge where the moment of a measurement is read")]
fn now() -> SystemTime {
    SystemTime::now()
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::metrics::counter::Counter;
    use prometheus_client::metrics::family::Family;
    use prometheus_client::metrics::gauge::Gauge as PrometheusGauge;
    use prometheus_client::metrics::histogram::Histogram as PrometheusHistogram;
    use prometheus_client::registry::{Registry, Unit};

    use super::*;

    fn check(registry: &Registry, expected: &[&str]) {
        let mut page = String::new();
        encode(&mut page, registry).unwrap();
        let told: Vec<String> = metrics(&page, 1, 2).iter().map(told).collect();
        assert_eq!(told, expected, "{page}");
    }

    /// A metric in a line.
    fn told(metric: &Metric) -> String {
        let labels = |attributes: &[KeyValue]| {
            let value = |attribute: &KeyValue| match attribute.value.clone().and_then(|value| value.value) {
                Some(any_value::Value::StringValue(text)) => text,
                other => format!("{other:?}"),
            };
            attributes.iter().map(|attribute| format!("{}={}", attribute.key, value(attribute))).collect::<Vec<_>>().join("&")
        };
        let numbers = |points: &[NumberDataPoint]| {
            let number = |point: &NumberDataPoint| match point.value {
                Some(number_data_point::Value::AsInt(number)) => number.to_string(),
                Some(number_data_point::Value::AsDouble(number)) => format!("{number:?}"),
                None => "-".to_owned(),
            };
            points.iter().map(|point| format!("[{}] {}", labels(&point.attributes), number(point))).collect::<Vec<_>>().join("; ")
        };
        let data = match metric.data.as_ref().unwrap() {
            Data::Sum(sum) => format!("sum {}", numbers(&sum.data_points)),
            Data::Gauge(gauge) => format!("gauge {}", numbers(&gauge.data_points)),
            Data::Histogram(histogram) => {
                let point = |point: &HistogramDataPoint| {
                    let (labels, sum) = (labels(&point.attributes), point.sum.unwrap());
                    format!("[{labels}] {} {sum} {:?} {:?}", point.count, point.explicit_bounds, point.bucket_counts)
                };
                format!("histogram {}", histogram.data_points.iter().map(point).collect::<Vec<_>>().join("; "))
            }
            other => format!("{other:?}"),
        };
        format!("{} ({}) {data}", metric.name, metric.unit)
    }

    #[test]
    fn what_the_page_shows_is_sent() {
        let mut registry = Registry::default();
        let (count, gauge) = (Family::<Vec<(String, String)>, Counter>::default(), PrometheusGauge::<i64>::default());
        let latency = Family::<Vec<(String, String)>, PrometheusHistogram>::new_with_constructor(|| PrometheusHistogram::new([0.1, 2.5]));
        registry.register("count", "Requests", count.clone());
        registry.register("connections", "Open connections", gauge.clone());
        registry.register_with_unit("latency", "Time", Unit::Seconds, latency.clone());
        let labels = |name: &str| vec![("name".to_owned(), name.to_owned()), ("stage".to_owned(), "prod".to_owned())];
        count.get_or_create(&labels("an {API}, so")).inc_by(7);
        gauge.set(-3);
        for seconds in [0.0625, 0.03125, 2.0, 9.0] {
            latency.get_or_create(&labels("a")).observe(seconds);
        }
        check(
            &registry,
            &[
                "count () sum [name=an {API}, so&stage=prod] 7",
                "connections () gauge [] -3",
                "latency_seconds (s) histogram [name=a&stage=prod] 4 11.09375 [0.1, 2.5] [2, 1, 1]",
            ],
        );
    }

    #[test]
    fn a_page_of_another_kind_is_passed_over() {
        assert_eq!(metrics("what{is=\"this} 7\n# HELP a b\n# TYPE a unknown\na 7\n", 1, 2), []);
    }

    #[test]
    fn headers_are_read_and_their_values_never_told() {
        let read = headers("authorization=Bearer%20x, x-team = desk").unwrap();
        assert_eq!((read["authorization"].to_str().unwrap(), &read["x-team"]), ("Bearer x", &HeaderValue::from_static("desk")));
        assert!(headers("").unwrap().is_empty());
        let error = headers("a b=secret").unwrap_err().to_string();
        assert!(error.contains("`a b`") && !error.contains("secret"), "{error}");
    }
}
