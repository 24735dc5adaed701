//! Groups: users that share policies.

use frontdesk_aws::ServiceError;
use frontdesk_store::IdentityKind::{Group, User};
use serde_json::Value;

use super::{Call, documents, identities, validation};
use crate::identity::{IamError, IdentityService};

pub(super) fn create(call: &Call, iam: &IdentityService) -> Result<Value, ServiceError> {
    identities::create(call, iam, Group, None)
}

/// The group, and a page of its users.
pub(super) fn get(call: &Call, iam: &IdentityService) -> Result<Value, ServiceError> {
    let directory = iam.directory();
    let group = directory.identity(Group, call.required("GroupName")?)?;
    let users = directory.members_of(&group.identity.id).collect();
    let mut document = call.page("Users", users, |user| documents::identity(user, true))?;
    document["Group"] = documents::identity(group, true);
    Ok(document)
}

pub(super) fn add_user(call: &Call, iam: &IdentityService) -> Result<Value, ServiceError> {
    let (group, user) = (call.required("GroupName")?, call.required("UserName")?);
    iam.change(|directory| {
        let group_id = directory.identity(Group, group)?.identity.id.clone();
        directory.edit(User, user, |user| {
            user.groups.insert(group_id);
            if user.groups.len() > validation::GROUPS_OF_USER_MAX {
                return Err(IamError::quota("GroupsPerUser", validation::GROUPS_OF_USER_MAX));
            }
            Ok(())
        })
    })?;
    Ok(Value::Null)
}

pub(super) fn remove_user(call: &Call, iam: &IdentityService) -> Result<Value, ServiceError> {
    let (group, user) = (call.required("GroupName")?, call.required("UserName")?);
    iam.change(|directory| {
        let group_id = directory.identity(Group, group)?.identity.id.clone();
        directory.edit(User, user, |user| {
            user.groups.remove(&group_id);
            Ok(())
        })
    })?;
    Ok(Value::Null)
}

pub(super) fn of_user(call: &Call, iam: &IdentityService) -> Result<Value, ServiceError> {
    let directory = iam.directory();
    let user = directory.identity(User, call.required("UserName")?)?;
    let groups = directory.groups_of(&user.identity).collect();
    call.page("Groups", groups, |group| documents::identity(group, true))
}
