//! Moments as AWS's JSON documents and the host's own write them: ISO 8601, in UTC.

pub(crate) use frontdesk_aws::document::iso_8601;
use time::OffsetDateTime;
use time::macros::format_description;

/// `2026-01-31T09:30:00Z` of Unix seconds.
pub(crate) fn iso_8601_s(unix: i64) -> String {
    let moment = OffsetDateTime::from_unix_timestamp(unix).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let form = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
    moment.format(form).expect("every moment has a date and a time")
}

/// Unix milliseconds of a moment.
pub(crate) fn unix_ms(moment: OffsetDateTime) -> i64 {
    i64::try_from(moment.unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_have_milliseconds_and_utc() {
        assert_eq!(iso_8601(1_700_000_000_007), "2023-11-14T22:13:20.007Z");
        assert_eq!(iso_8601_s(1_700_000_000), "2023-11-14T22:13:20Z");
        assert_eq!(unix_ms(OffsetDateTime::from_unix_timestamp(1_700_000_000).unwrap()), 1_700_000_000_000);
    }
}
