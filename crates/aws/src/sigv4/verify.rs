//! Verifying: is this request what its sender signed, is the sender who it says, and is it recent.

use std::borrow::Borrow;

use http::HeaderName;
use http::request::Parts;
use subtle::ConstantTimeEq;
use time::{Duration, OffsetDateTime};

use super::authorization::Claim;
use super::canonical::{canonical_request, string_to_sign};
use super::{ALGORITHM, BodyHash, PRESIGNED_EXPIRES_SECONDS_MAX, Scope, SigningKeys, TERMINATOR, X_AMZ_CONTENT_SHA256, date};
use crate::credentials::{AccessKeyId, Credentials, SecretKey};

/// How far the clock of a signer may be from `now`, either way.
///
/// "In most cases, a request must reach AWS within five minutes of the time stamp in the request" (IAM User Guide, "AWS Signature Version 4 for
/// API requests"). The generic list of common errors still says fifteen; the front end that answers in this form says "- 5 min.", as in
/// <https://github.com/remind101/logspout-kinesis/issues/21>.
pub const CLOCK_SKEW_MINUTES_MAX: i64 = 5;

/// A request whose signature holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Whose secret signed it.
    pub access_key_id: AccessKeyId,
    /// The signer's clock.
    pub signed_at: OffsetDateTime,
    /// The headers that the signature covers, in lower case, sorted and separated by `;`. Others may have been added or changed on the way.
    pub signed_headers: String,
}

/// Why a request is refused. The text of each is what AWS tells the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// Neither an `Authorization` header of AWS's kind nor a presigned query.
    #[error("Missing Authentication Token")]
    MissingAuthenticationToken,
    /// `Authorization: Bearer …`. Text as in <https://github.com/aws/agentcore-cli/issues/714>.
    #[error(
        "Authorization method mismatch. The agent is configured for a different authorization method than what was used in your request. \
         Check the agent's authorization configuration and ensure your request uses the matching method (OAuth or SigV4)"
    )]
    AuthorizationMethodMismatch,
    /// Parts are missing; the text names each.
    #[error("{0}")]
    Incomplete(String),
    /// A part of the `Authorization` header without `=`. Holds the Base64 of the header's SHA-256, as newer front ends show it instead of the header.
    #[error("Invalid key=value pair (missing equal-sign) in Authorization header (hashed with SHA-256 and encoded with Base64): '{0}'.")]
    NotAKeyValuePair(String),
    /// The same parameter twice in the `Authorization` header.
    #[error("Authorization header has more than one '{0}' parameter.")]
    RepeatedParameter(&'static str),
    /// Two signatures, of which either might be the one that somebody else checks.
    #[error("Found more than one 'Authorization' HTTP header.")]
    RepeatedHeader,
    /// Another algorithm, SigV4a's among them.
    #[error("Unsupported AWS 'algorithm': '{0}' (only AWS4-HMAC-SHA256 for now). ")]
    UnsupportedAlgorithm(String),
    /// The credential is not `id/day/region/service/aws4_request`.
    #[error("Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '{0}'")]
    MalformedCredential(String),
    /// The timestamp has another form.
    #[error("Date must be in ISO-8601 'basic format'. Got '{0}'. See http://en.wikipedia.org/wiki/ISO_8601")]
    MalformedDate(String),
    /// The lifetime of a presigned URL is no number of seconds between 1 and the most allowed.
    #[error("X-Amz-Expires must be between 1 and {max} seconds, got '{0}'", max = PRESIGNED_EXPIRES_SECONDS_MAX)]
    Lifetime(String),
    /// The list of signed headers is not in canonical form.
    #[error("SignedHeaders must be lower-case header names, sorted and separated by semicolons, got '{0}'")]
    MalformedSignedHeaders(String),
    /// A signature in the header and another in the query.
    #[error("Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP header.")]
    HeaderAndQuery,
    /// A header that must be covered is not.
    #[error("{0} must be a 'SignedHeader' in the AWS Authorization.")]
    Unsigned(String),
    /// A header said to be covered is not there.
    #[error("Authorization header requires existence of '{0}' header.")]
    SignedHeaderAbsent(String),
    /// Signed too long ago; the text has the three instants.
    #[error("Signature expired: {0}")]
    Expired(String),
    /// Signed in the future; the text has the three instants.
    #[error("Signature not yet current: {0}")]
    NotYetCurrent(String),
    /// Signed for another day, region or service; a sentence for each difference.
    #[error("{0}")]
    WrongScope(String),
    /// The body was left out of the signature, which Amazon S3 alone accepts.
    #[error("'{0}' is not accepted as x-amz-content-sha256: the body must be signed.")]
    UnsignedPayload(String),
    /// No such access key, or not its session token.
    #[error("The security token included in the request is invalid.")]
    UnrecognizedClient,
    /// Something was altered on the way, or the secret is another.
    #[error(
        "The request signature we calculated does not match the signature you provided. \
         Check your AWS Secret Access Key and signing method. Consult the service documentation for details."
    )]
    Mismatch,
}

