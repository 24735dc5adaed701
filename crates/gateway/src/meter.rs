//! What is counted for a key under a plan: the token buckets, the period's requests for the quota, the day's for the record.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use frontdesk_store::{ApiKeyId, LeaseAsk, Leased, Quota, UsageCount, UsagePlanId};

use crate::lease::{ChargeRefused, Lease, LeaseDesk};
use crate::quota::Calendar;
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

    /// Puts another count in its place.
    pub(crate) fn set(&self, day: u32, used: u64) {
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
    /// The periods that the quota is for.
    pub calendar: Calendar,
    /// The buckets of methods with a throttle of their own, by stage and method.
    method_buckets: Mutex<HashMap<String, Arc<TokenBucket>>>,
    period_count: DatedCount,
    /// What a fleet handed out of the quota; without one the whole quota is there.
    lease: Option<Lease>,
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
    pub fn new(plan_id: UsagePlanId, key_id: ApiKeyId, calendar: Calendar, counted: Counted) -> Meter {
        let Counted { today, used_today, used_in_period, extra } = counted;
        let first_day = calendar.span(today).first_day;
        Meter {
            plan_id,
            key_id,
            calendar,
            bucket: TokenBucket::default(),
            method_buckets: Mutex::default(),
            period_count: DatedCount::new(first_day, used_in_period),
            lease: None,
            extension: DatedCount::new(first_day, extra),
            day_count: DatedCount::new(today, used_today),
            ended_days: Mutex::default(),
            is_noted: AtomicBool::new(false),
        }
    }

    /// The same meter in a fleet.
    #[must_use]
    pub(crate) fn leasing_from(mut self, desk: Option<&Arc<LeaseDesk>>) -> Meter {
        let (first_day, used) = self.period_count.read();
        self.lease = desk.map(|desk| Lease::new(desk.clone(), first_day, used));
        self
    }

    /// Asks for a slice, if it is time to.
    pub(crate) fn top_up(self: &Arc<Meter>, today: u32) {
        let Some(lease) = self.lease.as_ref().filter(|lease| lease.limit() > 0) else { return };
        let first_day = self.calendar.span(today).first_day;
        let is_low = lease.share(lease.limit(), first_day).is_low(self.period_count.on(first_day), lease.desk.hosts());
        if is_low && lease.begin_asking() {
            lease.desk.ask(self);
        }
    }

    /// What it asks the desk for; `None` without a fleet.
    pub(crate) fn lease_ask(&self, wants_more: bool, today: u32) -> Option<LeaseAsk> {
        let lease = self.lease.as_ref()?;
        let (plan_id, key_id) = (self.plan_id.clone(), self.key_id.clone());
        let (first_day, used) = (self.calendar.span(today).first_day, self.used_in_period(today));
        Some(LeaseAsk { plan_id, key_id, first_day, used, limit: lease.limit(), wants_more })
    }

    /// What the desk answered.
    pub(crate) fn take_lease(&self, first_day: u32, leased: Leased) {
        if let Some(lease) = &self.lease {
            lease.set(first_day, leased.granted, leased.others);
        }
    }

    /// From here on it may ask again.
    pub(crate) fn end_asking(&self) {
        if let Some(lease) = &self.lease {
            lease.end_asking();
        }
    }

    /// Gives up what it holds, and says so to the desk.
    pub(crate) fn give_back_lease(&self, today: u32) -> Option<LeaseAsk> {
        let lease = self.lease.as_ref()?;
        lease.give_back(self.calendar.span(today).first_day, self.used_in_period(today));
        self.lease_ask(false, today)
    }

    /// The bucket of a method; the same one for the same method, whatever else changes.
    pub(crate) fn method_bucket(&self, stage_and_method: String) -> Arc<TokenBucket> {
        let mut buckets = self.method_buckets.lock().unwrap_or_else(PoisonError::into_inner);
        buckets.entry(stage_and_method).or_default().clone()
    }

    /// Counts one request against the quota and for the record. Returns how many are left.
    ///
    /// # Errors
    /// When the allowance is spent, or the part of it that this host was handed; nothing is counted then.
    pub fn charge(&self, quota: Option<Quota>, today: u32) -> Result<Option<u64>, ChargeRefused> {
        let first_day = self.calendar.span(today).first_day;
        let limit = quota.map(|quota| self.limit(quota, today));
        if let Some(lease) = &self.lease {
            lease.set_limit(limit);
        }
        let leased = self.lease.as_ref().zip(limit).map(|(lease, limit)| (lease.share(limit, first_day), lease.desk.standing(), lease));
        let ceiling = leased.map_or(limit, |(share, standing, lease)| Some(share.ceiling(standing, lease.desk.hosts())));
        let charged = self.period_count.charge(ceiling, first_day).map_err(|QuotaSpent| {
            leased.map_or(ChargeRefused::Spent, |(share, standing, _)| share.refusal(standing, self.period_count.on(first_day)))
        });
        let used = charged?.used.saturating_add(leased.map_or(0, |(share, ..)| share.others));
        // Uncapped: what the quota let in is on the record.
        if let Ok(Charged { ended: Some(ended), .. }) = self.day_count.charge(None, today) {
            self.lock_ended_days().push(ended);
        }
        Ok(limit.map(|limit| limit.saturating_sub(used)))
    }

    /// The quota with what was granted beyond it.
    #[must_use]
    pub fn limit(&self, quota: Quota, today: u32) -> u64 {
        quota.limit.saturating_add(self.extension.on(self.calendar.span(today).first_day))
    }

    /// How many requests are left of a quota.
    #[must_use]
    pub fn left(&self, quota: Quota, today: u32) -> u64 {
        let others = self.lease.as_ref().map_or(0, |lease| lease.others(self.calendar.span(today).first_day));
        self.limit(quota, today).saturating_sub(self.used_in_period(today)).saturating_sub(others)
    }

    /// Requests that this host counted in the period that a day lies in.
    #[must_use]
    pub fn used_in_period(&self, today: u32) -> u64 {
        self.period_count.on(self.calendar.span(today).first_day)
    }

    /// Requests of a day, if it is the one that is being counted.
    #[must_use]
    pub fn used_on(&self, day: u32) -> u64 {
        self.day_count.on(day)
    }

    /// Sets what is granted beyond the quota in all, for the period that a day lies in.
    pub(crate) fn set_extra(&self, extra: u64, today: u32) {
        self.extension.set(self.calendar.span(today).first_day, extra);
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
    use frontdesk_store::QuotaPeriod;

    use super::*;
    use crate::lease::OnOutage;

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
        Meter::new(UsagePlanId("plan".to_owned()), ApiKeyId("key".to_owned()), Calendar { period, offset: 0 }, counted)
    }

    #[test]
    fn a_month_s_quota_outlasts_its_days() {
        // 2026-11-29 is day 20786; December begins on day 20788.
        let (today, quota) = (20_786, Quota { limit: 3, period: QuotaPeriod::Month, offset: 0 });
        let meter = meter(QuotaPeriod::Month, Counted { today, used_today: 0, used_in_period: 1, extra: 0 });
        assert_eq!(meter.charge(Some(quota), today), Ok(Some(1)));
        assert_eq!(meter.charge(Some(quota), today + 1), Ok(Some(0)));
        assert_eq!(meter.charge(Some(quota), today + 1), Err(ChargeRefused::Spent));
        assert_eq!((meter.used_on(today + 1), meter.used_in_period(today + 1)), (1, 3));
        assert_eq!(meter.charge(Some(quota), today + 2), Ok(Some(2)));
    }

    #[test]
    fn what_is_granted_is_for_its_period_only() {
        let quota = Quota { limit: 1, period: QuotaPeriod::Day, offset: 0 };
        let meter = meter(QuotaPeriod::Day, Counted { today: 10, used_today: 1, used_in_period: 1, extra: 0 });
        assert_eq!(meter.charge(Some(quota), 10), Err(ChargeRefused::Spent));
        meter.set_extra(2, 10);
        assert_eq!(meter.charge(Some(quota), 10), Ok(Some(1)));
        assert_eq!(meter.left(quota, 10), 1);
        assert_eq!((meter.limit(quota, 11), meter.charge(Some(quota), 11)), (1, Ok(Some(0))));
    }

    #[test]
    fn in_a_fleet_a_meter_counts_against_what_it_was_handed() {
        let desk = Arc::new(LeaseDesk::new(OnOutage::Closed, true));
        let quota = Quota { limit: 100, period: QuotaPeriod::Day, offset: 0 };
        let meter = Arc::new(meter(QuotaPeriod::Day, Counted { today: 10, ..Counted::default() }).leasing_from(Some(&desk)));
        // The first request finds no slice, and comes in all the same.
        assert_eq!(meter.charge(Some(quota), 10), Ok(Some(99)));
        assert_eq!(meter.charge(Some(quota), 10), Err(ChargeRefused::AwaitingLease));
        meter.top_up(10);
        meter.top_up(10);
        assert_eq!(desk.take().len(), 1);
        meter.take_lease(10, Leased { granted: 3, others: 40 });
        assert_eq!((meter.charge(Some(quota), 10), meter.left(quota, 10)), (Ok(Some(58)), 58));
        desk.set_leasing(false);
        assert_eq!(meter.charge(Some(quota), 10), Ok(Some(57)));
        assert_eq!(meter.charge(Some(quota), 10), Err(ChargeRefused::NobodyToAsk));
        // A new day begins with nothing in hand, and with nothing used.
        assert_eq!(meter.charge(Some(quota), 11), Err(ChargeRefused::NobodyToAsk));
        desk.set_leasing(true);
        assert_eq!(meter.charge(Some(quota), 11), Ok(Some(99)));
        let given_back = meter.give_back_lease(11).unwrap();
        assert_eq!((given_back.first_day, given_back.used, given_back.wants_more), (11, 1, false));
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
