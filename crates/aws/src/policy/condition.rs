//! Conditions: operators over the keys of a request's context, all of which must hold.
//!
//! Source: "IAM JSON policy elements: Condition operators" in the IAM User Guide
//! (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html>). The operators for strings, ARNs,
//! booleans and absence are here; those for numbers, dates, addresses and sets are unknown, as are policy variables.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{OneOrMany, wildcard};

/// The condition keys of one request, such as `aws:SourceAccount`. Keys have no case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Context(BTreeMap<String, String>);

impl Context {
    /// A request about which nothing is known.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same, with one key more or replaced.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<String>) -> Self {
        self.0.insert(key.to_ascii_lowercase(), value.into());
        self
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(&key.to_ascii_lowercase()).map(String::as_str)
    }
}

/// Three-valued, because what is not understood must neither grant nor exempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    True,
    False,
    Unknown,
}

impl Outcome {
    /// Kleene's conjunction; `other` is not asked when this is false.
    pub(super) fn and(self, other: impl FnOnce() -> Self) -> Self {
        match self {
            Self::False => Self::False,
            Self::True => other(),
            Self::Unknown if other() == Self::False => Self::False,
            Self::Unknown => Self::Unknown,
        }
    }
}

impl From<bool> for Outcome {
    fn from(value: bool) -> Self {
        if value { Self::True } else { Self::False }
    }
}

/// `{operator: {key: value or values}}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Conditions(BTreeMap<String, BTreeMap<String, OneOrMany<Scalar>>>);

/// IAM takes booleans and numbers for the strings they are written as.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
enum Scalar {
    Text(String),
    Boolean(bool),
    Number(serde_json::Number),
}

impl Scalar {
    fn to_text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Boolean(boolean) => boolean.to_string(),
            Self::Number(number) => number.to_string(),
        }
    }
}

impl Conditions {
    /// Whether all conditions hold.
    pub(super) fn hold(&self, context: &Context) -> Outcome {
        let conditions = self.0.iter().flat_map(|(operator, keys)| keys.iter().map(move |key| (operator, key)));
        conditions.fold(Outcome::True, |outcome, (operator, (key, values))| outcome.and(|| holds(operator, key, values, context)))
    }
}

/// Whether one condition holds: any of the values for an operator, none of them for its negation.
fn holds(operator: &str, key: &str, values: &OneOrMany<Scalar>, context: &Context) -> Outcome {
    let values: Vec<String> = match values {
        OneOrMany::One(value) => vec![value.to_text()],
        OneOrMany::Many(values) => values.iter().map(Scalar::to_text).collect(),
    };
    if values.iter().any(|value| value.contains("${")) {
        return Outcome::Unknown;
    }
    let found = context.get(key);
    if operator == "Null" {
        return Outcome::from(values.iter().any(|value| value == if found.is_none() { "true" } else { "false" }));
    }

    let (operator, if_exists) = match operator.strip_suffix("IfExists") {
        Some(operator) => (operator, true),
        None => (operator, false),
    };
    let (matches, is_negated): (fn(&str, &str) -> bool, bool) = match operator {
        "StringEquals" => (|value, found| value == found, false),
        "StringNotEquals" => (|value, found| value == found, true),
        "StringEqualsIgnoreCase" | "Bool" => (str::eq_ignore_ascii_case, false),
        "StringNotEqualsIgnoreCase" => (str::eq_ignore_ascii_case, true),
        "StringLike" => (wildcard::matches, false),
        "StringNotLike" => (wildcard::matches, true),
        // "ArnEquals and ArnLike behave identically."
        "ArnEquals" | "ArnLike" => (wildcard::matches_arn, false),
        "ArnNotEquals" | "ArnNotLike" => (wildcard::matches_arn, true),
        _ => return Outcome::Unknown,
    };
    match found {
        Some(found) => Outcome::from(values.iter().any(|value| matches(value, found)) != is_negated),
        // An absent key matches no value, which is what a negated operator asks for.
        None => Outcome::from(is_negated || if_exists),
    }
}
