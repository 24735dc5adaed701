//! STS (service `sts`, query protocol): who the caller is, and temporary credentials
//! (<https://docs.aws.amazon.com/STS/latest/APIReference/API_Operations.html>).

use std::collections::BTreeMap;

use frontdesk_aws::ServiceError;
use serde_json::{Value, json};

use crate::identity::{AssumeRole, IdentityService, Principal, TemporaryCredentials};
use crate::query::{Parameters, Protocol, constraint_failed};
use crate::timestamp::iso_8601_s;

pub(crate) const PROTOCOL: Protocol =
    Protocol { service: "sts", namespace: "https://sts.amazonaws.com/doc/2011-06-15/", failure: "InternalFailure" };

/// The operations of STS that are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sts {
    AssumeRole,
    GetAccessKeyInfo,
    GetCallerIdentity,
    GetSessionToken,
}

/// The table that dispatch works from.
pub(crate) const OPERATIONS: &[(&str, Sts)] = &[
    ("AssumeRole", Sts::AssumeRole),
    ("GetAccessKeyInfo", Sts::GetAccessKeyInfo),
    ("GetCallerIdentity", Sts::GetCallerIdentity),
    ("GetSessionToken", Sts::GetSessionToken),
];

/// Performs one operation. Waits for nothing: temporary credentials are made, not kept.
///
/// # Errors
/// AccessDenied, ValidationError, MalformedPolicyDocument, PackedPolicyTooLarge.
pub(crate) fn perform(
    operation: Sts,
    parameters: &Parameters,
    principal: &Principal,
    identities: &IdentityService,
    now_unix: i64,
) -> Result<Value, ServiceError> {
    match operation {
        // Anyone who can sign may ask who it is, whatever policies say.
        Sts::GetCallerIdentity => Ok(json!({ "Arn": principal.arn(), "UserId": principal.user_id(), "Account": identities.account() })),
        Sts::GetSessionToken => {
            let session = identities.session_token(principal, parameters.number("DurationSeconds")?, now_unix)?;
            Ok(json!({ "Credentials": credentials(&session) }))
        }
        Sts::AssumeRole => {
            let session = identities.assume_role(principal, assume_role(parameters)?, now_unix)?;
            let role = json!({ "Arn": session.arn, "AssumedRoleId": session.user_id });
            Ok(json!({ "Credentials": credentials(&session), "AssumedRoleUser": role }))
        }
        Sts::GetAccessKeyInfo => {
            let id = parameters.required("AccessKeyId")?;
            principal.authorize("sts:GetAccessKeyInfo", &["*"])?;
            identities.directory().access_key(id)?;
            Ok(json!({ "Account": identities.account() }))
        }
    }
}

fn assume_role(parameters: &Parameters) -> Result<AssumeRole, ServiceError> {
    let role_arn = parameters.required("RoleArn")?;
    if role_arn.parse::<frontdesk_aws::Arn>().is_err() {
        return Err(ServiceError::validation(format!("{role_arn} is invalid")));
    }
    let session_name = parameters.required("RoleSessionName")?;
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte);
    let rule = match session_name.len() {
        _ if !session_name.bytes().all(is_fit) => Some("Member must satisfy regular expression pattern: [\\w+=,.@-]*"),
        0..2 => Some("Member must have length greater than or equal to 2"),
        2..=64 => None,
        _ => Some("Member must have length less than or equal to 64"),
    };
    if let Some(rule) = rule {
        return Err(constraint_failed(&format!("Value '{session_name}' at 'roleSessionName'"), rule));
    }
    if let Some(unserved) = ["SerialNumber", "TokenCode", "SourceIdentity"].into_iter().find(|name| parameters.get(name).is_some()) {
        return Err(ServiceError::validation(format!("{unserved} is not served here: leave it out")));
    }
    let tags = parameters.pairs("Tags", "Key", "Value").into_iter();
    let policy_arns = parameters.pairs("PolicyArns", "arn", "").into_iter().map(|(arn, _)| arn.to_owned()).collect();
    Ok(AssumeRole {
        role_arn: role_arn.to_owned(),
        session_name: session_name.to_owned(),
        duration_s: parameters.number("DurationSeconds")?,
        policy: parameters.get("Policy").map(str::to_owned),
        policy_arns,
        tags: tags.map(|(key, value)| (key.to_owned(), value.to_owned())).collect::<BTreeMap<_, _>>(),
        external_id: parameters.get("ExternalId").map(str::to_owned),
    })
}

fn credentials(session: &TemporaryCredentials) -> Value {
    let credentials = &session.credentials;
    json!({
        "AccessKeyId": credentials.access_key_id.as_str(),
        "SecretAccessKey": credentials.secret_access_key.expose(),
        "SessionToken": credentials.session_token.as_ref().map(|token| token.expose()),
        "Expiration": iso_8601_s(session.expires_at),
    })
}
