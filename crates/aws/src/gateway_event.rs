//! The documents of an `AWS_PROXY` integration from API Gateway's side: the event (format version 1.0) is written, the function's answer is read. The function's side is
//! [`proxy_event`](crate::proxy_event).
//!
//! Sources: "Set up Lambda proxy integrations in API Gateway"
//! (<https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html>), and what recorded exchanges add: which answers are malformed.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::Serialize;
use serde_json::{Map, Value, json};

/// A request, as its event tells it.
#[derive(Debug, Clone)]
pub struct GatewayEvent<'a> {
    /// The resource's path, such as `/orders/{order}`.
    pub resource: &'a str,
    /// The path without the stage.
    pub path: &'a str,
    /// The verb.
    pub verb: &'a str,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// Names and values of the query, decoded, in order.
    pub query: &'a [(String, String)],
    /// The path's parameters, decoded.
    pub path_parameters: &'a [(String, String)],
    /// The stage's variables.
    pub stage_variables: &'a BTreeMap<String, String>,
    /// What API Gateway knows besides.
    pub context: EventContext<'a>,
    /// The body.
    pub body: &'a [u8],
    /// Whether the body goes as base64, as for media types that the API takes for binary.
    pub is_base64: bool,
}

/// What API Gateway knows of a request besides itself (`requestContext`).
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EventContext<'a> {
    /// The API's account.
    pub account_id: &'a str,
    /// The API.
    pub api_id: &'a str,
    /// What the stage serves.
    pub deployment_id: &'a str,
    /// The host that was asked for.
    pub domain_name: &'a str,
    /// Its first label.
    pub domain_prefix: &'a str,
    /// The id that the answer carries as `x-amz-apigw-id`.
    pub extended_request_id: String,
    /// The verb.
    pub http_method: &'a str,
    /// Who calls.
    pub identity: EventIdentity<'a>,
    /// The path with the stage.
    pub path: String,
    /// Such as `HTTP/1.1`.
    pub protocol: String,
    /// The id that the answer carries as `x-amzn-RequestId`.
    pub request_id: String,
    /// When the request came, as in common log files.
    pub request_time: String,
    /// The same in Unix milliseconds.
    pub request_time_epoch: i64,
    /// The resource's id.
    pub resource_id: &'a str,
    /// The resource's path.
    pub resource_path: &'a str,
    /// The stage.
    pub stage: &'a str,
}

/// Who calls: the address, the program, and the key where the method wants one.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EventIdentity<'a> {
    /// The key's value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_key: Option<&'a str>,
    /// The key's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_key_id: Option<&'a str>,
    /// The caller's address.
    pub source_ip: String,
    /// The caller's program.
    pub user_agent: Option<Cow<'a, str>>,
    /// What IAM and Cognito would say.
    #[serde(flatten)]
    pub unsigned: Unsigned,
}

/// The identity of a caller who signed nothing: all null.
#[derive(Debug, Clone, Copy, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Unsigned {
    access_key: (),
    account_id: (),
    caller: (),
    cognito_authentication_provider: (),
    cognito_authentication_type: (),
    cognito_identity_id: (),
    cognito_identity_pool_id: (),
    principal_org_id: (),
    user: (),
    user_arn: (),
}

impl GatewayEvent<'_> {
    /// The event as the function gets it: one JSON document.
    #[must_use]
    pub fn document(&self) -> Bytes {
        let headers = self.headers.iter().map(|(name, value)| (cased(name), String::from_utf8_lossy(value.as_bytes()).into_owned()));
        let (headers, multi_value_headers) = single_and_multi(headers);
        let (query, multi_value_query) = single_and_multi(self.query.iter().cloned());
        let parameters: BTreeMap<_, _> = self.path_parameters.iter().map(|(name, value)| (name, value)).collect();
        let body = match self.body {
            [] => None,
            body if self.is_base64 => Some(STANDARD.encode(body)),
            body => Some(String::from_utf8_lossy(body).into_owned()),
        };
        let event = json!({
            "resource": self.resource,
            "path": self.path,
            "httpMethod": self.verb,
            "headers": headers,
            "multiValueHeaders": multi_value_headers,
            "queryStringParameters": query,
            "multiValueQueryStringParameters": multi_value_query,
            "pathParameters": (!parameters.is_empty()).then_some(parameters),
            "stageVariables": (!self.stage_variables.is_empty()).then_some(self.stage_variables),
            "requestContext": self.context,
            "isBase64Encoded": self.is_base64 && body.is_some(),
            "body": body,
        });
        event.to_string().into()
    }
}

