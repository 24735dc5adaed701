//! Who comes in: (key, plan, usage, now) → decision. No clock is read and nothing waits.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use frontdesk_store::{ApiKeyId, KeyDigest, StageRef, Throttle, UsagePlanId};

use crate::answer::GatewayAnswer;
use crate::meter::{DAY_SECONDS, Meter, day_of};

/// The moment of a request, read once at the edge.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// Unix seconds, for days.
    pub unix_seconds: i64,
    /// Nanoseconds since the process began, for speeds: wall clocks jump.
    pub monotonic_ns: u64,
}

/// A key as the request path sees it.
#[derive(Debug)]
pub struct KeyEntry {
    /// Its id.
    pub id: ApiKeyId,
    /// Whether it opens anything.
    pub enabled: bool,
    /// The plans it belongs to.
    pub plans: Vec<PlanEntry>,
}

/// A plan as a key of it sees it.
#[derive(Debug)]
pub struct PlanEntry {
    /// The plan.
    pub id: UsagePlanId,
    /// Its speed.
    pub throttle: Option<Throttle>,
    /// Its allowance a day.
    pub quota_limit: Option<u64>,
    /// The stages it opens.
    pub stages: Vec<StageRef>,
    /// What is counted for this key under it.
    pub meter: Arc<Meter>,
}

/// All keys, by the digest of their value. Replaced as a whole when a key or a plan changes.
#[derive(Debug, Default)]
pub struct KeyTable {
    /// The keys.
    pub by_digest: HashMap<KeyDigest, Arc<KeyEntry>>,
}

/// Decides on a request to a method that requires a key, and counts it if it comes in.
///
/// `digest` is that of the presented value, `None` when none was presented (or one too long to be any).
///
/// # Errors
/// The answer for the caller.
pub fn admit(keys: &KeyTable, digest: Option<KeyDigest>, api_id: &str, stage: &str, now: Now) -> Result<Arc<KeyEntry>, GatewayAnswer> {
    let key = identify(keys, digest)?;
    let plan = plan_for(key, api_id, stage)?;
    // Quota is charged after throttling: a request turned away for speed must not use up the day's allowance.
    throttle(plan, now)?;
    charge(plan, now)?;
    Ok(key.clone())
}

/// The table is keyed by an HMAC under a secret key, so how long the look-up takes tells nothing about a value that would match.
fn identify(keys: &KeyTable, digest: Option<KeyDigest>) -> Result<&Arc<KeyEntry>, GatewayAnswer> {
    digest.and_then(|digest| keys.by_digest.get(&digest)).filter(|key| key.enabled).ok_or(GatewayAnswer::Forbidden)
}

fn plan_for<'a>(key: &'a KeyEntry, api_id: &str, stage: &str) -> Result<&'a PlanEntry, GatewayAnswer> {
    let opens = |plan: &&PlanEntry| plan.stages.iter().any(|open| open.api_id == api_id && open.stage == stage);
    key.plans.iter().find(opens).ok_or(GatewayAnswer::Forbidden)
}

fn throttle(plan: &PlanEntry, now: Now) -> Result<(), GatewayAnswer> {
    let Some(throttle) = plan.throttle else { return Ok(()) };
    plan.meter.bucket.take(throttle, now.monotonic_ns).map_err(|retry_after| GatewayAnswer::TooManyRequests { retry_after })
}

fn charge(plan: &PlanEntry, now: Now) -> Result<(), GatewayAnswer> {
    plan.meter.day_count.charge(plan.quota_limit, day_of(now.unix_seconds)).map_err(|_| {
        let seconds_left = DAY_SECONDS - now.unix_seconds.rem_euclid(DAY_SECONDS);
        GatewayAnswer::LimitExceeded { retry_after: Duration::from_secs(seconds_left.unsigned_abs()) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meter::DayCount;
    use crate::throttle::TokenBucket;

    const GOOD: KeyDigest = KeyDigest([1; 32]);
    const DISABLED: KeyDigest = KeyDigest([2; 32]);
    const UNPLANNED: KeyDigest = KeyDigest([3; 32]);

    fn key(name: &str, enabled: bool, plans: Vec<PlanEntry>) -> Arc<KeyEntry> {
        Arc::new(KeyEntry { id: ApiKeyId(name.to_owned()), enabled, plans })
    }

    fn table(burst_limit: u32, quota_limit: u64) -> KeyTable {
        let plan = |key: &str| PlanEntry {
            id: UsagePlanId("plan".to_owned()),
            throttle: Some(Throttle { rate_limit: 1.0, burst_limit }),
            quota_limit: Some(quota_limit),
            stages: vec![StageRef { api_id: "api".to_owned(), stage: "prod".to_owned() }],
            meter: Arc::new(Meter {
                plan_id: UsagePlanId("plan".to_owned()),
                key_id: ApiKeyId(key.to_owned()),
                bucket: TokenBucket::default(),
                day_count: DayCount::new(0, 0),
            }),
        };
        let by_digest = HashMap::from([
            (GOOD, key("good", true, vec![plan("good")])),
            (DISABLED, key("disabled", false, vec![plan("disabled")])),
            (UNPLANNED, key("unplanned", true, Vec::new())),
        ]);
        KeyTable { by_digest }
    }

    /// A request with a key to a stage at a Unix second, and what it is told.
    fn check(table: &KeyTable, digest: Option<KeyDigest>, stage: &str, at_seconds: i64, expected: &str) {
        let now = Now { unix_seconds: at_seconds, monotonic_ns: at_seconds.unsigned_abs() * 1_000_000_000 };
        let told = match admit(table, digest, "api", stage, now) {
            Ok(key) => key.id.0.clone(),
            Err(answer) => answer.message().to_owned(),
        };
        assert_eq!(told, expected);
    }

    #[test]
    fn only_an_enabled_key_of_a_plan_for_the_stage_comes_in() {
        let table = table(10, 10);
        check(&table, Some(GOOD), "prod", 0, "good");
        check(&table, Some(GOOD), "dev", 0, "Forbidden");
        check(&table, None, "prod", 0, "Forbidden");
        check(&table, Some(KeyDigest([9; 32])), "prod", 0, "Forbidden");
        check(&table, Some(DISABLED), "prod", 0, "Forbidden");
        check(&table, Some(UNPLANNED), "prod", 0, "Forbidden");
    }

    #[test]
    fn a_request_turned_away_for_speed_costs_no_quota() {
        let table = table(1, 2);
        check(&table, Some(GOOD), "prod", 0, "good");
        check(&table, Some(GOOD), "prod", 0, "Too Many Requests");
        check(&table, Some(GOOD), "prod", 1, "good");
        check(&table, Some(GOOD), "prod", 2, "Limit Exceeded");
        check(&table, Some(GOOD), "prod", DAY_SECONDS, "good");
    }

    #[test]
    fn the_answer_says_when_the_next_day_begins() {
        let table = table(10, 0);
        let now = Now { unix_seconds: DAY_SECONDS - 5, monotonic_ns: 0 };
        let answer = admit(&table, Some(GOOD), "api", "prod", now).unwrap_err();
        assert_eq!(answer, GatewayAnswer::LimitExceeded { retry_after: Duration::from_secs(5) });
    }
}
