//! IAM policies: which actions on which resources an identity may take, and whom a resource lets in.
//!
//! Parses policy documents and evaluates them as the IAM User Guide describes
//! (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html>): an explicit deny wins, else an allow counts, else
//! the request is denied. What is not understood is refused when the document is parsed. What is not known when it is evaluated fails closed: a policy
//! variable without a value keeps an `Allow` from granting, and a `Deny` from being escaped.

mod condition;
mod operator;
mod pattern;
mod principal;

use serde::Deserialize;
use serde_json::Value;

use self::condition::{Conditions, ConditionsDocument, Outcome};
use self::pattern::{ArnPattern, Pattern, Syntax};
use self::principal::{Nearness, Principals};
use crate::error::ServiceError;

pub use self::condition::Context;
pub use self::principal::Requester;

/// The one version whose texts have variables.
const VERSION_WITH_VARIABLES: &str = "2012-10-17";
const VERSION_BEFORE: &str = "2008-10-17";

/// A parsed policy: identity-based, or resource-based with its principals.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    statements: Vec<Statement>,
}

#[derive(Clone, Debug, PartialEq)]
struct Statement {
    effect: Effect,
    /// Of a resource-based policy.
    principals: Option<Principals>,
    actions: Selection<Pattern>,
    /// A role's trust policy has none: the role is the resource.
    resources: Option<Selection<ArnPattern>>,
    conditions: Conditions,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
enum Effect {
    Allow,
    Deny,
}

/// What a pair of elements such as `Action` and `NotAction` selects.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Selection<P> {
    AnyOf(Vec<P>),
    NoneOf(Vec<P>),
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

/// What a resource's policy says about one requester.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It means the requester itself: in the same account that is enough.
    Named,
    /// It lets the requester's account in: the requester's own policies decide.
    Account,
    /// A statement denies it.
    ExplicitDeny,
    /// No statement speaks of it.
    ImplicitDeny,
}

/// The kind of policy that turned a request away, by the name that AWS's sentences have for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyKind {
    /// Attached to the user, its groups or the role.
    Identity,
    /// Handed in when the session began.
    Session,
    /// A bound on what the identity's own policies can grant.
    Boundary,
    /// The resource's own.
    Resource,
    /// The role's.
    RoleTrust,
}

