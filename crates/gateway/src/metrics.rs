//! API Gateway's metrics, for Prometheus and for CloudWatch: `Count`, `4XXError`, `5XXError`, `Latency`, `IntegrationLatency`, `CacheHitCount` and `CacheMissCount` with the
//! dimensions API, stage, resource and method as labels; a sum over labels gives the coarser dimensions, which CloudWatch has as metrics of their own
//! (<https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-metrics-and-dimensions.html>).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use frontdesk_metrics::{Durations, Figures, Series, Sketch, unit};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::answer::GatewayAnswer;
use crate::exchange::{CacheUse, Ended, Exchange};

/// Upper bounds of the latency histograms, in seconds: from a refusal's tenth of a millisecond to the integration timeout.
const LATENCY_BOUNDS_S: [f64; 16] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 29.0];

/// The media type of [`text`].
pub const TEXT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All metrics of a registry in the OpenMetrics text format, which Prometheus reads
/// (<https://prometheus.io/docs/specs/om/open_metrics_spec/>).
#[must_use]
pub fn text(registry: &Registry) -> String {
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, registry).expect("writing to a text does not fail");
    text
}

/// A method's labels.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
pub struct MethodLabels {
    /// The API's name.
    pub api_name: String,
    /// The stage; empty for requests that reached none.
    pub stage: String,
    /// The resource's path; empty for requests that reached none.
    pub resource: String,
    /// The verb; empty for requests that reached none.
    pub method: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

/// What is counted for one method. Cheap to clone: all clones count together.
#[derive(Debug, Clone)]
pub struct MethodMetrics {
    count: Counter,
    client_errors: Counter,
    server_errors: Counter,
    latency: Histogram,
    integration_latency: Histogram,
    cache_hits: Counter,
    cache_misses: Counter,
    figures: Arc<MethodFigures>,
}

/// What has been counted for one method since it was last taken.
#[derive(Debug, Default)]
struct MethodFigures {
    count: AtomicU64,
    client_errors: AtomicU64,
    server_errors: AtomicU64,
    cache_hits: AtomicU64,
    cache_misses: AtomicU64,
    latency: Durations,
    integration_latency: Durations,
}

/// The namespace of API Gateway's metrics.
const NAMESPACE: &str = "AWS/ApiGateway";

/// All metrics of a gateway.
#[derive(Debug, Clone)]
pub struct Metrics {
    count: Family<MethodLabels, Counter>,
    client_errors: Family<MethodLabels, Counter>,
    server_errors: Family<MethodLabels, Counter>,
    latency: Family<MethodLabels, Histogram, fn() -> Histogram>,
    integration_latency: Family<MethodLabels, Histogram, fn() -> Histogram>,
    cache_hits: Family<MethodLabels, Counter>,
    cache_misses: Family<MethodLabels, Counter>,
    refused: Family<ReasonLabel, Counter>,
    in_flight: Gauge,
    connections: Gauge,
    log_lines_lost: Counter,
    figures: Arc<Mutex<BTreeMap<MethodLabels, Arc<MethodFigures>>>>,
}

fn latency_histogram() -> Histogram {
    Histogram::new(LATENCY_BOUNDS_S)
}

impl Metrics {
    /// Metrics that are told to `registry`.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Metrics {
        let metrics = Metrics {
            count: Family::default(),
            client_errors: Family::default(),
            server_errors: Family::default(),
            latency: Family::new_with_constructor(latency_histogram as fn() -> Histogram),
            integration_latency: Family::new_with_constructor(latency_histogram as fn() -> Histogram),
            cache_hits: Family::default(),
            cache_misses: Family::default(),
            refused: Family::default(),
            in_flight: Gauge::default(),
            connections: Gauge::default(),
            log_lines_lost: Counter::default(),
            figures: Arc::default(),
        };
        let registry = registry.sub_registry_with_prefix("apigateway");
        registry.register("count", "Requests", metrics.count.clone());
        registry.register("4xx_error", "Answers with a status from 400 to 499", metrics.client_errors.clone());
        registry.register("5xx_error", "Answers with a status from 500 to 599", metrics.server_errors.clone());
        let help = "Time from a request to the end of its answer";
        registry.register_with_unit("latency", help, Unit::Seconds, metrics.latency.clone());
        let help = "Time from a call of an integration to the beginning of its answer";
        registry.register_with_unit("integration_latency", help, Unit::Seconds, metrics.integration_latency.clone());
        registry.register("cache_hit", "Answers from the response cache", metrics.cache_hits.clone());
        registry.register("cache_miss", "Requests that the response cache had no answer for", metrics.cache_misses.clone());
        registry.register("refused", "Requests that the gateway answered by itself, by reason", metrics.refused.clone());
        registry.register("requests_in_flight", "Requests inside integrations", metrics.in_flight.clone());
        registry.register("connections", "Open connections of callers", metrics.connections.clone());
        registry.register("access_log_lines_lost", "Lines that the access log had no room for", metrics.log_lines_lost.clone());
        metrics
    }

