//! Presigned URLs: the same signature carried in the query, for clients that cannot set headers, such as a browser's WebSocket.
//!
//! Source: "Authentication methods", query string parameters, in the IAM User Guide
//! (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-authentication-methods.html>).

use http::Uri;
use http::header::{HOST, HeaderValue};
use http::request::Parts;
use percent_encoding::utf8_percent_encode;
use time::OffsetDateTime;

use super::canonical::{ENCODED, SIGNATURE_PARAMETER, canonical_request, credential_scope, string_to_sign};
use super::sign::host_of_uri;
use super::{ALGORITHM, BodyHash, Scope, SignError, SigningKeys, date};
use crate::credentials::Credentials;

/// The longest a presigned URL may live, in seconds: AgentCore's limit for `/runtimes/{arn}/ws` (its SDKs' `MAX_PRESIGNED_URL_TIMEOUT`).
pub const PRESIGNED_EXPIRES_SECONDS_MAX: u32 = 300;

/// Signs a request without a body by its query alone, covering `host` and nothing else, and returns the URI to hand out.
///
/// `expires_seconds` counts from `now`; a verifier refuses more than [`PRESIGNED_EXPIRES_SECONDS_MAX`].
///
/// # Errors
///
/// [`SignError`] when the request names no host, or its URI cannot carry the longer query.
pub fn presign(
    request: &Parts,
    credentials: &Credentials,
    scope: Scope<'_>,
    keys: &SigningKeys,
    expires_seconds: u32,
    now: OffsetDateTime,
) -> Result<Uri, SignError> {
    let timestamp = date::format(now);
    let mut request = request.clone();
    if !request.headers.contains_key(HOST) {
        let host = host_of_uri(&request).ok_or(SignError::NoHost)?;
        let host = HeaderValue::from_str(host).map_err(|_| SignError::NotAHeaderValue("host"))?;
        request.headers.insert(HOST, host);
    }

    let credential = format!("{}/{}", credentials.access_key_id, credential_scope(&timestamp, scope));
    let expires = expires_seconds.to_string();
    let mut parameters = vec![
        ("X-Amz-Algorithm", ALGORITHM),
        ("X-Amz-Credential", &credential),
        ("X-Amz-Date", &timestamp),
        ("X-Amz-Expires", &expires),
        ("X-Amz-SignedHeaders", "host"),
    ];
    if let Some(token) = &credentials.session_token {
        parameters.push(("X-Amz-Security-Token", token.expose()));
    }
    for (name, value) in parameters {
        request.uri = with_parameter(&request.uri, name, value)?;
    }

    let canonical_request = canonical_request(&request, "host", &BodyHash::of(b""), scope.service);
    let signature = keys.get(credentials, &timestamp[..8], scope).signature(&string_to_sign(&canonical_request, &timestamp, scope));
    with_parameter(&request.uri, SIGNATURE_PARAMETER, signature.as_str())
}

/// `uri` with one more parameter at the end of its query.
fn with_parameter(uri: &Uri, name: &str, value: &str) -> Result<Uri, SignError> {
    let value = utf8_percent_encode(value, ENCODED);
    let path_and_query = match uri.query() {
        Some(query) => format!("{}?{query}&{name}={value}", uri.path()),
        None => format!("{}?{name}={value}", uri.path()),
    };
    let mut parts = uri.clone().into_parts();
    let path_and_query = path_and_query.parse().map_err(|error: http::uri::InvalidUri| SignError::Uri(error.into()))?;
    parts.path_and_query = Some(path_and_query);
    Uri::from_parts(parts).map_err(|error| SignError::Uri(error.into()))
}
