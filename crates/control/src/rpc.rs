//! Services whose operations share one path: CloudWatch, which SDKs call in three protocols by their age, and Cost Explorer, which they call in one.
//!
//! - query: a form in, XML out; the form names the operation (`query.rs`);
//! - JSON: the header `X-Amz-Target` names it (<https://smithy.io/2.0/aws/protocols/aws-json-1_0-protocol.html>);
//! - CBOR: the path names it (<https://smithy.io/2.0/additional-specs/protocols/smithy-rpc-v2.html>).
//!
//! An operation reads and makes a `Document`, and never learns which of them it was.

use std::io::Read as _;

use bytes::Bytes;
use frontdesk_aws::ServiceError;
use frontdesk_aws::document::{self, Document};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};

use crate::query;

const TARGET: &str = "x-amz-target";
pub(crate) const SMITHY_PROTOCOL: &str = "smithy-protocol";
pub(crate) const RPC_V2_CBOR: &str = "rpc-v2-cbor";
/// Names an error by its code in the query protocol, for SDKs that spoke it before.
const QUERY_ERROR: &str = "x-amzn-query-error";

/// A service that is called in this way.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RpcService {
    /// Its name in signatures.
    pub(crate) signing_name: &'static str,
    /// Its name before the operation's, in headers and paths.
    pub(crate) target: &'static str,
    /// Of its JSON protocol.
    pub(crate) json_type: &'static str,
    /// If it also speaks the query protocol, and CBOR.
    pub(crate) query: Option<query::Protocol>,
    /// The names of errors in its model, and their codes in the query protocol where these are others.
    pub(crate) query_codes: &'static [(&'static str, &'static str)],
}

/// How a request is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wire {
    Query,
    Json,
    Cbor,
}

/// The service that a request is for, and how it is written. Nothing is proved yet.
pub(crate) fn called<'a, B>(services: &[&'a RpcService], request: &Request<B>) -> Option<(&'a RpcService, Wire)> {
    let (verb, path) = (request.method(), request.uri().path());
    services.iter().find_map(|service| {
        let wire = if path.starts_with(&cbor_prefix(service)) && service.query.is_some() {
            Wire::Cbor
        } else if path != "/" {
            return None;
        } else if verb == Method::POST && target(request.headers(), service).is_some() {
            Wire::Json
        } else {
            let protocol = service.query.filter(|_| [Method::POST, Method::GET].contains(verb))?;
            let (_, signed_for) = query::signed_scope(request.headers(), request.uri())?;
            (signed_for == protocol.service).then_some(Wire::Query)?
        };
        Some((*service, wire))
    })
}

fn cbor_prefix(service: &RpcService) -> String {
    format!("/service/{}/operation/", service.target)
}

fn target<'a>(headers: &'a HeaderMap, service: &RpcService) -> Option<&'a str> {
    headers.get(TARGET)?.to_str().ok()?.strip_prefix(service.target)?.strip_prefix('.')
}

/// Reads a request: the operation's name, and its document.
///
/// # Errors
/// SerializationException, MalformedQueryString.
pub(crate) fn read(
    service: &RpcService,
    wire: Wire,
    parts: &Parts,
    body: &Bytes,
    bytes_max: usize,
) -> Result<(String, Document), ServiceError> {
    let body = inflated(&parts.headers, body, bytes_max)?;
    let unreadable = |error: document::DocumentError| {
        let code = if wire == Wire::Query { "MalformedQueryString" } else { "SerializationException" };
        ServiceError::new(StatusCode::BAD_REQUEST, code, error.to_string())
    };
    match wire {
        Wire::Query => {
            let form = if parts.method == Method::GET { parts.uri.query().unwrap_or_default().as_bytes() } else { &body };
            let document = document::from_form(form).map_err(unreadable)?;
            let action = document.member("Action").and_then(Document::as_text).unwrap_or_default().to_owned();
            Ok((action, document))
        }
        Wire::Json => {
            let operation = target(&parts.headers, service).unwrap_or_default().to_owned();
            Ok((operation, document::from_json(&body).map_err(unreadable)?))
        }
        Wire::Cbor => {
            let operation = parts.uri.path().strip_prefix(&cbor_prefix(service)).unwrap_or_default().to_owned();
            if parts.headers.get(SMITHY_PROTOCOL).is_none_or(|protocol| protocol != RPC_V2_CBOR) {
                let message = format!("the header {SMITHY_PROTOCOL} must be {RPC_V2_CBOR} at this path");
                return Err(ServiceError::new(StatusCode::BAD_REQUEST, "SerializationException", message));
            }
            Ok((operation, document::from_cbor(&body).map_err(unreadable)?))
        }
    }
}

