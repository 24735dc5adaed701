//! The host's own API for its command line, below `/_frontdesk`. Signed like everything here, with the service name `frontdesk`; for the root access key alone.

mod agents;
mod cost;
mod documents;

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use frontdesk_aws::ServiceError;
use frontdesk_aws::arn::AgentRuntimeArn;
use frontdesk_gateway::quota::{day_of, day_of_date};
use frontdesk_gateway::{KeyService, KeyServiceError, PlanChange, USAGE_DAYS_MAX};
use frontdesk_runtime::{RuntimeService, SharedState, SharedStatus};
use frontdesk_store::{ApiKeyChange, PlanNames, Quota, QuotaPeriod, SecretText, StageRef};
use http::{HeaderValue, Method, Response, StatusCode, header};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use time::Date;
use time::macros::format_description;

use crate::identity::Principal;
use crate::metrics::MetricService;
use crate::operation::{Operation, query_parameter};

pub use agents::{
    AgentDocument, AgentEndpointDocument, AgentList, GoBackRequest, IsolationDocument, LaunchRequest, LimitsDocument, ProgramDocument,
    SessionDocument, SessionList, SessionsDocument,
};
pub use cost::{CostDocument, CostLine};
pub use documents::{
    ActorUsageDocument, CreateKeyRequest, ExtendQuotaRequest, ExtendedQuota, ImportKeysRequest, ImportedKeys, KeyDocument, KeyList,
    KeyUsageDocument, KeyWithValue, PlanDocument, PlanList, PlanStageDocument, PutPlanRequest, QuotaDocument, RotateKeyRequest,
    ThrottleDocument, UpdateKeyRequest, UsageDocument,
};

/// The operations of the host's own API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HostOperation {
    Status,
    ListKeys,
    CreateKey,
    ImportKeys,
    GetKey,
    UpdateKey,
    DeleteKey,
    RotateKey,
    KeyValue,
    ListPlans,
    CreatePlan,
    UpdatePlan,
    DeletePlan,
    JoinPlan,
    LeavePlan,
    Usage,
    ExtendQuota,
    ListAgents,
    PutAgent,
    GetAgent,
    GoBack,
    DeleteAgent,
    ListSessions,
    EndSession,
    Cost,
}

/// The table that dispatch works from.
pub(crate) const OPERATIONS: &[Operation<HostOperation>] = &[
    Operation { id: HostOperation::Status, name: "GetStatus", verb: Method::GET, path: "/_frontdesk/status" },
    Operation { id: HostOperation::ListKeys, name: "ListKeys", verb: Method::GET, path: "/_frontdesk/keys" },
    Operation { id: HostOperation::CreateKey, name: "CreateKey", verb: Method::POST, path: "/_frontdesk/keys" },
    Operation { id: HostOperation::ImportKeys, name: "ImportKeys", verb: Method::POST, path: "/_frontdesk/import-keys" },
    Operation { id: HostOperation::GetKey, name: "GetKey", verb: Method::GET, path: "/_frontdesk/keys/{key}" },
    Operation { id: HostOperation::UpdateKey, name: "UpdateKey", verb: Method::PATCH, path: "/_frontdesk/keys/{key}" },
    Operation { id: HostOperation::DeleteKey, name: "DeleteKey", verb: Method::DELETE, path: "/_frontdesk/keys/{key}" },
    Operation { id: HostOperation::RotateKey, name: "RotateKey", verb: Method::POST, path: "/_frontdesk/keys/{key}/rotate" },
    Operation { id: HostOperation::KeyValue, name: "GetKeyValue", verb: Method::GET, path: "/_frontdesk/keys/{key}/value" },
    Operation { id: HostOperation::ListPlans, name: "ListUsagePlans", verb: Method::GET, path: "/_frontdesk/usage-plans" },
    Operation { id: HostOperation::CreatePlan, name: "CreateUsagePlan", verb: Method::POST, path: "/_frontdesk/usage-plans" },
    Operation { id: HostOperation::UpdatePlan, name: "UpdateUsagePlan", verb: Method::PATCH, path: "/_frontdesk/usage-plans/{plan}" },
    Operation { id: HostOperation::DeletePlan, name: "DeleteUsagePlan", verb: Method::DELETE, path: "/_frontdesk/usage-plans/{plan}" },
    Operation {
        id: HostOperation::JoinPlan,
        name: "CreateUsagePlanKey",
        verb: Method::PUT,
        path: "/_frontdesk/usage-plans/{plan}/keys/{key}",
    },
    Operation {
        id: HostOperation::LeavePlan,
        name: "DeleteUsagePlanKey",
        verb: Method::DELETE,
        path: "/_frontdesk/usage-plans/{plan}/keys/{key}",
    },
    Operation { id: HostOperation::Usage, name: "GetUsage", verb: Method::GET, path: "/_frontdesk/usage" },
    Operation { id: HostOperation::ExtendQuota, name: "UpdateUsage", verb: Method::POST, path: "/_frontdesk/usage/extend" },
    Operation { id: HostOperation::ListAgents, name: "ListAgents", verb: Method::GET, path: "/_frontdesk/agents" },
    Operation { id: HostOperation::PutAgent, name: "PutAgent", verb: Method::PUT, path: "/_frontdesk/agents/{agent}" },
    Operation { id: HostOperation::GetAgent, name: "GetAgent", verb: Method::GET, path: "/_frontdesk/agents/{agent}" },
    Operation { id: HostOperation::GoBack, name: "PutAgentVersion", verb: Method::PUT, path: "/_frontdesk/agents/{agent}/version" },
    Operation { id: HostOperation::DeleteAgent, name: "DeleteAgent", verb: Method::DELETE, path: "/_frontdesk/agents/{agent}" },
    Operation { id: HostOperation::ListSessions, name: "ListSessions", verb: Method::GET, path: "/_frontdesk/sessions" },
    Operation { id: HostOperation::EndSession, name: "DeleteSession", verb: Method::DELETE, path: "/_frontdesk/sessions/{session}" },
    Operation { id: HostOperation::Cost, name: "GetCost", verb: Method::GET, path: "/_frontdesk/cost" },
];

