//! Calls of other servers: the integrations HTTP_PROXY (the request as it is) and HTTP (what the mappings make of it).

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use frontdesk_store::{Integration as Definition, IntegrationType};
use frontdesk_upstream::Answer;
use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri, Version, uri};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Body as HttpBody;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use uuid::Uuid;

use super::CompileError;
use super::answer::AnswerPlan;
use super::body::RequestBodies;
use super::facts::{Facts, query_pairs};
use super::mapping::Source;
use super::servers::{Server, Servers};
use super::stream::TimedBody;
use crate::answer::GatewayAnswer;
use crate::context::push_address;
use crate::gathered::Gathered;
use crate::header_names::{API_KEY, APIGATEWAY_API_ID, FORWARDED_FOR, FORWARDED_HOST, REQUEST_ID, TRACE_ID, TRACEPARENT};
use crate::integration::{Body, BoxError, Caller, Integration, IntegrationError, RoleArn};
use crate::path_tree::{leads_out, parameter_name};

/// API Gateway's bound on an answer that is not streamed.
pub(super) const ANSWER_BYTES_MAX: usize = 10 * 1024 * 1024;

/// What a path's segment keeps as it is (RFC 3986, `pchar`).
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b';')
    .remove(b'=')
    .remove(b':')
    .remove(b'@');

/// Headers of an answer that API Gateway hands on under another name, `x-amzn-remapped-…`
/// (<https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-known-issues.html>).
const REMAPPED: [(HeaderName, HeaderName); 3] = [
    (header::DATE, HeaderName::from_static("x-amzn-remapped-date")),
    (header::SERVER, HeaderName::from_static("x-amzn-remapped-server")),
    (header::WWW_AUTHENTICATE, HeaderName::from_static("x-amzn-remapped-www-authenticate")),
];

/// How requests get to a backend.
pub(crate) enum Way {
    /// Over connections of our own.
    Network(Servers),
    /// Through what speaks for a service of AWS, in the name of a role.
    Service(Arc<dyn Integration>, RoleArn),
}

impl std::fmt::Debug for Way {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Way::Network(_) => formatter.write_str("Network"),
            Way::Service(_, role_arn) => formatter.debug_tuple("Service").field(role_arn).finish(),
        }
    }
}

/// A server behind a method, read once.
#[derive(Debug)]
pub(crate) struct HttpBackend {
    way: Way,
    /// Where the URL is the same for every request and connections are our own.
    server: Option<Arc<Server>>,
    /// `None` for the caller's.
    verb: Option<Method>,
    target: Target,
    headers: Vec<(HeaderName, Source)>,
    query: Vec<(String, Source)>,
    is_streaming: bool,
    timeout: Duration,
    /// For HTTP; HTTP_PROXY hands on what there is.
    mapped: Option<Mapped>,
}

#[derive(Debug)]
struct Mapped {
    bodies: RequestBodies,
    answer: AnswerPlan,
}

/// Where a request goes.
#[derive(Debug)]
pub(crate) enum Target {
    /// The same for every request.
    Fixed(Uri),
    /// Made for each one.
    Template(Vec<UriPiece>),
}

#[derive(Debug)]
pub(crate) enum UriPiece {
    Text(String),
    Parameter { source: Source, is_greedy: bool },
    StageVariable(String),
}

