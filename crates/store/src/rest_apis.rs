//! REST APIs at rest: API Gateway's model (RestApi, Resource, Method, Integration, Deployment, Stage) and where it is kept.
//!
//! The names and the defaults are API Gateway's (<https://docs.aws.amazon.com/apigateway/latest/api/API_Operations.html>). A definition is one JSON document,
//! since it is always read and written as a whole; the form is this program's own and not AWS's.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension as _, Row};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::database::{Store, StoreError, exists_already};
use crate::usage_plans::Throttle;

/// An API as it is being edited. What callers reach is a [`Deployment`] of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RestApi {
    /// Ten lower-case letters and digits.
    pub id: String,
    /// Its name; several APIs may have the same one.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// Its version, in its owner's words.
    pub version: Option<String>,
    /// Unix seconds.
    pub created_at: i64,
    /// `EDGE`, `REGIONAL` or `PRIVATE`: kept for its owner, all are served alike.
    pub endpoint_type: String,
    /// Media types whose bodies are bytes to API Gateway; kept for its owner, every body is bytes here.
    pub binary_media_types: Vec<String>,
    /// Where keys come from; `HEADER` is all that is served.
    pub api_key_source: String,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// Its resources by id; one has no parent, the root.
    pub resources: BTreeMap<String, Resource>,
    /// What it says instead of the gateway's own answers, by response type (`DEFAULT_4XX`, `THROTTLED`, …).
    pub gateway_responses: BTreeMap<String, GatewayResponse>,
}

/// A path and its methods.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Resource {
    /// Six to ten lower-case letters and digits.
    pub id: String,
    /// The resource above; `None` for the root.
    pub parent_id: Option<String>,
    /// The last segment: a text, `{name}` or `{name+}`; `None` for the root.
    pub path_part: Option<String>,
    /// The whole path, such as `/orders/{order}`.
    pub path: String,
    /// Methods by verb; `ANY` answers for verbs without one.
    pub methods: BTreeMap<String, Method>,
}

/// A verb on a resource.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Method {
    /// `NONE`, or what else it was set to; only `NONE` is served.
    pub authorization_type: String,
    /// Whether a key of a usage plan is required; without it the method is not metered either.
    pub api_key_required: bool,
    /// A name for SDKs.
    pub operation_name: Option<String>,
    /// Parameters it takes (`method.request.querystring.q`), and whether they are required.
    pub request_parameters: BTreeMap<String, bool>,
    /// What answers.
    pub integration: Option<Integration>,
    /// The statuses it declares, with the headers that integration responses may set.
    pub method_responses: BTreeMap<String, MethodResponse>,
}

/// A status that a method declares.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct MethodResponse {
    /// Headers (`method.response.header.Name`), and whether they are required.
    pub response_parameters: BTreeMap<String, bool>,
    /// Models by media type; kept for the owner, not enforced.
    pub response_models: BTreeMap<String, String>,
}

/// What kind of backend an integration has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum IntegrationType {
    /// A function gets what the mappings make of the request, and mappings make the answer.
    Aws,
    /// A function gets the request as it is and answers it whole.
    AwsProxy,
    /// A server gets what the mappings make of the request, and mappings make the answer.
    Http,
    /// A server gets the request as it is, and its answer goes back as it is.
    HttpProxy,
    /// Nothing is called: the mappings make the answer.
    Mock,
}

impl IntegrationType {
    /// API Gateway's name of it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            IntegrationType::Aws => "AWS",
            IntegrationType::AwsProxy => "AWS_PROXY",
            IntegrationType::Http => "HTTP",
            IntegrationType::HttpProxy => "HTTP_PROXY",
            IntegrationType::Mock => "MOCK",
        }
    }
}

/// What is behind a method.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Integration {
    /// Its kind.
    pub kind: IntegrationType,
    /// The verb that the backend is called with; `None` for a mock, `ANY` for the caller's.
    pub http_method: Option<String>,
    /// An invocation ARN or a URL; may hold `{parameters}` and `${stageVariables.name}`.
    pub uri: Option<String>,
    /// The ARN of the role that calls the backend, where that is a service of AWS.
    #[serde(default)]
    pub credentials: Option<String>,
    /// Parameters of the backend's request (`integration.request.path.id`), and where they come from.
    pub request_parameters: BTreeMap<String, String>,
    /// Bodies of the backend's request by media type.
    pub request_templates: BTreeMap<String, String>,
    /// `WHEN_NO_MATCH`, `WHEN_NO_TEMPLATES` or `NEVER`.
    pub passthrough_behavior: String,
    /// The longest wait for the first byte of an answer.
    pub timeout_ms: u64,
    /// Whether an answer is handed on while it comes (`STREAM`).
    pub is_streaming: bool,
    /// Parameters that are to tell cached answers apart; kept for the owner, here path, query and body do.
    pub cache_key_parameters: Vec<String>,
    /// Answers by the method's status.
    pub responses: BTreeMap<String, IntegrationResponse>,
}

