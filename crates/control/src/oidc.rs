//! Callers with a token of an OpenID provider instead of a signature, where a runtime's `customJWTAuthorizer` says so
//! (<https://docs.aws.amazon.com/bedrock-agentcore/latest/devguide/inbound-jwt-authorizer.html>).
//!
//! [`token`] reads a token and checks its signature, [`provider`] keeps a provider's keys, [`rules`] asks whether a token's claims are the wanted ones. What
//! fetches documents is injected: this crate opens no connection.

mod provider;
mod rules;
mod token;

use std::borrow::Cow;
use std::sync::Arc;

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};

pub use provider::{Fetch, FetchError, Fetching};

use provider::Providers;
use rules::Rules;
use token::Token;

/// How a browser, which can set no header, hands a token to a WebSocket: AgentCore's SDKs' way.
const WEBSOCKET_SCHEME: &str = "base64UrlBearerAuthorization";

/// Why a bearer is turned away. Texts and statuses as in recorded exchanges with AgentCore.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// Neither a token nor a signature.
    #[error("Missing Authentication Token")]
    Missing,
    /// Not three parts of Base64 and JSON, or by an algorithm that is none of a provider's.
    #[error("OAuth authorization failed: Failed to parse token")]
    Unreadable,
    /// None of the provider's keys made the signature.
    #[error("OAuth authorization failed: Token signature verification failed")]
    Signature,
    /// `exp` has passed, or is not there.
    #[error("OAuth authorization failed: Token has expired")]
    Expired,
    /// `nbf` is still to come.
    #[error("OAuth authorization failed: Token is not valid yet")]
    NotYetValid,
    /// A claim that is not among the wanted values.
    #[error("Claim '{0}' value mismatch with configuration.")]
    Claim(String),
    /// None of the scopes that are allowed.
    #[error("insufficient_scope: none of the token's scopes is allowed")]
    Scope,
    /// The provider cannot be reached, and what it said earlier is too old or does not tell of the token's key.
    #[error("OAuth authorization failed: the keys of the OpenID provider could not be fetched")]
    NoKeys,
}

impl Refusal {
    fn status(&self) -> StatusCode {
        match self {
            Refusal::Missing | Refusal::Expired | Refusal::NotYetValid | Refusal::Signature | Refusal::Claim(_) => StatusCode::UNAUTHORIZED,
            Refusal::Unreadable | Refusal::Scope => StatusCode::FORBIDDEN,
            Refusal::NoKeys => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The answer; `metadata` is the URL where a client finds out who gives tokens
    /// (RFC 9728, section 5.1; RFC 6750, section 3).
    pub(crate) fn to_response(&self, metadata: &str) -> Response<Bytes> {
        let status = self.status();
        let message = self.to_string();
        let (document, code) = match status {
            StatusCode::UNAUTHORIZED => {
                (json!({ "jsonrpc": "2.0", "error": { "code": -32001, "message": message } }), "UnauthorizedException")
            }
            StatusCode::FORBIDDEN => (json!({ "message": message }), "AccessDeniedException"),
            _ => (json!({ "message": message }), "InternalServerException"),
        };
        let challenge = match self {
            Refusal::Missing => Some(format!("Bearer resource_metadata=\"{metadata}\"")),
            Refusal::Scope => Some(format!("Bearer error=\"insufficient_scope\", resource_metadata=\"{metadata}\"")),
            _ if status == StatusCode::UNAUTHORIZED => {
                // What a claim's name holds is the runtime's owner's, and might end the quotes.
                let description = message.replace(['"', '\\'], "'");
                Some(format!("Bearer error=\"invalid_token\", error_description=\"{description}\", resource_metadata=\"{metadata}\""))
            }
            _ => None,
        };
        let mut response = Response::new(Bytes::from(document.to_string()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert("x-amzn-errortype", HeaderValue::from_static(code));
        if let Some(challenge) = challenge.and_then(|challenge| HeaderValue::from_str(&challenge).ok()) {
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

/// Judges tokens.
#[derive(Debug)]
pub(crate) struct Bearers {
    providers: Providers,
}

impl Bearers {
    /// With this way to fetch a provider's documents.
    pub(crate) fn new(fetch: Fetch) -> Bearers {
        Bearers { providers: Providers::new(fetch) }
    }

    /// Whether a token opens a runtime with this `authorizerConfiguration`.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub(crate) async fn admit(&self, token: &str, authorizer: &Value, now_unix: i64) -> Result<(), Refusal> {
        let rules = Rules::of(authorizer).ok_or(Refusal::NoKeys)?;
        let token = Token::parse(token).ok_or(Refusal::Unreadable)?;
        // What costs nothing comes first: a token that has expired fetches no keys.
        rules.check_time(&token.claims, now_unix)?;
        let keys = self.providers.keys(&rules.discovery_url, token.header.kid.as_deref(), now_unix).await.ok_or(Refusal::NoKeys)?;
        if !keys.verify(&token) {
            return Err(Refusal::Signature);
        }
        rules.check_claims(&token.claims, &keys.issuer)
    }
}

/// A fetch that reaches nothing, for a control face without one.
pub(crate) fn no_fetch() -> Fetch {
    Arc::new(|_| Box::pin(async { Err(FetchError("this host fetches nothing".to_owned())) }))
}

/// The bearer token of a request, in its header or among a WebSocket's protocols.
pub(crate) fn bearer_token(headers: &HeaderMap) -> Option<Cow<'_, str>> {
    if let Some(authorization) = headers.get(header::AUTHORIZATION) {
        let (scheme, token) = authorization.to_str().ok()?.split_once(' ')?;
        return scheme.eq_ignore_ascii_case("bearer").then_some(Cow::Borrowed(token.trim()));
    }
    let protocols = headers.get(header::SEC_WEBSOCKET_PROTOCOL)?.to_str().ok()?;
    let encoded = protocols.split(',').find_map(|protocol| protocol.trim().strip_prefix(WEBSOCKET_SCHEME)?.strip_prefix('.'))?;
    let token = BASE64_URL_SAFE_NO_PAD.decode(encoded).ok()?;
    String::from_utf8(token).ok().map(Cow::Owned)
}

/// Takes the token out of a handshake that is handed on, where it stood among the protocols; the scheme's name stays, which the server must choose.
pub(crate) fn without_token(protocols: &HeaderValue) -> Option<HeaderValue> {
    let protocols = protocols.to_str().ok()?;
    let is_token = |protocol: &&str| protocol.strip_prefix(WEBSOCKET_SCHEME).is_some_and(|rest| rest.starts_with('.'));
    let left: Vec<&str> = protocols.split(',').map(str::trim).filter(|protocol| !is_token(protocol)).collect();
    HeaderValue::from_str(&left.join(", ")).ok()
}

/// What a client reads to find out who gives tokens for a resource (RFC 9728, section 2).
pub(crate) fn protected_resource(authorizer: &Value, resource: &str) -> Option<Value> {
    let rules = Rules::of(authorizer)?;
    let server = rules.discovery_url.strip_suffix("/.well-known/openid-configuration")?;
    let mut document = json!({ "authorization_servers": [server], "resource": resource });
    if !rules.allowed_scopes.is_empty() {
        document["scopes_supported"] = json!(rules.allowed_scopes);
    }
    Some(document)
}
