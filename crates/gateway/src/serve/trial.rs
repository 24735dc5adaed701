//! A method tried as it is being edited (TestInvokeMethod): what is behind it is called as for any caller, and nobody's key, speed or allowance is asked or counted
//! (<https://docs.aws.amazon.com/apigateway/latest/developerguide/how-to-test-method.html>).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::time::Duration;

use bytes::Bytes;
use frontdesk_trace::Trace;
use http::{HeaderMap, Method, Request, StatusCode, Version};
use time::OffsetDateTime;
use time::macros::format_description;

use super::{Gateway, head_of, insert, instant};
use crate::answer::{GatewayAnswer, allow_any_origin};
use crate::apis::{ApiError, TriedMethod};
use crate::backend::{query_pairs, whole};
use crate::exchange::Exchange;
use crate::header_names::TRACE_ID;
use crate::route::Route;

/// How much of a body stands in the log, in bytes, as at API Gateway.
const LOGGED_BYTES_MAX: usize = 1024;

/// A request that no network carried.
#[derive(Debug, Clone)]
pub struct Trial {
    /// The API's id.
    pub api_id: String,
    /// The resource's id.
    pub resource_id: String,
    /// The verb.
    pub verb: Method,
    /// Path and query; by default the resource's own path.
    pub path_and_query: Option<String>,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// What the stage would have.
    pub stage_variables: BTreeMap<String, String>,
}

/// What came of it.
#[derive(Debug)]
pub struct Tried {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
    /// How long it took.
    pub latency: Duration,
    /// What happened, a line each, in the words of API Gateway's execution log.
    pub log: String,
}

impl Gateway {
    /// Tries a method.
    ///
    /// # Errors
    /// [`ApiError::NotFound`], and [`ApiError::BadRequest`] for a path that is not one of the resource's.
    pub async fn try_method(&self, trial: Trial) -> Result<Tried, ApiError> {
        let Trial { api_id, resource_id, verb, path_and_query, headers, body, stage_variables } = trial;
        let path_and_query = path_and_query.filter(|given| !given.is_empty()).map(|given| format!("/{}", given.trim_start_matches('/')));
        let (path, query) = match path_and_query.as_deref().map(|given| given.split_once('?').unwrap_or((given, ""))) {
            Some((path, query)) => (Some(path.to_owned()), query.to_owned()),
            None => (None, String::new()),
        };
        let tried = TriedMethod { api_id, resource_id, verb: verb.to_string(), path, variables: stage_variables };
        let apis = self.apis.clone();
        let found = tokio::task::spawn_blocking(move || apis.trial_route(&tried)).await;
        let (route, unserved) = found.expect("finding a route does not panic")?;
        let uri = if query.is_empty() { route.path.clone() } else { format!("{}?{query}", route.path) };
        let uri = http::Uri::try_from(uri).map_err(|error| ApiError::BadRequest(format!("Invalid path with query string: {error}")))?;
        let mut request = Request::new(body);
        (*request.method_mut(), *request.uri_mut(), *request.headers_mut()) = (verb, uri, headers);
        Ok(self.tried(&route, request, &query, unserved).await)
    }

