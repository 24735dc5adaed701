//! API keys.

use frontdesk_gateway::{KeyService, KeyServiceError};
use frontdesk_store::{ApiKey, ApiKeyChange, SecretText, UsagePlan};
use http::StatusCode;
use serde_json::{Value, json};

use super::apis::steps;
use super::patch::Step;
use super::requests::CreateApiKey;
use super::{Answer, ApiGateway as Op, Call, Rooms, bad_request, documents, of_key};

pub(super) fn api_key(call: &Call, rooms: &Rooms) -> Answer {
    let keys = &rooms.keys;
    match call.operation {
        Op::CreateApiKey if call.query_value("mode").as_deref() == Some("import") => import(call, keys),
        Op::CreateApiKey => {
            let wanted: CreateApiKey = call.read()?;
            let about = ApiKeyChange {
                name: Some(wanted.name.unwrap_or_default()),
                description: wanted.description,
                enabled: Some(wanted.enabled),
                tags: Some(wanted.tags),
                ..ApiKeyChange::default()
            };
            let made = keys.create(about, wanted.value.map(SecretText::new), None, call.now_unix).map_err(of_key)?;
            let key = keys.view(&made.id.0, call.now_unix).map_err(of_key)?.key;
            Ok((StatusCode::CREATED, documents::api_key(&key, Some(made.value.expose()), &[])))
        }
        Op::GetApiKeys => {
            let plans = keys.plans().map_err(of_key)?;
            let prefix = call.query_value("name");
            let mut list = keys.list(call.now_unix).map_err(of_key)?;
            list.retain(|view| prefix.as_ref().is_none_or(|prefix| view.key.name.starts_with(prefix)));
            let with_values = call.is_set("includeValues");
            let document = |key: ApiKey| {
                let value = value_if(with_values, keys, &key);
                documents::api_key(&key, value.as_deref(), &stages_of(&plans, &key))
            };
            Ok((StatusCode::OK, call.page(list.into_iter().map(|view| view.key).collect(), document)?))
        }
        Op::UpdateApiKey => {
            let id = find(keys, call)?.id;
            let change = steps(call)?.iter().try_fold(ApiKeyChange::default(), patch)?;
            keys.change(&id.0, change, call.now_unix).map_err(of_key)?;
            shown(keys, call, false)
        }
        Op::DeleteApiKey => {
            let id = find(keys, call)?.id;
            keys.delete(&id.0, call.now_unix).map_err(of_key)?;
            Ok((StatusCode::ACCEPTED, Value::Null))
        }
        _ => shown(keys, call, call.is_set("includeValue")),
    }
}

/// The key that a call names: by its id, for names are the command line's.
pub(super) fn find(keys: &KeyService, call: &Call) -> Result<ApiKey, frontdesk_aws::ServiceError> {
    find_id(keys, call.parameter(0), call.now_unix)
}

pub(super) fn find_id(keys: &KeyService, id: &str, now_unix: i64) -> Result<ApiKey, frontdesk_aws::ServiceError> {
    let unknown = || of_key(KeyServiceError::NoSuchKey(id.to_owned()));
    let view = keys.view(id, now_unix).map_err(|_| unknown())?;
    Some(view.key).filter(|key| key.id.0 == id).ok_or_else(unknown)
}

/// A key's value, if it is asked for and kept.
pub(super) fn value_if(wanted: bool, keys: &KeyService, key: &ApiKey) -> Option<String> {
    let value = wanted.then(|| keys.value(&key.id.0).ok()).flatten()?.1;
    Some(value.expose().to_owned())
}

fn shown(keys: &KeyService, call: &Call, with_value: bool) -> Answer {
    let key = find(keys, call)?;
    let plans = keys.plans().map_err(of_key)?;
    let value = value_if(with_value, keys, &key);
    Ok((StatusCode::OK, documents::api_key(&key, value.as_deref(), &stages_of(&plans, &key))))
}

/// The stages that a key opens, as `{api id}/{stage}`.
fn stages_of(plans: &[UsagePlan], key: &ApiKey) -> Vec<String> {
    let of_key = plans.iter().filter(|plan| plan.key_ids.contains(&key.id));
    of_key.flat_map(|plan| &plan.stages).map(|open| format!("{}/{}", open.stage.api_id, open.stage.stage)).collect()
}

fn patch(mut change: ApiKeyChange, step: &Step) -> Result<ApiKeyChange, frontdesk_aws::ServiceError> {
    match step.place()[..] {
        ["name"] => change.name = Some(step.text()?),
        ["description"] => change.description = Some(step.optional()?.unwrap_or_default()),
        ["enabled"] => change.enabled = Some(step.parsed()?),
        _ => return Err(step.no_such_place(&["/description", "/enabled", "/name"])),
    }
    Ok(change)
}

fn import(call: &Call, keys: &KeyService) -> Answer {
    if call.query_value("format").as_deref() != Some("csv") {
        return Err(bad_request("Invalid format specified. Valid values: csv"));
    }
    let ids = keys.import(&call.body, None, call.now_unix).map_err(of_key)?;
    let ids: Vec<String> = ids.into_iter().map(|id| id.0).collect();
    Ok((StatusCode::CREATED, json!({ "ids": ids, "warnings": [] })))
}