/// How a backend's answer becomes the method's.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct IntegrationResponse {
    /// A regular expression over the backend's whole status; `None` for the answer that serves when no other does.
    pub selection_pattern: Option<String>,
    /// Headers of the answer (`method.response.header.Name`), and where they come from.
    pub response_parameters: BTreeMap<String, String>,
    /// Bodies by media type.
    pub response_templates: BTreeMap<String, String>,
}

/// What an API says instead of one of the gateway's own answers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct GatewayResponse {
    /// The status; `None` keeps the gateway's.
    pub status_code: Option<u16>,
    /// Headers (`gatewayresponse.header.Name`), and where they come from.
    pub response_parameters: BTreeMap<String, String>,
    /// Bodies by media type.
    pub response_templates: BTreeMap<String, String>,
}

/// An API as it was when it was deployed. Immutable.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Deployment {
    /// Its id.
    pub id: String,
    /// Its API.
    pub api_id: String,
    /// Why it was made.
    pub description: Option<String>,
    /// Unix seconds.
    pub created_at: i64,
    /// The resources as they were.
    pub resources: BTreeMap<String, Resource>,
    /// The gateway responses as they were.
    pub gateway_responses: BTreeMap<String, GatewayResponse>,
    /// Media types whose bodies are bytes, as they were; none in what older versions wrote.
    #[serde(default)]
    pub binary_media_types: Vec<String>,
}

/// A name that callers reach, and which deployment it serves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// Its API.
    pub api_id: String,
    /// Its name, the first segment of the path.
    pub name: String,
    /// What it serves.
    pub deployment_id: String,
    /// What it is for.
    pub description: Option<String>,
    /// Unix seconds.
    pub created_at: i64,
    /// Unix seconds.
    pub updated_at: i64,
    /// Values that mappings and URIs read.
    pub variables: BTreeMap<String, String>,
    /// Whether answers may be cached.
    pub is_cached: bool,
    /// The cache's size in gigabytes, as AWS sells it; kept for the owner.
    pub cache_cluster_size: Option<String>,
    /// Settings by method: `*/*`, or the path with `~1` for `/`, a slash and the verb (`~1invoke/POST`).
    pub method_settings: BTreeMap<String, MethodSettings>,
    /// Where and how it logs accesses, if that is its own.
    pub access_log: Option<StageAccessLog>,
    /// Whether traces are wanted (X-Ray on AWS).
    pub is_traced: bool,
    /// Tags.
    pub tags: BTreeMap<String, String>,
}

/// Settings of a stage's methods.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct MethodSettings {
    /// The speed of all callers of a method together.
    pub throttle: Option<Throttle>,
    /// Whether its answers may be cached.
    pub is_cached: Option<bool>,
    /// How long they are, in seconds.
    pub cache_ttl_s: Option<u64>,
    /// Whether single methods have metrics on AWS; here they always have.
    pub has_metrics: Option<bool>,
    /// `OFF`, `ERROR` or `INFO`; kept for the owner.
    pub logging_level: Option<String>,
    /// Whether bodies are to be logged; kept for the owner, they never are.
    pub logs_data: Option<bool>,
}

/// A stage's access log as AWS names it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StageAccessLog {
    /// The log group's ARN.
    pub destination_arn: String,
    /// Text with `$context` variables.
    pub format: String,
}

impl Store {
    /// All APIs, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Sql`] and [`StoreError::Document`].
    pub fn rest_apis(&self) -> Result<Vec<RestApi>, StoreError> {
        documents(&self.connection(), "SELECT definition FROM rest_api ORDER BY created_at, id", [])
    }

    /// One API.
    ///
    /// # Errors
    /// [`StoreError::Sql`] and [`StoreError::Document`].
    pub fn rest_api(&self, id: &str) -> Result<Option<RestApi>, StoreError> {
        document(&self.connection(), "SELECT definition FROM rest_api WHERE id = ?1", [id])
    }

