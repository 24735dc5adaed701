//! Usage plans, their keys and what was used of them.

use std::collections::{BTreeMap, HashSet};

use frontdesk_aws::ServiceError;
use frontdesk_gateway::quota::{date_of, day_of, day_of_date};
use frontdesk_gateway::{KeyServiceError, PlanChange, USAGE_DAYS_MAX};
use frontdesk_store::{PlanNames, Quota, QuotaPeriod, StageRef, Throttle, UsagePlan};
use http::StatusCode;
use serde_json::{Value, json};
use time::Date;
use time::macros::format_description;

use super::apis::steps;
use super::keys::{find_id, value_if};
use super::patch::{Op as PatchOp, Step};
use super::requests::{ApiStage, CreateUsagePlan, CreateUsagePlanKey, QuotaSettings, ThrottleSettings};
use super::{Answer, ApiGateway as Op, Call, Rooms, bad_request, conflict, documents, not_found, of_key};

pub(super) fn usage_plan(call: &Call, rooms: &Rooms) -> Answer {
    let keys = &rooms.keys;
    match call.operation {
        Op::CreateUsagePlan => {
            let wanted: CreateUsagePlan = call.read()?;
            let mut change = PlanChange {
                name: Some(wanted.name),
                description: wanted.description,
                throttle: Some(wanted.throttle.map(throttle).transpose()?),
                quota: Some(wanted.quota.map(quota).transpose()?),
                ..PlanChange::default()
            };
            let mut stages = Vec::new();
            for ApiStage { api_id, stage, throttle: of_methods } in wanted.api_stages {
                let stage = StageRef { api_id, stage };
                check_stage(rooms, &stage, None)?;
                stages.push(stage);
                for (method, settings) in of_methods {
                    change.method_throttles.insert(method, Some(throttle(settings)?));
                }
            }
            change.stages = Some(stages);
            let plan = keys.create_plan(change, PlanNames::Any, call.now_unix).map_err(of_key)?;
            Ok((StatusCode::CREATED, documents::usage_plan(&plan)))
        }
        Op::GetUsagePlans => {
            let mut plans = keys.plans().map_err(of_key)?;
            if let Some(key_id) = call.query_value("keyId") {
                plans.retain(|plan| plan.key_ids.iter().any(|id| id.0 == key_id));
            }
            Ok((StatusCode::OK, call.page(plans, |plan| documents::usage_plan(&plan))?))
        }
        Op::UpdateUsagePlan => {
            let plan = find(rooms, call)?;
            let mut change = PlanChange::default();
            for step in steps(call)? {
                patch(rooms, &plan, &mut change, &step)?;
            }
            let plan = keys.change_plan(&plan.id.0, change, PlanNames::Any, call.now_unix).map_err(of_key)?;
            Ok((StatusCode::OK, documents::usage_plan(&plan)))
        }
        Op::DeleteUsagePlan => {
            let plan = find(rooms, call)?;
            if let Some(open) = plan.stages.first() {
                let stage = &open.stage;
                return Err(bad_request(format!(
                    "Cannot delete Usage Plan {} because it is associated with API Stage {}:{}",
                    plan.id.0, stage.api_id, stage.stage
                )));
            }
            keys.delete_plan(&plan.id.0, call.now_unix).map_err(of_key)?;
            Ok((StatusCode::ACCEPTED, Value::Null))
        }
        _ => Ok((StatusCode::OK, documents::usage_plan(&find(rooms, call)?))),
    }
}

/// The plan that a call names: by its id, for names are the command line's.
fn find(rooms: &Rooms, call: &Call) -> Result<UsagePlan, ServiceError> {
    let id = call.parameter(0);
    let unknown = || of_key(KeyServiceError::NoSuchPlan(id.to_owned()));
    let plan = rooms.keys.plan(id).map_err(|_| unknown())?;
    Some(plan).filter(|plan| plan.id.0 == id).ok_or_else(unknown)
}

fn check_stage(rooms: &Rooms, stage: &StageRef, plan: Option<&UsagePlan>) -> Result<(), ServiceError> {
    let StageRef { api_id, stage } = stage;
    let of_plan = plan.map(|plan| format!(" specified for usageplan {}", plan.id.0)).unwrap_or_default();
    let known = rooms.apis.stage(api_id, stage);
    known.map(drop).map_err(|_| not_found(format!("Invalid API Stage {{api: {api_id}, stage: {stage}}}{of_plan}")))
}

fn throttle(settings: ThrottleSettings) -> Result<Throttle, ServiceError> {
    let ThrottleSettings { rate_limit, burst_limit } = settings;
    let is_sound = rate_limit.is_finite() && rate_limit >= 0.0;
    is_sound
        .then_some(Throttle { rate_limit, burst_limit })
        .ok_or_else(|| bad_request("Usage Plan throttle rate limit must not be negative"))
}

fn quota(settings: QuotaSettings) -> Result<Quota, ServiceError> {
    let QuotaSettings { limit, offset, period } = settings;
    Ok(Quota { limit, period: period_named(&period)?, offset })
}

