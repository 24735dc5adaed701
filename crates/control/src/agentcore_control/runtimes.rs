//! Agent runtimes and their versions.

use std::sync::Arc;

use frontdesk_runtime::{NewRuntime, RuntimeService};
use http::StatusCode;
use serde_json::json;

use super::requests::{PutAgentRuntime, missing};
use super::{Answer, Call, documents, of_runtime, version_number};
use crate::json_document::without_nulls;

pub(super) fn create(call: &Call, runtimes: &Arc<RuntimeService>) -> Answer {
    let mut wanted: PutAgentRuntime = call.read()?;
    let configuration = wanted.configuration()?;
    let name = wanted.agent_runtime_name.ok_or_else(|| missing("agentRuntimeName"))?;
    let new = NewRuntime { name, configuration, tags: wanted.tags.unwrap_or_default(), client_token: wanted.client_token };
    let made = runtimes.create(new, call.now_ms).map_err(of_runtime)?;
    Ok((StatusCode::ACCEPTED, documents::put_runtime(&made, false)))
}

pub(super) fn get(call: &Call, runtimes: &RuntimeService) -> Answer {
    let version = call.query_value("version").map(|version| version_number(&version)).transpose()?;
    let view = runtimes.view(call.parameter(0), version).map_err(of_runtime)?;
    Ok((StatusCode::OK, documents::runtime(&view)))
}

/// Replaces the whole configuration but for what AWS has no word for: whose a process is and how far apart it is kept.
pub(super) fn update(call: &Call, runtimes: &Arc<RuntimeService>) -> Answer {
    let id = call.parameter(0);
    let mut wanted: PutAgentRuntime = call.read()?;
    let mut configuration = wanted.configuration()?;
    let now = runtimes.view(id, None).map_err(of_runtime)?.version.configuration;
    (configuration.sessions, configuration.isolation, configuration.limits) = (now.sessions, now.isolation, now.limits);
    let made = runtimes.update(id, configuration, wanted.client_token, call.now_ms).map_err(of_runtime)?;
    Ok((StatusCode::ACCEPTED, documents::put_runtime(&made, true)))
}

pub(super) fn delete(call: &Call, runtimes: &Arc<RuntimeService>) -> Answer {
    let id = call.parameter(0);
    let version = call.query_value("version").map(|version| version_number(&version)).transpose()?;
    let status = runtimes.delete(id, version).map_err(of_runtime)?;
    let version = version.map(|version| version.to_string());
    let document = json!({ "status": status.name(), "agentRuntimeId": id, "agentRuntimeVersion": version });
    Ok((StatusCode::ACCEPTED, without_nulls(document)))
}
