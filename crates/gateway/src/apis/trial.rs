//! A route to a method as it is being edited, which no stage serves.

use std::collections::BTreeMap;
use std::sync::Arc;

use frontdesk_store::{Deployment, Stage};
use prometheus_client::registry::Registry;

use super::{ApiError, ApiService, edit};
use crate::metrics::Metrics;
use crate::path_tree::PathTree;
use crate::route::{Route, RouteMaker};

/// The stage that functions see in a trial, and their policies with it, as at API Gateway.
const STAGE: &str = "test-invoke-stage";

/// What a trial is of.
#[derive(Debug, Clone, Default)]
pub(crate) struct TriedMethod {
    pub(crate) api_id: String,
    pub(crate) resource_id: String,
    /// A verb that the resource has, or that its `ANY` answers for.
    pub(crate) verb: String,
    /// Without the query; the resource's own where it is not given.
    pub(crate) path: Option<String>,
    pub(crate) variables: BTreeMap<String, String>,
}

impl ApiService {
    /// The route to a method, and why it cannot be served, where it cannot. Nothing that callers see is touched, nor what is counted of them. Blocks on the database.
    ///
    /// # Errors
    /// [`ApiError::NotFound`], and [`ApiError::BadRequest`] for a path that leads elsewhere.
    pub(crate) fn trial_route(&self, tried: &TriedMethod) -> Result<(Route, Option<String>), ApiError> {
        let TriedMethod { api_id, resource_id, verb, path, variables } = tried;
        let api = self.api(api_id)?;
        let resource = edit::resource(&api, resource_id)?.clone();
        let declared = if resource.methods.contains_key(verb) { verb } else { "ANY" };
        let method = edit::method(&api, resource_id, declared)?;
        let served = match &method.integration {
            Some(integration) => self.check(integration, &resource.path),
            None => Err(ApiError::BadRequest("No integration defined for method".to_owned())),
        };
        let path = path.as_deref().unwrap_or(&resource.path).to_owned();
        let (_, parameters) = PathTree::new([(resource.path.clone(), ())])
            .find(&path)
            .map(|(found, parameters)| (found.clone(), parameters))
            .ok_or_else(|| ApiError::BadRequest(format!("The path {path} is not one of the resource {}", resource.path)))?;
        let deployment = Deployment {
            id: String::new(),
            api_id: api.id.clone(),
            description: None,
            created_at: 0,
            resources: BTreeMap::from([(resource.id.clone(), resource)]),
            gateway_responses: api.gateway_responses,
            binary_media_types: api.binary_media_types,
        };
        let stage = Stage { variables: variables.clone(), ..edit::new_stage(api_id, STAGE, 0) };
        let maker = RouteMaker { metrics: Metrics::register(&mut Registry::default()), ..self.maker.clone() };
        let entry = maker.stage(&api.name, stage, deployment).entry_of(&path, declared);
        let entry = entry.ok_or_else(|| ApiError::NotFound("Invalid Method identifier specified".to_owned()))?;
        Ok((Route { entry: Arc::clone(&entry), path, parameters }, served.err().map(|error| error.to_string())))
    }
}
