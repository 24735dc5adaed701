//! Usage plans: making, changing, deleting them, and which keys are in them.

use std::collections::BTreeMap;

use frontdesk_store::{ApiKeyId, PlanStage, Quota, StageRef, StoreError, Throttle, UsagePlan, UsagePlanId};

use super::{KeyService, KeyServiceError, PLANS_MAX};
use crate::key;
use crate::quota::Calendar;

/// What of a plan may be changed. A field of `None` stays as it is; an inner `None` takes the limit away.
#[derive(Debug, Clone, Default)]
pub struct PlanChange {
    /// The name.
    pub name: Option<String>,
    /// The description.
    pub description: Option<String>,
    /// The speed of each key.
    pub throttle: Option<Option<Throttle>>,
    /// The allowance of each key.
    pub quota: Option<Option<Quota>>,
    /// All stages that it opens.
    pub stages: Option<Vec<StageRef>>,
    /// Throttles of methods by path and verb, in every stage that it opens; `None` takes one away.
    pub method_throttles: BTreeMap<String, Option<Throttle>>,
}

impl KeyService {
    /// All plans, by name.
    ///
    /// # Errors
    /// When the store fails.
    pub fn plans(&self) -> Result<Vec<UsagePlan>, KeyServiceError> {
        Ok(self.store.usage_plans()?)
    }

    /// One plan, named by id or name.
    ///
    /// # Errors
    /// See [`KeyServiceError`].
    pub fn plan(&self, id_or_name: &str) -> Result<UsagePlan, KeyServiceError> {
        let plans = self.plans()?;
        if let Some(plan) = plans.iter().find(|plan| plan.id.0 == id_or_name) {
            return Ok(plan.clone());
        }
        let mut named: Vec<_> = plans.into_iter().filter(|plan| plan.name == id_or_name).collect();
        match (named.len(), named.pop()) {
            (1, Some(plan)) => Ok(plan),
            (0, _) | (_, None) => Err(KeyServiceError::NoSuchPlan(id_or_name.to_owned())),
            (count, _) => Err(KeyServiceError::AmbiguousPlan { name: id_or_name.to_owned(), count }),
        }
    }

    /// Makes sure that a name leads to one plan, for who will name it so: the command line. API Gateway lets several have one.
    ///
    /// # Errors
    /// [`StoreError::Exists`] when another plan than the one with this id has the name.
    pub fn check_plan_name_is_free(&self, name: &str, but_for: Option<&str>) -> Result<(), KeyServiceError> {
        let is_taken = self.plans()?.iter().any(|plan| plan.name == name && but_for != Some(&plan.id.0) && but_for != Some(&plan.name));
        if is_taken { Err(StoreError::Exists { what: format!("a usage plan named {name}") }.into()) } else { Ok(()) }
    }

    /// Makes a plan, also one with a name that another has.
    ///
    /// # Errors
    /// See [`KeyServiceError`].
    pub fn create_plan(&self, change: PlanChange, now_unix: i64) -> Result<UsagePlan, KeyServiceError> {
        let mut plan = UsagePlan {
            id: UsagePlanId(key::generate_id().map_err(KeyServiceError::Random)?),
            name: String::new(),
            description: String::new(),
            throttle: None,
            quota: None,
            stages: Vec::new(),
            key_ids: Vec::new(),
        };
        apply(&mut plan, change)?;
        self.put_plan(&plan, now_unix)?;
        Ok(plan)
    }

    /// Changes a plan. Limits count from the next request on; what was used stays used.
    ///
    /// # Errors
    /// See [`KeyServiceError`].
    pub fn change_plan(&self, id_or_name: &str, change: PlanChange, now_unix: i64) -> Result<UsagePlan, KeyServiceError> {
        let mut plan = self.plan(id_or_name)?;
        let opened = change.stages.clone().unwrap_or_default();
        apply(&mut plan, change)?;
        for stage in &opened {
            for key_id in &plan.key_ids {
                self.check_one_plan_a_stage(&plan.id, key_id, std::slice::from_ref(stage))?;
            }
        }
        self.put_plan(&plan, now_unix)?;
        Ok(plan)
    }

    fn put_plan(&self, plan: &UsagePlan, now_unix: i64) -> Result<(), KeyServiceError> {
        let mut state = self.lock();
        match self.store.put_usage_plan(plan) {
            Err(StoreError::Exists { .. }) => self.store.put_usage_plan_of_shared_name(plan)?,
            put => put?,
        }
        Ok(self.rebuild(&mut state, now_unix)?)
    }

