//! What is counted for a key under a plan: the token buckets, the period's requests for the quota, the day's for the record.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use frontdesk_store::{ApiKeyId, Quota, QuotaPeriod, UsageCount, UsagePlanId};

use crate::quota::span_of;
use crate::throttle::TokenBucket;

/// The count is kept with its day in one word, so that check-and-count is one step and midnight needs no lock.
const COUNT_BITS: u32 = 40;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;

/// A count that belongs to a day, or to a period by its first day. The day never goes back: a clock that steps back over midnight must not hand out a
/// second allowance.
#[derive(Debug)]
pub struct DatedCount(AtomicU64);

impl DatedCount {
    /// Starts with a count that was read from the store.
    #[must_use]
    pub fn new(day: u32, used: u64) -> DatedCount {
        DatedCount(AtomicU64::new(pack(day, used)))
    }

    /// Counts one request, if the limit has room for it.
    ///
    /// # Errors
    /// When the allowance is spent; nothing is counted then.
    pub fn charge(&self, limit: Option<u64>, today: u32) -> Result<Charged, QuotaSpent> {
        let mut seen = self.0.load(Ordering::Relaxed);
        loop {
            let before = unpack(seen);
            let (day, used) = if today > before.0 { (today, 0) } else { before };
            if limit.is_some_and(|limit| used >= limit) || used == COUNT_MASK {
                return Err(QuotaSpent);
            }
            match self.0.compare_exchange_weak(seen, pack(day, used + 1), Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Ok(Charged { used: used + 1, ended: (day > before.0 && before.1 > 0).then_some(before) }),
                Err(current) => seen = current,
            }
        }
    }

    /// The day that is being counted, and its requests so far.
    #[must_use]
    pub fn read(&self) -> (u32, u64) {
        unpack(self.0.load(Ordering::Relaxed))
    }

    /// The count of this day; none of another's.
    #[must_use]
    pub fn on(&self, day: u32) -> u64 {
        let (counted, used) = self.read();
        if counted == day { used } else { 0 }
    }

    fn set(&self, day: u32, used: u64) {
        self.0.store(pack(day, used), Ordering::Relaxed);
    }
}

/// A counted request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Charged {
    /// The count with it.
    pub used: u64,
    /// The day that it ended by being the first of a later one, with its requests.
    pub ended: Option<(u32, u64)>,
}

/// The allowance is spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotaSpent;

fn pack(day: u32, used: u64) -> u64 {
    (u64::from(day) << COUNT_BITS) | used.min(COUNT_MASK)
}

fn unpack(word: u64) -> (u32, u64) {
    ((word >> COUNT_BITS) as u32, word & COUNT_MASK)
}

/// Everything counted for one key under one plan.
#[derive(Debug)]
pub struct Meter {
    /// The plan.
    pub plan_id: UsagePlanId,
    /// The key.
    pub key_id: ApiKeyId,
    /// Its speed.
    pub bucket: TokenBucket,
    /// The period that the quota is for.
    pub period: QuotaPeriod,
    /// The buckets of methods with a throttle of their own, by stage and method.
    method_buckets: Mutex<HashMap<String, Arc<TokenBucket>>>,
    period_count: DatedCount,
    /// Requests beyond the quota, granted for the period that is named by its first day.
    extension: DatedCount,
    day_count: DatedCount,
    /// The days that ended since the writer came by, with their requests.
    ended_days: Mutex<Vec<(u32, u64)>>,
    /// Whether it waits for the writer.
    is_noted: AtomicBool,
}

/// What a meter begins with: read from the store, or nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counted {
    /// Today, as days since 1970-01-01.
    pub today: u32,
    /// Requests of today.
    pub used_today: u64,
    /// Requests of the whole period that today lies in.
    pub used_in_period: u64,
    /// Requests granted beyond the quota in that period.
    pub extra: u64,
}

impl Meter {
    /// A meter with what was counted before.
    #[must_use]
    pub fn new(plan_id: UsagePlanId, key_id: ApiKeyId, period: QuotaPeriod, counted: Counted) -> Meter {
        let Counted { today, used_today, used_in_period, extra } = counted;
        let first_day = span_of(period, today).first_day;
        Meter {
            plan_id,
            key_id,
            period,
            bucket: TokenBucket::default(),
            method_buckets: Mutex::default(),
            period_count: DatedCount::new(first_day, used_in_period),
            extension: DatedCount::new(first_day, extra),
            day_count: DatedCount::new(today, used_today),
            ended_days: Mutex::default(),
            is_noted: AtomicBool::new(false),
        }
    }

    /// The bucket of a method; the same one for the same method, whatever else changes.
    pub(crate) fn method_bucket(&self, stage_and_method: String) -> Arc<TokenBucket> {
        let mut buckets = self.method_buckets.lock().unwrap_or_else(PoisonError::into_inner);
        buckets.entry(stage_and_method).or_default().clone()
    }

    /// Counts one request against the quota and for the record. Returns how many are left.
    ///
    /// # Errors
    /// When the allowance is spent; nothing is counted then.
    pub fn charge(&self, quota: Option<Quota>, today: u32) -> Result<Option<u64>, QuotaSpent> {
        let limit = quota.map(|quota| self.limit(quota, today));
        let used = self.period_count.charge(limit, span_of(self.period, today).first_day)?.used;
        // Uncapped: what the quota let in is on the record.
        if let Ok(Charged { ended: Some(ended), .. }) = self.day_count.charge(None, today) {
            self.lock_ended_days().push(ended);
        }
        Ok(limit.map(|limit| limit.saturating_sub(used)))
    }

