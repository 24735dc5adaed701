//! A span: begun, told of, and handed to the sink when it is dropped.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use http::StatusCode;

use crate::body::SpannedBody;
use crate::context::SpanContext;

/// What a span stands for, in OpenTelemetry's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanKind {
    /// Answers a request that came over the network.
    Server,
    /// Sends a request and waits for its answer.
    Client,
    /// Work inside a room.
    Internal,
}

/// An attribute's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A text.
    Text(Cow<'static, str>),
    /// A whole number.
    Integer(i64),
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Value {
        Value::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::Text(Cow::Owned(text))
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Value {
        Value::Integer(number)
    }
}

impl From<StatusCode> for Value {
    fn from(status: StatusCode) -> Value {
        Value::Integer(status.as_u16().into())
    }
}

/// A span that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpanRecord {
    /// What was done, in few different words: `POST /prod/invoke`.
    pub name: Cow<'static, str>,
    /// What it stands for.
    pub kind: SpanKind,
    /// Its place.
    pub context: SpanContext,
    /// The span above; `None` for a trace's first.
    pub parent: Option<SpanContext>,
    /// Whether the span above belongs to another hop.
    pub parent_is_remote: bool,
    /// When it began.
    pub began: SystemTime,
    /// When it ended.
    pub ended: SystemTime,
    /// What is known of it, by the names of OpenTelemetry's semantic conventions where they have one.
    pub attributes: Vec<(&'static str, Value)>,
    /// Whether it failed; `error.type` among the attributes says how.
    pub is_failed: bool,
}

/// Takes the spans of a program. Both functions are called on the way of requests, so neither may wait.
pub trait SpanSink: Send + Sync + 'static {
    /// Whether a hop's spans are to be recorded. `parent` is the span above it, in another hop.
    fn is_wanted(&self, trace_id: u128, parent: Option<SpanContext>) -> bool;

    /// Takes a span that has ended.
    fn take(&self, span: SpanRecord);
}

/// Where the spans of a room go: to a sink, or by default nowhere.
#[derive(Clone, Default)]
pub struct Spans(Option<Arc<dyn SpanSink>>);

impl Spans {
    /// Into `sink`.
    #[must_use]
    pub fn to(sink: Arc<dyn SpanSink>) -> Spans {
        Spans(Some(sink))
    }

    /// `context`, flagged as the sink wants it: for a hop that names its span by itself. Without a sink the flag is nobody's to change.
    #[must_use]
    pub fn decide(&self, context: SpanContext, parent: Option<SpanContext>) -> SpanContext {
        match &self.0 {
            Some(sink) => context.sampled(sink.is_wanted(context.trace_id, parent)),
            None => context,
        }
    }

    /// Takes the span of such a hop, if it was wanted; it is made only then.
    pub fn record(&self, context: SpanContext, make: impl FnOnce() -> SpanRecord) {
        if let Some(sink) = self.0.as_ref().filter(|_| context.is_sampled()) {
            sink.take(make());
        }
    }

    /// Begins a hop's span: below `parent`, which is in another hop, or as a trace's first.
    #[must_use]
    pub fn begin(&self, name: &'static str, kind: SpanKind, parent: Option<SpanContext>) -> Span {
        let Some(sink) = &self.0 else { return Span::default() };
        let context = parent.map_or_else(SpanContext::root, SpanContext::below);
        if !sink.is_wanted(context.trace_id, parent) {
            return Span::default();
        }
        Span::begin(sink.clone(), name.into(), kind, context.sampled(true), parent, true)
    }
}

impl fmt::Debug for Spans {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.0.is_some() { "Spans(to a sink)" } else { "Spans(nowhere)" })
    }
}

/// A span that is under way, until it is dropped. By default one that is not recorded.
#[derive(Default)]
pub struct Span(Option<Box<Open>>);

struct Open {
    sink: Arc<dyn SpanSink>,
    record: SpanRecord,
}

impl Span {
    fn begin(
        sink: Arc<dyn SpanSink>,
        name: Cow<'static, str>,
        kind: SpanKind,
        context: SpanContext,
        parent: Option<SpanContext>,
        parent_is_remote: bool,
    ) -> Span {
        let began = now();
        let (attributes, is_failed) = (Vec::new(), false);
        Span(Some(Box::new(Open {
            sink,
            record: SpanRecord { name, kind, context, parent, parent_is_remote, began, ended: began, attributes, is_failed },
        })))
    }

    /// Its place, to be handed on; `None` when it is not recorded, and what came is handed on instead.
    #[must_use]
    pub fn context(&self) -> Option<SpanContext> {
        self.0.as_ref().map(|open| open.record.context)
    }

    /// Tells something of it; made only if the span is recorded.
    pub fn set<V: Into<Value>>(&mut self, name: &'static str, value: impl FnOnce() -> V) {
        if let Some(open) = &mut self.0 {
            open.record.attributes.push((name, value().into()));
        }
    }

