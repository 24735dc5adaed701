//! What a request is told that no service here answers: that it is so, in the form that the service's clients read, naming the service.
//!
//! An empty success, or an error that a client cannot read, would leave a person searching elsewhere.

use bytes::Bytes;
use frontdesk_aws::ServiceError;
use frontdesk_aws::document::{self, Document};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Uri, header};

use crate::catalogue::served_services;
use crate::query::signed_scope;
use crate::rpc;

/// Whose fault an error is, in the query protocol.
const SENDER: &str = "<Type>Sender</Type>";

/// A service's name as the aws CLI's, given that of its hosts and signatures.
fn name_of(host: &str) -> &str {
    match host {
        "monitoring" => "cloudwatch",
        same => same,
    }
}

/// Refuses a request that no operation answers.
pub(crate) fn refuse(verb: &Method, uri: &Uri, headers: &HeaderMap) -> Response<Bytes> {
    let service = service(uri, headers);
    let target = headers.get("x-amz-target").and_then(|target| target.to_str().ok());
    let asked = target.map_or_else(|| format!("{verb} {}", uri.path()), str::to_owned);
    let message = match &service {
        Some(service) => {
            let served: Vec<&str> = served_services().iter().map(|served| served.name).collect();
            match served.contains(&name_of(service)) {
                true => format!("no operation answers {asked} of {service} here"),
                false => format!("Frontdesk has no {service}: it answers for {}", served.join(", ")),
            }
        }
        None => format!("no operation answers {asked} here"),
    };
    tracing::debug!(service, asked, "refused: not served here");
    let is = |name: header::HeaderName, begin: &str| headers.get(name).is_some_and(|value| value.as_bytes().starts_with(begin.as_bytes()));
    if service.as_deref() == Some("s3") {
        // <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>; 501 is the one that S3's clients do not take for a missing object.
        let error = xml_error("", "NotImplemented", &message);
        answer(StatusCode::NOT_IMPLEMENTED, "application/xml", format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{error}"))
    } else if is(header::HeaderName::from_static(rpc::SMITHY_PROTOCOL), rpc::RPC_V2_CBOR) {
        let error = Document::members([("__type", "UnknownOperationException".into()), ("message", message.as_str().into())]);
        rpc::of_cbor(answer(StatusCode::BAD_REQUEST, "application/cbor", document::to_cbor(&error)))
    } else if is(header::CONTENT_TYPE, "application/x-www-form-urlencoded") && signed_scope(headers, uri).is_none() {
        let error = xml_error(SENDER, "MissingAuthenticationToken", "Request is missing Authentication Token");
        answer(StatusCode::FORBIDDEN, "text/xml", format!("<ErrorResponse>{error}</ErrorResponse>"))
    } else if is(header::CONTENT_TYPE, "application/x-www-form-urlencoded") {
        let error = xml_error(SENDER, "InvalidAction", &message);
        answer(StatusCode::BAD_REQUEST, "text/xml", format!("<ErrorResponse>{error}</ErrorResponse>"))
    } else if target.is_some() {
        // The clients of AWS's JSON protocols look for the code in the body.
        let error = serde_json::json!({ "__type": "UnknownOperationException", "message": message });
        answer(StatusCode::BAD_REQUEST, "application/x-amz-json-1.1", error.to_string())
    } else {
        ServiceError::unknown_operation(message).to_rest_json()
    }
}

/// The service that a request is for: as its signature says, else its host's name (some have old ones, such as `queue`). Nothing is proved.
fn service(uri: &Uri, headers: &HeaderMap) -> Option<String> {
    if let Some((_, service)) = signed_scope(headers, uri) {
        return Some(service);
    }
    let host = uri.host().or_else(|| headers.get(header::HOST)?.to_str().ok());
    let host = host.map(|host| host.split(':').next().unwrap_or(host).to_ascii_lowercase());
    let host = host?;
    let labels: Vec<&str> = host.strip_suffix(".amazonaws.com")?.split('.').collect();
    // `{service}.{region}`, `{bucket}.s3.{region}`, `s3.dualstack.{region}`, `{service}` alone where there is one for all regions.
    let before_region = labels.iter().rposition(|label| is_region(label)).unwrap_or(labels.len());
    let named = labels.get(..before_region)?.iter().rev().find(|label| !matches!(**label, "dualstack" | "api"))?;
    Some((*named).trim_end_matches("-fips").to_owned())
}

/// Whether a label looks like `us-east-1` or `us-gov-west-1`.
fn is_region(label: &str) -> bool {
    let mut parts = label.split('-').rev();
    let ends_in_number = parts.next().is_some_and(|number| number.len() == 1 && number.bytes().all(|byte| byte.is_ascii_digit()));
    let rest: Vec<_> = parts.collect();
    ends_in_number && (2..=3).contains(&rest.len()) && rest.last().is_some_and(|area| area.len() == 2)
}

fn answer(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Bytes> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// An XML error: AWS's query protocol and S3 differ in what is around the code.
fn xml_error(before: &str, code: &str, message: &str) -> String {
    let mut xml = format!("<Error>{before}<Code>{code}</Code><Message>");
    document::write_text(&mut xml, message);
    xml + "</Message></Error>"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_service(host: &str, expected: &str) {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_str(host).unwrap());
        assert_eq!(service(&Uri::from_static("/"), &headers).as_deref(), Some(expected), "{host}");
    }

    #[test]
    fn the_service_is_told_from_the_host() {
        check_service("dynamodb.us-east-1.amazonaws.com", "dynamodb");
        check_service("S3.amazonaws.com:443", "s3");
        check_service("bucket.s3.us-gov-west-1.amazonaws.com", "s3");
        check_service("s3.dualstack.eu-west-3.amazonaws.com", "s3");
        check_service("sns-fips.us-east-1.amazonaws.com", "sns");
        check_service("api.ecr.us-east-1.amazonaws.com", "ecr");
        check_service("route53.amazonaws.com", "route53");
    }

    #[test]
    fn a_signature_goes_before_it() {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static("queue.amazonaws.com:4566"));
        assert_eq!(service(&Uri::from_static("/"), &headers).as_deref(), Some("queue"));
        let value = "AWS4-HMAC-SHA256 Credential=AKIA/20261123/us-east-1/sqs/aws4_request, SignedHeaders=host, Signature=0";
        headers.insert(header::AUTHORIZATION, HeaderValue::from_static(value));
        assert_eq!(service(&Uri::from_static("/"), &headers).as_deref(), Some("sqs"));
    }
}