    /// The quota with what was granted beyond it.
    #[must_use]
    pub fn limit(&self, quota: Quota, today: u32) -> u64 {
        quota.limit.saturating_add(self.extension.on(span_of(self.period, today).first_day))
    }

    /// How many requests are left of a quota.
    #[must_use]
    pub fn left(&self, quota: Quota, today: u32) -> u64 {
        self.limit(quota, today).saturating_sub(self.used_in_period(today))
    }

    /// Requests of the period that a day lies in.
    #[must_use]
    pub fn used_in_period(&self, today: u32) -> u64 {
        self.period_count.on(span_of(self.period, today).first_day)
    }

    /// Requests of a day, if it is the one that is being counted.
    #[must_use]
    pub fn used_on(&self, day: u32) -> u64 {
        self.day_count.on(day)
    }

    /// Grants requests beyond the quota for the period that a day lies in; returns all that is granted for it.
    pub(crate) fn extend(&self, extra: u64, today: u32) -> u64 {
        let first_day = span_of(self.period, today).first_day;
        let granted = self.extension.on(first_day).saturating_add(extra);
        self.extension.set(first_day, granted);
        granted
    }

    /// What was granted for the period that a day lies in.
    #[must_use]
    pub fn extra(&self, today: u32) -> u64 {
        self.extension.on(span_of(self.period, today).first_day)
    }

    /// Claims the place in the writer's list; `false` when it has one.
    pub(crate) fn note(&self) -> bool {
        !self.is_noted.swap(true, Ordering::AcqRel)
    }

    /// The counts of the day and of days that ended, for the writer; from here on a request takes a place in its list again.
    pub(crate) fn take_note(&self) -> Vec<UsageCount> {
        self.is_noted.store(false, Ordering::Release);
        let mut days = std::mem::take(&mut *self.lock_ended_days());
        days.push(self.day_count.read());
        let count = |(day, used)| UsageCount { plan_id: self.plan_id.clone(), key_id: self.key_id.clone(), day, used };
        days.into_iter().map(count).collect()
    }

    fn lock_ended_days(&self) -> MutexGuard<'_, Vec<(u32, u64)>> {
        self.ended_days.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Requests on these days, and what each is told.
    fn check(limit: Option<u64>, days: &[u32], expected: &str) {
        let count = DatedCount::new(10, 0);
        let told: Vec<&str> = days.iter().map(|day| if count.charge(limit, *day).is_ok() { "yes" } else { "no" }).collect();
        assert_eq!(told.join(" "), expected, "limit {limit:?}, days {days:?}");
    }

    #[test]
    fn a_day_has_its_allowance() {
        check(Some(2), &[10, 10, 10, 11, 11, 11], "yes yes no yes yes no");
        check(Some(0), &[10], "no");
        check(None, &[10, 10, 11], "yes yes yes");
    }

    #[test]
    fn a_clock_that_steps_back_hands_out_no_second_allowance() {
        check(Some(1), &[11, 10, 11, 12], "yes no no yes");
    }

    #[test]
    fn a_refused_request_is_not_counted() {
        let count = DatedCount::new(10, 5);
        assert_eq!(count.charge(Some(5), 10), Err(QuotaSpent));
        assert_eq!(count.read(), (10, 5));
    }

    fn meter(period: QuotaPeriod, counted: Counted) -> Meter {
        Meter::new(UsagePlanId("plan".to_owned()), ApiKeyId("key".to_owned()), period, counted)
    }

    #[test]
    fn a_month_s_quota_outlasts_its_days() {
        // 2026-11-29 is day 20786; December begins on day 20788.
        let (today, quota) = (20_786, Quota { limit: 3, period: QuotaPeriod::Month });
        let meter = meter(QuotaPeriod::Month, Counted { today, used_today: 0, used_in_period: 1, extra: 0 });
        assert_eq!(meter.charge(Some(quota), today), Ok(Some(1)));
        assert_eq!(meter.charge(Some(quota), today + 1), Ok(Some(0)));
        assert_eq!(meter.charge(Some(quota), today + 1), Err(QuotaSpent));
        assert_eq!((meter.used_on(today + 1), meter.used_in_period(today + 1)), (1, 3));
        assert_eq!(meter.charge(Some(quota), today + 2), Ok(Some(2)));
    }

    #[test]
    fn what_is_granted_is_for_its_period_only() {
        let quota = Quota { limit: 1, period: QuotaPeriod::Day };
        let meter = meter(QuotaPeriod::Day, Counted { today: 10, used_today: 1, used_in_period: 1, extra: 0 });
        assert_eq!(meter.charge(Some(quota), 10), Err(QuotaSpent));
        assert_eq!(meter.extend(2, 10), 2);
        assert_eq!(meter.charge(Some(quota), 10), Ok(Some(1)));
        assert_eq!(meter.left(quota, 10), 1);
        assert_eq!((meter.limit(quota, 11), meter.charge(Some(quota), 11)), (1, Ok(Some(0))));
    }

    #[test]
    fn a_meter_is_noted_once_until_it_is_read() {
        let meter = meter(QuotaPeriod::Day, Counted::default());
        assert!(meter.note());
        assert!(!meter.note());
        meter.take_note();
        assert!(meter.note());
    }

    #[test]
    fn a_day_that_ended_is_still_written() {
        let meter = meter(QuotaPeriod::Day, Counted { today: 10, used_today: 4, used_in_period: 4, extra: 0 });
        for day in [10, 11, 11] {
            meter.charge(None, day).unwrap();
        }
        let days: Vec<(u32, u64)> = meter.take_note().into_iter().map(|count| (count.day, count.used)).collect();
        assert_eq!(days, [(10, 5), (11, 2)]);
        assert_eq!(meter.take_note().len(), 1);
    }
}