/// Verifies the signature of `request`, whose body has the hash `body`: in its `Authorization` header, or in the query of a presigned URL.
///
/// `scope` is what the signature must be for. `lookup` finds the credentials of an access key, as a reference, an `Arc` or a value, and is called
/// at most once, after everything that needs no secret. `now` is the verifier's clock.
///
/// What is verified is the canonical request: paths that differ only in `//`, `/./` or `/../`, and queries that differ only in order or in how
/// they are percent-encoded, have the same signature, as on AWS.
///
/// # Errors
///
/// [`VerifyError`], the first in AWS's order of checks.
pub fn verify<C: Borrow<Credentials>>(
    request: &Parts,
    body: &BodyHash,
    scope: Scope<'_>,
    keys: &SigningKeys,
    lookup: impl FnOnce(&AccessKeyId) -> Option<C>,
    now: OffsetDateTime,
) -> Result<Verified, VerifyError> {
    let claim = Claim::of(request)?;
    let signed_at = check_date(&claim, now)?;
    check_signed_headers(&claim, request)?;
    if claim.algorithm != ALGORITHM {
        return Err(VerifyError::UnsupportedAlgorithm(claim.algorithm.to_string()));
    }
    let timestamp = date::format(signed_at);
    let access_key_id = check_credential(&claim.credential, scope, &timestamp)?;
    let credentials = lookup(&access_key_id).ok_or(VerifyError::UnrecognizedClient)?;
    let credentials = credentials.borrow();

    check_payload(request, body)?;
    let canonical_request = canonical_request(request, &claim.signed_headers, body, scope.service);
    let expected = keys.get(credentials, &timestamp[..8], scope).signature(&string_to_sign(&canonical_request, &timestamp, scope));
    if !bool::from(expected.as_str().as_bytes().ct_eq(claim.signature.as_bytes())) {
        return Err(VerifyError::Mismatch);
    }
    // The token comes last: only who holds the secret learns whether it is right.
    if claim.session_token.as_deref().map(SecretKey::new) != credentials.session_token {
        return Err(VerifyError::UnrecognizedClient);
    }

    Ok(Verified { access_key_id, signed_at, signed_headers: claim.signed_headers.into_owned() })
}

/// When the request was signed, if that is recent by its own lifetime (a presigned URL) or by the clock skew allowed.
fn check_date(claim: &Claim<'_>, now: OffsetDateTime) -> Result<OffsetDateTime, VerifyError> {
    let parsed = if claim.expires.is_some() { date::parse(&claim.date) } else { date::parse_http(&claim.date) };
    let signed_at = parsed.ok_or_else(|| VerifyError::MalformedDate(claim.date.to_string()))?;
    let skew = Duration::minutes(CLOCK_SKEW_MINUTES_MAX);

    if signed_at > now + skew {
        return Err(VerifyError::NotYetCurrent(format!(
            "{} is still later than {} ({} + {CLOCK_SKEW_MINUTES_MAX} min.)",
            date::format(signed_at),
            date::format(now + skew),
            date::format(now),
        )));
    }
    match &claim.expires {
        None if signed_at < now - skew => Err(VerifyError::Expired(format!(
            "{} is now earlier than {} ({} - {CLOCK_SKEW_MINUTES_MAX} min.)",
            date::format(signed_at),
            date::format(now - skew),
            date::format(now),
        ))),
        None => Ok(signed_at),
        Some(expires) => {
            let seconds = expires
                .parse::<u32>()
                .ok()
                .filter(|seconds| (1..=PRESIGNED_EXPIRES_SECONDS_MAX).contains(seconds))
                .ok_or_else(|| VerifyError::Lifetime(expires.to_string()))?;
            let end = signed_at + Duration::seconds(seconds.into());
            if end < now {
                let (end, now) = (date::format(end), date::format(now));
                return Err(VerifyError::Expired(format!("{end} is now earlier than {now}")));
            }
            Ok(signed_at)
        }
    }
}

