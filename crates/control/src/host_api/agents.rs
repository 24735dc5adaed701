//! Agents and their sessions, for the command line. Times are ISO 8601, in UTC.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use frontdesk_aws::ServiceError;
use frontdesk_runtime::{RuntimeError, RuntimeService, RuntimeView, SessionStage, SessionView};
use frontdesk_store::{AgentProtocol, Artifact, IsolationLevel, LocalProgram, ResourceLimits, RuntimeConfiguration, SessionMode};
use http::{Response, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{HostOperation, json, query_value, read};
use crate::agentcore_control::of_runtime;
use crate::timestamp::iso_8601;

/// Asks for an agent to be hosted: it is made, or gets a next version when anything differs from its newest one.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LaunchRequest {
    /// What is run.
    pub program: ProgramDocument,
    /// Its environment variables.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// `HTTP`, `MCP`, `A2A` or `AGUI`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// A session that did nothing for so many seconds is ended; 900 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_runtime_session_timeout: Option<u32>,
    /// A session that is older than so many seconds is ended; 28800 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_lifetime: Option<u32>,
    /// Headers of a call that reach the agent besides the usual ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub request_header_allowlist: Vec<String>,
    /// AgentCore's `authorizerConfiguration`; left out, calls are signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorizer_configuration: Option<Value>,
    /// Whose a process is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sessions: Option<SessionsDocument>,
    /// How far apart its processes are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isolation: Option<IsolationDocument>,
    /// What one session may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<LimitsDocument>,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// A program of the host's machine.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProgramDocument {
    /// Absolute path of the executable.
    pub executable: PathBuf,
    /// Its arguments.
    #[serde(default)]
    pub arguments: Vec<String>,
    /// The argument before the port number; `PORT` is always set too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port_flag: Option<String>,
    /// Its working folder; left out, the session's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<PathBuf>,
    /// Folders besides the working folder and the system's that it may read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub readable: Vec<PathBuf>,
}

/// Whose a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SessionsDocument {
    /// Each session has one of its own.
    Process,
    /// One serves all sessions.
    Shared,
}

/// How far apart processes are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IsolationDocument {
    /// Not at all.
    None,
    /// Folders, privileges and limits of its own.
    Process,
    /// Namespaces of its own besides.
    Namespace,
}

/// What one session may use.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct LimitsDocument {
    /// Memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Processes and threads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processes: Option<u32>,
    /// Open files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_files: Option<u64>,
    /// Processor cores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus: Option<f64>,
}

/// Asks to go back to an earlier version.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GoBackRequest {
    /// The version's number.
    pub version: String,
}

/// An agent.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentDocument {
    /// Its ARN.
    pub agent_runtime_arn: String,
    /// Its id.
    pub agent_runtime_id: String,
    /// Its name.
    pub agent_runtime_name: String,
    /// Its newest version.
    pub agent_runtime_version: String,
    /// AgentCore's status: `CREATING`, `READY`, `UPDATE_FAILED`, …
    pub status: String,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_reason: Option<String>,
    /// When it was made.
    pub created_at: String,
    /// When its newest version was made.
    pub last_updated_at: String,
    /// Its endpoints.
    pub endpoints: Vec<AgentEndpointDocument>,
    /// How many processes it has.
    pub sessions: usize,
}

/// An endpoint of an agent.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AgentEndpointDocument {
    /// Its name.
    pub name: String,
    /// The version that calls reach, else the one that they are to reach.
    pub version: String,
    /// AgentCore's status.
    pub status: String,
}

/// All agents, the newest first.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AgentList {
    /// The agents.
    pub agents: Vec<AgentDocument>,
}

/// A session.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionDocument {
    /// Its id; `(shared)` for a process that serves all sessions of a version, `(warm)` for one that serves those that the runtime names itself.
    pub session_id: String,
    /// Its agent's name.
    pub agent: String,
    /// The version that it began with.
    pub version: String,
    /// `STARTING`, `READY`, `BUSY` or `STOPPING`.
    pub state: String,
    /// Its process, once it has been started.
    pub pid: Option<u32>,
    /// Memory that its process holds.
    pub resident_bytes: u64,
    /// Processor time that its process has had.
    pub cpu_ms: u64,
    /// When it began.
    pub started_at: String,
    /// When a call last began or ended.
    pub last_call_at: String,
    /// Calls so far.
    pub calls: u64,
}

/// All sessions, the oldest first.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SessionList {
    /// The sessions.
    pub sessions: Vec<SessionDocument>,
}

/// Performs one operation on agents or sessions; `named` is the agent's name or the session's id.
pub(super) async fn perform(
    operation: HostOperation,
    named: String,
    query: &str,
    body: &Bytes,
    runtimes: &Arc<RuntimeService>,
    now_ms: i64,
) -> Result<Response<Bytes>, ServiceError> {
    let service = runtimes.clone();
    match operation {
        HostOperation::ListAgents => {
            let agents = counted(runtimes, runtimes.views()).await;
            Ok(json(StatusCode::OK, &AgentList { agents }))
        }
        HostOperation::PutAgent => {
            let wanted: LaunchRequest = read(body)?;
            let role_arn = format!("arn:aws:iam::{}:role/{named}", runtimes.region_and_account().1);
            let configuration = configuration(wanted, role_arn)?;
            let view = blocking(move || service.launch(&named, configuration, now_ms)).await?;
            one(runtimes, view).await
        }
        HostOperation::GetAgent => one(runtimes, runtimes.named(&named).map_err(of_runtime)?).await,
        HostOperation::GoBack => {
            let GoBackRequest { version } = read(body)?;
            let version = version.parse().map_err(|_| ServiceError::validation(format!("version is {version}; it must be a number")))?;
            let view = blocking(move || service.go_back(&named, version, now_ms)).await?;
            one(runtimes, view).await
        }
        HostOperation::DeleteAgent => {
            blocking(move || {
                let id = service.named(&named)?.runtime.id;
                service.delete(&id, None)
            })
            .await?;
            Ok(json(StatusCode::OK, &serde_json::json!({})))
        }
        HostOperation::ListSessions => {
            let agent = query_value(query, "agent");
            let sessions = runtimes.sessions(agent.as_deref()).await;
            let sessions = sessions.into_iter().map(|session| session_document(session, now_ms)).collect();
            Ok(json(StatusCode::OK, &SessionList { sessions }))
        }
        _ if runtimes.end_session(&named).await => Ok(json(StatusCode::OK, &serde_json::json!({}))),
        _ => Err(ServiceError::resource_not_found(format!("no session {named} is active"))),
    }
}