impl HttpBackend {
    pub(crate) fn compile(integration: &Definition, resource_path: &str, way: Way) -> Result<HttpBackend, CompileError> {
        let uri = integration.uri.as_deref().ok_or_else(|| CompileError("the integration has no uri".to_owned()))?;
        let (mut headers, mut query, mut path) = (Vec::new(), Vec::new(), HashMap::new());
        for (name, source) in &integration.request_parameters {
            let source = Source::parse(source).map_err(|error| CompileError(error.to_string()))?;
            let (place, name) = name.strip_prefix("integration.request.").and_then(|rest| rest.split_once('.')).unwrap_or(("", name));
            match place {
                "header" => {
                    headers.push((HeaderName::try_from(name).map_err(|_| CompileError(format!("{name} is no header name")))?, source))
                }
                "querystring" => query.push((name.to_owned(), source)),
                "path" => drop(path.insert(name.to_owned(), source)),
                _ => return Err(CompileError(format!("Invalid mapping expression parameter specified: {name}"))),
            }
        }
        let verb = match integration.http_method.as_deref() {
            None | Some("ANY") => None,
            Some(verb) => Some(verb.parse().map_err(|_| CompileError(format!("{verb} is no HTTP method")))?),
        };
        let mapped = match integration.kind {
            IntegrationType::HttpProxy => None,
            _ => Some(Mapped { bodies: RequestBodies::compile(integration)?, answer: AnswerPlan::compile(&integration.responses)? }),
        };
        let target = Target::compile(uri, resource_path, &path)?;
        let server = match (&way, &target) {
            (Way::Network(servers), Target::Fixed(uri)) => servers.of(uri),
            _ => None,
        };
        Ok(HttpBackend {
            way,
            server,
            verb,
            target,
            headers,
            query,
            is_streaming: integration.is_streaming,
            timeout: Duration::from_millis(integration.timeout_ms),
            mapped,
        })
    }

    /// Whether the caller's headers are handed on and asked for nothing else.
    pub(crate) fn takes_the_headers(&self) -> bool {
        self.mapped.is_none() && self.headers.is_empty() && self.query.is_empty() && matches!(self.target, Target::Fixed(_))
    }

    /// Calls the server and answers as it does, or as the mappings say. `headers` are the caller's, where it [takes them](Self::takes_the_headers); `time_left` is the
    /// gateway's own bound for an answer that is not streamed.
    pub(crate) async fn call(
        &self,
        headers: Option<HeaderMap>,
        body: Bytes,
        facts: &Facts<'_>,
        time_left: Duration,
    ) -> Result<Response<Body>, GatewayAnswer> {
        let mut outgoing = self.request(headers, body, facts)?;
        let timeout = if self.is_streaming { self.timeout } else { self.timeout.min(time_left) };
        let calling = pin!(async {
            match &self.way {
                Way::Network(servers) => self.answer(self.send(servers, outgoing, facts.exchange.request_id).await?, facts).await,
                Way::Service(service, role_arn) => {
                    outgoing.extensions_mut().insert(role_arn.clone());
                    outgoing.extensions_mut().insert(Caller::of(facts.exchange, self.is_streaming, timeout));
                    let response = Box::pin(call_service(&**service, *outgoing, facts.exchange.request_id)).await?;
                    self.answer(response, facts).await
                }
            }
        });
        tokio::time::timeout(timeout, calling).await.unwrap_or(Err(GatewayAnswer::EndpointTimeout))
    }

    async fn send(
        &self,
        servers: &Servers,
        outgoing: Box<Request<Full<Bytes>>>,
        request_id: Uuid,
    ) -> Result<Response<Answer<Full<Bytes>>>, GatewayAnswer> {
        let server = self.server.clone().or_else(|| servers.of(outgoing.uri())).ok_or(GatewayAnswer::InternalServerError)?;
        server.send(outgoing).await.map_err(|error| {
            tracing::warn!(%request_id, error = &*error as &dyn std::error::Error, "backend failed");
            GatewayAnswer::EndpointUnreachable
        })
    }