/// The signed headers, if they are in canonical form, all there, and as many as they must be: `host` and every `x-amz-` header, which the IAM
/// User Guide's canonical headers "must include".
fn check_signed_headers(claim: &Claim<'_>, request: &Parts) -> Result<(), VerifyError> {
    let names = || claim.signed_headers.split(';');
    let present = |name: &str| match name {
        "host" => super::canonical::has_host(request),
        name => request.headers.keys().any(|found| found.as_str() == name),
    };

    let is_canonical = names().is_sorted_by(|one, next| one < next) && !claim.signed_headers.bytes().any(|byte| byte.is_ascii_uppercase());
    if !is_canonical {
        return Err(VerifyError::MalformedSignedHeaders(claim.signed_headers.to_string()));
    }
    if !names().any(|name| name == "host") {
        // In these words since HTTP/2; the recorded older ones say 'Host' alone.
        return Err(VerifyError::Unsigned("'Host' or ':authority'".to_owned()));
    }
    if let Some(absent) = names().find(|name| !present(name)) {
        return Err(VerifyError::SignedHeaderAbsent(absent.to_owned()));
    }
    let unsigned = |name: &&HeaderName| name.as_str().starts_with("x-amz-") && !names().any(|signed| signed == name.as_str());
    if let Some(unsigned) = request.headers.keys().find(unsigned) {
        return Err(VerifyError::Unsigned(format!("'{unsigned}'")));
    }
    Ok(())
}

/// The access key id of a credential whose scope is the expected one on the day of `timestamp`.
fn check_credential(credential: &str, scope: Scope<'_>, timestamp: &str) -> Result<AccessKeyId, VerifyError> {
    let mut elements = credential.split('/');
    let mut next = || elements.next().unwrap_or_default();
    let (access_key_id, day, region, service, terminator) = (next(), next(), next(), next(), next());
    if credential.split('/').count() != 5 {
        return Err(VerifyError::MalformedCredential(credential.to_owned()));
    }
    let mut differences = Vec::new();
    if region != scope.region {
        differences.push(format!("Credential should be scoped to a valid region, not '{region}'."));
    }
    if service != scope.service {
        differences.push(format!("Credential should be scoped to correct service: '{}'.", scope.service));
    }
    if terminator != TERMINATOR {
        differences.push(format!("Credential should be scoped with a valid terminator: '{TERMINATOR}', not '{terminator}'."));
    }
    if day != &timestamp[..8] {
        differences.push(format!(
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '{day}' != '{}', from '{timestamp}'.",
            &timestamp[..8],
        ));
    }
    if differences.is_empty() { Ok(AccessKeyId::new(access_key_id)) } else { Err(VerifyError::WrongScope(differences.join(" "))) }
}

/// `x-amz-content-sha256`, when sent, must be the hash of the body that arrived. Its other values leave the body unsigned or sign it in chunks,
/// which only S3 understands.
fn check_payload(request: &Parts, body: &BodyHash) -> Result<(), VerifyError> {
    let mut claimed = request.headers.get_all(X_AMZ_CONTENT_SHA256).iter();
    match claimed.find(|value| value.as_bytes() != body.as_str().as_bytes()) {
        None => Ok(()),
        Some(value) if value.len() == body.as_str().len() => Err(VerifyError::Mismatch),
        Some(value) => Err(VerifyError::UnsignedPayload(String::from_utf8_lossy(value.as_bytes()).into_owned())),
    }
}
