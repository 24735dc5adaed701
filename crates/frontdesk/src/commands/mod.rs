//! One file a command.

pub(crate) mod agent;
pub(crate) mod ask;
pub(crate) mod eval;
pub(crate) mod keys;
pub(crate) mod model;
mod moments;
pub(crate) mod plans;
pub(crate) mod settings_reference;
pub(crate) mod status;
pub(crate) mod up;
pub(crate) mod usage;

use std::future::Future;

use anyhow::Context as _;

/// Runs a short command's future on a small runtime of its own.
fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("failed to start the async runtime")?;
    runtime.block_on(work)
}
