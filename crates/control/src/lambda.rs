//! Lambda (service `lambda`, rest-json): functions, versions, aliases, permissions and invocations
//! (<https://docs.aws.amazon.com/lambda/latest/api/API_Operations.html>).

mod documents;
mod functions;
mod invocations;
mod names;
mod requests;

use std::sync::Arc;

use bytes::Bytes;
use frontdesk_aws::ServiceError;
use frontdesk_functions::{FunctionError, FunctionName, FunctionService};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::identity::{IdentityService, Principal};
use crate::json_document::without_nulls;
use crate::operation::{Operation, operations, page_at, query_value};

/// The service's name in ARNs, in IAM actions and in signatures.
pub(crate) const SERVICE: &str = "lambda";
/// Lambda's limit on a request: a zip file of 50 MB, in base64.
pub(crate) const BODY_BYTES_MAX: usize = 70_167_211;

/// A page of a list, unless its caller says otherwise, and at most.
const PAGE_ITEMS_MAX: usize = 50;
/// What a caller may ask for; a page has no more than the bound above.
const ITEMS_MAX: usize = 10_000;

operations! {
    Lambda:
    CreateFunction POST "/2015-03-31/functions";
    ListFunctions GET "/2015-03-31/functions";
    GetFunction GET "/2015-03-31/functions/{FunctionName}";
    DeleteFunction DELETE "/2015-03-31/functions/{FunctionName}";
    GetFunctionConfiguration GET "/2015-03-31/functions/{FunctionName}/configuration";
    UpdateFunctionConfiguration PUT "/2015-03-31/functions/{FunctionName}/configuration";
    UpdateFunctionCode PUT "/2015-03-31/functions/{FunctionName}/code";
    Invoke POST "/2015-03-31/functions/{FunctionName}/invocations";
    AddPermission POST "/2015-03-31/functions/{FunctionName}/policy";
    GetPolicy GET "/2015-03-31/functions/{FunctionName}/policy";
    RemovePermission DELETE "/2015-03-31/functions/{FunctionName}/policy/{StatementId}";
    PublishVersion POST "/2015-03-31/functions/{FunctionName}/versions";
    ListVersionsByFunction GET "/2015-03-31/functions/{FunctionName}/versions";
    CreateAlias POST "/2015-03-31/functions/{FunctionName}/aliases";
    ListAliases GET "/2015-03-31/functions/{FunctionName}/aliases";
    GetAlias GET "/2015-03-31/functions/{FunctionName}/aliases/{Name}";
    UpdateAlias PUT "/2015-03-31/functions/{FunctionName}/aliases/{Name}";
    DeleteAlias DELETE "/2015-03-31/functions/{FunctionName}/aliases/{Name}";
    PutFunctionConcurrency PUT "/2017-10-31/functions/{FunctionName}/concurrency";
    DeleteFunctionConcurrency DELETE "/2017-10-31/functions/{FunctionName}/concurrency";
    GetFunctionConcurrency GET "/2019-09-30/functions/{FunctionName}/concurrency";
    ListTags GET "/2017-03-31/tags/{Resource}";
    TagResource POST "/2017-03-31/tags/{Resource}";
    UntagResource DELETE "/2017-03-31/tags/{Resource}";
    GetAccountSettings GET "/2016-08-19/account-settings";
}

/// A path as the table writes it. SDKs of 2023 and before end that of `ListFunctions` and `GetAccountSettings` with a slash, as the service's model did then; Debian's aws
/// CLI 2 is one.
pub(crate) fn path(path: &str) -> &str {
    path.strip_suffix('/').unwrap_or(path)
}

impl Lambda {
    /// The action that a policy must allow. It is the operation's name, but for one.
    fn action(self, name: &str) -> String {
        if self == Lambda::Invoke { "lambda:InvokeFunction".to_owned() } else { format!("lambda:{name}") }
    }
}

/// A call, verified.
pub(crate) struct Call {
    pub(crate) operation: &'static Operation<Lambda>,
    /// The path's parameters, decoded.
    pub(crate) parameters: Vec<String>,
    /// The query, undecoded.
    pub(crate) query: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) now_ms: i64,
}

impl Call {
    fn parameter(&self, index: usize) -> &str {
        self.parameters.get(index).map_or("", String::as_str)
    }

    /// A value of the query, decoded.
    fn query_value(&self, name: &str) -> Option<String> {
        query_value(&self.query, name)
    }