    /// Tells the status of the answer. From `failed_from` on it is a failure: 500 for who answers, 400 for who asked.
    pub fn set_status(&mut self, status: StatusCode, failed_from: u16) {
        self.set("http.response.status_code", || status);
        if status.as_u16() >= failed_from {
            self.fail(|| status.as_str().to_owned());
        }
    }

    /// Tells that it failed, and in a word how.
    pub fn fail<V: Into<Value>>(&mut self, error_type: impl FnOnce() -> V) {
        self.set("error.type", error_type);
        if let Some(open) = &mut self.0 {
            open.record.is_failed = true;
        }
    }

    /// A handle by which work inside this hop begins spans below this one.
    #[must_use]
    pub fn as_parent(&self) -> SpanParent {
        SpanParent(self.0.as_ref().map(|open| (open.sink.clone(), open.record.context)))
    }

    /// Lets it end with the last byte of `body`, or when that is dropped.
    #[must_use]
    pub fn until_the_end_of<B>(self, body: B) -> SpannedBody<B> {
        SpannedBody::new(body, self)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.record.ended = now();
        let nothing = SpanRecord { name: Cow::Borrowed(""), attributes: Vec::new(), ..self.record };
        self.sink.take(std::mem::replace(&mut self.record, nothing));
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Span").field(&self.context()).finish()
    }
}

/// The span that a piece of work belongs to; by default none that is recorded. It may outlive the span.
#[derive(Clone, Default)]
pub struct SpanParent(Option<(Arc<dyn SpanSink>, SpanContext)>);

impl SpanParent {
    /// Begins a span below it. The name is made only if it is recorded.
    #[must_use]
    pub fn child<N: Into<Cow<'static, str>>>(&self, name: impl FnOnce() -> N, kind: SpanKind) -> Span {
        let Some((sink, parent)) = &self.0 else { return Span::default() };
        Span::begin(sink.clone(), name().into(), kind, parent.below(), Some(*parent), false)
    }
}

impl fmt::Debug for SpanParent {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("SpanParent").field(&self.0.as_ref().map(|(_, context)| context)).finish()
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the edge where a span's moments are read")]
fn now() -> SystemTime {
    SystemTime::now()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Keeps what it is given, and wants what a sampled parent or no parent is above.
    #[derive(Default)]
    struct Kept(Mutex<Vec<SpanRecord>>);

    impl SpanSink for Kept {
        fn is_wanted(&self, _trace_id: u128, parent: Option<SpanContext>) -> bool {
            parent.is_none_or(SpanContext::is_sampled)
        }

        fn take(&self, span: SpanRecord) {
            self.0.lock().unwrap().push(span);
        }
    }

    #[test]
    fn a_child_is_below_its_parent_in_one_trace() {
        let kept = Arc::new(Kept::default());
        let caller = SpanContext::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
        let mut hop = Spans::to(kept.clone()).begin("hop", SpanKind::Server, caller);
        drop(hop.as_parent().child(|| "work", SpanKind::Internal));
        hop.set_status(StatusCode::BAD_GATEWAY, 500);
        drop(hop);
        let records = kept.0.lock().unwrap();
        let [work, hop] = &records[..] else { panic!("{records:?}") };
        assert_eq!((work.parent, work.parent_is_remote), (Some(hop.context), false));
        assert_eq!((hop.parent, hop.parent_is_remote, hop.is_failed), (caller, true, true));
        assert_eq!(hop.attributes, [("http.response.status_code", 502.into()), ("error.type", "502".into())]);
        assert_eq!(work.context.trace_id, caller.unwrap().trace_id);
    }

    #[test]
    fn what_is_not_wanted_is_not_made() {
        let kept = Arc::new(Kept::default());
        let unsampled = SpanContext::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00");
        for spans in [Spans::default(), Spans::to(kept.clone())] {
            let mut span = spans.begin("hop", SpanKind::Server, unsampled);
            span.set("name", || -> &'static str { panic!("made for nobody") });
            assert_eq!(span.context(), None);
            assert_eq!(span.as_parent().child(|| -> &'static str { panic!("made for nobody") }, SpanKind::Internal).context(), None);
        }
        assert!(kept.0.lock().unwrap().is_empty());
    }

    #[test]
    fn a_sink_decides_the_flag_and_nobody_leaves_it() {
        let unsampled = SpanContext::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-02").unwrap();
        assert_eq!(Spans::default().decide(unsampled, None), unsampled);
        assert_eq!(Spans::to(Arc::new(Kept::default())).decide(unsampled, None).flags, 3);
        assert_eq!(Spans::to(Arc::new(Kept::default())).decide(unsampled, Some(unsampled)).flags, 2);
    }
}
