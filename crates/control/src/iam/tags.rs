//! Tags of users, roles and policies.

use std::collections::BTreeMap;

use frontdesk_aws::ServiceError;
use frontdesk_store::IdentityKind;
use serde_json::Value;

use super::{Call, documents, name_parameter, validation};
use crate::identity::{IamError, IdentityService};

pub(super) fn tag_identity(call: &Call, iam: &IdentityService, kind: IdentityKind) -> Result<Value, ServiceError> {
    let (name, new) = (call.required(name_parameter(kind))?, validation::tags(&call.parameters)?);
    iam.change(|directory| directory.edit(kind, name, |identity| add(&mut identity.tags, new)))?;
    Ok(Value::Null)
}

pub(super) fn untag_identity(call: &Call, iam: &IdentityService, kind: IdentityKind) -> Result<Value, ServiceError> {
    let name = call.required(name_parameter(kind))?;
    iam.change(|directory| {
        directory.edit(kind, name, |identity| {
            remove(&mut identity.tags, &call.parameters.list("TagKeys"));
            Ok(())
        })
    })?;
    Ok(Value::Null)
}

pub(super) fn of_identity(call: &Call, iam: &IdentityService, kind: IdentityKind) -> Result<Value, ServiceError> {
    let directory = iam.directory();
    let entry = directory.identity(kind, call.required(name_parameter(kind))?)?;
    call.page("Tags", entry.identity.tags.iter().collect(), documents::tag)
}

pub(super) fn tag_policy(call: &Call, iam: &IdentityService) -> Result<Value, ServiceError> {
    let (arn, new) = (call.required("PolicyArn")?, validation::tags(&call.parameters)?);
    iam.change(|directory| directory.edit_policy(arn, |policy| add(&mut policy.tags, new)))?;
    Ok(Value::Null)
}

pub(super) fn untag_policy(call: &Call, iam: &IdentityService) -> Result<Value, ServiceError> {
    let arn = call.required("PolicyArn")?;
    iam.change(|directory| {
        directory.edit_policy(arn, |policy| {
            remove(&mut policy.tags, &call.parameters.list("TagKeys"));
            Ok(())
        })
    })?;
    Ok(Value::Null)
}

pub(super) fn of_policy(call: &Call, iam: &IdentityService) -> Result<Value, ServiceError> {
    let directory = iam.directory();
    let entry = directory.policy(call.required("PolicyArn")?)?;
    call.page("Tags", entry.policy.tags.iter().collect(), documents::tag)
}

/// A key that differs in case only is the same tag.
fn add(tags: &mut BTreeMap<String, String>, new: BTreeMap<String, String>) -> Result<(), IamError> {
    tags.retain(|key, _| !new.keys().any(|new| new.eq_ignore_ascii_case(key)));
    tags.extend(new);
    validation::check_tags_number(tags.len())
}

fn remove(tags: &mut BTreeMap<String, String>, keys: &[&str]) {
    tags.retain(|key, _| !keys.iter().any(|gone| gone.eq_ignore_ascii_case(key)));
}
