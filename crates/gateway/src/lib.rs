//! The API Gateway: the public door.
//!
//! A request is routed to a method of a deployed API, its key identified, its speed and its day's allowance checked and counted, and then handed to the
//! integration that the composition root has put behind the method. Policy is decided by pure functions over a snapshot in memory; the database is
//! written behind the request's back. This crate refuses to know what an integration does, and names neither `proxy` nor `runtime`.

pub mod access_log;
mod actors;
pub mod admission;
pub mod answer;
pub mod apis;
mod backend;
pub mod cache;
mod context;
mod doorstep;
pub mod exchange;
mod fleet;
mod forwarded;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod gathered;
mod header_names;
pub mod integration;
pub mod key;
pub mod keys;
pub mod lease;
pub mod limits;
mod listener;
mod log_writer;
pub mod meter;
pub mod metrics;
mod observe;
mod page;
mod path_tree;
pub mod quota;
mod refused;
pub mod route;
mod serve;
mod span;
pub mod stage_logs;
mod strangers;
pub mod throttle;
pub mod tls;
mod usage;

pub use actors::OTHER_ACTORS;
pub use apis::{ApiError, ApiService, NewApi, NewStage};
pub use backend::{Backends, CompileError, InvalidMapping, Source, Template, UnsupportedTemplate};
pub use fleet::Fleet;
pub use integration::{Actor, Body, Caller, Integration, IntegrationError};
pub use keys::{ActorUsage, CreatedKey, KeyService, KeyServiceError, KeyUsage, KeyView, PlanChange, USAGE_DAYS_MAX, UsageReport};
pub use lease::{LeaseDesk, OnOutage};
pub use listener::{ConnectionError, Lingering, Listener, ListenerLimits, ListenerThreads, Protocols, run};
pub use refused::discard_refused;
pub use serve::{Gateway, GatewayLimits, Observers, Trial, Tried};
pub use usage::UsageWriter;
