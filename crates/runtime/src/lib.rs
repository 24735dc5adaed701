//! The AgentCore host: it knows which agent runtimes exist, in which versions and under which endpoints, keeps a process for each session, and carries
//! invocations to it.
//!
//! An agent is any program that keeps the AgentCore container contract: it listens on the port named by `PORT`, answers `GET /ping` when it is ready and
//! `POST /invocations` from then on. This crate refuses to know who may call (that is `control`'s to judge) and what an agent does.

mod service;

mod artifact;
mod validation;

mod figures;
mod host;
mod hosted;
mod session;

mod agent_client;
mod agent_port;
mod agent_process;
mod egress;
mod emitted;
mod invoke;
mod payload;
mod sandbox;
mod session_log;
mod session_users;
mod socket;

pub use egress::{EgressRuleError, EgressRules};
pub use emitted::{EmittedMetrics, MetricSeries, MetricTotal};
pub use host::{SessionLimits, SessionName};
pub use hosted::{SeededProgram, Target};
pub use invoke::{Asked, Invocation, InvokeError};
pub use payload::Payload;
pub use sandbox::default_sandbox;
pub use service::{
    EndpointChange, NewRuntime, RuntimeError, RuntimePlace, RuntimeService, RuntimeView, SeededRuntime, SessionStage, SessionView,
    SharedState, SharedStatus,
};
pub use session_log::{AgentLines, AgentOutput};
pub use session_users::SESSION_USERS;
pub use socket::{AgentSocket, SocketAnswer};

/// A response body that streams: whatever the agent sends, as it sends it.
pub type ResponseBody = http_body_util::combinators::UnsyncBoxBody<bytes::Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// The endpoint that every runtime has; it follows the newest version.
pub const DEFAULT_ENDPOINT: &str = "DEFAULT";
