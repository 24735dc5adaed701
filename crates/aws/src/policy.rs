//! IAM policies: which actions on which resources an identity may take.
//!
//! Parses identity-based policy documents and evaluates them as the IAM User Guide describes
//! (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html>): an explicit deny wins, else an allow counts, else
//! the request is denied. What is not understood here fails closed: an `Allow` with an unknown condition operator or a policy variable grants
//! nothing, a `Deny` with one denies. Resource-based and trust policies, with their `Principal`, are refused.

mod condition;
mod wildcard;

use serde::Deserialize;
use serde_json::Value;

use self::condition::{Conditions, Outcome};
use crate::error::ServiceError;

pub use self::condition::Context;

/// A parsed identity-based policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    statements: Vec<Statement>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Statement {
    effect: Effect,
    actions: Selection,
    resources: Selection,
    conditions: Conditions,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
enum Effect {
    Allow,
    Deny,
}

/// What a pair of elements such as `Action` and `NotAction` selects.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Selection {
    AnyOf(Vec<String>),
    NoneOf(Vec<String>),
}

/// What the policies say about one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// A statement allows it and none denies it.
    Allowed,
    /// A statement denies it, whatever others allow.
    ExplicitDeny,
    /// No statement speaks of it.
    ImplicitDeny,
}

