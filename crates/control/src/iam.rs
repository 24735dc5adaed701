//! IAM (service `iam`, query protocol): users, groups, roles, their policies and access keys, over the account's identities
//! (<https://docs.aws.amazon.com/IAM/latest/APIReference/API_Operations.html>).

mod access_keys;
mod attachments;
mod documents;
mod groups;
mod identities;
mod policies;
mod simulate;
mod tags;
mod validation;

use std::sync::Arc;

use frontdesk_aws::ServiceError;
use frontdesk_aws::policy::Context;
use frontdesk_store::IdentityKind;
use serde_json::{Value, json};

use crate::identity::{Directory, IdentityService, Principal, PrincipalKind};
use crate::operation::page_at;
use crate::query::{Parameters, Protocol};

pub(crate) const PROTOCOL: Protocol =
    Protocol { service: "iam", namespace: "https://iam.amazonaws.com/doc/2010-05-08/", failure: "ServiceFailure" };
/// IAM is one for all regions, and signed for this one.
pub(crate) const REGION: &str = "us-east-1";

/// A page of a list, unless its caller says otherwise, and at most.
const PAGE_ITEMS: usize = 100;
const PAGE_ITEMS_MAX: usize = 1000;

/// One operation of IAM.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Operation {
    pub(crate) id: Iam,
    /// Its name, which is also the IAM action's.
    pub(crate) name: &'static str,
    /// What it works on.
    on: On,
}

/// What an operation works on, which is the resource that a policy speaks of
/// (<https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsidentityandaccessmanagementiam.html>).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum On {
    User,
    Group,
    Role,
    Policy,
    Account,
}

/// Declares the operations once: the enumeration and the table that dispatch and the completeness test work from.
macro_rules! operations {
    ($($on:ident: $($name:ident)*;)*) => {
        /// The operations of IAM that are served.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Iam { $($($name,)*)* }

        /// The table that dispatch works from.
        pub(crate) const OPERATIONS: &[Operation] = &[
            $($(Operation { id: Iam::$name, name: stringify!($name), on: On::$on },)*)*
        ];
    };
}

operations! {
    Role: CreateRole GetRole ListRoles UpdateRole UpdateRoleDescription UpdateAssumeRolePolicy DeleteRole
        TagRole UntagRole ListRoleTags
        AttachRolePolicy DetachRolePolicy ListAttachedRolePolicies
        PutRolePolicy GetRolePolicy ListRolePolicies DeleteRolePolicy
        PutRolePermissionsBoundary DeleteRolePermissionsBoundary ListInstanceProfilesForRole;
    User: CreateUser GetUser ListUsers UpdateUser DeleteUser
        TagUser UntagUser ListUserTags
        AttachUserPolicy DetachUserPolicy ListAttachedUserPolicies
        PutUserPolicy GetUserPolicy ListUserPolicies DeleteUserPolicy
        PutUserPermissionsBoundary DeleteUserPermissionsBoundary
        ListGroupsForUser
        CreateAccessKey ListAccessKeys UpdateAccessKey DeleteAccessKey GetAccessKeyLastUsed;
    Group: CreateGroup GetGroup ListGroups UpdateGroup DeleteGroup
        AddUserToGroup RemoveUserFromGroup
        AttachGroupPolicy DetachGroupPolicy ListAttachedGroupPolicies
        PutGroupPolicy GetGroupPolicy ListGroupPolicies DeleteGroupPolicy;
    Policy: CreatePolicy GetPolicy ListPolicies DeletePolicy
        CreatePolicyVersion GetPolicyVersion ListPolicyVersions SetDefaultPolicyVersion DeletePolicyVersion
        ListEntitiesForPolicy TagPolicy UntagPolicy ListPolicyTags;
    Account: SimulatePrincipalPolicy SimulateCustomPolicy ListAccountAliases;
}

/// A call, verified.
pub(crate) struct Call {
    pub(crate) operation: &'static Operation,
    pub(crate) parameters: Parameters,
    pub(crate) principal: Principal,
    pub(crate) now_unix: i64,
}

impl Call {
    fn required(&self, name: &str) -> Result<&str, ServiceError> {
        self.parameters.required(name)
    }

    /// The user that a call names, or the caller.
    fn user_name(&self) -> Result<&str, ServiceError> {
        match (self.parameters.get("UserName"), self.principal.kind()) {
            (Some(name), _) => Ok(name),
            (None, PrincipalKind::User { name, .. }) => Ok(name),
            (None, _) => Err(ServiceError::validation("Must specify userName when calling with non-User credentials")),
        }
    }