    fn request(&self, headers: Option<HeaderMap>, body: Bytes, facts: &Facts<'_>) -> Result<Box<Request<Full<Bytes>>>, GatewayAnswer> {
        let uri = self.uri(facts)?;
        let verb = self.verb.clone().unwrap_or_else(|| facts.exchange.verb.clone());
        let (mut headers, body) = match &self.mapped {
            None => (headers.unwrap_or_else(|| facts.headers.clone()), body),
            Some(mapped) => {
                let (media_type, body) = mapped.bodies.body(body, facts)?;
                (HeaderMap::from_iter(media_type.map(|media_type| (header::CONTENT_TYPE, media_type))), body)
            }
        };
        match &self.server {
            Some(server) => drop(headers.insert(header::HOST, server.host())),
            None => drop(headers.remove(header::HOST)),
        }
        if !tells_the_length(&headers, body.len()) {
            headers.remove(header::CONTENT_LENGTH);
        }
        // The key opens this door and is no business of what is behind it.
        headers.remove(API_KEY);
        if matches!(self.way, Way::Service(..)) {
            headers.remove(header::CONTENT_LENGTH);
            remove_what_the_role_says(&mut headers);
        }
        self.introduce(&mut headers, facts);
        for (name, source) in &self.headers {
            if let Some(value) = source.value(facts).and_then(|value| HeaderValue::from_str(&value).ok()) {
                headers.insert(name, value);
            }
        }
        let mut request = Box::new(Request::new(Full::new(body)));
        (*request.method_mut(), *request.uri_mut(), *request.headers_mut()) = (verb, uri, headers);
        Ok(request)
    }

    /// What API Gateway tells a backend of the caller.
    fn introduce(&self, headers: &mut HeaderMap, facts: &Facts<'_>) {
        let exchange = facts.exchange;
        let mut insert = |name: HeaderName, value: &str| {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        };
        let mut address = String::with_capacity(39);
        push_address(&mut address, exchange.source_ip);
        insert(FORWARDED_FOR, &address);
        insert(TRACE_ID, &exchange.trace.amzn_trace_id);
        insert(REQUEST_ID, exchange.request_id.hyphenated().encode_lower(&mut uuid::Uuid::encode_buffer()));
        if let Some(route) = &exchange.route {
            insert(APIGATEWAY_API_ID, &route.names.api_id);
        }
        if let Some(host) = &exchange.host {
            insert(FORWARDED_HOST, host);
        }
        headers.insert(TRACEPARENT, exchange.trace.span.header());
    }

    fn uri(&self, facts: &Facts<'_>) -> Result<Uri, GatewayAnswer> {
        let uri = self.target.uri(facts)?;
        let own = uri.query().unwrap_or_default();
        let mut pairs = String::from(own);
        let mut push = |text: &str| {
            if !text.is_empty() {
                pairs.push_str(if pairs.is_empty() { "" } else { "&" });
                pairs.push_str(text);
            }
        };
        if self.mapped.is_none() {
            let is_mapped = |name: &str| self.query.iter().any(|(mapped, _)| mapped == name);
            let query = facts.query.unwrap_or_default();
            match self.query.is_empty() {
                true => push(query),
                false => query.split('&').filter(|pair| !query_pairs(pair).any(|(name, _)| is_mapped(&name))).for_each(&mut push),
            }
        }
        for (name, source) in &self.query {
            if let Some(value) = source.value(facts) {
                let encode = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
                push(&format!("{}={}", encode(name), encode(&value)));
            }
        }
        if pairs == own {
            return Ok(uri);
        }
        let path_and_query = format!("{}?{pairs}", uri.path());
        let mut parts = uri.into_parts();
        parts.path_and_query = Some(uri::PathAndQuery::try_from(path_and_query).map_err(|_| GatewayAnswer::InternalServerError)?);
        Uri::from_parts(parts).map_err(|_| GatewayAnswer::InternalServerError)
    }