/// Why a document is no identity-based policy.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// Not JSON, an unknown or missing element, or a value of the wrong type.
    #[error("policy document is malformed: {0}")]
    Syntax(#[from] serde_json::Error),
    /// A version that IAM does not know.
    #[error("policy version `{0}` is neither 2012-10-17 nor 2008-10-17")]
    Version(String),
    /// Both of a pair such as `Action` and `NotAction`, or neither.
    #[error("statement needs either `{0}` or `Not{0}`")]
    OneOf(&'static str),
    /// An action without its service.
    #[error("action `{0}` is neither `*` nor of the form service:Action")]
    Action(String),
    /// A resource that is no ARN.
    #[error("resource `{0}` is neither `*` nor an ARN of six parts")]
    Resource(String),
}

/// The document as it is written.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Document {
    version: Option<String>,
    #[serde(rename = "Id")]
    _id: Option<String>,
    // Not `OneOrMany<StatementDocument>`: serde's untagged enums forget which field was wrong.
    statement: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct StatementDocument {
    #[serde(rename = "Sid")]
    _sid: Option<String>,
    effect: Effect,
    action: Option<OneOrMany<String>>,
    not_action: Option<OneOrMany<String>>,
    resource: Option<OneOrMany<String>>,
    not_resource: Option<OneOrMany<String>>,
    #[serde(default)]
    condition: Conditions,
}

/// IAM writes a list of one as the one.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

impl<T> OneOrMany<T> {
    fn into_vec(self) -> Vec<T> {
        match self {
            Self::One(one) => vec![one],
            Self::Many(many) => many,
        }
    }
}

impl Policy {
    /// Parses a policy document.
    ///
    /// # Errors
    ///
    /// [`PolicyError`], whose text suits a `MalformedPolicyDocument` answer.
    pub fn parse(json: &str) -> Result<Self, PolicyError> {
        let document: Document = serde_json::from_str(json)?;
        if let Some(version) = document.version.filter(|version| !matches!(version.as_str(), "2012-10-17" | "2008-10-17")) {
            return Err(PolicyError::Version(version));
        }
        let statements = match document.statement {
            Value::Array(statements) => statements,
            statement => vec![statement],
        };
        let statements = statements.into_iter().map(|statement| Statement::check(serde_json::from_value(statement)?));
        Ok(Self { statements: statements.collect::<Result<_, _>>()? })
    }
}

impl Statement {
    fn check(document: StatementDocument) -> Result<Self, PolicyError> {
        let actions = Selection::of(document.action, document.not_action, "Action")?;
        let resources = Selection::of(document.resource, document.not_resource, "Resource")?;
        if let Some(action) = actions.patterns().iter().find(|action| *action != "*" && !action.contains(':')) {
            return Err(PolicyError::Action(action.clone()));
        }
        let is_arn = |text: &str| text.splitn(6, ':').count() == 6;
        if let Some(resource) = resources.patterns().iter().find(|resource| *resource != "*" && !is_arn(resource)) {
            return Err(PolicyError::Resource(resource.clone()));
        }
        Ok(Self { effect: document.effect, actions, resources, conditions: document.condition })
    }

    /// Whether the statement speaks of the request.
    fn applies(&self, action: &str, resource: &str, context: &Context) -> Outcome {
        let action = action.to_ascii_lowercase();
        self.actions
            .selects(|pattern| wildcard::matches(&pattern.to_ascii_lowercase(), &action))
            .and(|| self.resources.selects(|pattern| wildcard::matches_arn(pattern, resource)))
            .and(|| self.conditions.hold(context))
    }
}

impl Selection {
    fn of(any: Option<OneOrMany<String>>, none: Option<OneOrMany<String>>, element: &'static str) -> Result<Self, PolicyError> {
        match (any, none) {
            (Some(any), None) => Ok(Self::AnyOf(any.into_vec())),
            (None, Some(none)) => Ok(Self::NoneOf(none.into_vec())),
            _ => Err(PolicyError::OneOf(element)),
        }
    }

    fn patterns(&self) -> &[String] {
        match self {
            Self::AnyOf(patterns) | Self::NoneOf(patterns) => patterns,
        }
    }

    fn selects(&self, matches: impl Fn(&str) -> bool) -> Outcome {
        let is_variable = |pattern: &String| pattern.contains("${");
        let is_matched = self.patterns().iter().filter(|pattern| !is_variable(pattern)).any(|pattern| matches(pattern));
        // A pattern with a variable might match as well, unless a plain one has settled the question.
        match (is_matched, self.patterns().iter().any(is_variable)) {
            (true, _) => Outcome::from(matches!(self, Self::AnyOf(_))),
            (false, true) => Outcome::Unknown,
            (false, false) => Outcome::from(matches!(self, Self::NoneOf(_))),
        }
    }
}

/// What `policies` together say about `action` (`service:Action`, in any case) on `resource` (an ARN, or `*` where the action has none).
///
/// `context` holds the request's condition keys.
pub fn evaluate<'p>(policies: impl IntoIterator<Item = &'p Policy>, action: &str, resource: &str, context: &Context) -> Decision {
    let mut decision = Decision::ImplicitDeny;
    for statement in policies.into_iter().flat_map(|policy| &policy.statements) {
        match (statement.effect, statement.applies(action, resource, context)) {
            // What might be denied, is.
            (Effect::Deny, Outcome::True | Outcome::Unknown) => return Decision::ExplicitDeny,
            (Effect::Allow, Outcome::True) => decision = Decision::Allowed,
            (Effect::Deny, Outcome::False) | (Effect::Allow, Outcome::False | Outcome::Unknown) => {}
        }
    }
    decision
}

impl Decision {
    /// `Ok` when allowed, else the error that names who may not do what, in AWS's words
    /// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html>).
    ///
    /// `principal` is the caller's ARN.
    ///
    /// # Errors
    ///
    /// `AccessDeniedException`, 403.
    pub fn require(self, principal: &str, action: &str, resource: &str) -> Result<(), ServiceError> {
        let reason = match self {
            Self::Allowed => return Ok(()),
            Self::ExplicitDeny => "with an explicit deny in an identity-based policy".to_owned(),
            Self::ImplicitDeny => format!("because no identity-based policy allows the {action} action"),
        };
        Err(ServiceError::access_denied(format!(
            "User: {principal} is not authorized to perform: {action} on resource: {resource} {reason}"
        )))
    }
}

#[cfg(test)]
mod tests;
