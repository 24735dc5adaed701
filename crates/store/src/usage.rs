//! Usage counts at rest.

use rusqlite::Row;

use crate::api_keys::ApiKeyId;
use crate::database::{Store, StoreError};
use crate::usage_plans::UsagePlanId;

/// How many requests a key has made under a plan on a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageCount {
    /// The plan.
    pub plan_id: UsagePlanId,
    /// The key.
    pub key_id: ApiKeyId,
    /// Days since 1970-01-01, UTC.
    pub day: u32,
    /// Requests counted.
    pub used: u64,
}

/// How many requests of a key were answered for an actor on a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActorCount {
    /// The key.
    pub key_id: ApiKeyId,
    /// The actor, as the callers name it.
    pub actor: String,
    /// Days since 1970-01-01, UTC.
    pub day: u32,
    /// Requests answered.
    pub used: u64,
}

/// Requests granted to a key beyond its quota.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuotaExtension {
    /// The plan.
    pub plan_id: UsagePlanId,
    /// The key.
    pub key_id: ApiKeyId,
    /// The first day of the period that it is for; days since 1970-01-01, UTC.
    pub period_day: u32,
    /// How many.
    pub extra: u64,
}

impl Store {
    /// Writes counts in one transaction. A count never shrinks, so writing an older one again does no harm.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn write_usage(&self, counts: &[UsageCount], actors: &[ActorCount]) -> Result<(), StoreError> {
        let mut connection = self.connection();
        let transaction = connection.transaction()?;
        {
            let mut upsert = transaction.prepare_cached(
                "INSERT INTO usage (plan_id, key_id, day, used) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (plan_id, key_id, day) DO UPDATE SET used = max(used, excluded.used)",
            )?;
            for count in counts {
                upsert.execute((&count.plan_id.0, &count.key_id.0, count.day, count.used.cast_signed()))?;
            }
            let mut upsert = transaction.prepare_cached(
                "INSERT INTO actor_usage (key_id, actor, day, used) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (key_id, actor, day) DO UPDATE SET used = max(used, excluded.used)",
            )?;
            for count in actors {
                upsert.execute((&count.key_id.0, &count.actor, count.day, count.used.cast_signed()))?;
            }
        }
        transaction.commit()?;
        Ok(())
    }

    /// The counts of all keys on the days from `first` to `last`, in the order of days.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn usage_between(&self, first: u32, last: u32) -> Result<Vec<UsageCount>, StoreError> {
        let connection = self.connection();
        let sql = "SELECT plan_id, key_id, day, used FROM usage WHERE day BETWEEN ?1 AND ?2 ORDER BY day, plan_id, key_id";
        let mut select = connection.prepare_cached(sql)?;
        let counts = select.query_map([first, last], usage_count)?.collect::<Result<_, _>>()?;
        Ok(counts)
    }

    /// The counts of one key under one plan on the days from `first` to `last`, in the order of days.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn usage_of(&self, plan_id: &UsagePlanId, key_id: &ApiKeyId, first: u32, last: u32) -> Result<Vec<UsageCount>, StoreError> {
        let connection = self.connection();
        let sql = "SELECT plan_id, key_id, day, used FROM usage
                   WHERE plan_id = ?1 AND key_id = ?2 AND day BETWEEN ?3 AND ?4 ORDER BY day";
        let mut select = connection.prepare_cached(sql)?;
        let counts = select.query_map((&plan_id.0, &key_id.0, first, last), usage_count)?.collect::<Result<_, _>>()?;
        Ok(counts)
    }

    /// The counts of all actors on the days from `first` to `last`, in the order of days.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn actor_usage_between(&self, first: u32, last: u32) -> Result<Vec<ActorCount>, StoreError> {
        let connection = self.connection();
        let sql = "SELECT key_id, actor, day, used FROM actor_usage WHERE day BETWEEN ?1 AND ?2 ORDER BY day, key_id, used DESC, actor";
        let mut select = connection.prepare_cached(sql)?;
        let counts = select
            .query_map([first, last], |row| {
                Ok(ActorCount { key_id: ApiKeyId(row.get(0)?), actor: row.get(1)?, day: row.get(2)?, used: count(row, 3)? })
            })?
            .collect::<Result<_, _>>()?;
        Ok(counts)
    }

    /// Adds to what a key was granted beyond its quota in a period. Returns all that is granted then.
    ///
    /// # Errors
    /// [`StoreError::Sql`], [`StoreError::Fleet`].
    pub fn add_quota_extension(&self, extension: &QuotaExtension) -> Result<u64, StoreError> {
        // Capped below SQLite's largest number, or a sum of two would not be stored.
        let sql = "INSERT INTO quota_extension (plan_id, key_id, period_day, extra) VALUES (?1, ?2, ?3, min(?4, 1 << 61))
                   ON CONFLICT (plan_id, key_id, period_day) DO UPDATE SET extra = min(extra + excluded.extra, 1 << 61) RETURNING extra";
        let QuotaExtension { plan_id, key_id, period_day, extra } = extension;
        let extra = i64::try_from(*extra).unwrap_or(i64::MAX);
        self.change(|transaction| Ok(transaction.query_row(sql, (&plan_id.0, &key_id.0, period_day, extra), |row| count(row, 0))?))
    }

    /// What keys were granted beyond their quotas in periods that began on `first` or later.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn quota_extensions_since(&self, first: u32) -> Result<Vec<QuotaExtension>, StoreError> {
        let connection = self.connection();
        let mut select =
            connection.prepare_cached("SELECT plan_id, key_id, period_day, extra FROM quota_extension WHERE period_day >= ?1")?;
        let extensions = select
            .query_map([first], |row| {
                let (plan_id, key_id) = (UsagePlanId(row.get(0)?), ApiKeyId(row.get(1)?));
                Ok(QuotaExtension { plan_id, key_id, period_day: row.get(2)?, extra: count(row, 3)? })
            })?
            .collect::<Result<_, _>>()?;
        Ok(extensions)
    }
}

fn usage_count(row: &Row<'_>) -> rusqlite::Result<UsageCount> {
    Ok(UsageCount { plan_id: UsagePlanId(row.get(0)?), key_id: ApiKeyId(row.get(1)?), day: row.get(2)?, used: count(row, 3)? })
}

fn count(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get(column).map(i64::cast_unsigned)
}
