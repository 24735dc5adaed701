//! Agent runtimes at rest: AgentCore's model (AgentRuntime, version, endpoint) and where it is kept.
//!
//! The names and the defaults are AgentCore's (<https://docs.aws.amazon.com/bedrock-agentcore-control/latest/APIReference/API_Operations.html>). A definition is one
//! JSON document, since it is always read and written as a whole; the form is this program's own and not AWS's. Environment variables are sealed.

use std::collections::BTreeMap;
use std::path::PathBuf;

use rusqlite::Connection;
use serde::{Deserialize, Serialize};

use crate::database::{Store, StoreError, exists_already};
use crate::rest_apis::text;

/// An agent runtime with all that belongs to it.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredRuntime {
    /// The runtime itself.
    pub runtime: AgentRuntime,
    /// Its versions by number; there is at least one.
    pub versions: BTreeMap<u32, RuntimeVersion>,
    /// Its endpoints by name; one is `DEFAULT`.
    pub endpoints: BTreeMap<String, RuntimeEndpoint>,
}

/// An agent runtime: a name that lasts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AgentRuntime {
    /// `{name}-{10 letters or digits}`.
    pub id: String,
    /// Its name, which no other runtime has.
    pub name: String,
    /// Unix milliseconds.
    pub created_at_ms: i64,
    /// Whether it is being deleted.
    pub is_deleting: bool,
    /// Tags.
    pub tags: BTreeMap<String, String>,
}

/// How far something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RuntimeStatus {
    /// It is new and being prepared.
    Creating,
    /// It is new and cannot be used.
    CreateFailed,
    /// A change of it is being prepared.
    Updating,
    /// A change of it cannot be used.
    UpdateFailed,
    /// It can be called.
    Ready,
    /// It is being deleted.
    Deleting,
}

impl RuntimeStatus {
    /// AgentCore's name of it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            RuntimeStatus::Creating => "CREATING",
            RuntimeStatus::CreateFailed => "CREATE_FAILED",
            RuntimeStatus::Updating => "UPDATING",
            RuntimeStatus::UpdateFailed => "UPDATE_FAILED",
            RuntimeStatus::Ready => "READY",
            RuntimeStatus::Deleting => "DELETING",
        }
    }

    /// Whether it is still on its way to another status.
    #[must_use]
    pub fn is_on_its_way(self) -> bool {
        matches!(self, RuntimeStatus::Creating | RuntimeStatus::Updating | RuntimeStatus::Deleting)
    }
}

/// What a runtime runs, or ran. Only the status changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RuntimeVersion {
    /// From 1 on.
    pub version: u32,
    /// How far it is.
    pub status: RuntimeStatus,
    /// Why it cannot be used.
    pub failure_reason: Option<String>,
    /// Unix milliseconds.
    pub created_at_ms: i64,
    /// The token of the request that made it: the same request again makes no other.
    pub client_token: Option<String>,
    /// What it runs.
    pub configuration: RuntimeConfiguration,
}

/// Everything that makes one version what it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RuntimeConfiguration {
    /// What is run.
    pub artifact: Artifact,
    /// The role that the agent plays.
    pub role_arn: String,
    /// What it is for.
    pub description: Option<String>,
    /// Its environment variables. Kept apart from the rest, sealed.
    #[serde(skip)]
    pub environment: BTreeMap<String, String>,
    /// What it speaks.
    pub protocol: AgentProtocol,
    /// A session that did nothing for so long is ended.
    pub idle_timeout_s: u32,
    /// A session that is older is ended, whatever it does.
    pub lifetime_max_s: u32,
    /// Headers of a call that reach the agent besides the usual ones.
    pub request_headers: Vec<String>,
    /// `authorizerConfiguration` as it was given; `None` means signatures.
    pub authorizer: Option<serde_json::Value>,
    /// Its network.
    pub network: NetworkConfiguration,
    /// Whose a process is.
    pub sessions: SessionMode,
    /// How far apart its processes are kept.
    pub isolation: IsolationLevel,
    /// What one process may use.
    pub limits: ResourceLimits,
}

