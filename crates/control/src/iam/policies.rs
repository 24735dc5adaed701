//! Managed policies and their versions.

use std::collections::BTreeMap;

use frontdesk_aws::ServiceError;
use frontdesk_store::{IdentityKind, ManagedPolicy, PolicyVersion};
use serde_json::{Value, json};

use super::{Call, documents, validation};
use crate::identity::{IamError, IdentityService, PolicyEntry};
use crate::query::constraint_failed;

pub(super) fn create(call: &Call, iam: &IdentityService) -> Result<Value, ServiceError> {
    let name = validation::name(&call.parameters, "PolicyName", 128)?;
    let document = validation::managed_document(&call.parameters)?;
    let policy = ManagedPolicy {
        id: IdentityService::new_id("ANPA")?,
        name: name.to_owned(),
        path: validation::path(&call.parameters, "Path")?,
        description: validation::description(&call.parameters)?,
        created_at: call.now_unix,
        updated_at: call.now_unix,
        versions: BTreeMap::from([(1, PolicyVersion { document, created_at: call.now_unix })]),
        default_version: 1,
        newest_version: 1,
        tags: validation::tags(&call.parameters)?,
    };
    let entry = iam.change(|directory| {
        if directory.policies().filter(|entry| !entry.is_aws).count() >= validation::POLICIES_MAX {
            return Err(IamError::quota("PoliciesPerAccount", validation::POLICIES_MAX));
        }
        directory.create_policy(policy)
    })?;
    Ok(json!({ "Policy": documents::policy(&entry, &iam.directory(), false) }))
}

pub(super) fn get(call: &Call, iam: &IdentityService) -> Result<Value, ServiceError> {
    let directory = iam.directory();
    let entry = directory.policy(call.required("PolicyArn")?)?;
    Ok(json!({ "Policy": documents::policy(entry, &directory, false) }))
}

pub(super) fn list(call: &Call, iam: &IdentityService) -> Result<Value, ServiceError> {
    let directory = iam.directory();
    let scope = call.parameters.get("Scope").unwrap_or("All");
    let as_boundary = call.parameters.get("PolicyUsageFilter") == Some("PermissionsBoundary");
    let is_in_scope = |entry: &PolicyEntry| match scope {
        "AWS" => entry.is_aws,
        "Local" => !entry.is_aws,
        _ => true,
    };
    let only_attached = call.parameters.is_set("OnlyAttached");
    let is_wanted = |entry: &PolicyEntry| {
        let is_used = || directory.holders_of(&entry.arn, as_boundary).next().is_some();
        is_in_scope(entry) && call.has_path(&entry.policy.path) && (!(only_attached || as_boundary) || is_used())
    };
    if !["All", "AWS", "Local"].contains(&scope) {
        return Err(constraint_failed(&format!("Value '{scope}' at 'scope'"), "Member must satisfy enum value set: [All, AWS, Local]"));
    }
    let entries = directory.policies().filter(|entry| is_wanted(entry)).collect();
    call.page("Policies", entries, |entry| documents::policy(entry, &directory, true))
}

pub(super) fn delete(call: &Call, iam: &IdentityService) -> Result<Value, ServiceError> {
    let arn = call.required("PolicyArn")?;
    iam.change(|directory| directory.delete_policy(arn))?;
    Ok(Value::Null)
}

pub(super) fn create_version(call: &Call, iam: &IdentityService) -> Result<Value, ServiceError> {
    let arn = call.required("PolicyArn")?;
    let document = validation::managed_document(&call.parameters)?;
    let is_default = call.parameters.is_set("SetAsDefault");
    let entry = iam.change(|directory| {
        directory.edit_policy(arn, |policy| {
            if policy.versions.len() >= validation::POLICY_VERSIONS_MAX {
                return Err(IamError::LimitExceeded(format!(
                    "A managed policy can have up to {} versions. Before you create a new version, you must delete an existing version.",
                    validation::POLICY_VERSIONS_MAX
                )));
            }
            policy.newest_version += 1;
            policy.updated_at = call.now_unix;
            policy.versions.insert(policy.newest_version, PolicyVersion { document, created_at: call.now_unix });
            if is_default {
                policy.default_version = policy.newest_version;
            }
            Ok(())
        })
    })?;
    let number = entry.policy.newest_version;
    let made = entry.policy.versions.get(&number).map(|version| documents::policy_version(&entry, number, version, false));
    Ok(json!({ "PolicyVersion": made }))
}

