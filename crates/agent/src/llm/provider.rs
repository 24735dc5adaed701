//! A language model over the network, by the crate `genai`: Groq, OpenAI, anything that speaks
//! OpenAI's chat completions, Anthropic, Amazon Bedrock, Ollama, and the other providers that the crate knows.
//!
//! Temperature 0; streamed where somebody watches. What may pass is tried again within the deadline: 429
//! (after the time that the provider asks for), 408 and 5xx, a connection that fails or breaks off.
//! Not so a slow answer, which a second attempt would only make slower, nor one of which the watcher
//! has seen a part.

use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use futures_util::StreamExt as _;
use genai::adapter::AdapterKind;
use genai::chat::{ChatMessage, ChatOptions, ChatRequest, ChatStreamEvent, ContentPart, MessageContent, Tool, ToolResponse, Usage};
use genai::resolver::{AuthData, Endpoint};
use genai::{Client, ModelIden, ServiceTarget, webc};
use serde_json::Value;
use tokio::time::Instant;

use agentcore::metrics::{self, Unit};
use agentcore::trace::{Span, SpanKind, SpanParent};

use super::{ModelError, ModelRequest};
use crate::graph::Events;
use crate::message::{AssistantMessage, Message, Progress, ToolCall};
use crate::settings::ApiKey;
use crate::tools::ToolSpecification;

/// How long a connection may take to open: a reachable host answers in a fraction of it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Attempts after the first. With the backoff below they span about three seconds.
const RETRIES_MAX: usize = 4;
const BACKOFF_MIN: Duration = Duration::from_millis(200);
const BACKOFF_MAX: Duration = Duration::from_secs(4);
/// How much of a provider's error message is passed on, in characters.
const REASON_CHARS_MAX: usize = 300;
/// A model that streams for ever is stopped here.
const STREAM_BYTES_MAX: usize = 256 * 1024;
/// Where CloudWatch keeps the agent's metrics.
const METRICS_NAMESPACE: &str = "Frontdesk";
/// What a keyless endpoint is sent as its key: local servers ignore it, but want the header.
const NO_KEY: &str = "none";
/// Amazon Bedrock, by its Converse API, in the region that `AWS_REGION` names (else us-east-1): with a Bedrock API key, else (feature `aws`) signed with the
/// credentials that AWS's own tools would find, as a role's.
const BEDROCK: &str = "bedrock";
/// The variable in which AWS's own SDKs look for a Bedrock API key.
const BEDROCK_KEY: &str = "AWS_BEARER_TOKEN_BEDROCK";

/// A language model of some provider.
pub struct Provider {
    name: String,
    client: Client,
    target: ServiceTarget,
    key: String,
    options: ChatOptions,
    timeout: Duration,
}

/// Where a provider is and how to get in.
pub struct ProviderAccess {
    /// A base URL in place of the provider's own.
    pub base_url: Option<String>,
    /// The variable that holds the key, in place of the provider's usual one.
    pub api_key_variable: Option<String>,
    /// The key itself; goes before the variable.
    pub api_key: Option<ApiKey>,
    /// How long one attempt may take.
    pub timeout: Duration,
}

/// Why a model cannot be used as it is set.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// The part before the colon names no provider.
    #[error("there is no model provider `{0}`; known are groq, openai, anthropic, bedrock, ollama and others")]
    UnknownProvider(String),
    /// The key is nowhere.
    #[error("the model `{model}` needs a key: set the variable {variable}, or choose `extractive`")]
    NoKey {
        /// The model.
        model: String,
        /// The variable that was looked up.
        variable: String,
    },
    /// Neither a Bedrock API key nor credentials of AWS.
    #[cfg(feature = "aws")]
    #[error(
        "the model `{model}` needs AWS credentials, and none were found: give the container or instance a role that allows bedrock:InvokeModel, or set the \
         variable {BEDROCK_KEY}"
    )]
    NoCredentials {
        /// The model.
        model: String,
        /// What was tried.
        #[source]
        source: aws_credential_types::provider::error::CredentialsError,
    },
    /// The base URL is none.
    #[error("the base URL `{0}` is not a URL; it should look like http://localhost:11434/v1")]
    BadBaseUrl(String),
    /// The HTTP client cannot be made.
    #[error("failed to make the HTTP client")]
    Client(#[source] reqwest::Error),
    /// The provider has no address of its own, or another need that was not met.
    #[error("failed to set up the model provider: {0}")]
    Setup(String),
}