    async fn answer<B>(&self, response: Response<B>, facts: &Facts<'_>) -> Result<Response<Body>, GatewayAnswer>
    where
        B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
    {
        let (mut parts, body) = response.into_parts();
        // What the backend speaks is its own business; the caller's connection has its own version.
        parts.version = Version::default();
        if self.is_streaming && self.mapped.is_none() {
            tidy(&mut parts.headers);
            let body = body.map_err(Into::into).boxed_unsync();
            return Ok(Response::from_parts(parts, TimedBody::new(body).boxed_unsync()));
        }
        // An answer is read to its end before it begins here, so that one that breaks off is an error and not half an answer.
        let body = whole(body, ANSWER_BYTES_MAX).await.map_err(|error| {
            tracing::warn!(request_id = %facts.exchange.request_id, error = &*error as &dyn std::error::Error, "backend's answer is not whole");
            GatewayAnswer::EndpointUnreachable
        })?;
        match &self.mapped {
            Some(mapped) => mapped.answer.answer(Some(parts.status.as_str()), Some(&parts.headers), body, facts),
            None => {
                tidy(&mut parts.headers);
                parts.headers.remove(header::CONTENT_LENGTH);
                Ok(Response::from_parts(parts, Full::new(body).map_err(|never| match never {}).boxed_unsync()))
            }
        }
    }
}

/// Calls what speaks for a service of AWS.
async fn call_service(service: &dyn Integration, request: Request<Full<Bytes>>, request_id: Uuid) -> Result<Response<Body>, GatewayAnswer> {
    let request = request.map(|body| body.map_err(|never| match never {}).boxed_unsync());
    service.call(request).await.map_err(|error| match error {
        IntegrationError::TimedOut => GatewayAnswer::EndpointTimeout,
        IntegrationError::Failed(error) => {
            tracing::error!(%request_id, error = &*error as &dyn std::error::Error, "a service of AWS could not be called");
            GatewayAnswer::InternalServerError
        }
    })
}

/// Reads a body that must not be longer than this.
pub(crate) async fn whole<B>(mut body: B, bytes_max: usize) -> Result<Bytes, BoxError>
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    let mut whole = Gathered::default();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(Into::into)?.into_data() else { continue };
        if whole.len() + data.len() > bytes_max {
            return Err(format!("it is longer than {bytes_max} bytes").into());
        }
        whole.push(data);
    }
    Ok(whole.into_bytes())
}

/// Takes out what speaks of the connection (the headers that always do, and those that `Connection` names) and what else is named.
pub(crate) fn remove_hop_by_hop(headers: &mut HeaderMap, is_another: impl Fn(&str) -> bool) {
    let named = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    // These two are no header's name, or one that goes anyway.
    let named = named.map(str::trim).filter(|name| !["close", "keep-alive"].iter().any(|usual| usual.eq_ignore_ascii_case(name)));
    let named: Vec<HeaderName> = named.filter_map(|name| name.parse().ok()).collect();
    remove_those(headers, |name| speaks_of_the_connection(name.as_str()) || is_another(name.as_str()) || named.contains(name));
}

/// Headers that speak of one connection (RFC 9110, 7.6.1).
fn speaks_of_the_connection(name: &str) -> bool {
    matches!(name, "connection" | "keep-alive" | "proxy-authenticate" | "te" | "trailer" | "transfer-encoding" | "upgrade")
}

/// Takes headers out by their names. Most requests have few headers, and next to none of what is looked for.
fn remove_those(headers: &mut HeaderMap, is_one: impl Fn(&HeaderName) -> bool) {
    while let Some(name) = headers.keys().find(|name| is_one(name)).cloned() {
        headers.remove(name);
    }
}

/// Whether the length of a body is told once and as it is. hyper tells it where nobody does.
fn tells_the_length(headers: &HeaderMap, bytes: usize) -> bool {
    let mut told = headers.get_all(header::CONTENT_LENGTH).iter();
    told.next().is_some_and(|told| told.as_bytes() == itoa::Buffer::new().format(bytes).as_bytes()) && told.next().is_none()
}

/// Takes out what a role signs for, and what tells a service whose session a request belongs to: a caller has no say in either, unless the integration maps
/// a header of its choice.
fn remove_what_the_role_says(headers: &mut HeaderMap) {
    remove_those(headers, |name| {
        *name == header::AUTHORIZATION || ["x-amz-", "x-amzn-bedrock-agentcore-"].iter().any(|prefix| name.as_str().starts_with(prefix))
    });
}

