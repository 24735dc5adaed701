//! The service layer of REST APIs: what the command line, the AWS API and the settings file do to them, they do through here.
//!
//! An edited API changes nothing for its callers. A deployment freezes it; when a stage is put to a deployment, the table that requests are routed by is
//! replaced as a whole, after the store has it: requests that began go on with the table they began with. All calls block on the database.

pub mod agent_api;
pub mod edit;
mod trial;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use frontdesk_store::{Deployment, RestApi, Seeded, Stage, Store, StoreError};

use crate::backend::{self, Backends, OwnAnswers};
use crate::cache::CacheSettings;
use crate::key;
use crate::metrics::Metrics;
use crate::route::{Deployed, RouteMaker, RouteTable};
use crate::stage_logs::StageLogs;

pub(crate) use trial::TriedMethod;

/// API Gateway's bound on the APIs of an account and region.
const APIS_MAX: usize = 600;
/// API Gateway's bound on the stages of an API.
const STAGES_MAX: usize = 10;
/// Deployments that an API keeps; older ones that no stage serves are forgotten.
const DEPLOYMENTS_MAX: usize = 200;

/// Why a change of APIs was refused. The texts are API Gateway's where it has one.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// What was named does not exist.
    #[error("{0}")]
    NotFound(String),
    /// What was asked for does not fit.
    #[error("{0}")]
    BadRequest(String),
    /// What was asked for exists already, or is in use.
    #[error("{0}")]
    Conflict(String),
    /// A bound is reached.
    #[error("{0}")]
    LimitExceeded(String),
    /// The random generator failed.
    #[error("the system's random generator failed: {0}")]
    Random(getrandom::Error),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<backend::CompileError> for ApiError {
    fn from(error: backend::CompileError) -> Self {
        ApiError::BadRequest(error.to_string())
    }
}

/// A new API.
#[derive(Debug, Clone, Default)]
pub struct NewApi {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// Its version, in its owner's words.
    pub version: Option<String>,
    /// `EDGE`, `REGIONAL` or `PRIVATE`.
    pub endpoint_type: String,
    /// Media types whose bodies are bytes.
    pub binary_media_types: Vec<String>,
    /// `HEADER`.
    pub api_key_source: String,
    /// Tags.
    pub tags: BTreeMap<String, String>,
}

/// A new stage, or new values for one.
#[derive(Debug, Clone, Default)]
pub struct NewStage {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// Values that mappings and URIs read; `None` leaves what there is.
    pub variables: Option<BTreeMap<String, String>>,
    /// Whether answers may be cached; `None` leaves what there is.
    pub is_cached: Option<bool>,
    /// The cache's size in gigabytes, as AWS sells it.
    pub cache_cluster_size: Option<String>,
    /// Whether traces are wanted.
    pub is_traced: Option<bool>,
    /// Tags.
    pub tags: BTreeMap<String, String>,
}

/// REST APIs, their deployments and stages.
#[derive(Debug)]
pub struct ApiService {
    store: Arc<Store>,
    account_id: String,
    maker: RouteMaker,
    routes: ArcSwap<RouteTable>,
    /// Changes are made one at a time.
    changing: Mutex<()>,
}

impl ApiService {
    /// Reads the APIs and serves their stages. `seeded` is the id of the API that answers at no API's address.
    ///
    /// # Errors
    /// When the store fails.
    pub fn open(
        store: Arc<Store>,
        account_id: String,
        seeded: String,
        backends: Backends,
        cache: CacheSettings,
        logs: Arc<StageLogs>,
        metrics: Metrics,
    ) -> Result<ApiService, StoreError> {
        let maker = RouteMaker { metrics, backends, cache, logs, seeded };
        let service = ApiService { store, account_id, maker, routes: ArcSwap::default(), changing: Mutex::default() };
        service.publish()?;
        Ok(service)
    }

    /// The account that the APIs belong to.
    #[must_use]
    pub fn account_id(&self) -> &str {
        &self.account_id
    }

