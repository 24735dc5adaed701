//! Usage plans at rest: limits, the stages they open and the keys they serve.

use std::collections::{BTreeMap, HashMap};

use rusqlite::Transaction;

use crate::api_keys::ApiKeyId;
use crate::database::{Store, StoreError, exists_already};

/// A usage plan's id.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct UsagePlanId(pub String);

/// A stage of an API.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StageRef {
    /// The API's id.
    pub api_id: String,
    /// The stage's name.
    pub stage: String,
}

/// A token bucket.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Throttle {
    /// Requests a second in the long run; may be a fraction.
    pub rate_limit: f64,
    /// Requests that may come at once.
    pub burst_limit: u32,
}

/// What a quota is for; all in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuotaPeriod {
    /// A day.
    Day,
    /// Seven days from Sunday.
    Week,
    /// A calendar month.
    Month,
}

impl QuotaPeriod {
    /// API Gateway's name of it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            QuotaPeriod::Day => "DAY",
            QuotaPeriod::Week => "WEEK",
            QuotaPeriod::Month => "MONTH",
        }
    }

    /// The period of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<QuotaPeriod> {
        [QuotaPeriod::Day, QuotaPeriod::Week, QuotaPeriod::Month].into_iter().find(|period| period.name() == name)
    }
}

/// An allowance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Requests.
    pub limit: u64,
    /// In what time.
    pub period: QuotaPeriod,
    /// The day on which a period begins, counted from its first: with 1 a week begins on Monday, a month on the 2nd. At most 6 for a week, 27 for a month.
    pub offset: u8,
}

/// A stage that a plan opens.
#[derive(Debug, Clone, PartialEq)]
pub struct PlanStage {
    /// Which one.
    pub stage: StageRef,
    /// Throttles of its methods for each key, by path and verb (`/invoke/POST`).
    pub method_throttles: BTreeMap<String, Throttle>,
}

/// A usage plan.
#[derive(Debug, Clone, PartialEq)]
pub struct UsagePlan {
    /// Its id.
    pub id: UsagePlanId,
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// The speed of each key; `None` means unlimited.
    pub throttle: Option<Throttle>,
    /// The allowance of each key; `None` means unlimited.
    pub quota: Option<Quota>,
    /// The stages it opens.
    pub stages: Vec<PlanStage>,
    /// The keys it serves.
    pub key_ids: Vec<ApiKeyId>,
}

impl UsagePlan {
    /// Whether it opens a stage.
    #[must_use]
    pub fn opens(&self, stage: &StageRef) -> bool {
        self.stages.iter().any(|open| open.stage == *stage)
    }
}

impl Store {
    /// Writes a plan with its limits and stages; one with the same id is replaced, its keys are kept.
    ///
    /// # Errors
    /// [`StoreError::Exists`] when another plan has the name.
    pub fn put_usage_plan(&self, plan: &UsagePlan) -> Result<(), StoreError> {
        self.put_plan_named(plan, &plan.name)
    }