impl RuntimeConfiguration {
    /// A configuration with AgentCore's defaults.
    #[must_use]
    pub fn new(artifact: Artifact, role_arn: String) -> RuntimeConfiguration {
        RuntimeConfiguration {
            artifact,
            role_arn,
            description: None,
            environment: BTreeMap::new(),
            protocol: AgentProtocol::Http,
            idle_timeout_s: 900,
            lifetime_max_s: 28_800,
            request_headers: Vec::new(),
            authorizer: None,
            network: NetworkConfiguration::default(),
            sessions: SessionMode::OwnProcess,
            isolation: IsolationLevel::Process,
            limits: ResourceLimits::default(),
        }
    }
}

/// What a version runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Artifact {
    /// A program of this machine.
    Program(LocalProgram),
    /// A container image.
    Container {
        /// Its name in a registry.
        uri: String,
    },
    /// Code in a bucket.
    Code {
        /// The bucket.
        bucket: String,
        /// The object's key.
        prefix: String,
        /// The object's version.
        version: Option<String>,
        /// Such as `PYTHON_3_13`.
        runtime: String,
        /// One or two words: the file, and what runs it.
        entry_point: Vec<String>,
    },
}

/// A program of this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalProgram {
    /// Path of the executable.
    pub executable: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// The argument before the port number (`--port`), for programs that do not read `PORT`.
    pub port_flag: Option<String>,
    /// Its working folder; the session's own when `None`.
    pub working_dir: Option<PathBuf>,
    /// Folders besides the working folder and the system's that it may read when it is kept apart: a language's installation.
    #[serde(default)]
    pub readable: Vec<PathBuf>,
}

/// What an agent speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum AgentProtocol {
    /// `/invocations`, AgentCore's own contract.
    Http,
    /// The Model Context Protocol at `/mcp`.
    Mcp,
    /// Agent to agent, JSON-RPC at `/`.
    A2a,
    /// The Agent User Interaction protocol at `/invocations`.
    Agui,
}

impl AgentProtocol {
    /// All of them.
    pub const ALL: [AgentProtocol; 4] = [AgentProtocol::Http, AgentProtocol::Mcp, AgentProtocol::A2a, AgentProtocol::Agui];

    /// AgentCore's name of it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            AgentProtocol::Http => "HTTP",
            AgentProtocol::Mcp => "MCP",
            AgentProtocol::A2a => "A2A",
            AgentProtocol::Agui => "AGUI",
        }
    }
}

/// Whose a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionMode {
    /// Each session has one of its own.
    OwnProcess,
    /// One serves all sessions and keeps them apart by itself.
    Shared,
}

/// How far apart an agent's processes are kept from the host and from each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IsolationLevel {
    /// Not at all, but for the environment and the process group.
    None,
    /// Folders, privileges and limits of its own.
    Process,
    /// Network and process namespaces of its own besides.
    Namespace,
}

/// What one process, with all that it starts, may use. `None` means what the host's settings or the machine allow.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ResourceLimits {
    /// Memory.
    pub memory_bytes: Option<u64>,
    /// Processes and threads.
    pub processes: Option<u32>,
    /// Open files.
    pub open_files: Option<u64>,
    /// Processor cores.
    pub cpus: Option<f64>,
}

/// A network as AgentCore names it; kept for its owner.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkConfiguration {
    /// Whether the mode is `VPC` and not `PUBLIC`.
    pub is_vpc: bool,
    /// The VPC's security groups.
    pub security_groups: Vec<String>,
    /// The VPC's subnets.
    pub subnets: Vec<String>,
}

/// A name that callers reach.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RuntimeEndpoint {
    /// Its name.
    pub name: String,
    /// The made-up part of its id.
    pub id_suffix: String,
    /// What it is for.
    pub description: Option<String>,
    /// How far it is.
    pub status: RuntimeStatus,
    /// Why it does not lead where it should.
    pub failure_reason: Option<String>,
    /// The version that calls reach; `None` while there was none that can be called.
    pub live_version: Option<u32>,
    /// The version that it is to lead to.
    pub target_version: u32,
    /// Unix milliseconds.
    pub created_at_ms: i64,
    /// Unix milliseconds.
    pub updated_at_ms: i64,
    /// The token of the request that made it or changed it last.
    pub client_token: Option<String>,
    /// Tags.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
}

