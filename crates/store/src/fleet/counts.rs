//! Leases on quotas and counts of requests, in the fleet's database.

use tokio_postgres::Row;

use super::FleetError;
use super::address::ANSWER_TIMEOUT;
use super::connection::FleetConnection;
use crate::api_keys::ApiKeyId;
use crate::usage::{ActorCount, UsageCount};
use crate::usage_plans::UsagePlanId;

/// Leases are handed out one batch after the other; any number will do.
const LEASE_LOCK: i64 = 0x66_64_6c_73;
/// A host that has not been heard of for this long has no part in the next slices.
const HOST_SECONDS: f64 = 10.0;
/// Rows in one statement: what is far below PostgreSQL's limits and takes it far less than the time limit.
const BATCH_ROWS: usize = 5_000;

/// What the other hosts were granted, for each of many asks and in their order.
const GRANTED_TO_OTHERS: &str = "SELECT coalesce(sum(lease.granted), 0)::bigint
    FROM unnest($2::text[], $3::text[], $4::int[]) WITH ORDINALITY AS ask (plan_id, key_id, first_day, place)
    LEFT JOIN frontdesk.quota_lease AS lease
        ON (lease.plan_id, lease.key_id, lease.first_day) = (ask.plan_id, ask.key_id, ask.first_day) AND lease.host_id <> $1
    GROUP BY ask.place ORDER BY ask.place";
const PUT_GRANTED: &str = "INSERT INTO frontdesk.quota_lease (host_id, plan_id, key_id, first_day, granted)
    SELECT $1, * FROM unnest($2::text[], $3::text[], $4::int[], $5::bigint[])
    ON CONFLICT (plan_id, key_id, first_day, host_id) DO UPDATE SET granted = excluded.granted";

/// What a host asks for: whole numbers, not differences, so that asking twice does no harm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseAsk {
    /// The plan.
    pub plan_id: UsagePlanId,
    /// The key.
    pub key_id: ApiKeyId,
    /// The first day of the period; days since 1970-01-01, UTC.
    pub first_day: u32,
    /// Requests that this host has counted in the period.
    pub used: u64,
    /// The quota, with what was granted beyond it.
    pub limit: u64,
    /// Whether it wants a slice beyond what it used, or gives back what it holds.
    pub wants_more: bool,
}

/// What a host got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leased {
    /// Requests that it may count in the period, those that it has counted included.
    pub granted: u64,
    /// The same of all other hosts together.
    pub others: u64,
}

impl FleetConnection {
    /// Asks for leases. `grant` decides, from an ask and what the other hosts were granted, while no other host's leases change. The answers are in the
    /// order of `asks`.
    ///
    /// # Errors
    /// See [`FleetError`].
    pub async fn lease(&self, host_id: &str, asks: &[LeaseAsk], grant: impl Fn(&LeaseAsk, u64) -> u64) -> Result<Vec<Leased>, FleetError> {
        let mut leased = Vec::with_capacity(asks.len());
        for asks in asks.chunks(BATCH_ROWS) {
            leased.extend(within_all(self.lease_batch(host_id, asks, &grant)).await?);
        }
        Ok(leased)
    }