/// The service's name in signatures.
pub const HOST_SERVICE: &str = "frontdesk";

/// What a host says of itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HostStatus {
    /// The gateway's URL.
    pub gateway: String,
    /// Where questions are posted.
    pub endpoint: String,
    /// The control URL.
    pub control: String,
    /// The region it plays.
    pub region: String,
    /// The agent's ARN.
    pub agent_runtime_arn: String,
    /// `READY`, `STARTING`, `STOPPED` or `FAILED`.
    pub agent_status: String,
    /// The agent's process id, while it runs.
    pub agent_pid: Option<u32>,
    /// Whether the agent is at work besides its calls. The built-in one is while it embeds a large FAQ; a new one is searched by keywords meanwhile.
    #[serde(default)]
    pub agent_busy: bool,
    /// Why the agent's last start failed.
    pub agent_failure: Option<String>,
    /// `vector`, `keyword` or `hybrid`.
    pub search: String,
    /// Whether the search is by keywords only because there is no embedding model.
    pub embedding_model_missing: bool,
    /// What answers: `extractive`, or the LLM's name.
    pub model: String,
    /// The FAQ of the built-in agent: a file or a folder.
    pub faq: String,
    /// The name of the agent that answers at the endpoint: the built-in one, or one that was launched here.
    pub endpoint_agent: String,
    /// Its ARN; `None` while no such agent is hosted, so that callers get 404.
    pub endpoint_agent_arn: Option<String>,
    /// The usage plan's limits in words.
    pub usage_plan: String,
    /// The id of the API in front of the agent.
    #[serde(default)]
    pub rest_api_id: String,
}

impl HostStatus {
    /// Whether the built-in agent answers at the endpoint.
    #[must_use]
    pub fn is_built_in_at_endpoint(&self) -> bool {
        self.endpoint_agent_arn.as_deref() == Some(&self.agent_runtime_arn)
    }
}

/// What the composition root knows of the host and this crate cannot.
#[derive(Debug, Clone)]
pub struct StatusSource {
    /// See [`HostStatus::gateway`].
    pub gateway: String,
    /// See [`HostStatus::endpoint`].
    pub endpoint: String,
    /// See [`HostStatus::control`].
    pub control: String,
    /// See [`HostStatus::search`].
    pub search: String,
    /// See [`HostStatus::embedding_model_missing`].
    pub embedding_model_missing: bool,
    /// See [`HostStatus::model`].
    pub model: String,
    /// See [`HostStatus::faq`].
    pub faq: String,
    /// See [`HostStatus::endpoint_agent`].
    pub endpoint_agent: String,
    /// See [`HostStatus::usage_plan`].
    pub usage_plan: String,
    /// The id of the API that the host seeded.
    pub rest_api_id: String,
    /// The agent that the host seeded.
    pub agent_runtime_arn: AgentRuntimeArn,
}

