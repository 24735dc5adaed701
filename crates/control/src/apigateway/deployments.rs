//! Deployments and stages.

use frontdesk_aws::ServiceError;
use frontdesk_gateway::{ApiService, NewStage};
use frontdesk_store::{MethodSettings, Stage, StageAccessLog, Throttle};
use http::StatusCode;
use serde_json::Value;

use super::apis::{refused, steps};
use super::patch::{Op as PatchOp, Step};
use super::requests::{CreateDeployment, CreateStage, StageValues};
use super::{Answer, ApiGateway as Op, Call, bad_request, documents, of_api};

pub(super) fn deployment(call: &Call, apis: &ApiService) -> Answer {
    let (api_id, id) = (call.parameter(0), call.parameter(1));
    match call.operation {
        Op::CreateDeployment => {
            let wanted: CreateDeployment = call.read()?;
            let name = wanted.stage_name.filter(|name| !name.is_empty());
            let stage = name.map(|name| new_stage(name, wanted.stage_description, wanted.values));
            let made = apis.deploy(api_id, wanted.description, stage, call.now_unix).map_err(of_api)?;
            Ok((StatusCode::CREATED, documents::deployment(&made)))
        }
        Op::GetDeployments => {
            let deployments = apis.deployments(api_id).map_err(of_api)?;
            Ok((StatusCode::OK, call.page(deployments, |deployment| documents::deployment(&deployment))?))
        }
        Op::DeleteDeployment => {
            apis.delete_deployment(api_id, id).map_err(of_api)?;
            Ok((StatusCode::ACCEPTED, Value::Null))
        }
        _ => Ok((StatusCode::OK, documents::deployment(&apis.deployment(api_id, id).map_err(of_api)?))),
    }
}

pub(super) fn stage(call: &Call, apis: &ApiService) -> Answer {
    let (api_id, name) = (call.parameter(0), call.parameter(1));
    match call.operation {
        Op::CreateStage => {
            let wanted: CreateStage = call.read()?;
            let new = NewStage { tags: wanted.tags, ..new_stage(wanted.stage_name, wanted.description, wanted.values) };
            let made = apis.create_stage(api_id, &wanted.deployment_id, new, call.now_unix).map_err(of_api)?;
            Ok((StatusCode::CREATED, documents::stage(&made)))
        }
        Op::GetStages => {
            let deployment_id = call.query_value("deploymentId");
            let mut stages = apis.stages(api_id).map_err(of_api)?;
            stages.retain(|stage| deployment_id.as_ref().is_none_or(|id| stage.deployment_id == *id));
            // This list alone has no pages.
            let shown: Vec<Value> = stages.iter().map(documents::stage).collect();
            Ok((StatusCode::OK, serde_json::json!({ "item": shown })))
        }
        Op::UpdateStage => {
            let steps = steps(call)?;
            let changed =
                apis.edit_stage(api_id, name, call.now_unix, |stage| steps.iter().try_for_each(|step| patch(stage, step)).map_err(refused));
            Ok((StatusCode::OK, documents::stage(&changed.map_err(of_api)?)))
        }
        Op::DeleteStage => {
            apis.delete_stage(api_id, name).map_err(of_api)?;
            Ok((StatusCode::ACCEPTED, Value::Null))
        }
        Op::FlushStageCache => {
            apis.flush_cache(api_id, name).map_err(of_api)?;
            Ok((StatusCode::ACCEPTED, Value::Null))
        }
        _ => Ok((StatusCode::OK, documents::stage(&apis.stage(api_id, name).map_err(of_api)?))),
    }
}

fn new_stage(name: String, description: Option<String>, values: StageValues) -> NewStage {
    let StageValues { cache_cluster_enabled, cache_cluster_size, variables, tracing_enabled } = values;
    NewStage {
        name,
        description,
        variables,
        is_cached: cache_cluster_enabled,
        cache_cluster_size,
        is_traced: tracing_enabled,
        ..NewStage::default()
    }
}

