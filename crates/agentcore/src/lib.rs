//! The SDK for writing an Amazon Bedrock AgentCore agent in Rust.
//!
//! An async function becomes a program that keeps the AgentCore container contract: `POST /invocations`, `GET /ping`, streamed
//! answers, background tasks, `GET /ws`, JSON log lines, a graceful end. It knows no agent, no model and no host.
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
//!     App::new(echo).serve().await
//! }
//! ```
//!
//! `payload` is whatever JSON the caller sent. An `Err` is answered as `{"error": …}`, with a status of the handler's choice
//! ([`HandlerError::http`]) or 500.
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
//!
//! Work that goes on after the answer is announced, so that the host does not take the session for idle:
//!
//! ```
//! use frontdesk_agentcore::{Context, HandlerError};
//! use serde_json::{Value, json};
//!
//! async fn begin(_payload: Value, context: Context) -> Result<Value, HandlerError> {
//!     let task = context.background_task();
//!     tokio::spawn(async move {
//!         // … the work; `/ping` says `HealthyBusy` until the guard is dropped.
//!         drop(task);
//!     });
//!     Ok(json!({ "begun": true }))
//! }
//! ```
//!
//! A WebSocket handler is given the connection:
//!
//! ```no_run
//! use frontdesk_agentcore::{App, Context, HandlerError};
//! use serde_json::{Value, json};
//!
//! # async fn echo(payload: Value, _: Context) -> Result<Value, HandlerError> { Ok(payload) }
//! let app = App::new(echo).websocket(|connection, _context| {
//!     Box::pin(async move {
//!         while let Some(frame) = connection.receive().await {
//!             connection.send(frame).await?;
//!         }
//!         Ok(())
//!     })
//! });
//! ```
//!
//! [`App::spans`] takes a sink of [`trace`] spans: a call's own, below the one that its `traceparent` names, and those that the handler begins by
//! [`Context::span`]. What becomes of them (OpenTelemetry, a log, nothing) is the program's to choose; this crate brings no exporter.

mod answer;
mod app;
mod context;
mod error;
mod invocations;
pub mod log;
pub mod metrics;
mod ping;
mod unwind;
mod websocket;

pub use answer::{Answer, Events};
pub use app::{App, bind_address, interrupted};
pub use context::{BackgroundTask, Context};
pub use error::HandlerError;
pub use frontdesk_trace as trace;
pub use ping::PingStatus;
pub use websocket::{Connection, Frame};
