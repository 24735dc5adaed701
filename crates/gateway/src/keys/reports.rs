//! What was used: by key and day, by actor, and the quota extended for one key.

use std::collections::BTreeMap;

use frontdesk_store::{ActorCount, ApiKeyId, QuotaExtension, UsageCount, UsagePlan, UsagePlanId};

use super::{KeyService, KeyServiceError};
use crate::quota::{Calendar, SPAN_DAYS_MAX, day_of};

/// The most days that its faces let one report of usage cover.
pub const USAGE_DAYS_MAX: u32 = 400;

/// Requests of a key under a plan on a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyUsage {
    /// The plan, by name; its id when it was deleted.
    pub plan: String,
    /// The plan's id.
    pub plan_id: UsagePlanId,
    /// The key's id.
    pub key_id: ApiKeyId,
    /// The key's name; empty when it was deleted.
    pub key_name: String,
    /// Days since 1970-01-01, UTC.
    pub day: u32,
    /// Requests counted.
    pub used: u64,
    /// Requests left at the end of that day of the quota as it is now; `None` without a quota.
    pub remaining: Option<u64>,
}

/// Requests answered for an actor of a key on a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActorUsage {
    /// The key's id.
    pub key_id: ApiKeyId,
    /// The key's name; empty when it was deleted.
    pub key_name: String,
    /// The actor, as callers name it.
    pub actor: String,
    /// Days since 1970-01-01, UTC.
    pub day: u32,
    /// Requests answered.
    pub used: u64,
}

/// What was used on some days, exact to this moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UsageReport {
    /// By key, in the order of days.
    pub keys: Vec<KeyUsage>,
    /// By actor, in the order of days, the busiest first.
    pub actors: Vec<ActorUsage>,
}

impl KeyService {
    /// What was used on the days from `first` to `last` (days since 1970-01-01, UTC), by all keys or by one, named by id or name.
    ///
    /// # Errors
    /// See [`KeyServiceError`].
    pub fn usage(&self, first: u32, last: u32, key: Option<&str>, now_unix: i64) -> Result<UsageReport, KeyServiceError> {
        let today = day_of(now_unix);
        // A deleted key is found by its id alone.
        let only = key.map(|key| self.find(key).map(|key| key.id).unwrap_or_else(|_| ApiKeyId(key.to_owned())));
        let is_wanted = |key_id: &ApiKeyId| only.as_ref().is_none_or(|only| only == key_id);
        let plans: BTreeMap<UsagePlanId, UsagePlan> = self.plans()?.into_iter().map(|plan| (plan.id.clone(), plan)).collect();
        let names: BTreeMap<ApiKeyId, String> = self.store.api_keys()?.into_iter().map(|key| (key.id, key.name)).collect();
        let name_of = |key_id: &ApiKeyId| names.get(key_id).cloned().unwrap_or_default();

        // From the longest period's beginning: what is left at the end of a day depends on the days before it.
        let since = first.saturating_sub(SPAN_DAYS_MAX - 1);
        let mut counts: BTreeMap<(u32, UsagePlanId, ApiKeyId), u64> = BTreeMap::new();
        for UsageCount { plan_id, key_id, day, used } in self.store.usage_between(since, last)? {
            counts.insert((day, plan_id, key_id), used);
        }
        // In a fleet a report without the other hosts would be wrong, and not look it: it fails instead.
        let (of_others, actors_of_others) = self.store.usage_of_other_hosts(since, last)?;
        let mut extra = BTreeMap::new();
        {
            let state = self.lock();
            for ((plan_id, key_id), meter) in &state.meters {
                let used = meter.used_on(today);
                if used > 0 && (since..=last).contains(&today) {
                    counts.insert((today, plan_id.clone(), key_id.clone()), used);
                }
            }
            for extension in self.store.quota_extensions_since(since)? {
                extra.insert((extension.plan_id, extension.key_id, extension.period_day), extension.extra);
            }
        }
        for UsageCount { plan_id, key_id, day, used } in of_others {
            *counts.entry((day, plan_id, key_id)).or_default() += used;
        }
        let mut report = UsageReport::default();
        for ((day, plan_id, key_id), used) in counts.iter().filter(|((day, _, key_id), _)| *day >= first && is_wanted(key_id)) {
            let plan = plans.get(plan_id);
            let remaining = plan.and_then(|plan| plan.quota).map(|quota| {
                let first_day = Calendar::of(Some(quota)).span(*day).first_day;
                let of_period = (first_day..=*day).filter_map(|day| counts.get(&(day, plan_id.clone(), key_id.clone()))).sum::<u64>();
                let granted = extra.get(&(plan_id.clone(), key_id.clone(), first_day)).copied().unwrap_or(0);
                quota.limit.saturating_add(granted).saturating_sub(of_period)
            });
            report.keys.push(KeyUsage {
                plan: plan.map_or_else(|| plan_id.0.clone(), |plan| plan.name.clone()),
                plan_id: plan_id.clone(),
                key_id: key_id.clone(),
                key_name: name_of(key_id),
                day: *day,
                used: *used,
                remaining,
            });
        }
        let actors = self.actors.merged(self.store.actor_usage_between(first, last)?, first, last);
        for ActorCount { key_id, actor, day, used } in
            summed(actors, actors_of_others, first).into_iter().filter(|count| is_wanted(&count.key_id))
        {
            report.actors.push(ActorUsage { key_name: name_of(&key_id), key_id, actor, day, used });
        }
        Ok(report)
    }

