//! The table that calls read: which runtimes, versions and endpoints there are now, and what a process of each needs.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use frontdesk_aws::arn::AgentRuntimeArn;
use frontdesk_metrics::{CallFigures, TakenCalls};
use frontdesk_store::{Artifact, LocalProgram, RuntimeConfiguration, RuntimeEndpoint, RuntimeStatus, StoredRuntime};
use tokio::sync::Semaphore;

use crate::emitted::EmittedMetrics;
use crate::invoke::InvokeError;
use crate::session_log::SharedLog;

/// All runtimes, as they are at one moment. Replaced as a whole.
#[derive(Debug, Default)]
pub(crate) struct RuntimeTable {
    pub(crate) by_id: HashMap<String, Arc<HostedRuntime>>,
}

/// A runtime as it is at one moment.
#[derive(Debug)]
pub(crate) struct HostedRuntime {
    pub(crate) arn: AgentRuntimeArn,
    pub(crate) stored: StoredRuntime,
    pub(crate) versions: BTreeMap<u32, Arc<HostedVersion>>,
    pub(crate) standing: Arc<Standing>,
}

/// What of a runtime lasts while its table entry is replaced.
#[derive(Debug)]
pub(crate) struct Standing {
    /// Calls that may be inside the agent or waiting for it at once.
    pub(crate) in_flight: Arc<Semaphore>,
    pub(crate) metrics: EmittedMetrics,
    /// Calls by endpoint.
    calls: RwLock<BTreeMap<String, Arc<CallFigures>>>,
    pub(crate) log: SharedLog,
    pub(crate) seeded: Option<SeededProgram>,
    /// Why the last start failed; nothing since a start succeeded.
    failure: Mutex<Option<String>>,
}

impl Standing {
    pub(crate) fn new(calls_max: usize, log: SharedLog, seeded: Option<SeededProgram>) -> Standing {
        let (metrics, calls, failure) = Default::default();
        Standing { in_flight: Arc::new(Semaphore::new(calls_max)), metrics, calls, log, seeded, failure }
    }

    /// What is counted of the calls of an endpoint.
    pub(crate) fn calls_of(&self, endpoint: &str) -> Arc<CallFigures> {
        if let Some(known) = self.calls.read().unwrap_or_else(PoisonError::into_inner).get(endpoint) {
            return known.clone();
        }
        self.calls.write().unwrap_or_else(PoisonError::into_inner).entry(endpoint.to_owned()).or_default().clone()
    }

    /// Takes what was counted since the last time, by endpoint.
    pub(crate) fn take_calls(&self) -> Vec<(String, TakenCalls)> {
        let calls = self.calls.read().unwrap_or_else(PoisonError::into_inner);
        calls.iter().filter_map(|(endpoint, figures)| Some((endpoint.clone(), figures.take()?))).collect()
    }

    pub(crate) fn failure(&self) -> Option<String> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_failure(&self, reason: Option<&str>) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = reason.map(str::to_owned);
    }
}

/// What only the running host knows of an agent that it brought itself, and nothing keeps.
#[derive(Debug, Clone)]
pub struct SeededProgram {
    /// The file to run; the one in the configuration is for the record.
    pub executable: PathBuf,
    /// Variables besides the configuration's, such as the providers' keys.
    pub environment: Vec<(OsString, OsString)>,
    /// The file that takes its output as it is.
    pub log_path: PathBuf,
}

/// A version that can be run.
#[derive(Debug)]
pub(crate) struct HostedVersion {
    pub(crate) arn: AgentRuntimeArn,
    pub(crate) runtime_id: String,
    pub(crate) version: u32,
    pub(crate) configuration: RuntimeConfiguration,
    pub(crate) standing: Arc<Standing>,
}

impl HostedVersion {
    pub(crate) fn name(&self) -> &str {
        self.arn.name()
    }

    /// The program; what has none never becomes ready, so it is never asked.
    pub(crate) fn program(&self) -> Option<&LocalProgram> {
        match &self.configuration.artifact {
            Artifact::Program(program) => Some(program),
            Artifact::Container { .. } | Artifact::Code { .. } => None,
        }
    }

    pub(crate) fn executable<'a>(&'a self, program: &'a LocalProgram) -> &'a Path {
        self.standing.seeded.as_ref().map_or(&program.executable, |seeded| &seeded.executable)
    }
}

/// Where a call goes.
#[derive(Debug, Clone)]
pub struct Target {
    pub(crate) version: Arc<HostedVersion>,
    pub(crate) endpoint: String,
}

impl Target {
    /// What the version was made with.
    #[must_use]
    pub fn configuration(&self) -> &RuntimeConfiguration {
        &self.version.configuration
    }
}

impl RuntimeTable {
    /// Where a call of this endpoint goes now.
    pub(crate) fn resolve(&self, runtime_id: &str, endpoint: &str) -> Result<Target, InvokeError> {
        let runtime = self.by_id.get(runtime_id).filter(|runtime| !runtime.stored.runtime.is_deleting);
        let runtime = runtime.ok_or_else(|| InvokeError::NotFound(format!("No agent runtime has the id {runtime_id}")))?;
        let arn = &runtime.arn;
        let found = runtime.stored.endpoints.get(endpoint);
        let found = found.ok_or_else(|| InvokeError::NotFound(format!("Agent runtime {arn} has no endpoint named {endpoint}")))?;
        match found {
            RuntimeEndpoint { status: RuntimeStatus::Deleting, .. } => {
                Err(InvokeError::NotFound(format!("Agent runtime {arn} has no endpoint named {endpoint}")))
            }
            RuntimeEndpoint { live_version: Some(live), .. } if runtime.versions.contains_key(live) => {
                Ok(Target { version: runtime.versions[live].clone(), endpoint: endpoint.to_owned() })
            }
            RuntimeEndpoint { failure_reason: Some(reason), .. } => {
                Err(InvokeError::Agent(format!("The agent runtime cannot be run: {reason}")))
            }
            _ => Err(InvokeError::NotReady(format!("Agent runtime {arn} is being made; its endpoint {endpoint} is not ready"))),
        }
    }

    /// Whether calls can reach this version.
    pub(crate) fn is_live(&self, version: &HostedVersion) -> bool {
        let runtime = self.by_id.get(&version.runtime_id);
        let endpoints = runtime.into_iter().flat_map(|runtime| runtime.stored.endpoints.values());
        endpoints.into_iter().any(|endpoint| endpoint.live_version == Some(version.version))
    }
}
