//! The spans' way out: sampled, queued, and sent in batches by a thread of their own.

use std::sync::Arc;

use anyhow::Context as _;
use frontdesk_trace::{SpanContext, SpanRecord, SpanSink, Spans};
use opentelemetry::trace::{SpanId, Status, TraceContextExt as _, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchSpanProcessor, Config, SamplingDecision, ShouldSample, SpanData, SpanEvents, SpanLinks, SpanProcessor,
};

use super::FLUSH_TIMEOUT;
use super::collector::{self, Health, RuntimeClient};
use super::variables::{self, Destination, TRACES};

/// The traces of this program, from its start to its end.
pub(crate) struct TracesExport(Option<Arc<Exported>>);

impl TracesExport {
    /// As the environment says; nothing is exported unless it names an endpoint. `service_name` is for where it names no service. Must be called inside the
    /// async runtime, which carries the requests.
    ///
    /// # Errors
    /// Names the variable whose value cannot be used.
    pub(crate) fn from_environment(service_name: &'static str) -> anyhow::Result<TracesExport> {
        let variable = &variables::environment;
        let Some(destination) = variables::destination(&TRACES, variable)? else { return Ok(TracesExport(None)) };
        variables::check_sampler(variable)?;
        let exported = Exported::to(&destination, &variables::resource(variable, service_name))?;
        Ok(TracesExport(Some(Arc::new(exported))))
    }

    /// Where the program's spans go.
    pub(crate) fn spans(&self) -> Spans {
        self.0.clone().map_or_else(Spans::default, |exported| Spans::to(exported))
    }

    /// Sends what is still waiting. What comes later is lost.
    pub(crate) async fn flush(self) {
        let Some(exported) = self.0 else { return };
        // What went wrong is in the log already.
        let _ = tokio::task::spawn_blocking(move || exported.processor.shutdown_with_timeout(FLUSH_TIMEOUT)).await;
    }
}

/// Spans on their way to a collector.
struct Exported {
    sampler: Box<dyn ShouldSample>,
    processor: BatchSpanProcessor,
    scope: InstrumentationScope,
}

impl Exported {
    fn to(destination: &Destination, resource: &Resource) -> anyhow::Result<Exported> {
        // The crates read the headers, OTEL_BSP_… and OTEL_TRACES_SAMPLER from the environment by themselves.
        let exporter = SpanExporter::builder().with_http().with_http_client(RuntimeClient::new(collector::client(destination)?));
        let exporter = exporter.with_protocol(Protocol::HttpBinary).with_endpoint(&destination.url).with_timeout(destination.timeout);
        let exporter = exporter.build().context("failed to set up the export of traces by the variables OTEL_EXPORTER_OTLP_…")?;
        let mut exporter = TellingExporter { exporter, health: Health::of("traces") };
        opentelemetry_sdk::trace::SpanExporter::set_resource(&mut exporter, resource);
        let Config { sampler, .. } = Config::default();
        let processor = BatchSpanProcessor::builder(exporter).build();
        let scope = InstrumentationScope::builder("frontdesk").with_version(env!("CARGO_PKG_VERSION")).build();
        Ok(Exported { sampler, processor, scope })
    }
}

impl SpanSink for Exported {
    fn is_wanted(&self, trace_id: u128, parent: Option<SpanContext>) -> bool {
        let parent = parent.map(|parent| opentelemetry::Context::new().with_remote_span_context(span_context(parent, true)));
        // The samplers that a variable can choose look at the trace alone; so a span need not be made before it is known to be wanted.
        let (kind, trace_id) = (opentelemetry::trace::SpanKind::Server, TraceId::from(trace_id));
        let sampled = self.sampler.should_sample(parent.as_ref(), trace_id, "", &kind, &[], &[]);
        sampled.decision == SamplingDecision::RecordAndSample
    }

    fn take(&self, span: SpanRecord) {
        self.processor.on_end(SpanData {
            span_context: span_context(span.context, false),
            parent_span_id: span.parent.map_or(SpanId::INVALID, |parent| SpanId::from(parent.span_id)),
            parent_span_is_remote: span.parent.is_some() && span.parent_is_remote,
            span_kind: match span.kind {
                frontdesk_trace::SpanKind::Server => opentelemetry::trace::SpanKind::Server,
                frontdesk_trace::SpanKind::Client => opentelemetry::trace::SpanKind::Client,
                frontdesk_trace::SpanKind::Internal => opentelemetry::trace::SpanKind::Internal,
            },
            name: span.name,
            start_time: span.began,
            end_time: span.ended,
            attributes: span.attributes.into_iter().map(|(name, value)| key_value(name, value)).collect(),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: if span.is_failed { Status::error("") } else { Status::Unset },
            instrumentation_scope: self.scope.clone(),
        });
    }
}

fn span_context(context: SpanContext, is_remote: bool) -> opentelemetry::trace::SpanContext {
    let (trace_id, span_id) = (TraceId::from(context.trace_id), SpanId::from(context.span_id));
    opentelemetry::trace::SpanContext::new(trace_id, span_id, TraceFlags::new(context.flags), is_remote, TraceState::NONE)
}

fn key_value(name: &'static str, value: frontdesk_trace::Value) -> KeyValue {
    match value {
        frontdesk_trace::Value::Text(text) => KeyValue::new(name, text),
        frontdesk_trace::Value::Integer(number) => KeyValue::new(name, number),
    }
}

/// An exporter whose failures are told as [`Health`] tells them.
#[derive(Debug)]
struct TellingExporter {
    exporter: SpanExporter,
    health: Health,
}

impl opentelemetry_sdk::trace::SpanExporter for TellingExporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let exported = opentelemetry_sdk::trace::SpanExporter::export(&self.exporter, batch).await;
        self.health.note(exported.as_ref().copied().map_err(ToString::to_string));
        exported
    }

    fn shutdown_with_timeout(&self, timeout: std::time::Duration) -> OTelSdkResult {
        opentelemetry_sdk::trace::SpanExporter::shutdown_with_timeout(&self.exporter, timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        opentelemetry_sdk::trace::SpanExporter::set_resource(&mut self.exporter, resource);
    }
}