    /// Writes an API; one with the same id is replaced, its deployments and stages stay.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn put_rest_api(&self, api: &RestApi) -> Result<(), StoreError> {
        let sql = "INSERT INTO rest_api (id, created_at, definition) VALUES (?1, ?2, ?3)
                   ON CONFLICT (id) DO UPDATE SET definition = excluded.definition";
        self.connection().execute(sql, (&api.id, api.created_at, text(api)))?;
        Ok(())
    }

    /// Deletes an API with its deployments and stages. Returns whether there was one.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn delete_rest_api(&self, id: &str) -> Result<bool, StoreError> {
        let mut connection = self.connection();
        let transaction = connection.transaction()?;
        // Stages hold on to deployments, so they go first.
        transaction.execute("DELETE FROM stage WHERE api_id = ?1", [id])?;
        let deleted = transaction.execute("DELETE FROM rest_api WHERE id = ?1", [id])? == 1;
        transaction.commit()?;
        Ok(deleted)
    }

    /// An API's deployments, newest first.
    ///
    /// # Errors
    /// [`StoreError::Sql`] and [`StoreError::Document`].
    pub fn deployments(&self, api_id: &str) -> Result<Vec<Deployment>, StoreError> {
        let sql = "SELECT snapshot FROM deployment WHERE api_id = ?1 ORDER BY created_at DESC, id";
        documents(&self.connection(), sql, [api_id])
    }

    /// One deployment.
    ///
    /// # Errors
    /// [`StoreError::Sql`] and [`StoreError::Document`].
    pub fn deployment(&self, api_id: &str, id: &str) -> Result<Option<Deployment>, StoreError> {
        document(&self.connection(), "SELECT snapshot FROM deployment WHERE api_id = ?1 AND id = ?2", [api_id, id])
    }

    /// Writes a new deployment and, with it, the stages that are to serve it: in one transaction.
    ///
    /// # Errors
    /// [`StoreError::Exists`] when the API has a deployment with this id.
    pub fn add_deployment(&self, deployment: &Deployment, stage: Option<&Stage>) -> Result<(), StoreError> {
        let mut connection = self.connection();
        let transaction = connection.transaction()?;
        let sql = "INSERT INTO deployment (api_id, id, created_at, snapshot) VALUES (?1, ?2, ?3, ?4)";
        transaction
            .execute(sql, (&deployment.api_id, &deployment.id, deployment.created_at, text(deployment)))
            .map_err(|error| exists_already(error, || format!("a deployment {} of {}", deployment.id, deployment.api_id)))?;
        if let Some(stage) = stage {
            put_stage(&transaction, stage)?;
        }
        Ok(transaction.commit()?)
    }

    /// Deletes a deployment that no stage serves. Returns whether there was one.
    ///
    /// # Errors
    /// [`StoreError::Sql`], also when a stage serves it.
    pub fn delete_deployment(&self, api_id: &str, id: &str) -> Result<bool, StoreError> {
        Ok(self.connection().execute("DELETE FROM deployment WHERE api_id = ?1 AND id = ?2", [api_id, id])? == 1)
    }

    /// An API's stages, by name; all APIs' for `None`.
    ///
    /// # Errors
    /// [`StoreError::Sql`] and [`StoreError::Document`].
    pub fn stages(&self, api_id: Option<&str>) -> Result<Vec<Stage>, StoreError> {
        documents(&self.connection(), "SELECT definition FROM stage WHERE ?1 IS NULL OR api_id = ?1 ORDER BY api_id, name", [api_id])
    }

    /// One stage.
    ///
    /// # Errors
    /// [`StoreError::Sql`] and [`StoreError::Document`].
    pub fn stage(&self, api_id: &str, name: &str) -> Result<Option<Stage>, StoreError> {
        document(&self.connection(), "SELECT definition FROM stage WHERE api_id = ?1 AND name = ?2", [api_id, name])
    }

    /// Writes a stage; one of the same name is replaced.
    ///
    /// # Errors
    /// [`StoreError::Sql`], also when there is no such API or deployment.
    pub fn put_stage(&self, stage: &Stage) -> Result<(), StoreError> {
        put_stage(&self.connection(), stage)
    }

    /// Deletes a stage. Returns whether there was one.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn delete_stage(&self, api_id: &str, name: &str) -> Result<bool, StoreError> {
        Ok(self.connection().execute("DELETE FROM stage WHERE api_id = ?1 AND name = ?2", [api_id, name])? == 1)
    }
}

fn put_stage(connection: &Connection, stage: &Stage) -> Result<(), StoreError> {
    let sql = "INSERT INTO stage (api_id, name, deployment_id, definition) VALUES (?1, ?2, ?3, ?4)
               ON CONFLICT (api_id, name) DO UPDATE SET deployment_id = excluded.deployment_id, definition = excluded.definition";
    connection.execute(sql, (&stage.api_id, &stage.name, &stage.deployment_id, text(stage)))?;
    Ok(())
}

pub(crate) fn text(document: &impl Serialize) -> String {
    serde_json::to_string(document).expect("maps with text keys become JSON")
}

fn read<T: DeserializeOwned>(row: &Row<'_>) -> rusqlite::Result<Result<T, StoreError>> {
    let text: String = row.get(0)?;
    Ok(serde_json::from_str(&text).map_err(StoreError::Document))
}

fn document<T: DeserializeOwned>(connection: &Connection, sql: &str, of: impl rusqlite::Params) -> Result<Option<T>, StoreError> {
    connection.prepare_cached(sql)?.query_row(of, read).optional()?.transpose()
}

fn documents<T: DeserializeOwned>(connection: &Connection, sql: &str, of: impl rusqlite::Params) -> Result<Vec<T>, StoreError> {
    connection.prepare_cached(sql)?.query_map(of, read)?.collect::<rusqlite::Result<Result<Vec<T>, StoreError>>>()?
}
