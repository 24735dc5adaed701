//! Functions behind a method, called as Lambda's Invoke is: with the request's event (AWS_PROXY), or with what the mappings make of the request (AWS).
//!
//! What carries the invocation out the composition root injects. It is asked by an HTTP request in Lambda's own form, `POST /2015-03-31/functions/{ARN}/invocations`, and answers in
//! it: the function's payload, `x-amz-function-error` where it failed, a status of 400 and more where it was not called.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use frontdesk_aws::gateway_event::{EventContext, EventIdentity, FunctionAnswer, GatewayEvent, MalformedAnswer, Unsigned};
use frontdesk_store::{Integration as Definition, IntegrationType};
use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::CompileError;
use super::answer::{AnswerPlan, compile_headers, insert_mapped};
use super::body::{RequestBodies, essence};
use super::facts::{Facts, query_pairs};
use super::http::{ANSWER_BYTES_MAX, tidy, whole};
use super::mapping::Source;
use crate::answer::{GatewayAnswer, extended_request_id};
use crate::context::Variable;
use crate::exchange::ServiceCall;
use crate::integration::{Body, BoxError, Caller, Integration, IntegrationError, RoleArn, SourceMethod};
use crate::route::RouteEntry;

/// Lambda's limit on the payload of an invocation, in bytes: six MB and a little.
const PAYLOAD_BYTES_MAX: usize = 6_291_556;

/// A function behind a method, read once.
pub(crate) struct LambdaBackend {
    service: Arc<dyn Integration>,
    /// As the integration has it, with the stage's variables filled in.
    function_arn: String,
    verb: Method,
    role_arn: Option<RoleArn>,
    timeout: Duration,
    /// For AWS; AWS_PROXY hands on the whole request.
    mapped: Option<Mapped>,
}

#[derive(Debug)]
struct Mapped {
    bodies: RequestBodies,
    headers: Vec<(HeaderName, Source)>,
    answer: AnswerPlan,
}

impl std::fmt::Debug for LambdaBackend {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("LambdaBackend").field("function_arn", &self.function_arn).finish_non_exhaustive()
    }
}

/// What came of a call: the method's answer, and what the service said of the invocation.
pub(crate) struct Called {
    pub(crate) answered: Result<Response<Body>, GatewayAnswer>,
    pub(crate) service: Option<ServiceCall>,
}

/// What the service handed over.
struct Invoked {
    payload: Bytes,
    is_error: bool,
    service: ServiceCall,
}

impl LambdaBackend {
    pub(crate) fn compile(definition: &Definition, function_arn: String, service: Arc<dyn Integration>) -> Result<Self, CompileError> {
        let mapped = match definition.kind {
            IntegrationType::Aws => Some(Mapped {
                bodies: RequestBodies::compile(definition)?,
                headers: compile_headers(&definition.request_parameters, "integration.request.header.")?,
                answer: AnswerPlan::compile(&definition.responses)?,
            }),
            _ => None,
        };
        let verb = definition.http_method.as_deref().unwrap_or_default();
        Ok(LambdaBackend {
            service,
            function_arn,
            verb: verb.parse().map_err(|_| CompileError(format!("{verb} is no HTTP method")))?,
            role_arn: definition.credentials.clone().map(RoleArn),
            timeout: Duration::from_millis(definition.timeout_ms),
            mapped,
        })
    }

    /// Calls the function. `path` is the request's without the stage, `time_left` the gateway's own bound.
    pub(crate) async fn call(&self, body: &Bytes, path: &str, facts: &Facts<'_>, time_left: Duration) -> Called {
        let timeout = self.timeout.min(time_left);
        let invoking = async {
            let request = self.request(body, path, facts, timeout)?;
            self.invoke(request, facts).await
        };
        let invoked = tokio::time::timeout(timeout, invoking).await.unwrap_or(Err(GatewayAnswer::EndpointTimeout));
        let Invoked { payload, is_error, mut service } = match invoked {
            Ok(invoked) => invoked,
            Err(answer) => return Called { answered: Err(answer), service: None },
        };
        if service.status.is_client_error() || service.status.is_server_error() {
            let reason = String::from_utf8_lossy(&payload).into_owned();
            tracing::warn!(request_id = %facts.exchange.request_id, function = self.function_arn, reason, "a function was not called");
            let answer = match service.status {
                StatusCode::PAYLOAD_TOO_LARGE => GatewayAnswer::RequestTooLong,
                _ => GatewayAnswer::InternalServerError,
            };
            service.error = Some(reason);
            return Called { answered: Err(answer), service: Some(service) };
        }
        let answered = match &self.mapped {
            Some(mapped) => return Called { answered: mapped.answer(&payload, is_error, facts), service: Some(service) },
            // A failed function's document is no answer.
            None if is_error => Err("the function failed".to_owned()),
            None => answer_of(&payload, facts).map_err(|error| error.to_string()),
        };
        let answered = answered.map_err(|reason| {
            tracing::warn!(request_id = %facts.exchange.request_id, function = self.function_arn, reason, "a function gave no answer that callers can be given");
            service.error = Some(reason);
            GatewayAnswer::MalformedAnswer
        });
        Called { answered, service: Some(service) }
    }

