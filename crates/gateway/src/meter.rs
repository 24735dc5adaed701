//! What is counted for a key under a plan: the token bucket and the day's requests.

use std::sync::atomic::{AtomicU64, Ordering};

use frontdesk_store::{ApiKeyId, UsagePlanId};

use crate::throttle::TokenBucket;

/// The count is kept with its day in one word, so that check-and-count is one step and midnight needs no lock.
const COUNT_BITS: u32 = 40;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;

/// Seconds in a day.
pub const DAY_SECONDS: i64 = 86_400;

/// The day (days since 1970-01-01, UTC) of a Unix time.
#[must_use]
pub fn day_of(unix_seconds: i64) -> u32 {
    u32::try_from(unix_seconds.div_euclid(DAY_SECONDS)).unwrap_or(0)
}

/// The day's count. The day never goes back: a clock that steps back over midnight must not hand out a second allowance.
#[derive(Debug)]
pub struct DayCount(AtomicU64);

impl DayCount {
    /// Starts with a count that was read from the store.
    #[must_use]
    pub fn new(day: u32, used: u64) -> DayCount {
        DayCount(AtomicU64::new(pack(day, used)))
    }

    /// Counts one request, if the limit has room for it.
    ///
    /// # Errors
    /// When the day's allowance is spent; nothing is counted then.
    pub fn charge(&self, limit: Option<u64>, today: u32) -> Result<(), QuotaSpent> {
        let mut seen = self.0.load(Ordering::Relaxed);
        loop {
            let (day, used) = unpack(seen);
            let (day, used) = if today > day { (today, 0) } else { (day, used) };
            if limit.is_some_and(|limit| used >= limit) || used == COUNT_MASK {
                return Err(QuotaSpent);
            }
            match self.0.compare_exchange_weak(seen, pack(day, used + 1), Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Ok(()),
                Err(current) => seen = current,
            }
        }
    }

    /// The day that is being counted, and its requests so far.
    #[must_use]
    pub fn read(&self) -> (u32, u64) {
        unpack(self.0.load(Ordering::Relaxed))
    }
}

/// The day's allowance is spent.
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
    /// Its day.
    pub day_count: DayCount,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Requests on these days, and what each is told.
    fn check(limit: Option<u64>, days: &[u32], expected: &str) {
        let count = DayCount::new(10, 0);
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
        let count = DayCount::new(10, 5);
        assert_eq!(count.charge(Some(5), 10), Err(QuotaSpent));
        assert_eq!(count.read(), (10, 5));
    }

    #[test]
    fn days_are_utc() {
        assert_eq!(day_of(0), 0);
        assert_eq!(day_of(DAY_SECONDS - 1), 0);
        assert_eq!(day_of(DAY_SECONDS), 1);
        assert_eq!(day_of(-1), 0);
    }
}