    /// The page of a list that the call asks for.
    fn page<T>(&self, member: &str, items: Vec<T>, document: impl Fn(T) -> Value) -> Result<Value, ServiceError> {
        let begin: usize = match self.parameters.get("Marker") {
            None => 0,
            Some(marker) => marker.parse().map_err(|_| ServiceError::validation("Invalid Marker."))?,
        };
        let limit = match self.parameters.number("MaxItems")?.map(|limit| limit as usize) {
            None => PAGE_ITEMS,
            Some(limit @ 1..=PAGE_ITEMS_MAX) => limit,
            Some(limit) => {
                let message = format!("MaxItems is {limit}; it must be between 1 and {PAGE_ITEMS_MAX}");
                return Err(ServiceError::validation(message));
            }
        };
        let (page, marker) = page_at(items, begin, limit);
        let page: Vec<Value> = page.into_iter().map(document).collect();
        Ok(json!({ member: page, "IsTruncated": marker.is_some(), "Marker": marker }))
    }

    /// Whether a path is below the one that the call asks for.
    fn has_path(&self, path: &str) -> bool {
        self.parameters.get("PathPrefix").is_none_or(|prefix| path.starts_with(prefix))
    }
}

/// Checks that the caller may.
///
/// # Errors
/// AccessDeniedException; UnrecognizedClientException for credentials of GetSessionToken, which IAM does not take.
fn authorize(call: &Call, directory: &Directory) -> Result<(), ServiceError> {
    let Call { operation, parameters, principal, .. } = call;
    if matches!(principal.kind(), PrincipalKind::User { is_temporary: true, .. }) {
        return Err(frontdesk_aws::sigv4::VerifyError::UnrecognizedClient.into());
    }
    let account = directory.account();
    let path = parameters.get("Path").unwrap_or("/");
    let identity = |kind: IdentityKind, name: Option<&str>| {
        let known = name.and_then(|name| directory.identity(kind, name).ok()).map(|entry| entry.arn.clone());
        known.unwrap_or_else(|| format!("arn:aws:iam::{account}:{}{path}{}", kind.name(), name.unwrap_or_default()))
    };
    let resource = match operation.on {
        On::Role => identity(IdentityKind::Role, parameters.get("RoleName")),
        On::Group => identity(IdentityKind::Group, parameters.get("GroupName")),
        On::User => {
            let own = match principal.kind() {
                // Lists and look-ups of others name nobody.
                PrincipalKind::User { name, .. } if !matches!(operation.id, Iam::ListUsers | Iam::GetAccessKeyLastUsed) => {
                    Some(name.as_str())
                }
                _ => None,
            };
            identity(IdentityKind::User, parameters.get("UserName").or(own))
        }
        On::Policy => match parameters.get("PolicyArn") {
            Some(arn) => arn.to_owned(),
            None => format!("arn:aws:iam::{account}:policy{path}{}", parameters.get("PolicyName").unwrap_or_default()),
        },
        On::Account => match parameters.get("PolicySourceArn") {
            Some(arn) => arn.to_owned(),
            None => "*".to_owned(),
        },
    };
    let mut keys = Context::new();
    if let (On::User | On::Group | On::Role, Some(arn)) = (operation.on, parameters.get("PolicyArn")) {
        keys = keys.with("iam:PolicyARN", arn);
    }
    if let Some(arn) = parameters.get("PermissionsBoundary") {
        keys = keys.with("iam:PermissionsBoundary", arn);
    }
    let tags = parameters.pairs("Tags", "Key", "Value");
    if !tags.is_empty() {
        keys = keys.with_all("aws:TagKeys", tags.iter().map(|(key, _)| *key));
        keys = tags.iter().fold(keys, |keys, (key, value)| keys.with(format!("aws:RequestTag/{key}"), *value));
    }
    principal.authorize_with(&format!("{}:{}", PROTOCOL.service, operation.name), &[&resource], &keys)
}

/// Performs one operation. Blocks on the database, so it runs on a blocking thread.
///
/// # Errors
/// IAM's own: NoSuchEntity, EntityAlreadyExists, DeleteConflict, LimitExceeded, MalformedPolicyDocument, ValidationError, InvalidInput.
pub(crate) async fn perform(call: Call, identities: Arc<IdentityService>) -> Result<Value, ServiceError> {
    let done = tokio::task::spawn_blocking(move || {
        validation::names(&call.parameters)?;
        authorize(&call, &identities.directory())?;
        answer(&call, &identities)
    });
    done.await.map_err(|panicked| ServiceError::internal_server(panicked.to_string()))?
}

