//! One signed call of an AWS service: written in the service's protocol, signed, sent, tried again where that may help, its answer or its error read.
//!
//! What single operations mean is not known here; [`operation`] is the table of those that are called. The official clients are not used: each is a crate that
//! takes a minute to build, and of fifteen services a deployment needs three operations each.

mod account;
mod bucket;
mod credentials;
mod endpoint;
mod error;
mod object;
pub mod operation;
mod recorder;
pub mod service;
mod xml;

use std::collections::BTreeMap;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable as _};
use bytes::{Bytes, BytesMut};
use frontdesk_aws::Credentials;
use frontdesk_aws::sigv4::{self, BodyHash, Scope, SigningKeys};
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use time::OffsetDateTime;

pub use account::Account;
pub use bucket::Bucket;
use credentials::CredentialSource;
use endpoint::Endpoints;
pub use error::{CallError, Refusal, RefusalKind};
pub use object::ObjectVersion;
use operation::Operation;
use recorder::Recorder;
use service::Protocol;
pub use xml::Element;

/// Everything but RFC 3986's unreserved characters, as AWS's signature wants it.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// The same for a parameter that spans segments.
const ENCODED_BUT_SLASHES: &AsciiSet = &ENCODED.remove(b'/');
/// An answer longer than this is none of ours: the largest are pages of log events (1 MB) and packages fetched back.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How long a JSON or query call may take. Uploads have no limit but silence.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// How a caller wants to reach AWS. What is `None` is looked for where every AWS tool looks.
#[derive(Clone, Debug, Default)]
pub struct AwsOptions {
    /// A profile of `~/.aws/config`.
    pub profile: Option<String>,
    /// Such as `eu-west-1`.
    pub region: Option<String>,
    /// One address for every service, in place of AWS: `--endpoint`.
    pub endpoint: Option<String>,
}

/// How often a call that may pass is tried again, and how long apart.
#[derive(Clone, Copy, Debug)]
pub struct Retries {
    /// Attempts after the first.
    pub times_max: usize,
    /// Before the second attempt; doubled for each further one, with jitter.
    pub delay_min: Duration,
    /// No wait is longer.
    pub delay_max: Duration,
}

impl Default for Retries {
    /// Five more attempts within about half a minute: CloudFormation throttles accounts, not callers, so its limits take a while to clear.
    fn default() -> Self {
        Retries { times_max: 5, delay_min: Duration::from_millis(500), delay_max: Duration::from_secs(16) }
    }
}

impl Retries {
    pub(crate) fn backoff(&self) -> ExponentialBuilder {
        let builder = ExponentialBuilder::default().with_min_delay(self.delay_min).with_max_delay(self.delay_max);
        builder.with_max_times(self.times_max).with_jitter()
    }
}

/// An account and a region of AWS, ready to be called.
#[derive(Debug)]
pub struct Aws {
    http: reqwest::Client,
    credentials: CredentialSource,
    region: String,
    endpoints: Endpoints,
    signing_keys: SigningKeys,
    retries: Retries,
    recorder: Recorder,
}

/// A call before it is sent.
#[derive(Clone, Debug)]
pub struct Call<'a> {
    operation: &'static Operation,
    resource: &'a str,
    bucket: Option<&'a str>,
    path: Vec<(&'a str, &'a str)>,
    query: Vec<(&'a str, String)>,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
}

