//! Where a span stands in its trace, as W3C's `traceparent` says it (<https://www.w3.org/TR/trace-context/>).

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue};

/// The header that hands a trace on.
pub const TRACEPARENT: &str = "traceparent";
const TRACEPARENT_NAME: HeaderName = HeaderName::from_static(TRACEPARENT);
/// `00-{trace id}-{span id}-{flags}`
const TEXT_BYTES: usize = 2 + 1 + 32 + 1 + 16 + 1 + 2;

/// The flag of a trace that is recorded.
const SAMPLED: u8 = 1;

/// A span's place: its trace, itself, and the flags of both. Neither id is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpanContext {
    /// The trace's id.
    pub trace_id: u128,
    /// The span's id.
    pub span_id: u64,
    /// W3C's flags; the lowest bit says that the trace is recorded.
    pub flags: u8,
}

impl SpanContext {
    /// A new trace's first span.
    pub(crate) fn root() -> SpanContext {
        SpanContext { trace_id: uuid::Uuid::new_v4().as_u128(), span_id: new_span_id(), flags: SAMPLED }
    }

    /// A new span in the same trace.
    pub(crate) fn below(self) -> SpanContext {
        SpanContext { span_id: new_span_id(), ..self }
    }

    /// Reads a `traceparent`. A version above 00 may have more behind the four fields; `None` for what is none.
    #[must_use]
    pub fn parse(traceparent: &str) -> Option<SpanContext> {
        let mut parts = traceparent.split('-');
        let (version, trace_id, span_id, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let is_hex = |text: &str, digits| text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let is_sound = is_hex(version, 2)
            && version != "ff"
            && is_hex(trace_id, 32)
            && is_hex(span_id, 16)
            && is_hex(flags, 2)
            && (version != "00" || parts.next().is_none());
        if !is_sound {
            return None;
        }
        let (mut trace_bytes, mut span_bytes, mut flag_byte) = ([0; 16], [0; 8], [0; 1]);
        hex::decode_to_slice(trace_id, &mut trace_bytes).ok()?;
        hex::decode_to_slice(span_id, &mut span_bytes).ok()?;
        hex::decode_to_slice(flags, &mut flag_byte).ok()?;
        let (trace_id, span_id, flags) = (u128::from_be_bytes(trace_bytes), u64::from_be_bytes(span_bytes), flag_byte[0]);
        (trace_id != 0 && span_id != 0).then_some(SpanContext { trace_id, span_id, flags })
    }

    /// The span that a request came with.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Option<SpanContext> {
        SpanContext::parse(headers.get(TRACEPARENT_NAME)?.to_str().ok()?)
    }

    /// The header's value that names this span as the parent.
    #[must_use]
    pub fn header(self) -> HeaderValue {
        HeaderValue::from_bytes(&self.text()).expect("hexadecimal digits and hyphens are a header value")
    }

    fn text(self) -> [u8; TEXT_BYTES] {
        let mut text = *b"00-................................-................-..";
        hex(&self.trace_id.to_be_bytes(), &mut text[3..35]);
        hex(&self.span_id.to_be_bytes(), &mut text[36..52]);
        hex(&[self.flags], &mut text[53..]);
        text
    }

    /// Whether the trace is recorded.
    #[must_use]
    pub fn is_sampled(self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// The same place in a trace that is recorded, or is not.
    pub(crate) fn sampled(self, is_sampled: bool) -> SpanContext {
        let flags = if is_sampled { self.flags | SAMPLED } else { self.flags & !SAMPLED };
        SpanContext { flags, ..self }
    }
}

impl fmt::Display for SpanContext {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(std::str::from_utf8(&self.text()).expect("hexadecimal digits and hyphens are text"))
    }
}

/// Writes bytes in lower-case hexadecimal digits, which have exactly that much room.
pub(crate) fn hex(bytes: &[u8], digits: &mut [u8]) {
    hex::encode_to_slice(bytes, digits).expect("the room is twice the bytes");
}

/// Half of a random UUID: its fixed bits make sure that it is not 0.
fn new_span_id() -> u64 {
    uuid::Uuid::new_v4().as_u64_pair().1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(traceparent: &str, is_one: bool) {
        let read = SpanContext::parse(traceparent);
        assert_eq!(read.is_some(), is_one, "{traceparent}");
        if let Some(context) = read.filter(|_| traceparent.starts_with("00")) {
            assert_eq!(context.to_string(), traceparent);
        }
    }

    #[test]
    fn a_traceparent_is_read_and_written() {
        check("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", true);
        check("00-00000000000000000000000000000001-0000000000000001-00", true);
        check("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more", true);
    }

    #[test]
    fn what_is_none_begins_a_new_trace() {
        check("", false);
        check("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7", false);
        check("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more", false);
        check("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", false);
        check("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", false);
        check("00-00000000000000000000000000000000-00f067aa0ba902b7-01", false);
        check("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", false);
        check("00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", false);
    }
}