    /// The table that requests are routed by.
    pub(crate) fn routes(&self) -> arc_swap::Guard<Arc<RouteTable>> {
        self.routes.load()
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves what the store says.
    fn publish(&self) -> Result<(), StoreError> {
        let mut apis = Vec::new();
        for api in self.store.rest_apis()? {
            let mut stages = Vec::new();
            for stage in self.store.stages(Some(&api.id))? {
                if let Some(deployment) = self.store.deployment(&api.id, &stage.deployment_id)? {
                    stages.push((stage, deployment));
                }
            }
            apis.push(Deployed { api_id: api.id, api_name: api.name, stages });
        }
        let table = self.maker.table(apis, &self.routes.load());
        self.routes.store(Arc::new(table));
        Ok(())
    }

    fn no_such_api(&self, id: &str) -> ApiError {
        ApiError::NotFound(format!("Invalid API identifier specified {}:{id}", self.account_id))
    }

    /// All APIs, oldest first.
    ///
    /// # Errors
    /// When the store fails.
    pub fn apis(&self) -> Result<Vec<RestApi>, ApiError> {
        Ok(self.store.rest_apis()?)
    }

    /// One API.
    ///
    /// # Errors
    /// [`ApiError::NotFound`].
    pub fn api(&self, id: &str) -> Result<RestApi, ApiError> {
        self.store.rest_api(id)?.ok_or_else(|| self.no_such_api(id))
    }

    /// Makes an API with nothing but its root.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub fn create(&self, new: NewApi, now_unix: i64) -> Result<RestApi, ApiError> {
        let _one_at_a_time = self.lock();
        if self.store.rest_apis()?.len() >= APIS_MAX {
            return Err(ApiError::LimitExceeded(format!("Maximum number of REST APIs for this account has been reached: {APIS_MAX}")));
        }
        if new.name.trim().is_empty() {
            return Err(ApiError::BadRequest("Name cannot be empty".to_owned()));
        }
        if new.api_key_source != "HEADER" {
            return Err(ApiError::BadRequest(format!("Keys are taken from the header alone here; {} is not served", new.api_key_source)));
        }
        let root = edit::root(key::generate_id().map_err(ApiError::Random)?);
        let api = RestApi {
            id: key::generate_id().map_err(ApiError::Random)?,
            name: new.name,
            description: new.description,
            version: new.version,
            created_at: now_unix,
            endpoint_type: new.endpoint_type,
            binary_media_types: new.binary_media_types,
            api_key_source: new.api_key_source,
            tags: new.tags,
            resources: BTreeMap::from([(root.id.clone(), root)]),
            gateway_responses: BTreeMap::new(),
        };
        self.store.put_rest_api(&api)?;
        self.publish()?;
        Ok(api)
    }

    /// Changes an API as `change` does, or not at all.
    ///
    /// # Errors
    /// [`ApiError::NotFound`], and whatever `change` refuses.
    pub fn edit<T>(&self, id: &str, change: impl FnOnce(&mut RestApi) -> Result<T, ApiError>) -> Result<T, ApiError> {
        let _one_at_a_time = self.lock();
        let mut api = self.api(id)?;
        let name = api.name.clone();
        let done = change(&mut api)?;
        self.store.put_rest_api(&api)?;
        if api.name != name {
            self.publish()?;
        }
        Ok(done)
    }

    /// Whether an integration can be served.
    ///
    /// # Errors
    /// [`ApiError::BadRequest`].
    pub fn check(&self, integration: &frontdesk_store::Integration, resource_path: &str) -> Result<(), ApiError> {
        Ok(backend::check(integration, resource_path, &self.maker.backends)?)
    }

    /// Whether a gateway response can be served.
    ///
    /// # Errors
    /// [`ApiError::BadRequest`].
    pub fn check_gateway_response(response: &frontdesk_store::GatewayResponse) -> Result<(), ApiError> {
        OwnAnswers::compile(&BTreeMap::from([(String::new(), response.clone())]))?;
        Ok(())
    }

    /// Deletes an API with its deployments and stages.
    ///
    /// # Errors
    /// [`ApiError::NotFound`].
    pub fn delete(&self, id: &str) -> Result<(), ApiError> {
        let _one_at_a_time = self.lock();
        if !self.store.delete_rest_api(id)? {
            return Err(self.no_such_api(id));
        }
        Ok(self.publish()?)
    }

    /// An API's deployments, newest first.
    ///
    /// # Errors
    /// [`ApiError::NotFound`].
    pub fn deployments(&self, api_id: &str) -> Result<Vec<Deployment>, ApiError> {
        self.api(api_id)?;
        Ok(self.store.deployments(api_id)?)
    }

    /// One deployment.
    ///
    /// # Errors
    /// [`ApiError::NotFound`].
    pub fn deployment(&self, api_id: &str, id: &str) -> Result<Deployment, ApiError> {
        self.api(api_id)?;
        self.store.deployment(api_id, id)?.ok_or_else(|| ApiError::NotFound("Invalid Deployment identifier specified".to_owned()))
    }