impl<'a> Call<'a> {
    /// A call of `operation` for `resource`, which errors name: "repository `frontdesk`".
    pub fn new(operation: &'static Operation, resource: &'a str) -> Call<'a> {
        Call { operation, resource, bucket: None, path: Vec::new(), query: Vec::new(), headers: Vec::new(), body: Bytes::new() }
    }

    /// S3: the bucket.
    #[must_use]
    pub fn bucket(mut self, bucket: &'a str) -> Self {
        self.bucket = Some(bucket);
        self
    }

    /// Fills the path's `{name}`.
    #[must_use]
    pub fn path(mut self, name: &'a str, value: &'a str) -> Self {
        self.path.push((name, value));
        self
    }

    /// A parameter of the query, or in the query protocol a field: `Tags.member.1.Key`.
    #[must_use]
    pub fn parameter(mut self, name: &'a str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    /// Several of them.
    #[must_use]
    pub fn parameters(mut self, parameters: impl IntoIterator<Item = (&'a str, String)>) -> Self {
        self.query.extend(parameters);
        self
    }

    /// A header that is signed with the rest.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The document of a JSON operation.
    #[must_use]
    pub fn json(self, document: &Value) -> Self {
        self.bytes(document.to_string().into())
    }

    /// The body as it is.
    #[must_use]
    pub fn bytes(mut self, body: Bytes) -> Self {
        self.body = body;
        self
    }
}

/// A service's answer to a call that succeeded.
#[derive(Clone, Debug)]
pub struct Answer {
    action: String,
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    /// 200, as a rule.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// A header's text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body as it came.
    pub fn into_bytes(self) -> Bytes {
        self.body
    }

    /// The JSON document; `{}` for an empty body.
    ///
    /// # Errors
    /// [`CallError::Malformed`] when it is none.
    pub fn json(&self) -> Result<Value, CallError> {
        if self.body.is_empty() {
            return Ok(Value::Object(serde_json::Map::new()));
        }
        serde_json::from_slice(&self.body).map_err(|error| self.malformed(format!("it is not JSON: {error}")))
    }

    /// The XML document's root.
    ///
    /// # Errors
    /// [`CallError::Malformed`] when it is none.
    pub fn xml(&self) -> Result<Element, CallError> {
        let text = std::str::from_utf8(&self.body).map_err(|error| self.malformed(format!("it is not UTF-8: {error}")))?;
        Element::parse(text).map_err(|error| self.malformed(format!("it is not XML: {error}")))
    }

    /// The error that the answer has no `field`.
    pub fn lacks(&self, field: &str) -> CallError {
        self.malformed(format!("it has no `{field}`"))
    }

    /// The error that the answer tells in a way of its own.
    pub fn says(&self, reason: &str) -> CallError {
        self.malformed(reason.to_owned())
    }

    fn malformed(&self, reason: String) -> CallError {
        CallError::Malformed { action: self.action.clone(), reason }
    }
}

impl Aws {
    /// Finds region and endpoints as `options` say, and where credentials come from. Nothing is called yet but what a profile's region needs.
    ///
    /// # Errors
    /// [`CallError::NoRegion`], [`CallError::NoCredentials`] when no provider is set up at all, [`CallError::Client`].
    pub async fn from_environment(options: &AwsOptions) -> Result<Aws, CallError> {
        let config = credentials::load(options.profile.as_deref(), options.region.as_deref()).await;
        let region = config.region().ok_or(CallError::NoRegion)?.to_string();
        let provider = config.credentials_provider().ok_or_else(|| CallError::NoCredentials("no provider is set up".to_owned()))?;
        let endpoints = match &options.endpoint {
            Some(endpoint) => Endpoints { everything: Some(endpoint.clone()), of_service: Vec::new() },
            None => Endpoints { everything: config.endpoint_url().map(str::to_owned), of_service: endpoint_variables() },
        };
        Aws::with(CredentialSource::chain(provider), region, endpoints)
    }

    /// Signs with `credentials`, and calls every service at `endpoint` when there is one.
    ///
    /// # Errors
    /// [`CallError::Client`].
    pub fn new(credentials: Credentials, region: &str, endpoint: Option<&str>) -> Result<Aws, CallError> {
        let endpoints = Endpoints { everything: endpoint.map(str::to_owned), of_service: Vec::new() };
        Aws::with(CredentialSource::Given(credentials), region.to_owned(), endpoints)
    }

    fn with(credentials: CredentialSource, region: String, endpoints: Endpoints) -> Result<Aws, CallError> {
        let authority = |url: &String| url.parse::<http::Uri>().ok().and_then(|url| url.authority().map(ToString::to_string));
        let is_local = endpoints.everything.as_ref().and_then(authority).is_some_and(|host| crate::http_client::is_local(&host));
        let http = crate::http_client::http_client(is_local).map_err(CallError::Client)?;
        let (signing_keys, recorder) = (SigningKeys::new(), Recorder::default());
        Ok(Aws { http, credentials, region, endpoints, signing_keys, retries: Retries::default(), recorder })
    }

    /// The same with other retries.
    #[must_use]
    pub fn with_retries(mut self, retries: Retries) -> Aws {
        self.retries = retries;
        self
    }

    /// Such as `eu-west-1`.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// The address in place of AWS, where there is one for every service.
    pub fn endpoint(&self) -> Option<&str> {
        self.endpoints.everything.as_deref()
    }

    /// How often each IAM action was called so far: `("ecr:CreateRepository", 1)`.
    pub fn calls(&self) -> BTreeMap<String, u64> {
        self.recorder.counts()
    }

    /// Sends one call, and again while the service throttles or fails.
    ///
    /// # Errors
    /// [`CallError`]; a service's own errors are [`CallError::Refused`], with the code to tell them apart by.
    pub async fn send(&self, call: Call<'_>) -> Result<Answer, CallError> {
        let action = call.operation.iam_action();
        let attempt = || self.attempt(&call, &action);
        let told = |error: &CallError, delay: Duration| {
            let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
            tracing::debug!(action, delay_ms, %error, "call is tried again");
        };
        attempt.retry(self.retries.backoff()).when(CallError::is_passing).notify(told).await
    }

    async fn attempt(&self, call: &Call<'_>, action: &str) -> Result<Answer, CallError> {
        let now = now();
        let credentials = self.credentials.credentials(now).await.map_err(CallError::NoCredentials)?;
        let endpoint = self.endpoints.of(call.operation.service, &self.region, call.bucket);
        let unwritable = |reason: String| CallError::Unwritable { action: action.to_owned(), reason };
        let (mut parts, body) = written(call, &endpoint.url).map_err(unwritable)?.into_parts();
        let scope = Scope { region: &endpoint.signing_region, service: call.operation.service.signing_name };
        sigv4::sign(&mut parts, &BodyHash::of(&body), &credentials, scope, &self.signing_keys, now)
            .map_err(|error| unwritable(error.to_string()))?;

        self.recorder.record(call.operation);
        let unreachable = |source: reqwest::Error| CallError::Unreachable {
            action: action.to_owned(),
            url: endpoint.url.clone(),
            source: source.without_url(),
        };
        let mut request = reqwest::Request::try_from(Request::from_parts(parts, body)).map_err(|error| unwritable(error.to_string()))?;
        if call.operation.service.protocol != Protocol::S3 {
            *request.timeout_mut() = Some(CALL_TIMEOUT);
        }
        let mut response = self.http.execute(request).await.map_err(unreachable)?;
        let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            body.extend_from_slice(&chunk);
            if body.len() > ANSWER_BYTES_MAX {
                let reason = format!("it is longer than {ANSWER_BYTES_MAX} bytes");
                return Err(CallError::Malformed { action: action.to_owned(), reason });
            }
        }
        if status.is_success() {
            return Ok(Answer { action: action.to_owned(), status, headers, body: body.freeze() });
        }
        Err(CallError::Refused(Box::new(Refusal::read(call.operation, call.resource, status, &headers, &body))))
    }
}

