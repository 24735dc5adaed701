//! Agent runtimes with their versions, endpoints and sessions: one service, of which AWS's API, the host's own and the composition root are faces.
//!
//! A change is written first and then replaces the table that calls read, as a whole. What blocks on the database says so; the rest may be called anywhere.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use frontdesk_aws::arn::AgentRuntimeArn;
use frontdesk_metrics::Figures;
use frontdesk_process::{Spawner, Usage};
use frontdesk_store::{
    AgentRuntime, RuntimeConfiguration, RuntimeEndpoint, RuntimeStatus, RuntimeVersion, SessionMode, Store, StoreError, StoredRuntime,
};
use frontdesk_trace::Span;
use http::{HeaderMap, Response};

use crate::agent_process::Launcher;
use crate::egress::EgressRules;
use crate::emitted::{MetricSeries, MetricTotal};
use crate::figures;
use crate::host::{SessionHost, SessionLimits, SessionName, Which, all_ended};
use crate::hosted::{HostedRuntime, HostedVersion, RuntimeTable, SeededProgram, Standing, Target};
use crate::invoke::{Invocation, InvokeError};
use crate::session::{Session, SessionState};
use crate::session_log::{AgentLines, SessionLog};
use crate::socket::SocketAnswer;
use crate::{DEFAULT_ENDPOINT, ResponseBody, artifact, invoke, socket, validation};

/// AgentCore's quotas (<https://docs.aws.amazon.com/bedrock-agentcore/latest/devguide/bedrock-agentcore-limits.html>).
const RUNTIMES_MAX: usize = 1000;
const VERSIONS_MAX: usize = 1000;
const ENDPOINTS_MAX: usize = 10;
/// Versions of the host's own agent that are kept.
const SEEDED_VERSIONS_KEPT: u32 = 20;

/// Where the runtimes live.
#[derive(Debug)]
pub struct RuntimePlace {
    /// The region of their ARNs.
    pub region: String,
    /// The account of their ARNs.
    pub account_id: String,
    /// The folder of their logs, `{name}.jsonl`.
    pub logs: PathBuf,
    /// Who else takes what sessions print.
    pub lines: AgentLines,
    /// Where each process gets a folder of its own while it runs. Emptied at the start.
    pub sessions: PathBuf,
    /// What every agent finds in its environment.
    pub environment: Vec<(OsString, OsString)>,
    /// Folders that no sandboxed process may read: the host's own data.
    pub hidden: Vec<PathBuf>,
    /// Where sessions with a network of their own may go.
    pub egress: EgressRules,
    /// The first of [`SESSION_USERS`](crate::SESSION_USERS) user ids that are the sessions'; nothing where the host cannot give them any.
    pub session_users_from: Option<u32>,
}

/// Why a runtime cannot be made, changed or found.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// A value breaks a rule.
    #[error("{0}")]
    Invalid(String),
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// The name is taken, or the thing is in a state that forbids this.
    #[error("{0}")]
    Conflict(String),
    /// There are as many as may be.
    #[error("{0}")]
    QuotaExceeded(String),
    /// A log or a folder cannot be made.
    #[error("failed to use {path}")]
    File {
        /// The file or folder.
        path: String,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A runtime as a whole, as it is now, seen at one of its versions.
#[derive(Debug, Clone)]
pub struct RuntimeView {
    /// Its ARN.
    pub arn: AgentRuntimeArn,
    /// The runtime.
    pub runtime: AgentRuntime,
    /// The version that was asked for; the newest by default.
    pub version: RuntimeVersion,
    /// How far the runtime is.
    pub status: RuntimeStatus,
    /// Its endpoints.
    pub endpoints: Vec<RuntimeEndpoint>,
}

/// A runtime to be made.
#[derive(Debug, Clone)]
pub struct NewRuntime {
    /// Its name.
    pub name: String,
    /// What its first version runs.
    pub configuration: RuntimeConfiguration,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// Makes a repeated request the same request.
    pub client_token: Option<String>,
}

/// An endpoint to be made or changed.
#[derive(Debug, Clone, Default)]
pub struct EndpointChange {
    /// The version it is to lead to; the newest (a new endpoint) or the one before (a change) when `None`.
    pub version: Option<u32>,
    /// What it is for; `None` leaves it.
    pub description: Option<String>,
    /// Tags of a new one.
    pub tags: BTreeMap<String, String>,
    /// Makes a repeated request the same request.
    pub client_token: Option<String>,
}

/// The agent that the host brings itself.
#[derive(Debug)]
pub struct SeededRuntime {
    /// Its ARN, which the host made up once and keeps.
    pub arn: AgentRuntimeArn,
    /// What it runs.
    pub configuration: RuntimeConfiguration,
    /// What of that nothing keeps.
    pub program: SeededProgram,
}

/// The state of a process that a runtime's sessions share, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SharedState {
    /// No process is running; the next call starts one.
    Stopped,
    /// A process is being started.
    Starting,
    /// A process answers.
    Ready,
    /// The last start failed.
    Failed,
}