/// Takes out of an answer's headers what speaks of the connection, and renames what API Gateway renames.
pub(super) fn tidy(headers: &mut HeaderMap) {
    remove_hop_by_hop(headers, |_| false);
    for (name, remapped) in &REMAPPED {
        if let Some(value) = headers.remove(name) {
            headers.insert(remapped, value);
        }
    }
}

impl Target {
    /// The URL for a request.
    ///
    /// # Errors
    /// [`GatewayAnswer::BadParameters`] for a value of the caller's that would name another place; [`GatewayAnswer::InternalServerError`] where what it is made of
    /// is not there, or makes none.
    pub(crate) fn uri(&self, facts: &Facts<'_>) -> Result<Uri, GatewayAnswer> {
        match self {
            Target::Fixed(uri) => Ok(uri.clone()),
            Target::Template(pieces) => {
                let text: String = pieces.iter().map(|piece| piece.text(facts)).collect::<Result<_, _>>()?;
                text.parse().map_err(|_| GatewayAnswer::InternalServerError)
            }
        }
    }

    pub(crate) fn compile(uri: &str, resource_path: &str, path: &HashMap<String, Source>) -> Result<Target, CompileError> {
        let greedy = resource_path.rsplit('/').next().and_then(parameter_name).and_then(|name| name.strip_suffix('+'));
        let (mut pieces, mut rest) = (Vec::new(), uri);
        while let Some(open) = rest.find('{') {
            let close = rest[open..].find('}').ok_or_else(|| CompileError(format!("a {{ is not closed in {uri}")))? + open;
            let name = &rest[open + 1..close];
            let is_variable = rest[..open].ends_with('$');
            pieces.push(UriPiece::Text(rest[..open].trim_end_matches(|letter| is_variable && letter == '$').to_owned()));
            pieces.push(if is_variable {
                let name = name.strip_prefix("stageVariables.").ok_or_else(|| CompileError(format!("${{{name}}} is no stage variable")))?;
                UriPiece::StageVariable(name.to_owned())
            } else {
                let source = path.get(name).cloned().unwrap_or_else(|| Source::Path(name.to_owned()));
                let is_greedy = matches!((&source, greedy), (Source::Path(name), Some(greedy)) if name == greedy);
                UriPiece::Parameter { source, is_greedy }
            });
            rest = &rest[close + 1..];
        }
        if !pieces.is_empty() {
            pieces.push(UriPiece::Text(rest.to_owned()));
            return Ok(Target::Template(pieces));
        }
        let uri: Uri = uri.parse().map_err(|error| CompileError(format!("{uri} is no URL: {error}")))?;
        match (uri.scheme_str(), uri.authority()) {
            (Some("http" | "https"), Some(_)) => Ok(Target::Fixed(uri)),
            _ => Err(CompileError("Invalid HTTP endpoint specified for URI".to_owned())),
        }
    }
}

impl UriPiece {
    fn text(&self, facts: &Facts<'_>) -> Result<String, GatewayAnswer> {
        let absent = GatewayAnswer::InternalServerError;
        match self {
            UriPiece::Text(text) => Ok(text.clone()),
            UriPiece::StageVariable(name) => facts.stage_variable(name).map(str::to_owned).ok_or(absent),
            UriPiece::Parameter { source, is_greedy } => {
                let value = source.value(facts).ok_or(absent)?;
                // Parts of the path were looked at when its method was found; a query or a header says what it likes.
                if leads_out(&value) {
                    return Err(GatewayAnswer::BadParameters);
                }
                let encode = |segment: &str| utf8_percent_encode(segment, SEGMENT).to_string();
                Ok(if *is_greedy { value.split('/').map(encode).collect::<Vec<_>>().join("/") } else { encode(&value) })
            }
        }
    }
}
