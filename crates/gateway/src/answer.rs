//! The gateway's own answers: status, body and `x-amzn-ErrorType` as API Gateway's default gateway responses have them
//! (<https://docs.aws.amazon.com/apigateway/latest/developerguide/supported-gateway-response-types.html>).

use std::time::Duration;

use base64::Engine as _;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};

use crate::header_names::ERROR_TYPE;
use crate::integration::Body;

/// Where a request ended before, or instead of, its integration's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GatewayAnswer {
    /// No key, a wrong, disabled or unplanned one; an unknown stage.
    Forbidden,
    /// An unknown path or verb.
    MissingAuthenticationToken,
    /// Faster than the plan allows; may be tried again after this time.
    TooManyRequests {
        /// When the token bucket holds a token again.
        retry_after: Duration,
    },
    /// The day's allowance is spent; a new one comes after this time.
    LimitExceeded {
        /// When the next day begins (UTC).
        retry_after: Duration,
    },
    /// The body is over the limit.
    RequestTooLong,
    /// The body did not come to its end.
    BadBody,
    /// A parameter would lead the integration's request to another place.
    BadParameters,
    /// The integration did not answer in time.
    EndpointTimeout,
    /// The integration broke.
    InternalServerError,
    /// The function failed, or answered something that is no answer of a proxy integration.
    MalformedAnswer,
    /// The backend cannot be reached, or what it answers is no HTTP.
    EndpointUnreachable,
    /// No template of the integration is for the body's media type, and it may not pass as it is.
    UnsupportedMediaType,
    /// More connections or calls than this machine is set to serve; or a quota that cannot be asked for, where the host is set to turn away then.
    Overloaded,
}

impl GatewayAnswer {
    /// The HTTP status.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::Forbidden | Self::MissingAuthenticationToken => StatusCode::FORBIDDEN,
            Self::TooManyRequests { .. } | Self::LimitExceeded { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::RequestTooLong => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BadBody | Self::BadParameters => StatusCode::BAD_REQUEST,
            Self::EndpointTimeout | Self::EndpointUnreachable => StatusCode::GATEWAY_TIMEOUT,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::InternalServerError => StatusCode::INTERNAL_SERVER_ERROR,
            Self::MalformedAnswer => StatusCode::BAD_GATEWAY,
            Self::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The `message` of the body.
    #[must_use]
    pub fn message(self) -> &'static str {
        match self {
            Self::Forbidden => "Forbidden",
            Self::MissingAuthenticationToken => "Missing Authentication Token",
            Self::TooManyRequests { .. } => "Too Many Requests",
            Self::LimitExceeded { .. } => "Limit Exceeded",
            Self::RequestTooLong => "Request Too Long",
            Self::BadBody => "Invalid request body",
            Self::BadParameters => "Invalid request parameters",
            Self::EndpointTimeout => "Endpoint request timed out",
            Self::InternalServerError | Self::MalformedAnswer => "Internal server error",
            Self::EndpointUnreachable => "Network error communicating with endpoint",
            Self::UnsupportedMediaType => "Unsupported Media Type",
            Self::Overloaded => "Service Unavailable",
        }
    }

    /// The value of `x-amzn-ErrorType`.
    #[must_use]
    pub fn error_type(self) -> &'static str {
        match self {
            Self::Forbidden => "ForbiddenException",
            Self::MissingAuthenticationToken => "MissingAuthenticationTokenException",
            Self::TooManyRequests { .. } => "TooManyRequestsException",
            Self::LimitExceeded { .. } => "LimitExceededException",
            Self::RequestTooLong => "RequestTooLargeException",
            Self::BadBody | Self::BadParameters | Self::UnsupportedMediaType => "BadRequestException",
            Self::EndpointTimeout | Self::InternalServerError | Self::MalformedAnswer | Self::EndpointUnreachable => {
                "InternalServerErrorException"
            }
            Self::Overloaded => "ServiceUnavailableException",
        }
    }

    /// The gateway response type that an API may have its own answer for.
    #[must_use]
    pub fn response_type(self) -> &'static str {
        match self {
            Self::Forbidden => "INVALID_API_KEY",
            Self::MissingAuthenticationToken => "MISSING_AUTHENTICATION_TOKEN",
            Self::TooManyRequests { .. } => "THROTTLED",
            Self::LimitExceeded { .. } => "QUOTA_EXCEEDED",
            Self::RequestTooLong => "REQUEST_TOO_LARGE",
            Self::BadBody => "BAD_REQUEST_BODY",
            Self::BadParameters => "BAD_REQUEST_PARAMETERS",
            Self::EndpointTimeout => "INTEGRATION_TIMEOUT",
            Self::InternalServerError => "API_CONFIGURATION_ERROR",
            Self::EndpointUnreachable => "INTEGRATION_FAILURE",
            Self::UnsupportedMediaType => "UNSUPPORTED_MEDIA_TYPE",
            // It has no type of its own.
            Self::MalformedAnswer => "DEFAULT_5XX",
            // Not one of API Gateway's; `DEFAULT_5XX` stands for it.
            Self::Overloaded => "OVERLOADED",
        }
    }

    fn retry_after(self) -> Option<Duration> {
        match self {
            Self::TooManyRequests { retry_after } | Self::LimitExceeded { retry_after } => Some(retry_after),
            Self::Overloaded => Some(Duration::from_secs(1)),
            _ => None,
        }
    }

    /// The whole response, but for the headers that every response gets.
    #[must_use]
    pub fn response(self) -> Response<Body> {
        let body = format!("{{\"message\":\"{}\"}}", self.message());
        let mut response = Response::new(Full::from(body).map_err(|never| match never {}).boxed_unsync());
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ERROR_TYPE, HeaderValue::from_static(self.error_type()));
        if let Some(retry_after) = self.retry_after() {
            // Whole seconds, rounded up: a caller that waits as told must not be turned away again.
            let seconds = retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        response
    }
}

/// `x-amz-apigw-id`, which API Gateway also calls the extended request id: sixteen characters of base64.
#[must_use]
pub fn extended_request_id(request_id: uuid::Uuid) -> ExtendedRequestId {
    let mut text = [0; 16];
    let written = base64::engine::general_purpose::STANDARD.encode_slice(&request_id.as_bytes()[..11], &mut text);
    written.expect("eleven bytes are sixteen characters");
    ExtendedRequestId(text)
}

/// The text of an extended request id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExtendedRequestId([u8; 16]);

impl std::fmt::Display for ExtendedRequestId {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self)
    }
}

impl std::ops::Deref for ExtendedRequestId {
    type Target = str;

    fn deref(&self) -> &str {
        std::str::from_utf8(&self.0).expect("base64 is text")
    }
}

/// Headers that let a page of any origin call the API, with the values that the API's documentation names.
pub fn allow_any_origin(headers: &mut HeaderMap) {
    let cors = [
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "Content-Type,x-api-key"),
        (header::ACCESS_CONTROL_ALLOW_METHODS, "POST,OPTIONS"),
        // Beyond what AWS sends: a page may show how long to wait and which request to report.
        (header::ACCESS_CONTROL_EXPOSE_HEADERS, "RateLimit,RateLimit-Policy,Retry-After,x-amzn-RequestId,x-amzn-ErrorType"),
    ];
    for (name, value) in cors {
        headers.insert(name, HeaderValue::from_static(value));
    }
}
