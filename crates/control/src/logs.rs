//! CloudWatch Logs (service `logs`, AWS JSON 1.1): log groups, streams, events, retention, metric filters
//! (<https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_Operations.html>). An operation is named by the header `X-Amz-Target`.

mod counting;
mod events;
mod filters;
mod groups;
mod live_tail;
mod pattern;
mod roles;
mod service;
mod streams;
mod tails;

use std::sync::Arc;

use bytes::Bytes;
use frontdesk_aws::ServiceError;
use frontdesk_runtime::ResponseBody;
use frontdesk_store::{LogGroup, StoreError};
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::identity::Principal;
use crate::json_document::without_nulls;
use crate::operation::{Operation, operations, page_at};

pub use counting::{LogMetric, LogMetrics};
pub use roles::may_write;
pub use service::{LogPlace, LogService};

/// The service's name in ARNs, in IAM actions and in signatures.
pub(crate) const SERVICE: &str = "logs";
/// What stands before an operation's name in `X-Amz-Target`.
const TARGET: &str = "Logs_20140328.";
const MEDIA_TYPE: &str = "application/x-amz-json-1.1";

operations! {
    Logs:
    CreateLogGroup POST "/";
    DeleteLogGroup POST "/";
    DescribeLogGroups POST "/";
    ListLogGroups POST "/";
    PutRetentionPolicy POST "/";
    DeleteRetentionPolicy POST "/";
    TagResource POST "/";
    UntagResource POST "/";
    ListTagsForResource POST "/";
    TagLogGroup POST "/";
    UntagLogGroup POST "/";
    ListTagsLogGroup POST "/";
    CreateLogStream POST "/";
    DeleteLogStream POST "/";
    DescribeLogStreams POST "/";
    PutLogEvents POST "/";
    GetLogEvents POST "/";
    FilterLogEvents POST "/";
    PutMetricFilter POST "/";
    DescribeMetricFilters POST "/";
    DeleteMetricFilter POST "/";
    TestMetricFilter POST "/";
    StartLiveTail POST "/";
}

/// The operation's name, if a request is for this service.
pub(crate) fn target<B>(request: &Request<B>) -> Option<String> {
    let target = request.headers().get("x-amz-target")?.to_str().ok()?;
    let is_ours = request.uri().path() == "/" && request.method() == Method::POST;
    target.strip_prefix(TARGET).filter(|_| is_ours).map(str::to_owned)
}

/// A call, verified.
pub(crate) struct Call {
    operation: &'static Operation<Logs>,
    body: Map<String, Value>,
    now_ms: i64,
}

/// What an operation answers: a document, or one of the service's errors.
type Answer = Result<Value, ServiceError>;

impl Call {
    /// Reads a call.
    ///
    /// # Errors
    /// UnknownOperationException, SerializationException.
    pub(crate) fn read(name: &str, body: &Bytes, now_ms: i64) -> Result<Call, ServiceError> {
        let unknown = || ServiceError::new(StatusCode::BAD_REQUEST, "UnknownOperationException", format!("{name} is not served here"));
        let operation = OPERATIONS.iter().find(|operation| operation.name == name).ok_or_else(unknown)?;
        let body = if body.is_empty() { Ok(Map::new()) } else { serde_json::from_slice(body) };
        let body = body.map_err(|error| ServiceError::new(StatusCode::BAD_REQUEST, "SerializationException", error.to_string()))?;
        Ok(Call { operation, body, now_ms })
    }

    /// A member of the body; `None` where it is left out or null.
    fn member<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, ServiceError> {
        let read = self.body.get(name).filter(|value| !value.is_null()).map(|value| serde_json::from_value(value.clone()));
        read.transpose().map_err(|error| ServiceError::new(StatusCode::BAD_REQUEST, "SerializationException", format!("{name}: {error}")))
    }

    /// A member that must be there.
    fn required<T: DeserializeOwned>(&self, name: &str) -> Result<T, ServiceError> {
        self.member(name)?.ok_or_else(|| {
            let message =
                format!("1 validation error detected: Value null at '{name}' failed to satisfy constraint: Member must not be null");
            invalid(message)
        })
    }

    /// A member that is a group's name.
    fn group_name(&self, member: &str) -> Result<String, ServiceError> {
        let name: String = self.required(member)?;
        check_name(&name, member, 512, "[\\.\\-_/#A-Za-z0-9]+", |letter| letter.is_ascii_alphanumeric() || ".-_/#".contains(letter))?;
        Ok(name)
    }

    /// A member that is a stream's name.
    fn stream_name(&self, member: &str) -> Result<String, ServiceError> {
        let name: String = self.required(member)?;
        check_name(&name, member, 512, "[^:*]*", |letter| !matches!(letter, ':' | '*'))?;
        Ok(name)
    }

