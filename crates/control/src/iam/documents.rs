//! IAM's documents, in AWS's forms.

use frontdesk_store::{Identity, IdentityKind, PolicyVersion, RoleTerms};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use std::collections::BTreeMap;

use crate::identity::{AccessKeyEntry, Directory, IdentityEntry, PolicyEntry};
use crate::timestamp::iso_8601_s;

/// Policy documents are percent-encoded as RFC 3986 says.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

pub(super) fn encoded(document: &str) -> String {
    utf8_percent_encode(document, ENCODED).to_string()
}

/// A user, group or role; in a list without its tags and its boundary.
pub(super) fn identity(entry: &IdentityEntry, is_listed: bool) -> Value {
    let Identity { kind, id, name, path, created_at, tags: of, boundary, role, .. } = &entry.identity;
    let boundary = boundary.as_ref().map(|arn| json!({ "PermissionsBoundaryType": "Policy", "PermissionsBoundaryArn": arn }));
    let mut document = json!({
        "Path": path,
        "Arn": entry.arn,
        "CreateDate": iso_8601_s(*created_at),
        "Tags": (!is_listed && !of.is_empty()).then(|| tags(of)),
        "PermissionsBoundary": boundary.filter(|_| !is_listed),
    });
    let (name_member, id_member) = match kind {
        IdentityKind::User => ("UserName", "UserId"),
        IdentityKind::Group => ("GroupName", "GroupId"),
        IdentityKind::Role => ("RoleName", "RoleId"),
    };
    document[name_member] = json!(name);
    document[id_member] = json!(id);
    if let Some(RoleTerms { trust, description, session_s_max }) = role {
        document["AssumeRolePolicyDocument"] = json!(encoded(trust));
        document["Description"] = json!(description);
        document["MaxSessionDuration"] = json!(session_s_max);
    }
    document
}

pub(super) fn tags(tags: &BTreeMap<String, String>) -> Value {
    tags.iter().map(|(key, value)| tag((key, value))).collect()
}

pub(super) fn tag((key, value): (&String, &String)) -> Value {
    json!({ "Key": key, "Value": value })
}

/// A managed policy; in a list without its description and tags.
pub(super) fn policy(entry: &PolicyEntry, directory: &Directory, is_listed: bool) -> Value {
    let policy = &entry.policy;
    json!({
        "PolicyName": policy.name,
        "PolicyId": policy.id,
        "Arn": entry.arn,
        "Path": policy.path,
        "DefaultVersionId": version_id(policy.default_version),
        "AttachmentCount": directory.holders_of(&entry.arn, false).count(),
        "PermissionsBoundaryUsageCount": directory.holders_of(&entry.arn, true).count(),
        "IsAttachable": true,
        "Description": policy.description.as_ref().filter(|_| !is_listed),
        "CreateDate": iso_8601_s(policy.created_at),
        "UpdateDate": iso_8601_s(policy.updated_at),
        "Tags": (!is_listed && !policy.tags.is_empty()).then(|| tags(&policy.tags)),
    })
}

/// A version of a managed policy, with or without its document.
pub(super) fn policy_version(entry: &PolicyEntry, number: u32, version: &PolicyVersion, with_document: bool) -> Value {
    json!({
        "VersionId": version_id(number),
        "IsDefaultVersion": number == entry.policy.default_version,
        "CreateDate": iso_8601_s(version.created_at),
        "Document": with_document.then(|| encoded(&version.document)),
    })
}

pub(super) fn version_id(number: u32) -> String {
    format!("v{number}")
}

/// An access key, without its secret.
pub(super) fn access_key(entry: &AccessKeyEntry, user_name: &str) -> Value {
    json!({
        "UserName": user_name,
        "AccessKeyId": entry.key.id,
        "Status": if entry.key.is_active { "Active" } else { "Inactive" },
        "CreateDate": iso_8601_s(entry.key.created_at),
    })
}