    async fn lease_batch(
        &self,
        host_id: &str,
        asks: &[LeaseAsk],
        grant: &impl Fn(&LeaseAsk, u64) -> u64,
    ) -> Result<Vec<Leased>, FleetError> {
        let plans: Vec<&str> = asks.iter().map(|ask| ask.plan_id.0.as_str()).collect();
        let keys: Vec<&str> = asks.iter().map(|ask| ask.key_id.0.as_str()).collect();
        let days: Vec<i32> = asks.iter().map(|ask| ask.first_day.cast_signed()).collect();
        let begin = format!("BEGIN; SELECT pg_advisory_xact_lock({LEASE_LOCK})");
        let prepare =
            || async { Ok::<_, FleetError>([self.client.prepare(GRANTED_TO_OTHERS).await?, self.client.prepare(PUT_GRANTED).await?]) };
        let [granted_to_others, put_granted] = self.lease_statements.get_or_try_init(prepare).await?;
        self.client.batch_execute(&begin).await?;
        let others = self.client.query(granted_to_others, &[&host_id, &plans, &keys, &days]).await?;
        let lease = |(ask, row): (&LeaseAsk, &Row)| {
            let others = row.get::<_, i64>(0).max(0).cast_unsigned();
            Leased { granted: grant(ask, others), others }
        };
        let leased: Vec<Leased> = asks.iter().zip(&others).map(lease).collect();
        let granted: Vec<i64> = leased.iter().map(|leased| leased.granted.cast_signed()).collect();
        self.client.execute(put_granted, &[&host_id, &plans, &keys, &days, &granted]).await?;
        self.client.batch_execute("COMMIT").await?;
        Ok(leased)
    }

    /// Claims this host's name for as long as the connection lasts.
    ///
    /// # Errors
    /// [`FleetError::HostTwice`] while another connection has it; a host that was cut off has it for some seconds more.
    pub async fn claim(&self, host_id: &str) -> Result<(), FleetError> {
        let sql = "SELECT pg_try_advisory_lock(hashtextextended($1, 0))";
        let row = self.within(self.client.query_one(sql, &[&host_id])).await?;
        if row.get(0) { Ok(()) } else { Err(FleetError::HostTwice) }
    }