async fn one(runtimes: &RuntimeService, view: RuntimeView) -> Result<Response<Bytes>, ServiceError> {
    let document = counted(runtimes, vec![view]).await.pop();
    Ok(json(StatusCode::OK, &document.expect("as many documents as views")))
}

async fn counted(runtimes: &RuntimeService, views: Vec<RuntimeView>) -> Vec<AgentDocument> {
    let mut by_agent: BTreeMap<String, usize> = BTreeMap::new();
    for session in runtimes.sessions(None).await {
        *by_agent.entry(session.agent).or_default() += 1;
    }
    views.into_iter().map(|view| agent_document(&view, by_agent.get(&view.runtime.name).copied().unwrap_or(0))).collect()
}

fn configuration(wanted: LaunchRequest, role_arn: String) -> Result<RuntimeConfiguration, ServiceError> {
    let ProgramDocument { executable, arguments, port_flag, working_dir, readable } = wanted.program;
    let program = LocalProgram { executable, arguments, port_flag, working_dir, readable };
    let defaults = RuntimeConfiguration::new(Artifact::Program(program), role_arn);
    let limits = wanted.limits.unwrap_or_default();
    let lifetime_max_s = wanted.max_lifetime.unwrap_or(defaults.lifetime_max_s);
    Ok(RuntimeConfiguration {
        description: wanted.description,
        environment: wanted.environment,
        protocol: wanted.protocol.as_deref().map_or(Ok(AgentProtocol::Http), crate::agentcore_control::protocol)?,
        idle_timeout_s: wanted.idle_runtime_session_timeout.unwrap_or(defaults.idle_timeout_s.min(lifetime_max_s)),
        lifetime_max_s,
        request_headers: wanted.request_header_allowlist,
        authorizer: wanted.authorizer_configuration,
        sessions: match wanted.sessions {
            Some(SessionsDocument::Shared) => SessionMode::Shared,
            Some(SessionsDocument::Process) | None => SessionMode::OwnProcess,
        },
        isolation: match wanted.isolation {
            Some(IsolationDocument::None) => IsolationLevel::None,
            Some(IsolationDocument::Process) | None => IsolationLevel::Process,
            Some(IsolationDocument::Namespace) => IsolationLevel::Namespace,
        },
        limits: ResourceLimits {
            memory_bytes: limits.memory_bytes,
            processes: limits.processes,
            open_files: limits.open_files,
            cpus: limits.cpus,
        },
        ..defaults
    })
}

fn agent_document(view: &RuntimeView, sessions: usize) -> AgentDocument {
    let endpoints = view.endpoints.iter().map(|endpoint| AgentEndpointDocument {
        name: endpoint.name.clone(),
        version: endpoint.live_version.unwrap_or(endpoint.target_version).to_string(),
        status: endpoint.status.name().to_owned(),
    });
    AgentDocument {
        agent_runtime_arn: view.arn.to_string(),
        agent_runtime_id: view.runtime.id.clone(),
        agent_runtime_name: view.runtime.name.clone(),
        agent_runtime_version: view.version.version.to_string(),
        status: view.status.name().to_owned(),
        failure_reason: view.version.failure_reason.clone(),
        created_at: iso_8601(view.runtime.created_at_ms),
        last_updated_at: iso_8601(view.version.created_at_ms),
        endpoints: endpoints.collect(),
        sessions,
    }
}

fn session_document(session: SessionView, now_ms: i64) -> SessionDocument {
    let ago = |age: Duration| iso_8601(now_ms.saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX)));
    let nobody_s = if session.is_shared { "(shared)" } else { "(warm)" };
    SessionDocument {
        session_id: session.session_id.unwrap_or_else(|| nobody_s.to_owned()),
        agent: session.agent,
        version: session.version.to_string(),
        state: match session.stage {
            SessionStage::Starting => "STARTING",
            SessionStage::Ready => "READY",
            SessionStage::Busy => "BUSY",
            SessionStage::Stopping => "STOPPING",
        }
        .to_owned(),
        pid: session.pid,
        resident_bytes: session.usage.resident_bytes,
        cpu_ms: u64::try_from(session.usage.cpu.as_millis()).unwrap_or(u64::MAX),
        started_at: ago(session.age),
        last_call_at: ago(session.since_last_call),
        calls: session.calls,
    }
}

/// The runtime service blocks on the database when it changes something, so that runs on a blocking thread.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, RuntimeError> + Send + 'static) -> Result<T, ServiceError> {
    let done = tokio::task::spawn_blocking(work).await.map_err(|panicked| ServiceError::internal_server(panicked.to_string()))?;
    done.map_err(of_runtime)
}
