//! Signing: adds to a request the headers that prove who sent it.

use http::header::{AUTHORIZATION, HOST, HeaderName, HeaderValue};
use http::request::Parts;
use time::OffsetDateTime;

use super::canonical::{canonical_request, credential_scope, string_to_sign};
use super::{ALGORITHM, BodyHash, Scope, SigningKeys, X_AMZ_CONTENT_SHA256, X_AMZ_DATE, X_AMZ_SECURITY_TOKEN, date};
use crate::credentials::Credentials;

/// Headers that a connection, a proxy or a tracer may change on the way: botocore's list (`botocore.auth.SIGNED_HEADERS_BLACKLIST`), and the one
/// that is about to be replaced.
const NEVER_SIGNED: &[&str] = &[
    "authorization",
    "connection",
    "expect",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "x-amzn-trace-id",
];

/// Why a request cannot be signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// A signature without a host would count at every host.
    #[error("request has neither a host header nor an authority in its URI")]
    NoHost,
    /// Credentials are sent in headers, which carry no line breaks and no control characters.
    #[error("{0} cannot be sent in a header")]
    NotAHeaderValue(&'static str),
    /// The presigned query makes no URI; see [`presign`](super::presign).
    #[error("presigned URI is malformed")]
    Uri(#[source] http::Error),
}

/// Signs `request`, whose body has the hash `body`, with `credentials` as of `now`.
///
/// Adds `x-amz-date`, `authorization`, and `x-amz-security-token` for temporary credentials; `host` where only the URI names one (without the
/// scheme's own port, as HTTP clients send it); for S3, which demands it, `x-amz-content-sha256`. All other headers present are signed too, but
/// for those that change on the way. A request that is already signed is signed anew.
///
/// # Errors
///
/// [`SignError`] when the request names no host, or a part of the credentials cannot stand in a header.
pub fn sign(
    request: &mut Parts,
    body: &BodyHash,
    credentials: &Credentials,
    scope: Scope<'_>,
    keys: &SigningKeys,
    now: OffsetDateTime,
) -> Result<(), SignError> {
    let timestamp = date::format(now);
    prepare(request, body, credentials, scope, &timestamp)?;

    let mut names: Vec<&str> = request.headers.keys().map(HeaderName::as_str).collect();
    names.retain(|name| !NEVER_SIGNED.contains(name));
    names.sort_unstable();
    let signed_headers = names.join(";");

    let canonical_request = canonical_request(request, &signed_headers, body, scope.service);
    let signature = keys.get(credentials, &timestamp[..8], scope).signature(&string_to_sign(&canonical_request, &timestamp, scope));
    let authorization = [
        ALGORITHM,
        " Credential=",
        credentials.access_key_id.as_str(),
        "/",
        &credential_scope(&timestamp, scope),
        ", SignedHeaders=",
        &signed_headers,
        ", Signature=",
        signature.as_str(),
    ]
    .concat();
    let authorization = header_value(&authorization, "access key id, region or service")?;
    request.headers.insert(AUTHORIZATION, authorization);
    Ok(())
}

/// Adds every header that is signed but `authorization`.
fn prepare(request: &mut Parts, body: &BodyHash, credentials: &Credentials, scope: Scope<'_>, timestamp: &str) -> Result<(), SignError> {
    if !request.headers.contains_key(HOST) {
        let host = host_of_uri(request).ok_or(SignError::NoHost)?;
        request.headers.insert(HOST, header_value(host, "host")?);
    }
    request.headers.insert(X_AMZ_DATE, header_value(timestamp, "timestamp")?);
    match &credentials.session_token {
        Some(token) => {
            let mut token = header_value(token.expose(), "session token")?;
            token.set_sensitive(true);
            request.headers.insert(X_AMZ_SECURITY_TOKEN, token);
        }
        None => drop(request.headers.remove(X_AMZ_SECURITY_TOKEN)),
    }
    if scope.service == "s3" {
        request.headers.insert(X_AMZ_CONTENT_SHA256, header_value(body.as_str(), "body hash")?);
    }
    Ok(())
}

/// The authority without user information and without the port that the scheme implies.
pub(super) fn host_of_uri(request: &Parts) -> Option<&str> {
    let authority = request.uri.authority()?;
    match (request.uri.scheme_str(), authority.port_u16()) {
        (_, None) | (Some("http"), Some(80)) | (Some("https"), Some(443)) => Some(authority.host()),
        _ => Some(authority.as_str().rsplit_once('@').map_or(authority.as_str(), |(_, host_and_port)| host_and_port)),
    }
}

fn header_value(text: &str, what: &'static str) -> Result<HeaderValue, SignError> {
    HeaderValue::from_str(text).map_err(|_| SignError::NotAHeaderValue(what))
}