/// The single values, each name's last, and all values; null for none.
fn single_and_multi(pairs: impl Iterator<Item = (String, String)>) -> (Value, Value) {
    let (mut single, mut multi) = (Map::new(), BTreeMap::<String, Vec<String>>::new());
    for (name, value) in pairs {
        single.insert(name.clone(), value.clone().into());
        multi.entry(name).or_default().push(value);
    }
    if single.is_empty() { (Value::Null, Value::Null) } else { (single.into(), json!(multi)) }
}

/// A header's name with capitals, where it is one of HTTP's own or API Gateway's. API Gateway hands names on as callers write them, which most clients do this way; what the caller
/// wrote is not known here, since names on the wire have no case.
fn cased(name: &HeaderName) -> String {
    let name = name.as_str();
    let is_own = ["x-amzn-", "x-forwarded-"].iter().any(|prefix| name.starts_with(prefix));
    if name.starts_with("x-") && !is_own {
        return name.to_owned();
    }
    let capital = |word: &str| word[..1].to_uppercase() + &word[1..];
    name.split('-').map(|word| if word.is_empty() { String::new() } else { capital(word) }).collect::<Vec<_>>().join("-")
}

/// An answer that API Gateway cannot read; callers get a 502 for it. The text tells what is wrong and quotes nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the function's answer is not one of a proxy integration: {0}")]
pub struct MalformedAnswer(String);

/// What a function answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionAnswer {
    /// The status; 200 where it names none.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    body: String,
    is_base64: bool,
}

impl FunctionAnswer {
    /// Reads an answer: `statusCode`, `headers`, `multiValueHeaders`, `body` and `isBase64Encoded`, of which none must be there, and nothing else may.
    ///
    /// # Errors
    /// [`MalformedAnswer`].
    pub fn read(payload: &[u8]) -> Result<FunctionAnswer, MalformedAnswer> {
        let malformed = |reason: &str| MalformedAnswer(reason.to_owned());
        let document: Map<String, Value> = serde_json::from_slice(payload).map_err(|_| malformed("it is no JSON object"))?;
        if document.is_empty() {
            return Err(malformed("it is empty"));
        }
        let mut answer = FunctionAnswer { status: StatusCode::OK, headers: HeaderMap::new(), body: String::new(), is_base64: false };
        let (mut single, mut multi) = (Map::new(), Map::new());
        for (name, value) in document {
            match (name.as_str(), value) {
                ("statusCode", value) => answer.status = status(&value).ok_or_else(|| malformed("statusCode is no status"))?,
                ("headers" | "multiValueHeaders" | "body" | "isBase64Encoded", Value::Null) => {}
                ("headers", Value::Object(headers)) => single = headers,
                ("multiValueHeaders", Value::Object(headers)) => multi = headers,
                ("body", Value::String(body)) => answer.body = body,
                ("isBase64Encoded", Value::Bool(is_base64)) => answer.is_base64 = is_base64,
                ("headers" | "multiValueHeaders" | "body" | "isBase64Encoded", _) => {
                    return Err(MalformedAnswer(format!("{name} is of another type")));
                }
                _ => return Err(malformed("it has a field that none has")),
            }
        }
        for (name, values) in &multi {
            let values = values.as_array().ok_or_else(|| malformed("multiValueHeaders holds something that is no list"))?;
            values.iter().try_for_each(|value| answer.append(name, value))?;
        }
        single.iter().try_for_each(|(name, value)| answer.append(name, value))?;
        Ok(answer)
    }