    /// The group that events are read of: by its name, or by `logGroupIdentifier`, its name or ARN.
    fn group_of_events(&self) -> Result<String, ServiceError> {
        match (self.member::<String>("logGroupIdentifier")?, self.body.contains_key("logGroupName")) {
            (Some(identifier), false) => Ok(group_of_arn(&identifier).unwrap_or(identifier)),
            (None, _) => self.group_name("logGroupName"),
            (Some(_), true) => Err(invalid("LogGroup name and LogGroup ARN are mutually exclusive parameters.")),
        }
    }

    /// The group that the operation is about, by the member that this operation reads; others that the body may have say nothing.
    fn group(&self) -> Option<String> {
        let text = |name: &str| self.body.get(name).and_then(Value::as_str);
        match self.operation.id {
            Logs::GetLogEvents | Logs::FilterLogEvents | Logs::DescribeLogStreams => self.group_of_events().ok(),
            Logs::TagResource | Logs::UntagResource | Logs::ListTagsForResource => text("resourceArn").and_then(group_of_arn),
            _ => text("logGroupName").map(str::to_owned),
        }
    }

    /// A page of a list: `limit` of 50 at most, and `nextToken`, which is the number of the first item.
    fn page<T>(&self, member: &str, items: Vec<T>, document: impl Fn(T) -> Value) -> Answer {
        let limit = self.bounded("limit", 50, 50)?;
        let token: Option<String> = self.member("nextToken")?;
        let begin = token.map(|token| token.parse::<usize>()).transpose().map_err(|_| invalid("The specified nextToken is invalid."))?;
        let (page, next) = page_at(items, begin.unwrap_or(0), limit);
        let page: Vec<Value> = page.into_iter().map(document).collect();
        Ok(without_nulls(json!({ member: page, "nextToken": next })))
    }

    /// A number between one and a bound.
    fn bounded(&self, member: &str, default: usize, max: usize) -> Result<usize, ServiceError> {
        let Some(number) = self.member::<i64>(member)? else { return Ok(default) };
        let told = usize::try_from(number).ok().filter(|number| (1..=max).contains(number));
        told.ok_or_else(|| {
            let bound = if number < 1 { "greater than or equal to 1".to_owned() } else { format!("less than or equal to {max}") };
            invalid(format!(
                "1 validation error detected: Value '{number}' at '{member}' failed to satisfy constraint: Member must have value {bound}"
            ))
        })
    }
}

/// Checks that a principal may: the group that the call names, as policies know it with and without `:*`, and its stream where it names one
/// (<https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazoncloudwatchlogs.html>).
///
/// # Errors
/// AccessDeniedException.
pub(crate) fn authorize(principal: &Principal, call: &Call, service: &LogService) -> Result<(), ServiceError> {
    let text = |name: &str| call.body.get(name).and_then(Value::as_str);
    if call.operation.id == Logs::StartLiveTail {
        let groups = live_tail::groups(call)?.into_iter().map(|(name, _)| service.arn(&name));
        return groups.into_iter().try_for_each(|group| principal.authorize("logs:StartLiveTail", &[&group, &format!("{group}:*")]));
    }
    let group = service.arn(&call.group().unwrap_or_else(|| "*".to_owned()));
    let action = format!("{SERVICE}:{}", call.operation.name);
    let below = text("logStreamName").map_or_else(|| format!("{group}:*"), |stream| format!("{group}:log-stream:{stream}"));
    principal.authorize(&action, &[&group, &below])
}

/// Performs one operation. Blocks on the database, so it runs on a blocking thread.
///
/// # Errors
/// The service's own: ResourceNotFoundException, ResourceAlreadyExistsException, InvalidParameterException.
pub(crate) async fn perform(call: Call, service: Arc<LogService>) -> Result<Response<ResponseBody>, ServiceError> {
    let panicked = |panicked: tokio::task::JoinError| ServiceError::internal_server(panicked.to_string());
    if call.operation.id == Logs::StartLiveTail {
        let started = tokio::task::spawn_blocking(move || live_tail::start(&call, &service)).await;
        return Ok(started.map_err(panicked)??.into_response());
    }
    let document = tokio::task::spawn_blocking(move || answer(&call, &service)).await.map_err(panicked)??;
    let body = if document.is_null() { Bytes::new() } else { Bytes::from(document.to_string()) };
    Ok(respond(StatusCode::OK, body).map(|body| Full::new(body).map_err(|never| match never {}).boxed_unsync()))
}