    /// All values of a parameter of the query, decoded.
    fn query_values(&self, name: &str) -> Vec<String> {
        let values = self.query.split('&').filter_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        values.map(|value| percent_encoding::percent_decode_str(value).decode_utf8_lossy().into_owned()).collect()
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The function that the path names; or its tags' resource, which is its ARN.
    fn function(&self) -> Result<FunctionName, FunctionError> {
        FunctionName::parse(self.parameter(0), self.query_value("Qualifier").as_deref())
    }

    /// The body; an empty one stands for a document without members.
    fn read<T: DeserializeOwned>(&self) -> Result<T, FunctionError> {
        let body: &[u8] = if self.body.is_empty() { b"{}" } else { &self.body };
        serde_json::from_slice(body).map_err(|error| FunctionError::InvalidJson(error.to_string()))
    }

    /// The page of a list that the query asks for.
    fn page<T>(&self, member: &str, items: Vec<T>, document: impl Fn(T) -> Value) -> Answer {
        let number = |name: &str| {
            let parsed = self.query_value(name).map(|text| text.parse::<usize>());
            parsed.transpose().map_err(|_| FunctionError::Invalid(format!("{name} is not one that was given out")))
        };
        let begin = number("Marker")?.unwrap_or(0);
        let limit = number("MaxItems")?.unwrap_or(PAGE_ITEMS_MAX);
        if !(1..=ITEMS_MAX).contains(&limit) {
            let bound = if limit == 0 { "greater than or equal to 1".to_owned() } else { format!("less than or equal to {ITEMS_MAX}") };
            return Err(FunctionError::Invalid(format!(
                "1 validation error detected: Value '{limit}' at 'maxItems' failed to satisfy constraint: Member must have value {bound}"
            )));
        }
        let limit = limit.min(PAGE_ITEMS_MAX);
        let (page, next) = page_at(items, begin, limit);
        let page: Vec<Value> = page.into_iter().map(document).collect();
        Ok((StatusCode::OK, without_nulls(json!({ member: page, "NextMarker": next }))))
    }
}

/// What an operation answers: a status and a document, null where it has none.
type Answer = Result<(StatusCode, Value), FunctionError>;

/// Checks that a principal may: the function that the path names, with and without what stands behind its name.
///
/// # Errors
/// AccessDeniedException.
pub(crate) fn authorize(principal: &Principal, call: &Call, functions: &FunctionService) -> Result<(), ServiceError> {
    let action = call.operation.id.action(call.operation.name);
    let created = || serde_json::from_slice::<requests::Named>(&call.body).ok().and_then(|named| named.function_name);
    let named = if call.parameters.is_empty() { created() } else { Some(call.parameter(0).to_owned()) };
    let Some(name) = named.and_then(|name| FunctionName::parse(&name, call.query_value("Qualifier").as_deref()).ok()) else {
        return principal.authorize(&action, &["*"]);
    };
    let function = functions.arn(&name.name, name.qualifier.as_deref());
    principal.authorize(&action, &[&function])
}

/// Checks that Lambda may assume the role that a function is given.
///
/// # Errors
/// InvalidParameterValueException.
pub(crate) fn check_role(call: &Call, identities: &IdentityService) -> Result<(), ServiceError> {
    if !matches!(call.operation.id, Lambda::CreateFunction | Lambda::UpdateFunctionConfiguration) {
        return Ok(());
    }
    let given = serde_json::from_slice::<requests::GivenRole>(&call.body).ok().and_then(|given| given.role);
    // A text that is no role's ARN is refused for that, with everything else that is of the wrong form.
    let Some(role_arn) = given.filter(|arn| arn.starts_with("arn:") && arn.contains(":role/")) else { return Ok(()) };
    if identities.trusts("lambda.amazonaws.com", &role_arn) {
        return Ok(());
    }
    let message = "The role defined for the function cannot be assumed by Lambda.";
    Err(ServiceError::new(StatusCode::BAD_REQUEST, "InvalidParameterValueException", message))
}

/// Performs one operation. All but invocations block on the database, so they run on a blocking thread. What Lambda refuses is an answer here: its errors say more than
/// other services' do.
///
/// # Errors
/// InternalServerException when something of ours broke.
pub(crate) async fn perform(call: Call, functions: Arc<FunctionService>) -> Result<Response<Bytes>, ServiceError> {
    if call.operation.id == Lambda::Invoke {
        return Ok(invocations::invoke(&call, &functions).await.unwrap_or_else(|error| refusal(&error)));
    }
    let done = tokio::task::spawn_blocking(move || answer(&call, &functions)).await;
    let answered = done.map_err(|panicked| ServiceError::internal_server(panicked.to_string()))?;
    Ok(match answered {
        Ok((status, document)) => respond(status, &document),
        Err(error) => refusal(&error),
    })
}

fn answer(call: &Call, service: &Arc<FunctionService>) -> Answer {
    use Lambda as Op;
    match call.operation.id {
        Op::CreateFunction => functions::create(call, service),
        Op::ListFunctions => functions::list(call, service),
        Op::GetFunction => functions::get(call, service),
        Op::GetFunctionConfiguration => functions::configuration(call, service),
        Op::UpdateFunctionCode => functions::update_code(call, service),
        Op::UpdateFunctionConfiguration => functions::update_configuration(call, service),
        Op::DeleteFunction => functions::delete(call, service),
        Op::PublishVersion => names::publish(call, service),
        Op::ListVersionsByFunction => names::versions(call, service),
        Op::CreateAlias => names::create_alias(call, service),
        Op::ListAliases => names::aliases(call, service),
        Op::GetAlias => names::alias(call, service),
        Op::UpdateAlias => names::update_alias(call, service),
        Op::DeleteAlias => names::delete_alias(call, service),
        Op::AddPermission => functions::add_permission(call, service),
        Op::GetPolicy => functions::policy(call, service),
        Op::RemovePermission => functions::remove_permission(call, service),
        Op::PutFunctionConcurrency => functions::put_concurrency(call, service),
        Op::DeleteFunctionConcurrency => functions::delete_concurrency(call, service),
        Op::GetFunctionConcurrency => functions::concurrency(call, service),
        Op::ListTags => functions::tags(call, service),
        Op::TagResource => functions::tag(call, service),
        Op::UntagResource => functions::untag(call, service),
        Op::GetAccountSettings => Ok((StatusCode::OK, documents::account_settings(service))),
        Op::Invoke => Err(FunctionError::Failed("an invocation is carried out elsewhere".to_owned())),
    }
}

fn respond(status: StatusCode, document: &Value) -> Response<Bytes> {
    let body = if document.is_null() { Bytes::new() } else { Bytes::from(document.to_string()) };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    if !document.is_null() {
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    response
}

/// What Lambda says of an error: its name in a header, and beside the sentence whose fault it is (`Type`). Some of its errors spell the sentence's member with
/// a capital; SDKs read both.
fn refusal(error: &FunctionError) -> Response<Bytes> {
    let message = error.to_string();
    let (status, code, reason) = match error {
        FunctionError::NotFound(_) => (404, "ResourceNotFoundException", None),
        FunctionError::Conflict(_) => (409, "ResourceConflictException", None),
        // A value that is not even of the right form is refused before the function is looked at.
        FunctionError::Invalid(text) if text.starts_with("1 validation error detected") => (400, "ValidationException", None),
        FunctionError::Invalid(_) => (400, "InvalidParameterValueException", None),
        FunctionError::InvalidJson(_) => (400, "InvalidRequestContentException", None),
        FunctionError::TooLarge(_) => (413, "RequestTooLargeException", None),
        FunctionError::TooManyRequests { reason } => (429, "TooManyRequestsException", Some(*reason)),
        FunctionError::PreconditionFailed => (412, "PreconditionFailedException", None),
        FunctionError::Failed(_) | FunctionError::Store(_) => {
            tracing::error!(error = error as &dyn std::error::Error, "Lambda's API failed");
            (500, "ServiceException", None)
        }
    };
    let fault = if status == 500 { "Service" } else { "User" };
    let document = without_nulls(json!({ "Type": fault, "message": message, "Message": message, "Reason": reason }));
    let mut response = respond(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), &document);
    response.headers_mut().insert("x-amzn-errortype", HeaderValue::from_static(code));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_sdks_find_what_newer_ones_do() {
        let found = |verb, text| crate::operation::find(OPERATIONS, &verb, path(text)).map(|(operation, _)| operation.id);
        assert_eq!(found(http::Method::GET, "/2015-03-31/functions/"), Some(Lambda::ListFunctions));
        assert_eq!(found(http::Method::GET, "/2016-08-19/account-settings/"), Some(Lambda::GetAccountSettings));
        assert_eq!(found(http::Method::GET, "/2015-03-31/functions//"), None);
    }

    #[test]
    fn every_operation_is_found_at_its_path() {
        for operation in OPERATIONS {
            let arn = "arn%3Aaws%3Alambda%3Aus-east-1%3A123456789012%3Afunction%3Aproxy";
            let path = operation.path.replace("{FunctionName}", "proxy").replace("{Name}", "live").replace("{StatementId}", "s");
            let path = path.replace("{Resource}", arn);
            let (found, _) = crate::operation::find(OPERATIONS, &operation.verb, &path).expect(operation.name);
            assert_eq!(found.id, operation.id);
        }
    }
}
