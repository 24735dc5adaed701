//! Who calls and what they may: the account's users, groups, roles and policies, its access keys, and the temporary credentials of its roles.
//!
//! The whole account is one table in memory ([`directory`]), replaced as a whole by a change that has been written first; a request reads it without waiting.
//! Temporary credentials are kept nowhere: their session token, sealed with the host's key, says whose they are and until when ([`session`]).

mod assume;
mod aws_managed;
mod directory;
mod error;
mod service;
mod session;

use std::sync::Arc;

use frontdesk_aws::policy::{self, Context, Decision, Policy, PolicyKind};
use frontdesk_aws::{Credentials, ServiceError};

pub(crate) use assume::AssumeRole;
pub(crate) use directory::{AccessKeyEntry, Directory, IdentityEntry, PolicyEntry};
pub(crate) use error::IamError;
pub use service::{BuiltInRole, IdentityService, IdentityServiceError};

/// Temporary credentials and whose they are.
#[derive(Debug, Clone)]
pub struct TemporaryCredentials {
    /// With a session token.
    pub credentials: Credentials,
    /// Unix seconds.
    pub expires_at: i64,
    /// The ARN of the role's session, or of the user.
    pub arn: String,
    /// The role's id and the session's name, or the user's id.
    pub user_id: String,
}

/// Someone who signs requests, at one request: what it may hangs on that request's region, source and moment.
#[derive(Debug, Clone)]
pub struct Principal {
    arn: String,
    user_id: String,
    kind: PrincipalKind,
    /// The account's root has none: it may do everything.
    grants: Option<Grants>,
    /// The condition keys of this request.
    context: Context,
}

/// What a principal is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PrincipalKind {
    /// The account itself.
    Root,
    /// A user, by its name. `is_temporary` for credentials of GetSessionToken.
    User { name: String, is_temporary: bool },
    /// A session of the role with this ARN.
    Role { arn: String },
}

/// The policies that decide. All kinds that are there must allow.
#[derive(Debug, Clone, Default)]
pub(crate) struct Grants {
    pub(crate) identity: Vec<Arc<Policy>>,
    pub(crate) boundary: Option<Vec<Arc<Policy>>>,
    pub(crate) session: Option<Vec<Arc<Policy>>>,
}

impl Principal {
    /// Its ARN, as AWS names it in messages.
    #[must_use]
    pub fn arn(&self) -> &str {
        &self.arn
    }

    /// Its unique id, with the session's name behind a role's.
    pub(crate) fn user_id(&self) -> &str {
        &self.user_id
    }

    pub(crate) fn kind(&self) -> &PrincipalKind {
        &self.kind
    }

    pub(crate) fn context(&self) -> &Context {
        &self.context
    }

    /// Whether this principal may perform an action on a resource known by several names (a runtime, and the endpoint it is called through): a policy
    /// that allows either name allows the call, and one that denies either denies it.
    ///
    /// # Errors
    /// AccessDeniedException in AWS's words, naming the first of the resources.
    pub fn authorize(&self, action: &str, resources: &[&str]) -> Result<(), ServiceError> {
        self.judge(action, resources, &self.context)
    }

    /// The same, with condition keys that the operation knows, such as `iam:PassedToService`.
    ///
    /// # Errors
    /// AccessDeniedException.
    pub fn authorize_with(&self, action: &str, resources: &[&str], keys: &Context) -> Result<(), ServiceError> {
        self.judge(action, resources, &self.context.clone().and(keys))
    }

    /// What its policies say of one resource.
    pub(crate) fn decide(&self, action: &str, resource: &str, keys: &Context) -> (PolicyKind, Decision) {
        match &self.grants {
            None => (PolicyKind::Identity, Decision::Allowed),
            Some(grants) => grants.decide(action, &[resource], &self.context.clone().and(keys)),
        }
    }

    fn judge(&self, action: &str, resources: &[&str], context: &Context) -> Result<(), ServiceError> {
        let Some(grants) = &self.grants else { return Ok(()) };
        let (kind, decision) = grants.decide(action, resources, context);
        decision.require(kind, &self.arn, action, resources.first().copied().unwrap_or("*"))
    }
}

impl Grants {
    /// What the policies say, and the kind of those that had the last word.
    pub(crate) fn decide(&self, action: &str, resources: &[&str], context: &Context) -> (PolicyKind, Decision) {
        let of = |policies: &[Arc<Policy>]| {
            let decisions: Vec<Decision> = resources
                .iter()
                .map(|resource| policy::evaluate(policies.iter().map(|policy| &**policy), action, resource, context))
                .collect();
            let strongest = [Decision::ExplicitDeny, Decision::Allowed].into_iter().find(|decision| decisions.contains(decision));
            strongest.unwrap_or(Decision::ImplicitDeny)
        };
        let mut decisions = vec![(PolicyKind::Identity, of(&self.identity))];
        decisions.extend(self.boundary.iter().map(|policies| (PolicyKind::Boundary, of(policies))));
        decisions.extend(self.session.iter().map(|policies| (PolicyKind::Session, of(policies))));
        // A deny anywhere outweighs; else the first kind that does not allow is the reason.
        let denied = decisions.iter().find(|(_, decision)| *decision == Decision::ExplicitDeny);
        let denied = denied.or_else(|| decisions.iter().find(|(_, decision)| *decision == Decision::ImplicitDeny));
        denied.copied().unwrap_or((PolicyKind::Identity, Decision::Allowed))
    }
}

#[cfg(test)]
mod tests;
