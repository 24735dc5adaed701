//! Times as people write and read them on a command line: lengths such as `24h`, dates such as 2026-12-31 (UTC).

use std::time::Duration;

use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, OffsetDateTime, Time};

/// Reads a length of time in seconds, such as `90s`, `15m`, `24h`, `30d`; `0` is none.
pub(crate) fn length_s(text: &str) -> Result<u32, String> {
    let length = if text == "0" { Ok(Duration::ZERO) } else { humantime::parse_duration(text) };
    let length = length.map_err(|error| format!("{error}: write a length of time as 90s, 15m, 24h or 30d"))?;
    u32::try_from(length.as_secs()).map_err(|_| "that is longer than a century".to_owned())
}

/// Reads a moment: a length of time from now, or the beginning of a date. Returns Unix seconds.
pub(crate) fn moment(text: &str) -> Result<i64, String> {
    match date(text) {
        Ok(date) => Ok(date.with_time(Time::MIDNIGHT).assume_utc().unix_timestamp()),
        Err(_) => match length_s(text) {
            Ok(length_s) => Ok(now().unix_timestamp() + i64::from(length_s)),
            Err(_) => Err("write a date as 2026-12-31, or a length of time from now as 24h or 30d".to_owned()),
        },
    }
}

/// Reads a date.
pub(crate) fn date(text: &str) -> Result<Date, String> {
    Date::parse(text, format_description!("[year]-[month]-[day]")).map_err(|_| "write a date as 2026-12-31".to_owned())
}

/// Today, UTC.
pub(crate) fn today() -> Date {
    now().date()
}

/// Whether a moment is over.
pub(crate) fn has_passed(unix_seconds: i64) -> bool {
    now().unix_timestamp() >= unix_seconds
}

/// A moment for reading, such as `2026-12-31 00:00 UTC`.
pub(crate) fn shown(unix_seconds: i64) -> String {
    let format = format_description!("[year]-[month]-[day] [hour]:[minute] UTC");
    let moment = OffsetDateTime::from_unix_timestamp(unix_seconds).ok();
    moment.and_then(|moment| moment.format(format).ok()).unwrap_or_else(|| unix_seconds.to_string())
}

/// Reads a moment as documents have it, such as `2026-12-31T00:00:00.123Z`.
pub(crate) fn of_iso(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text, &Rfc3339).ok()
}

/// How long ago a document's moment was, such as `2m 5s`; the two largest units are enough to read.
pub(crate) fn ago(text: &str) -> String {
    let Some(moment) = of_iso(text) else { return "-".to_owned() };
    let seconds = u64::try_from((now() - moment).whole_seconds()).unwrap_or(0);
    span(seconds)
}

fn span(seconds: u64) -> String {
    let length = humantime::format_duration(Duration::from_secs(seconds)).to_string();
    length.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

/// The moment that lies a length of time back.
pub(crate) fn before(length_s: u32) -> OffsetDateTime {
    now() - time::Duration::seconds(i64::from(length_s))
}

#[expect(clippy::disallowed_methods, reason = "this is the edge where a command's moment is read")]
fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        assert_eq!((length_s("90s"), length_s("24h"), length_s("0")), (Ok(90), Ok(86_400), Ok(0)));
        assert!(length_s("soon").unwrap_err().contains("24h"));
        assert_eq!(moment("1970-01-02"), Ok(86_400));
        assert!(moment("1h").unwrap() > moment("30m").unwrap());
        assert!(moment("tomorrow").unwrap_err().contains("2026-12-31"));
        assert_eq!(shown(86_400), "1970-01-02 00:00 UTC");
        assert_eq!((span(0), span(125), span(90_061)), ("0s".to_owned(), "2m 5s".to_owned(), "1day 1h".to_owned()));
        assert_eq!(of_iso("1970-01-02T00:00:00.500Z").unwrap().unix_timestamp(), 86_400);
        assert_eq!(ago("soon"), "-");
    }
}