/// The variable in which a provider's key is usually found; `None` for an unknown provider and for one that wants no key.
#[must_use]
pub fn usual_key_variable(provider: &str) -> Option<&'static str> {
    if provider == BEDROCK { Some(BEDROCK_KEY) } else { AdapterKind::from_lower_str(provider)?.default_key_env_name() }
}

impl Provider {
    /// Sets up the model `name` of `provider`; `variable` looks up an environment variable. Nothing
    /// is sent yet.
    pub async fn new(
        provider: &str,
        name: &str,
        access: ProviderAccess,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Provider, ProviderError> {
        #[cfg_attr(not(feature = "aws"), expect(unused_mut, reason = "only with AWS credentials is there another way to Bedrock"))]
        let (mut kind, usual_variable) = match provider {
            BEDROCK => (AdapterKind::BedrockApi, Some(BEDROCK_KEY)),
            provider => {
                let kind = AdapterKind::from_lower_str(provider).ok_or_else(|| ProviderError::UnknownProvider(provider.to_owned()))?;
                (kind, kind.default_key_env_name())
            }
        };
        let label = format!("{provider}:{name}");
        let key_variable = access.api_key_variable.as_deref().or(usual_variable);
        let fetched = access.api_key.as_ref().map(|key| key.expose().to_owned());
        let key = match fetched.or_else(|| key_variable.and_then(&variable)).filter(|key| !key.trim().is_empty()) {
            Some(key) => key.trim().to_owned(),
            #[cfg(feature = "aws")]
            None if kind == AdapterKind::BedrockApi && access.api_key_variable.is_none() => {
                match check_credentials(&label).await {
                    Ok(()) => kind = AdapterKind::BedrockSigv4,
                    // As below: it may be open.
                    Err(_) if access.base_url.is_some() => {}
                    Err(none) => return Err(none),
                }
                NO_KEY.to_owned()
            }
            // An endpoint of the user's own may be open. A provider's never is.
            None if access.base_url.is_some() && access.api_key_variable.is_none() => NO_KEY.to_owned(),
            None => match key_variable {
                Some(variable) => {
                    let variable = variable.to_owned();
                    return Err(ProviderError::NoKey { model: label, variable });
                }
                None => NO_KEY.to_owned(),
            },
        };
        crate::tls::choose_crypto_provider();
        let http = reqwest::Client::builder().connect_timeout(CONNECT_TIMEOUT).tcp_nodelay(true);
        // A proxy from the environment is for what lies outside this machine.
        let http = if access.base_url.as_deref().is_some_and(is_local) { http.no_proxy() } else { http };
        let http = http.build().map_err(ProviderError::Client)?;
        let client = Client::builder().with_reqwest(http).build().map_err(setup_error)?;
        let iden = ModelIden::new(kind, name);
        let endpoint = match &access.base_url {
            Some(url) => Endpoint::from_owned(base_url(url)?),
            None => client.resolve_service_target(iden.clone()).await.map_err(setup_error)?.endpoint,
        };
        #[cfg(feature = "aws")]
        let auth = if kind == AdapterKind::BedrockSigv4 { AuthData::None } else { AuthData::from_single(key.clone()) };
        #[cfg(not(feature = "aws"))]
        let auth = AuthData::from_single(key.clone());
        let target = ServiceTarget { endpoint, auth, model: iden };
        let options =
            ChatOptions::default().with_temperature(0.0).with_capture_raw_body(true).with_capture_usage(true).with_capture_tool_calls(true);
        Ok(Provider { name: label, client, target, key, options, timeout: access.timeout })
    }

    /// `PROVIDER:NAME`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The model's next turn, told to `events` while it is made.
    pub async fn complete(&self, request: ModelRequest<'_>, events: &Events<Progress>) -> Result<AssistantMessage, ModelError> {
        let chat = chat_request(request);
        let is_told = AtomicBool::new(false);
        let backoff =
            ExponentialBuilder::default().with_min_delay(BACKOFF_MIN).with_max_delay(BACKOFF_MAX).with_max_times(RETRIES_MAX).with_jitter();
        (|| self.attempt(&chat, request, events, &is_told))
            .retry(backoff)
            .when(|error| is_passing(error) && !is_told.load(Ordering::Relaxed))
            .adjust(|error, delay| {
                let delay = match error {
                    ModelError::RateLimited { retry_after: Some(wait), .. } => delay.map(|delay| delay.max(*wait)),
                    _ => delay,
                };
                // A wait that outlasts the deadline helps nobody: the error is told at once.
                delay.filter(|delay| Instant::now() + *delay < request.deadline)
            })
            .notify(|error, delay| {
                let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
                tracing::warn!(errorMessage = %error, delay_ms, "Language model is asked again");
            })
            .await
    }

    async fn attempt(
        &self,
        chat: &ChatRequest,
        request: ModelRequest<'_>,
        events: &Events<Progress>,
        is_told: &AtomicBool,
    ) -> Result<AssistantMessage, ModelError> {
        let began = Instant::now();
        let limit = request.deadline.min(began + self.timeout);
        let mut span = self.span(request.span);
        let answer = async {
            if events.is_watched() { self.streamed(chat, events, is_told, &mut span).await } else { self.whole(chat, &mut span).await }
        };
        let answer = tokio::time::timeout_at(limit, answer).await;
        let answer = answer.unwrap_or_else(|_| Err(ModelError::TimedOut { model: self.name.clone(), waited: began.elapsed() }));
        if let Err(error) = &answer {
            span.fail(|| error.kind());
        }
        answer
    }

    /// An attempt's span, by OpenTelemetry's conventions for generative models (<https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/>).
    fn span(&self, parent: &SpanParent) -> Span {
        let (provider, model) = self.name.split_once(':').unwrap_or(("", &self.name));
        let mut span = parent.child(|| format!("chat {model}"), SpanKind::Client);
        span.set("gen_ai.operation.name", || "chat");
        span.set("gen_ai.provider.name", || if provider == BEDROCK { "aws.bedrock".to_owned() } else { provider.to_owned() });
        span.set("gen_ai.request.model", || model.to_owned());
        span
    }

    async fn whole(&self, chat: &ChatRequest, span: &mut Span) -> Result<AssistantMessage, ModelError> {
        match self.client.exec_chat(self.target.clone(), chat.clone(), Some(&self.options)).await {
            Ok(response) => {
                let (text, usage) = (response.texts().join("\n"), response.usage.clone());
                self.assistant_message(text, response.into_tool_calls(), &usage, span)
            }
            Err(genai::Error::ChatResponseGeneration { response_body, cause, .. }) => {
                // The crate gives up on tool arguments that are not JSON. The model gets to hear
                // of it through the tool instead.
                lenient_tool_calls(&response_body).ok_or_else(|| self.unreadable(cause))
            }
            Err(error) => Err(self.model_error(error)),
        }
    }

    async fn streamed(
        &self,
        chat: &ChatRequest,
        events: &Events<Progress>,
        is_told: &AtomicBool,
        span: &mut Span,
    ) -> Result<AssistantMessage, ModelError> {
        let response = self.client.exec_chat_stream(self.target.clone(), chat.clone(), Some(&self.options)).await;
        let mut stream = response.map_err(|error| self.model_error(error))?.stream;
        let mut text = String::new();
        while let Some(event) = stream.next().await {
            match event.map_err(|error| self.model_error(error))? {
                ChatStreamEvent::Chunk(chunk) => {
                    text.push_str(&chunk.content);
                    if text.len() > STREAM_BYTES_MAX {
                        return Err(self.unreadable(format!("it is longer than {STREAM_BYTES_MAX} bytes")));
                    }
                    is_told.store(true, Ordering::Relaxed);
                    events.progress(Progress::Token(chunk.content)).await;
                }
                ChatStreamEvent::End(end) => {
                    let usage = end.captured_usage.clone().unwrap_or_default();
                    return self.assistant_message(text, end.captured_into_tool_calls().unwrap_or_default(), &usage, span);
                }
                _ => {}
            }
        }
        Err(ModelError::Unavailable { model: self.name.clone(), reason: "the stream broke off".to_owned() })
    }

    fn assistant_message(
        &self,
        text: String,
        tool_calls: Vec<genai::chat::ToolCall>,
        usage: &Usage,
        span: &mut Span,
    ) -> Result<AssistantMessage, ModelError> {
        for (name, tokens) in [("gen_ai.usage.input_tokens", usage.prompt_tokens), ("gen_ai.usage.output_tokens", usage.completion_tokens)]
        {
            if let Some(tokens) = tokens {
                span.set(name, || i64::from(tokens));
            }
        }
        tracing::info!(
            model = self.name,
            prompt_tokens = usage.prompt_tokens,
            completion_tokens = usage.completion_tokens,
            "Language model answered"
        );
        // As Amazon Bedrock names its own.
        let tokens = [("InputTokenCount", usage.prompt_tokens), ("OutputTokenCount", usage.completion_tokens)];
        let tokens: Vec<_> = tokens.into_iter().filter_map(|(name, tokens)| Some((name, f64::from(tokens?), Unit::Count))).collect();
        let invocations = [("Invocations", 1.0, Unit::Count)];
        metrics::emit(METRICS_NAMESPACE, &[("ModelId", &self.name)], &[&tokens[..], &invocations].concat());
        let tool_calls: Vec<ToolCall> =
            tool_calls.into_iter().map(|call| ToolCall { id: call.call_id, name: call.fn_name, arguments: call.fn_arguments }).collect();
        if text.trim().is_empty() && tool_calls.is_empty() {
            return Err(self.unreadable("it holds neither text nor a tool call"));
        }
        Ok(AssistantMessage { text, tool_calls, sources: Vec::new() })
    }

    fn model_error(&self, error: genai::Error) -> ModelError {
        let model = self.name.clone();
        let error = streams_cause(error);
        if let Some(status) = error.status() {
            let reason = format!("{status}{}", self.provider_message(&error));
            return match status.as_u16() {
                429 => ModelError::RateLimited { model, retry_after: retry_after(&error) },
                408 | 500..=599 => ModelError::Unavailable { model, reason },
                _ => ModelError::Refused { model, reason },
            };
        }
        match error {
            genai::Error::WebModelCall { webc_error, .. } | genai::Error::WebAdapterCall { webc_error, .. } => match webc_error {
                // The URL is left out: it may hold a password.
                webc::Error::Reqwest(error) => ModelError::Unavailable { model, reason: chain(&error.without_url()) },
                webc::Error::ResponseFailedNotJson { content_type, .. } => self.unreadable(format!("its content type is `{content_type}`")),
                webc::Error::ResponseFailedInvalidJson { cause, .. } => self.unreadable(cause),
                _ => self.unreadable("it is not of the expected form"),
            },
            genai::Error::WebStream { .. } => ModelError::Unavailable { model, reason: "the stream broke off".to_owned() },
            genai::Error::StreamParse { serde_error, .. } => self.unreadable(serde_error.to_string()),
            genai::Error::ChatResponse { .. } => ModelError::Unavailable { model, reason: "it reported an error in mid-stream".to_owned() },
            // These are about the request, and their texts may quote it.
            _ => ModelError::Refused { model, reason: "the request cannot be built".to_owned() },
        }
    }

    /// The provider's own words on a failed request, shortened, without the key.
    fn provider_message(&self, error: &genai::Error) -> String {
        let body = match error {
            genai::Error::WebModelCall { webc_error, .. } | genai::Error::WebAdapterCall { webc_error, .. } => match webc_error {
                webc::Error::ResponseFailedStatus { body, .. } => body,
                _ => return String::new(),
            },
            genai::Error::HttpError { body, .. } => body,
            _ => return String::new(),
        };
        let document: Value = serde_json::from_str(body).unwrap_or_default();
        let message = ["/error/message", "/message", "/error"].into_iter().find_map(|path| document.pointer(path)?.as_str());
        let Some(message) = message else { return String::new() };
        let message = if self.key == NO_KEY { message.to_owned() } else { message.replace(&self.key, "…") };
        let message: String = message.chars().take(REASON_CHARS_MAX).collect();
        format!(": {message}")
    }

    fn unreadable(&self, reason: impl Into<String>) -> ModelError {
        ModelError::Unreadable { model: self.name.clone(), reason: reason.into() }
    }
}

impl fmt::Debug for Provider {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Provider").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The refusal with its status that a stream met instead of its first event; any other error as it is.
fn streams_cause(error: genai::Error) -> genai::Error {
    match error {
        genai::Error::WebStream { model_iden, cause, error } => match error.downcast::<genai::Error>() {
            Ok(refusal) => *refusal,
            Err(error) => genai::Error::WebStream { model_iden, cause, error },
        },
        error => error,
    }
}

/// Looks for AWS credentials once, so that a missing role is told at the start and not to the first caller. genai finds them again by itself, and renews them.
#[cfg(feature = "aws")]
async fn check_credentials(model: &str) -> Result<(), ProviderError> {
    use aws_credential_types::provider::ProvideCredentials as _;
    use aws_credential_types::provider::error::CredentialsError;

    let config = aws_config::defaults(aws_config::BehaviorVersion::latest()).load().await;
    let found = match config.credentials_provider() {
        Some(provider) => provider.provide_credentials().await.map(drop),
        None => Err(CredentialsError::not_loaded("no provider is set up")),
    };
    found.map_err(|source| ProviderError::NoCredentials { model: model.to_owned(), source })
}

fn setup_error(error: genai::Error) -> ProviderError {
    ProviderError::Setup(error.to_string())
}

/// `url` with the final slash that joining needs.
fn base_url(url: &str) -> Result<String, ProviderError> {
    match reqwest::Url::parse(url) {
        Ok(parsed) if parsed.has_host() => Ok(format!("{}/", url.trim_end_matches('/'))),
        _ => Err(ProviderError::BadBaseUrl(url.to_owned())),
    }
}

/// Whether `url` is on this machine.
fn is_local(url: &str) -> bool {
    let host = reqwest::Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default();
    host == "localhost" || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Whether the same request may be served a moment later.
fn is_passing(error: &ModelError) -> bool {
    matches!(error, ModelError::RateLimited { .. } | ModelError::Unavailable { .. })
}

/// The wait that a 429 asks for: `retry-after-ms`, else `Retry-After` in seconds (RFC 9110, section
/// 10.2.3; its form as a date is not read, the usual backoff applies then).
fn retry_after(error: &genai::Error) -> Option<Duration> {
    let number = |name: &str| -> Option<f64> { error.headers()?.get(name)?.to_str().ok()?.parse().ok() };
    let seconds = number("retry-after-ms").map(|milliseconds| milliseconds / 1000.0).or_else(|| number("retry-after"))?;
    Duration::try_from_secs_f64(seconds).ok()
}

fn chat_request(request: ModelRequest<'_>) -> ChatRequest {
    let chat = ChatRequest::new(request.messages.iter().map(chat_message).collect()).with_system(request.system_prompt);
    // Some endpoints refuse an empty list.
    if request.tools.is_empty() { chat } else { chat.with_tools(request.tools.iter().map(chat_tool)) }
}

fn chat_tool(tool: &ToolSpecification) -> Tool {
    Tool::new(tool.name).with_description(tool.description).with_schema(tool.parameters.clone())
}

fn chat_message(message: &Message) -> ChatMessage {
    match message {
        Message::Human(text) => ChatMessage::user(text.as_str()),
        Message::Tool(tool) => ToolResponse::new(tool.call_id.as_str(), tool.content.as_str()).with_fn_name(tool.name.as_str()).into(),
        Message::Assistant(assistant) => {
            let mut parts = Vec::new();
            if !assistant.text.is_empty() {
                parts.push(ContentPart::Text(assistant.text.clone()));
            }
            parts.extend(assistant.tool_calls.iter().map(|call| {
                ContentPart::ToolCall(genai::chat::ToolCall {
                    call_id: call.id.clone(),
                    fn_name: call.name.clone(),
                    fn_arguments: call.arguments.clone(),
                    thought_signatures: None,
                })
            }));
            ChatMessage::assistant(MessageContent::from_parts(parts))
        }
    }
}

/// The tool calls of a chat completion whose arguments are not all JSON; such arguments stay text.
/// `None` when the document holds no tool calls.
fn lenient_tool_calls(completion: &Value) -> Option<AssistantMessage> {
    let message = completion.pointer("/choices/0/message")?;
    let tool_calls: Vec<ToolCall> = message
        .get("tool_calls")?
        .as_array()?
        .iter()
        .map(|call| {
            let function = call.get("function")?;
            let arguments = match function.get("arguments")? {
                Value::String(text) => serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.clone())),
                arguments => arguments.clone(),
            };
            Some(ToolCall { id: call.get("id")?.as_str()?.to_owned(), name: function.get("name")?.as_str()?.to_owned(), arguments })
        })
        .collect::<Option<_>>()?;
    if tool_calls.is_empty() {
        return None;
    }
    let text = message.get("content").and_then(Value::as_str).unwrap_or_default().to_owned();
    Some(AssistantMessage { text, tool_calls, sources: Vec::new() })
}

/// An error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
