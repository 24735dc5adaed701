//! AgentCore's front, the control planes of API Gateway and Lambda, CloudWatch's logs, metrics and alarms, Cost Explorer, IAM, STS and the host's own API: who
//! calls, may they, and what they want.
//!
//! Every request is verified (SigV4, over the hash of the body that really came) and judged against its principal's policies before anything is done.
//! This crate shapes AWS's documents; what is behind them (agents, keys) lives in the rooms below.

mod absent;
mod agentcore_control;
mod apigateway;
mod body;
mod catalogue;
mod cloudwatch;
mod cost;
mod cost_explorer;
mod data_plane;
mod host_api;
mod iam;
mod identity;
mod intercept;
mod json_document;
mod lambda;
mod logs;
mod members;
mod metrics;
mod oidc;
mod operation;
mod query;
mod rpc;
mod serve;
mod sts;
mod timestamp;

#[cfg(any(test, fuzzing))]
pub use apigateway::fuzzing;
pub use catalogue::{ServedOperation, ServedService, served_services};
pub use host_api::{
    ActorUsageDocument, AgentDocument, AgentEndpointDocument, AgentList, CostDocument, CostLine, CreateKeyRequest, ExtendQuotaRequest,
    ExtendedQuota, GoBackRequest, HOST_SERVICE, HostStatus, ImportKeysRequest, ImportedKeys, IsolationDocument, KeyDocument, KeyList,
    KeyUsageDocument, KeyWithValue, LaunchRequest, LimitsDocument, PlanDocument, PlanList, PlanStageDocument, ProgramDocument,
    PutPlanRequest, QuotaDocument, RotateKeyRequest, SessionDocument, SessionList, SessionsDocument, StatusSource, ThrottleDocument,
    UpdateKeyRequest, UsageDocument,
};
pub use identity::{BuiltInRole, IdentityService, IdentityServiceError, Principal, TemporaryCredentials};
pub use intercept::{Authority, AuthorityError, ForeignHosts, Interceptor, ProxyCredentials, ProxyUser};
pub use logs::{LogMetric, LogMetrics, LogPlace, LogService, may_write as role_may_write_logs};
pub use metrics::{AlarmNotice, AlarmSink, FigureSource, MetricService};
pub use oidc::{Fetch, FetchError, Fetching};
pub use serve::{CallerAddress, Control, MetricsSource};
