//! What can go wrong with a call, in words that name the action, the resource and what to do about it.

use std::fmt;

use http::{HeaderMap, StatusCode};
use serde_json::Value;

use super::operation::Operation;
use super::xml::Element;

/// How much of an answer that is no AWS error is quoted, in characters.
const QUOTED_CHARS_MAX: usize = 300;

/// A call that came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Nobody to sign as.
    #[error(
        "found no AWS credentials: {0}. Set AWS_PROFILE (after `aws sso login`, if the profile uses SSO) or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    )]
    NoCredentials(String),
    /// Nowhere to call.
    #[error("no AWS region is set: give --region, or set AWS_REGION or the profile's `region`")]
    NoRegion,
    /// The HTTP client cannot be made.
    #[error("failed to make the HTTP client")]
    Client(#[source] reqwest::Error),
    /// The service answered that it will not.
    #[error("{0}")]
    Refused(Box<Refusal>),
    /// No answer, after all attempts.
    #[error("failed to reach {url} for {action}: is the region right, and does a proxy stand between?")]
    Unreachable {
        /// The IAM action that was called.
        action: String,
        /// Where.
        url: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// An answer that is not what the service's API promises.
    #[error("failed to read the answer to {action}: {reason}")]
    Malformed {
        /// The IAM action that was called.
        action: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The request cannot be written as asked.
    #[error("failed to write the request for {action}: {reason}")]
    Unwritable {
        /// The IAM action that was called.
        action: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl CallError {
    /// The service's refusal, if that is what it is.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            CallError::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// Whether the service refused with the error code `code`.
    pub fn has_code(&self, code: &str) -> bool {
        self.refusal().is_some_and(|refusal| refusal.code == code)
    }

    /// Whether trying again may help.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            CallError::Refused(refusal) => refusal.kind() == RefusalKind::Throttled || refusal.kind() == RefusalKind::Failing,
            CallError::Unreachable { .. } => true,
            _ => false,
        }
    }
}

/// A service's error answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The IAM action that was called, such as `ecr:CreateRepository`.
    pub action: String,
    /// What it was called for, in the caller's words.
    pub resource: String,
    /// The HTTP status.
    pub status: StatusCode,
    /// The error's name, such as `AccessDeniedException`; empty when the answer had none.
    pub code: String,
    /// The service's sentence.
    pub message: String,
    /// Under which AWS's support finds the call.
    pub request_id: Option<String>,
}

/// What a refusal means for the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalKind {
    /// The identity is known, and lacks a permission.
    Denied,
    /// Temporary credentials that have ended.
    Expired,
    /// Credentials or a signature that AWS does not recognise.
    Unrecognized,
    /// The signature's date is not now.
    ClockIsOff,
    /// Too many calls.
    Throttled,
    /// The service's own fault.
    Failing,
    /// Anything else: the operation's own errors.
    Other,
}

impl Refusal {
    /// What it means, by the codes common to AWS's services
    /// (<https://docs.aws.amazon.com/STS/latest/APIReference/CommonErrors.html>) and by those on which the SDKs try again
    /// ("Retry behavior", <https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html>).
    pub fn kind(&self) -> RefusalKind {
        let speaks_of_the_date = self.message.contains("Signature expired") || self.message.contains("Signature not yet current");
        match self.code.trim_end_matches("Exception") {
            "RequestTimeTooSkewed" | "RequestExpired" => RefusalKind::ClockIsOff,
            "InvalidSignature" | "SignatureDoesNotMatch" if speaks_of_the_date => RefusalKind::ClockIsOff,
            "AccessDenied" | "UnauthorizedOperation" | "NotAuthorized" => RefusalKind::Denied,
            "ExpiredToken" | "TokenRefreshRequired" => RefusalKind::Expired,
            "InvalidClientTokenId"
            | "UnrecognizedClient"
            | "InvalidAccessKeyId"
            | "InvalidSignature"
            | "SignatureDoesNotMatch"
            | "IncompleteSignature"
            | "MissingAuthenticationToken"
            | "InvalidToken" => RefusalKind::Unrecognized,
            "Throttling"
            | "Throttled"
            | "ThrottledException"
            | "RequestThrottled"
            | "TooManyRequests"
            | "RequestLimitExceeded"
            | "BandwidthLimitExceeded"
            | "SlowDown"
            | "PriorRequestNotComplete" => RefusalKind::Throttled,
            "RequestTimeout" => RefusalKind::Failing,
            _ if self.status == StatusCode::TOO_MANY_REQUESTS => RefusalKind::Throttled,
            _ if self.status.is_server_error() => RefusalKind::Failing,
            _ => RefusalKind::Other,
        }
    }

    /// Reads an error answer of any of the protocols: the code from a header, from JSON or from XML.
    pub(super) fn read(operation: &Operation, resource: &str, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Refusal {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let body = String::from_utf8_lossy(body);
        let (code, message, request_id) = match (serde_json::from_str::<Value>(&body), Element::parse(&body)) {
            (Ok(Value::Object(document)), _) => {
                let field = |names: [&str; 3]| names.into_iter().find_map(|name| document.get(name)?.as_str()).map(str::to_owned);
                (field(["__type", "code", "Code"]), field(["message", "Message", "errorMessage"]), None)
            }
            (_, Ok(root)) => {
                let text = |name: &str| root.find(name).map(|element| element.text.clone());
                (text("Code"), text("Message"), text("RequestId"))
            }
            _ => (None, None, None),
        };
        let code = header("x-amzn-errortype").or(code).unwrap_or_default();
        // `com.amazon.coral.service#AccessDeniedException:http://…` in some services.
        let code = code.split(':').next().unwrap_or_default().rsplit('#').next().unwrap_or_default().to_owned();
        let request_id = ["x-amzn-requestid", "x-amz-request-id", "x-amzn-request-id"].into_iter().find_map(header).or(request_id);
        let message = message.unwrap_or_else(|| body.chars().take(QUOTED_CHARS_MAX).collect());
        Refusal { action: operation.iam_action(), resource: resource.to_owned(), status, code, message, request_id }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Refusal { action, resource, status, code, message, .. } = self;
        let code = if code.is_empty() { status.as_str() } else { code };
        match self.kind() {
            RefusalKind::Denied => write!(
                f,
                "the permission {action} on {resource} is missing: {message} (allow {action} in a policy of the caller, or choose another identity with AWS_PROFILE)"
            )?,
            RefusalKind::Expired => write!(
                f,
                "the AWS credentials have expired, at {action} on {resource}: {message} (`aws sso login`, or fetch new temporary credentials, and run the command again)"
            )?,
            RefusalKind::Unrecognized => write!(
                f,
                "AWS does not recognise the credentials, at {action} on {resource}: {code}: {message} (check the access key, its secret, and AWS_SESSION_TOKEN when they are temporary)"
            )?,
            RefusalKind::ClockIsOff => {
                write!(f, "{action} on {resource} was refused for its date: {message} (set this machine's clock)")?;
            }
            RefusalKind::Throttled => {
                write!(f, "{action} on {resource} is throttled, after several attempts: {message} (try again in a minute)")?
            }
            RefusalKind::Failing => {
                write!(
                    f,
                    "{action} on {resource} failed at AWS, after several attempts: {code}: {message} (try again; see health.aws.amazon.com)"
                )?;
            }
            RefusalKind::Other => write!(f, "{action} on {resource} was refused: {code}: {message}")?,
        }
        match &self.request_id {
            Some(request_id) => write!(f, " [request {request_id}]"),
            None => Ok(()),
        }
    }
}
