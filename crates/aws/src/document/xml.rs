//! Documents as XML, the way out of AWS's query protocol (<https://smithy.io/2.0/aws/protocols/aws-query-protocol.html#response-serialization>): items of a list are
//! `member`s, pairs of a map `entry`s, a moment is ISO 8601.

use time::OffsetDateTime;
use time::macros::format_description;

use super::Document;

/// Writes an element of this name around the document. What is null is no element.
pub fn write_xml(xml: &mut String, name: &str, document: &Document) {
    if *document == Document::Null {
        return;
    }
    xml.push_str(&format!("<{name}>"));
    match document {
        Document::Null => {}
        Document::Bool(truth) => xml.push_str(&truth.to_string()),
        Document::Integer(integer) => xml.push_str(&integer.to_string()),
        // With a fraction even where it is nothing, as AWS has it.
        Document::Number(number) => xml.push_str(&format!("{number:?}")),
        Document::Text(text) => write_text(xml, text),
        Document::Moment(ms) => xml.push_str(&iso_8601(*ms)),
        Document::List(items) => items.iter().for_each(|item| write_xml(xml, "member", item)),
        Document::Members(members) => members.iter().for_each(|(name, value)| write_xml(xml, name, value)),
        Document::Map(pairs) => {
            for (key, value) in pairs {
                xml.push_str("<entry><key>");
                write_text(xml, key);
                xml.push_str("</key>");
                write_xml(xml, "value", value);
                xml.push_str("</entry>");
            }
        }
    }
    xml.push_str(&format!("</{name}>"));
}

/// `2026-01-31T09:30:00.250Z` of Unix milliseconds, as AWS's documents have moments (ISO 8601, in UTC).
#[must_use]
pub fn iso_8601(unix_ms: i64) -> String {
    let moment = OffsetDateTime::from_unix_timestamp_nanos(i128::from(unix_ms) * 1_000_000).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let form = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    moment.format(form).expect("every moment has a date and a time")
}

/// Writes a text that may hold anything, so that a parser reads it again.
pub fn write_text(xml: &mut String, text: &str) {
    for letter in text.chars() {
        match letter {
            '&' => xml.push_str("&amp;"),
            '<' => xml.push_str("&lt;"),
            '>' => xml.push_str("&gt;"),
            // A parser would make a line feed of it.
            '\r' => xml.push_str("&#13;"),
            // Not allowed in XML at all; what a caller sent is refused elsewhere, and an error that quotes it must be readable.
            control if control < ' ' && !matches!(control, '\n' | '\t') => xml.push('\u{fffd}'),
            other => xml.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_form() {
        let document = Document::members([
            ("Label", "a<b>&\u{1}".into()),
            ("Points", Document::list([Document::members([("Sum", 3.0.into()), ("At", Document::Moment(1_769_850_000_000))])])),
            ("Extended", Document::Map(vec![("p99".into(), 1.5.into())])),
            ("Count", 2_i64.into()),
        ]);
        let mut xml = String::new();
        write_xml(&mut xml, "R", &document);
        let points = "<Points><member><Sum>3.0</Sum><At>2026-01-31T09:00:00.000Z</At></member></Points>";
        let extended = "<Extended><entry><key>p99</key><value>1.5</value></entry></Extended>";
        assert_eq!(xml, format!("<R><Label>a&lt;b&gt;&amp;\u{fffd}</Label>{points}{extended}<Count>2</Count></R>"));
    }
}
