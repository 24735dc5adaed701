//! What `up` makes on its first start and finds again on every later one: the API, the plan, the first key, the agent's ARN, the root's access key.
//!
//! A later start brings the plan to the settings where these have changed; keys, and whatever was made otherwise, it leaves alone.

use std::sync::Arc;

use anyhow::Context as _;
use frontdesk_aws::arn::AgentRuntimeArn;
use frontdesk_gateway::apis::agent_api::AgentApi;
use frontdesk_gateway::{ApiService, CreatedKey, KeyService, key};
use frontdesk_store::{
    AccessKey, ApiKeyChange, PlanNames, PlanStage, Quota, SecretText, Seeded, StageRef, Store, StoreError, Throttle, UsagePlan, UsagePlanId,
};

use crate::settings::Settings;

/// The name of the plan that `up` seeds, as the guide names it.
pub(crate) const PLAN_NAME: &str = "ThirdPartyUsagePlan";
/// The name of the key that the first start makes.
pub(crate) const FIRST_KEY_NAME: &str = "ThirdPartyServerKey";
/// The agent runtime's name.
const AGENT_NAME: &str = "lauki_faq";

/// What was seeded, now or on an earlier start.
pub(crate) struct SeededHost {
    pub(crate) rest_api_id: String,
    pub(crate) agent_runtime_arn: AgentRuntimeArn,
    pub(crate) root_key: AccessKey,
}

/// Makes or finds everything but the first key, which needs the key service.
pub(crate) fn seed(store: &Store, settings: &Settings, now_unix: i64) -> anyhow::Result<SeededHost> {
    let rest_api_id = find_or_make(store, Seeded::RestApi, key::generate_id)?;
    // The id lasts; region and account follow the settings.
    let suffix = find_or_make(store, Seeded::AgentRuntime, || {
        key::random_text(10, b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
    })?;
    let agent_runtime_arn = AgentRuntimeArn::new(&settings.region, &settings.account_id, AGENT_NAME, &suffix)?;
    seed_plan(store, settings, &rest_api_id)?;
    let root_key = root_key(store, settings, now_unix)?;
    Ok(SeededHost { rest_api_id, agent_runtime_arn, root_key })
}

/// Puts the agent's API to what the settings say, unless it was put there before: who changed it by hand keeps the change until they say something new.
pub(crate) fn agent_api(store: &Store, apis: &ApiService, wanted: &AgentApi, now_unix: i64) -> anyhow::Result<()> {
    let (deployment, stage) = wanted.deployed("", 0);
    let seeded_from = serde_json::to_string(&(deployment.resources, stage))?;
    let is_there = store.stage(&wanted.id, &wanted.stage)?.is_some();
    if is_there && store.seeded(Seeded::RestApiSettings)?.as_ref() == Some(&seeded_from) {
        return Ok(());
    }
    apis.put_agent_api(wanted, now_unix)?;
    Ok(store.record_seeded(Seeded::RestApiSettings, &seeded_from)?)
}

/// Makes the first API key, on the first start only.
pub(crate) fn first_key(store: &Store, keys: &Arc<KeyService>, now_unix: i64) -> anyhow::Result<Option<CreatedKey>> {
    if store.seeded(Seeded::ApiKey)?.is_some() {
        return Ok(None);
    }
    let about = ApiKeyChange { name: Some(FIRST_KEY_NAME.to_owned()), ..ApiKeyChange::default() };
    let created = keys.create(about, None, Some(PLAN_NAME), now_unix)?;
    if store.record_seeded_first(Seeded::ApiKey, &created.id.0)? != created.id.0 {
        // Two first hosts of a fleet started at the same moment, and the other one's key is the fleet's first.
        keys.delete(&created.id.0, now_unix)?;
        return Ok(None);
    }
    Ok(Some(created))
}

fn find_or_make(store: &Store, what: Seeded, make: impl FnOnce() -> Result<String, key::RandomError>) -> anyhow::Result<String> {
    if let Some(id) = store.seeded(what)? {
        return Ok(id);
    }
    let id = make().context("the system's random generator failed")?;
    Ok(store.record_seeded_first(what, &id)?)
}

fn seed_plan(store: &Store, settings: &Settings, rest_api_id: &str) -> anyhow::Result<()> {
    let id = UsagePlanId(find_or_make(store, Seeded::UsagePlan, key::generate_id)?);
    let wanted = &settings.usage_plan;
    let stage = StageRef { api_id: rest_api_id.to_owned(), stage: settings.gateway.stage.clone() };
    // What the plan was seeded from: who changed the plan by hand keeps the change until the settings say something new.
    let seeded_from = serde_json::to_string(&(wanted, &stage.stage))?;
    let known = store.usage_plans()?.into_iter().find(|plan| plan.id == id);
    if known.is_some() && store.seeded(Seeded::UsagePlanSettings)?.as_ref() == Some(&seeded_from) {
        return Ok(());
    }
    let new = || UsagePlan {
        id,
        name: PLAN_NAME.to_owned(),
        description: String::new(),
        throttle: None,
        quota: None,
        stages: Vec::new(),
        key_ids: Vec::new(),
    };
    // One that is there has its name, whoever else has it too.
    let names = if known.is_some() { PlanNames::Any } else { PlanNames::Distinct };
    let mut plan = known.unwrap_or_else(new);
    let throttle = Throttle { rate_limit: wanted.rate_limit, burst_limit: wanted.burst_limit };
    plan.throttle = (wanted.rate_limit > 0.0).then_some(throttle);
    plan.quota = (wanted.quota_limit > 0).then_some(Quota { limit: wanted.quota_limit, period: wanted.quota_period.into(), offset: 0 });
    if !plan.opens(&stage) {
        plan.stages = vec![PlanStage { stage, method_throttles: Default::default() }];
    }
    match store.put_usage_plan(&plan, names) {
        // The plan was deleted by hand and another took its name: that one is the user's.
        Err(StoreError::Exists { .. }) => return Ok(()),
        // A host of a fleet that starts alone goes on with the plan as it was; a later start brings it to the settings.
        Err(StoreError::Fleet(reason)) if reason.is_outage() => {
            tracing::warn!("{reason}: the usage plan stays as it was, whatever the settings say now");
            return Ok(());
        }
        written => written?,
    }
    Ok(store.record_seeded(Seeded::UsagePlanSettings, &seeded_from)?)
}

fn root_key(store: &Store, settings: &Settings, now_unix: i64) -> anyhow::Result<AccessKey> {
    let principal = format!("arn:aws:iam::{}:root", settings.account_id);
    if let Some(found) = store.access_key_of(&principal)? {
        return Ok(found);
    }
    let made = new_access_key(&principal)?;
    store.add_access_key(&made, now_unix)?;
    Ok(made)
}

/// A new access key in AWS's form: an id of 20 characters that begins with `AKIA`, a secret of 40.
pub(crate) fn new_access_key(principal: &str) -> anyhow::Result<AccessKey> {
    let random = || -> Result<(String, String), key::RandomError> {
        let id = key::random_text(16, b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")?;
        let secret = key::random_text(40, b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")?;
        Ok((format!("AKIA{id}"), secret))
    };
    let (id, secret) = random().context("the system's random generator failed")?;
    Ok(AccessKey { id, principal: principal.to_owned(), secret: SecretText::new(secret) })
}
