//! Users, groups and roles: made, looked up, changed, deleted.

use std::collections::{BTreeMap, BTreeSet};

use frontdesk_aws::ServiceError;
use frontdesk_store::{Identity, IdentityKind, RoleTerms};
use serde_json::{Value, json};

use super::{Call, documents, name_parameter, validation};
use crate::identity::{IamError, IdentityService, PrincipalKind};
use crate::timestamp::iso_8601_s;

/// A role's session, in seconds, unless its maker says otherwise.
const SESSION_S_MAX: u32 = 3600;

pub(super) fn create_role(call: &Call, iam: &IdentityService) -> Result<Value, ServiceError> {
    let trust = validation::trust_document(&call.parameters, "AssumeRolePolicyDocument")?;
    let description = validation::description(&call.parameters)?;
    let session_s_max = validation::session_s_max(&call.parameters)?.unwrap_or(SESSION_S_MAX);
    create(call, iam, IdentityKind::Role, Some(RoleTerms { trust, description, session_s_max }))
}

pub(super) fn create_user(call: &Call, iam: &IdentityService) -> Result<Value, ServiceError> {
    create(call, iam, IdentityKind::User, None)
}

pub(super) fn create(call: &Call, iam: &IdentityService, kind: IdentityKind, role: Option<RoleTerms>) -> Result<Value, ServiceError> {
    let name = validation::name(&call.parameters, name_parameter(kind), validation::name_chars_max(kind))?;
    let (member, id_prefix, quota, max) = match kind {
        IdentityKind::User => ("User", "AIDA", "UsersPerAccount", validation::USERS_MAX),
        IdentityKind::Group => ("Group", "AGPA", "GroupsPerAccount", validation::GROUPS_MAX),
        IdentityKind::Role => ("Role", "AROA", "RolesPerAccount", validation::ROLES_MAX),
    };
    let boundary = call.parameters.get("PermissionsBoundary").map(str::to_owned);
    let identity = Identity {
        kind,
        id: IdentityService::new_id(id_prefix)?,
        name: name.to_owned(),
        path: validation::path(&call.parameters, "Path")?,
        created_at: call.now_unix,
        tags: validation::tags(&call.parameters)?,
        inline: BTreeMap::new(),
        attached: Vec::new(),
        boundary,
        groups: BTreeSet::new(),
        role,
    };
    let entry = iam.change(|directory| {
        if directory.identities(kind).count() >= max {
            return Err(IamError::quota(quota, max));
        }
        if let Some(arn) = &identity.boundary {
            directory.attachable(arn)?;
        }
        directory.create(identity)
    })?;
    Ok(json!({ member: documents::identity(&entry, false) }))
}

pub(super) fn get(call: &Call, iam: &IdentityService, kind: IdentityKind) -> Result<Value, ServiceError> {
    if kind == IdentityKind::Role {
        let entry = iam.directory().identity(kind, call.required("RoleName")?)?.clone();
        return Ok(json!({ "Role": documents::identity(&entry, false) }));
    }
    if call.parameters.get("UserName").is_none() && *call.principal.kind() == PrincipalKind::Root {
        let (arn, id) = (call.principal.arn(), call.principal.user_id());
        return Ok(json!({ "User": { "Path": "/", "UserId": id, "Arn": arn, "CreateDate": iso_8601_s(0) } }));
    }
    let entry = iam.directory().identity(kind, call.user_name()?)?.clone();
    Ok(json!({ "User": documents::identity(&entry, false) }))
}

pub(super) fn list(call: &Call, iam: &IdentityService, kind: IdentityKind) -> Result<Value, ServiceError> {
    let directory = iam.directory();
    let entries = directory.identities(kind).filter(|entry| call.has_path(&entry.identity.path)).collect();
    let member = match kind {
        IdentityKind::User => "Users",
        IdentityKind::Group => "Groups",
        IdentityKind::Role => "Roles",
    };
    call.page(member, entries, |entry| documents::identity(entry, true))
}

/// Gives a user or a group another name or path; what is attached stays.
pub(super) fn rename(call: &Call, iam: &IdentityService, kind: IdentityKind) -> Result<Value, ServiceError> {
    let name = call.required(name_parameter(kind))?;
    let new = |what: &str| format!("New{what}");
    let (name_parameter, path_parameter) = (new(name_parameter(kind)), new("Path"));
    let new_name = call.parameters.get(&name_parameter);
    if new_name.is_some() {
        validation::name(&call.parameters, &name_parameter, validation::name_chars_max(kind))?;
    }
    let new_path = call.parameters.get(&path_parameter).map(|_| validation::path(&call.parameters, &path_parameter)).transpose()?;
    iam.change(|directory| {
        directory.edit(kind, name, |identity| {
            if let Some(new_name) = new_name {
                identity.name = new_name.to_owned();
            }
            if let Some(new_path) = new_path {
                identity.path = new_path;
            }
            Ok(())
        })
    })?;
    Ok(Value::Null)
}

pub(super) fn delete(call: &Call, iam: &IdentityService, kind: IdentityKind) -> Result<Value, ServiceError> {
    let name = call.required(name_parameter(kind))?;
    iam.change(|directory| directory.delete(kind, name))?;
    Ok(Value::Null)
}

/// Replaces the description and the longest session. Left out, they stay.
pub(super) fn update_role(call: &Call, iam: &IdentityService) -> Result<Value, ServiceError> {
    let description = validation::description(&call.parameters)?;
    let session_s_max = validation::session_s_max(&call.parameters)?;
    edit_terms(call, iam, |terms| {
        if description.is_some() {
            terms.description = description;
        }
        terms.session_s_max = session_s_max.unwrap_or(terms.session_s_max);
    })?;
    Ok(json!({}))
}

pub(super) fn update_role_description(call: &Call, iam: &IdentityService) -> Result<Value, ServiceError> {
    let description = validation::description(&call.parameters)?;
    let role = edit_terms(call, iam, |terms| terms.description = description)?;
    Ok(json!({ "Role": role }))
}

pub(super) fn update_trust(call: &Call, iam: &IdentityService) -> Result<Value, ServiceError> {
    let trust = validation::trust_document(&call.parameters, "PolicyDocument")?;
    edit_terms(call, iam, |terms| terms.trust = trust)?;
    Ok(Value::Null)
}

fn edit_terms(call: &Call, iam: &IdentityService, edit: impl FnOnce(&mut RoleTerms)) -> Result<Value, ServiceError> {
    let name = call.required("RoleName")?;
    let entry = iam.change(|directory| {
        directory.edit(IdentityKind::Role, name, |identity| {
            identity.role.as_mut().map(edit);
            Ok(())
        })
    })?;
    Ok(documents::identity(&entry, false))
}