    /// Deletes a plan; its keys stay and open nothing by it any more.
    ///
    /// # Errors
    /// See [`KeyServiceError`].
    pub fn delete_plan(&self, id_or_name: &str, now_unix: i64) -> Result<UsagePlan, KeyServiceError> {
        let plan = self.plan(id_or_name)?;
        let mut state = self.lock();
        self.store.delete_usage_plan(&plan.id)?;
        self.rebuild(&mut state, now_unix)?;
        Ok(plan)
    }

    /// Puts a key into a plan.
    ///
    /// # Errors
    /// See [`KeyServiceError`]; as at API Gateway, a key has one plan for a stage and at most ten plans.
    pub fn join_plan(&self, plan: &str, key: &str, now_unix: i64) -> Result<(), KeyServiceError> {
        let (plan, key) = (self.plan(plan)?, self.find(key)?);
        let stages: Vec<StageRef> = plan.stages.iter().map(|open| open.stage.clone()).collect();
        self.check_one_plan_a_stage(&plan.id, &key.id, &stages)?;
        let joined = self.store.usage_plan_ids_of(&key.id)?;
        if !joined.contains(&plan.id) && joined.len() >= PLANS_MAX {
            return Err(KeyServiceError::Invalid(format!("{} is in {PLANS_MAX} usage plans already, which is the most", key.name)));
        }
        let mut state = self.lock();
        self.store.join_usage_plan(&plan.id, &key.id)?;
        Ok(self.refresh(&mut state, &key.id, now_unix)?)
    }

    /// Takes a key out of a plan.
    ///
    /// # Errors
    /// See [`KeyServiceError`].
    pub fn leave_plan(&self, plan: &str, key: &str, now_unix: i64) -> Result<(), KeyServiceError> {
        let (plan, key) = (self.plan(plan)?, self.find(key)?);
        let mut state = self.lock();
        if !self.store.leave_usage_plan(&plan.id, &key.id)? {
            return Err(KeyServiceError::Invalid(format!("{} is not in the usage plan {}", key.name, plan.name)));
        }
        Ok(self.refresh(&mut state, &key.id, now_unix)?)
    }

    fn check_one_plan_a_stage(&self, plan_id: &UsagePlanId, key_id: &ApiKeyId, stages: &[StageRef]) -> Result<(), KeyServiceError> {
        let others = self.plans()?.into_iter().filter(|other| other.id != *plan_id && other.key_ids.contains(key_id));
        for other in others {
            if let Some(stage) = stages.iter().find(|stage| other.opens(stage)) {
                return Err(KeyServiceError::Invalid(format!(
                    "the key {key_id} is in the usage plan {} for the stage {} already: take it out there first (`frontdesk plans remove`)",
                    other.name, stage.stage
                )));
            }
        }
        Ok(())
    }
}

fn apply(plan: &mut UsagePlan, change: PlanChange) -> Result<(), KeyServiceError> {
    let PlanChange { name, description, throttle, quota, stages, method_throttles } = change;
    plan.name = name.unwrap_or(std::mem::take(&mut plan.name));
    plan.description = description.unwrap_or(std::mem::take(&mut plan.description));
    plan.throttle = throttle.unwrap_or(plan.throttle);
    plan.quota = quota.unwrap_or(plan.quota);
    if let Some(stages) = stages {
        let known = std::mem::take(&mut plan.stages);
        let open = |stage: StageRef| {
            let before = known.iter().find(|open| open.stage == stage);
            PlanStage { method_throttles: before.map(|open| open.method_throttles.clone()).unwrap_or_default(), stage }
        };
        plan.stages = stages.into_iter().map(open).collect();
    }
    for (method, throttle) in method_throttles {
        check_method(&method)?;
        for open in &mut plan.stages {
            match throttle {
                Some(throttle) => open.method_throttles.insert(method.clone(), throttle),
                None => open.method_throttles.remove(&method),
            };
        }
    }
    let throttles = plan.stages.iter().flat_map(|open| open.method_throttles.values()).chain(&plan.throttle);
    for throttle in throttles {
        if !throttle.rate_limit.is_finite() || throttle.rate_limit < 0.0 {
            return Err(KeyServiceError::Invalid(format!("the rate limit {} is not a number of 0 or more", throttle.rate_limit)));
        }
    }
    Calendar::of(plan.quota).check().map_err(KeyServiceError::Invalid)?;
    if plan.name.trim().is_empty() {
        return Err(KeyServiceError::Invalid("a usage plan needs a name".to_owned()));
    }
    Ok(())
}

fn check_method(method: &str) -> Result<(), KeyServiceError> {
    let verb = method.rsplit_once('/').map_or("", |(_, verb)| verb);
    let is_verb = !verb.is_empty() && verb.bytes().all(|byte| byte.is_ascii_uppercase());
    if method.starts_with('/') && is_verb {
        return Ok(());
    }
    Err(KeyServiceError::Invalid(format!("`{method}` is no method: write the resource's path and the verb, such as /invoke/POST")))
}
