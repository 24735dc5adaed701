//! The Lambda executor: functions with their versions and aliases, and the processes that answer their invocations.
//!
//! A function's code is run by Lambda's own runtime interface client for its language, which asks a Runtime API for work
//! (<https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>); this crate serves that API, one server for each environment. It refuses to know who may call (that
//! is `control`'s to judge), how AWS writes its documents, and what a function does.

mod error;
mod figures;
mod log;
mod name;
mod service;

mod code;
mod validation;

mod client;
mod environment;
mod pool;
mod runtime_api;

mod invoke;

pub use error::FunctionError;
pub use figures::{FunctionFigures, Running};
pub use invoke::{InvokeRequest, Invoked, PAYLOAD_BYTES_MAX};
pub use log::{LogSink, LogSinks, LogSource};
pub use name::FunctionName;
pub use service::{
    CodeChange, ConfigurationChange, FunctionPlace, FunctionService, FunctionView, NewFunction, Permission, RoleCredentials,
};
