//! Who comes in: (key, plan, usage, now) → decision. No clock is read and nothing waits.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use frontdesk_store::{ApiKeyId, KeyDigest, Quota, StageRef, Throttle, UsagePlan};
use ipnet::IpNet;

use crate::answer::GatewayAnswer;
use crate::lease::ChargeRefused;
use crate::limits::{LimitsLeft, QuotaLeft};
use crate::meter::Meter;
use crate::quota::day_of;
use crate::throttle::TokenBucket;

/// How long a caller waits for the next slice of a quota: a refill takes milliseconds, and `Retry-After` counts in seconds.
const LEASE_RETRY_AFTER: Duration = Duration::from_secs(1);

/// The moment of a request, read once at the edge.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// Unix milliseconds, for days, expiry and the log.
    pub unix_ms: i64,
    /// Nanoseconds since the process began, for speeds: wall clocks jump.
    pub monotonic_ns: u64,
}

impl Now {
    /// Unix seconds.
    #[must_use]
    pub fn unix_seconds(self) -> i64 {
        self.unix_ms.div_euclid(1000)
    }
}

/// A key as the request path sees it.
#[derive(Debug)]
pub struct KeyEntry {
    /// Its id.
    pub id: ApiKeyId,
    /// Whether it opens anything.
    pub enabled: bool,
    /// From this Unix second on it opens nothing.
    pub expires_at: Option<i64>,
    /// Networks it may be used from; none means any.
    pub source_ranges: Vec<IpNet>,
    /// The plans it belongs to.
    pub plans: Vec<PlanEntry>,
}

/// A plan as a key of it sees it.
#[derive(Debug)]
pub struct PlanEntry {
    /// The plan, one for all its keys.
    pub plan: Arc<UsagePlan>,
    /// What is counted for this key under it.
    pub meter: Arc<Meter>,
    /// The throttles of single methods.
    pub method_throttles: Vec<MethodThrottle>,
}

/// The throttle of a method, for one key.
#[derive(Debug)]
pub struct MethodThrottle {
    /// The stage it is for.
    pub stage: StageRef,
    /// The resource's path and the verb, such as `/invoke/POST`.
    pub method: String,
    /// How fast.
    pub throttle: Throttle,
    /// The key's bucket for it.
    pub bucket: Arc<TokenBucket>,
}

/// A value that opens doors, and for how long.
#[derive(Debug, Clone)]
pub struct KeyMatch {
    /// The key that it is a value of.
    pub key: Arc<KeyEntry>,
    /// For a value that was rotated out: the Unix second at which it retires.
    pub retires_at: Option<i64>,
}

/// All keys, by the digests of their values. Replaced as a whole when a key or a plan changes.
#[derive(Debug, Clone, Default)]
pub struct KeyTable {
    /// The values.
    pub by_digest: HashMap<KeyDigest, KeyMatch, BuildHasherDefault<DigestHasher>>,
}

/// Takes a digest's beginning for its hash: it is as good as random, and nobody can choose it without the key that it is made with.
#[derive(Debug, Clone, Copy, Default)]
pub struct DigestHasher(u64);

impl Hasher for DigestHasher {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 = u64::from_le_bytes(*first);
        }
    }

    /// The length, which is the same for all.
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

/// A request to a method that requires a key.
#[derive(Debug, Clone, Copy)]
pub struct Asking<'a> {
    /// The digest of the presented value; `None` when none was presented, or one too long to be any.
    pub digest: Option<KeyDigest>,
    /// Who calls.
    pub source_ip: IpAddr,
    /// The API's id.
    pub api_id: &'a str,
    /// The stage.
    pub stage: &'a str,
    /// The resource's path, such as `/invoke`.
    pub resource: &'a str,
    /// The method's verb in the API.
    pub verb: &'a str,
    /// The speeds of all callers together.
    pub speeds: Speeds<'a>,
    /// When.
    pub now: Now,
}