/// The request of `call` in its service's protocol, unsigned.
fn written(call: &Call<'_>, url: &str) -> Result<Request<Bytes>, String> {
    let Operation { service, name, verb, path, .. } = call.operation;
    let path = filled(path, &call.path)?;
    let parameters = |parameters: &[(&str, String)]| {
        let pairs = parameters.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value)));
        pairs.collect::<Vec<_>>().join("&")
    };
    let mut headers: Vec<(&str, String)> = call.headers.clone();
    let (query, body) = match service.protocol {
        Protocol::Query { version } => {
            headers.push(("content-type", "application/x-www-form-urlencoded; charset=utf-8".to_owned()));
            let mut fields = vec![("Action", (*name).to_owned()), ("Version", version.to_owned())];
            fields.extend_from_slice(&call.query);
            (String::new(), Bytes::from(parameters(&fields)))
        }
        Protocol::Json { target, version } => {
            headers.push(("content-type", format!("application/x-amz-json-{version}")));
            headers.push(("x-amz-target", format!("{target}.{name}")));
            (String::new(), if call.body.is_empty() { Bytes::from_static(b"{}") } else { call.body.clone() })
        }
        Protocol::RestJson => {
            if !call.body.is_empty() && !headers.iter().any(|(name, _)| *name == "content-type") {
                headers.push(("content-type", "application/json".to_owned()));
            }
            // API Gateway answers in HAL otherwise.
            headers.push(("accept", "application/json".to_owned()));
            (parameters(&call.query), call.body.clone())
        }
        Protocol::S3 => (parameters(&call.query), call.body.clone()),
    };
    let mark = if query.is_empty() { "" } else { "?" };
    let mut request = Request::builder().method(verb.clone()).uri(format!("{url}{path}{mark}{query}"));
    for (name, value) in headers {
        let name = HeaderName::try_from(name).map_err(|error| format!("{name}: {error}"))?;
        request = request.header(name.clone(), HeaderValue::try_from(value).map_err(|error| format!("{name}: {error}"))?);
    }
    request.body(body).map_err(|error| error.to_string())
}

/// The path with its parameters filled in, percent-encoded.
fn filled(template: &str, values: &[(&str, &str)]) -> Result<String, String> {
    let mut path = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').ok_or_else(|| format!("`{template}` has an open brace"))?;
        let (name, set) = name.strip_suffix('+').map_or((name, ENCODED), |name| (name, ENCODED_BUT_SLASHES));
        let value = values.iter().find(|(known, _)| *known == name).map(|(_, value)| *value).filter(|value| !value.is_empty());
        let value = value.ok_or_else(|| format!("`{template}` needs a `{name}`"))?;
        path.push_str(before);
        path.extend(utf8_percent_encode(value, set));
        rest = after;
    }
    path.push_str(rest);
    Ok(path)
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

/// `AWS_ENDPOINT_URL_…` of the services that are called, unless `AWS_IGNORE_CONFIGURED_ENDPOINT_URLS` says not to look
/// (<https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html>).
fn endpoint_variables() -> Vec<(&'static str, String)> {
    if std::env::var("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS").is_ok_and(|value| value.eq_ignore_ascii_case("true")) {
        return Vec::new();
    }
    let mut variables: Vec<&str> = operation::OPERATIONS.iter().map(|operation| operation.service.variable).collect();
    variables.sort_unstable();
    variables.dedup();
    let url = |variable| std::env::var(format!("AWS_ENDPOINT_URL_{variable}")).ok().filter(|url| !url.is_empty());
    variables.into_iter().filter_map(|variable| Some((variable, url(variable)?))).collect()
}

#[expect(clippy::disallowed_methods, reason = "this is the edge where a signature's moment is read")]
fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}