    /// Says that this host is alive. Returns how many are.
    ///
    /// # Errors
    /// See [`FleetError`].
    pub async fn beat(&self, host_id: &str) -> Result<u64, FleetError> {
        let sql = "WITH beat AS (
                       INSERT INTO frontdesk.host (id, seen_at) VALUES ($1, clock_timestamp())
                       ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at)
                   SELECT count(*) + 1 FROM frontdesk.host WHERE id <> $1 AND seen_at > clock_timestamp() - make_interval(secs => $2)";
        let row = self.within(self.client.query_one(sql, &[&host_id, &HOST_SECONDS])).await?;
        Ok(row.get::<_, i64>(0).cast_unsigned())
    }

    /// Says that this host stops; forgets hosts that did not, and leases on periods that began before `first_day`.
    ///
    /// # Errors
    /// See [`FleetError`].
    pub async fn leave(&self, host_id: &str, first_day: u32) -> Result<(), FleetError> {
        let sql = "DELETE FROM frontdesk.host WHERE id = $1 OR seen_at < clock_timestamp() - interval '1 day'";
        self.within(self.client.execute(sql, &[&host_id])).await?;
        let sql = "DELETE FROM frontdesk.quota_lease WHERE first_day < $1";
        self.within(self.client.execute(sql, &[&first_day.cast_signed()])).await?;
        Ok(())
    }

    /// The last day that this host has counts of in the fleet's database.
    ///
    /// # Errors
    /// See [`FleetError`].
    pub async fn last_counted_day(&self, host_id: &str) -> Result<Option<u32>, FleetError> {
        let sql = "SELECT max(day) FROM frontdesk.usage WHERE host_id = $1";
        let row = self.within(self.client.query_one(sql, &[&host_id])).await?;
        Ok(row.get::<_, Option<i32>>(0).map(i32::cast_unsigned))
    }

    /// Writes this host's counts. A count never shrinks, so writing an older one again does no harm.
    ///
    /// # Errors
    /// See [`FleetError`].
    pub async fn write_usage(&self, host_id: &str, counts: &[UsageCount], actors: &[ActorCount]) -> Result<(), FleetError> {
        for counts in counts.chunks(BATCH_ROWS) {
            let plans: Vec<&str> = counts.iter().map(|count| count.plan_id.0.as_str()).collect();
            let keys: Vec<&str> = counts.iter().map(|count| count.key_id.0.as_str()).collect();
            let days: Vec<i32> = counts.iter().map(|count| count.day.cast_signed()).collect();
            let used: Vec<i64> = counts.iter().map(|count| count.used.cast_signed()).collect();
            // Grouped, because one statement may not write a row twice.
            let sql = "INSERT INTO frontdesk.usage (host_id, plan_id, key_id, day, used)
                       SELECT $1, plan_id, key_id, day, max(used)
                       FROM unnest($2::text[], $3::text[], $4::int[], $5::bigint[]) AS count (plan_id, key_id, day, used) GROUP BY 2, 3, 4
                       ON CONFLICT (day, plan_id, key_id, host_id) DO UPDATE SET used = greatest(usage.used, excluded.used)";
            self.within(self.client.execute(sql, &[&host_id, &plans, &keys, &days, &used])).await?;
        }
        for actors in actors.chunks(BATCH_ROWS) {
            let keys: Vec<&str> = actors.iter().map(|count| count.key_id.0.as_str()).collect();
            // PostgreSQL's texts cannot hold the one character that a caller's JSON can.
            let names: Vec<String> = actors.iter().map(|count| count.actor.replace('\0', "\u{fffd}")).collect();
            let days: Vec<i32> = actors.iter().map(|count| count.day.cast_signed()).collect();
            let used: Vec<i64> = actors.iter().map(|count| count.used.cast_signed()).collect();
            let sql = "INSERT INTO frontdesk.actor_usage (host_id, key_id, actor, day, used)
                       SELECT $1, key_id, actor, day, max(used)
                       FROM unnest($2::text[], $3::text[], $4::int[], $5::bigint[]) AS count (key_id, actor, day, used) GROUP BY 2, 3, 4
                       ON CONFLICT (day, key_id, actor, host_id) DO UPDATE SET used = greatest(actor_usage.used, excluded.used)";
            self.within(self.client.execute(sql, &[&host_id, &keys, &names, &days, &used])).await?;
        }
        Ok(())
    }

    /// The counts of all other hosts, summed, on the days from `first` to `last`.
    pub(super) async fn usage_of_others(
        &self,
        host_id: &str,
        first: u32,
        last: u32,
    ) -> Result<(Vec<UsageCount>, Vec<ActorCount>), FleetError> {
        let (first, last) = (first.cast_signed(), last.cast_signed());
        let sql = "SELECT plan_id, key_id, day, sum(used)::bigint FROM frontdesk.usage
                   WHERE day BETWEEN $2 AND $3 AND host_id <> $1 GROUP BY 1, 2, 3";
        let counts = self.within(self.client.query(sql, &[&host_id, &first, &last])).await?;
        let sql = "SELECT key_id, actor, day, sum(used)::bigint FROM frontdesk.actor_usage
                   WHERE day BETWEEN $2 AND $3 AND host_id <> $1 GROUP BY 1, 2, 3";
        let actors = self.within(self.client.query(sql, &[&host_id, &first, &last])).await?;
        let count = |row: &Row| {
            let (plan_id, key_id) = (UsagePlanId(row.get(0)), ApiKeyId(row.get(1)));
            UsageCount { plan_id, key_id, day: row.get::<_, i32>(2).cast_unsigned(), used: row.get::<_, i64>(3).cast_unsigned() }
        };
        let actor = |row: &Row| {
            let (key_id, actor) = (ApiKeyId(row.get(0)), row.get(1));
            ActorCount { key_id, actor, day: row.get::<_, i32>(2).cast_unsigned(), used: row.get::<_, i64>(3).cast_unsigned() }
        };
        Ok((counts.iter().map(count).collect(), actors.iter().map(actor).collect()))
    }
}

/// As [`within`], for a call of several statements.
async fn within_all<T>(call: impl Future<Output = Result<T, FleetError>>) -> Result<T, FleetError> {
    tokio::time::timeout(ANSWER_TIMEOUT, call).await.unwrap_or(Err(FleetError::Silent))
}
