//! The API Gateway: the public door.
//!
//! A request is routed to a method of a deployed API, its key identified, its speed and its day's allowance checked and counted, and then handed to the
//! integration that the composition root has put behind the method. Policy is decided by pure functions over a snapshot in memory; the database is
//! written behind the request's back. This crate refuses to know what an integration does, and names neither `proxy` nor `runtime`.

pub mod admission;
pub mod answer;
pub mod integration;
pub mod key;
pub mod keys;
mod listener;
pub mod meter;
pub mod model;
mod page;
pub mod route;
mod serve;
pub mod throttle;
mod usage;

pub use integration::{Body, Caller, Integration, IntegrationError};
pub use keys::{CreatedKey, KeyService, KeyServiceError, KeyView};
pub use listener::{ListenerLimits, run};
pub use serve::{Gateway, GatewayLimits};
pub use usage::UsageWriter;