/// SDKs compress large bodies of the operations whose model says that they may.
fn inflated(headers: &HeaderMap, body: &Bytes, bytes_max: usize) -> Result<Bytes, ServiceError> {
    let invalid = |message: String| ServiceError::new(StatusCode::BAD_REQUEST, "SerializationException", message);
    match headers.get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes) {
        None | Some(b"identity" | b"") => Ok(body.clone()),
        Some(b"gzip") => {
            let mut whole = Vec::new();
            let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX);
            let read = flate2::read::MultiGzDecoder::new(&body[..]).take(limit + 1).read_to_end(&mut whole);
            read.map_err(|error| invalid(format!("the body is not gzip: {error}")))?;
            if whole.len() > bytes_max {
                return Err(ServiceError::request_entity_too_large(format!("the body is longer than {bytes_max} bytes")));
            }
            Ok(whole.into())
        }
        Some(other) => Err(invalid(format!("the body's encoding {} is not read here", String::from_utf8_lossy(other)))),
    }
}

/// What a successful operation answers; [`Document::Null`] where it has no result.
pub(crate) fn answer(service: &RpcService, wire: Wire, operation: &str, result: &Document, request_id: &str) -> Response<Bytes> {
    match (wire, service.query) {
        (Wire::Query, Some(protocol)) => {
            let mut xml = format!("<{operation}Response xmlns=\"{}\">", protocol.namespace);
            document::write_xml(&mut xml, &format!("{operation}Result"), result);
            xml.push_str(&format!("<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></{operation}Response>"));
            respond(StatusCode::OK, "text/xml", xml)
        }
        (Wire::Cbor, _) => {
            // Some clients look for a document where the model has none.
            let nothing = Document::Members(Vec::new());
            let body = document::to_cbor(if *result == Document::Null { &nothing } else { result });
            of_cbor(respond(StatusCode::OK, "application/cbor", body))
        }
        _ => {
            let body = if *result == Document::Null { "{}".to_owned() } else { document::to_json(result).to_string() };
            respond(StatusCode::OK, service.json_type, body)
        }
    }
}

/// What a failed one answers.
pub(crate) fn refuse(service: &RpcService, wire: Wire, error: &ServiceError, request_id: &str) -> Response<Bytes> {
    let known = service.query_codes.iter().find(|(shape, _)| *shape == error.code);
    let query_code = known.map_or(&*error.code, |(_, code)| code);
    let named = Document::members([("__type", (&*error.code).into()), ("message", error.message.as_str().into())]);
    let mut response = match (wire, service.query) {
        (Wire::Query, Some(protocol)) => {
            let error = ServiceError::new(error.status, query_code.to_owned(), error.message.clone());
            return query::refuse(protocol, &error, request_id);
        }
        (Wire::Cbor, _) => of_cbor(respond(error.status, "application/cbor", document::to_cbor(&named))),
        _ => respond(error.status, service.json_type, document::to_json(&named).to_string()),
    };
    if service.query.is_some() {
        let fault = if error.status.is_server_error() { "Receiver" } else { "Sender" };
        if let Ok(value) = HeaderValue::from_str(&format!("{query_code};{fault}")) {
            response.headers_mut().insert(QUERY_ERROR, value);
        }
    }
    response
}

/// Marks an answer as one of the protocol.
pub(crate) fn of_cbor(mut response: Response<Bytes>) -> Response<Bytes> {
    response.headers_mut().insert(SMITHY_PROTOCOL, HeaderValue::from_static(RPC_V2_CBOR));
    response
}

fn respond(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Bytes> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
