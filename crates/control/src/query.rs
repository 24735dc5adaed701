//! AWS's query protocol, which IAM and STS speak: a form in, XML out
//! (<https://smithy.io/2.0/aws/protocols/aws-query-protocol.html>).
//!
//! All operations of a service share one path; the form names the operation, and the signature the service.

use std::collections::BTreeMap;

use bytes::Bytes;
use frontdesk_aws::ServiceError;
use frontdesk_aws::document::write_text;
use http::{HeaderMap, HeaderValue, Response, StatusCode, Uri, header};
use serde_json::Value;

/// A service of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Protocol {
    /// Its name in signatures.
    pub(crate) service: &'static str,
    /// Its XML namespace.
    pub(crate) namespace: &'static str,
    /// What it calls a failure of its own.
    pub(crate) failure: &'static str,
}

/// The parameters of a call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Parameters(BTreeMap<String, String>);

impl Parameters {
    /// Reads a form: the body's, or a query's.
    ///
    /// # Errors
    /// MalformedQueryString.
    pub(crate) fn read(form: &[u8]) -> Result<Parameters, ServiceError> {
        let malformed = || ServiceError::new(StatusCode::NOT_FOUND, "MalformedQueryString", "The query string contains a syntax error.");
        let form = std::str::from_utf8(form).map_err(|_| malformed())?;
        let mut parameters = BTreeMap::new();
        for pair in form.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decode = |text: &str| {
                let spaced = text.replace('+', " ");
                percent_encoding::percent_decode_str(&spaced).decode_utf8().map(|text| text.into_owned()).map_err(|_| malformed())
            };
            parameters.insert(decode(name)?, decode(value)?);
        }
        Ok(Parameters(parameters))
    }

    /// A parameter, if it was given.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// A parameter that must be given.
    ///
    /// # Errors
    /// ValidationError naming it.
    pub(crate) fn required(&self, name: &str) -> Result<&str, ServiceError> {
        self.get(name).filter(|value| !value.is_empty()).ok_or_else(|| {
            let member = lower_first(name);
            constraint_failed(&format!("Value null at '{member}'"), "Member must not be null")
        })
    }

    /// A number.
    ///
    /// # Errors
    /// MalformedInput.
    pub(crate) fn number(&self, name: &str) -> Result<Option<u32>, ServiceError> {
        let malformed = |_| ServiceError::new(StatusCode::BAD_REQUEST, "MalformedInput", format!("{name} is no number"));
        self.get(name).map(|text| text.parse().map_err(malformed)).transpose()
    }

    /// A truth, false unless it was given.
    pub(crate) fn is_set(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    /// A list of texts, `Name.member.1` and so on.
    pub(crate) fn list(&self, name: &str) -> Vec<&str> {
        let numbered = (1..).map_while(|number| self.get(&format!("{name}.member.{number}")));
        numbered.collect()
    }

    /// A list of pairs, such as `Tags.member.1.Key` and `Tags.member.1.Value`.
    pub(crate) fn pairs(&self, name: &str, key: &str, value: &str) -> Vec<(&str, &str)> {
        let numbered = (1..).map_while(|number| {
            let of = |member: &str| self.get(&format!("{name}.member.{number}.{member}"));
            Some((of(key)?, of(value).unwrap_or_default()))
        });
        numbered.collect()
    }
}

/// AWS's sentence for a value that breaks a rule of the service's model.
pub(crate) fn constraint_failed(value: &str, rule: &str) -> ServiceError {
    ServiceError::validation(format!("1 validation error detected: {value} failed to satisfy constraint: {rule}"))
}

/// `RoleName` is `roleName` in the service's own messages.
pub(crate) fn lower_first(name: &str) -> String {
    let mut chars = name.chars();
    chars.next().map(|first| first.to_ascii_lowercase()).into_iter().chain(chars).collect()
}

/// The region and the service that a request is signed for, as far as it says so. Nothing is proved yet.
pub(crate) fn signed_scope(headers: &HeaderMap, uri: &Uri) -> Option<(String, String)> {
    let header = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let in_header = header.and_then(|header| Some(header.split_once("Credential=")?.1.split([',', ' ']).next()?.to_owned()));
    let in_query = || {
        let value = crate::operation::query_parameter(uri.query()?, "X-Amz-Credential")?;
        Some(percent_encoding::percent_decode_str(value).decode_utf8().ok()?.into_owned())
    };
    let credential = in_header.or_else(in_query)?;
    let mut parts = credential.split('/').skip(2);
    Some((parts.next()?.to_owned(), parts.next()?.to_owned()))
}

/// What a successful operation answers: `{Operation}Response` around `{Operation}Result`, where there is one.
pub(crate) fn answer(protocol: Protocol, operation: &str, result: &Value, request_id: &str) -> Response<Bytes> {
    let mut xml = format!("<{operation}Response xmlns=\"{}\">", protocol.namespace);
    if !result.is_null() {
        write_element(&mut xml, &format!("{operation}Result"), result);
    }
    xml.push_str(&format!("<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></{operation}Response>"));
    respond(StatusCode::OK, xml)
}

