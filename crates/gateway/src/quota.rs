//! The calendar of quotas: which period a moment belongs to, in UTC.

use frontdesk_store::QuotaPeriod;
use time::{Date, Duration};

/// Seconds in a day.
pub const DAY_SECONDS: i64 = 86_400;

/// One day, week or month.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Its first day (days since 1970-01-01).
    pub first_day: u32,
    /// Its length in days.
    pub days: u32,
}

impl Span {
    /// Seconds until it ends.
    #[must_use]
    pub fn seconds_left(self, unix_seconds: i64) -> u64 {
        let ends_at = (i64::from(self.first_day) + i64::from(self.days)) * DAY_SECONDS;
        u64::try_from(ends_at - unix_seconds).unwrap_or(0)
    }
}

/// The day (days since 1970-01-01) of a Unix time.
#[must_use]
pub fn day_of(unix_seconds: i64) -> u32 {
    u32::try_from(unix_seconds.div_euclid(DAY_SECONDS)).unwrap_or(0)
}

/// The date of a day, such as 2026-01-31.
#[must_use]
pub fn date_of(day: u32) -> Date {
    EPOCH.checked_add(Duration::days(i64::from(day))).unwrap_or(Date::MAX)
}

/// The day of a date; dates before 1970 are the first day.
#[must_use]
pub fn day_of_date(date: Date) -> u32 {
    u32::try_from((date - EPOCH).whole_days()).unwrap_or(0)
}

/// The period that a day lies in. A week begins on Sunday.
#[must_use]
pub fn span_of(period: QuotaPeriod, day: u32) -> Span {
    match period {
        QuotaPeriod::Day => Span { first_day: day, days: 1 },
        QuotaPeriod::Week => {
            let since_sunday = u32::from(date_of(day).weekday().number_days_from_sunday());
            Span { first_day: day.saturating_sub(since_sunday), days: 7 }
        }
        QuotaPeriod::Month => {
            let date = date_of(day);
            let since_first = u32::from(date.day()) - 1;
            Span { first_day: day - since_first, days: u32::from(date.month().length(date.year())) }
        }
    }
}

const EPOCH: Date = time::macros::date!(1970 - 01 - 01);

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::date;

    fn check(period: QuotaPeriod, on: Date, first: Date, days: u32) {
        assert_eq!(span_of(period, day_of_date(on)), Span { first_day: day_of_date(first), days }, "{period:?} of {on}");
    }

    #[test]
    fn a_day_lies_in_its_period() {
        check(QuotaPeriod::Day, date!(2026 - 11 - 22), date!(2026 - 11 - 22), 1);
        // The 22nd of November 2026 is a Sunday.
        check(QuotaPeriod::Week, date!(2026 - 11 - 22), date!(2026 - 11 - 22), 7);
        check(QuotaPeriod::Week, date!(2026 - 11 - 28), date!(2026 - 11 - 22), 7);
        check(QuotaPeriod::Week, date!(2026 - 11 - 21), date!(2026 - 11 - 15), 7);
        check(QuotaPeriod::Month, date!(2026 - 11 - 30), date!(2026 - 11 - 01), 30);
        check(QuotaPeriod::Month, date!(2028 - 02 - 29), date!(2028 - 02 - 01), 29);
    }

    #[test]
    fn the_time_left_counts_down_to_the_next_period() {
        let noon = i64::from(day_of_date(date!(2026 - 11 - 28))) * DAY_SECONDS + 43_200;
        assert_eq!(span_of(QuotaPeriod::Week, day_of(noon)).seconds_left(noon), 43_200);
        assert_eq!(span_of(QuotaPeriod::Month, day_of(noon)).seconds_left(noon), 43_200 + 2 * 86_400);
    }

    #[test]
    fn days_are_utc() {
        assert_eq!((day_of(0), day_of(DAY_SECONDS - 1), day_of(DAY_SECONDS), day_of(-1)), (0, 0, 1, 0));
        assert_eq!(date_of(day_of_date(date!(2026 - 11 - 22))), date!(2026 - 11 - 22));
    }
}