/// What is known of a process that a runtime's sessions share.
#[derive(Debug, Clone)]
pub struct SharedStatus {
    /// Its state.
    pub state: SharedState,
    /// Its id, while it runs.
    pub pid: Option<u32>,
    /// Whether it says that it is at work besides its calls (`HealthyBusy`).
    pub is_busy: bool,
    /// Why the last start failed.
    pub failure: Option<String>,
}

/// How far a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionStage {
    /// Its process is being started.
    Starting,
    /// Its process waits for calls.
    Ready,
    /// Its process is at work, for a call or by itself.
    Busy,
    /// Its process is being ended.
    Stopping,
}

/// A session as it is now.
#[derive(Debug, Clone)]
pub struct SessionView {
    /// Its id. `None` for a process that several sessions share or that waits for one.
    pub session_id: Option<String>,
    /// Whether its process serves all sessions of its version.
    pub is_shared: bool,
    /// The runtime's name.
    pub agent: String,
    /// The version that it began with.
    pub version: u32,
    /// How far it is.
    pub stage: SessionStage,
    /// Its process.
    pub pid: Option<u32>,
    /// What its process and all that it started use.
    pub usage: Usage,
    /// Since it began.
    pub age: Duration,
    /// Since a call last began or ended.
    pub since_last_call: Duration,
    /// Calls so far.
    pub calls: u64,
}

/// The service.
#[derive(Debug)]
pub struct RuntimeService {
    store: Arc<Store>,
    place: RuntimePlace,
    limits: SessionLimits,
    table: Arc<ArcSwap<RuntimeTable>>,
    host: SessionHost,
    /// One change at a time: it reads the table, writes the database and replaces the table.
    changing: Mutex<()>,
}

impl RuntimeService {
    /// Opens the runtimes of the store. Blocks on the database.
    ///
    /// # Errors
    /// [`RuntimeError::Store`] and [`RuntimeError::File`].
    ///
    /// # Panics
    /// Outside a Tokio runtime, on which the sessions live.
    pub fn open(
        store: Arc<Store>,
        spawner: Spawner,
        place: RuntimePlace,
        limits: SessionLimits,
    ) -> Result<Arc<RuntimeService>, RuntimeError> {
        empty(&place.sessions)?;
        let table = Arc::new(ArcSwap::from_pointee(RuntimeTable::default()));
        let launcher = Launcher::new(spawner, &place);
        let host = SessionHost::start(launcher, limits.clone(), table.clone());
        let service = RuntimeService { store, place, limits, table, host, changing: Mutex::new(()) };
        for stored in service.store.agent_runtimes()? {
            if stored.runtime.is_deleting {
                service.store.delete_agent_runtime(&stored.runtime.id)?;
                continue;
            }
            let id = stored.runtime.id.clone();
            service.publish(stored, None)?;
            service.settle(&id)?;
        }
        Ok(Arc::new(service))
    }

    /// Makes the host's own agent, or brings it to what it is to be now. Blocks on the database.
    ///
    /// # Errors
    /// [`RuntimeError`]; also when another runtime has its name.
    pub fn seed(&self, seeded: SeededRuntime, now_ms: i64) -> Result<(), RuntimeError> {
        // Not held to AgentCore's limits: a system prompt of the settings may be longer than its variables.
        let SeededRuntime { arn, configuration, program } = seeded;
        let id = arn.id();
        let stored = match self.table.load().by_id.get(id) {
            Some(runtime) => {
                let mut stored = runtime.stored.clone();
                if newest(&stored).configuration != configuration {
                    forget_old_versions(&mut stored);
                    add_version(&mut stored, configuration, None, now_ms)?;
                }
                stored
            }
            None => first_version(
                id,
                NewRuntime { name: arn.name().to_owned(), configuration, tags: BTreeMap::new(), client_token: None },
                now_ms,
            ),
        };
        self.store.put_agent_runtime(&stored)?;
        self.publish(stored, Some(program))?;
        self.settle(id)
    }