    /// Grants a key requests beyond its quota for the period that is running. Returns the plan and what is left now.
    ///
    /// # Errors
    /// See [`KeyServiceError`]; [`KeyServiceError::Invalid`] when the key has no quota, or several plans have one and none is named.
    pub fn extend_quota(&self, key: &str, plan: Option<&str>, extra: u64, now_unix: i64) -> Result<(UsagePlan, u64), KeyServiceError> {
        let key = self.find(key)?;
        let named = plan.map(|plan| self.plan(plan)).transpose()?;
        let mut candidates = self.plans()?;
        candidates.retain(|candidate| {
            let is_named = named.as_ref().is_none_or(|named| named.id == candidate.id);
            is_named && candidate.quota.is_some() && candidate.key_ids.contains(&key.id)
        });
        let plan = match candidates.len() {
            0 => return Err(KeyServiceError::Invalid(format!("{} has no quota to extend", key.name))),
            1 => candidates.swap_remove(0),
            _ => return Err(KeyServiceError::Invalid(format!("{} has quotas in several usage plans: name one with --plan", key.name))),
        };
        let quota = plan.quota.expect("plans without a quota were put aside");
        let today = day_of(now_unix);
        let state = self.lock();
        let meter = state.meters.get(&(plan.id.clone(), key.id.clone())).ok_or_else(|| KeyServiceError::NoSuchKey(key.name.clone()))?;
        let period_day = meter.calendar.span(today).first_day;
        let (plan_id, key_id) = (plan.id.clone(), key.id.clone());
        let granted = self.store.add_quota_extension(&QuotaExtension { plan_id, key_id, period_day, extra })?;
        meter.set_extra(granted, today);
        let left = meter.left(quota, today);
        Ok((plan, left))
    }
}

/// The actors of this host and of the others, in the order of days, the busiest first.
fn summed(own: Vec<ActorCount>, of_others: Vec<ActorCount>, first: u32) -> Vec<ActorCount> {
    if of_others.is_empty() {
        return own;
    }
    let mut sums: BTreeMap<(u32, ApiKeyId, String), u64> = BTreeMap::new();
    for ActorCount { key_id, actor, day, used } in own.into_iter().chain(of_others).filter(|count| count.day >= first) {
        *sums.entry((day, key_id, actor)).or_default() += used;
    }
    let mut sums: Vec<_> = sums.into_iter().map(|((day, key_id, actor), used)| ActorCount { key_id, actor, day, used }).collect();
    sums.sort_by(|one, other| one.day.cmp(&other.day).then(other.used.cmp(&one.used)));
    sums
}
