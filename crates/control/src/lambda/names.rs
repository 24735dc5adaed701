//! Versions and aliases.

use std::sync::Arc;

use frontdesk_functions::{FunctionError, FunctionService};
use http::StatusCode;
use serde_json::Value;

use super::requests::{Publish, PutAlias, required};
use super::{Answer, Call, documents};

pub(super) fn publish(call: &Call, service: &Arc<FunctionService>) -> Answer {
    let name = call.function()?.name;
    let wanted: Publish = call.read()?;
    let (code_sha256, revision_id) = (wanted.code_sha256.as_deref(), wanted.revision_id.as_deref());
    let description = wanted.description.filter(|description| !description.is_empty());
    let view = service.publish(&name, description, code_sha256, revision_id, call.now_ms)?;
    Ok((StatusCode::CREATED, documents::configuration(&view)))
}

pub(super) fn versions(call: &Call, service: &FunctionService) -> Answer {
    let versions = service.versions(&call.function()?.name)?;
    call.page("Versions", versions, |view| documents::configuration(&view))
}

pub(super) fn create_alias(call: &Call, service: &FunctionService) -> Answer {
    let function = call.function()?.name;
    let wanted: PutAlias = call.read()?;
    refuse_routing(&wanted)?;
    let (name, version) = (required(wanted.name, "name")?, required(wanted.function_version, "functionVersion")?);
    let made = service.create_alias(&function, &name, &version, wanted.description.unwrap_or_default())?;
    Ok((StatusCode::CREATED, documents::alias(service, &function, &made)))
}

pub(super) fn aliases(call: &Call, service: &FunctionService) -> Answer {
    let function = call.function()?.name;
    let aliases = service.aliases(&function, call.query_value("FunctionVersion").as_deref())?;
    call.page("Aliases", aliases, |alias| documents::alias(service, &function, &alias))
}

pub(super) fn alias(call: &Call, service: &FunctionService) -> Answer {
    let function = call.function()?.name;
    let alias = service.alias(&function, call.parameter(1))?;
    Ok((StatusCode::OK, documents::alias(service, &function, &alias)))
}

pub(super) fn update_alias(call: &Call, service: &FunctionService) -> Answer {
    let function = call.function()?.name;
    let wanted: PutAlias = call.read()?;
    refuse_routing(&wanted)?;
    let (version, revision_id) = (wanted.function_version.as_deref(), wanted.revision_id.as_deref());
    let changed = service.update_alias(&function, call.parameter(1), version, wanted.description, revision_id)?;
    Ok((StatusCode::OK, documents::alias(service, &function, &changed)))
}

pub(super) fn delete_alias(call: &Call, service: &FunctionService) -> Answer {
    service.delete_alias(&call.function()?.name, call.parameter(1))?;
    Ok((StatusCode::NO_CONTENT, Value::Null))
}

/// An alias leads to one version here.
fn refuse_routing(wanted: &PutAlias) -> Result<(), FunctionError> {
    let weights = wanted.routing_config.as_ref().and_then(|routing| routing.additional_version_weights.as_ref());
    match weights {
        Some(weights) if !weights.is_empty() => {
            Err(FunctionError::Invalid("RoutingConfig is not supported by this host: an alias leads to one version".to_owned()))
        }
        _ => Ok(()),
    }
}