    /// The metrics of one method.
    #[must_use]
    pub fn of_method(&self, labels: &MethodLabels) -> MethodMetrics {
        MethodMetrics {
            count: self.count.get_or_create_owned(labels),
            client_errors: self.client_errors.get_or_create_owned(labels),
            server_errors: self.server_errors.get_or_create_owned(labels),
            latency: self.latency.get_or_create_owned(labels),
            integration_latency: self.integration_latency.get_or_create_owned(labels),
            cache_hits: self.cache_hits.get_or_create_owned(labels),
            cache_misses: self.cache_misses.get_or_create_owned(labels),
            figures: self.figures.lock().unwrap_or_else(PoisonError::into_inner).entry(labels.clone()).or_default().clone(),
        }
    }

    /// Takes what has been counted since the last time: of each API, of each of its stages, and of each method. A 4XXError or 5XXError of nothing is one that did not
    /// happen, so that the average is the rate, as in CloudWatch.
    #[must_use]
    pub fn take_figures(&self) -> Figures {
        let mut methods = Vec::new();
        // A method that is deployed nowhere any more is taken a last time.
        self.figures.lock().unwrap_or_else(PoisonError::into_inner).retain(|labels, figures| {
            methods.push((labels.clone(), figures.clone()));
            Arc::strong_count(figures) > 2
        });
        let mut taken: BTreeMap<Series, Sketch> = BTreeMap::new();
        for (labels, figures) in methods {
            for (name, unit, sketch) in figures.take() {
                for dimensions in labels.dimensions() {
                    taken.entry(Series::new(NAMESPACE, name, &dimensions, unit)).or_default().merge(&sketch);
                }
            }
        }
        taken.into_iter().collect()
    }

    /// Counts an answer that the gateway gave by itself.
    pub fn refused(&self, answer: GatewayAnswer) {
        let reason = match answer {
            GatewayAnswer::Forbidden => "forbidden",
            GatewayAnswer::MissingAuthenticationToken => "no_such_method",
            GatewayAnswer::TooManyRequests { .. } => "throttled",
            GatewayAnswer::LimitExceeded { .. } => "quota_spent",
            GatewayAnswer::RequestTooLong => "body_too_long",
            GatewayAnswer::BadBody => "bad_body",
            GatewayAnswer::BadParameters => "bad_parameters",
            GatewayAnswer::EndpointTimeout => "integration_timeout",
            GatewayAnswer::InternalServerError => "integration_failed",
            GatewayAnswer::MalformedAnswer => "integration_malformed",
            GatewayAnswer::EndpointUnreachable => "integration_unreachable",
            GatewayAnswer::UnsupportedMediaType => "media_type",
            GatewayAnswer::Overloaded => "overloaded",
        };
        self.refused.get_or_create(&ReasonLabel { reason }).inc();
    }

    /// The gauge of requests inside integrations.
    #[must_use]
    pub fn in_flight(&self) -> &Gauge {
        &self.in_flight
    }

    /// The gauge of open connections.
    #[must_use]
    pub fn connections(&self) -> &Gauge {
        &self.connections
    }

    /// Tells how many lines the access log lost so far.
    pub fn set_log_lines_lost(&self, lost: u64) {
        self.log_lines_lost.inc_by(lost.saturating_sub(self.log_lines_lost.get()));
    }
}

/// One more on a gauge, for as long as this lives.
#[derive(Debug)]
pub(crate) struct OneMore(Gauge);

impl OneMore {
    pub(crate) fn of(gauge: &Gauge) -> OneMore {
        gauge.inc();
        OneMore(gauge.clone())
    }
}

