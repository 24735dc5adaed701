//! A stand-in for an OpenTelemetry collector: takes spans and metrics by OTLP over HTTP with protobuf bodies
//! (<https://opentelemetry.io/docs/specs/otlp/#otlphttp-request>), and keeps them, with every byte that came.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use http::{HeaderMap, StatusCode, header};
use opentelemetry_proto::tonic::collector::metrics::v1::{ExportMetricsServiceRequest, ExportMetricsServiceResponse};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{Metric, number_data_point};
pub use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode as SpanStatus;
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Spans that have not come by then never will.
const WAIT_TIMEOUT: Duration = Duration::from_secs(60);

/// A span, as it was exported.
#[derive(Debug, Clone)]
pub struct ExportedSpan {
    /// The program that it comes from: `service.name`.
    pub service: String,
    /// What was done.
    pub name: String,
    /// What it stands for.
    pub kind: SpanKind,
    /// The trace's id, in hexadecimal digits; so are the spans' ids.
    pub trace_id: String,
    /// Its own id.
    pub span_id: String,
    /// The id of the span above; empty when there is none.
    pub parent_span_id: String,
    /// What is known of it; numbers as text.
    pub attributes: BTreeMap<String, String>,
    /// Whether it failed.
    pub is_failed: bool,
}

impl ExportedSpan {
    /// An attribute; empty when it is missing.
    #[must_use]
    pub fn attribute(&self, name: &str) -> &str {
        self.attributes.get(name).map(String::as_str).unwrap_or_default()
    }

    /// Whether this is directly below `parent`.
    #[must_use]
    pub fn is_below(&self, parent: &ExportedSpan) -> bool {
        self.trace_id == parent.trace_id && self.parent_span_id == parent.span_id
    }
}

#[derive(Debug, Default)]
struct Received {
    spans: Vec<ExportedSpan>,
    /// The newest, by name.
    metrics: BTreeMap<String, Metric>,
    bytes: Vec<u8>,
    authorizations: Vec<String>,
}

#[derive(Debug, Clone)]
struct Shared {
    received: Arc<RwLock<Received>>,
    /// How many requests have come.
    count: watch::Sender<usize>,
}

/// The stand-in. It ends when dropped.
#[derive(Debug)]
pub struct Collector {
    address: SocketAddr,
    shared: Shared,
    serving: JoinHandle<()>,
}