/// The paths of a stage that a patch may name.
const PLACES: [&str; 15] = [
    "/deploymentId",
    "/description",
    "/cacheClusterEnabled",
    "/cacheClusterSize",
    "/tracingEnabled",
    "/variables/{name}",
    "/accessLogSettings/destinationArn",
    "/accessLogSettings/format",
    "/{path}/{method}/throttling/rateLimit",
    "/{path}/{method}/throttling/burstLimit",
    "/{path}/{method}/caching/enabled",
    "/{path}/{method}/caching/ttlInSeconds",
    "/{path}/{method}/metrics/enabled",
    "/{path}/{method}/logging/loglevel",
    "/{path}/{method}/logging/dataTrace",
];
/// API Gateway's bound on how long an answer is cached.
const CACHE_TTL_S_MAX: u64 = 3600;

fn patch(stage: &mut Stage, step: &Step) -> Result<(), ServiceError> {
    match step.place()[..] {
        ["deploymentId"] => stage.deployment_id = step.text()?,
        ["description"] => stage.description = step.optional()?,
        ["cacheClusterEnabled"] => stage.is_cached = step.parsed()?,
        ["cacheClusterSize"] => stage.cache_cluster_size = step.optional()?,
        ["tracingEnabled"] => stage.is_traced = step.parsed()?,
        ["variables", name] => match step.optional()? {
            Some(value) => drop(stage.variables.insert(name.to_owned(), value)),
            None => drop(stage.variables.remove(name)),
        },
        ["accessLogSettings"] if step.op == PatchOp::Remove => stage.access_log = None,
        ["accessLogSettings", member] => {
            let log: &mut StageAccessLog = stage.access_log.get_or_insert_default();
            match member {
                // The service layer checks both, once all steps are taken.
                "destinationArn" => log.destination_arn = step.text()?,
                "format" => log.format = step.text()?,
                _ => return Err(step.no_such_place(&PLACES)),
            }
        }
        [path, verb] if step.op == PatchOp::Remove => drop(stage.method_settings.remove(&settings_key(path, verb))),
        [path, verb, subject, member] => {
            let settings = stage.method_settings.entry(settings_key(path, verb)).or_default();
            patch_settings(settings, subject, member, step)?;
        }
        _ => return Err(step.no_such_place(&PLACES)),
    }
    Ok(())
}

/// `~1invoke/POST` for `/invoke` or `invoke`, and `*/*`.
fn settings_key(path: &str, verb: &str) -> String {
    if path == "*" {
        return format!("*/{verb}");
    }
    format!("~1{}/{verb}", path.trim_start_matches('/').replace('/', "~1"))
}

fn patch_settings(settings: &mut MethodSettings, subject: &str, member: &str, step: &Step) -> Result<(), ServiceError> {
    // What API Gateway has where one of the two is set: the account's own limits.
    let throttle = || Throttle { rate_limit: 10_000.0, burst_limit: 5_000 };
    match (subject, member) {
        ("throttling", "rateLimit") => {
            let rate_limit: f64 = step.parsed()?;
            if !rate_limit.is_finite() || rate_limit < 0.0 {
                return Err(bad_request(format!("Invalid rate limit specified: {rate_limit}")));
            }
            settings.throttle.get_or_insert_with(throttle).rate_limit = rate_limit;
        }
        ("throttling", "burstLimit") => settings.throttle.get_or_insert_with(throttle).burst_limit = step.parsed()?,
        ("caching", "enabled") => settings.is_cached = Some(step.parsed()?),
        ("caching", "ttlInSeconds") => {
            let ttl: u64 = step.parsed()?;
            if ttl > CACHE_TTL_S_MAX {
                return Err(bad_request(format!("Invalid cache TTL specified: {ttl}. It must be between 0 and {CACHE_TTL_S_MAX}")));
            }
            settings.cache_ttl_s = Some(ttl);
        }
        ("metrics", "enabled") => settings.has_metrics = Some(step.parsed()?),
        ("logging", "loglevel") => settings.logging_level = Some(step.text()?),
        ("logging", "dataTrace") => settings.logs_data = Some(step.parsed()?),
        _ => return Err(step.no_such_place(&PLACES)),
    }
    Ok(())
}
