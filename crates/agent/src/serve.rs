//! The way in: has the knowledge loaded, sets up the model, and serves the AgentCore contract.
//!
//! A call's payload is `{"prompt", "actor_id"?, "thread_id"?, "stream"?}`, its answer `{"result", "actor_id", "thread_id"}`. With
//! `"stream": true` it is answered as server-sent events: `{"delta"}` for each piece of the text, `{"tool_call": {"id", "name",
//! "arguments"}}` and `{"tool_result": {"id", "ok"}}` around each search, and at the end the same object as without. Questions and
//! answers are never logged.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use agentcore::trace::Spans;
use agentcore::{Answer, App, Context, HandlerError, PingStatus};
use anyhow::Context as _;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::faq::{AgentError, Question};
use crate::graph::{Event, Events};
use crate::llm::provider::ProviderAccess;
use crate::llm::{ModelError, Provider};
use crate::loading::{self, Assembly, Current, LoadedAgent, Loading};
use crate::message::Progress;
use crate::retrieval::watch::FaqWatch;
use crate::retrieval::{Faq, Knowledge, KnowledgeOptions};
use crate::settings::{AgentSettings, ModelChoice};
use crate::threads::ThreadKey;

/// What the model's deadline is earlier than the call's, so that its error can still be told.
const TELLING: Duration = Duration::from_millis(250);
/// What callers are documented to be named for a thread when they name none. Such calls have nothing to do with each other.
const NO_THREAD: [&str; 2] = ["api-session", "default-session"];
/// How many milliseconds are left for the answer, where the caller knows.
const DEADLINE_HEADER: &str = "x-amzn-bedrock-agentcore-runtime-custom-deadline-ms";
/// Events that may wait for a slow reader.
const EVENTS_WAITING_MAX: usize = 16;

/// Serves the agent on `listener` until `shutdown` completes, then lets calls in flight finish.
///
/// `/ping` answers once the FAQ can be searched, by keywords if the making of its vectors takes longer than
/// the settings want to wait; as long as vectors are being made it says `HealthyBusy`. Fails when the FAQ cannot be read, the model cannot
/// be set up, or the listener fails. Missing embedding files are no failure: the search is by
/// keywords then. When the FAQ's files change they are read anew; calls in flight keep the old ones.
/// `spans` are told of each call, and below it of what the model and the tools were asked.
pub async fn run(
    listener: TcpListener,
    settings: AgentSettings,
    spans: Spans,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    let began = Instant::now();
    let variable = |name: &str| std::env::var(name).ok();
    let watch = FaqWatch::of(&settings.faq);
    let ((faq, embedding_model), provider) = tokio::try_join!(loading::read(&settings), set_up_provider(&settings, variable))?;
    let loading = Loading::begin(faq, embedding_model.clone(), &settings).await?;
    let assembly = Assembly { provider: provider.map(Arc::new), threads: Arc::default(), settings };
    let (current, rest) = Current::begin(assembly, loading).await?;
    let current = Arc::new(current);
    let agent = current.agent();
    tracing::info!(
        search = agent.knowledge.kind().name(),
        model = agent.model,
        entries = agent.knowledge.entries().len(),
        load_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        "Agent ready"
    );
    drop(agent);
    let keeping = tokio::spawn(current.clone().keep(embedding_model, watch, rest));
    let pinged = current.clone();
    let ping = move || if pinged.is_embedding() { PingStatus::HealthyBusy } else { PingStatus::Healthy };
    let entrypoint = Arc::new(Entrypoint { current });
    let handler = move |payload, context| entrypoint.clone().invoke(payload, context);
    let served = App::new(handler).ping(ping).spans(spans).run(listener, shutdown).await.context("failed to serve the agent");
    keeping.abort();
    served
}

/// The agent's graph as a Mermaid flowchart, as `frontdesk agent --graph` prints it.
pub fn graph_drawing() -> anyhow::Result<String> {
    let settings = AgentSettings::default();
    let assembly = Assembly { provider: None, threads: Arc::default(), settings };
    let knowledge = Knowledge::open(Faq::from_entries(Vec::new()), KnowledgeOptions::default())?;
    Ok(assembly.agent(knowledge)?.faq.to_mermaid())
}

/// Sets up the language model that the settings choose, `None` for the built-in one; `variable` looks up an environment
/// variable.
async fn set_up_provider(settings: &AgentSettings, variable: impl Fn(&str) -> Option<String>) -> anyhow::Result<Option<Provider>> {
    // `auto` looks for a key only, wherever it has come from.
    let key_or_variable = |name: &str| settings.api_key.as_ref().map(|key| key.expose().to_owned()).or_else(|| variable(name));
    let ModelChoice::Provider { provider, name } = settings.model.clone().resolve(key_or_variable) else {
        return Ok(None);
    };
    let access = ProviderAccess {
        base_url: settings.base_url.clone(),
        api_key_variable: settings.api_key_variable.clone(),
        api_key: settings.api_key.clone(),
        timeout: Duration::from_millis(settings.model_timeout_ms),
    };
    Ok(Some(Provider::new(&provider, &name, access, variable).await?))
}

