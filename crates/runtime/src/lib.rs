//! The AgentCore host: it knows which agent runtimes exist, keeps a process for each, and carries invocations to it.
//!
//! An agent is any program that keeps the AgentCore container contract: it listens on the port named by `PORT`, answers `GET /ping` when it is ready and
//! `POST /invocations` from then on. This crate refuses to know who may call (that is `control`'s to judge) and what an agent does.

mod agent_process;
mod emitted;
mod host;
mod invoke;

pub use emitted::{EmittedMetrics, MetricSeries, MetricTotal};
pub use host::{AgentProgram, AgentStatus, HostedAgent, HostedAgentState};
pub use invoke::{Invocation, InvokeError};

/// A response body that streams: whatever the agent sends, as it sends it.
pub type ResponseBody = http_body_util::combinators::UnsyncBoxBody<bytes::Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// The endpoint that every runtime has; it follows the newest version.
pub const DEFAULT_ENDPOINT: &str = "DEFAULT";