    fn request(&self, body: &Bytes, path: &str, facts: &Facts<'_>, timeout: Duration) -> Result<Request<Body>, GatewayAnswer> {
        let route = facts.exchange.route.as_ref().ok_or(GatewayAnswer::InternalServerError)?;
        let mut headers = HeaderMap::new();
        let payload = match &self.mapped {
            None if body.len() > PAYLOAD_BYTES_MAX => return Err(GatewayAnswer::RequestTooLong),
            None => event(body, path, facts, route),
            Some(mapped) => {
                insert_mapped(&mut headers, &mapped.headers, facts);
                mapped.bodies.body(body.clone(), facts)?.1
            }
        };
        // Before anybody else reads it: an event is longer than the body that is in it.
        if payload.len() > PAYLOAD_BYTES_MAX {
            return Err(GatewayAnswer::RequestTooLong);
        }
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Ok(trace) = HeaderValue::from_str(&facts.exchange.trace.amzn_trace_id) {
            headers.insert("x-amzn-trace-id", trace);
        }
        let function = utf8_percent_encode(&self.function_arn, NON_ALPHANUMERIC);
        let uri = format!("/2015-03-31/functions/{function}/invocations").parse().map_err(|_| GatewayAnswer::InternalServerError)?;
        let mut request = Request::new(Full::new(payload).map_err(|never| -> BoxError { match never {} }).boxed_unsync());
        (*request.method_mut(), *request.uri_mut(), *request.headers_mut()) = (self.verb.clone(), uri, headers);
        let names = &route.names;
        let source = format!("{}/{}/{}{}", names.api_id, names.stage, facts.exchange.verb, names.resource);
        request.extensions_mut().insert(SourceMethod(source));
        request.extensions_mut().insert(Caller::of(facts.exchange, false, timeout));
        if let Some(role_arn) = &self.role_arn {
            request.extensions_mut().insert(role_arn.clone());
        }
        Ok(request)
    }

    async fn invoke(&self, request: Request<Body>, facts: &Facts<'_>) -> Result<Invoked, GatewayAnswer> {
        let failed = |error: BoxError| {
            let request_id = facts.exchange.request_id;
            tracing::error!(%request_id, function = self.function_arn, error = &*error as &dyn std::error::Error, "a function could not be called");
            GatewayAnswer::InternalServerError
        };
        let response = self.service.call(request).await.map_err(|error| match error {
            IntegrationError::TimedOut => GatewayAnswer::EndpointTimeout,
            IntegrationError::Failed(error) => failed(error),
        })?;
        let (parts, body) = response.into_parts();
        let request_id = parts.headers.get("x-amzn-requestid").and_then(|id| id.to_str().ok()).map(str::to_owned);
        Ok(Invoked {
            payload: whole(body, ANSWER_BYTES_MAX).await.map_err(failed)?,
            is_error: parts.headers.contains_key("x-amz-function-error"),
            service: ServiceCall { status: parts.status, request_id, error: None },
        })
    }
}

impl Mapped {
    /// The integration response is chosen by the error's message; an answer that is none gets the one without a pattern.
    fn answer(&self, payload: &Bytes, is_error: bool, facts: &Facts<'_>) -> Result<Response<Body>, GatewayAnswer> {
        let document: Option<Value> = is_error.then(|| serde_json::from_slice(payload).ok()).flatten();
        let message = document.as_ref().and_then(|document| document["errorMessage"].as_str());
        self.answer.answer(is_error.then(|| message.unwrap_or_default()), None, payload.clone(), facts)
    }
}

