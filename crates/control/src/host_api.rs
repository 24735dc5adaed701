//! The host's own API for its command line, below `/_frontdesk`. Signed like everything here, with the service name `frontdesk`; for the root access key alone.

use std::sync::Arc;

use bytes::Bytes;
use frontdesk_aws::ServiceError;
use frontdesk_gateway::{KeyService, KeyServiceError, KeyView};
use frontdesk_runtime::{AgentStatus, HostedAgent, HostedAgentState};
use frontdesk_store::SecretText;
use http::{HeaderValue, Method, Response, StatusCode, header};
use serde::{Deserialize, Serialize};

use crate::identity::Principal;
use crate::operation::Operation;

/// The operations of the host's own API.
#[derive(Debug, Clone, Copy)]
pub(crate) enum HostOperation {
    Status,
    ListKeys,
    CreateKey,
    EnableKey,
    DisableKey,
    KeyValue,
}

/// The table that dispatch works from.
pub(crate) const OPERATIONS: &[Operation<HostOperation>] = &[
    Operation { id: HostOperation::Status, name: "GetStatus", verb: Method::GET, path: "/_frontdesk/status" },
    Operation { id: HostOperation::ListKeys, name: "ListKeys", verb: Method::GET, path: "/_frontdesk/keys" },
    Operation { id: HostOperation::CreateKey, name: "CreateKey", verb: Method::POST, path: "/_frontdesk/keys" },
    Operation { id: HostOperation::EnableKey, name: "EnableKey", verb: Method::POST, path: "/_frontdesk/keys/{key}/enable" },
    Operation { id: HostOperation::DisableKey, name: "DisableKey", verb: Method::POST, path: "/_frontdesk/keys/{key}/disable" },
    Operation { id: HostOperation::KeyValue, name: "GetKeyValue", verb: Method::GET, path: "/_frontdesk/keys/{key}/value" },
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
    /// Why the agent's last start failed.
    pub agent_failure: Option<String>,
    /// `vector`, `keyword` or `hybrid`.
    pub search: String,
    /// Whether the search is by keywords only because there is no embedding model.
    pub embedding_model_missing: bool,
    /// What answers: `extractive`, or the LLM's name.
    pub model: String,
    /// The usage plan's limits in words.
    pub usage_plan: String,
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
    /// See [`HostStatus::usage_plan`].
    pub usage_plan: String,
}

/// Asks for a new key.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateKeyRequest {
    /// Its name.
    pub name: String,
    /// Its value, 20 to 128 characters; generated when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The usage plan to put it in, by id or name; left out, the key opens nothing yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage_plan: Option<String>,
}

/// A key, without its value.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KeyDocument {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The last four characters of its value.
    pub hint: String,
    /// Whether it opens anything.
    pub enabled: bool,
    /// Unix seconds.
    pub created_at: i64,
    /// The names of its usage plans.
    pub usage_plans: Vec<String>,
    /// Requests counted today (UTC).
    pub used_today: u64,
}

/// All keys, newest first.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KeyList {
    /// The keys.
    pub keys: Vec<KeyDocument>,
}

/// A key's value, for its owner. `Debug` is absent on purpose.
#[derive(Clone, Serialize, Deserialize)]
pub struct KeyWithValue {
    /// The key's id.
    pub id: String,
    /// The key's name.
    pub name: String,
    /// Its value.
    pub value: String,
}

impl From<KeyView> for KeyDocument {
    fn from(view: KeyView) -> Self {
        let KeyView { key, plans, used_today } = view;
        let (enabled, created_at) = (key.enabled, key.created_at);
        KeyDocument { id: key.id.0, name: key.name, hint: key.hint, enabled, created_at, usage_plans: plans, used_today }
    }
}

