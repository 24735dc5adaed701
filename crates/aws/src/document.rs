//! A document of an AWS operation, apart from the protocol that it crosses the wire in: CloudWatch's SDKs speak CBOR, JSON or forms and XML, by their age, and
//! one operation must answer them all.
//!
//! A form's values are all texts, and so is a moment in some documents; whoever reads a member says what it takes, and what can be read as that is.

mod cbor;
mod form;
mod json;
mod xml;

pub use cbor::{from_cbor, to_cbor};
pub use form::from_form;
pub use json::{from_json, to_json};
pub use xml::{iso_8601, write_text, write_xml};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// How deep a document may be: deeper ones are made to exhaust a stack.
const DEPTH_MAX: usize = 32;

/// What a document is made of.
#[derive(Debug, Clone, PartialEq)]
pub enum Document {
    /// Nothing: a member that holds it is left out.
    Null,
    /// A truth.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// Any number.
    Number(f64),
    /// A text.
    Text(String),
    /// A moment, in Unix milliseconds. Each protocol has a form of its own for it.
    Moment(i64),
    /// A list.
    List(Vec<Document>),
    /// A structure: members that the service's model names.
    Members(Vec<(String, Document)>),
    /// A map: names that no model knows, which XML writes in another way.
    Map(Vec<(String, Document)>),
}

/// A document that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DocumentError(pub String);

impl Document {
    /// A structure; members that are [`Document::Null`] are left out.
    #[must_use]
    pub fn members<const COUNT: usize>(members: [(&str, Document); COUNT]) -> Document {
        let there = members.into_iter().filter(|(_, value)| *value != Document::Null);
        Document::Members(there.map(|(name, value)| (name.to_owned(), value)).collect())
    }

    /// A list of what these make.
    #[must_use]
    pub fn list<T: Into<Document>>(items: impl IntoIterator<Item = T>) -> Document {
        Document::List(items.into_iter().map(Into::into).collect())
    }

    /// A member of a structure; what is null is not there.
    #[must_use]
    pub fn member(&self, name: &str) -> Option<&Document> {
        let (Document::Members(members) | Document::Map(members)) = self else { return None };
        let found = members.iter().find(|(member, _)| member == name);
        found.map(|(_, value)| value).filter(|value| **value != Document::Null)
    }

    /// As a text.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        if let Document::Text(text) = self { Some(text) } else { None }
    }

    /// As a number: one, or a text that says one.
    #[must_use]
    pub fn as_number(&self) -> Option<f64> {
        match self {
            Document::Number(number) => Some(*number),
            #[expect(clippy::cast_precision_loss, reason = "where a number of any kind is taken, its last digits do not count")]
            Document::Integer(integer) => Some(*integer as f64),
            Document::Text(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// As a whole number.
    #[must_use]
    pub fn as_integer(&self) -> Option<i64> {
        match self {
            Document::Integer(integer) => Some(*integer),
            #[expect(clippy::cast_possible_truncation, reason = "checked to be whole, and within what a double counts in ones")]
            Document::Number(number) if number.fract() == 0.0 && number.abs() < 9e15 => Some(*number as i64),
            Document::Text(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// As a truth.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Document::Bool(truth) => Some(*truth),
            Document::Text(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// As a moment, in Unix milliseconds: one, a number of seconds, or a text as ISO 8601 has it, in UTC where it names no zone.
    #[must_use]
    pub fn as_moment_ms(&self) -> Option<i64> {
        match self {
            Document::Moment(ms) => Some(*ms),
            Document::Text(text) => moment_of(text),
            other => other.as_number().and_then(milliseconds),
        }
    }

    /// As a list. A form says nothing of an empty one, or an empty text.
    #[must_use]
    pub fn as_list(&self) -> Option<&[Document]> {
        match self {
            Document::List(items) => Some(items),
            Document::Text(text) if text.is_empty() => Some(&[]),
            _ => None,
        }
    }
}

/// Milliseconds of seconds, if there is such a moment.
fn milliseconds(seconds: f64) -> Option<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "checked: some 30,000 years")]
    (seconds.abs() < 1e12).then(|| (seconds * 1000.0).round() as i64)
}

fn moment_of(text: &str) -> Option<i64> {
    if let Ok(seconds) = text.parse::<f64>() {
        return milliseconds(seconds);
    }
    let with_time = if text.contains('T') { text.to_owned() } else { format!("{text}T00:00:00") };
    let has_zone = with_time.ends_with(['Z', 'z']) || with_time.rfind(['+', '-']) > with_time.find('T');
    let zoned = if has_zone { with_time } else { with_time + "Z" };
    // Minutes are enough for the command line.
    let moment = OffsetDateTime::parse(&zoned, &Rfc3339).or_else(|_| OffsetDateTime::parse(&with_seconds(&zoned), &Rfc3339));
    moment.ok().and_then(|moment| i64::try_from(moment.unix_timestamp_nanos() / 1_000_000).ok())
}

/// `2026-01-31T09:30Z` with its seconds.
fn with_seconds(zoned: &str) -> String {
    let minutes = "2026-01-31T09:30".len();
    zoned.split_at_checked(minutes).map_or_else(String::new, |(minutes, zone)| format!("{minutes}:00{zone}"))
}

macro_rules! from {
    ($($type:ty: $value:ident => $made:expr;)*) => {$(
        impl From<$type> for Document {
            fn from($value: $type) -> Document {
                $made
            }
        }
    )*};
}

from! {
    bool: value => Document::Bool(value);
    f64: value => Document::Number(value);
    i64: value => Document::Integer(value);
    u32: value => Document::Integer(value.into());
    String: value => Document::Text(value);
    &str: value => Document::Text(value.to_owned());
    &String: value => Document::Text(value.clone());
}

impl<T: Into<Document>> From<Option<T>> for Document {
    fn from(value: Option<T>) -> Document {
        value.map_or(Document::Null, Into::into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_in_every_form() {
        let check = |document: Document, expected: Option<i64>| assert_eq!(document.as_moment_ms(), expected, "{document:?}");
        let nine = Some(1_769_850_000_000);
        check(Document::Moment(1_769_850_000_000), nine);
        check(Document::Integer(1_769_850_000), nine);
        check(Document::Number(1_769_850_000.25), Some(1_769_850_000_250));
        check("2026-01-31T09:00:00Z".into(), nine);
        check("2026-01-31T09:00:00".into(), nine);
        check("2026-01-31T09:00Z".into(), nine);
        check("2026-01-31T09:00".into(), nine);
        check("2026-01-31T10:00:00+01:00".into(), nine);
        check("2026-01-31".into(), Some(1_769_817_600_000));
        check("1769850000".into(), nine);
        check("yesterday".into(), None);
        check("é".into(), None);
        check(Document::Number(f64::INFINITY), None);
    }

    #[test]
    fn members_that_are_null_are_not_there() {
        let document = Document::members([("A", None::<f64>.into()), ("B", 1_i64.into())]);
        assert_eq!((document.member("A"), document.member("B")), (None, Some(&Document::Integer(1))));
        assert_eq!((Document::from("12").as_integer(), Document::Number(1.5).as_integer()), (Some(12), None));
    }
}
