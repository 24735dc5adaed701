//! One file a command.

#[cfg(feature = "agent")]
pub(crate) mod agent;
#[cfg(feature = "host")]
pub(crate) mod ask;
#[cfg(feature = "host")]
pub(crate) mod compatibility;
#[cfg(feature = "host")]
pub(crate) mod configure;
#[cfg(feature = "host")]
pub(crate) mod cost;
#[cfg(feature = "deploy")]
pub(crate) mod deploy;
#[cfg(feature = "host")]
pub(crate) mod destroy;
#[cfg(feature = "deploy")]
pub(crate) mod doctor;
#[cfg(feature = "host")]
pub(crate) mod env;
#[cfg(feature = "host")]
pub(crate) mod eval;
#[cfg(feature = "host")]
pub(crate) mod exec;
#[cfg(feature = "host")]
mod group_logs;
#[cfg(feature = "deploy")]
pub(crate) mod image;
#[cfg(feature = "deploy")]
mod image_progress;
#[cfg(feature = "host")]
pub(crate) mod invoke;
#[cfg(feature = "host")]
pub(crate) mod keys;
#[cfg(feature = "lambda")]
pub(crate) mod lambda;
#[cfg(feature = "host")]
pub(crate) mod launch;
#[cfg(feature = "host")]
pub(crate) mod logs;
#[cfg(feature = "host")]
pub(crate) mod model;
#[cfg(feature = "host")]
mod moments;
#[cfg(feature = "host")]
mod of_host;
#[cfg(feature = "deploy")]
mod on_aws;
#[cfg(feature = "host")]
pub(crate) mod plans;
#[cfg(feature = "host")]
pub(crate) mod sessions;
#[cfg(feature = "host")]
pub(crate) mod settings_reference;
#[cfg(feature = "deploy")]
pub(crate) mod share;
#[cfg(feature = "host")]
pub(crate) mod status;
#[cfg(feature = "host")]
pub(crate) mod stop;
#[cfg(feature = "deploy")]
pub(crate) mod undeploy;
#[cfg(feature = "host")]
pub(crate) mod up;
#[cfg(feature = "host")]
pub(crate) mod usage;

#[cfg(feature = "host")]
use of_host::{agent_name, block_on, hosted, print_lines};