    /// Makes a runtime; it is ready soon, or failed. Blocks on the database.
    ///
    /// # Errors
    /// [`RuntimeError`].
    pub fn create(self: &Arc<Self>, new: NewRuntime, now_ms: i64) -> Result<RuntimeView, RuntimeError> {
        validation::name(&new.name, "agentRuntimeName")?;
        validation::client_token(new.client_token.as_deref())?;
        validation::tags(&new.tags)?;
        validation::configuration(&new.configuration)?;
        let id = {
            let _changing = self.changing();
            let table = self.table.load();
            if let Some(namesake) = table.by_id.values().find(|runtime| runtime.stored.runtime.name == new.name) {
                let first = namesake.stored.versions.get(&1);
                let again = first.filter(|first| first.client_token.is_some() && first.client_token == new.client_token);
                return match again {
                    Some(first) if first.configuration == new.configuration => {
                        Ok(RuntimeView { status: RuntimeStatus::Creating, ..view(namesake, Some(1))? })
                    }
                    Some(_) => Err(RuntimeError::Invalid("the clientToken was used before with other parameters".to_owned())),
                    None => Err(RuntimeError::Conflict(format!("An agent with the specified name already exists: {}", new.name))),
                };
            }
            if table.by_id.len() >= RUNTIMES_MAX {
                return Err(RuntimeError::QuotaExceeded(format!("an account may have {RUNTIMES_MAX} agent runtimes")));
            }
            let id = format!("{}-{}", new.name, made_up());
            let stored = first_version(&id, new, now_ms);
            self.store.put_agent_runtime(&stored)?;
            self.publish(stored, None)?;
            id
        };
        let made = self.view(&id, None);
        self.settle_soon(id);
        made
    }

    /// Makes the next version; `DEFAULT` follows it. Blocks on the database.
    ///
    /// # Errors
    /// [`RuntimeError`].
    pub fn update(
        self: &Arc<Self>,
        id: &str,
        configuration: RuntimeConfiguration,
        client_token: Option<String>,
        now_ms: i64,
    ) -> Result<RuntimeView, RuntimeError> {
        validation::client_token(client_token.as_deref())?;
        validation::configuration(&configuration)?;
        if self.hosted(id)?.standing.seeded.is_some() {
            return Err(RuntimeError::Conflict(format!("Agent runtime {id} is the host's own: the host's settings change it")));
        }
        let made = self.change(id, |stored| {
            let newest = newest(stored);
            if newest.client_token.is_some() && newest.client_token == client_token {
                return if newest.configuration == configuration {
                    Ok(newest.version)
                } else {
                    Err(RuntimeError::Invalid("the clientToken was used before with other parameters".to_owned()))
                };
            }
            if newest.status.is_on_its_way() {
                return Err(RuntimeError::Conflict(format!("Agent runtime {id} is {}", newest.status.name())));
            }
            add_version(stored, configuration, client_token, now_ms)
        })?;
        let view = self.view(id, Some(made));
        self.settle_soon(id.to_owned());
        view
    }

    /// Brings the runtime of this name to this configuration: makes it, makes the next version of it, or leaves it as it is. It is ready, or failed, when
    /// this returns. Blocks on the database.
    ///
    /// # Errors
    /// [`RuntimeError`].
    pub fn launch(self: &Arc<Self>, name: &str, configuration: RuntimeConfiguration, now_ms: i64) -> Result<RuntimeView, RuntimeError> {
        let id = match self.named(name) {
            Ok(known) if known.version.configuration == configuration && known.status == RuntimeStatus::Ready => return Ok(known),
            Ok(known) => self.update(&known.runtime.id, configuration, None, now_ms)?.runtime.id,
            Err(RuntimeError::NotFound(_)) => {
                let (name, tags) = (name.to_owned(), BTreeMap::new());
                self.create(NewRuntime { name, configuration, tags, client_token: None }, now_ms)?.runtime.id
            }
            Err(error) => return Err(error),
        };
        self.settle(&id)?;
        self.view(&id, None)
    }

    /// Goes back to an earlier version: makes the next one, equal to it. Blocks on the database.
    ///
    /// # Errors
    /// [`RuntimeError`].
    pub fn go_back(self: &Arc<Self>, name: &str, version: u32, now_ms: i64) -> Result<RuntimeView, RuntimeError> {
        let id = self.named(name)?.runtime.id;
        let configuration = self.view(&id, Some(version))?.version.configuration;
        self.launch(name, configuration, now_ms)
    }

