//! What can go wrong with a registry.

use std::io;
use std::path::PathBuf;

use http::StatusCode;
use serde_json::Value;

/// How much of an answer that is no registry's error is quoted, in characters.
const QUOTED_CHARS_MAX: usize = 300;

/// A push that came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The HTTP client cannot be made.
    #[error("failed to make the HTTP client")]
    Client(#[source] reqwest::Error),
    /// A registry that knows nobody.
    #[error("the registry wants a login: give a user and a password")]
    LoginWanted,
    /// The login is not enough.
    #[error("the registry denies {step}: {message} (may this login push to the repository, and does it exist?)")]
    Denied {
        /// What was being done.
        step: String,
        /// The registry's sentence.
        message: String,
    },
    /// Any other error answer.
    #[error("the registry refused {step} with {status}: {message}")]
    Refused {
        /// What was being done.
        step: String,
        /// The HTTP status.
        status: StatusCode,
        /// The registry's error code, such as `BLOB_UPLOAD_UNKNOWN`; empty when the answer had none.
        code: String,
        /// The registry's sentence.
        message: String,
    },
    /// No answer, after all attempts.
    #[error("failed to reach the registry for {step}")]
    Unreachable {
        /// What was being done.
        step: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// An answer that breaks the protocol.
    #[error("failed to read the registry's answer to {step}: {reason}")]
    Malformed {
        /// What was being done.
        step: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A blob of the image's layout.
    #[error("failed to read {path}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The layout holds no image like that.
    #[error("{path} is no image: build it anew")]
    NoImage {
        /// The missing or unreadable document.
        path: PathBuf,
    },
}

impl RegistryError {
    pub(super) fn unreachable(step: &str, source: reqwest::Error) -> RegistryError {
        RegistryError::Unreachable { step: step.to_owned(), source: source.without_url() }
    }

    /// Reads an error answer: `{"errors": [{"code", "message"}]}`
    /// (<https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md#error-codes>).
    pub(super) async fn refused(step: &str, response: reqwest::Response) -> RegistryError {
        let status = response.status();
        // The error's own text matters more than why it could not be read.
        let body = response.text().await.unwrap_or_default();
        let document: Value = serde_json::from_str(&body).unwrap_or_default();
        let first = |field: &str| document.pointer(&format!("/errors/0/{field}")).and_then(Value::as_str).map(str::to_owned);
        let quoted = || if body.is_empty() { status.to_string() } else { body.chars().take(QUOTED_CHARS_MAX).collect() };
        let (code, message, step) = (first("code").unwrap_or_default(), first("message").unwrap_or_else(quoted), step.to_owned());
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => RegistryError::Denied { step, message },
            _ => RegistryError::Refused { step, status, code, message },
        }
    }

    /// Whether trying again may help.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            RegistryError::Unreachable { .. } => true,
            RegistryError::Refused { status, .. } => {
                // 501 is for ever.
                *status == StatusCode::TOO_MANY_REQUESTS || (status.is_server_error() && *status != StatusCode::NOT_IMPLEMENTED)
            }
            _ => false,
        }
    }

    pub(super) fn status(&self) -> Option<StatusCode> {
        match self {
            RegistryError::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }
}