    async fn tried(&self, route: &Route, request: Request<Bytes>, query: &str, unserved: Option<String>) -> Tried {
        let (arrived, began) = (instant(), self.now());
        let request_id = uuid::Uuid::new_v4();
        let mut exchange = Exchange {
            request_id,
            trace: Trace::of(request.headers(), request_id, began.unix_seconds()),
            began,
            source_ip: Ipv4Addr::LOCALHOST.into(),
            version: Version::HTTP_11,
            verb: request.method().clone(),
            path: route.path.clone(),
            host: None,
            user_agent: request.headers().get(http::header::USER_AGENT).cloned(),
            route: Some(route.entry.clone()),
            api_key_id: None,
            refusal: None,
            integration: None,
            cache: None,
            status: StatusCode::OK,
        };
        let mut log = ExecutionLog::new(request_id, began.unix_ms);
        log.request(route, &request, query);
        let head = head_of(&request);
        let (parts, body) = request.into_parts();
        let answered = if body.len() as u64 > self.limits.body_bytes_max {
            Err(GatewayAnswer::RequestTooLong)
        } else if let Ok(_in_flight) = self.in_flight.try_acquire() {
            self.integrate(route, parts, body, &mut exchange).await
        } else {
            Err(GatewayAnswer::Overloaded)
        };
        log.now_ms = self.now().unix_ms;
        if let Some(integrated) = &exchange.integration {
            let status = integrated.status.or(integrated.service.as_ref().map(|service| service.status));
            let status = status.map(|status| format!("Status: {}, ", status.as_u16())).unwrap_or_default();
            log.line(&format!("Received response. {status}Integration latency: {} ms", integrated.latency.as_millis()));
        }
        let was_answered = answered.is_ok();
        let response = match answered {
            Ok(response) => response,
            Err(refusal) => {
                let said = exchange.integration.as_ref().and_then(|integrated| integrated.service.as_ref()?.error.clone());
                log.refused(refusal, said.or(unserved).as_deref());
                let mut response = refusal.response();
                self.in_own_words(refusal, &mut response, &route.entry.stage, &head, &exchange);
                response
            }
        };
        let (mut parts, body) = response.into_parts();
        let answer_bytes_max = usize::try_from(self.limits.body_bytes_max).unwrap_or(usize::MAX);
        let body = whole(body, answer_bytes_max).await.unwrap_or_else(|error| {
            log.line(&format!("Execution failed: the answer did not come to its end: {error}"));
            parts.status = GatewayAnswer::InternalServerError.status();
            Bytes::new()
        });
        if route.entry.is_seeded {
            allow_any_origin(&mut parts.headers);
        }
        insert(&mut parts.headers, TRACE_ID, &exchange.trace.amzn_trace_id);
        log.now_ms = self.now().unix_ms;
        log.response(parts.status, &parts.headers, &body, was_answered);
        Tried { status: parts.status, headers: parts.headers, body, latency: instant().duration_since(arrived), log: log.text }
    }
}

/// What happened, as API Gateway writes it. What it sends to the backend, which it writes too, is not known here.
struct ExecutionLog {
    text: String,
    /// The moment of the lines that come, in Unix milliseconds.
    now_ms: i64,
}

impl ExecutionLog {
    fn new(request_id: uuid::Uuid, now_ms: i64) -> ExecutionLog {
        let mut log = ExecutionLog { text: format!("Execution log for request {request_id}\n"), now_ms };
        log.line(&format!("Starting execution for request: {request_id}"));
        log
    }

    fn line(&mut self, line: &str) {
        let form = format_description!("[weekday repr:short] [month repr:short] [day] [hour]:[minute]:[second] UTC [year]");
        let moment = OffsetDateTime::from_unix_timestamp(self.now_ms.div_euclid(1000)).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let moment = moment.format(form).expect("every moment has a date and a time");
        writeln!(self.text, "{moment} : {line}").expect("a text takes any line");
    }

    fn request(&mut self, route: &Route, request: &Request<Bytes>, query: &str) {
        self.line(&format!("HTTP Method: {}, Resource Path: {}", request.method(), route.entry.names.resource));
        self.line(&format!("Method request path: {}", listed(route.parameters.iter().map(|(name, value)| (name.clone(), value.clone())))));
        self.line(&format!("Method request query string: {}", listed(query_pairs(query))));
        self.line(&format!("Method request headers: {}", listed(texts(request.headers()))));
        self.line(&format!("Method request body before transformations: {}", beginning(request.body())));
    }

    fn refused(&mut self, refusal: GatewayAnswer, reason: Option<&str>) {
        match (refusal, reason) {
            (GatewayAnswer::EndpointTimeout, _) => self.line("Execution failed due to a timeout error"),
            (_, Some(reason)) => self.line(&format!("Execution failed due to configuration error: {reason}")),
            (_, None) => self.line(&format!("Execution failed: {}", refusal.message())),
        }
    }

    fn response(&mut self, status: StatusCode, headers: &HeaderMap, body: &Bytes, was_answered: bool) {
        self.line(&format!("Method response body after transformations: {}", beginning(body)));
        self.line(&format!("Method response headers: {}", listed(texts(headers))));
        if was_answered {
            self.line("Successfully completed execution");
        }
        self.line(&format!("Method completed with status: {}", status.as_u16()));
    }
}

fn texts(headers: &HeaderMap) -> impl Iterator<Item = (String, String)> {
    headers.iter().map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
}

/// `{name=value, other=value}`.
fn listed(pairs: impl Iterator<Item = (String, String)>) -> String {
    let pairs: Vec<String> = pairs.map(|(name, value)| format!("{name}={value}")).collect();
    format!("{{{}}}", pairs.join(", "))
}

/// A body as far as it is logged.
fn beginning(body: &Bytes) -> String {
    let shown = String::from_utf8_lossy(&body[..body.len().min(LOGGED_BYTES_MAX)]);
    if body.len() > LOGGED_BYTES_MAX { format!("{shown} [TRUNCATED]") } else { shown.into_owned() }
}