    /// The same for a plan whose name another plan has too, as API Gateway allows.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn put_usage_plan_of_shared_name(&self, plan: &UsagePlan) -> Result<(), StoreError> {
        self.put_plan_named(plan, &format!("{}{NAME_ENDS}{}", plan.name, plan.id.0))
    }

    fn put_plan_named(&self, plan: &UsagePlan, stored_name: &str) -> Result<(), StoreError> {
        self.change(|transaction| {
            put_plan(transaction, plan, stored_name)?;
            put_stages(transaction, plan)?;
            for key_id in &plan.key_ids {
                let sql = "INSERT OR IGNORE INTO usage_plan_key (plan_id, key_id) VALUES (?1, ?2)";
                transaction.execute(sql, (&plan.id.0, &key_id.0))?;
            }
            Ok(())
        })
    }

    /// All plans, by name.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn usage_plans(&self) -> Result<Vec<UsagePlan>, StoreError> {
        let connection = self.connection();
        let sql =
            "SELECT id, name, description, rate_limit, burst_limit, quota_limit, quota_period, quota_offset FROM usage_plan ORDER BY name";
        let mut select = connection.prepare_cached(sql)?;
        let mut plans: Vec<UsagePlan> = select
            .query_map([], |row| {
                let (rate_limit, burst_limit): (Option<f64>, Option<u32>) = (row.get(3)?, row.get(4)?);
                let (limit, period, offset): (Option<i64>, String, Option<u8>) = (row.get(5)?, row.get(6)?, row.get(7)?);
                let offset = offset.unwrap_or(0);
                Ok(UsagePlan {
                    id: UsagePlanId(row.get(0)?),
                    name: shown_name(row.get(1)?),
                    description: row.get(2)?,
                    throttle: rate_limit.zip(burst_limit).map(|(rate_limit, burst_limit)| Throttle { rate_limit, burst_limit }),
                    quota: limit.map(i64::cast_unsigned).zip(QuotaPeriod::named(&period)).map(|(limit, period)| Quota {
                        limit,
                        period,
                        offset,
                    }),
                    stages: Vec::new(),
                    key_ids: Vec::new(),
                })
            })?
            .collect::<Result<_, _>>()?;
        let mut stages =
            connection.prepare_cached("SELECT api_id, stage FROM usage_plan_stage WHERE plan_id = ?1 ORDER BY api_id, stage")?;
        let sql = "SELECT api_id, stage, method, rate_limit, burst_limit FROM usage_plan_method_throttle WHERE plan_id = ?1";
        let mut throttles = connection.prepare_cached(sql)?;
        let mut keys = connection.prepare_cached("SELECT key_id FROM usage_plan_key WHERE plan_id = ?1")?;
        for plan in &mut plans {
            let mut of_methods: HashMap<StageRef, BTreeMap<String, Throttle>> = HashMap::new();
            let mut rows = throttles.query([&plan.id.0])?;
            while let Some(row) = rows.next()? {
                let stage = StageRef { api_id: row.get(0)?, stage: row.get(1)? };
                let throttle = Throttle { rate_limit: row.get(3)?, burst_limit: row.get(4)? };
                of_methods.entry(stage).or_default().insert(row.get(2)?, throttle);
            }
            plan.stages = stages
                .query_map([&plan.id.0], |row| {
                    let stage = StageRef { api_id: row.get(0)?, stage: row.get(1)? };
                    Ok(PlanStage { method_throttles: of_methods.remove(&stage).unwrap_or_default(), stage })
                })?
                .collect::<Result<_, _>>()?;
            plan.key_ids = keys.query_map([&plan.id.0], |row| Ok(ApiKeyId(row.get(0)?)))?.collect::<Result<_, _>>()?;
        }
        Ok(plans)
    }

    /// The plans that a key is in, by name.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn usage_plan_ids_of(&self, key_id: &ApiKeyId) -> Result<Vec<UsagePlanId>, StoreError> {
        let connection = self.connection();
        let sql = "SELECT id FROM usage_plan JOIN usage_plan_key ON plan_id = id WHERE key_id = ?1 ORDER BY name";
        let mut select = connection.prepare_cached(sql)?;
        let ids = select.query_map([&key_id.0], |row| row.get(0).map(UsagePlanId))?.collect::<Result<_, _>>()?;
        Ok(ids)
    }

    /// Deletes a plan; its keys stay, and what was counted. Returns whether there was one.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn delete_usage_plan(&self, id: &UsagePlanId) -> Result<bool, StoreError> {
        self.change(|transaction| Ok(transaction.execute("DELETE FROM usage_plan WHERE id = ?1", [&id.0])? == 1))
    }

    /// Puts a key into a plan. Returns whether it was not in it before.
    ///
    /// # Errors
    /// [`StoreError::Sql`], also when there is no such key or plan.
    pub fn join_usage_plan(&self, plan_id: &UsagePlanId, key_id: &ApiKeyId) -> Result<bool, StoreError> {
        let sql = "INSERT OR IGNORE INTO usage_plan_key (plan_id, key_id) VALUES (?1, ?2)";
        self.change(|transaction| Ok(transaction.execute(sql, (&plan_id.0, &key_id.0))? == 1))
    }

    /// Takes a key out of a plan. Returns whether it was in it.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn leave_usage_plan(&self, plan_id: &UsagePlanId, key_id: &ApiKeyId) -> Result<bool, StoreError> {
        let sql = "DELETE FROM usage_plan_key WHERE plan_id = ?1 AND key_id = ?2";
        self.change(|transaction| Ok(transaction.execute(sql, (&plan_id.0, &key_id.0))? == 1))
    }
}

/// The column of names is unique. Behind this character (a control character that no one can type) a name is told from its like by the plan's id.
const NAME_ENDS: char = '\u{1f}';

fn shown_name(mut stored: String) -> String {
    stored.truncate(stored.find(NAME_ENDS).unwrap_or(stored.len()));
    stored
}

fn put_plan(transaction: &Transaction<'_>, plan: &UsagePlan, stored_name: &str) -> Result<(), StoreError> {
    let throttle = plan.throttle;
    transaction
        .execute(
            "INSERT INTO usage_plan (id, name, description, rate_limit, burst_limit, quota_limit, quota_period, quota_offset)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
             ON CONFLICT (id) DO UPDATE SET name = excluded.name, description = excluded.description, rate_limit = excluded.rate_limit,
                 burst_limit = excluded.burst_limit, quota_limit = excluded.quota_limit, quota_period = excluded.quota_period,
                 quota_offset = excluded.quota_offset",
            (
                &plan.id.0,
                stored_name,
                &plan.description,
                throttle.map(|throttle| throttle.rate_limit),
                throttle.map(|throttle| throttle.burst_limit),
                plan.quota.map(|quota| quota.limit.cast_signed()),
                plan.quota.map_or(QuotaPeriod::Day, |quota| quota.period).name(),
                plan.quota.map(|quota| quota.offset),
            ),
        )
        .map_err(|error| exists_already(error, || format!("a usage plan named {}", plan.name)))?;
    Ok(())
}

fn put_stages(transaction: &Transaction<'_>, plan: &UsagePlan) -> Result<(), StoreError> {
    transaction.execute("DELETE FROM usage_plan_stage WHERE plan_id = ?1", [&plan.id.0])?;
    for PlanStage { stage, method_throttles } in &plan.stages {
        let sql = "INSERT INTO usage_plan_stage (plan_id, api_id, stage) VALUES (?1, ?2, ?3)";
        transaction.execute(sql, (&plan.id.0, &stage.api_id, &stage.stage))?;
        for (method, throttle) in method_throttles {
            let sql = "INSERT INTO usage_plan_method_throttle (plan_id, api_id, stage, method, rate_limit, burst_limit)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
            let row = (&plan.id.0, &stage.api_id, &stage.stage, method, throttle.rate_limit, throttle.burst_limit);
            transaction.execute(sql, row)?;
        }
    }
    Ok(())
}