fn answer(call: &Call, iam: &IdentityService) -> Result<Value, ServiceError> {
    use Iam as Op;
    use IdentityKind::{Group, Role, User};
    match call.operation.id {
        Op::CreateRole => identities::create_role(call, iam),
        Op::GetRole => identities::get(call, iam, Role),
        Op::ListRoles => identities::list(call, iam, Role),
        Op::UpdateRole => identities::update_role(call, iam),
        Op::UpdateRoleDescription => identities::update_role_description(call, iam),
        Op::UpdateAssumeRolePolicy => identities::update_trust(call, iam),
        Op::DeleteRole => identities::delete(call, iam, Role),
        // There is no EC2 here, so there are no instance profiles; who deletes a role asks for them.
        Op::ListInstanceProfilesForRole => {
            iam.directory().identity(Role, call.required("RoleName")?)?;
            call.page("InstanceProfiles", Vec::<Value>::new(), |never| never)
        }
        Op::CreateUser => identities::create_user(call, iam),
        Op::GetUser => identities::get(call, iam, User),
        Op::ListUsers => identities::list(call, iam, User),
        Op::UpdateUser => identities::rename(call, iam, User),
        Op::DeleteUser => identities::delete(call, iam, User),
        Op::CreateGroup => groups::create(call, iam),
        Op::GetGroup => groups::get(call, iam),
        Op::ListGroups => identities::list(call, iam, Group),
        Op::UpdateGroup => identities::rename(call, iam, Group),
        Op::DeleteGroup => identities::delete(call, iam, Group),
        Op::AddUserToGroup => groups::add_user(call, iam),
        Op::RemoveUserFromGroup => groups::remove_user(call, iam),
        Op::ListGroupsForUser => groups::of_user(call, iam),
        Op::TagRole => tags::tag_identity(call, iam, Role),
        Op::UntagRole => tags::untag_identity(call, iam, Role),
        Op::ListRoleTags => tags::of_identity(call, iam, Role),
        Op::TagUser => tags::tag_identity(call, iam, User),
        Op::UntagUser => tags::untag_identity(call, iam, User),
        Op::ListUserTags => tags::of_identity(call, iam, User),
        Op::TagPolicy => tags::tag_policy(call, iam),
        Op::UntagPolicy => tags::untag_policy(call, iam),
        Op::ListPolicyTags => tags::of_policy(call, iam),
        Op::AttachRolePolicy => attachments::attach(call, iam, Role),
        Op::AttachUserPolicy => attachments::attach(call, iam, User),
        Op::AttachGroupPolicy => attachments::attach(call, iam, Group),
        Op::DetachRolePolicy => attachments::detach(call, iam, Role),
        Op::DetachUserPolicy => attachments::detach(call, iam, User),
        Op::DetachGroupPolicy => attachments::detach(call, iam, Group),
        Op::ListAttachedRolePolicies => attachments::list_attached(call, iam, Role),
        Op::ListAttachedUserPolicies => attachments::list_attached(call, iam, User),
        Op::ListAttachedGroupPolicies => attachments::list_attached(call, iam, Group),
        Op::PutRolePolicy => attachments::put_inline(call, iam, Role),
        Op::PutUserPolicy => attachments::put_inline(call, iam, User),
        Op::PutGroupPolicy => attachments::put_inline(call, iam, Group),
        Op::GetRolePolicy => attachments::get_inline(call, iam, Role),
        Op::GetUserPolicy => attachments::get_inline(call, iam, User),
        Op::GetGroupPolicy => attachments::get_inline(call, iam, Group),
        Op::ListRolePolicies => attachments::list_inline(call, iam, Role),
        Op::ListUserPolicies => attachments::list_inline(call, iam, User),
        Op::ListGroupPolicies => attachments::list_inline(call, iam, Group),
        Op::DeleteRolePolicy => attachments::delete_inline(call, iam, Role),
        Op::DeleteUserPolicy => attachments::delete_inline(call, iam, User),
        Op::DeleteGroupPolicy => attachments::delete_inline(call, iam, Group),
        Op::PutRolePermissionsBoundary => attachments::put_boundary(call, iam, Role),
        Op::PutUserPermissionsBoundary => attachments::put_boundary(call, iam, User),
        Op::DeleteRolePermissionsBoundary => attachments::delete_boundary(call, iam, Role),
        Op::DeleteUserPermissionsBoundary => attachments::delete_boundary(call, iam, User),
        Op::CreateAccessKey => access_keys::create(call, iam),
        Op::ListAccessKeys => access_keys::list(call, iam),
        Op::UpdateAccessKey => access_keys::update(call, iam),
        Op::DeleteAccessKey => access_keys::delete(call, iam),
        Op::GetAccessKeyLastUsed => access_keys::last_used(call, iam),
        Op::CreatePolicy => policies::create(call, iam),
        Op::GetPolicy => policies::get(call, iam),
        Op::ListPolicies => policies::list(call, iam),
        Op::DeletePolicy => policies::delete(call, iam),
        Op::CreatePolicyVersion => policies::create_version(call, iam),
        Op::GetPolicyVersion => policies::get_version(call, iam),
        Op::ListPolicyVersions => policies::list_versions(call, iam),
        Op::SetDefaultPolicyVersion => policies::set_default_version(call, iam),
        Op::DeletePolicyVersion => policies::delete_version(call, iam),
        Op::ListEntitiesForPolicy => policies::list_entities(call, iam),
        Op::SimulatePrincipalPolicy => simulate::principal(call, iam),
        Op::SimulateCustomPolicy => simulate::custom(call),
        Op::ListAccountAliases => call.page("AccountAliases", Vec::<Value>::new(), |never| never),
    }
}

/// The parameter that names an identity of a kind.
fn name_parameter(kind: IdentityKind) -> &'static str {
    match kind {
        IdentityKind::User => "UserName",
        IdentityKind::Group => "GroupName",
        IdentityKind::Role => "RoleName",
    }
}