fn period_named(name: &str) -> Result<QuotaPeriod, ServiceError> {
    QuotaPeriod::named(name).ok_or_else(|| bad_request(format!("Invalid quota period specified: {name}. Valid values: DAY, WEEK, MONTH")))
}

fn patch(rooms: &Rooms, plan: &UsagePlan, change: &mut PlanChange, step: &Step) -> Result<(), ServiceError> {
    let places = [
        "/name",
        "/description",
        "/throttle",
        "/throttle/rateLimit",
        "/throttle/burstLimit",
        "/quota",
        "/quota/limit",
        "/quota/period",
        "/apiStages",
        "/apiStages/{apiId}:{stage}/throttle/{path}/{method}/rateLimit",
        "/apiStages/{apiId}:{stage}/throttle/{path}/{method}/burstLimit",
    ];
    let throttle_now = change.throttle.unwrap_or(plan.throttle).unwrap_or(Throttle { rate_limit: 0.0, burst_limit: 0 });
    let quota_now = change.quota.unwrap_or(plan.quota).unwrap_or(Quota { limit: 0, period: QuotaPeriod::Day, offset: 0 });
    match step.place()[..] {
        ["name"] => change.name = Some(step.text()?),
        ["description"] => change.description = Some(step.optional()?.unwrap_or_default()),
        ["throttle"] if step.op == PatchOp::Remove => change.throttle = Some(None),
        ["throttle", "rateLimit"] => {
            let settings = ThrottleSettings { rate_limit: step.parsed()?, burst_limit: throttle_now.burst_limit };
            change.throttle = Some(Some(throttle(settings)?));
        }
        ["throttle", "burstLimit"] => change.throttle = Some(Some(Throttle { burst_limit: step.parsed()?, ..throttle_now })),
        ["quota"] if step.op == PatchOp::Remove => change.quota = Some(None),
        ["quota", "limit"] => change.quota = Some(Some(Quota { limit: step.parsed()?, ..quota_now })),
        ["quota", "period"] => change.quota = Some(Some(Quota { period: period_named(&step.text()?)?, ..quota_now })),
        ["quota", "offset"] => change.quota = Some(Some(Quota { offset: step.parsed()?, ..quota_now })),
        ["apiStages"] => {
            let value = step.text()?;
            let (api_id, stage) = value.split_once(':').ok_or_else(|| bad_request("Invalid API Stage specified"))?;
            let stage = StageRef { api_id: api_id.to_owned(), stage: stage.to_owned() };
            let stages = change.stages.get_or_insert_with(|| plan.stages.iter().map(|open| open.stage.clone()).collect());
            match step.op {
                PatchOp::Remove => stages.retain(|open| *open != stage),
                PatchOp::Add | PatchOp::Replace => {
                    check_stage(rooms, &stage, Some(plan))?;
                    if stages.contains(&stage) {
                        return Err(conflict(format!("Usage Plan {} already has API Stage {value}", plan.id.0)));
                    }
                    stages.push(stage);
                }
            }
        }
        ["apiStages", _, "throttle", path, verb] if step.op == PatchOp::Remove => {
            change.method_throttles.insert(format!("{path}/{verb}"), None);
        }
        ["apiStages", stage, "throttle", path, verb, member] => {
            let method = format!("{path}/{verb}");
            let of_stage = plan.stages.iter().find(|open| format!("{}:{}", open.stage.api_id, open.stage.stage) == stage);
            let of_stage = of_stage.ok_or_else(|| bad_request("Invalid API Stage specified"))?;
            let known = change.method_throttles.get(&method).copied().flatten().or_else(|| of_stage.method_throttles.get(&method).copied());
            let mut throttle = known.unwrap_or(Throttle { rate_limit: 0.0, burst_limit: 0 });
            match member {
                "rateLimit" => throttle.rate_limit = step.parsed()?,
                "burstLimit" => throttle.burst_limit = step.parsed()?,
                _ => return Err(step.no_such_place(&places)),
            }
            change.method_throttles.insert(method, Some(throttle));
        }
        _ => return Err(step.no_such_place(&places)),
    }
    Ok(())
}

