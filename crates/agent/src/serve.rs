//! The way in: loads the knowledge, sets up the model, and serves the AgentCore contract.
//!
//! A call's payload is `{"prompt", "actor_id"?, "thread_id"?}`, its answer
//! `{"result", "actor_id", "thread_id"}`. Questions and answers are never logged.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use agentcore::{App, Context, HandlerError};
use anyhow::Context as _;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::faq::{AgentError, FaqAgent};
use crate::llm::provider::ProviderAccess;
use crate::llm::{Extractive, Model, ModelError, Provider};
use crate::retrieval::model::ModelFiles;
use crate::retrieval::{Faq, Knowledge, KnowledgeOptions, SearchError, SearchKind};
use crate::settings::{AgentSettings, ModelChoice};
use crate::tools::FaqTools;

/// What the model's deadline is earlier than the call's, so that its error can still be told.
const TELLING: Duration = Duration::from_millis(250);

/// Serves the agent on `listener` until `shutdown` completes, then lets calls in flight finish.
///
/// `/ping` answers once the knowledge is loaded. Fails when the FAQ cannot be read, the model cannot
/// be set up, or the listener fails. Missing embedding files are no failure: the search is by
/// keywords then.
pub async fn run(
    listener: TcpListener,
    settings: AgentSettings,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    let began = Instant::now();
    let variable = |name: &str| std::env::var(name).ok();
    let (knowledge, provider) = tokio::try_join!(load_knowledge(&settings), set_up_provider(&settings, variable))?;
    let model = match provider {
        Some(provider) => Model::Provider(Box::new(provider)),
        None => Model::Extractive(Extractive::new(settings.company_name(), knowledge.entries())),
    };
    let search = match knowledge.kind() {
        SearchKind::Semantic => "semantic",
        SearchKind::Keyword => "keyword",
    };
    tracing::info!(
        search,
        model = model.name(),
        entries = knowledge.entries().len(),
        load_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        "Agent ready"
    );
    let agent = FaqAgent::new(model, FaqTools::new(Arc::new(knowledge)), &settings)?;
    let entrypoint = Arc::new(Entrypoint { agent, settings });
    App::new(move |payload, context| entrypoint.clone().invoke(payload, context))
        .run(listener, shutdown)
        .await
        .context("failed to serve the agent")
}

/// Reads the FAQ and makes it searchable, on a thread that may block.
async fn load_knowledge(settings: &AgentSettings) -> anyhow::Result<Knowledge> {
    let faq: PathBuf = settings.faq.clone();
    let model_dir = settings.model_dir.clone();
    let cache_dir = settings.cache_dir.clone();
    let embedding_threads = settings.embedding_threads;
    let load = move || -> anyhow::Result<Knowledge> {
        let model = ModelFiles::locate(&model_dir)?;
        if model.is_none() {
            tracing::warn!(
                model_dir = %model_dir.display(),
                "The embedding model is missing, so the search is by keywords; \
                 `frontdesk model pull` fetches it"
            );
        }
        let options = KnowledgeOptions { model, cache_dir, embedding_threads, ..KnowledgeOptions::default() };
        Ok(Knowledge::open(Faq::read(&faq)?, options)?)
    };
    tokio::task::spawn_blocking(load).await.context("the thread that loads the FAQ panicked")?
}

/// Sets up the language model that the settings choose, `None` for the built-in one; `variable` looks up an environment
/// variable.
async fn set_up_provider(settings: &AgentSettings, variable: impl Fn(&str) -> Option<String>) -> anyhow::Result<Option<Provider>> {
    let ModelChoice::Provider { provider, name } = settings.model.clone().resolve(&variable) else {
        return Ok(None);
    };
    let access = ProviderAccess {
        base_url: settings.base_url.clone(),
        api_key_variable: settings.api_key_variable.clone(),
        timeout: Duration::from_millis(settings.model_timeout_ms),
    };
    Ok(Some(Provider::new(&provider, &name, access, variable).await?))
}

struct Entrypoint {
    agent: FaqAgent,
    settings: AgentSettings,
}

impl Entrypoint {
    async fn invoke(self: Arc<Self>, payload: Value, _: Context) -> Result<Value, HandlerError> {
        let prompt = prompt(&payload, self.settings.prompt_chars_max)?;
        // As in the FAQ agent that this one follows, whatever stands in these fields is echoed.
        let id = |name: &str, default: &str| match payload.get(name) {
            None | Some(Value::Null) => Value::from(default),
            Some(id) => id.clone(),
        };
        let actor_id = id("actor_id", "default-user");
        let thread_id = id("thread_id", "default-session");

        let deadline = Instant::now() + Duration::from_millis(self.settings.deadline_ms);
        let answer = self.agent.answer(prompt, deadline.checked_sub(TELLING).unwrap_or(deadline));
        let result = match tokio::time::timeout_at(deadline, answer).await {
            Ok(answered) => answered.map_err(handler_error)?,
            Err(_) => return Err(HandlerError::http(504, "the agent found no answer in time")),
        };
        Ok(json!({ "result": result, "actor_id": actor_id, "thread_id": thread_id }))
    }
}

/// The question in the payload.
fn prompt(payload: &Value, prompt_chars_max: usize) -> Result<&str, HandlerError> {
    let refusal = |message: String| Err(HandlerError::http(400, message));
    match payload.get("prompt") {
        None | Some(Value::Null) => refusal("Missing required field: prompt".to_owned()),
        Some(Value::String(prompt)) if prompt.trim().is_empty() => refusal("Missing required field: prompt".to_owned()),
        Some(Value::String(prompt)) if prompt.chars().count() > prompt_chars_max => {
            refusal(format!("Field prompt is longer than {prompt_chars_max} characters"))
        }
        Some(Value::String(prompt)) => Ok(prompt),
        Some(_) => refusal("Field prompt must be a string".to_owned()),
    }
}

/// What the caller is told. The texts of these errors are made for that.
fn handler_error(error: AgentError) -> HandlerError {
    let status = match &error {
        AgentError::Model(ModelError::TimedOut { .. }) => 504,
        AgentError::Model(ModelError::RateLimited { .. }) => 503,
        AgentError::Model(_) => 502,
        AgentError::Search(SearchError::Busy) => 503,
        AgentError::Search(_) | AgentError::Graph(_) => 500,
    };
    HandlerError::http(status, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_prompt(payload: Value, expected: Result<&str, &str>) {
        let found = prompt(&payload, 10).map_err(|error| error.to_string());
        assert_eq!(found, expected.map_err(str::to_owned), "{payload}");
    }

    #[test]
    fn the_prompt_is_checked() {
        check_prompt(json!({"prompt": "hi", "other": 1}), Ok("hi"));
        check_prompt(json!({"prompt": "ééééééééé€"}), Ok("ééééééééé€"));
        let missing = Err("Missing required field: prompt");
        for payload in [json!({}), json!([]), json!(null), json!({"prompt": null})] {
            check_prompt(payload, missing);
        }
        check_prompt(json!({"prompt": " \n"}), missing);
        check_prompt(json!({"prompt": 7}), Err("Field prompt must be a string"));
        let long = Err("Field prompt is longer than 10 characters");
        check_prompt(json!({"prompt": "x".repeat(11)}), long);
    }
}
