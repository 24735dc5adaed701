//! Spans: what each hop of a request tells of its part, and the header that joins the parts to one trace.
//!
//! A room opens a [`Span`] below the one that its request came with, says what it saw, and drops it. Where the records go is for the composition root to say,
//! by a [`SpanSink`]; without one nothing is recorded, and a span costs a comparison. This crate knows no exporter, and refuses to carry what a request is about:
//! no prompt, answer or key belongs into an attribute.

mod body;
mod context;
mod span;
mod trace;

pub use body::SpannedBody;
pub use context::{SpanContext, TRACEPARENT};
pub use span::{Span, SpanKind, SpanParent, SpanRecord, SpanSink, Spans, Value};
pub use trace::Trace;
