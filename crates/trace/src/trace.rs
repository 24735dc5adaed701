//! One trace from the caller to the agent, in the two forms that tools read: W3C trace context (<https://www.w3.org/TR/trace-context/>) and X-Ray's header
//! (<https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-tracingheader>). A trace id is the same 128 bits in both.

use crate::context::hex;
use crate::{SpanContext, Spans};
use http::{HeaderMap, HeaderName, HeaderValue};
use uuid::Uuid;

const AMZN_TRACE_ID: HeaderName = HeaderName::from_static("x-amzn-trace-id");

/// The trace that a request belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// `X-Amzn-Trace-Id`: `Root=1-{8 hex digits of the time}-{24 hex digits}`, with whatever the caller wrote behind it.
    pub amzn_trace_id: String,
    /// The span of whoever reads the headers (the gateway, the Lambda function), which `traceparent` names to those behind it.
    pub span: SpanContext,
    /// The caller's span, if its `traceparent` was sound.
    pub parent: Option<SpanContext>,
    /// `tracestate` as the caller wrote it, if its `traceparent` was sound.
    pub tracestate: Option<HeaderValue>,
}

impl Trace {
    /// The caller's own trace goes on; else one begins here. `request_id` is random.
    #[must_use]
    pub fn of(headers: &HeaderMap, request_id: Uuid, unix_seconds: i64) -> Trace {
        let parent = SpanContext::of(headers);
        let amzn = headers.get(AMZN_TRACE_ID).and_then(|value| value.to_str().ok());
        let amzn = amzn.filter(|given| given.len() <= 256).and_then(|given| Some((given, parse_root(given)?)));
        let trace_id = match (parent, &amzn) {
            (Some(parent), _) => parent.trace_id,
            (None, Some((_, trace_id))) => *trace_id,
            (None, None) => u128::from(u32::try_from(unix_seconds).unwrap_or(0)) << 96 | request_id.as_u128() >> 32,
        };
        let amzn_trace_id = match amzn {
            Some((given, _)) => given.to_owned(),
            None => root(trace_id),
        };
        let span = SpanContext { trace_id, span_id: request_id.as_u64_pair().1, flags: parent.map_or(1, |parent| parent.flags) };
        let tracestate = parent.and_then(|_| headers.get("tracestate").cloned());
        Trace { amzn_trace_id, span, parent, tracestate }
    }

    /// The same trace, flagged as recorded or not where `spans` are exported.
    #[must_use]
    pub fn decided_by(self, spans: &Spans) -> Trace {
        Trace { span: spans.decide(self.span, self.parent), ..self }
    }
}

/// `Root=1-{8 hex digits}-{24 hex digits}`.
fn root(trace_id: u128) -> String {
    let (bytes, mut text) = (trace_id.to_be_bytes(), *b"Root=1-........-........................");
    hex(&bytes[..4], &mut text[7..15]);
    hex(&bytes[4..], &mut text[16..]);
    std::str::from_utf8(&text).expect("hexadecimal digits are text").to_owned()
}

/// The trace id of `Root=1-…-…`.
fn parse_root(text: &str) -> Option<u128> {
    let root = text.split(';').find_map(|part| part.trim().strip_prefix("Root=1-"))?;
    let (time, random) = root.split_once('-')?;
    let is_hex = time.len() == 8 && random.len() == 24 && root.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    let trace_id = is_hex.then(|| u128::from_str_radix(&format!("{time}{random}"), 16))?;
    trace_id.ok().filter(|trace_id| *trace_id != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: Uuid = Uuid::from_u128(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff);

    fn check(given: &[(&'static str, &'static str)], amzn_trace_id: &str, traceparent: &str) {
        let headers = given.iter().map(|(name, value)| (http::HeaderName::from_static(name), HeaderValue::from_static(value))).collect();
        let trace = Trace::of(&headers, ID, 0x6500_0000);
        assert_eq!((trace.amzn_trace_id.as_str(), trace.span.to_string().as_str()), (amzn_trace_id, traceparent), "{given:?}");
    }

    const NEW: (&str, &str) = ("Root=1-65000000-001122334455667788 99aabb", "00-65000000001122334455667788 99aabb-8899aabbccddeeff-01");

    #[test]
    fn a_trace_begins_here_when_none_is_given() {
        let (amzn, parent) = (NEW.0.replace(' ', ""), NEW.1.replace(' ', ""));
        check(&[], &amzn, &parent);
        check(&[("traceparent", "00-00000000000000000000000000000000-0123456789abcdef-01")], &amzn, &parent);
        check(&[("traceparent", "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01")], &amzn, &parent);
        check(&[("x-amzn-trace-id", "Root=1-67891233-short")], &amzn, &parent);
    }

    #[test]
    fn a_given_trace_goes_on_in_both_forms() {
        check(
            &[("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00")],
            "Root=1-4bf92f35-77b34da6a3ce929d0e0e4736",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-8899aabbccddeeff-00",
        );
        check(
            &[("x-amzn-trace-id", "Root=1-67891233-abcdef012345678912345678;Sampled=1")],
            "Root=1-67891233-abcdef012345678912345678;Sampled=1",
            "00-67891233abcdef012345678912345678-8899aabbccddeeff-01",
        );
    }
}