    /// Deletes a runtime with its sessions, or one of its versions that nothing leads to. Blocks on the database.
    ///
    /// # Errors
    /// [`RuntimeError`].
    pub fn delete(self: &Arc<Self>, id: &str, version: Option<u32>) -> Result<RuntimeStatus, RuntimeError> {
        if let Some(version) = version {
            return self.change(id, |stored| delete_version(stored, version)).map(|()| RuntimeStatus::Deleting);
        }
        if self.hosted(id)?.standing.seeded.is_some() {
            return Err(RuntimeError::Conflict(format!("Agent runtime {id} is the host's own: `frontdesk up` makes it at each start")));
        }
        self.change(id, |stored| {
            stored.runtime.is_deleting = true;
            Ok(())
        })?;
        let (service, id) = (self.clone(), id.to_owned());
        tokio::spawn(async move {
            all_ended(service.host.end(Which::OfRuntime(id.clone())).await).await;
            let finishing = tokio::task::spawn_blocking(move || service.forget(&id)).await;
            if let Ok(Err(error)) = finishing {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "an agent runtime could not be deleted; the next start deletes it"
                );
            }
        });
        Ok(RuntimeStatus::Deleting)
    }

    fn forget(&self, id: &str) -> Result<(), RuntimeError> {
        let _changing = self.changing();
        self.store.delete_agent_runtime(id)?;
        let mut by_id = self.table.load().by_id.clone();
        by_id.remove(id);
        self.table.store(Arc::new(RuntimeTable { by_id }));
        Ok(())
    }

    /// One runtime at a version, the newest by default.
    ///
    /// # Errors
    /// [`RuntimeError::NotFound`].
    pub fn view(&self, id: &str, version: Option<u32>) -> Result<RuntimeView, RuntimeError> {
        view(&*self.hosted(id)?, version)
    }

    /// All runtimes, each at its newest version, the newest runtime first.
    #[must_use]
    pub fn views(&self) -> Vec<RuntimeView> {
        let table = self.table.load();
        let mut views: Vec<RuntimeView> = table.by_id.values().filter_map(|runtime| view(runtime, None).ok()).collect();
        views.sort_by(|one, other| (other.runtime.created_at_ms, &other.runtime.id).cmp(&(one.runtime.created_at_ms, &one.runtime.id)));
        views
    }

    /// All versions of a runtime, the newest first.
    ///
    /// # Errors
    /// [`RuntimeError::NotFound`].
    pub fn versions(&self, id: &str) -> Result<Vec<RuntimeView>, RuntimeError> {
        let runtime = self.hosted(id)?;
        runtime.stored.versions.keys().rev().map(|version| view(&runtime, Some(*version))).collect()
    }

    /// The runtime of this name.
    ///
    /// # Errors
    /// [`RuntimeError::NotFound`].
    pub fn named(&self, name: &str) -> Result<RuntimeView, RuntimeError> {
        let table = self.table.load();
        let found = table.by_id.values().find(|runtime| runtime.stored.runtime.name == name);
        let found = found.ok_or_else(|| RuntimeError::NotFound(format!("no agent is named {name}")))?;
        view(found, None)
    }

    /// The ARN of the runtime of this name, as of now, unless it is being deleted. Cheap enough to be asked by every call.
    #[must_use]
    pub fn arn_of(&self, name: &str) -> Option<AgentRuntimeArn> {
        let table = self.table.load();
        let is_meant = |runtime: &&Arc<HostedRuntime>| runtime.stored.runtime.name == name && !runtime.stored.runtime.is_deleting;
        table.by_id.values().find(is_meant).map(|runtime| runtime.arn.clone())
    }

    /// Whether the runtime is the host's own.
    #[must_use]
    pub fn is_seeded(&self, id: &str) -> bool {
        self.hosted(id).is_ok_and(|runtime| runtime.standing.seeded.is_some())
    }

    /// Makes an endpoint. Blocks on the database.
    ///
    /// # Errors
    /// [`RuntimeError`].
    pub fn create_endpoint(
        self: &Arc<Self>,
        id: &str,
        name: &str,
        wanted: EndpointChange,
        now_ms: i64,
    ) -> Result<RuntimeEndpoint, RuntimeError> {
        validation::name(name, "name")?;
        check_endpoint(&wanted)?;
        validation::tags(&wanted.tags)?;
        let made = self.change(id, |stored| {
            let target_version = existing_version(stored, wanted.version)?;
            if let Some(namesake) = stored.endpoints.get(name) {
                let is_again = wanted.client_token.is_some() && namesake.client_token == wanted.client_token;
                return if is_again && namesake.target_version == target_version {
                    Ok(RuntimeEndpoint { status: RuntimeStatus::Creating, ..namesake.clone() })
                } else {
                    Err(RuntimeError::Conflict(format!("An endpoint with the specified name already exists: {name}")))
                };
            }
            if stored.endpoints.len() >= ENDPOINTS_MAX {
                return Err(RuntimeError::QuotaExceeded(format!("an agent runtime may have {ENDPOINTS_MAX} endpoints")));
            }
            let EndpointChange { description, tags, client_token, .. } = wanted;
            let endpoint = RuntimeEndpoint { description, tags, client_token, ..new_endpoint(name, target_version, now_ms) };
            stored.endpoints.insert(name.to_owned(), endpoint.clone());
            Ok(endpoint)
        })?;
        self.settle_soon(id.to_owned());
        Ok(made)
    }

    /// Leads an endpoint to another version, or describes it anew. Blocks on the database.
    ///
    /// # Errors
    /// [`RuntimeError`].
    pub fn update_endpoint(
        self: &Arc<Self>,
        id: &str,
        name: &str,
        wanted: EndpointChange,
        now_ms: i64,
    ) -> Result<RuntimeEndpoint, RuntimeError> {
        check_endpoint(&wanted)?;
        let changed = self.change(id, |stored| {
            let EndpointChange { version, description, client_token, .. } = wanted;
            let target = version.map(|version| existing_version(stored, Some(version))).transpose()?;
            let newest = newest(stored).version;
            let endpoint = stored.endpoints.get_mut(name).ok_or_else(|| no_endpoint(id, name))?;
            if name == DEFAULT_ENDPOINT && target.is_some_and(|target| target != newest) {
                return Err(RuntimeError::Conflict(format!(
                    "the endpoint {DEFAULT_ENDPOINT} follows the newest version, {newest}: make another endpoint, or update the runtime"
                )));
            }
            endpoint.target_version = target.unwrap_or(endpoint.target_version);
            endpoint.description = description.or(endpoint.description.take());
            endpoint.client_token = client_token.or(endpoint.client_token.take());
            (endpoint.status, endpoint.failure_reason, endpoint.updated_at_ms) = (RuntimeStatus::Updating, None, now_ms);
            Ok(endpoint.clone())
        })?;
        self.settle_soon(id.to_owned());
        Ok(changed)
    }

    /// Deletes an endpoint; sessions that were called through it end when they are idle. Blocks on the database.
    ///
    /// # Errors
    /// [`RuntimeError`].
    pub fn delete_endpoint(&self, id: &str, name: &str) -> Result<(), RuntimeError> {
        self.change(id, |stored| {
            if name == DEFAULT_ENDPOINT {
                return Err(RuntimeError::Conflict(format!("the endpoint {DEFAULT_ENDPOINT} goes with its agent runtime")));
            }
            stored.endpoints.remove(name).map(drop).ok_or_else(|| no_endpoint(id, name))
        })
    }

    /// One endpoint.
    ///
    /// # Errors
    /// [`RuntimeError::NotFound`].
    pub fn endpoint(&self, id: &str, name: &str) -> Result<RuntimeEndpoint, RuntimeError> {
        self.hosted(id)?.stored.endpoints.get(name).cloned().ok_or_else(|| no_endpoint(id, name))
    }

    /// Brings whatever is on its way to its end: checks that new versions can be run, and leads endpoints to them.
    fn settle(&self, id: &str) -> Result<(), RuntimeError> {
        let seeded = self.hosted(id)?.standing.seeded.clone();
        self.change(id, |stored| {
            for version in stored.versions.values_mut().filter(|version| version.status.is_on_its_way()) {
                // The host's own program is there: it is this one.
                let prepared = if seeded.is_some() { Ok(()) } else { artifact::prepare(&version.configuration) };
                version.status = match (&prepared, version.status) {
                    (Ok(()), _) => RuntimeStatus::Ready,
                    (Err(_), RuntimeStatus::Creating) => RuntimeStatus::CreateFailed,
                    (Err(_), _) => RuntimeStatus::UpdateFailed,
                };
                version.failure_reason = prepared.err();
            }
            for endpoint in stored.endpoints.values_mut().filter(|endpoint| endpoint.status.is_on_its_way()) {
                let Some(target) = stored.versions.get(&endpoint.target_version) else { continue };
                endpoint.failure_reason = target.failure_reason.clone();
                endpoint.status = match (target.status, endpoint.live_version) {
                    (RuntimeStatus::Ready, _) => RuntimeStatus::Ready,
                    (_, None) => RuntimeStatus::CreateFailed,
                    (_, Some(_)) => RuntimeStatus::UpdateFailed,
                };
                if target.status == RuntimeStatus::Ready {
                    endpoint.live_version = Some(target.version);
                }
            }
            Ok(())
        })
    }

    fn settle_soon(self: &Arc<Self>, id: String) {
        let service = self.clone();
        tokio::task::spawn_blocking(move || match service.settle(&id) {
            // It was deleted meanwhile.
            Ok(()) | Err(RuntimeError::NotFound(_) | RuntimeError::Conflict(_)) => {}
            Err(error) => tracing::error!(
                error = &error as &dyn std::error::Error,
                "an agent runtime could not be prepared; the next start tries again"
            ),
        });
    }

    /// Changes a runtime: writes it, then replaces the table.
    fn change<T>(&self, id: &str, change: impl FnOnce(&mut StoredRuntime) -> Result<T, RuntimeError>) -> Result<T, RuntimeError> {
        let _changing = self.changing();
        let runtime = self.hosted(id)?;
        if runtime.stored.runtime.is_deleting {
            return Err(RuntimeError::Conflict(format!("Agent runtime {id} is DELETING")));
        }
        let mut stored = runtime.stored.clone();
        let done = change(&mut stored)?;
        if stored != runtime.stored {
            self.store.put_agent_runtime(&stored)?;
            self.publish(stored, None)?;
        }
        Ok(done)
    }

    fn changing(&self) -> std::sync::MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a runtime into the table that calls read, in place of what it was.
    fn publish(&self, stored: StoredRuntime, seeded: Option<SeededProgram>) -> Result<(), RuntimeError> {
        let (id, name) = (stored.runtime.id.clone(), stored.runtime.name.clone());
        let suffix = id.rsplit('-').next().unwrap_or_default();
        let arn = AgentRuntimeArn::new(&self.place.region, &self.place.account_id, &name, suffix)
            .map_err(|error| RuntimeError::Invalid(error.to_string()))?;
        let table = self.table.load();
        let standing = match table.by_id.get(&id).filter(|_| seeded.is_none()) {
            Some(known) => known.standing.clone(),
            None => {
                let opened = || SessionLog::open(&self.place.logs, &name);
                let log = match &seeded {
                    Some(_) => None,
                    None => Some(Arc::new(opened().map_err(|source| RuntimeError::File {
                        path: self.place.logs.join(format!("{name}.jsonl")).display().to_string(),
                        source,
                    })?)),
                };
                Arc::new(Standing::new(self.limits.calls_max, log, seeded))
            }
        };
        let known = table.by_id.get(&id).map(|known| known.versions.clone()).unwrap_or_default();
        let hosted = |version: &RuntimeVersion| {
            // Sessions hold on to their version, so one that did not change stays the same.
            let same = known.get(&version.version).filter(|known| Arc::ptr_eq(&known.standing, &standing));
            let new = || {
                Arc::new(HostedVersion {
                    arn: arn.clone(),
                    runtime_id: id.clone(),
                    version: version.version,
                    configuration: version.configuration.clone(),
                    standing: standing.clone(),
                })
            };
            (version.version, same.cloned().unwrap_or_else(new))
        };
        let versions = stored.versions.values().map(hosted).collect();
        let mut by_id = table.by_id.clone();
        by_id.insert(id.clone(), Arc::new(HostedRuntime { arn: arn.clone(), stored, versions, standing: standing.clone() }));
        self.table.store(Arc::new(RuntimeTable { by_id }));
        Ok(())
    }

    fn hosted(&self, id: &str) -> Result<Arc<HostedRuntime>, RuntimeError> {
        let table = self.table.load();
        table.by_id.get(id).cloned().ok_or_else(|| RuntimeError::NotFound(format!("No agent runtime has the id {id}")))
    }
}

