//! The documents that pass between API Gateway and a function behind an `AWS_PROXY` integration of a REST API: the event (format version 1.0) and the answer.
//!
//! Sources: "Input format of a Lambda function for proxy integration" and "Output format of a Lambda function for proxy integration" in the API Gateway Developer
//! Guide (<https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html>).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

/// The event of a request, as far as a function needs it. Whatever is left out or `null` is empty: a function may be called by hand with no more than a body.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProxyEvent {
    /// The path without the stage.
    #[serde(deserialize_with = "null_is_empty")]
    pub path: String,
    /// The request's headers, each with its last value.
    #[serde(deserialize_with = "null_is_empty")]
    pub headers: Map<String, Value>,
    /// The request's headers, each with all its values.
    #[serde(deserialize_with = "null_is_empty")]
    pub multi_value_headers: Map<String, Value>,
    /// Who called, and how.
    #[serde(deserialize_with = "null_is_empty")]
    pub request_context: RequestContext,
    /// The body as text: base64 where [`ProxyEvent::is_base64_encoded`].
    pub body: Option<String>,
    /// Whether the body is base64, as for media types that the API takes for binary.
    #[serde(deserialize_with = "null_is_empty")]
    pub is_base64_encoded: bool,
}

/// What API Gateway knows of a request besides itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RequestContext {
    /// The id that the caller is told in `x-amzn-RequestId`.
    #[serde(deserialize_with = "null_is_empty")]
    pub request_id: String,
    /// Who calls.
    #[serde(deserialize_with = "null_is_empty")]
    pub identity: Identity,
}

/// Who calls.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Identity {
    /// The id of the API key, where the method requires one. Its value, which the event holds too, is not read.
    pub api_key_id: Option<String>,
}

/// A document that is no event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProxyEventError {
    /// Of another form. What exactly is not said: serde's words may quote the document.
    #[error("the event is not one of an AWS_PROXY integration of a REST API (format version 1.0)")]
    Form,
    /// Marked as base64, and is none.
    #[error("the event's body is marked as base64 and is not")]
    Base64,
}

impl ProxyEvent {
    /// Reads an event.
    ///
    /// # Errors
    /// When it is no object, or a field is of another type.
    pub fn from_value(event: Value) -> Result<ProxyEvent, ProxyEventError> {
        // serde would take a list for a struct whose names were left out.
        if !event.is_object() {
            return Err(ProxyEventError::Form);
        }
        serde_json::from_value(event).map_err(|_| ProxyEventError::Form)
    }

    /// The body as the caller sent it; empty when there was none.
    ///
    /// # Errors
    /// When it is marked as base64 and is not.
    pub fn body(&self) -> Result<Bytes, ProxyEventError> {
        let body = self.body.as_deref().unwrap_or_default();
        if self.is_base64_encoded {
            return STANDARD.decode(body).map(Bytes::from).map_err(|_| ProxyEventError::Base64);
        }
        Ok(Bytes::copy_from_slice(body.as_bytes()))
    }

    /// The headers. What no header can carry is left out.
    #[must_use]
    pub fn header_map(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let mut put = |name: &str, value: &Value| {
            let name = HeaderName::try_from(name);
            let value = value.as_str().and_then(|value| HeaderValue::from_str(value).ok());
            if let (Ok(name), Some(value)) = (name, value) {
                headers.append(name, value);
            }
        };
        for (name, values) in &self.multi_value_headers {
            values.as_array().into_iter().flatten().for_each(|value| put(name, value));
        }
        // A function called by hand may be given the single values only.
        for (name, value) in self.headers.iter().filter(|(name, _)| !self.multi_value_headers.contains_key(*name)) {
            put(name, value);
        }
        headers
    }
}

/// A field that is `null` counts as left out.
fn null_is_empty<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// What a function answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProxyAnswer {
    status_code: u16,
    headers: Map<String, Value>,
    body: String,
    is_base64_encoded: bool,
}

impl From<Response<Bytes>> for ProxyAnswer {
    /// The body goes as it is where it is text, else as base64. A header with several values keeps its last one: what is told here has none of these.
    fn from(response: Response<Bytes>) -> ProxyAnswer {
        let (parts, body) = response.into_parts();
        let text = |value: &HeaderValue| Value::from(String::from_utf8_lossy(value.as_bytes()));
        let headers = parts.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
        let (body, is_base64_encoded) = match std::str::from_utf8(&body) {
            Ok(body) => (body.to_owned(), false),
            Err(_) => (STANDARD.encode(&body), true),
        };
        ProxyAnswer { status_code: parts.status.as_u16(), headers, body, is_base64_encoded }
    }
}

impl ProxyAnswer {
    /// The document's length as JSON, in bytes: what Lambda's limit on a payload is for. Escapes make it longer than the body.
    ///
    /// # Errors
    /// Never in practice: it holds nothing but texts, a number and a truth.
    pub fn document_bytes(&self) -> serde_json::Result<usize> {
        serde_json::to_vec(self).map(|document| document.len())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn body_of(event: Value) -> Result<String, ProxyEventError> {
        Ok(String::from_utf8(ProxyEvent::from_value(event)?.body()?.to_vec()).unwrap())
    }

    #[test]
    fn a_body_is_text_base64_or_nothing() {
        let check = |event: Value, expected: Result<&str, ProxyEventError>| {
            assert_eq!(body_of(event.clone()), expected.map(str::to_owned), "{event}");
        };
        check(json!({"body": "{\"prompt\": \"test\"}"}), Ok("{\"prompt\": \"test\"}"));
        check(json!({"body": "aGk=", "isBase64Encoded": true}), Ok("hi"));
        check(json!({"body": null, "headers": null, "requestContext": null, "isBase64Encoded": null}), Ok(""));
        check(json!({}), Ok(""));
        check(json!({"body": "no base64", "isBase64Encoded": true}), Err(ProxyEventError::Base64));
        check(json!({"body": {"prompt": "secret"}}), Err(ProxyEventError::Form));
        check(json!(["secret"]), Err(ProxyEventError::Form));
    }

    #[test]
    fn headers_come_with_all_values_once() {
        let event = json!({
            "headers": {"X-One": "last", "X-Hand": "h", "X-Number": 7},
            "multiValueHeaders": {"X-One": ["first", "last"], "X-None": null},
        });
        let headers = ProxyEvent::from_value(event).unwrap().header_map();
        let values = |name| headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect::<Vec<_>>();
        assert_eq!((values("x-one"), values("x-hand"), headers.len()), (vec!["first", "last"], vec!["h"], 3));
    }

    #[test]
    fn an_answer_is_text_or_base64() {
        let check = |body: &'static [u8], expected: Value| {
            let response = Response::builder().status(201).header("Content-Type", "text/plain").body(Bytes::from_static(body)).unwrap();
            let answer = ProxyAnswer::from(response);
            assert_eq!(serde_json::to_value(&answer).unwrap(), expected);
            assert_eq!(answer.document_bytes().unwrap(), serde_json::to_string(&answer).unwrap().len());
        };
        let document = |body: &str, is_base64: bool| json!({"statusCode": 201, "headers": {"content-type": "text/plain"}, "body": body, "isBase64Encoded": is_base64});
        check(b"a \"b\"", document("a \"b\"", false));
        check(b"\xff\x00", document("/wA=", true));
    }
}
