//! What a request claims about its own signature, read from its `Authorization` header or from the query of a presigned URL.
//!
//! The checks and their order follow what AWS's shared front end answers, as recorded from DynamoDB in the comments of dynalite
//! (<https://github.com/architect/dynalite/blob/main/index.js>); newer wordings are cited where they are used.

use std::borrow::Cow;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use http::HeaderName;
use http::request::Parts;
use percent_encoding::percent_decode_str;
use sha2::{Digest, Sha256};

use super::verify::VerifyError;
use super::{X_AMZ_DATE, X_AMZ_SECURITY_TOKEN};

/// A claim, still unproven. Its texts are as the client wrote them.
#[derive(Debug)]
pub(super) struct Claim<'a> {
    pub(super) algorithm: Cow<'a, str>,
    pub(super) credential: Cow<'a, str>,
    pub(super) signed_headers: Cow<'a, str>,
    pub(super) signature: Cow<'a, str>,
    pub(super) date: Cow<'a, str>,
    pub(super) session_token: Option<Cow<'a, str>>,
    /// The lifetime in seconds that a presigned URL gives itself; `None` for a claim in headers.
    pub(super) expires: Option<Cow<'a, str>>,
}

impl<'a> Claim<'a> {
    /// Reads the claim of `request`.
    pub(super) fn of(request: &'a Parts) -> Result<Self, VerifyError> {
        let query = request.uri.query().unwrap_or_default();
        let mut headers = request.headers.get_all(http::header::AUTHORIZATION).iter();
        let header = headers.next();
        if headers.next().is_some() {
            return Err(VerifyError::RepeatedHeader);
        }
        match (header, query_value(query, "X-Amz-Algorithm")) {
            (Some(_), Some(_)) => Err(VerifyError::HeaderAndQuery),
            (None, None) => Err(VerifyError::MissingAuthenticationToken),
            (None, Some(algorithm)) => Self::in_query(query, algorithm),
            (Some(header), None) => {
                let header = header.to_str().map_err(|_| VerifyError::MissingAuthenticationToken)?;
                Self::in_header(header, request)
            }
        }
    }

    fn in_header(header: &'a str, request: &'a Parts) -> Result<Self, VerifyError> {
        let (algorithm, parameters) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
        if algorithm.eq_ignore_ascii_case("bearer") {
            return Err(VerifyError::AuthorizationMethodMismatch);
        }
        if !algorithm.starts_with("AWS4-") {
            return Err(VerifyError::MissingAuthenticationToken);
        }

        let (mut credential, mut signed_headers, mut signature) = (None, None, None);
        // Commas with or without spaces after them, or spaces alone.
        for parameter in parameters.split(',').flat_map(|part| part.split(' ')).filter(|parameter| !parameter.is_empty()) {
            let Some((name, value)) = parameter.split_once('=') else {
                return Err(VerifyError::NotAKeyValuePair(BASE64_STANDARD.encode(Sha256::digest(header))));
            };
            let (place, name) = match name {
                "Credential" => (&mut credential, "Credential"),
                "SignedHeaders" => (&mut signed_headers, "SignedHeaders"),
                "Signature" => (&mut signature, "Signature"),
                _ => continue,
            };
            if place.replace(value).is_some() {
                return Err(VerifyError::RepeatedParameter(name));
            }
        }
        let date = single_header(request, X_AMZ_DATE).or_else(|| single_header(request, http::header::DATE));

        match (credential, signature, signed_headers, date) {
            (Some(credential), Some(signature), Some(signed_headers), Some(date)) => Ok(Self {
                algorithm: algorithm.into(),
                credential: credential.into(),
                signed_headers: signed_headers.into(),
                signature: signature.into(),
                date: date.into(),
                session_token: single_header(request, X_AMZ_SECURITY_TOKEN).map(Cow::from),
                expires: None,
            }),
            (credential, signature, signed_headers, date) => {
                let parameters = [("Credential", credential), ("Signature", signature), ("SignedHeaders", signed_headers)];
                let mut missing: Vec<String> = parameters
                    .iter()
                    .filter(|(_, value)| value.is_none())
                    .map(|(name, _)| format!("Authorization header requires '{name}' parameter."))
                    .collect();
                if date.is_none() {
                    let either = "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.";
                    missing.push(either.to_owned());
                }
                // AWS goes on with "Authorization=" and the header or its hash; its own client knows what it sent, and a log must not.
                Err(VerifyError::Incomplete(missing.join(" ")))
            }
        }
    }

    fn in_query(query: &'a str, algorithm: Cow<'a, str>) -> Result<Self, VerifyError> {
        let mut missing = Vec::new();
        let mut required = |name: &str| {
            query_value(query, name).unwrap_or_else(|| {
                missing.push(format!("AWS query-string parameters must include '{name}'."));
                Cow::Borrowed("")
            })
        };
        let claim = Self {
            algorithm,
            credential: required("X-Amz-Credential"),
            signature: required("X-Amz-Signature"),
            signed_headers: required("X-Amz-SignedHeaders"),
            date: required("X-Amz-Date"),
            expires: Some(required("X-Amz-Expires")),
            session_token: query_value(query, "X-Amz-Security-Token"),
        };
        if missing.is_empty() {
            return Ok(claim);
        }
        missing.push("Re-examine the query-string parameters.".to_owned());
        Err(VerifyError::Incomplete(missing.join(" ")))
    }
}

/// A header's value when it occurs once. Of two dates or two tokens neither is believed.
fn single_header(request: &Parts, name: HeaderName) -> Option<&str> {
    let mut values = request.headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

/// The decoded value of a query parameter when it occurs once and is UTF-8.
fn query_value<'a>(query: &'a str, name: &str) -> Option<Cow<'a, str>> {
    let mut values = query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .filter(|(found, _)| percent_decode_str(found).eq(name.bytes()))
        .map(|(_, value)| value);
    match (values.next(), values.next()) {
        (Some(value), None) => percent_decode_str(value).decode_utf8().ok(),
        _ => None,
    }
}
