//! What mappings and templates may read: the request, its path's parameters, the stage's variables, the body, the context.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Duration;

use http::HeaderMap;
use percent_encoding::percent_decode_str;
use serde_json::Value;
use serde_json_path::JsonPath;

use crate::context::Variable;
use crate::exchange::{Ended, Exchange};

/// One request as mappings see it.
pub(crate) struct Facts<'a> {
    pub(crate) exchange: &'a Exchange,
    pub(crate) account_id: &'a str,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) query: Option<&'a str>,
    pub(crate) path_parameters: &'a [(String, String)],
    pub(crate) stage_variables: &'a BTreeMap<String, String>,
    /// The body that is being mapped: the request's, or the backend's answer.
    pub(crate) body: MappedBody<'a>,
    /// The headers of the backend's answer, once there is one.
    pub(crate) answer_headers: Option<&'a HeaderMap>,
}

/// A body, read as JSON when something asks for a part of it.
pub(crate) struct MappedBody<'a> {
    bytes: &'a [u8],
    json: OnceLock<Option<Value>>,
}

impl<'a> MappedBody<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> MappedBody<'a> {
        MappedBody { bytes, json: OnceLock::new() }
    }

    pub(crate) fn text(&self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.bytes)
    }

    /// The first part that a path names; `None` for none, and for a body that is no JSON.
    pub(crate) fn part(&self, path: &JsonPath) -> Option<&Value> {
        self.json.get_or_init(|| serde_json::from_slice(self.bytes).ok()).as_ref().and_then(|json| path.query(json).first())
    }
}

impl<'a> Facts<'a> {
    /// What the gateway knows of a request whose method was found.
    pub(crate) fn of(
        exchange: &'a Exchange,
        account_id: &'a str,
        request: &'a http::request::Parts,
        path_parameters: &'a [(String, String)],
        stage_variables: &'a BTreeMap<String, String>,
        body: &'a [u8],
    ) -> Facts<'a> {
        Facts {
            exchange,
            account_id,
            headers: &request.headers,
            query: request.uri.query(),
            path_parameters,
            stage_variables,
            body: MappedBody::new(body),
            answer_headers: None,
        }
    }

    pub(crate) fn header(&self, name: &str) -> Option<String> {
        // Of several values the last one counts, as in API Gateway's events.
        text_of(self.headers, name)
    }

    pub(crate) fn answer_header(&self, name: &str) -> Option<String> {
        self.answer_headers.and_then(|headers| text_of(headers, name))
    }

    pub(crate) fn query_value(&self, name: &str) -> Option<String> {
        let pairs = query_pairs(self.query.unwrap_or_default());
        pairs.filter(|(key, _)| key == name).last().map(|(_, value)| value)
    }

    pub(crate) fn path_value(&self, name: &str) -> Option<&str> {
        self.path_parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn stage_variable(&self, name: &str) -> Option<&str> {
        self.stage_variables.get(name).map(String::as_str)
    }

    pub(crate) fn context(&self, variable: Variable) -> String {
        let not_ended = Ended { latency: Duration::ZERO, response_bytes: 0 };
        variable.value(self.account_id, self.exchange, not_ended)
    }
}

/// Names and values of a query, decoded.
pub(crate) fn query_pairs(query: &str) -> impl Iterator<Item = (String, String)> {
    let decode = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    query.split('&').filter(|pair| !pair.is_empty()).map(move |pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(name), decode(value))
    })
}

fn text_of(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get_all(name).iter().next_back()?;
    Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::admission::Now;
    use frontdesk_trace::Trace;
    use http::{HeaderValue, Method, Request, StatusCode, Version};

    /// A request with something in every place that a mapping may read.
    pub(in crate::backend) fn with_facts<T>(test: impl FnOnce(&Facts<'_>) -> T) -> T {
        let request = Request::get("/v1/orders/A%207?size=1&size=2").header("x-team", "red").body(()).unwrap();
        let (head, ()) = request.into_parts();
        let request_id = uuid::Uuid::from_u128(1);
        let exchange = Exchange {
            request_id,
            trace: Trace::of(&head.headers, request_id, 0),
            began: Now { unix_ms: 0, monotonic_ns: 0 },
            source_ip: "192.0.2.7".parse().unwrap(),
            version: Version::HTTP_11,
            verb: Method::POST,
            path: "/v1/orders/A%207".to_owned(),
            host: None,
            user_agent: Some(HeaderValue::from_static("test")),
            route: None,
            api_key_id: None,
            refusal: None,
            integration: None,
            cache: None,
            status: StatusCode::OK,
        };
        let parameters = [("id".to_owned(), "A 7".to_owned())];
        let variables = BTreeMap::from([("colour".to_owned(), "blue".to_owned())]);
        let body = br#"{"a": {"b": [1, "two"]}, "q": "say \"hi\""}"#;
        test(&Facts::of(&exchange, "000000000000", &head, &parameters, &variables, body))
    }
}
