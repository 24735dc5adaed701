//! Invocations: and wait, or not, or only ask whether (<https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html>).

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use frontdesk_functions::{FunctionError, FunctionService, InvokeRequest};
use http::{HeaderValue, Response, StatusCode, header};

use super::Call;

pub(super) async fn invoke(call: &Call, functions: &Arc<FunctionService>) -> Result<Response<Bytes>, FunctionError> {
    let name = call.function()?;
    let kind = call.header("x-amz-invocation-type").unwrap_or("RequestResponse");
    let request = InvokeRequest {
        name: name.clone(),
        payload: call.body.clone(),
        trace_id: call.header("x-amzn-trace-id").map(str::to_owned),
        client_context: client_context(call)?,
    };
    match kind {
        "RequestResponse" => {
            let invoked = functions.invoke(request).await?;
            let mut response = Response::new(invoked.payload);
            put(&mut response, header::CONTENT_TYPE.as_str(), "application/json");
            put(&mut response, "x-amzn-requestid", &invoked.request_id);
            put(&mut response, "x-amz-executed-version", &invoked.executed_version);
            if invoked.is_error {
                put(&mut response, "x-amz-function-error", "Unhandled");
            }
            if call.header("x-amz-log-type").is_some_and(|kind| kind == "Tail") {
                put(&mut response, "x-amz-log-result", &STANDARD.encode(invoked.log_tail));
            }
            Ok(response)
        }
        "Event" => {
            let request_id = functions.send_event(request)?;
            let mut response = Response::new(Bytes::new());
            *response.status_mut() = StatusCode::ACCEPTED;
            put(&mut response, "x-amzn-requestid", &request_id);
            Ok(response)
        }
        "DryRun" => {
            let version = functions.dry_run(&name)?;
            let mut response = Response::new(Bytes::new());
            *response.status_mut() = StatusCode::NO_CONTENT;
            put(&mut response, "x-amz-executed-version", &version);
            Ok(response)
        }
        other => Err(FunctionError::Invalid(format!(
            "1 validation error detected: Value '{other}' at 'invocationType' failed to satisfy constraint: Member must satisfy enum value set: \
             [Event, RequestResponse, DryRun]"
        ))),
    }
}

/// JSON in base64, of 3,583 bytes at most.
fn client_context(call: &Call) -> Result<Option<String>, FunctionError> {
    let Some(encoded) = call.header("x-amz-client-context") else { return Ok(None) };
    let decoded = STANDARD.decode(encoded).ok().and_then(|context| String::from_utf8(context).ok());
    let is_json = |context: &String| serde_json::from_str::<serde::de::IgnoredAny>(context).is_ok();
    let context = decoded
        .filter(is_json)
        .ok_or_else(|| FunctionError::InvalidJson("Client context must be a valid Base64-encoded JSON object.".to_owned()))?;
    Ok(Some(context))
}

fn put(response: &mut Response<Bytes>, name: &'static str, value: &str) {
    // What cannot stand in a header is left out; there is nothing of the kind.
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}