impl Store {
    /// All agent runtimes, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Sql`], [`StoreError::Document`], and [`StoreError::Seal`] when the seal key is another than the one they were sealed with.
    pub fn agent_runtimes(&self) -> Result<Vec<StoredRuntime>, StoreError> {
        let connection = self.connection();
        let mut select = connection.prepare("SELECT definition FROM agent_runtime ORDER BY created_at, id")?;
        let definitions = select.query_map([], |row| row.get::<_, String>(0))?.collect::<rusqlite::Result<Vec<_>>>()?;
        let whole = |definition: String| {
            let runtime: AgentRuntime = serde_json::from_str(&definition).map_err(StoreError::Document)?;
            let versions = self.versions_of(&connection, &runtime.id)?;
            let endpoints = endpoints_of(&connection, &runtime.id)?;
            Ok(StoredRuntime { runtime, versions, endpoints })
        };
        definitions.into_iter().map(whole).collect()
    }

    fn versions_of(&self, connection: &Connection, runtime_id: &str) -> Result<BTreeMap<u32, RuntimeVersion>, StoreError> {
        let sql = "SELECT definition, sealed_environment FROM agent_runtime_version WHERE runtime_id = ?1";
        let mut select = connection.prepare_cached(sql)?;
        let rows = select.query_map([runtime_id], |row| Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?)))?;
        let mut versions = BTreeMap::new();
        for row in rows {
            let (definition, sealed) = row?;
            let mut version: RuntimeVersion = serde_json::from_str(&definition).map_err(StoreError::Document)?;
            let environment = self.seal_key.open(&sealed, &bound_to(runtime_id, version.version))?;
            version.configuration.environment = serde_json::from_str(environment.expose()).map_err(StoreError::Document)?;
            versions.insert(version.version, version);
        }
        Ok(versions)
    }

    /// Writes a runtime as a whole, in one transaction: what it no longer holds is deleted.
    ///
    /// # Errors
    /// [`StoreError::Exists`] when another runtime has the name.
    pub fn put_agent_runtime(&self, stored: &StoredRuntime) -> Result<(), StoreError> {
        let StoredRuntime { runtime, versions, endpoints } = stored;
        let mut connection = self.connection();
        let transaction = connection.transaction()?;
        let sql = "INSERT INTO agent_runtime (id, name, created_at, definition) VALUES (?1, ?2, ?3, ?4)
                   ON CONFLICT (id) DO UPDATE SET definition = excluded.definition";
        transaction
            .execute(sql, (&runtime.id, &runtime.name, runtime.created_at_ms, text(runtime)))
            .map_err(|error| exists_already(error, || format!("an agent runtime named {}", runtime.name)))?;
        transaction.execute("DELETE FROM agent_runtime_version WHERE runtime_id = ?1", [&runtime.id])?;
        for version in versions.values() {
            let environment = text(&version.configuration.environment);
            let sealed = self.seal_key.seal(&environment, &bound_to(&runtime.id, version.version))?;
            let sql = "INSERT INTO agent_runtime_version (runtime_id, version, definition, sealed_environment) VALUES (?1, ?2, ?3, ?4)";
            transaction.execute(sql, (&runtime.id, version.version, text(version), sealed))?;
        }
        transaction.execute("DELETE FROM agent_runtime_endpoint WHERE runtime_id = ?1", [&runtime.id])?;
        for endpoint in endpoints.values() {
            let sql = "INSERT INTO agent_runtime_endpoint (runtime_id, name, definition) VALUES (?1, ?2, ?3)";
            transaction.execute(sql, (&runtime.id, &endpoint.name, text(endpoint)))?;
        }
        Ok(transaction.commit()?)
    }

    /// Deletes a runtime with its versions and endpoints. Returns whether there was one.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn delete_agent_runtime(&self, id: &str) -> Result<bool, StoreError> {
        Ok(self.connection().execute("DELETE FROM agent_runtime WHERE id = ?1", [id])? == 1)
    }
}

fn endpoints_of(connection: &Connection, runtime_id: &str) -> Result<BTreeMap<String, RuntimeEndpoint>, StoreError> {
    let mut select = connection.prepare_cached("SELECT definition FROM agent_runtime_endpoint WHERE runtime_id = ?1")?;
    let rows = select.query_map([runtime_id], |row| row.get::<_, String>(0))?;
    let mut endpoints = BTreeMap::new();
    for row in rows {
        let endpoint: RuntimeEndpoint = serde_json::from_str(&row?).map_err(StoreError::Document)?;
        endpoints.insert(endpoint.name.clone(), endpoint);
    }
    Ok(endpoints)
}

/// What a version's sealed environment belongs to, so that it opens nowhere else.
fn bound_to(runtime_id: &str, version: u32) -> String {
    format!("{runtime_id}/{version}")
}
