//! The SDK for writing an Amazon Bedrock AgentCore agent in Rust.
//!
//! An async function becomes a program that keeps the AgentCore container contract: `POST /invocations`, `GET /ping`, streamed
//! answers, background tasks, a graceful end. It knows no agent, no model and no host.
//!
//! ```no_run
//! use frontdesk_agentcore::{Answer, App, Context, HandlerError};
//! use serde_json::{Value, json};
//!
//! async fn echo(payload: Value, context: Context) -> Result<Answer, HandlerError> {
//!     Ok(json!({ "echo": payload, "session": context.session_id }).into())
//! }
//!
//! #[tokio::main]
//! async fn main() -> std::io::Result<()> {
//!     let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
//!     let interrupted = async { tokio::signal::ctrl_c().await.expect("the signal handler can be installed") };
//!     App::new(echo).run(listener, interrupted).await
//! }
//! ```
//!
//! A streamed answer is an async block that sends items; each becomes one server-sent event. When the caller goes away the block
//! is dropped at its next `.await`:
//!
//! ```
//! use frontdesk_agentcore::{Answer, Context, HandlerError};
//! use serde_json::{Value, json};
//!
//! async fn count(payload: Value, _context: Context) -> Result<Answer, HandlerError> {
//!     let last = payload["count"].as_u64().ok_or_else(|| HandlerError::http(400, "count must be a number"))?;
//!     Ok(Answer::stream(async move |events| {
//!         for number in 1..=last {
//!             events.send(json!({ "number": number })).await;
//!         }
//!         Ok(())
//!     }))
//! }
//! ```

mod answer;
mod app;
mod context;
mod error;
mod invocations;
mod ping;
mod unwind;

pub use answer::{Answer, Events};
pub use app::App;
pub use context::{BackgroundTask, Context};
pub use error::HandlerError;
