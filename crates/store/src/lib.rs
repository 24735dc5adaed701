//! What lasts: one SQLite database in one data folder, held by one process at a time, and another for logs; for a fleet of hosts, one PostgreSQL database beside it.
//!
//! This crate alone names the databases. It knows the domain's types and no HTTP. Every call of the [`Store`] blocks; callers on async threads go through
//! their own writer or a blocking thread. Secrets are sealed before they reach the file.

mod access_keys;
mod agent_runtimes;
mod alarms;
mod api_keys;
mod data_folder;
mod database;
mod fleet;
mod functions;
mod iam;
mod logs;
mod metrics;
mod rest_apis;
mod seal;
mod usage;
mod usage_plans;

pub use access_keys::AccessKey;
pub use agent_runtimes::{
    AgentProtocol, AgentRuntime, Artifact, IsolationLevel, LocalProgram, NetworkConfiguration, ResourceLimits, RuntimeConfiguration,
    RuntimeEndpoint, RuntimeStatus, RuntimeVersion, SessionMode, StoredRuntime,
};
pub use alarms::{
    AlarmHistoryItem, AlarmStanding, AlarmState, Asked, Comparison, MetricAlarm, MetricQuery, MetricStat, MissingData, Watched,
};
pub use api_keys::{ApiKey, ApiKeyChange, ApiKeyId, FormerValue, KeyDigest, NewApiKey};
pub use data_folder::{DataFolder, DataFolderError};
pub use database::{Seeded, Store, StoreError};
pub use fleet::{FleetAddress, FleetConnection, FleetError, FleetNews, Joined, LeaseAsk, Leased};
pub use functions::{
    Function, FunctionAlias, FunctionCode, FunctionConfiguration, FunctionState, FunctionVersion, LastUpdate, ResourcePolicy,
    StoredFunction,
};
pub use iam::{Identity, IdentityChange, IdentityKind, KeyUse, ManagedPolicy, PolicyVersion, RoleTerms, StoredIdentities, UserAccessKey};
pub use logs::{
    EVENT_OVERHEAD_BYTES, EventPage, EventRange, LogGroup, LogStore, LogStream, MetricFilter, MetricTransformation, NewEvent, Position,
    StoredEvent,
};
pub use metrics::{KnownSeries, MetricPoint};
pub use rest_apis::{
    Deployment, GatewayResponse, Integration, IntegrationResponse, IntegrationType, Method, MethodResponse, MethodSettings, Resource,
    RestApi, Stage, StageAccessLog,
};
pub use seal::{SEAL_KEY_BYTES, SealError, SealKey, SecretText};
pub use usage::{ActorCount, QuotaExtension, UsageCount};
pub use usage_plans::{PlanNames, PlanStage, Quota, QuotaPeriod, StageRef, Throttle, UsagePlan, UsagePlanId};