/// A call of the host's API, verified.
pub(crate) struct Call<'a> {
    pub(crate) operation: &'a Operation<HostOperation>,
    /// The path's parameters, decoded.
    pub(crate) parameters: Vec<String>,
    /// The query, undecoded.
    pub(crate) query: String,
    pub(crate) body: Bytes,
    pub(crate) principal: &'a Principal,
    pub(crate) now_ms: i64,
}

/// What the host's API works on.
pub(crate) struct HostRooms<'a> {
    pub(crate) region: &'a str,
    pub(crate) source: &'a StatusSource,
    pub(crate) runtimes: Arc<RuntimeService>,
    pub(crate) keys: Arc<KeyService>,
    pub(crate) metrics: Option<Arc<MetricService>>,
}

/// Performs one operation of the host's API.
///
/// # Errors
/// AccessDeniedException for anyone but the root, ValidationException and ResourceNotFoundException naming the thing.
pub(crate) async fn perform(call: Call<'_>, rooms: HostRooms<'_>) -> Result<Response<Bytes>, ServiceError> {
    let Call { operation, parameters, query, body, principal, now_ms } = call;
    let now_unix = now_ms / 1000;
    principal.authorize(&format!("{HOST_SERVICE}:{}", operation.name), &["*"])?;
    let HostRooms { region, source, runtimes, keys, metrics } = rooms;
    let mut parameters = parameters.into_iter();
    let mut parameter = move || parameters.next().unwrap_or_default();
    match operation.id {
        HostOperation::Status => Ok(json(StatusCode::OK, &status(region, source, &runtimes))),
        HostOperation::ListKeys => {
            let views = blocking(move || keys.list(now_unix)).await?;
            let keys = views.into_iter().map(|view| KeyDocument::of(view, now_unix)).collect();
            Ok(json(StatusCode::OK, &KeyList { keys }))
        }
        HostOperation::CreateKey => {
            let wanted = read(&body)?;
            Ok(json(StatusCode::CREATED, &blocking(move || create_key(&keys, wanted, now_unix)).await?))
        }
        HostOperation::ImportKeys => {
            let ImportKeysRequest { csv, usage_plan } = read(&body)?;
            let ids = blocking(move || keys.import(csv.as_bytes(), usage_plan.as_deref(), now_unix)).await?;
            Ok(json(StatusCode::CREATED, &ImportedKeys { ids: ids.into_iter().map(|id| id.0).collect() }))
        }
        HostOperation::GetKey => {
            let key = parameter();
            let view = blocking(move || keys.view(&key, now_unix)).await?;
            Ok(json(StatusCode::OK, &KeyDocument::of(view, now_unix)))
        }
        HostOperation::UpdateKey => {
            let (key, wanted) = (parameter(), read(&body)?);
            Ok(json(StatusCode::OK, &blocking(move || update_key(&keys, &key, wanted, now_unix)).await?))
        }
        HostOperation::DeleteKey => {
            let key = parameter();
            blocking(move || keys.delete(&key, now_unix)).await?;
            Ok(json(StatusCode::ACCEPTED, &serde_json::json!({})))
        }
        HostOperation::RotateKey => {
            let (key, RotateKeyRequest { overlap_s, value }) = (parameter(), read(&body)?);
            let rotated = blocking(move || keys.rotate(&key, value.map(SecretText::new), overlap_s, now_unix)).await?;
            let (key, value, retires_at) = rotated;
            let former_value_retires_at = Some(retires_at);
            let value = value.expose().to_owned();
            Ok(json(StatusCode::CREATED, &KeyWithValue { id: key.id.0, name: key.name, value, former_value_retires_at }))
        }
        HostOperation::KeyValue => {
            let key = parameter();
            let (key, value) = blocking(move || keys.value(&key)).await?;
            let former_value_retires_at = key.former.map(|former| former.retires_at).filter(|retires_at| *retires_at > now_unix);
            let value = value.expose().to_owned();
            Ok(json(StatusCode::OK, &KeyWithValue { id: key.id.0, name: key.name, value, former_value_retires_at }))
        }
        HostOperation::ListPlans => {
            let plans = blocking(move || keys.plans()).await?;
            Ok(json(StatusCode::OK, &PlanList { usage_plans: plans.into_iter().map(PlanDocument::from).collect() }))
        }
        HostOperation::CreatePlan => {
            let change = plan_change(read(&body)?, &source.rest_api_id)?;
            let plan = blocking(move || keys.create_plan(change, PlanNames::Distinct, now_unix)).await?;
            Ok(json(StatusCode::CREATED, &PlanDocument::from(plan)))
        }
        HostOperation::UpdatePlan => {
            let (plan, change) = (parameter(), plan_change(read(&body)?, &source.rest_api_id)?);
            let plan = blocking(move || keys.change_plan(&plan, change, PlanNames::Distinct, now_unix)).await?;
            Ok(json(StatusCode::OK, &PlanDocument::from(plan)))
        }
        HostOperation::DeletePlan => {
            let plan = parameter();
            blocking(move || keys.delete_plan(&plan, now_unix)).await?;
            Ok(json(StatusCode::ACCEPTED, &serde_json::json!({})))
        }
        HostOperation::JoinPlan | HostOperation::LeavePlan => {
            let (plan, key) = (parameter(), parameter());
            let joins = matches!(operation.id, HostOperation::JoinPlan);
            let changed = blocking(move || {
                if joins {
                    keys.join_plan(&plan, &key, now_unix)?
                } else {
                    keys.leave_plan(&plan, &key, now_unix)?
                }
                keys.view(&key, now_unix)
            });
            Ok(json(StatusCode::OK, &KeyDocument::of(changed.await?, now_unix)))
        }
        HostOperation::Usage => {
            let today = day_of(now_unix);
            let (first, last) = (date(&query, "from")?.unwrap_or(today), date(&query, "to")?.unwrap_or(today));
            if first > last || last - first >= USAGE_DAYS_MAX {
                return Err(ServiceError::validation(format!("from must not be after to, nor more than {USAGE_DAYS_MAX} days before it")));
            }
            let key = query_value(&query, "key").map(Cow::into_owned);
            let report = blocking(move || keys.usage(first, last, key.as_deref(), now_unix)).await?;
            Ok(json(StatusCode::OK, &UsageDocument::from(report)))
        }
        HostOperation::ExtendQuota => {
            let ExtendQuotaRequest { key, extra, usage_plan } = read(&body)?;
            let (plan, remaining) = blocking(move || keys.extend_quota(&key, usage_plan.as_deref(), extra, now_unix)).await?;
            Ok(json(StatusCode::OK, &ExtendedQuota { usage_plan: plan.name, remaining }))
        }
        HostOperation::Cost => Ok(json(StatusCode::OK, &cost::document(query_value(&query, "month").as_deref(), metrics, now_unix).await?)),
        HostOperation::ListAgents
        | HostOperation::PutAgent
        | HostOperation::GetAgent
        | HostOperation::GoBack
        | HostOperation::DeleteAgent
        | HostOperation::ListSessions
        | HostOperation::EndSession => agents::perform(operation.id, parameter(), &query, &body, &runtimes, now_ms).await,
    }
}