/// Sessions.
impl RuntimeService {
    /// The region and the account that the runtimes' ARNs name.
    #[must_use]
    pub fn region_and_account(&self) -> (&str, &str) {
        (&self.place.region, &self.place.account_id)
    }

    /// Where a call of this endpoint goes now.
    ///
    /// # Errors
    /// [`InvokeError::NotFound`], [`InvokeError::NotReady`], and [`InvokeError::Agent`] when the version cannot be run.
    pub fn resolve(&self, runtime_id: &str, endpoint: &str) -> Result<Target, InvokeError> {
        self.table.load().resolve(runtime_id, endpoint)
    }

    /// Carries an invocation to its session, starting a process if need be. The answer streams; dropping it stops the agent's work on it.
    ///
    /// A status below 500 is the agent's own answer and passes through.
    ///
    /// # Errors
    /// See [`InvokeError`].
    pub async fn invoke(
        &self,
        target: &Target,
        session: &SessionName,
        invocation: Invocation,
        span: &Span,
    ) -> Result<Response<ResponseBody>, InvokeError> {
        invoke::invoke(&self.host, target, session, invocation, span).await
    }

    /// Hands a WebSocket's handshake to a session, starting a process if need be.
    ///
    /// # Errors
    /// See [`InvokeError`].
    pub async fn open_socket(&self, target: &Target, session: &SessionName, headers: HeaderMap) -> Result<SocketAnswer, InvokeError> {
        socket::open(&self.host, target, session, headers).await
    }

