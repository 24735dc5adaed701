//! The functions behind methods of APIs: the gateway's calls, in the form of Lambda's Invoke, are judged and carried out by the room that runs functions. Gateway and functions do not know each other.

use std::sync::Arc;

use bytes::Bytes;
use frontdesk_control::IdentityService;
use frontdesk_functions::{FunctionError, FunctionName, FunctionService, InvokeRequest};
use frontdesk_gateway::integration::{Answering, Body, RoleArn, SourceMethod};
use frontdesk_gateway::{Integration, IntegrationError};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};

/// Who calls, as functions' policies and roles name it.
const CALLER: &str = "apigateway.amazonaws.com";
/// The session's name where the gateway plays a role.
const SESSION: &str = "ApiGateway";

/// Calls of functions in the name of API Gateway.
#[derive(Clone)]
pub(crate) struct FunctionCalls {
    pub(crate) functions: Arc<FunctionService>,
    pub(crate) identities: Arc<IdentityService>,
    pub(crate) region: String,
    pub(crate) account_id: String,
}

/// Why a function was not called: Lambda's status for it, and a sentence for the host's log.
type Refused = (StatusCode, String);

impl Integration for FunctionCalls {
    fn call(&self, request: Request<Body>) -> Answering {
        let calls = self.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.map_err(IntegrationError::Failed)?.to_bytes();
            Ok(calls.invoke(&parts, body).await.unwrap_or_else(|(status, reason)| {
                let mut response = Response::new(whole(reason.into()));
                *response.status_mut() = status;
                response
            }))
        })
    }
}

impl FunctionCalls {
    async fn invoke(&self, parts: &http::request::Parts, payload: Bytes) -> Result<Response<Body>, Refused> {
        if parts.method != Method::POST {
            // Lambda has no such operation; API Gateway's callers get a 500 for it.
            return Err((
                StatusCode::FORBIDDEN,
                format!("functions are invoked by POST, and the integration's method is {}", parts.method),
            ));
        }
        let name = self.named(parts.uri.path())?;
        self.judge(&name, parts)?;
        let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let request = InvokeRequest { name, payload, trace_id: header("x-amzn-trace-id"), client_context: None };
        if header("x-amz-invocation-type").as_deref() == Some("Event") {
            let request_id = self.functions.send_event(request).map_err(refused)?;
            return Ok(answer(StatusCode::ACCEPTED, Bytes::new(), &request_id));
        }
        let invoked = self.functions.invoke(request).await.map_err(refused)?;
        let mut response = answer(StatusCode::OK, invoked.payload, &invoked.request_id);
        if invoked.is_error {
            response.headers_mut().insert("x-amz-function-error", HeaderValue::from_static("Unhandled"));
        }
        Ok(response)
    }

    /// The function that the path names, which must be of this host's region and account.
    fn named(&self, path: &str) -> Result<FunctionName, Refused> {
        let arn = path.strip_prefix("/2015-03-31/functions/").and_then(|rest| rest.strip_suffix("/invocations")).unwrap_or_default();
        let arn = percent_encoding::percent_decode_str(arn).decode_utf8_lossy();
        let ours = format!("arn:aws:lambda:{}:{}:function:", self.region, self.account_id);
        if !arn.starts_with(&ours) {
            return Err((StatusCode::NOT_FOUND, format!("Function not found: {arn}; functions here begin with {ours}")));
        }
        FunctionName::parse(&arn, None).map_err(refused)
    }

    /// Whether the method may call the function: where the integration names a role by that role's policies, else by the function's own.
    fn judge(&self, function: &FunctionName, parts: &http::request::Parts) -> Result<(), Refused> {
        let SourceMethod(method) = parts.extensions.get().ok_or((StatusCode::FORBIDDEN, "the call names no method".to_owned()))?;
        let source_arn = format!("arn:aws:execute-api:{}:{}:{method}", self.region, self.account_id);
        let (name, qualifier) = (&function.name, function.qualifier.as_deref());
        if let Some(RoleArn(role_arn)) = parts.extensions.get() {
            let arn = self.functions.arn(name, qualifier);
            let judged = self.identities.service_may((CALLER, SESSION), role_arn, "lambda:InvokeFunction", &[&arn], now());
            return judged.map_err(|error| (StatusCode::FORBIDDEN, error.message));
        }
        if self.functions.service_may_invoke(name, qualifier, CALLER, &source_arn) {
            return Ok(());
        }
        // A function that is not there has no policy either; its owner looks for it elsewhere.
        let arn = self.functions.arn(name, qualifier);
        self.functions.get(name, qualifier).map_err(refused)?;
        Err((
            StatusCode::FORBIDDEN,
            format!(
                "Invalid permissions on Lambda function: no statement of {arn} lets {CALLER} invoke it for {source_arn} (aws lambda add-permission)"
            ),
        ))
    }
}

fn refused(error: FunctionError) -> Refused {
    let status = match &error {
        FunctionError::NotFound(_) => StatusCode::NOT_FOUND,
        FunctionError::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
        FunctionError::TooManyRequests { .. } => StatusCode::TOO_MANY_REQUESTS,
        FunctionError::Conflict(_) => StatusCode::CONFLICT,
        FunctionError::Invalid(_) | FunctionError::InvalidJson(_) => StatusCode::BAD_REQUEST,
        FunctionError::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
        FunctionError::Failed(_) | FunctionError::Store(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    (status, error.to_string())
}

fn answer(status: StatusCode, payload: Bytes, request_id: &str) -> Response<Body> {
    let mut response = Response::new(whole(payload));
    *response.status_mut() = status;
    if let Ok(request_id) = HeaderValue::from_str(request_id) {
        response.headers_mut().insert("x-amzn-requestid", request_id);
    }
    response
}

fn whole(body: Bytes) -> Body {
    Full::new(body).map_err(|never| match never {}).boxed_unsync()
}

#[expect(clippy::disallowed_methods, reason = "this is the edge where a role's session begins")]
fn now() -> time::OffsetDateTime {
    time::OffsetDateTime::now_utc()
}