/// Performs one operation of the host's API.
///
/// # Errors
/// AccessDeniedException for anyone but the root, ValidationException and ResourceNotFoundException naming the thing.
#[expect(clippy::too_many_arguments, reason = "dispatch hands each operation the little it needs")]
pub(crate) async fn perform(
    operation: &Operation<HostOperation>,
    parameters: Vec<String>,
    principal: &Principal,
    region: &str,
    source: &StatusSource,
    agents: &[HostedAgent],
    keys: Arc<KeyService>,
    body: Bytes,
    now_unix: i64,
) -> Result<Response<Bytes>, ServiceError> {
    principal.authorize(&format!("{HOST_SERVICE}:{}", operation.name), &["*"])?;
    let key = parameters.into_iter().next().unwrap_or_default();
    match operation.id {
        HostOperation::Status => Ok(json(StatusCode::OK, &status(region, source, agents)?)),
        HostOperation::ListKeys => {
            let views = blocking(move || keys.list(now_unix)).await?;
            Ok(json(StatusCode::OK, &KeyList { keys: views.into_iter().map(KeyDocument::from).collect() }))
        }
        HostOperation::CreateKey => {
            let wanted: CreateKeyRequest =
                serde_json::from_slice(&body).map_err(|error| ServiceError::validation(format!("the request body: {error}")))?;
            let created = blocking(move || {
                let value = wanted.value.map(SecretText::new);
                let created = keys.create(&wanted.name, value, wanted.usage_plan.as_deref(), now_unix)?;
                Ok(KeyWithValue { id: created.id.0, name: wanted.name, value: created.value.expose().to_owned() })
            });
            Ok(json(StatusCode::CREATED, &created.await?))
        }
        HostOperation::EnableKey | HostOperation::DisableKey => {
            let enabled = matches!(operation.id, HostOperation::EnableKey);
            let changed = blocking(move || {
                let key = keys.set_enabled(&key, enabled, now_unix)?;
                let view = keys.list(now_unix)?.into_iter().find(|view| view.key.id == key.id);
                view.ok_or(KeyServiceError::NoSuchKey(key.id.0))
            });
            Ok(json(StatusCode::OK, &KeyDocument::from(changed.await?)))
        }
        HostOperation::KeyValue => {
            let (key, value) = blocking(move || keys.value(&key)).await?;
            Ok(json(StatusCode::OK, &KeyWithValue { id: key.id.0, name: key.name, value: value.expose().to_owned() }))
        }
    }
}

fn status(region: &str, source: &StatusSource, agents: &[HostedAgent]) -> Result<HostStatus, ServiceError> {
    let agent = agents.first().ok_or_else(|| ServiceError::resource_not_found("no agent is hosted"))?;
    let AgentStatus { arn, state, pid, failure } = agent.status();
    let agent_status = match state {
        HostedAgentState::Stopped => "STOPPED",
        HostedAgentState::Starting => "STARTING",
        HostedAgentState::Ready => "READY",
        HostedAgentState::Failed => "FAILED",
    };
    let StatusSource { gateway, endpoint, control, search, embedding_model_missing, model, usage_plan } = source.clone();
    Ok(HostStatus {
        gateway,
        endpoint,
        control,
        region: region.to_owned(),
        agent_runtime_arn: arn.to_string(),
        agent_status: agent_status.to_owned(),
        agent_pid: pid,
        agent_failure: failure,
        search,
        embedding_model_missing,
        model,
        usage_plan,
    })
}

/// The key service blocks on the database, so it runs on a blocking thread.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, KeyServiceError> + Send + 'static) -> Result<T, ServiceError> {
    let done = tokio::task::spawn_blocking(work).await.map_err(|panicked| ServiceError::internal_server(panicked.to_string()))?;
    done.map_err(|error| match &error {
        KeyServiceError::NoSuchKey(_) | KeyServiceError::NoSuchPlan(_) => ServiceError::resource_not_found(error.to_string()),
        KeyServiceError::NameTooLong | KeyServiceError::Value(_) | KeyServiceError::Ambiguous { .. } => {
            ServiceError::validation(error.to_string())
        }
        KeyServiceError::Store(frontdesk_store::StoreError::Exists { .. }) => ServiceError::conflict(error.to_string()),
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
