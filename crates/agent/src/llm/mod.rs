//! Models: given the conversation and the tools, say something or ask for tools to be called.
//!
//! Two are here: a language model of some provider, and the built-in extractive model, which plays
//! the same part without one. The graph does not know which it has.

pub mod extractive;
mod plan;
pub mod provider;
mod small_talk;
mod vocabulary;

use std::sync::Arc;
use std::time::Duration;

use agentcore::trace::{SpanKind, SpanParent};
use tokio::time::Instant;

use crate::graph::Events;
use crate::message::{AssistantMessage, Message, Progress};
use crate::tools::ToolSpecification;

pub use extractive::Extractive;
pub use provider::Provider;

/// One question to a model.
#[derive(Debug, Clone, Copy)]
pub struct ModelRequest<'a> {
    /// Who the model is and how it should answer.
    pub system_prompt: &'a str,
    /// The conversation so far, oldest first.
    pub messages: &'a [Message],
    /// The tools that it may ask for.
    pub tools: &'a [ToolSpecification],
    /// When there must be an answer or an error.
    pub deadline: Instant,
    /// The span that the question belongs to.
    pub span: &'a SpanParent,
}

/// The model that answers.
#[derive(Debug)]
pub enum Model {
    /// The built-in one.
    Extractive(Box<Extractive>),
    /// A language model over the network.
    Provider(Arc<Provider>),
}

impl Model {
    /// The model's next turn; its text is told to `events` while it comes.
    pub async fn invoke(&self, request: ModelRequest<'_>, events: &Events<Progress>) -> Result<AssistantMessage, ModelError> {
        match self {
            Model::Extractive(extractive) => {
                let mut span = request.span.child(|| "chat extractive", SpanKind::Internal);
                span.set("gen_ai.operation.name", || "chat");
                span.set("gen_ai.provider.name", || "frontdesk");
                span.set("gen_ai.request.model", || "extractive");
                let message = extractive.answer(request.messages);
                drop(span);
                // It is known at once as a whole; a line at a time reads like any other stream.
                for line in message.text.split_inclusive('\n') {
                    events.progress(Progress::Token(line.to_owned())).await;
                }
                Ok(message)
            }
            Model::Provider(provider) => provider.complete(request, events).await,
        }
    }

    /// Its name as in settings: `extractive` or `PROVIDER:NAME`.
    pub fn name(&self) -> &str {
        match self {
            Model::Extractive(_) => "extractive",
            Model::Provider(provider) => provider.name(),
        }
    }
}

/// Why a model gave no answer. The texts reach callers and hold neither key nor prompt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// No answer in time.
    #[error("the language model {model} did not answer within {} s", waited.as_secs_f32().round())]
    TimedOut {
        /// The model.
        model: String,
        /// How long the last attempt waited.
        waited: Duration,
    },
    /// Too many requests, and no time left to wait.
    #[error("the language model {model} turns requests away for now{}", retry_hint(*retry_after))]
    RateLimited {
        /// The model.
        model: String,
        /// How long the provider asks to wait.
        retry_after: Option<Duration>,
    },
    /// The endpoint cannot be reached, breaks off, or answers 5xx, also when tried again.
    #[error("the language model {model} is not available: {reason}")]
    Unavailable {
        /// The model.
        model: String,
        /// What was seen.
        reason: String,
    },
    /// The endpoint will not serve this request however often it is sent: a wrong key, an unknown
    /// model.
    #[error("the language model {model} refused the request: {reason}")]
    Refused {
        /// The model.
        model: String,
        /// The status, and the provider's message.
        reason: String,
    },
    /// The answer makes no sense.
    #[error("the language model {model} gave an answer that cannot be read: {reason}")]
    Unreadable {
        /// The model.
        model: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl ModelError {
    /// The kind of failure in a word.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            ModelError::TimedOut { .. } => "timeout",
            ModelError::RateLimited { .. } => "rate_limited",
            ModelError::Unavailable { .. } => "unavailable",
            ModelError::Refused { .. } => "refused",
            ModelError::Unreadable { .. } => "unreadable",
        }
    }
}

fn retry_hint(retry_after: Option<Duration>) -> String {
    retry_after.map_or_else(String::new, |wait| format!("; it asks to wait {} s", wait.as_secs_f32().ceil()))
}
