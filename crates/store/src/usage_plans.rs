//! Usage plans at rest: limits, the stages they open and the keys they serve.

use rusqlite::OptionalExtension as _;

use crate::api_keys::ApiKeyId;
use crate::database::{Store, StoreError, exists_already};

/// A usage plan's id.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct UsagePlanId(pub String);

/// A stage of an API.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StageRef {
    /// The API's id.
    pub api_id: String,
    /// The stage's name.
    pub stage: String,
}

/// A token bucket.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Throttle {
    /// Requests a second in the long run; may be a fraction.
    pub rate_limit: f64,
    /// Requests that may come at once.
    pub burst_limit: u32,
}

/// A usage plan.
#[derive(Debug, Clone, PartialEq)]
pub struct UsagePlan {
    /// Its id.
    pub id: UsagePlanId,
    /// Its name.
    pub name: String,
    /// The speed of each key; `None` means unlimited.
    pub throttle: Option<Throttle>,
    /// Requests a day (UTC) of each key; `None` means unlimited.
    pub quota_limit: Option<u64>,
    /// The stages it opens.
    pub stages: Vec<StageRef>,
    /// The keys it serves.
    pub key_ids: Vec<ApiKeyId>,
}

impl Store {
    /// Writes a plan with its limits and stages; one with the same id is replaced, its keys are kept.
    ///
    /// # Errors
    /// [`StoreError::Exists`] when another plan has the name.
    pub fn put_usage_plan(&self, plan: &UsagePlan) -> Result<(), StoreError> {
        let mut connection = self.connection();
        let transaction = connection.transaction()?;
        let throttle = plan.throttle;
        transaction
            .execute(
                "INSERT INTO usage_plan (id, name, rate_limit, burst_limit, quota_limit) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (id) DO UPDATE SET name = excluded.name, rate_limit = excluded.rate_limit,
                     burst_limit = excluded.burst_limit, quota_limit = excluded.quota_limit",
                (
                    &plan.id.0,
                    &plan.name,
                    throttle.map(|throttle| throttle.rate_limit),
                    throttle.map(|throttle| throttle.burst_limit),
                    plan.quota_limit.map(u64::cast_signed),
                ),
            )
            .map_err(|error| exists_already(error, || format!("a usage plan named {}", plan.name)))?;
        transaction.execute("DELETE FROM usage_plan_stage WHERE plan_id = ?1", [&plan.id.0])?;
        for stage in &plan.stages {
            let sql = "INSERT INTO usage_plan_stage (plan_id, api_id, stage) VALUES (?1, ?2, ?3)";
            transaction.execute(sql, (&plan.id.0, &stage.api_id, &stage.stage))?;
        }
        for key_id in &plan.key_ids {
            let sql = "INSERT OR IGNORE INTO usage_plan_key (plan_id, key_id) VALUES (?1, ?2)";
            transaction.execute(sql, (&plan.id.0, &key_id.0))?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// All plans, by name.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn usage_plans(&self) -> Result<Vec<UsagePlan>, StoreError> {
        let connection = self.connection();
        let mut select =
            connection.prepare_cached("SELECT id, name, rate_limit, burst_limit, quota_limit FROM usage_plan ORDER BY name")?;
        let mut plans: Vec<UsagePlan> = select
            .query_map([], |row| {
                let (rate_limit, burst_limit): (Option<f64>, Option<u32>) = (row.get(2)?, row.get(3)?);
                Ok(UsagePlan {
                    id: UsagePlanId(row.get(0)?),
                    name: row.get(1)?,
                    throttle: rate_limit.zip(burst_limit).map(|(rate_limit, burst_limit)| Throttle { rate_limit, burst_limit }),
                    quota_limit: row.get::<_, Option<i64>>(4)?.map(i64::cast_unsigned),
                    stages: Vec::new(),
                    key_ids: Vec::new(),
                })
            })?
            .collect::<Result<_, _>>()?;
        let mut stages = connection.prepare_cached("SELECT api_id, stage FROM usage_plan_stage WHERE plan_id = ?1")?;
        let mut keys = connection.prepare_cached("SELECT key_id FROM usage_plan_key WHERE plan_id = ?1")?;
        for plan in &mut plans {
            plan.stages = stages
                .query_map([&plan.id.0], |row| Ok(StageRef { api_id: row.get(0)?, stage: row.get(1)? }))?
                .collect::<Result<_, _>>()?;
            plan.key_ids = keys.query_map([&plan.id.0], |row| Ok(ApiKeyId(row.get(0)?)))?.collect::<Result<_, _>>()?;
        }
        Ok(plans)
    }

    /// The id of the plan with this name.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn usage_plan_named(&self, name: &str) -> Result<Option<UsagePlanId>, StoreError> {
        let connection = self.connection();
        let mut select = connection.prepare_cached("SELECT id FROM usage_plan WHERE name = ?1")?;
        Ok(select.query_row([name], |row| row.get(0).map(UsagePlanId)).optional()?)
    }
}