impl Drop for OneMore {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl MethodLabels {
    /// The dimensions of the metrics that a method counts for.
    fn dimensions(&self) -> Vec<Vec<(&str, &str)>> {
        let api = ("ApiName", &*self.api_name);
        let stage = ("Stage", &*self.stage);
        let method = [("Resource", &*self.resource), ("Method", &*self.method)];
        let mut dimensions = vec![vec![api]];
        if !self.stage.is_empty() {
            dimensions.push(vec![api, stage]);
        }
        if !self.resource.is_empty() {
            dimensions.push([vec![api, stage], method.to_vec()].concat());
        }
        dimensions
    }
}

impl MethodFigures {
    /// What came since the last time, by metric; nothing where nothing came.
    fn take(&self) -> Vec<(&'static str, &'static str, Sketch)> {
        let take = |counted: &AtomicU64| counted.swap(0, Ordering::Relaxed);
        let all = take(&self.count);
        if all == 0 {
            return Vec::new();
        }
        let mut taken = vec![
            ("Count", unit::COUNT, Sketch::of_shares(all, all)),
            ("4XXError", unit::COUNT, Sketch::of_shares(take(&self.client_errors), all)),
            ("5XXError", unit::COUNT, Sketch::of_shares(take(&self.server_errors), all)),
            ("Latency", unit::MILLISECONDS, self.latency.take()),
            ("IntegrationLatency", unit::MILLISECONDS, self.integration_latency.take()),
        ];
        for (name, counted) in [("CacheHitCount", take(&self.cache_hits)), ("CacheMissCount", take(&self.cache_misses))] {
            taken.push((name, unit::COUNT, Sketch::of_shares(counted, counted)));
        }
        taken.retain(|(_, _, sketch)| !sketch.is_empty());
        taken
    }
}

impl MethodMetrics {
    /// Counts an exchange.
    pub fn record(&self, exchange: &Exchange, ended: Ended) {
        let figures = &*self.figures;
        let one_more = |counted: &AtomicU64| {
            counted.fetch_add(1, Ordering::Relaxed);
        };
        self.count.inc();
        if exchange.status.is_client_error() {
            self.client_errors.inc();
            one_more(&figures.client_errors);
        } else if exchange.status.is_server_error() {
            self.server_errors.inc();
            one_more(&figures.server_errors);
        }
        self.latency.observe(ended.latency.as_secs_f64());
        figures.latency.record(ended.latency);
        if let Some(integration) = &exchange.integration {
            self.integration_latency.observe(integration.latency.as_secs_f64());
            figures.integration_latency.record(integration.latency);
        }
        match exchange.cache {
            Some(CacheUse::Hit) => {
                self.cache_hits.inc();
                one_more(&figures.cache_hits);
            }
            Some(CacheUse::Miss) => {
                self.cache_misses.inc();
                one_more(&figures.cache_misses);
            }
            None => {}
        }
        // The last, so that whoever takes it finds the rest.
        one_more(&figures.count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_taken_once_for_the_method_its_stage_and_its_api() {
        let metrics = Metrics::register(&mut Registry::default());
        let labels = MethodLabels { api_name: "a".into(), stage: "prod".into(), resource: "/invoke".into(), method: "POST".into() };
        let method = metrics.of_method(&labels);
        let unrouted = metrics.of_method(&MethodLabels { api_name: "a".into(), ..MethodLabels::default() });
        for figures in [&method.figures, &method.figures, &unrouted.figures] {
            figures.count.fetch_add(1, Ordering::Relaxed);
            figures.latency.record(std::time::Duration::from_millis(4));
        }
        unrouted.figures.client_errors.fetch_add(1, Ordering::Relaxed);
        method.figures.cache_hits.fetch_add(1, Ordering::Relaxed);
        let taken: BTreeMap<_, _> = metrics.take_figures().into_iter().collect();
        let api = ("ApiName", "a");
        let stage = ("Stage", "prod");
        let check = |name: &str, dimensions: &[(&str, &str)], unit: &str, expected: Option<(f64, f64)>| {
            let sketch = taken.get(&Series::new(NAMESPACE, name, dimensions, unit));
            assert_eq!(sketch.map(|sketch| (sketch.sum(), sketch.count())), expected, "{name} {dimensions:?}");
        };
        check("Count", &[api], "Count", Some((3.0, 3.0)));
        check("Count", &[api, stage], "Count", Some((2.0, 2.0)));
        check("Count", &[api, stage, ("Resource", "/invoke"), ("Method", "POST")], "Count", Some((2.0, 2.0)));
        check("4XXError", &[api], "Count", Some((1.0, 3.0)));
        check("4XXError", &[api, stage], "Count", Some((0.0, 2.0)));
        check("Latency", &[api], "Milliseconds", Some((12.0, 3.0)));
        check("CacheHitCount", &[api], "Count", Some((1.0, 1.0)));
        check("CacheMissCount", &[api], "Count", None);
        check("IntegrationLatency", &[api], "Milliseconds", None);
        assert!(metrics.take_figures().is_empty());
    }
}