    /// Starts the process of a runtime whose sessions share one, and waits until it answers.
    ///
    /// # Errors
    /// See [`InvokeError`].
    pub async fn start_shared(&self, runtime_id: &str) -> Result<(), InvokeError> {
        let target = self.resolve(runtime_id, DEFAULT_ENDPOINT)?;
        self.host.enter(&target, &SessionName::Generated(String::new())).await.map(drop)
    }

    /// What is known of the process that a runtime's sessions share.
    #[must_use]
    pub fn shared_status(&self, runtime_id: &str) -> SharedStatus {
        let stopped = |failure: Option<String>| {
            let state = if failure.is_some() { SharedState::Failed } else { SharedState::Stopped };
            SharedStatus { state, pid: None, is_busy: false, failure }
        };
        let Ok(target) = self.resolve(runtime_id, DEFAULT_ENDPOINT) else { return stopped(None) };
        let state = self.host.shared(&target).map(|session| session.state.borrow().clone());
        match state {
            Some(SessionState::Ready(process)) => {
                SharedStatus { state: SharedState::Ready, pid: Some(process.child.pid()), is_busy: process.is_busy(), failure: None }
            }
            Some(SessionState::Starting) => SharedStatus { state: SharedState::Starting, ..stopped(None) },
            _ => stopped(target.version.standing.failure()),
        }
    }