    /// Freezes an API as it is, and puts a stage to it: a new one, or one that exists.
    ///
    /// # Errors
    /// [`ApiError::BadRequest`] when a method of the API cannot be served; nothing is changed then.
    pub fn deploy(
        &self,
        api_id: &str,
        description: Option<String>,
        stage: Option<NewStage>,
        now_unix: i64,
    ) -> Result<Deployment, ApiError> {
        let _one_at_a_time = self.lock();
        let api = self.api(api_id)?;
        let deployment = Deployment {
            id: key::generate_id().map_err(ApiError::Random)?[..6].to_owned(),
            api_id: api.id,
            description,
            created_at: now_unix,
            resources: api.resources,
            gateway_responses: api.gateway_responses,
            binary_media_types: api.binary_media_types,
        };
        self.check_deployment(&deployment)?;
        let stage = match stage {
            None => None,
            Some(new) => {
                let known = self.store.stage(api_id, &new.name)?;
                let mut stage = match known {
                    Some(stage) => Stage { updated_at: now_unix, ..stage },
                    None => self.new_stage(api_id, &new.name, now_unix)?,
                };
                stage.deployment_id = deployment.id.clone();
                apply(&mut stage, new);
                Some(stage)
            }
        };
        self.store.add_deployment(&deployment, stage.as_ref())?;
        self.forget_old_deployments(api_id)?;
        if stage.is_some() {
            self.publish()?;
        }
        Ok(deployment)
    }

    fn check_deployment(&self, deployment: &Deployment) -> Result<(), ApiError> {
        let mut methods =
            deployment.resources.values().flat_map(|resource| resource.methods.values().map(move |method| (resource, method)));
        if methods.clone().next().is_none() {
            return Err(ApiError::BadRequest("The REST API doesn't contain any methods".to_owned()));
        }
        OwnAnswers::compile(&deployment.gateway_responses)?;
        methods.try_for_each(|(resource, method)| {
            let no_integration = || ApiError::BadRequest("No integration defined for method".to_owned());
            self.check(method.integration.as_ref().ok_or_else(no_integration)?, &resource.path)
        })
    }

    fn forget_old_deployments(&self, api_id: &str) -> Result<(), StoreError> {
        let served: Vec<String> = self.store.stages(Some(api_id))?.into_iter().map(|stage| stage.deployment_id).collect();
        for old in self.store.deployments(api_id)?.into_iter().skip(DEPLOYMENTS_MAX).filter(|old| !served.contains(&old.id)) {
            self.store.delete_deployment(api_id, &old.id)?;
        }
        Ok(())
    }

    /// Deletes a deployment that no stage serves.
    ///
    /// # Errors
    /// [`ApiError::BadRequest`] when one does.
    pub fn delete_deployment(&self, api_id: &str, id: &str) -> Result<(), ApiError> {
        let _one_at_a_time = self.lock();
        self.deployment(api_id, id)?;
        if self.store.stages(Some(api_id))?.iter().any(|stage| stage.deployment_id == id) {
            return Err(ApiError::BadRequest("Active stages pointing to this deployment must be moved or deleted".to_owned()));
        }
        self.store.delete_deployment(api_id, id)?;
        Ok(())
    }

    /// An API's stages, by name.
    ///
    /// # Errors
    /// [`ApiError::NotFound`].
    pub fn stages(&self, api_id: &str) -> Result<Vec<Stage>, ApiError> {
        self.api(api_id)?;
        Ok(self.store.stages(Some(api_id))?)
    }

    /// One stage.
    ///
    /// # Errors
    /// [`ApiError::NotFound`].
    pub fn stage(&self, api_id: &str, name: &str) -> Result<Stage, ApiError> {
        self.api(api_id)?;
        self.store.stage(api_id, name)?.ok_or_else(|| ApiError::NotFound("Invalid stage identifier specified".to_owned()))
    }

    /// Makes a stage that serves a deployment.
    ///
    /// # Errors
    /// [`ApiError::Conflict`] when there is one of that name.
    pub fn create_stage(&self, api_id: &str, deployment_id: &str, new: NewStage, now_unix: i64) -> Result<Stage, ApiError> {
        let _one_at_a_time = self.lock();
        self.deployment(api_id, deployment_id)?;
        if self.store.stage(api_id, &new.name)?.is_some() {
            return Err(ApiError::Conflict("Stage already exists".to_owned()));
        }
        let mut stage = self.new_stage(api_id, &new.name, now_unix)?;
        stage.deployment_id = deployment_id.to_owned();
        apply(&mut stage, new);
        self.store.put_stage(&stage)?;
        self.publish()?;
        Ok(stage)
    }