fn create_key(keys: &KeyService, wanted: CreateKeyRequest, now_unix: i64) -> Result<KeyWithValue, KeyServiceError> {
    let CreateKeyRequest { name, value, usage_plan, description, expires_at, source_ranges, tags } = wanted;
    let about = ApiKeyChange {
        name: Some(name.clone()),
        description,
        expires_at: expires_at.map(Some),
        source_ranges: Some(source_ranges),
        tags: Some(tags),
        enabled: Some(true),
    };
    let created = keys.create(about, value.map(SecretText::new), usage_plan.as_deref(), now_unix)?;
    Ok(KeyWithValue { id: created.id.0, name, value: created.value.expose().to_owned(), former_value_retires_at: None })
}

fn update_key(keys: &KeyService, key: &str, wanted: UpdateKeyRequest, now_unix: i64) -> Result<KeyDocument, KeyServiceError> {
    let UpdateKeyRequest { name, description, enabled, expires_at, source_ranges, tags } = wanted;
    let id = keys.view(key, now_unix)?.key.id;
    let tags = (!tags.is_empty()).then_some(tags);
    keys.change(&id.0, ApiKeyChange { name, description, enabled, expires_at, source_ranges, tags }, now_unix)?;
    Ok(KeyDocument::of(keys.view(&id.0, now_unix)?, now_unix))
}

