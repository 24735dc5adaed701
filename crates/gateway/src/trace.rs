//! One trace from the caller to the agent, in the two forms that tools read: W3C trace context (<https://www.w3.org/TR/trace-context/>) and X-Ray's header
//! (<https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-tracingheader>). A trace id is the same 128 bits in both.

use http::{HeaderMap, HeaderValue};
use uuid::Uuid;

/// The trace that a request belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// `X-Amzn-Trace-Id`: `Root=1-{8 hex digits of the time}-{24 hex digits}`, with whatever the caller wrote behind it.
    pub amzn_trace_id: String,
    /// `traceparent`: `00-{trace id}-{this gateway's span}-{flags}`.
    pub traceparent: String,
    /// `tracestate` as the caller wrote it, if its `traceparent` was sound.
    pub tracestate: Option<HeaderValue>,
}

impl Trace {
    /// The caller's own trace goes on; else one begins here. `request_id` is random.
    #[must_use]
    pub fn of(headers: &HeaderMap, request_id: Uuid, unix_seconds: i64) -> Trace {
        let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let given = text("traceparent").and_then(parse_traceparent);
        let amzn = text("x-amzn-trace-id").filter(|given| given.len() <= 256).and_then(|given| Some((given, parse_root(given)?)));
        let random = request_id.simple().to_string();
        let trace_id = match (given, &amzn) {
            (Some((trace_id, _)), _) => trace_id.to_owned(),
            (None, Some((_, trace_id))) => trace_id.clone(),
            (None, None) => format!("{:08x}{}", u32::try_from(unix_seconds).unwrap_or(0), &random[..24]),
        };
        let amzn_trace_id = match amzn {
            Some((given, _)) => given.to_owned(),
            None => format!("Root=1-{}-{}", &trace_id[..8], &trace_id[8..]),
        };
        let flags = given.map_or("01", |(_, flags)| flags);
        let tracestate = given.and_then(|_| headers.get("tracestate").cloned());
        Trace { amzn_trace_id, traceparent: format!("00-{trace_id}-{}-{flags}", &random[16..]), tracestate }
    }
}

/// The trace id and the flags of a `traceparent`. A version above 00 may have more behind them.
fn parse_traceparent(text: &str) -> Option<(&str, &str)> {
    let mut parts = text.split('-');
    let (version, trace_id, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_hex = |text: &str, digits| text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let is_sound = is_hex(version, 2)
        && version != "ff"
        && is_hex(trace_id, 32)
        && is_hex(span, 16)
        && is_hex(flags, 2)
        && (version != "00" || parts.next().is_none())
        && [trace_id, span].iter().all(|id| id.bytes().any(|byte| byte != b'0'));
    is_sound.then_some((trace_id, flags))
}

/// The trace id of `Root=1-…-…`.
fn parse_root(text: &str) -> Option<String> {
    let root = text.split(';').find_map(|part| part.trim().strip_prefix("Root=1-"))?;
    let (time, random) = root.split_once('-')?;
    let is_hex = time.len() == 8 && random.len() == 24 && root.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    is_hex.then(|| format!("{time}{random}").to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: Uuid = Uuid::from_u128(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff);

    fn check(given: &[(&'static str, &'static str)], amzn_trace_id: &str, traceparent: &str) {
        let headers = given.iter().map(|(name, value)| (http::HeaderName::from_static(name), HeaderValue::from_static(value))).collect();
        let trace = Trace::of(&headers, ID, 0x6500_0000);
        assert_eq!((trace.amzn_trace_id.as_str(), trace.traceparent.as_str()), (amzn_trace_id, traceparent), "{given:?}");
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