fn answer(call: &Call, service: &LogService) -> Answer {
    use Logs as Op;
    match call.operation.id {
        Op::CreateLogGroup => groups::create(call, service),
        Op::DeleteLogGroup => groups::delete(call, service),
        Op::DescribeLogGroups => groups::describe(call, service),
        Op::ListLogGroups => groups::list(call, service),
        Op::PutRetentionPolicy | Op::DeleteRetentionPolicy => groups::retention(call, service),
        Op::TagResource | Op::TagLogGroup => groups::tag(call, service),
        Op::UntagResource | Op::UntagLogGroup => groups::untag(call, service),
        Op::ListTagsForResource | Op::ListTagsLogGroup => groups::tags(call, service),
        Op::CreateLogStream => streams::create(call, service),
        Op::DeleteLogStream => streams::delete(call, service),
        Op::DescribeLogStreams => streams::describe(call, service),
        Op::PutLogEvents => events::put(call, service),
        Op::GetLogEvents => events::get(call, service),
        Op::FilterLogEvents => events::filter(call, service),
        Op::PutMetricFilter => filters::put(call, service),
        Op::DescribeMetricFilters => filters::describe(call, service),
        Op::DeleteMetricFilter => filters::delete(call, service),
        Op::TestMetricFilter => filters::test(call),
        Op::StartLiveTail => unreachable!("it is answered by a stream: see `perform`"),
    }
}

/// An error in the protocol's form: the code beside the sentence (<https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html#operation-error-serialization>).
pub(crate) fn refuse(error: &ServiceError) -> Response<Bytes> {
    let document = json!({ "__type": error.code, "message": error.message });
    respond(error.status, document.to_string().into())
}

fn respond(status: StatusCode, body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    response
}

fn invalid(message: impl Into<String>) -> ServiceError {
    ServiceError::new(StatusCode::BAD_REQUEST, "InvalidParameterException", message)
}

fn not_found(what: &str) -> ServiceError {
    ServiceError::new(StatusCode::BAD_REQUEST, "ResourceNotFoundException", format!("The specified {what} does not exist."))
}

/// The store's error as the service's; `what` is what may exist already.
fn of_store(error: StoreError, what: &str) -> ServiceError {
    if matches!(error, StoreError::Exists { .. }) {
        let message = format!("The specified {what} already exists");
        return ServiceError::new(StatusCode::BAD_REQUEST, "ResourceAlreadyExistsException", message);
    }
    tracing::error!(error = &error as &dyn std::error::Error, "the logs' database failed");
    ServiceError::new(StatusCode::INTERNAL_SERVER_ERROR, "ServiceUnavailableException", "The service cannot complete the request.")
}

/// A group that must be there.
fn existing(service: &LogService, name: &str) -> Result<LogGroup, ServiceError> {
    service.store.log_group(name).map_err(|error| of_store(error, "log group"))?.ok_or_else(|| not_found("log group"))
}

/// The group of an ARN, which may end in `:*`.
fn group_of_arn(arn: &str) -> Option<String> {
    let name = arn.starts_with("arn:").then(|| arn.split_once(":log-group:")).flatten()?.1;
    Some(name.strip_suffix(":*").unwrap_or(name).to_owned())
}

fn check_name(name: &str, member: &str, length_max: usize, form: &str, is_fit: impl Fn(char) -> bool) -> Result<(), ServiceError> {
    let told = if name.is_empty() {
        "Member must have length greater than or equal to 1".to_owned()
    } else if name.chars().count() > length_max {
        format!("Member must have length less than or equal to {length_max}")
    } else if name.chars().all(is_fit) {
        return Ok(());
    } else {
        format!("Member must satisfy regular expression pattern: {form}")
    };
    Err(invalid(format!("1 validation error detected: Value '{name}' at '{member}' failed to satisfy constraint: {told}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_is_found_by_its_target() {
        for operation in OPERATIONS {
            let request = Request::post("/").header("x-amz-target", format!("{TARGET}{}", operation.name)).body(()).unwrap();
            let call = Call::read(&target(&request).unwrap(), &Bytes::new(), 0).unwrap();
            assert_eq!(call.operation.id, operation.id);
        }
        let elsewhere = Request::post("/").header("x-amz-target", "DynamoDB_20120810.ListTables").body(()).unwrap();
        assert_eq!(target(&elsewhere), None);
        let error = Call::read("StartQuery", &Bytes::new(), 0).err().unwrap();
        assert_eq!((&*error.code, error.message.as_str()), ("UnknownOperationException", "StartQuery is not served here"));
    }

    #[test]
    fn a_group_is_named_by_its_arn() {
        let arn = "arn:aws:logs:us-east-1:000000000000:log-group:/aws/lambda/f";
        for arn in [arn.to_owned(), format!("{arn}:*")] {
            assert_eq!(group_of_arn(&arn).as_deref(), Some("/aws/lambda/f"));
        }
        assert_eq!(group_of_arn("/aws/lambda/f"), None);
    }
}