fn plan_change(wanted: PutPlanRequest, rest_api_id: &str) -> Result<PlanChange, ServiceError> {
    let PutPlanRequest { name, description, throttle, quota, stages, method_throttles } = wanted;
    let quota = match quota {
        Some(Some(QuotaDocument { limit, period, offset })) => {
            let known = QuotaPeriod::named(&period);
            let period =
                known.ok_or_else(|| ServiceError::validation(format!("the quota's period is {period}: it must be DAY, WEEK or MONTH")))?;
            Some(Some(Quota { limit, period, offset }))
        }
        Some(None) => Some(None),
        None => None,
    };
    let stage = |stage| StageRef { api_id: rest_api_id.to_owned(), stage };
    Ok(PlanChange {
        name,
        description,
        throttle: throttle.map(|throttle| throttle.map(Into::into)),
        quota,
        stages: stages.map(|stages| stages.into_iter().map(stage).collect()),
        method_throttles: method_throttles.into_iter().map(|(method, throttle)| (method, throttle.map(Into::into))).collect(),
    })
}

fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, ServiceError> {
    serde_json::from_slice(body).map_err(|error| ServiceError::validation(format!("the request body: {error}")))
}

fn query_value<'a>(query: &'a str, name: &str) -> Option<Cow<'a, str>> {
    percent_encoding::percent_decode_str(query_parameter(query, name)?).decode_utf8().ok()
}

/// A date of the query, as days since 1970-01-01.
fn date(query: &str, name: &str) -> Result<Option<u32>, ServiceError> {
    let Some(text) = query_value(query, name) else { return Ok(None) };
    let date = Date::parse(&text, format_description!("[year]-[month]-[day]"));
    date.map(|date| Some(day_of_date(date))).map_err(|_| ServiceError::validation(format!("{name} is {text}: write a date as 2026-01-31")))
}

fn status(region: &str, source: &StatusSource, runtimes: &RuntimeService) -> HostStatus {
    let SharedStatus { state, pid, is_busy, failure } = runtimes.shared_status(source.agent_runtime_arn.id());
    let agent_status = match state {
        SharedState::Stopped => "STOPPED",
        SharedState::Starting => "STARTING",
        SharedState::Ready => "READY",
        SharedState::Failed => "FAILED",
    };
    let StatusSource {
        gateway,
        endpoint,
        control,
        search,
        embedding_model_missing,
        model,
        faq,
        endpoint_agent,
        usage_plan,
        rest_api_id,
        ..
    } = source.clone();
    HostStatus {
        gateway,
        endpoint,
        control,
        region: region.to_owned(),
        agent_runtime_arn: source.agent_runtime_arn.to_string(),
        agent_status: agent_status.to_owned(),
        agent_pid: pid,
        agent_busy: is_busy,
        agent_failure: failure,
        search,
        embedding_model_missing,
        model,
        faq,
        endpoint_agent_arn: runtimes.arn_of(&endpoint_agent).map(|arn| arn.to_string()),
        endpoint_agent,
        usage_plan,
        rest_api_id,
    }
}

/// The key service blocks on the database, so it runs on a blocking thread.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, KeyServiceError> + Send + 'static) -> Result<T, ServiceError> {
    let done = tokio::task::spawn_blocking(work).await.map_err(|panicked| ServiceError::internal_server(panicked.to_string()))?;
    done.map_err(|error| match &error {
        KeyServiceError::NoSuchKey(_) | KeyServiceError::NoSuchPlan(_) => ServiceError::resource_not_found(error.to_string()),
        KeyServiceError::NameTooLong
        | KeyServiceError::Value(_)
        | KeyServiceError::Invalid(_)
        | KeyServiceError::Import(_)
        | KeyServiceError::ValueNotKept(_)
        | KeyServiceError::Ambiguous { .. }
        | KeyServiceError::AmbiguousPlan { .. } => ServiceError::validation(error.to_string()),
        KeyServiceError::Store(frontdesk_store::StoreError::Exists { .. }) => ServiceError::conflict(error.to_string()),
        KeyServiceError::Store(frontdesk_store::StoreError::Fleet(reason)) if reason.is_outage() => {
            let message = format!("{error}, and what a fleet shares is neither changed nor summed without it");
            ServiceError::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailableException", message)
        }
        KeyServiceError::Random(_) | KeyServiceError::Store(_) => {
            tracing::error!(error = &error as &dyn std::error::Error, "the host's API failed");
            ServiceError::internal_server(error.to_string())
        }
    })
}

fn json(status: StatusCode, document: &impl Serialize) -> Response<Bytes> {
    let body = serde_json::to_vec(document).expect("these documents have string keys and no failing serializers");
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