impl Collector {
    /// Starts one on a free port.
    ///
    /// # Errors
    /// When there is no port.
    pub async fn start() -> io::Result<Collector> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let shared = Shared { received: Arc::default(), count: watch::Sender::new(0) };
        let router =
            Router::new().route("/v1/traces", post(take_spans)).route("/v1/metrics", post(take_metrics)).with_state(shared.clone());
        let serving = tokio::spawn(async move {
            // Without a server the tests wait in vain, and say for what.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Collector { address, shared, serving })
    }

    /// For `OTEL_EXPORTER_OTLP_ENDPOINT`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All spans so far.
    #[must_use]
    pub fn spans(&self) -> Vec<ExportedSpan> {
        self.shared.received.read().unwrap_or_else(PoisonError::into_inner).spans.clone()
    }

    /// All spans, once `is_enough` says so of them.
    ///
    /// # Panics
    /// If it does not come to that.
    pub async fn spans_until(&self, is_enough: impl Fn(&[ExportedSpan]) -> bool) -> Vec<ExportedSpan> {
        let mut count = self.shared.count.subscribe();
        let came = tokio::time::timeout(WAIT_TIMEOUT, count.wait_for(|_| is_enough(&self.spans()))).await.is_ok();
        assert!(came, "these spans are not what was waited for: {:#?}", self.spans());
        self.spans()
    }

    /// The counter's or the histogram's number, over the series whose labels hold `label`, once it is at least `least`.
    ///
    /// # Panics
    /// If it does not come to that.
    pub async fn metric_until(&self, name: &str, label: (&str, &str), least: u64) {
        let mut count = self.shared.count.subscribe();
        let is_enough = || self.number(name, label).is_some_and(|number| number >= least);
        let came = tokio::time::timeout(WAIT_TIMEOUT, count.wait_for(|_| is_enough())).await.is_ok();
        assert!(came, "{name} of {label:?} is {:?}, not {least}", self.number(name, label));
    }

    /// The sum over those series; `None` for a metric that has not come.
    fn number(&self, name: &str, (label, wanted): (&str, &str)) -> Option<u64> {
        let received = self.shared.received.read().unwrap_or_else(PoisonError::into_inner);
        let is_it = |of_point: &[KeyValue]| attributes(of_point.to_vec()).get(label).is_some_and(|value| value == wanted);
        match received.metrics.get(name)?.data.as_ref()? {
            Data::Sum(sum) => {
                let points = sum.data_points.iter().filter(|point| is_it(&point.attributes));
                let numbers = points.map(|point| match point.value? {
                    number_data_point::Value::AsInt(number) => u64::try_from(number).ok(),
                    number_data_point::Value::AsDouble(_) => None,
                });
                numbers.sum()
            }
            Data::Histogram(histogram) => {
                Some(histogram.data_points.iter().filter(|point| is_it(&point.attributes)).map(|point| point.count).sum())
            }
            _ => None,
        }
    }

    /// Whether `text` stands anywhere in what came.
    #[must_use]
    pub fn has_seen(&self, text: &str) -> bool {
        let received = self.shared.received.read().unwrap_or_else(PoisonError::into_inner);
        received.bytes.windows(text.len()).any(|bytes| bytes == text.as_bytes())
    }

    /// The `Authorization` of every request.
    #[must_use]
    pub fn authorizations(&self) -> Vec<String> {
        self.shared.received.read().unwrap_or_else(PoisonError::into_inner).authorizations.clone()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn take_spans(State(shared): State<Shared>, headers: HeaderMap, body: Bytes) -> Result<Vec<u8>, StatusCode> {
    let request = ExportTraceServiceRequest::decode(body.clone()).map_err(|_| StatusCode::BAD_REQUEST)?;
    shared.take(&headers, &body, |received| received.spans.extend(spans(request)))?;
    Ok(ExportTraceServiceResponse::default().encode_to_vec())
}

async fn take_metrics(State(shared): State<Shared>, headers: HeaderMap, body: Bytes) -> Result<Vec<u8>, StatusCode> {
    let request = ExportMetricsServiceRequest::decode(body.clone()).map_err(|_| StatusCode::BAD_REQUEST)?;
    let metrics =
        request.resource_metrics.into_iter().flat_map(|of_resource| of_resource.scope_metrics).flat_map(|of_scope| of_scope.metrics);
    shared.take(&headers, &body, |received| received.metrics.extend(metrics.map(|metric| (metric.name.clone(), metric))))?;
    Ok(ExportMetricsServiceResponse::default().encode_to_vec())
}

impl Shared {
    fn take(&self, headers: &HeaderMap, body: &[u8], keep: impl FnOnce(&mut Received)) -> Result<(), StatusCode> {
        if headers.get(header::CONTENT_TYPE).is_none_or(|value| value != "application/x-protobuf") {
            return Err(StatusCode::UNSUPPORTED_MEDIA_TYPE);
        }
        let authorization = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        let mut received = self.received.write().unwrap_or_else(PoisonError::into_inner);
        received.authorizations.push(authorization);
        received.bytes.extend_from_slice(body);
        keep(&mut received);
        drop(received);
        self.count.send_modify(|count| *count += 1);
        Ok(())
    }
}

fn spans(request: ExportTraceServiceRequest) -> Vec<ExportedSpan> {
    let mut all = Vec::new();
    for of_resource in request.resource_spans {
        let resource = attributes(of_resource.resource.map(|resource| resource.attributes).unwrap_or_default());
        let service = resource.get("service.name").cloned().unwrap_or_default();
        for span in of_resource.scope_spans.into_iter().flat_map(|of_scope| of_scope.spans) {
            all.push(ExportedSpan {
                service: service.clone(),
                kind: span.kind(),
                name: span.name,
                trace_id: hex(&span.trace_id),
                span_id: hex(&span.span_id),
                parent_span_id: hex(&span.parent_span_id),
                attributes: attributes(span.attributes),
                is_failed: span.status.is_some_and(|status| status.code() == SpanStatus::Error),
            });
        }
    }
    all
}

fn attributes(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |value: Option<AnyValue>| match value.and_then(|value| value.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    };
    attributes.into_iter().map(|attribute| (attribute.key, text(attribute.value))).collect()
}

fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}
