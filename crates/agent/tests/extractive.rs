//! The agent with its built-in model, over real HTTP: what a caller reads. The search is by keywords, so no embedding model is needed.

mod asking;

use std::future::pending;

use frontdesk_agent::{AgentSettings, ModelChoice, run};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;

const FAQ: &str = "question,answer\n\
    How do I activate roaming?,Dial *123# and choose Roaming.\n\
    How do I pay my bill?,By card or by bank transfer.\n";

/// Sends `payload` to a fresh agent and compares the status and the whole answer.
async fn check(payload: Value, status: u16, expected: Value) {
    let settings = AgentSettings { model: ModelChoice::Extractive, prompt_chars_max: 100, ..AgentSettings::default() };
    let (answered, body) = asking::ask(FAQ, &payload, settings).await;
    assert_eq!((answered, body), (status, expected), "{payload}");
}

#[tokio::test]
async fn a_question_is_answered_in_the_words_of_the_faq() {
    let result = "Dial *123# and choose Roaming.\n\nSource: “How do I activate roaming?”";
    check(
        json!({ "prompt": "Hello! How can I activate roaming?" }),
        200,
        json!({ "result": result, "actor_id": "default-user", "thread_id": "default-session" }),
    )
    .await;
    check(
        json!({ "prompt": "activate roaming", "actor_id": "a-1", "thread_id": 7 }),
        200,
        json!({ "result": result, "actor_id": "a-1", "thread_id": 7 }),
    )
    .await;
}

#[tokio::test]
async fn what_the_faq_does_not_hold_is_declined() {
    let result = "I am sorry, but the Lauki FAQ has no answer to that. Please ask in other words, or contact Lauki's support.";
    check(
        json!({ "prompt": "Give me a recipe for lentil soup" }),
        200,
        json!({ "result": result, "actor_id": "default-user", "thread_id": "default-session" }),
    )
    .await;
}

#[tokio::test]
async fn a_payload_without_a_usable_prompt_is_refused() {
    check(json!({}), 400, json!({ "error": "Missing required field: prompt" })).await;
    check(json!({ "prompt": ["hi"] }), 400, json!({ "error": "Field prompt must be a string" })).await;
    check(json!({ "prompt": "é".repeat(101) }), 400, json!({ "error": "Field prompt is longer than 100 characters" })).await;
}

#[tokio::test]
async fn an_faq_that_is_not_there_ends_the_start() {
    let folder = TempDir::new().unwrap();
    let faq = folder.path().join("missing.csv");
    let settings =
        AgentSettings { faq, model_dir: asking::missing_model(folder.path()), model: ModelChoice::Extractive, ..AgentSettings::default() };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let error = run(listener, settings, pending()).await.unwrap_err();
    assert!(format!("{error:#}").contains("missing.csv"), "{error:#}");
}
