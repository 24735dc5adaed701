//! The way of spans and metrics out of this program: OTLP over HTTP, set up by OpenTelemetry's own variables and by nothing else.
//!
//! Spans go through a bounded queue, and those that find it full are lost; metrics are read at intervals. So a collector that is slow or down costs no request
//! anything. It is told of once in the log, and once more when it is back.

mod collector;
#[cfg(feature = "host")]
mod metrics;
mod traces;
mod variables;

use std::time::Duration;

#[cfg(feature = "host")]
pub(crate) use metrics::MetricsExport;
pub(crate) use traces::TracesExport;

/// How long the end of the program may wait for a signal's last request. An agent has ten seconds for its end, of which calls in flight may take eight.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(1500);
