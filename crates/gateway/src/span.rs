//! An exchange as a span, by OpenTelemetry's conventions for HTTP servers (<https://opentelemetry.io/docs/specs/semconv/http/http-spans/>).
//!
//! Like the access log it holds no key, question or answer; the query is left out, because a key might stand in it.

use std::time::SystemTime;

use frontdesk_trace::{SpanKind, SpanRecord, Value};
use http::{Method, StatusCode, Version};

use crate::exchange::{CacheUse, Ended, Exchange};

/// Verbs that are named as they came. Any other text might be anything.
const KNOWN_VERBS: [Method; 8] =
    [Method::DELETE, Method::GET, Method::HEAD, Method::OPTIONS, Method::PATCH, Method::POST, Method::PUT, Method::TRACE];

/// The span of an exchange that ended at `now`.
pub(crate) fn record(exchange: &Exchange, ended: Ended, now: SystemTime) -> SpanRecord {
    let verb = if KNOWN_VERBS.contains(&exchange.verb) { exchange.verb.to_string() } else { "_OTHER".to_owned() };
    let route = exchange.route.as_ref().map(|route| format!("/{}{}", route.names.stage, route.names.resource));
    let name = match &route {
        Some(route) => format!("{verb} {route}"),
        None => verb.clone(),
    };
    let is_failed = exchange.status.is_server_error();
    let integer = |number: u64| Value::Integer(i64::try_from(number).unwrap_or(i64::MAX));
    let mut attributes = vec![
        ("http.request.method", verb.into()),
        ("url.path", exchange.path.clone().into()),
        ("http.response.status_code", exchange.status.into()),
        ("http.response.body.size", integer(ended.response_bytes)),
        ("client.address", exchange.source_ip.to_string().into()),
        ("frontdesk.request_id", exchange.request_id.to_string().into()),
    ];
    let version = match exchange.version {
        Version::HTTP_10 => Some("1.0"),
        Version::HTTP_11 => Some("1.1"),
        Version::HTTP_2 => Some("2"),
        _ => None,
    };
    let optional = [
        ("http.route", route.map(Value::from)),
        ("network.protocol.version", version.map(Value::from)),
        ("server.address", exchange.host.as_ref().map(|host| host.clone().into())),
        (
            "user_agent.original",
            exchange.user_agent.as_ref().map(|user_agent| String::from_utf8_lossy(user_agent.as_bytes()).into_owned().into()),
        ),
        ("aws.apigateway.api_id", exchange.route.as_ref().map(|route| route.names.api_id.clone().into())),
        ("aws.apigateway.stage", exchange.route.as_ref().map(|route| route.names.stage.clone().into())),
        ("frontdesk.api_key_id", exchange.api_key_id.as_ref().map(|id| id.0.clone().into())),
        ("frontdesk.integration_status", exchange.integration.as_ref().and_then(|called| called.status).map(Into::into)),
        ("frontdesk.cache", exchange.cache.map(|cache| if cache == CacheUse::Hit { "hit" } else { "miss" }.into())),
        ("frontdesk.refusal", exchange.refusal.map(|refusal| refusal.error_type().into())),
        ("error.type", is_failed.then(|| status_text(exchange.status))),
    ];
    attributes.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value?))));
    SpanRecord {
        name: name.into(),
        kind: SpanKind::Server,
        context: exchange.trace.span,
        parent: exchange.trace.parent,
        parent_is_remote: true,
        began: now.checked_sub(ended.latency).unwrap_or(now),
        ended: now,
        attributes,
        is_failed,
    }
}

fn status_text(status: StatusCode) -> Value {
    status.as_str().to_owned().into()
}