pub(super) fn get_version(call: &Call, iam: &IdentityService) -> Result<Value, ServiceError> {
    let arn = call.required("PolicyArn")?;
    let number = version_number(call)?;
    let directory = iam.directory();
    let entry = directory.policy(arn)?;
    let version = entry.policy.versions.get(&number).ok_or_else(|| no_version(arn, number))?;
    Ok(json!({ "PolicyVersion": documents::policy_version(entry, number, version, true) }))
}

/// The newest first.
pub(super) fn list_versions(call: &Call, iam: &IdentityService) -> Result<Value, ServiceError> {
    let directory = iam.directory();
    let entry = directory.policy(call.required("PolicyArn")?)?;
    let versions = entry.policy.versions.iter().rev().collect();
    call.page("Versions", versions, |(number, version)| documents::policy_version(entry, *number, version, false))
}

pub(super) fn set_default_version(call: &Call, iam: &IdentityService) -> Result<Value, ServiceError> {
    let (arn, number) = (call.required("PolicyArn")?, version_number(call)?);
    iam.change(|directory| {
        directory.edit_policy(arn, |policy| {
            if !policy.versions.contains_key(&number) {
                return Err(no_version(arn, number));
            }
            policy.default_version = number;
            Ok(())
        })
    })?;
    Ok(Value::Null)
}

pub(super) fn delete_version(call: &Call, iam: &IdentityService) -> Result<Value, ServiceError> {
    let (arn, number) = (call.required("PolicyArn")?, version_number(call)?);
    iam.change(|directory| {
        directory.edit_policy(arn, |policy| {
            if policy.default_version == number {
                return Err(IamError::DeleteConflict("Cannot delete the default version of a policy."));
            }
            policy.versions.remove(&number).map(drop).ok_or_else(|| no_version(arn, number))
        })
    })?;
    Ok(Value::Null)
}

/// Who holds a policy, in three lists of which a page is cut as if they were one.
pub(super) fn list_entities(call: &Call, iam: &IdentityService) -> Result<Value, ServiceError> {
    let directory = iam.directory();
    let arn = call.required("PolicyArn")?;
    directory.policy(arn)?;
    let as_boundary = call.parameters.get("PolicyUsageFilter") == Some("PermissionsBoundary");
    let filter = call.parameters.get("EntityFilter");
    let is_wanted = |kind: IdentityKind| match filter {
        Some("User") => kind == IdentityKind::User,
        Some("Group") => kind == IdentityKind::Group,
        Some("Role") => kind == IdentityKind::Role,
        _ => true,
    };
    let holders = directory.holders_of(arn, as_boundary);
    let holders: Vec<_> = holders.filter(|entry| is_wanted(entry.identity.kind) && call.has_path(&entry.identity.path)).collect();
    let page = call.page("Holders", holders, |entry| {
        let (kind, name, id) = match entry.identity.kind {
            IdentityKind::User => ("PolicyUsers", "UserName", "UserId"),
            IdentityKind::Group => ("PolicyGroups", "GroupName", "GroupId"),
            IdentityKind::Role => ("PolicyRoles", "RoleName", "RoleId"),
        };
        json!({ kind: { name: entry.identity.name, id: entry.identity.id } })
    })?;
    let of = |kind: &str| -> Vec<Value> {
        let holders = page["Holders"].as_array().into_iter().flatten();
        holders.filter_map(|holder| holder.get(kind).cloned()).collect()
    };
    Ok(json!({
        "PolicyUsers": of("PolicyUsers"),
        "PolicyGroups": of("PolicyGroups"),
        "PolicyRoles": of("PolicyRoles"),
        "IsTruncated": page["IsTruncated"],
        "Marker": page["Marker"],
    }))
}

/// `v1` and so on.
fn version_number(call: &Call) -> Result<u32, ServiceError> {
    let text = call.required("VersionId")?;
    let number = text.strip_prefix('v').and_then(|number| number.parse().ok());
    number.ok_or_else(|| {
        let rule = "Member must satisfy regular expression pattern: v[1-9][0-9]*(\\.[A-Za-z0-9-]*)?";
        constraint_failed(&format!("Value '{text}' at 'versionId'"), rule)
    })
}

fn no_version(arn: &str, number: u32) -> IamError {
    IamError::NoSuchEntity(format!("Policy {arn} version v{number} does not exist or is not attachable."))
}
