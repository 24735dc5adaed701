//! Conditions: operators over the keys of a request's context, all of which must hold.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;

use super::operator::{Operator, Quantifier, Test, Wanted};
use super::{OneOrMany, PolicyError};

/// The condition keys of one request, such as `aws:SourceAccount`. Keys have no case, and some have several values.
///
/// A list and not a map: it is made for every request, of a dozen keys, and most policies ask for none of them.
#[derive(Clone, Debug, Default)]
pub struct Context(Vec<(Cow<'static, str>, Values)>);

/// Room for what most requests have.
const USUAL_KEYS: usize = 12;

#[derive(Clone, Debug)]
enum Values {
    One(String),
    Several(Vec<String>),
}

impl Values {
    fn as_slice(&self) -> &[String] {
        match self {
            Values::One(value) => std::slice::from_ref(value),
            Values::Several(values) => values,
        }
    }
}

impl Context {
    /// A request about which nothing is known.
    pub fn new() -> Self {
        Context(Vec::with_capacity(USUAL_KEYS))
    }

    /// The same, with one key more or replaced.
    #[must_use]
    pub fn with(self, key: impl Into<Cow<'static, str>>, value: impl Into<String>) -> Self {
        self.put(key.into(), Values::One(value.into()))
    }

    /// The same, with one key of several values more or replaced.
    #[must_use]
    pub fn with_all(self, key: impl Into<Cow<'static, str>>, values: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.put(key.into(), Values::Several(values.into_iter().map(Into::into).collect()))
    }

    fn put(mut self, key: Cow<'static, str>, values: Values) -> Self {
        match self.0.iter_mut().find(|(known, _)| known.eq_ignore_ascii_case(&key)) {
            Some((_, known)) => *known = values,
            None => self.0.push((key, values)),
        }
        self
    }

    /// The same, with another's keys besides, which replace those of the same name.
    #[must_use]
    pub fn and(self, other: &Context) -> Self {
        other.0.iter().fold(self, |context, (key, values)| context.put(key.clone(), values.clone()))
    }

    pub(super) fn get(&self, key: &str) -> Option<&[String]> {
        self.0.iter().find(|(known, _)| known.eq_ignore_ascii_case(key)).map(|(_, values)| values.as_slice())
    }

    pub(super) fn in_lower_case(&self) -> Context {
        let lower = |values: &Values| Values::Several(values.as_slice().iter().map(|value| value.to_lowercase()).collect());
        Context(self.0.iter().map(|(key, values)| (key.clone(), lower(values))).collect())
    }
}

/// Three-valued, because what is not known must neither grant nor exempt.
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

    /// Kleene's negation.
    pub(super) fn not(self) -> Self {
        match self {
            Self::True => Self::False,
            Self::False => Self::True,
            Self::Unknown => Self::Unknown,
        }
    }

    /// Whether any holds.
    pub(super) fn any(outcomes: impl IntoIterator<Item = Self>) -> Self {
        outcomes.into_iter().fold(Self::False, |any, outcome| any.not().and(|| outcome.not()).not())
    }

    /// Whether all hold.
    pub(super) fn all(outcomes: impl IntoIterator<Item = Self>) -> Self {
        outcomes.into_iter().fold(Self::True, |all, outcome| all.and(|| outcome))
    }
}

impl From<bool> for Outcome {
    fn from(value: bool) -> Self {
        if value { Self::True } else { Self::False }
    }
}

/// As they are written: `{operator: {key: value or values}}`.
pub(super) type ConditionsDocument = BTreeMap<String, BTreeMap<String, OneOrMany<Scalar>>>;

/// IAM takes booleans and numbers for the strings they are written as.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(super) enum Scalar {
    Text(String),
    Boolean(bool),
    Number(serde_json::Number),
}

impl Scalar {
    fn into_text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Boolean(boolean) => boolean.to_string(),
            Self::Number(number) => number.to_string(),
        }
    }
}

/// The conditions of a statement.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Conditions(Vec<Condition>);

#[derive(Clone, Debug, PartialEq)]
struct Condition {
    operator: Operator,
    key: String,
    wanted: Vec<Wanted>,
}

impl Conditions {
    /// Reads conditions; `variables` says whether the policy's version knows them.
    pub(super) fn check(document: ConditionsDocument, variables: bool) -> Result<Conditions, PolicyError> {
        let mut conditions = Vec::new();
        for (name, keys) in document {
            let operator = Operator::parse(&name).ok_or_else(|| PolicyError::Operator(name.clone()))?;
            for (key, values) in keys {
                let read = |value: Scalar| {
                    let value = value.into_text();
                    operator.wanted(&value, variables).ok_or_else(|| PolicyError::Value { operator: name.clone(), value })
                };
                let wanted = values.into_vec().into_iter().map(read).collect::<Result<_, _>>()?;
                conditions.push(Condition { operator, key: key.to_ascii_lowercase(), wanted });
            }
        }
        Ok(Conditions(conditions))
    }

    /// Whether all conditions hold.
    pub(super) fn hold(&self, context: &Context) -> Outcome {
        Outcome::all(self.0.iter().map(|condition| condition.holds(context)))
    }
}

impl Condition {
    fn holds(&self, context: &Context) -> Outcome {
        let Condition { operator, key, wanted } = self;
        let found = context.get(key).filter(|found| !found.is_empty());
        if operator.test == Test::Null {
            return Outcome::from(wanted.contains(&Wanted::Bool(found.is_none())));
        }
        let Some(found) = found else {
            // An absent key matches no value, which is what a negated operator asks for, and all of its no values are whatever they should be.
            return Outcome::from(match operator.quantifier {
                Some(Quantifier::All) => true,
                Some(Quantifier::Any) => operator.if_exists,
                None => operator.is_negated || operator.if_exists,
            });
        };
        let is_wanted = |value: &String| Outcome::any(wanted.iter().map(|wanted| operator.matches(wanted, value, context)));
        // `a is none of the wanted`, for the quantifiers value by value.
        let is_right = |value: &String| if operator.is_negated { is_wanted(value).not() } else { is_wanted(value) };
        match operator.quantifier {
            Some(Quantifier::Any) => Outcome::any(found.iter().map(is_right)),
            Some(Quantifier::All) => Outcome::all(found.iter().map(is_right)),
            None if operator.is_negated => Outcome::any(found.iter().map(is_wanted)).not(),
            None => Outcome::any(found.iter().map(is_wanted)),
        }
    }
}