/// Why a document is no policy. Where AWS's words are known the text begins with them.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// No JSON at all.
    #[error("This policy contains invalid Json")]
    Json,
    /// An unknown or missing element, or a value of the wrong type.
    #[error("Syntax errors in policy. ({0})")]
    Syntax(#[from] serde_json::Error),
    /// A version that IAM does not know.
    #[error("Syntax errors in policy. (the version `{0}` is neither 2012-10-17 nor 2008-10-17)")]
    Version(String),
    /// Neither of a pair such as `Action` and `NotAction`.
    #[error("Policy statement must contain {0}.")]
    Missing(&'static str),
    /// Both of such a pair.
    #[error("Syntax errors in policy. (a statement has both {0} and Not{0})")]
    BothOf(&'static str),
    /// An action without its service.
    #[error("Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc. (`{0}` is neither `*` nor service:Action)")]
    Action(String),
    /// A resource that is no ARN.
    #[error("Resource {0} must be in ARN format or \"*\".")]
    Resource(String),
    /// An operator that IAM does not know.
    #[error("Invalid Condition type : {0}.")]
    Operator(String),
    /// A value that its operator cannot read.
    #[error("Syntax errors in policy. (`{value}` is no value for {operator})")]
    Value {
        /// The operator.
        operator: String,
        /// The value.
        value: String,
    },
    /// An identity-based policy with principals.
    #[error("Policy document should not specify a principal.")]
    PrincipalGiven,
    /// A resource-based policy without.
    #[error("Missing required field Principal")]
    PrincipalMissing,
    /// A principal in no form that IAM knows.
    #[error("Invalid principal in policy: \"{kind}\":\"{name}\"")]
    Principal {
        /// `AWS`, `Service` or `Federated`.
        kind: String,
        /// What stands there.
        name: String,
    },
    /// A trust policy with resources.
    #[error("Has prohibited field Resource")]
    ResourceGiven,
    /// A trust policy about something else.
    #[error("AssumeRole policy may only specify STS AssumeRole actions.")]
    TrustAction,
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
    principal: Option<Value>,
    not_principal: Option<Value>,
    action: Option<OneOrMany<String>>,
    not_action: Option<OneOrMany<String>>,
    resource: Option<OneOrMany<String>>,
    not_resource: Option<OneOrMany<String>>,
    #[serde(default)]
    condition: ConditionsDocument,
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

/// What a document is to be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Identity,
    Resource,
    Trust,
}

impl Policy {
    /// Parses an identity-based policy: without principals.
    ///
    /// # Errors
    ///
    /// [`PolicyError`], whose text suits a `MalformedPolicyDocument` answer.
    pub fn parse(json: &str) -> Result<Self, PolicyError> {
        Self::of_form(json, Form::Identity)
    }

    /// Parses a resource-based policy, such as a function's: with principals.
    ///
    /// # Errors
    ///
    /// [`PolicyError`].
    pub fn parse_resource_based(json: &str) -> Result<Self, PolicyError> {
        Self::of_form(json, Form::Resource)
    }

    /// Parses a role's trust policy: with principals, without resources, about the actions of STS.
    ///
    /// # Errors
    ///
    /// [`PolicyError`].
    pub fn parse_trust(json: &str) -> Result<Self, PolicyError> {
        Self::of_form(json, Form::Trust)
    }

    fn of_form(json: &str, form: Form) -> Result<Self, PolicyError> {
        let document: Value = serde_json::from_str(json).map_err(|_| PolicyError::Json)?;
        let document: Document = serde_json::from_value(document)?;
        let variables = match document.version.as_deref() {
            Some(VERSION_WITH_VARIABLES) => true,
            Some(VERSION_BEFORE) | None => false,
            Some(other) => return Err(PolicyError::Version(other.to_owned())),
        };
        let statements = match document.statement {
            Value::Array(statements) => statements,
            statement => vec![statement],
        };
        let statements = statements.into_iter().map(|statement| Statement::check(serde_json::from_value(statement)?, form, variables));
        Ok(Self { statements: statements.collect::<Result<_, _>>()? })
    }
}

impl Statement {
    fn check(document: StatementDocument, form: Form, variables: bool) -> Result<Self, PolicyError> {
        let StatementDocument { _sid, effect, principal, not_principal, action, not_action, resource, not_resource, condition } = document;
        let principals = match form {
            Form::Identity if principal.is_some() || not_principal.is_some() => return Err(PolicyError::PrincipalGiven),
            Form::Identity => None,
            Form::Resource | Form::Trust => Some(Principals::check(principal, not_principal)?),
        };
        let actions = Selection::of(action, not_action, "Action", "actions")?;
        if let Some(action) = actions.items().iter().find(|action| *action != "*" && !action.contains(':')) {
            return Err(PolicyError::Action(action.clone()));
        }
        if form == Form::Trust && actions.items().iter().any(|action| !action.to_ascii_lowercase().starts_with("sts:")) {
            return Err(PolicyError::TrustAction);
        }
        // Actions have no case and no variables.
        let syntax = Syntax { wildcards: true, variables: false };
        let actions = actions.map(|action| Pattern::parse(&action.to_ascii_lowercase(), syntax));
        let resources = match form {
            Form::Trust if resource.is_some() || not_resource.is_some() => return Err(PolicyError::ResourceGiven),
            Form::Trust => None,
            Form::Identity | Form::Resource => Some(Selection::of(resource, not_resource, "Resource", "resources")?),
        };
        let read = |resource: &String| ArnPattern::parse(resource, variables);
        if let Some(resource) = resources.iter().flat_map(Selection::items).find(|resource| !read(resource).is_whole()) {
            return Err(PolicyError::Resource(resource.clone()));
        }
        let resources = resources.map(|resources| resources.map(|resource| read(&resource)));
        Ok(Self { effect, principals, actions, resources, conditions: Conditions::check(condition, variables)? })
    }

    /// Whether the statement speaks of the request, its principals left aside. `action` is in lower case.
    fn applies(&self, action: &str, resource: &str, context: &Context) -> Outcome {
        let resources = || match &self.resources {
            Some(resources) => resources.selects(|pattern| pattern.matches(resource, context)),
            None => Outcome::True,
        };
        self.actions.selects(|pattern| pattern.matches(action, context)).and(resources).and(|| self.conditions.hold(context))
    }
}

impl<P> Selection<P> {
    fn items(&self) -> &[P] {
        match self {
            Self::AnyOf(items) | Self::NoneOf(items) => items,
        }
    }

    fn map<Q>(self, read: impl Fn(P) -> Q) -> Selection<Q> {
        match self {
            Self::AnyOf(items) => Selection::AnyOf(items.into_iter().map(read).collect()),
            Self::NoneOf(items) => Selection::NoneOf(items.into_iter().map(read).collect()),
        }
    }

    fn selects(&self, matches: impl Fn(&P) -> Option<bool>) -> Outcome {
        let is_one_of = Outcome::any(self.items().iter().map(|item| matches(item).map_or(Outcome::Unknown, Outcome::from)));
        match self {
            Self::AnyOf(_) => is_one_of,
            Self::NoneOf(_) => is_one_of.not(),
        }
    }
}

impl Selection<String> {
    fn of(
        any: Option<OneOrMany<String>>,
        none: Option<OneOrMany<String>>,
        element: &'static str,
        items: &'static str,
    ) -> Result<Self, PolicyError> {
        match (any, none) {
            (Some(any), None) => Ok(Self::AnyOf(any.into_vec())),
            (None, Some(none)) => Ok(Self::NoneOf(none.into_vec())),
            (Some(_), Some(_)) => Err(PolicyError::BothOf(element)),
            (None, None) => Err(PolicyError::Missing(items)),
        }
    }
}

/// What identity-based `policies` together say about `action` (`service:Action`, in any case) on `resource` (an ARN, or `*` where the action has none).
///
/// `context` holds the request's condition keys.
pub fn evaluate<'p>(policies: impl IntoIterator<Item = &'p Policy>, action: &str, resource: &str, context: &Context) -> Decision {
    let action = action.to_ascii_lowercase();
    let mut decision = Decision::ImplicitDeny;
    for statement in policies.into_iter().flat_map(|policy| &policy.statements) {
        match (statement.effect, statement.applies(&action, resource, context)) {
            // What might be denied, is.
            (Effect::Deny, Outcome::True | Outcome::Unknown) => return Decision::ExplicitDeny,
            (Effect::Allow, Outcome::True) => decision = Decision::Allowed,
            (Effect::Deny, Outcome::False) | (Effect::Allow, Outcome::False | Outcome::Unknown) => {}
        }
    }
    decision
}

/// What a resource's own policy says about `requester` doing `action` to `resource`.
pub fn admit(policy: &Policy, requester: Requester<'_>, action: &str, resource: &str, context: &Context) -> Admission {
    let action = action.to_ascii_lowercase();
    let mut admission = Admission::ImplicitDeny;
    for statement in &policy.statements {
        let nearness = statement.principals.as_ref().map_or(Nearness::Not, |principals| principals.nearness(requester));
        if nearness == Nearness::Not {
            continue;
        }
        match (statement.effect, statement.applies(&action, resource, context)) {
            (Effect::Deny, Outcome::True | Outcome::Unknown) => return Admission::ExplicitDeny,
            (Effect::Allow, Outcome::True) if nearness == Nearness::Named => admission = Admission::Named,
            (Effect::Allow, Outcome::True) if admission == Admission::ImplicitDeny => admission = Admission::Account,
            _ => {}
        }
    }
    admission
}

impl PolicyKind {
    /// With its article, and as it stands behind "no".
    fn words(self) -> (&'static str, &'static str) {
        match self {
            PolicyKind::Identity => ("an identity-based policy", "identity-based policy"),
            PolicyKind::Session => ("a session policy", "session policy"),
            PolicyKind::Boundary => ("a permissions boundary", "permissions boundary"),
            PolicyKind::Resource => ("a resource-based policy", "resource-based policy"),
            PolicyKind::RoleTrust => ("the role trust policy", "role trust policy"),
        }
    }
}

impl Decision {
    /// `Ok` when allowed, else the error that names who may not do what, in AWS's words
    /// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html>).
    ///
    /// `kind` is that of the policies that decided, `principal` the caller's ARN.
    ///
    /// # Errors
    ///
    /// `AccessDeniedException`, 403.
    pub fn require(self, kind: PolicyKind, principal: &str, action: &str, resource: &str) -> Result<(), ServiceError> {
        let (denying, allowing) = kind.words();
        let reason = match self {
            Self::Allowed => return Ok(()),
            Self::ExplicitDeny => format!("with an explicit deny in {denying}"),
            Self::ImplicitDeny => format!("because no {allowing} allows the {action} action"),
        };
        Err(ServiceError::access_denied(format!(
            "User: {principal} is not authorized to perform: {action} on resource: {resource} {reason}"
        )))
    }
}

#[cfg(test)]
mod tests;
