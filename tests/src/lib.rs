//! End-to-end tests and the doubles of the network that they run against.

pub mod agentcore_double;
pub mod aws_cli;
pub mod aws_double;
pub mod collector;
pub mod host;
pub mod llm_double;
pub mod moto;
pub mod postgres;
pub mod runtime_api;
pub mod webhook;

/// The events of a streamed answer: server-sent, without names, each with one JSON document.
///
/// # Panics
/// If `body` is anything else.
pub fn events(body: &str) -> Vec<serde_json::Value> {
    let event = |event: &str| serde_json::from_str(event.strip_prefix("data: ").expect("an event")).expect("its data is JSON");
    body.split_terminator("\n\n").map(event).collect()
}
