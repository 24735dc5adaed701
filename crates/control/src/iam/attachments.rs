//! What is attached to users, groups and roles: managed policies, policies of their own, and boundaries.

use frontdesk_aws::ServiceError;
use frontdesk_store::IdentityKind;
use serde_json::{Value, json};

use super::{Call, documents, name_parameter, validation};
use crate::identity::{IamError, IdentityService};

/// Attaching what is attached already changes nothing.
pub(super) fn attach(call: &Call, iam: &IdentityService, kind: IdentityKind) -> Result<Value, ServiceError> {
    let (name, arn) = (call.required(name_parameter(kind))?, call.required("PolicyArn")?);
    iam.change(|directory| {
        directory.identity(kind, name)?;
        directory.attachable(arn)?;
        directory.edit(kind, name, |identity| {
            if identity.attached.iter().any(|attached| attached == arn) {
                return Ok(());
            }
            if identity.attached.len() >= validation::ATTACHED_POLICIES_MAX {
                let quota = match kind {
                    IdentityKind::User => "PoliciesPerUser",
                    IdentityKind::Group => "PoliciesPerGroup",
                    IdentityKind::Role => "PoliciesPerRole",
                };
                return Err(IamError::quota(quota, validation::ATTACHED_POLICIES_MAX));
            }
            identity.attached.push(arn.to_owned());
            Ok(())
        })
    })?;
    Ok(Value::Null)
}

pub(super) fn detach(call: &Call, iam: &IdentityService, kind: IdentityKind) -> Result<Value, ServiceError> {
    let (name, arn) = (call.required(name_parameter(kind))?, call.required("PolicyArn")?);
    iam.change(|directory| {
        directory.edit(kind, name, |identity| {
            let before = identity.attached.len();
            identity.attached.retain(|attached| attached != arn);
            if identity.attached.len() == before {
                return Err(IamError::NoSuchEntity(format!("Policy {arn} was not found.")));
            }
            Ok(())
        })
    })?;
    Ok(Value::Null)
}

pub(super) fn list_attached(call: &Call, iam: &IdentityService, kind: IdentityKind) -> Result<Value, ServiceError> {
    let directory = iam.directory();
    let entry = directory.identity(kind, call.required(name_parameter(kind))?)?;
    let policies = entry.identity.attached.iter().filter_map(|arn| directory.policy(arn).ok());
    let policies = policies.filter(|policy| call.has_path(&policy.policy.path)).collect();
    call.page("AttachedPolicies", policies, |policy| json!({ "PolicyName": policy.policy.name, "PolicyArn": policy.arn }))
}

pub(super) fn put_inline(call: &Call, iam: &IdentityService, kind: IdentityKind) -> Result<Value, ServiceError> {
    let name = call.required(name_parameter(kind))?;
    let policy = validation::name(&call.parameters, "PolicyName", 128)?;
    let document = validation::inline_document(&call.parameters)?;
    iam.change(|directory| {
        directory.edit(kind, name, |identity| {
            identity.inline.insert(policy.to_owned(), document);
            validation::check_inline_size(kind, name, &identity.inline)
        })
    })?;
    Ok(Value::Null)
}

pub(super) fn get_inline(call: &Call, iam: &IdentityService, kind: IdentityKind) -> Result<Value, ServiceError> {
    let (name, policy) = (call.required(name_parameter(kind))?, call.required("PolicyName")?);
    let directory = iam.directory();
    let entry = directory.identity(kind, name)?;
    let document = entry.identity.inline.get(policy).ok_or_else(|| no_inline(kind, policy))?;
    let document = documents::encoded(document);
    Ok(json!({ name_parameter(kind): entry.identity.name, "PolicyName": policy, "PolicyDocument": document }))
}

pub(super) fn list_inline(call: &Call, iam: &IdentityService, kind: IdentityKind) -> Result<Value, ServiceError> {
    let directory = iam.directory();
    let entry = directory.identity(kind, call.required(name_parameter(kind))?)?;
    call.page("PolicyNames", entry.identity.inline.keys().collect(), |name| json!(name))
}

pub(super) fn delete_inline(call: &Call, iam: &IdentityService, kind: IdentityKind) -> Result<Value, ServiceError> {
    let (name, policy) = (call.required(name_parameter(kind))?, call.required("PolicyName")?);
    iam.change(|directory| {
        directory.edit(kind, name, |identity| identity.inline.remove(policy).map(drop).ok_or_else(|| no_inline(kind, policy)))
    })?;
    Ok(Value::Null)
}

pub(super) fn put_boundary(call: &Call, iam: &IdentityService, kind: IdentityKind) -> Result<Value, ServiceError> {
    let (name, arn) = (call.required(name_parameter(kind))?, call.required("PermissionsBoundary")?);
    iam.change(|directory| {
        directory.attachable(arn)?;
        directory.edit(kind, name, |identity| {
            identity.boundary = Some(arn.to_owned());
            Ok(())
        })
    })?;
    Ok(Value::Null)
}

pub(super) fn delete_boundary(call: &Call, iam: &IdentityService, kind: IdentityKind) -> Result<Value, ServiceError> {
    let name = call.required(name_parameter(kind))?;
    iam.change(|directory| {
        directory.edit(kind, name, |identity| {
            let gone = || IamError::NoSuchEntity(format!("The {} with name {name} has no permissions boundary.", kind.name()));
            identity.boundary.take().map(drop).ok_or_else(gone)
        })
    })?;
    Ok(Value::Null)
}

fn no_inline(kind: IdentityKind, policy: &str) -> IamError {
    IamError::NoSuchEntity(format!("The {} policy with name {policy} cannot be found.", kind.name()))
}