pub(super) fn usage_plan_key(call: &Call, rooms: &Rooms) -> Answer {
    let keys = &rooms.keys;
    let plan = find(rooms, call)?;
    // A plan's keys always come with their values, as API Gateway's do.
    let document = |key| documents::usage_plan_key(&key, value_if(true, keys, &key).as_deref());
    // A plan may have as many keys as there are: looked up, not walked through for each.
    let members: HashSet<&str> = plan.key_ids.iter().map(|id| id.0.as_str()).collect();
    let in_plan = |id: &str| members.contains(id);
    match call.operation {
        Op::CreateUsagePlanKey => {
            let wanted: CreateUsagePlanKey = call.read()?;
            if wanted.key_type != "API_KEY" {
                return Err(bad_request(format!("Invalid key type specified: {}. Valid values: API_KEY", wanted.key_type)));
            }
            let key = find_id(keys, &wanted.key_id, call.now_unix)?;
            if in_plan(&key.id.0) {
                return Err(conflict("Usage plan Key already exists"));
            }
            keys.join_plan(&plan.id.0, &key.id.0, call.now_unix).map_err(of_key)?;
            Ok((StatusCode::CREATED, document(key)))
        }
        Op::GetUsagePlanKeys => {
            let prefix = call.query_value("name");
            let mut list: Vec<_> = keys.list(call.now_unix).map_err(of_key)?.into_iter().map(|view| view.key).collect();
            list.retain(|key| in_plan(&key.id.0) && prefix.as_ref().is_none_or(|prefix| key.name.starts_with(prefix)));
            Ok((StatusCode::OK, call.page(list, document)?))
        }
        Op::DeleteUsagePlanKey => {
            let key = find_id(keys, call.parameter(1), call.now_unix)?;
            if !in_plan(&key.id.0) {
                return Err(not_found("Invalid Usage Plan ID specified"));
            }
            keys.leave_plan(&plan.id.0, &key.id.0, call.now_unix).map_err(of_key)?;
            Ok((StatusCode::ACCEPTED, Value::Null))
        }
        _ => {
            let key = find_id(keys, call.parameter(1), call.now_unix)?;
            if !in_plan(&key.id.0) {
                return Err(not_found("Invalid API Key identifier specified"));
            }
            Ok((StatusCode::OK, document(key)))
        }
    }
}

pub(super) fn usage(call: &Call, rooms: &Rooms) -> Answer {
    match call.operation {
        Op::UpdateUsage => extend(call, rooms),
        _ => report(call, rooms, call.query_value("keyId")),
    }
}

/// `{"usagePlanId", "startDate", "endDate", "values": {key id: [[used, remaining], one a day]}}`.
fn report(call: &Call, rooms: &Rooms, key_id: Option<String>) -> Answer {
    let plan = find(rooms, call)?;
    let day = |name: &str| -> Result<(String, u32), ServiceError> {
        let text = call.query_value(name).ok_or_else(|| bad_request(format!("Invalid {name} specified")))?;
        let date = Date::parse(&text, format_description!("[year]-[month]-[day]"));
        let date = date.map_err(|_| bad_request(format!("Invalid {name} specified: {text}. Write it as 2026-01-31")))?;
        Ok((text, day_of_date(date)))
    };
    let ((start, first), (end, last)) = (day("startDate")?, day("endDate")?);
    if first > last || last - first >= USAGE_DAYS_MAX {
        return Err(bad_request(format!("startDate must not be after endDate, nor more than {USAGE_DAYS_MAX} days before it")));
    }
    if let Some(key_id) = &key_id {
        find_id(&rooms.keys, key_id, call.now_unix)?;
    }
    let used = rooms.keys.usage(first, last, key_id.as_deref(), call.now_unix).map_err(of_key)?;
    let limit = plan.quota.map(|quota| quota.limit);
    let days = (last - first + 1) as usize;
    let mut values: BTreeMap<String, Vec<[Option<u64>; 2]>> = BTreeMap::new();
    let counted = used.keys.into_iter().filter(|of_key| of_key.plan_id == plan.id);
    for of_key in counted {
        let of_days = values.entry(of_key.key_id.0.clone()).or_insert_with(|| vec![[Some(0), limit]; days]);
        of_days[(of_key.day - first) as usize] = [Some(of_key.used), of_key.remaining];
    }
    Ok((StatusCode::OK, json!({ "usagePlanId": plan.id.0, "startDate": start, "endDate": end, "values": values })))
}

/// Sets what is left of a key's quota in the period that is running. It can be raised; what was counted is never taken back.
fn extend(call: &Call, rooms: &Rooms) -> Answer {
    let plan = find(rooms, call)?;
    let key = find_id(&rooms.keys, call.parameter(1), call.now_unix)?;
    let mut wanted = None;
    for step in steps(call)? {
        match step.place()[..] {
            ["remaining"] => wanted = Some(step.parsed::<u64>()?),
            _ => return Err(step.no_such_place(&["/remaining"])),
        }
    }
    let wanted = wanted.ok_or_else(|| bad_request("Invalid patch operation: name /remaining"))?;
    let (_, left) = rooms.keys.extend_quota(&key.id.0, Some(&plan.id.0), 0, call.now_unix).map_err(of_key)?;
    let extra = wanted.checked_sub(left).ok_or_else(|| bad_request(format!("{left} requests are left, and that cannot be lowered")))?;
    rooms.keys.extend_quota(&key.id.0, Some(&plan.id.0), extra, call.now_unix).map_err(of_key)?;
    let day = day_of(call.now_unix);
    let used = rooms.keys.usage(day, day, Some(&key.id.0), call.now_unix).map_err(of_key)?;
    let used = used.keys.iter().find(|of_key| of_key.plan_id == plan.id).map_or(0, |of_key| of_key.used);
    let today = date_of(day).to_string();
    let values = BTreeMap::from([(key.id.0, [[used, wanted]])]);
    Ok((StatusCode::OK, json!({ "usagePlanId": plan.id.0, "startDate": today, "endDate": today, "values": values })))
}
