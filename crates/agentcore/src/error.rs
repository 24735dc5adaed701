//! What a handler may fail with, and what the caller is told.

use http::StatusCode;

/// A handler's failure. Either way the caller reads `{"error": message}`, so the message must hold no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HandlerError {
    /// An answer with a status of the handler's choice, such as 400 for a payload that it cannot use.
    #[error("{message}")]
    Http {
        /// The HTTP status of the answer.
        status: StatusCode,
        /// The text of `error`.
        message: String,
    },
    /// Anything else: status 500.
    #[error("{0}")]
    Internal(String),
}

impl HandlerError {
    /// An answer with `status`. A number outside 100–999 is no HTTP status; the answer is then a 500.
    pub fn http(status: u16, message: impl Into<String>) -> HandlerError {
        match StatusCode::from_u16(status) {
            Ok(status) => HandlerError::Http { status, message: message.into() },
            Err(_) => HandlerError::Internal(message.into()),
        }
    }

    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        match self {
            HandlerError::Http { status, .. } => *status,
            HandlerError::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The name under which an error in mid-stream is reported, in `error_type`.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            HandlerError::Http { .. } => "HttpError",
            HandlerError::Internal(_) => "RuntimeError",
        }
    }
}