    fn new_stage(&self, api_id: &str, name: &str, now_unix: i64) -> Result<Stage, ApiError> {
        edit::check_stage_name(name)?;
        if self.store.stages(Some(api_id))?.len() >= STAGES_MAX {
            return Err(ApiError::LimitExceeded(format!("Maximum number of stages for this API has been reached: {STAGES_MAX}")));
        }
        Ok(edit::new_stage(api_id, name, now_unix))
    }

    /// Changes a stage as `change` does, or not at all.
    ///
    /// # Errors
    /// [`ApiError::NotFound`], and whatever `change` refuses.
    pub fn edit_stage(
        &self,
        api_id: &str,
        name: &str,
        now_unix: i64,
        change: impl FnOnce(&mut Stage) -> Result<(), ApiError>,
    ) -> Result<Stage, ApiError> {
        let _one_at_a_time = self.lock();
        let mut stage = self.stage(api_id, name)?;
        let log_before = stage.access_log.clone();
        change(&mut stage)?;
        // What an older version let in must not keep its owner from changing something else.
        if let Some(log) = stage.access_log.as_ref().filter(|log| log_before.as_ref() != Some(log)) {
            if self.account_log_role()?.is_none() {
                let message = "CloudWatch Logs role ARN must be set in account settings to enable logging";
                return Err(ApiError::BadRequest(message.to_owned()));
            }
            self.maker.logs.check(log)?;
        }
        if self.store.deployment(api_id, &stage.deployment_id)?.is_none() {
            return Err(ApiError::BadRequest("Deployment id does not exist".to_owned()));
        }
        stage.updated_at = now_unix;
        self.store.put_stage(&stage)?;
        self.publish()?;
        Ok(stage)
    }

    /// The role in whose name stages write their logs, for the whole account. Here nothing is written in its name; without it no log is let in, as at API Gateway
    /// (<https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-logging.html>).
    ///
    /// # Errors
    /// When the store fails.
    pub fn account_log_role(&self) -> Result<Option<String>, ApiError> {
        Ok(self.store.seeded(Seeded::AccountLogRole)?.filter(|arn| !arn.is_empty()))
    }

    /// Sets that role, or takes it away. Stages that log already go on.
    ///
    /// # Errors
    /// When the store fails.
    pub fn set_account_log_role(&self, arn: Option<&str>) -> Result<(), ApiError> {
        Ok(self.store.record_seeded(Seeded::AccountLogRole, arn.unwrap_or_default())?)
    }

    /// Deletes a stage.
    ///
    /// # Errors
    /// [`ApiError::NotFound`].
    pub fn delete_stage(&self, api_id: &str, name: &str) -> Result<(), ApiError> {
        let _one_at_a_time = self.lock();
        self.stage(api_id, name)?;
        self.store.delete_stage(api_id, name)?;
        Ok(self.publish()?)
    }

    /// Forgets a stage's cached answers.
    ///
    /// # Errors
    /// [`ApiError::NotFound`].
    pub fn flush_cache(&self, api_id: &str, stage: &str) -> Result<(), ApiError> {
        self.stage(api_id, stage)?;
        self.routes.load().flush_cache(api_id, stage);
        Ok(())
    }

    /// Puts the API that stands in front of the agent, and its stage, to what they are to be. Resources of it that are not its own stay.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub fn put_agent_api(&self, wanted: &agent_api::AgentApi, now_unix: i64) -> Result<(), ApiError> {
        {
            let _one_at_a_time = self.lock();
            let mut api = self.store.rest_api(&wanted.id)?.unwrap_or_else(|| wanted.empty(now_unix));
            wanted.put_resources(&mut api);
            self.store.put_rest_api(&api)?;
        }
        self.deploy(
            &wanted.id,
            Some("As the settings say".to_owned()),
            Some(NewStage { name: wanted.stage.clone(), ..NewStage::default() }),
            now_unix,
        )?;
        self.edit_stage(&wanted.id, &wanted.stage, now_unix, |stage| {
            wanted.put_settings(stage);
            Ok(())
        })?;
        Ok(())
    }
}

fn apply(stage: &mut Stage, new: NewStage) {
    stage.description = new.description.or(stage.description.take());
    stage.variables = new.variables.unwrap_or_else(|| std::mem::take(&mut stage.variables));
    stage.is_cached = new.is_cached.unwrap_or(stage.is_cached);
    stage.cache_cluster_size = new.cache_cluster_size.or(stage.cache_cluster_size.take());
    stage.is_traced = new.is_traced.unwrap_or(stage.is_traced);
    stage.tags.extend(new.tags);
}
