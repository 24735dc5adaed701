//! Who can call: principals with their access keys and policies.

use std::collections::HashMap;

use frontdesk_aws::policy::{self, Context, Decision, Policy, PolicyKind};
use frontdesk_aws::{AccessKeyId, Credentials, ServiceError};

/// Someone who signs requests.
#[derive(Debug, Clone)]
pub struct Principal {
    /// Its ARN, as AWS names it in messages.
    pub arn: String,
    /// Its access key.
    pub credentials: Credentials,
    /// What it may do; the account's root may do everything and has none.
    pub policies: Vec<Policy>,
    /// Whether this is the account's root.
    pub is_root: bool,
}

impl Principal {
    /// Whether this principal may perform an action on a resource known by several names (a runtime, and the endpoint it is called through): a policy
    /// that allows either name allows the call, and one that denies either denies it.
    ///
    /// # Errors
    /// AccessDeniedException in AWS's words, naming the first of the resources.
    pub(crate) fn authorize(&self, action: &str, resources: &[&str]) -> Result<(), ServiceError> {
        if self.is_root {
            return Ok(());
        }
        let context = Context::default();
        let decisions: Vec<Decision> =
            resources.iter().map(|resource| policy::evaluate(&self.policies, action, resource, &context)).collect();
        let strongest = [Decision::ExplicitDeny, Decision::Allowed].into_iter().find(|decision| decisions.contains(decision));
        let named = resources.first().copied().unwrap_or("*");
        strongest.unwrap_or(Decision::ImplicitDeny).require(PolicyKind::Identity, &self.arn, action, named)
    }
}

/// All principals, by access key id.
#[derive(Debug, Default)]
pub struct Identities {
    by_access_key: HashMap<AccessKeyId, Principal>,
}

impl Identities {
    /// These principals.
    pub fn new(principals: impl IntoIterator<Item = Principal>) -> Identities {
        let keyed = principals.into_iter().map(|principal| (principal.credentials.access_key_id.clone(), principal));
        Identities { by_access_key: keyed.collect() }
    }

    pub(crate) fn find(&self, id: &AccessKeyId) -> Option<&Principal> {
        self.by_access_key.get(id)
    }
}