/// What a failed one answers.
pub(crate) fn refuse(protocol: Protocol, error: &ServiceError, request_id: &str) -> Response<Bytes> {
    let (status, code) = named_as_query(error, protocol);
    let kind = if status.is_server_error() { "Receiver" } else { "Sender" };
    let document = serde_json::json!({ "Type": kind, "Code": code, "Message": error.message });
    let mut xml = format!("<ErrorResponse xmlns=\"{}\">", protocol.namespace);
    write_element(&mut xml, "Error", &document);
    xml.push_str(&format!("<RequestId>{request_id}</RequestId></ErrorResponse>"));
    respond(status, xml)
}

/// The errors common to all services have names without `Exception` here, and some others
/// (<https://docs.aws.amazon.com/IAM/latest/APIReference/CommonErrors.html>).
fn named_as_query(error: &ServiceError, protocol: Protocol) -> (StatusCode, &str) {
    match &*error.code {
        "MissingAuthenticationTokenException" => (StatusCode::FORBIDDEN, "MissingAuthenticationToken"),
        "AccessDeniedException" => (StatusCode::FORBIDDEN, "AccessDenied"),
        "IncompleteSignatureException" => (StatusCode::BAD_REQUEST, "IncompleteSignature"),
        "InvalidSignatureException" => (StatusCode::FORBIDDEN, "SignatureDoesNotMatch"),
        "UnrecognizedClientException" => (StatusCode::FORBIDDEN, "InvalidClientTokenId"),
        "ExpiredTokenException" => (StatusCode::FORBIDDEN, "ExpiredToken"),
        "ValidationException" => (StatusCode::BAD_REQUEST, "ValidationError"),
        "UnknownOperationException" => (StatusCode::BAD_REQUEST, "InvalidAction"),
        "InternalServerException" => (StatusCode::INTERNAL_SERVER_ERROR, protocol.failure),
        other => (error.status, other),
    }
}

fn respond(status: StatusCode, xml: String) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(xml));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/xml"));
    response
}

/// A document as XML: members are elements, items of a list are `member`s, what is null is left out.
fn write_element(xml: &mut String, name: &str, value: &Value) {
    if value.is_null() {
        return;
    }
    xml.push_str(&format!("<{name}>"));
    match value {
        Value::Object(members) => members.iter().for_each(|(name, value)| write_element(xml, name, value)),
        Value::Array(items) => items.iter().for_each(|item| write_element(xml, "member", item)),
        Value::String(text) => write_text(xml, text),
        Value::Bool(_) | Value::Number(_) | Value::Null => xml.push_str(&value.to_string()),
    }
    xml.push_str(&format!("</{name}>"));
}

#[cfg(test)]
mod tests {
    use super::*;

    const IAM: Protocol = Protocol { service: "iam", namespace: "https://x/", failure: "ServiceFailure" };

    #[test]
    fn forms_are_read() {
        let form = b"Action=TagRole&RoleName=a%2Fb+c&Tags.member.1.Key=k&Tags.member.1.Value=&Tags.member.2.Key=l&Tags.member.2.Value=%C3%A9&Tags.member.4.Key=x&Names.member.1=n&IsSet=TRUE&Count=7";
        let parameters = Parameters::read(form).unwrap();
        assert_eq!(parameters.required("RoleName").unwrap(), "a/b c");
        assert_eq!(parameters.pairs("Tags", "Key", "Value"), [("k", ""), ("l", "é")]);
        assert_eq!(parameters.list("Names"), ["n"]);
        assert_eq!((parameters.is_set("IsSet"), parameters.is_set("Other")), (true, false));
        assert_eq!((parameters.number("Count").unwrap(), parameters.number("Other").unwrap()), (Some(7), None));
        let missing = parameters.required("PolicyName").unwrap_err();
        assert!(missing.message.contains("Value null at 'policyName' failed to satisfy constraint: Member must not be null"), "{missing}");
        assert_eq!(Parameters::read(b"a=%ff").unwrap_err().code, "MalformedQueryString");
    }

    #[test]
    fn documents_become_xml() {
        let check = |value: Value, expected: &str| {
            let response = answer(IAM, "Get", &value, "r");
            let text = std::str::from_utf8(response.body()).unwrap();
            let expected = format!(
                "<GetResponse xmlns=\"https://x/\">{expected}<ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></GetResponse>"
            );
            assert_eq!(text, expected);
        };
        check(Value::Null, "");
        check(serde_json::json!({}), "<GetResult></GetResult>");
        let value = serde_json::json!({ "Roles": [{ "Name": "a<b&c>", "Nothing": null }], "Count": 1, "IsTruncated": false });
        let roles = "<Roles><member><Name>a&lt;b&amp;c&gt;</Name></member></Roles>";
        check(value, &format!("<GetResult>{roles}<Count>1</Count><IsTruncated>false</IsTruncated></GetResult>"));
    }

    #[test]
    fn errors_have_the_protocols_names() {
        let check = |error: ServiceError, status: u16, code: &str| {
            let response = refuse(IAM, &error, "r");
            let text = std::str::from_utf8(response.body()).unwrap();
            assert_eq!(response.status(), status, "{text}");
            assert!(text.contains(&format!("<Code>{code}</Code>")) && text.ends_with("<RequestId>r</RequestId></ErrorResponse>"), "{text}");
        };
        check(ServiceError::access_denied("no"), 403, "AccessDenied");
        check(ServiceError::validation("no"), 400, "ValidationError");
        check(ServiceError::internal_server("no"), 500, "ServiceFailure");
        check(ServiceError::new(StatusCode::CONFLICT, "DeleteConflict", "no"), 409, "DeleteConflict");
    }
}
