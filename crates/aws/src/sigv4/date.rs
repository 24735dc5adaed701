//! The one timestamp form of Signature Version 4: ISO 8601 basic, UTC, whole seconds, as in `20150830T123600Z`.

use time::format_description::well_known::Rfc2822;
use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time, UtcOffset};

/// `20150830T123600Z`; its first eight characters are the day of the credential scope.
pub(super) fn format(instant: OffsetDateTime) -> String {
    let instant = instant.to_offset(UtcOffset::UTC);
    let (hour, minute, second) = instant.to_hms();
    // By hand: every request is dated, by its signer and by its verifier.
    let two = |number: u32| [number / 10 % 10, number % 10].map(|digit| char::from_digit(digit, 10).unwrap_or('0'));
    let year = instant.year().unsigned_abs();
    let mut text = String::with_capacity(16);
    text.extend([year / 100, year, u8::from(instant.month()).into(), instant.day().into()].into_iter().flat_map(two));
    text.push('T');
    text.extend([hour, minute, second].into_iter().flat_map(|number| two(number.into())));
    text.push('Z');
    text
}

/// Reads exactly what [`format`] writes; anything else is `None`.
pub(super) fn parse(text: &str) -> Option<OffsetDateTime> {
    let digits = |range: std::ops::Range<usize>| -> Option<u16> {
        let digits = text.get(range)?;
        // `str::parse` alone would also take a sign.
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
    };
    let two = |start: usize| digits(start..start + 2).and_then(|number| u8::try_from(number).ok());
    if text.len() != 16 || text.get(8..9)? != "T" || text.get(15..16)? != "Z" {
        return None;
    }
    let month = Month::try_from(two(4)?).ok()?;
    let day = Date::from_calendar_date(digits(0..4)?.into(), month, two(6)?).ok()?;
    let time = Time::from_hms(two(9)?, two(11)?, two(13)?).ok()?;
    Some(PrimitiveDateTime::new(day, time).assume_utc())
}

/// Reads a `Date` header, which may hold the form above or HTTP's own (`Sun, 30 Aug 2015 12:36:00 GMT`).
pub(super) fn parse_http(text: &str) -> Option<OffsetDateTime> {
    parse(text).or_else(|| OffsetDateTime::parse(text, &Rfc2822).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn reads_what_it_writes_and_nothing_else() {
        let check = |text: &str, expected: Option<OffsetDateTime>| {
            assert_eq!(parse_http(text), expected, "{text:?}");
        };
        let instant = datetime!(2015-08-30 12:36:00 UTC);
        assert_eq!(format(instant), "20150830T123600Z");
        assert_eq!(format(datetime!(2015-08-30 14:36:00.9 +2)), "20150830T123600Z");
        check("20150830T123600Z", Some(instant));
        check("Sun, 30 Aug 2015 12:36:00 GMT", Some(instant));
        check("20150830T123600.5Z", None);
        check("2015-08-30T12:36:00Z", None);
        check("20150830t123600z", None);
        check("20150230T123600Z", None);
        check("20150830T246000Z", None);
        check("+0150830T123600Z", None);
        check("2015083éT12360Z", None);
        check("", None);
    }
}