struct Entrypoint {
    current: Arc<Current>,
}

impl Entrypoint {
    async fn invoke(self: Arc<Self>, payload: Value, context: Context) -> Result<Answer, HandlerError> {
        let settings = self.current.settings();
        let text = prompt(&payload, settings.prompt_chars_max)?.to_owned();
        // As in the FAQ agent that this one follows, whatever stands in these fields is echoed.
        let id = |name: &str, default: &str| match payload.get(name) {
            None | Some(Value::Null) => Value::from(default),
            Some(id) => id.clone(),
        };
        let actor_id = id("actor_id", "default-user");
        let thread_id = id("thread_id", "default-session");
        let thread = thread(context.session_id.clone(), &actor_id, &thread_id);
        let deadline = Instant::now()
            + Duration::from_millis(time_left_ms(&context).map_or(settings.deadline_ms, |left| left.min(settings.deadline_ms)));
        let question = Question { text, thread, deadline: deadline.checked_sub(TELLING).unwrap_or(deadline), span: context.span };
        let document = move |result: String| json!({ "result": result, "actor_id": actor_id, "thread_id": thread_id });

        let agent = self.current.agent();
        if payload.get("stream") != Some(&Value::Bool(true)) {
            let result = answer(&agent, &question, deadline, &Events::unwatched()).await?;
            return Ok(document(result).into());
        }
        Ok(Answer::stream(async move |stream| {
            let (sender, mut receiver) = mpsc::channel(EVENTS_WAITING_MAX);
            let answering = async move {
                let events = Events::to(sender);
                answer(&agent, &question, deadline, &events).await
            };
            let telling = async {
                while let Some(event) = receiver.recv().await {
                    if let Event::Progress(progress) = event {
                        stream.send(told(progress)).await;
                    }
                }
            };
            let (answered, ()) = tokio::join!(answering, telling);
            stream.send(document(answered?)).await;
            Ok(())
        }))
    }
}

async fn answer(agent: &LoadedAgent, question: &Question, deadline: Instant, events: &Events<Progress>) -> Result<String, HandlerError> {
    match tokio::time::timeout_at(deadline, agent.faq.answer(question, events)).await {
        Ok(answered) => answered.map_err(handler_error),
        Err(_) => Err(HandlerError::http(504, "the agent found no answer in time")),
    }
}

/// What the call says is left for its answer.
fn time_left_ms(context: &Context) -> Option<u64> {
    context.headers.get(DEADLINE_HEADER)?.to_str().ok()?.parse().ok()
}

/// The event that tells a reader of `progress`.
fn told(progress: Progress) -> Value {
    match progress {
        Progress::Token(text) => json!({ "delta": text }),
        Progress::ToolCalled(call) => json!({ "tool_call": { "id": call.id, "name": call.name, "arguments": call.arguments } }),
        Progress::ToolAnswered { call_id, is_ok } => json!({ "tool_result": { "id": call_id, "ok": is_ok } }),
    }
}

/// The conversation that a call belongs to; none when it names none.
fn thread(session_id: Option<String>, actor_id: &Value, thread_id: &Value) -> Option<ThreadKey> {
    let name = |id: &Value| id.as_str().map_or_else(|| id.to_string(), str::to_owned);
    let thread_id = name(thread_id);
    if thread_id.is_empty() || NO_THREAD.contains(&thread_id.as_str()) {
        return None;
    }
    Some(ThreadKey { session_id: session_id.unwrap_or_default(), actor_id: name(actor_id), thread_id })
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
        AgentError::ThreadBusy => 504,
        AgentError::Graph(_) => 500,
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
    fn a_call_that_names_no_thread_has_none() {
        let key = |session: Option<&str>, actor: Value, thread_id: Value| thread(session.map(str::to_owned), &actor, &thread_id);
        assert_eq!(key(Some("s"), json!("a"), json!("api-session")), None);
        assert_eq!(key(Some("s"), json!("a"), json!("default-session")), None);
        assert_eq!(key(Some("s"), json!("a"), json!("")), None);
        let named = ThreadKey { session_id: "s".to_owned(), actor_id: "a".to_owned(), thread_id: "7".to_owned() };
        assert_eq!(key(Some("s"), json!("a"), json!("7")), Some(named.clone()));
        assert_eq!(key(Some("s"), json!("a"), json!(7)), Some(named));
    }

    #[test]
    fn the_drawing_shows_the_turns_of_assistant_and_tools() {
        let expected = "flowchart TD\n    start([start]) --> assistant[assistant]\n    assistant[assistant] -.-> tools[tools]\n    \
                        assistant[assistant] -.-> finish([end])\n    tools[tools] --> assistant[assistant]\n";
        assert_eq!(graph_drawing().unwrap(), expected);
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
