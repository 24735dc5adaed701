//! Usage counts at rest.

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

impl Store {
    /// Writes counts in one transaction. A count never shrinks, so writing an older one again does no harm.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn write_usage(&self, counts: &[UsageCount]) -> Result<(), StoreError> {
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
        }
        transaction.commit()?;
        Ok(())
    }

    /// The counts of all keys on a day.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn usage_on(&self, day: u32) -> Result<Vec<UsageCount>, StoreError> {
        let connection = self.connection();
        let mut select = connection.prepare_cached("SELECT plan_id, key_id, day, used FROM usage WHERE day = ?1")?;
        let counts = select
            .query_map([day], |row| {
                Ok(UsageCount {
                    plan_id: UsagePlanId(row.get(0)?),
                    key_id: ApiKeyId(row.get(1)?),
                    day: row.get(2)?,
                    used: row.get::<_, i64>(3)?.cast_unsigned(),
                })
            })?
            .collect::<Result<_, _>>()?;
        Ok(counts)
    }
}
