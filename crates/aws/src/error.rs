//! Errors as AWS's services answer them: a status, a code and a sentence.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Response, StatusCode};

use crate::sigv4::VerifyError;

/// The header that names the error's code in the rest-json protocol.
const X_AMZN_ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");

/// An error that a client sees.
///
/// The constructors are the data plane's errors with the statuses of botocore's service model `bedrock-agentcore` 2024-02-28.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct ServiceError {
    /// The HTTP status.
    pub status: StatusCode,
    /// The name of the exception, such as `ValidationException`, which SDKs turn into a type.
    pub code: Cow<'static, str>,
    /// What a person reads. Whoever makes the error makes sure that nothing secret is in it.
    pub message: String,
}

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident = $status:ident $code:literal;)*) => {$(
        $(#[$doc])*
        pub fn $name(message: impl Into<String>) -> Self {
            Self::new(StatusCode::$status, $code, message)
        }
    )*};
}

impl ServiceError {
    /// Any error, for services whose errors are not listed here.
    pub fn new(status: StatusCode, code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { status, code: code.into(), message: message.into() }
    }

    constructors! {
        /// 400: the request breaks a rule of the operation.
        validation = BAD_REQUEST "ValidationException";
        /// 401: no identity could be made out, where tokens are used instead of signatures.
        unauthorized = UNAUTHORIZED "UnauthorizedException";
        /// 402: a limit of the account is reached.
        service_quota_exceeded = PAYMENT_REQUIRED "ServiceQuotaExceededException";
        /// 403: the caller is known but may not.
        access_denied = FORBIDDEN "AccessDeniedException";
        /// 404: no such runtime, endpoint or session.
        resource_not_found = NOT_FOUND "ResourceNotFoundException";
        /// 409: the resource is in a state that forbids this.
        conflict = CONFLICT "ConflictException";
        /// 424: the agent itself failed.
        runtime_client = FAILED_DEPENDENCY "RuntimeClientError";
        /// 429: too many requests or sessions.
        throttling = TOO_MANY_REQUESTS "ThrottlingException";
        /// 500: our own fault.
        internal_server = INTERNAL_SERVER_ERROR "InternalServerException";
        /// 413, one of the errors common to AWS's services.
        request_entity_too_large = PAYLOAD_TOO_LARGE "RequestEntityTooLargeException";
        /// 404, one of the errors common to AWS's services: no operation answers at this path.
        unknown_operation = NOT_FOUND "UnknownOperationException";
    }

    /// The rest-json form: the code in `x-amzn-errortype`, the sentence in `{"message": …}`.
    ///
    /// See "Operation error serialization" of the Smithy protocol `aws.protocols#restJson1`
    /// (<https://smithy.io/2.0/aws/protocols/aws-restjson1-protocol.html>).
    pub fn to_rest_json(&self) -> Response<Bytes> {
        let body = serde_json::json!({ "message": self.message }).to_string();
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = self.status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        // A code that no header can carry is a mistake in this program, but not one to lose the answer for.
        if let Ok(code) = HeaderValue::from_str(&self.code) {
            response.headers_mut().insert(X_AMZN_ERROR_TYPE, code);
        }
        response
    }
}

/// All are 403, also the incomplete ones that older services answer with 400: "Common Errors" of the AgentCore API reference
/// (<https://docs.aws.amazon.com/bedrock-agentcore-control/latest/APIReference/CommonErrors.html>).
impl From<VerifyError> for ServiceError {
    fn from(error: VerifyError) -> Self {
        let code = match &error {
            VerifyError::MissingAuthenticationToken => "MissingAuthenticationTokenException",
            VerifyError::AuthorizationMethodMismatch => "AccessDeniedException",
            VerifyError::Incomplete(_)
            | VerifyError::NotAKeyValuePair(_)
            | VerifyError::RepeatedParameter(_)
            | VerifyError::RepeatedHeader
            | VerifyError::UnsupportedAlgorithm(_)
            | VerifyError::MalformedCredential(_)
            | VerifyError::MalformedDate(_)
            | VerifyError::Lifetime(_)
            | VerifyError::MalformedSignedHeaders(_) => "IncompleteSignatureException",
            VerifyError::HeaderAndQuery
            | VerifyError::Unsigned(_)
            | VerifyError::SignedHeaderAbsent(_)
            | VerifyError::Expired(_)
            | VerifyError::NotYetCurrent(_)
            | VerifyError::WrongScope(_)
            | VerifyError::UnsignedPayload(_)
            | VerifyError::Mismatch => "InvalidSignatureException",
            VerifyError::UnrecognizedClient => "UnrecognizedClientException",
        };
        Self::new(StatusCode::FORBIDDEN, code, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(error: ServiceError, status: u16, code: &str, body: &str) {
        let response = error.to_rest_json();
        assert_eq!(response.status(), status);
        assert_eq!(response.headers()["x-amzn-errortype"], code);
        assert_eq!(response.headers()["content-type"], "application/json");
        assert_eq!(response.body(), body);
    }

    #[test]
    fn errors_in_rest_json() {
        check(ServiceError::validation("say \"hi\"\n"), 400, "ValidationException", r#"{"message":"say \"hi\"\n"}"#);
        check(ServiceError::runtime_client("exit 1"), 424, "RuntimeClientError", r#"{"message":"exit 1"}"#);
        check(ServiceError::throttling("slow"), 429, "ThrottlingException", r#"{"message":"slow"}"#);
        check(ServiceError::unauthorized("who"), 401, "UnauthorizedException", r#"{"message":"who"}"#);
        check(ServiceError::service_quota_exceeded("all"), 402, "ServiceQuotaExceededException", r#"{"message":"all"}"#);
        check(ServiceError::conflict("busy"), 409, "ConflictException", r#"{"message":"busy"}"#);
        check(
            VerifyError::MissingAuthenticationToken.into(),
            403,
            "MissingAuthenticationTokenException",
            r#"{"message":"Missing Authentication Token"}"#,
        );
        check(
            VerifyError::UnrecognizedClient.into(),
            403,
            "UnrecognizedClientException",
            r#"{"message":"The security token included in the request is invalid."}"#,
        );
    }
}