    /// Begins to end a session that was called through this endpoint. Returns whether there was one.
    pub async fn stop_session(&self, runtime_id: &str, endpoint: &str, session_id: &str) -> bool {
        let (runtime_id, endpoint, session_id) = (runtime_id.to_owned(), endpoint.to_owned(), session_id.to_owned());
        !self.host.end(Which::OfEndpoint { runtime_id, endpoint, session_id }).await.is_empty()
    }

    /// Ends all sessions with this id, and waits until they have ended. Returns whether there was one.
    pub async fn end_session(&self, session_id: &str) -> bool {
        let ending = self.host.end(Which::WithId(session_id.to_owned())).await;
        let were_there = !ending.is_empty();
        all_ended(ending).await;
        were_there
    }

    /// All processes there are, the oldest first; of one agent when it is named.
    pub async fn sessions(&self, agent: Option<&str>) -> Vec<SessionView> {
        let listed = self.host.list().await.into_iter();
        let of_agent = listed.filter(|listed| agent.is_none_or(|agent| listed.session.version.name() == agent));
        let views = of_agent.filter_map(|listed| {
            let session_id = listed.is_named.then(|| listed.session.serving.session_id());
            session_view(&listed.session, session_id)
        });
        views.collect()
    }

    /// Ends every session, side by side, and lets none begin any more: in-flight calls have been drained by now, or are cut.
    pub async fn shut_down(&self) {
        all_ended(self.host.end(Which::All).await).await;
    }

    /// Takes what AgentCore's metrics would count, since the last time.
    #[must_use]
    pub fn take_figures(&self) -> Figures {
        let table = self.table.load();
        table.by_id.values().flat_map(|runtime| figures::of_calls(&runtime.arn, runtime.standing.take_calls())).collect()
    }

    /// The metrics that agents wrote into their logs, over all their processes.
    #[must_use]
    pub fn emitted_metrics(&self) -> Vec<(MetricSeries, MetricTotal)> {
        let table = self.table.load();
        let mut totals: BTreeMap<MetricSeries, MetricTotal> = BTreeMap::new();
        for (series, MetricTotal { sum, samples }) in table.by_id.values().flat_map(|runtime| runtime.standing.metrics.totals()) {
            let total = totals.entry(series).or_default();
            total.sum += sum;
            total.samples += samples;
        }
        totals.into_iter().collect()
    }
}

fn session_view(session: &Session, session_id: Option<String>) -> Option<SessionView> {
    let state = session.state.borrow().clone();
    let (stage, process) = match state {
        SessionState::Starting => (SessionStage::Starting, None),
        SessionState::Ready(process) if process.is_busy() || session.doors.inside() > 0 => (SessionStage::Busy, Some(process)),
        SessionState::Ready(process) => (SessionStage::Ready, Some(process)),
        SessionState::Stopping => (SessionStage::Stopping, None),
        SessionState::Failed(_) | SessionState::Ended => return None,
    };
    let pid = process.as_ref().map(|process| process.child.pid()).or(session.serving.pid());
    Some(SessionView {
        session_id,
        is_shared: session.version.configuration.sessions == SessionMode::Shared,
        agent: session.version.name().to_owned(),
        version: session.version.version,
        stage,
        pid,
        usage: process.and_then(|process| process.child.usage()).unwrap_or_default(),
        age: session.started_at.elapsed(),
        since_last_call: session.since_last_call(),
        calls: session.calls.load(std::sync::atomic::Ordering::Relaxed),
    })
}

fn view(runtime: &HostedRuntime, version: Option<u32>) -> Result<RuntimeView, RuntimeError> {
    let HostedRuntime { arn, stored, .. } = runtime;
    let version = match version {
        None => newest(stored),
        Some(number) => {
            let found = stored.versions.get(&number);
            found.ok_or_else(|| RuntimeError::NotFound(format!("Agent runtime {} has no version {number}", stored.runtime.id)))?
        }
    };
    let status = if stored.runtime.is_deleting { RuntimeStatus::Deleting } else { version.status };
    let endpoints = stored.endpoints.values().cloned().collect();
    Ok(RuntimeView { arn: arn.clone(), runtime: stored.runtime.clone(), version: version.clone(), status, endpoints })
}

