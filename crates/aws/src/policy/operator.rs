//! Condition operators: what a policy's values mean, and whether a value of the request's is one of them.
//!
//! Source: "IAM JSON policy elements: Condition operators" in the IAM User Guide
//! (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html>).

use core::net::IpAddr;
use std::cmp::Ordering;

use ipnet::IpNet;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, OffsetDateTime};

use super::condition::{Context, Outcome};
use super::pattern::{ArnPattern, Pattern, Syntax};

/// An operator as it is written, such as `ForAnyValue:StringNotLikeIfExists`, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Operator {
    pub(super) quantifier: Option<Quantifier>,
    pub(super) test: Test,
    pub(super) is_negated: bool,
    pub(super) if_exists: bool,
}

/// For keys with several values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quantifier {
    /// At least one of the request's values.
    Any,
    /// Each of the request's values, also none.
    All,
}

/// What is compared, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Test {
    /// Whether the key is absent: no comparison at all.
    Null,
    Text {
        wildcards: bool,
        ignores_case: bool,
    },
    Arn,
    Bool,
    Address,
    Number(Comparison),
    Date(Comparison),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// One of a policy's values, read as its operator wants it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Wanted {
    Text(Pattern),
    /// Compared in lower case.
    TextOfAnyCase(Pattern),
    Arn(ArnPattern),
    Bool(bool),
    Network(IpNet),
    Number(f64),
    Moment(OffsetDateTime),
}

impl Operator {
    /// Nothing for an operator that IAM does not know.
    pub(super) fn parse(name: &str) -> Option<Operator> {
        let (quantifier, name) = match name.split_once(':') {
            Some(("ForAnyValue", name)) => (Some(Quantifier::Any), name),
            Some(("ForAllValues", name)) => (Some(Quantifier::All), name),
            Some(_) => return None,
            None => (None, name),
        };
        let (name, if_exists) = match name.strip_suffix("IfExists") {
            Some(name) => (name, true),
            None => (name, false),
        };
        let text = |wildcards, ignores_case| Test::Text { wildcards, ignores_case };
        let (test, is_negated) = match name {
            "Null" if !if_exists => (Test::Null, false),
            // Base64 on both sides, compared as it is written.
            "StringEquals" | "BinaryEquals" => (text(false, false), false),
            "StringNotEquals" => (text(false, false), true),
            "StringEqualsIgnoreCase" => (text(false, true), false),
            "StringNotEqualsIgnoreCase" => (text(false, true), true),
            "StringLike" => (text(true, false), false),
            "StringNotLike" => (text(true, false), true),
            // "ArnEquals and ArnLike behave identically."
            "ArnEquals" | "ArnLike" => (Test::Arn, false),
            "ArnNotEquals" | "ArnNotLike" => (Test::Arn, true),
            "Bool" => (Test::Bool, false),
            "IpAddress" => (Test::Address, false),
            "NotIpAddress" => (Test::Address, true),
            _ => {
                let (of, comparison) =
                    name.strip_prefix("Numeric").map(|rest| (Test::Number as fn(Comparison) -> Test, rest)).or_else(|| {
                        let rest = name.strip_prefix("Date")?;
                        Some((Test::Date as fn(Comparison) -> Test, rest))
                    })?;
                let (comparison, is_negated) = match comparison {
                    "Equals" => (Comparison::Equal, false),
                    "NotEquals" => (Comparison::Equal, true),
                    "LessThan" => (Comparison::Less, false),
                    "LessThanEquals" => (Comparison::LessOrEqual, false),
                    "GreaterThan" => (Comparison::Greater, false),
                    "GreaterThanEquals" => (Comparison::GreaterOrEqual, false),
                    _ => return None,
                };
                (of(comparison), is_negated)
            }
        };
        Some(Operator { quantifier, test, is_negated, if_exists })
    }

    /// Reads one of a policy's values; nothing when it is none of the operator's.
    pub(super) fn wanted(&self, value: &str, variables: bool) -> Option<Wanted> {
        Some(match self.test {
            Test::Text { wildcards, ignores_case: false } => Wanted::Text(Pattern::parse(value, Syntax { wildcards, variables })),
            // Variables name keys, which have no case either; what they stand for is put in lower case with the context's values.
            Test::Text { wildcards, ignores_case: true } => {
                Wanted::TextOfAnyCase(Pattern::parse(&value.to_lowercase(), Syntax { wildcards, variables }))
            }
            Test::Arn => Wanted::Arn(ArnPattern::parse(value, variables)),
            Test::Null | Test::Bool => Wanted::Bool(value.to_ascii_lowercase().parse().ok()?),
            Test::Address => Wanted::Network(value.parse::<IpNet>().or_else(|_| value.parse::<IpAddr>().map(IpNet::from)).ok()?),
            Test::Number(_) => Wanted::Number(value.trim().parse().ok()?),
            Test::Date(_) => Wanted::Moment(moment(value)?),
        })
    }

    /// Whether a value of the request's is the wanted one, negation left aside.
    pub(super) fn matches(&self, wanted: &Wanted, found: &str, context: &Context) -> Outcome {
        let known = match wanted {
            Wanted::Text(pattern) => pattern.matches(found, context),
            Wanted::TextOfAnyCase(pattern) => pattern.matches(&found.to_lowercase(), &context.in_lower_case()),
            Wanted::Arn(pattern) => pattern.matches(found, context),
            Wanted::Bool(wanted) => Some(found.eq_ignore_ascii_case(if *wanted { "true" } else { "false" })),
            // A value that is no address matches none.
            Wanted::Network(network) => Some(found.parse::<IpAddr>().is_ok_and(|address| network.contains(&address.to_canonical()))),
            Wanted::Number(wanted) => {
                Some(found.parse::<f64>().ok().and_then(|found| found.partial_cmp(wanted)).is_some_and(|order| self.holds(order)))
            }
            Wanted::Moment(wanted) => Some(moment(found).is_some_and(|found| self.holds(found.cmp(wanted)))),
        };
        known.map_or(Outcome::Unknown, Outcome::from)
    }

    /// Whether the order of the request's value to the policy's is the one that is asked for.
    fn holds(&self, order: Ordering) -> bool {
        let (Test::Number(comparison) | Test::Date(comparison)) = self.test else { return false };
        match comparison {
            Comparison::Equal => order.is_eq(),
            Comparison::Less => order.is_lt(),
            Comparison::LessOrEqual => order.is_le(),
            Comparison::Greater => order.is_gt(),
            Comparison::GreaterOrEqual => order.is_ge(),
        }
    }
}

/// A moment in one of W3C's profiles of ISO 8601, or in Unix seconds.
fn moment(text: &str) -> Option<OffsetDateTime> {
    if let Ok(moment) = OffsetDateTime::parse(text, &Rfc3339) {
        return Some(moment);
    }
    if let Ok(date) = Date::parse(text, format_description!("[year]-[month]-[day]")) {
        return Some(date.midnight().assume_utc());
    }
    OffsetDateTime::from_unix_timestamp(text.parse().ok()?).ok()
}