/// The event of a request.
fn event(body: &Bytes, path: &str, facts: &Facts<'_>, route: &RouteEntry) -> Bytes {
    let (exchange, names) = (facts.exchange, &route.names);
    let mut headers = facts.headers.clone();
    headers.remove(header::CONTENT_LENGTH);
    let mut insert = |name: &'static str, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    insert("x-forwarded-for", &exchange.source_ip.to_string());
    insert("x-amzn-trace-id", &exchange.trace.amzn_trace_id);
    let key = facts.headers.get("x-api-key").and_then(|key| key.to_str().ok()).filter(|_| route.api_key_required);
    let host = exchange.host.as_deref().unwrap_or_default();
    let query: Vec<_> = query_pairs(facts.query.unwrap_or_default()).collect();
    let event = GatewayEvent {
        resource: &names.resource,
        path,
        verb: exchange.verb.as_str(),
        headers: &headers,
        query: &query,
        path_parameters: facts.path_parameters,
        stage_variables: facts.stage_variables,
        context: EventContext {
            account_id: facts.account_id,
            api_id: &names.api_id,
            deployment_id: &names.deployment_id,
            domain_name: host,
            domain_prefix: host.split_once('.').map_or(host, |(prefix, _)| prefix),
            extended_request_id: extended_request_id(exchange.request_id).to_string(),
            http_method: exchange.verb.as_str(),
            identity: EventIdentity {
                api_key: key,
                api_key_id: exchange.api_key_id.as_ref().map(|id| id.0.as_str()),
                source_ip: exchange.source_ip.to_string(),
                user_agent: exchange.user_agent.as_ref().map(|agent| String::from_utf8_lossy(agent.as_bytes())),
                unsigned: Unsigned::default(),
            },
            path: format!("/{}{path}", names.stage),
            protocol: facts.context(Variable::Protocol),
            request_id: exchange.request_id.to_string(),
            request_time: facts.context(Variable::RequestTime),
            request_time_epoch: exchange.began.unix_ms,
            resource_id: &names.resource_id,
            resource_path: &names.resource,
            stage: &names.stage,
        },
        body,
        is_base64: essence(&headers).is_some_and(|media_type| is_binary(&route.stage.binary_media_types, &media_type)),
    };
    event.document()
}

/// What a function's answer says that the method's is.
fn answer_of(payload: &[u8], facts: &Facts<'_>) -> Result<Response<Body>, MalformedAnswer> {
    let mut answer = FunctionAnswer::read(payload)?;
    let (status, mut headers) = (answer.status, std::mem::take(&mut answer.headers));
    tidy(&mut headers);
    headers.remove(header::CONTENT_LENGTH);
    headers.entry(header::CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
    // API Gateway decodes for callers who want what the API takes for bytes; of several media types that they accept, the first counts.
    let accepted = facts.header("accept").unwrap_or_default();
    let accepted = accepted.split([',', ';']).next().unwrap_or_default().trim().to_ascii_lowercase();
    let types = facts.exchange.route.as_ref().map_or(&[][..], |route| &route.stage.binary_media_types);
    let body = answer.into_body(is_binary(types, &accepted))?;
    let mut response = Response::new(Full::new(body).map_err(|never| -> BoxError { match never {} }).boxed_unsync());
    (*response.status_mut(), *response.headers_mut()) = (status, headers);
    Ok(response)
}

/// Whether an API takes a media type for bytes; its own may be `image/*` or `*/*`.
fn is_binary(types: &[String], media_type: &str) -> bool {
    types.iter().any(|known| match known.strip_suffix("/*") {
        Some("*") => true,
        Some(family) => media_type.split_once('/').is_some_and(|(of, _)| of.eq_ignore_ascii_case(family)),
        None => known.eq_ignore_ascii_case(media_type),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_are_bytes_where_the_api_says_so() {
        let check = |types: &[&str], media_type: &str, expected: bool| {
            let types: Vec<_> = types.iter().map(|text| (*text).to_owned()).collect();
            assert_eq!(is_binary(&types, media_type), expected, "{types:?} {media_type}");
        };
        check(&[], "image/png", false);
        check(&["image/png"], "image/png", true);
        check(&["image/*"], "image/png", true);
        check(&["image/*"], "text/plain", false);
        check(&["*/*"], "", true);
    }
}
