//! Whom a resource-based policy speaks of: its `Principal` element
//! (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html>).

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::{OneOrMany, PolicyError};

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub enum Requester<'a> {
    /// A service of AWS's, such as `lambda.amazonaws.com`.
    Service(&'a str),
    /// A user, a role's session or an account's root.
    Aws {
        /// Twelve digits.
        account: &'a str,
        /// The names by which a policy may mean it: its ARN; of a role's session its own and the role's.
        arns: &'a [&'a str],
    },
}

/// How closely a policy means somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Nearness {
    /// Not at all.
    Not,
    /// As one of an account, whose own policies then decide.
    Account,
    /// By name, or because it means everybody.
    Named,
}

/// The principals of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Principals {
    AnyOf(Vec<Principal>),
    NoneOf(Vec<Principal>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Principal {
    Anyone,
    Account(String),
    Arn(String),
    Service(String),
    /// Somebody whom nobody here can be: an identity provider, an S3 user.
    Foreign,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Document {
    Everybody(String),
    Kinds(BTreeMap<String, OneOrMany<String>>),
}

impl Principals {
    pub(super) fn check(any: Option<Value>, none: Option<Value>) -> Result<Principals, PolicyError> {
        match (any, none) {
            (Some(any), None) => Ok(Principals::AnyOf(read(any)?)),
            (None, Some(none)) => Ok(Principals::NoneOf(read(none)?)),
            (None, None) => Err(PolicyError::PrincipalMissing),
            (Some(_), Some(_)) => Err(PolicyError::BothOf("Principal")),
        }
    }

    pub(super) fn nearness(&self, requester: Requester<'_>) -> Nearness {
        let nearest =
            |principals: &[Principal]| principals.iter().map(|principal| principal.nearness(requester)).max().unwrap_or(Nearness::Not);
        match self {
            Principals::AnyOf(principals) => nearest(principals),
            Principals::NoneOf(principals) if nearest(principals) == Nearness::Not => Nearness::Named,
            Principals::NoneOf(_) => Nearness::Not,
        }
    }
}

impl Principal {
    fn nearness(&self, requester: Requester<'_>) -> Nearness {
        match (self, requester) {
            (Principal::Anyone, _) => Nearness::Named,
            (Principal::Service(service), Requester::Service(asking)) if service == asking => Nearness::Named,
            (Principal::Arn(arn), Requester::Aws { arns, .. }) if arns.contains(&arn.as_str()) => Nearness::Named,
            (Principal::Account(meant), Requester::Aws { account, .. }) if meant == account => Nearness::Account,
            _ => Nearness::Not,
        }
    }
}

fn read(document: Value) -> Result<Vec<Principal>, PolicyError> {
    match serde_json::from_value(document)? {
        Document::Everybody(star) if star == "*" => Ok(vec![Principal::Anyone]),
        Document::Everybody(other) => Err(PolicyError::Principal { kind: "AWS".to_owned(), name: other }),
        Document::Kinds(kinds) => {
            let each = kinds.into_iter().flat_map(|(kind, names)| names.into_vec().into_iter().map(move |name| (kind.clone(), name)));
            each.map(|(kind, name)| principal(kind, name)).collect()
        }
    }
}

fn principal(kind: String, name: String) -> Result<Principal, PolicyError> {
    let is_account = |text: &str| text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit());
    match kind.as_str() {
        "AWS" if name == "*" => Ok(Principal::Anyone),
        "AWS" if is_account(&name) => Ok(Principal::Account(name)),
        "AWS" => {
            let parts: Vec<&str> = name.splitn(6, ':').collect();
            match parts.as_slice() {
                ["arn", _, "iam", "", account, "root"] if is_account(account) => Ok(Principal::Account((*account).to_owned())),
                // A pattern is none of a principal's forms.
                ["arn", _, "iam" | "sts", "", account, resource] if is_account(account) && !resource.contains(['*', '?']) => {
                    Ok(Principal::Arn(name))
                }
                _ => Err(PolicyError::Principal { kind, name }),
            }
        }
        "Service" if name.contains('.') => Ok(Principal::Service(name)),
        "Federated" | "CanonicalUser" => Ok(Principal::Foreign),
        _ => Err(PolicyError::Principal { kind, name }),
    }
}