    fn append(&mut self, name: &str, value: &Value) -> Result<(), MalformedAnswer> {
        let text = match value {
            Value::Null => return Ok(()),
            Value::String(text) => text.clone(),
            Value::Bool(_) | Value::Number(_) => value.to_string(),
            Value::Array(_) | Value::Object(_) => return Err(MalformedAnswer("a header's value is no text".to_owned())),
        };
        let malformed = |_| MalformedAnswer("a header cannot be sent".to_owned());
        let name = HeaderName::try_from(name).map_err(|_| malformed(()))?;
        let value = HeaderValue::try_from(text).map_err(|_| malformed(()))?;
        // The same in both maps counts once.
        if !self.headers.get_all(&name).iter().any(|known| *known == value) {
            self.headers.append(name, value);
        }
        Ok(())
    }

    /// The body; with `decodes`, one that is marked as base64 is decoded.
    ///
    /// # Errors
    /// [`MalformedAnswer`], for what is marked as base64 and is not.
    pub fn into_body(self, decodes: bool) -> Result<Bytes, MalformedAnswer> {
        if !(decodes && self.is_base64) {
            return Ok(self.body.into());
        }
        let decoded = STANDARD.decode(self.body.as_bytes());
        decoded.map(Bytes::from).map_err(|_| MalformedAnswer("body is marked as base64 and is not".to_owned()))
    }
}