/// The speeds of all callers together.
#[derive(Debug, Clone, Copy)]
pub struct Speeds<'a> {
    /// The method's in its stage, if the stage sets one.
    pub stage: Option<(&'a TokenBucket, Throttle)>,
    /// Everything's, as an AWS account has it.
    pub shared: (&'a TokenBucket, Throttle),
}

/// What was decided, and on whom.
#[derive(Debug)]
pub struct Decision {
    /// The key, when the value is one's, whether it comes in or not.
    pub key: Option<Arc<KeyEntry>>,
    /// The plan that the request was counted under, or would have been.
    pub meter: Option<Arc<Meter>>,
    /// What is left of the plan's limits.
    pub limits: Option<LimitsLeft>,
    /// Why the request does not come in.
    pub refusal: Option<GatewayAnswer>,
}

/// Decides on a request to a method that requires a key, and counts it if it comes in.
#[must_use]
pub fn admit(keys: &KeyTable, asking: &Asking<'_>) -> Decision {
    let refused = |key, answer| Decision { key, meter: None, limits: None, refusal: Some(answer) };
    let Some(key) = identify(keys, asking) else { return refused(None, GatewayAnswer::Forbidden) };
    if !may_use(key, asking) {
        return refused(Some(key.clone()), GatewayAnswer::Forbidden);
    }
    let Some(entry) = plan_for(key, asking) else { return refused(Some(key.clone()), GatewayAnswer::Forbidden) };
    let refusal = throttle(entry, asking)
        .and_then(|()| throttle_method(entry, asking))
        .and_then(|()| admit_anyone(asking.speeds, asking.now))
        // Quota is charged after throttling: a request turned away for speed must not use up the day's allowance.
        .and_then(|()| charge(entry, asking.now))
        .err();
    let limits = Some(limits_left(entry, asking.now));
    Decision { key: Some(key.clone()), meter: Some(entry.meter.clone()), limits, refusal }
}

/// Decides on the speeds of all callers together; all that is asked of a request to a method that requires no key.
///
/// # Errors
/// `Too Many Requests`.
pub fn admit_anyone(speeds: Speeds<'_>, now: Now) -> Result<(), GatewayAnswer> {
    let stage = speeds.stage.map_or(Ok(()), |(bucket, throttle)| take(bucket, throttle, now));
    stage.and_then(|()| take(speeds.shared.0, speeds.shared.1, now))
}

/// The table is keyed by an HMAC under a secret key, so how long the look-up takes tells nothing about a value that would match.
fn identify<'a>(keys: &'a KeyTable, asking: &Asking<'_>) -> Option<&'a Arc<KeyEntry>> {
    let found = asking.digest.and_then(|digest| keys.by_digest.get(&digest))?;
    let is_retired = found.retires_at.is_some_and(|retires_at| asking.now.unix_seconds() >= retires_at);
    (!is_retired).then_some(&found.key)
}

fn may_use(key: &KeyEntry, asking: &Asking<'_>) -> bool {
    let is_expired = key.expires_at.is_some_and(|expires_at| asking.now.unix_seconds() >= expires_at);
    let source_ip = asking.source_ip.to_canonical();
    let comes_from_there = key.source_ranges.is_empty() || key.source_ranges.iter().any(|range| range.contains(&source_ip));
    key.enabled && !is_expired && comes_from_there
}

fn plan_for<'a>(key: &'a KeyEntry, asking: &Asking<'_>) -> Option<&'a PlanEntry> {
    let is_asked_for = |stage: &StageRef| stage.api_id == asking.api_id && stage.stage == asking.stage;
    key.plans.iter().find(|entry| entry.plan.stages.iter().any(|open| is_asked_for(&open.stage)))
}

fn throttle(entry: &PlanEntry, asking: &Asking<'_>) -> Result<(), GatewayAnswer> {
    let Some(throttle) = entry.plan.throttle else { return Ok(()) };
    take(&entry.meter.bucket, throttle, asking.now)
}

fn throttle_method(entry: &PlanEntry, asking: &Asking<'_>) -> Result<(), GatewayAnswer> {
    let is_asked_for = |throttle: &&MethodThrottle| {
        throttle.stage.api_id == asking.api_id
            && throttle.stage.stage == asking.stage
            && throttle.method.rsplit_once('/') == Some((asking.resource, asking.verb))
    };
    let Some(method) = entry.method_throttles.iter().find(is_asked_for) else { return Ok(()) };
    take(&method.bucket, method.throttle, asking.now)
}

fn take(bucket: &TokenBucket, throttle: Throttle, now: Now) -> Result<(), GatewayAnswer> {
    bucket.take(throttle, now.monotonic_ns).map_err(|retry_after| GatewayAnswer::TooManyRequests { retry_after })
}

fn charge(entry: &PlanEntry, now: Now) -> Result<(), GatewayAnswer> {
    let today = day_of(now.unix_seconds());
    let charged = entry.meter.charge(entry.plan.quota, today);
    charged.map(drop).map_err(|refused| match refused {
        ChargeRefused::Spent => {
            let span = entry.meter.calendar.span(today);
            GatewayAnswer::LimitExceeded { retry_after: Duration::from_secs(span.seconds_left(now.unix_seconds())) }
        }
        ChargeRefused::AwaitingLease => GatewayAnswer::TooManyRequests { retry_after: LEASE_RETRY_AFTER },
        ChargeRefused::NobodyToAsk => GatewayAnswer::Overloaded,
    })
}

fn limits_left(entry: &PlanEntry, now: Now) -> LimitsLeft {
    let today = day_of(now.unix_seconds());
    let quota_left = |quota: Quota| {
        let span = entry.meter.calendar.span(today);
        QuotaLeft {
            quota: Quota { limit: entry.meter.limit(quota, today), ..quota },
            remaining: entry.meter.left(quota, today),
            span_days: span.days,
            resets_in_s: span.seconds_left(now.unix_seconds()),
        }
    };
    LimitsLeft { throttle: entry.plan.throttle, quota: entry.plan.quota.map(quota_left) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meter::Counted;
    use crate::quota::{Calendar, DAY_SECONDS};
    use frontdesk_store::{PlanStage, QuotaPeriod, UsagePlanId};

    const GOOD: KeyDigest = KeyDigest([1; 32]);
    const DISABLED: KeyDigest = KeyDigest([2; 32]);
    const UNPLANNED: KeyDigest = KeyDigest([3; 32]);
    const EXPIRING: KeyDigest = KeyDigest([4; 32]);
    const FORMER: KeyDigest = KeyDigest([5; 32]);
    const BOUND: KeyDigest = KeyDigest([6; 32]);

    fn table(burst_limit: u32, quota_limit: u64) -> KeyTable {
        let stage = StageRef { api_id: "api".to_owned(), stage: "prod".to_owned() };
        let plan = Arc::new(UsagePlan {
            id: UsagePlanId("plan".to_owned()),
            name: "plan".to_owned(),
            description: String::new(),
            throttle: Some(Throttle { rate_limit: 1.0, burst_limit }),
            quota: Some(Quota { limit: quota_limit, period: QuotaPeriod::Day, offset: 0 }),
            stages: vec![PlanStage { stage: stage.clone(), method_throttles: Default::default() }],
            key_ids: Vec::new(),
        });
        let entry = |key: &str| PlanEntry {
            plan: plan.clone(),
            meter: Arc::new(Meter::new(plan.id.clone(), ApiKeyId(key.to_owned()), Calendar::of(plan.quota), Counted::default())),
            method_throttles: vec![MethodThrottle {
                stage: stage.clone(),
                method: "/slow/POST".to_owned(),
                throttle: Throttle { rate_limit: 0.1, burst_limit: 1 },
                bucket: Arc::default(),
            }],
        };
        let key = |name: &str| KeyEntry {
            id: ApiKeyId(name.to_owned()),
            enabled: true,
            expires_at: None,
            source_ranges: Vec::new(),
            plans: vec![entry(name)],
        };
        let good = Arc::new(key("good"));
        let of = |key: KeyEntry| KeyMatch { key: Arc::new(key), retires_at: None };
        let by_digest = [
            (GOOD, KeyMatch { key: good.clone(), retires_at: None }),
            (FORMER, KeyMatch { key: good, retires_at: Some(100) }),
            (DISABLED, of(KeyEntry { enabled: false, ..key("disabled") })),
            (UNPLANNED, of(KeyEntry { plans: Vec::new(), ..key("unplanned") })),
            (EXPIRING, of(KeyEntry { expires_at: Some(100), ..key("expiring") })),
            (BOUND, of(KeyEntry { source_ranges: vec!["192.0.2.0/24".parse().unwrap()], ..key("bound") })),
        ];
        KeyTable { by_digest: by_digest.into_iter().collect() }
    }

    fn unlimited() -> (&'static TokenBucket, Throttle) {
        (Box::leak(Box::default()), Throttle { rate_limit: 1e9, burst_limit: u32::MAX })
    }

    fn asking(digest: Option<KeyDigest>, at_seconds: i64) -> Asking<'static> {
        let now = Now { unix_ms: at_seconds * 1000, monotonic_ns: at_seconds.unsigned_abs() * 1_000_000_000 };
        let source_ip = "192.0.2.7".parse().unwrap();
        let speeds = Speeds { stage: None, shared: unlimited() };
        Asking { digest, source_ip, api_id: "api", stage: "prod", resource: "/invoke", verb: "POST", speeds, now }
    }

    /// A request, and what it is told: the key's name or the refusal.
    fn check(table: &KeyTable, asking: &Asking<'_>, expected: &str) {
        let decision = admit(table, asking);
        let told = match decision.refusal {
            Some(answer) => answer.message().to_owned(),
            None => decision.key.expect("who comes in has a key").id.0.clone(),
        };
        assert_eq!(told, expected, "{asking:?}");
    }

    #[test]
    fn only_an_enabled_key_of_a_plan_for_the_stage_comes_in() {
        let table = table(10, 10);
        check(&table, &asking(Some(GOOD), 0), "good");
        check(&table, &Asking { stage: "dev", ..asking(Some(GOOD), 0) }, "Forbidden");
        check(&table, &asking(None, 0), "Forbidden");
        check(&table, &asking(Some(KeyDigest([9; 32])), 0), "Forbidden");
        check(&table, &asking(Some(DISABLED), 0), "Forbidden");
        check(&table, &asking(Some(UNPLANNED), 0), "Forbidden");
    }

    #[test]
    fn a_key_expires_and_a_former_value_retires() {
        let table = table(10, 10);
        for digest in [EXPIRING, FORMER] {
            check(&table, &asking(Some(digest), 100), "Forbidden");
        }
        check(&table, &asking(Some(EXPIRING), 99), "expiring");
        check(&table, &asking(Some(FORMER), 99), "good");
        check(&table, &asking(Some(GOOD), 100), "good");
    }

    #[test]
    fn a_bound_key_works_from_its_networks_only() {
        let table = table(10, 10);
        check(&table, &asking(Some(BOUND), 0), "bound");
        check(&table, &Asking { source_ip: "::ffff:192.0.2.9".parse().unwrap(), ..asking(Some(BOUND), 0) }, "bound");
        check(&table, &Asking { source_ip: "198.51.100.1".parse().unwrap(), ..asking(Some(BOUND), 0) }, "Forbidden");
        check(&table, &Asking { source_ip: "::1".parse().unwrap(), ..asking(Some(BOUND), 0) }, "Forbidden");
    }

    #[test]
    fn a_method_may_be_slower_than_its_plan() {
        let table = table(10, 10);
        let slow = Asking { resource: "/slow", ..asking(Some(GOOD), 0) };
        check(&table, &slow, "good");
        check(&table, &slow, "Too Many Requests");
        check(&table, &asking(Some(GOOD), 0), "good");
    }

    #[test]
    fn all_keys_together_have_a_speed_and_being_over_it_costs_no_quota() {
        let (table, bucket) = (table(10, 1), TokenBucket::default());
        let slow = (&bucket, Throttle { rate_limit: 1.0, burst_limit: 1 });
        let asking = Asking { speeds: Speeds { stage: None, shared: slow }, ..asking(Some(GOOD), 0) };
        bucket.take(slow.1, 0).unwrap();
        check(&table, &asking, "Too Many Requests");
        check(&table, &Asking { speeds: Speeds { stage: Some(slow), shared: unlimited() }, ..asking }, "Too Many Requests");
        check(&table, &Asking { speeds: Speeds { stage: None, shared: unlimited() }, ..asking }, "good");
    }

    #[test]
    fn a_request_turned_away_for_speed_costs_no_quota() {
        let table = table(1, 2);
        check(&table, &asking(Some(GOOD), 0), "good");
        check(&table, &asking(Some(GOOD), 0), "Too Many Requests");
        check(&table, &asking(Some(GOOD), 1), "good");
        check(&table, &asking(Some(GOOD), 2), "Limit Exceeded");
        check(&table, &asking(Some(GOOD), DAY_SECONDS), "good");
    }

    #[test]
    fn the_answer_says_when_the_next_day_begins() {
        let decision = admit(&table(10, 0), &asking(Some(GOOD), DAY_SECONDS - 5));
        assert_eq!(decision.refusal, Some(GatewayAnswer::LimitExceeded { retry_after: Duration::from_secs(5) }));
    }

    #[test]
    fn what_is_left_is_told_to_who_comes_in_and_who_does_not() {
        let table = table(10, 2);
        let left = || admit(&table, &asking(Some(GOOD), DAY_SECONDS - 5)).limits.unwrap().quota.unwrap();
        assert_eq!((left().remaining, left().remaining, left().remaining, left().resets_in_s), (1, 0, 0, 5));
    }
}
