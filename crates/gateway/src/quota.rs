//! The calendar of quotas: which period a moment belongs to, in UTC.

use frontdesk_store::{Quota, QuotaPeriod};
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

/// No period is longer, in days.
pub(crate) const SPAN_DAYS_MAX: u32 = 31;

/// How a quota divides time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Calendar {
    /// Its periods.
    pub period: QuotaPeriod,
    /// The day on which one begins, counted from its first.
    pub offset: u8,
}

impl Calendar {
    /// A plan's; days where it has no quota.
    #[must_use]
    pub fn of(quota: Option<Quota>) -> Calendar {
        quota.map_or(Calendar { period: QuotaPeriod::Day, offset: 0 }, |Quota { period, offset, .. }| Calendar { period, offset })
    }

    /// Checks an offset. API Gateway's reference calls it a number of requests; what the service takes, and CloudFormation's reference, is a day
    /// (<https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-properties-apigateway-usageplan-quotasettings.html>).
    ///
    /// # Errors
    /// Says what it may be, in API Gateway's words as far as they are known.
    pub fn check(self) -> Result<(), String> {
        let (period, most) = (self.period.name(), self.offset_max());
        if self.offset <= most {
            return Ok(());
        }
        Err(match most {
            0 => format!("Usage Plan quota offset must be zero in the {period} period"),
            most => format!("Usage Plan quota offset must be between 0 and {most} inclusive in the {period} period"),
        })
    }

    /// The last day that every such period has.
    fn offset_max(self) -> u8 {
        match self.period {
            QuotaPeriod::Day => 0,
            QuotaPeriod::Week => 6,
            QuotaPeriod::Month => 27,
        }
    }

    /// The period that a day lies in. A week begins on Sunday, unless the offset says otherwise.
    #[must_use]
    pub fn span(self, day: u32) -> Span {
        let offset = u32::from(self.offset.min(self.offset_max()));
        match self.period {
            QuotaPeriod::Day => Span { first_day: day, days: 1 },
            QuotaPeriod::Week => {
                let since_sunday = u32::from(date_of(day).weekday().number_days_from_sunday());
                Span { first_day: day.saturating_sub((since_sunday + 7 - offset) % 7), days: 7 }
            }
            QuotaPeriod::Month => {
                // The month, by the calendar, in which the period begins.
                let begins_in = date_of(day.saturating_sub(offset));
                let since_first = u32::from(begins_in.day()) - 1;
                let first_day = day.saturating_sub(offset) - since_first + offset;
                Span { first_day, days: u32::from(begins_in.month().length(begins_in.year())) }
            }
        }
    }
}

const EPOCH: Date = time::macros::date!(1970 - 01 - 01);

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::date;

    fn check(period: QuotaPeriod, on: Date, first: Date, days: u32) {
        check_from(Calendar { period, offset: 0 }, on, first, days);
    }

    fn check_from(calendar: Calendar, on: Date, first: Date, days: u32) {
        assert_eq!(calendar.span(day_of_date(on)), Span { first_day: day_of_date(first), days }, "{calendar:?} of {on}");
    }

    #[test]
    fn a_period_begins_on_the_day_that_its_offset_names() {
        let (week, month) =
            (|offset| Calendar { period: QuotaPeriod::Week, offset }, |offset| Calendar { period: QuotaPeriod::Month, offset });
        // The 22nd of November 2026 is a Sunday.
        check_from(week(1), date!(2026 - 11 - 22), date!(2026 - 11 - 16), 7);
        check_from(week(1), date!(2026 - 11 - 23), date!(2026 - 11 - 23), 7);
        check_from(week(6), date!(2026 - 11 - 22), date!(2026 - 11 - 21), 7);
        check_from(month(14), date!(2026 - 11 - 14), date!(2026 - 10 - 15), 31);
        check_from(month(14), date!(2026 - 11 - 15), date!(2026 - 11 - 15), 30);
        check_from(month(27), date!(2027 - 02 - 28), date!(2027 - 02 - 28), 28);
        check_from(month(27), date!(2027 - 03 - 27), date!(2027 - 02 - 28), 28);
        check_from(month(27), date!(2027 - 01 - 01), date!(2026 - 12 - 28), 31);
    }

    #[test]
    fn periods_follow_one_another_without_a_gap() {
        for (period, most) in [(QuotaPeriod::Day, 0), (QuotaPeriod::Week, 6), (QuotaPeriod::Month, 27)] {
            for offset in 0..=most {
                let calendar = Calendar { period, offset };
                assert_eq!(calendar.check(), Ok(()));
                let mut day = calendar.span(20_000).first_day;
                while day < 21_500 {
                    let span = calendar.span(day);
                    assert!(span.days <= SPAN_DAYS_MAX);
                    assert!((day..day + span.days).all(|inside| calendar.span(inside) == span), "{calendar:?}: {span:?}");
                    day += span.days;
                }
            }
            assert!(Calendar { period, offset: most + 1 }.check().is_err());
        }
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
        let left = |period| Calendar { period, offset: 0 }.span(day_of(noon)).seconds_left(noon);
        assert_eq!((left(QuotaPeriod::Week), left(QuotaPeriod::Month)), (43_200, 43_200 + 2 * 86_400));
    }

    #[test]
    fn days_are_utc() {
        assert_eq!((day_of(0), day_of(DAY_SECONDS - 1), day_of(DAY_SECONDS), day_of(-1)), (0, 0, 1, 0));
        assert_eq!(date_of(day_of_date(date!(2026 - 11 - 22))), date!(2026 - 11 - 22));
    }
}