fn newest(stored: &StoredRuntime) -> &RuntimeVersion {
    stored.versions.values().next_back().expect("a runtime has at least one version")
}

fn first_version(id: &str, new: NewRuntime, now_ms: i64) -> StoredRuntime {
    let NewRuntime { name, configuration, tags, client_token } = new;
    let version = RuntimeVersion {
        version: 1,
        status: RuntimeStatus::Creating,
        failure_reason: None,
        created_at_ms: now_ms,
        client_token,
        configuration,
    };
    StoredRuntime {
        runtime: AgentRuntime { id: id.to_owned(), name, created_at_ms: now_ms, is_deleting: false, tags },
        versions: BTreeMap::from([(1, version)]),
        endpoints: BTreeMap::from([(DEFAULT_ENDPOINT.to_owned(), new_endpoint(DEFAULT_ENDPOINT, 1, now_ms))]),
    }
}

/// Adds the next version and lets `DEFAULT` follow it. Returns its number.
fn add_version(
    stored: &mut StoredRuntime,
    configuration: RuntimeConfiguration,
    client_token: Option<String>,
    now_ms: i64,
) -> Result<u32, RuntimeError> {
    if stored.versions.len() >= VERSIONS_MAX {
        return Err(RuntimeError::QuotaExceeded(format!("an agent runtime may have {VERSIONS_MAX} versions: delete some")));
    }
    let version = newest(stored).version + 1;
    let status = RuntimeStatus::Updating;
    let made = RuntimeVersion { version, status, failure_reason: None, created_at_ms: now_ms, client_token, configuration };
    stored.versions.insert(version, made);
    if let Some(endpoint) = stored.endpoints.get_mut(DEFAULT_ENDPOINT) {
        (endpoint.target_version, endpoint.status, endpoint.updated_at_ms) = (version, status, now_ms);
        endpoint.failure_reason = None;
    }
    Ok(version)
}

/// Every change of the settings makes a version of the host's own agent, so the old ones are not kept for ever.
fn forget_old_versions(stored: &mut StoredRuntime) {
    let oldest = newest(stored).version.saturating_sub(SEEDED_VERSIONS_KEPT);
    let endpoints = &stored.endpoints;
    let is_led_to =
        |version: &u32| endpoints.values().any(|endpoint| endpoint.target_version == *version || endpoint.live_version == Some(*version));
    stored.versions.retain(|version, _| *version > oldest || is_led_to(version));
}

fn delete_version(stored: &mut StoredRuntime, version: u32) -> Result<(), RuntimeError> {
    existing_version(stored, Some(version))?;
    let leads_there = |endpoint: &&RuntimeEndpoint| endpoint.target_version == version || endpoint.live_version == Some(version);
    if let Some(endpoint) = stored.endpoints.values().find(leads_there) {
        return Err(RuntimeError::Conflict(format!("the endpoint {} leads to version {version}", endpoint.name)));
    }
    stored.versions.remove(&version);
    Ok(())
}

fn existing_version(stored: &StoredRuntime, version: Option<u32>) -> Result<u32, RuntimeError> {
    match version {
        None => Ok(newest(stored).version),
        Some(version) if stored.versions.contains_key(&version) => Ok(version),
        Some(version) => Err(RuntimeError::NotFound(format!("Agent runtime {} has no version {version}", stored.runtime.id))),
    }
}

fn new_endpoint(name: &str, target_version: u32, now_ms: i64) -> RuntimeEndpoint {
    RuntimeEndpoint {
        name: name.to_owned(),
        id_suffix: made_up(),
        description: None,
        status: RuntimeStatus::Creating,
        failure_reason: None,
        live_version: None,
        target_version,
        created_at_ms: now_ms,
        updated_at_ms: now_ms,
        client_token: None,
        tags: BTreeMap::new(),
    }
}

fn check_endpoint(wanted: &EndpointChange) -> Result<(), RuntimeError> {
    validation::client_token(wanted.client_token.as_deref())?;
    validation::endpoint_description(wanted.description.as_deref())
}

fn no_endpoint(id: &str, name: &str) -> RuntimeError {
    RuntimeError::NotFound(format!("Agent runtime {id} has no endpoint named {name}"))
}

/// Ten letters and digits.
fn made_up() -> String {
    uuid::Uuid::new_v4().simple().to_string()[..10].to_owned()
}

/// Makes the folder where it is missing, and empties it: whatever a killed host left there is nobody's.
fn empty(folder: &std::path::Path) -> Result<(), RuntimeError> {
    let emptied = || -> std::io::Result<()> {
        std::fs::create_dir_all(folder)?;
        for left in std::fs::read_dir(folder)? {
            std::fs::remove_dir_all(left?.path())?;
        }
        Ok(())
    };
    emptied().map_err(|source| RuntimeError::File { path: folder.display().to_string(), source })
}