/// A number, or a text that is one.
fn status(value: &Value) -> Option<StatusCode> {
    let number = match value {
        Value::Null => return Some(StatusCode::OK),
        Value::Number(number) => number.as_f64().filter(|number| number.fract() == 0.0).map(|number| format!("{number}"))?,
        Value::String(text) => text.clone(),
        _ => return None,
    };
    number.parse::<u16>().ok().and_then(|number| StatusCode::from_u16(number).ok()).filter(|status| (200..600).contains(&status.as_u16()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(query: &[(String, String)], body: &[u8], is_base64: bool) -> Value {
        let headers: HeaderMap = [("content-type", "a/b"), ("x-team", "red"), ("x-team", "blue"), ("x-forwarded-for", "192.0.2.7")]
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        let context = EventContext {
            account_id: "000000000000",
            api_id: "abc",
            deployment_id: "d1",
            domain_name: "abc.execute-api.localhost",
            domain_prefix: "abc",
            extended_request_id: "e".to_owned(),
            http_method: "POST",
            identity: EventIdentity { api_key_id: Some("k"), source_ip: "192.0.2.7".to_owned(), ..EventIdentity::default() },
            path: "/prod/orders/7".to_owned(),
            protocol: "HTTP/1.1".to_owned(),
            request_id: "r".to_owned(),
            request_time: "04/Mar/2020:19:15:17 +0000".to_owned(),
            request_time_epoch: 1_583_349_317_135,
            resource_id: "res",
            resource_path: "/orders/{order}",
            stage: "prod",
        };
        let event = GatewayEvent {
            resource: "/orders/{order}",
            path: "/orders/7",
            verb: "POST",
            headers: &headers,
            query,
            path_parameters: &[("order".to_owned(), "7".to_owned())],
            stage_variables: &BTreeMap::new(),
            context,
            body,
            is_base64,
        };
        serde_json::from_slice(&event.document()).unwrap()
    }

    #[test]
    fn an_event_tells_the_whole_request() {
        let pair = |value: &str| ("size".to_owned(), value.to_owned());
        let told = event(&[pair("1"), pair("2")], b"hi", false);
        assert_eq!(told["headers"], json!({"Content-Type": "a/b", "x-team": "blue", "X-Forwarded-For": "192.0.2.7"}));
        assert_eq!(told["multiValueHeaders"]["x-team"], json!(["red", "blue"]));
        assert_eq!(told["queryStringParameters"], json!({"size": "2"}));
        assert_eq!(told["multiValueQueryStringParameters"], json!({"size": ["1", "2"]}));
        assert_eq!((&told["pathParameters"], &told["stageVariables"]), (&json!({"order": "7"}), &Value::Null));
        assert_eq!((&told["body"], &told["isBase64Encoded"]), (&json!("hi"), &json!(false)));
        let context = &told["requestContext"];
        assert_eq!((&context["requestTimeEpoch"], &context["identity"]["apiKeyId"]), (&json!(1_583_349_317_135_i64), &json!("k")));
        assert!(context["identity"]["userArn"].is_null() && context["identity"].get("apiKey").is_none());
        assert_eq!(event(&[], b"", true)["queryStringParameters"], Value::Null);
        assert_eq!((&event(&[], b"", true)["body"], &event(&[], b"", true)["isBase64Encoded"]), (&Value::Null, &json!(false)));
        assert_eq!((&event(&[], b"\xff", true)["body"], &event(&[], b"\xff", true)["isBase64Encoded"]), (&json!("/w=="), &json!(true)));
    }

    #[test]
    fn the_function_s_side_reads_what_is_written() {
        let event = crate::proxy_event::ProxyEvent::from_value(event(&[], b"hi", false)).unwrap();
        assert_eq!((event.path.as_str(), event.request_context.request_id.as_str()), ("/orders/7", "r"));
        assert_eq!(event.header_map().get_all("x-team").iter().count(), 2);
    }

    fn check(answer: Value, expected: Result<&str, &str>) {
        let read = FunctionAnswer::read(answer.to_string().as_bytes()).and_then(|answer| {
            let headers: Vec<_> = answer.headers.iter().map(|(name, value)| format!(" {name}={}", value.to_str().unwrap())).collect();
            let status = answer.status.as_u16();
            Ok(format!("{status}{} {}", headers.concat(), String::from_utf8_lossy(&answer.into_body(true)?)))
        });
        match (&read, expected) {
            (Err(error), Err(expected)) => assert!(error.to_string().contains(expected), "{answer}: {error}"),
            _ => assert_eq!(read.as_deref(), Ok(expected.unwrap_or_else(|_| panic!("{answer}: {read:?}"))), "{answer}"),
        }
    }

    #[test]
    fn answers_are_read_as_api_gateway_reads_them() {
        check(json!({"statusCode": 201, "body": "made"}), Ok("201 made"));
        check(json!({"statusCode": "201"}), Ok("201 "));
        check(json!({"statusCode": 204.0, "headers": null, "multiValueHeaders": null, "body": null}), Ok("204 "));
        check(json!({"body": "x"}), Ok("200 x"));
        check(json!({"headers": {"a": true, "b": 7, "c": null}}), Ok("200 a=true b=7 "));
        check(json!({"headers": {"a": "2", "b": "1"}, "multiValueHeaders": {"A": ["1", "2"]}}), Ok("200 a=1 a=2 b=1 "));
        check(json!({"body": "aGk=", "isBase64Encoded": true}), Ok("200 hi"));
        check(json!({"body": "no base64", "isBase64Encoded": true}), Err("is not"));
        check(json!({}), Err("empty"));
        check(json!("text"), Err("no JSON object"));
        check(json!(null), Err("no JSON object"));
        check(json!({"statusCode": 200, "answer": 1}), Err("none has"));
        check(json!({"statusCode": "ok"}), Err("statusCode"));
        check(json!({"statusCode": 999}), Err("statusCode"));
        check(json!({"statusCode": true}), Err("statusCode"));
        check(json!({"body": {"a": 1}}), Err("body"));
        check(json!({"multiValueHeaders": {"a": "1"}}), Err("no list"));
        check(json!({"headers": {"a": {}}}), Err("no text"));
        check(json!({"headers": {"a": "1\r\nb: 2"}}), Err("cannot be sent"));
        assert!(FunctionAnswer::read(b"").is_err());
    }
}
