//! Endpoints of agent runtimes.

use std::sync::Arc;

use frontdesk_aws::ServiceError;
use frontdesk_runtime::{EndpointChange, RuntimeService};
use http::StatusCode;
use serde_json::json;

use super::requests::{PutEndpoint, missing};
use super::{Answer, Call, documents, of_runtime, version_number};

pub(super) fn create(call: &Call, runtimes: &Arc<RuntimeService>) -> Answer {
    let mut wanted: PutEndpoint = call.read()?;
    let name = wanted.name.take().ok_or_else(|| missing("name"))?;
    let id = call.parameter(0);
    let arn = runtimes.view(id, None).map_err(of_runtime)?.arn;
    let made = runtimes.create_endpoint(id, &name, change(wanted)?, call.now_ms).map_err(of_runtime)?;
    Ok((StatusCode::ACCEPTED, documents::created_endpoint(&arn, &made)))
}

pub(super) fn get(call: &Call, runtimes: &RuntimeService) -> Answer {
    let (id, name) = (call.parameter(0), call.parameter(1));
    let arn = runtimes.view(id, None).map_err(of_runtime)?.arn;
    let endpoint = runtimes.endpoint(id, name).map_err(of_runtime)?;
    Ok((StatusCode::OK, documents::endpoint(&arn, &endpoint)))
}

pub(super) fn update(call: &Call, runtimes: &Arc<RuntimeService>) -> Answer {
    let (id, name) = (call.parameter(0), call.parameter(1));
    let wanted: PutEndpoint = call.read()?;
    let arn = runtimes.view(id, None).map_err(of_runtime)?.arn;
    let changed = runtimes.update_endpoint(id, name, change(wanted)?, call.now_ms).map_err(of_runtime)?;
    Ok((StatusCode::ACCEPTED, documents::endpoint(&arn, &changed)))
}

pub(super) fn delete(call: &Call, runtimes: &RuntimeService) -> Answer {
    let (id, name) = (call.parameter(0), call.parameter(1));
    runtimes.delete_endpoint(id, name).map_err(of_runtime)?;
    Ok((StatusCode::ACCEPTED, json!({ "status": "DELETING", "agentRuntimeId": id, "endpointName": name })))
}

fn change(wanted: PutEndpoint) -> Result<EndpointChange, ServiceError> {
    let PutEndpoint { name: _, agent_runtime_version, description, client_token, tags } = wanted;
    let version = agent_runtime_version.as_deref().map(version_number).transpose()?;
    Ok(EndpointChange { version, description, tags: tags.unwrap_or_default(), client_token })
}
