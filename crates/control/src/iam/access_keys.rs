//! Access keys of users: two each, so that one can be replaced while the other serves.

use frontdesk_aws::ServiceError;
use frontdesk_store::IdentityKind::User;
use frontdesk_store::{KeyUse, UserAccessKey};
use serde_json::{Value, json};

use super::{Call, documents, validation};
use crate::identity::{Directory, IamError, IdentityService};
use crate::timestamp::iso_8601_s;

/// The only time that the secret is told.
pub(super) fn create(call: &Call, iam: &IdentityService) -> Result<Value, ServiceError> {
    let name = call.user_name()?;
    let entry = iam.change(|directory| {
        let user_id = directory.identity(User, name)?.identity.id.clone();
        if directory.access_keys_of(&user_id).count() >= validation::ACCESS_KEYS_OF_USER_MAX {
            return Err(IamError::quota("AccessKeysPerUser", validation::ACCESS_KEYS_OF_USER_MAX));
        }
        Ok(directory.put_access_key(IdentityService::new_access_key(&user_id, call.now_unix)?))
    })?;
    let mut document = documents::access_key(&entry, name);
    document["SecretAccessKey"] = json!(entry.key.secret.expose());
    Ok(json!({ "AccessKey": document }))
}

pub(super) fn list(call: &Call, iam: &IdentityService) -> Result<Value, ServiceError> {
    let name = call.user_name()?;
    let directory = iam.directory();
    let user = directory.identity(User, name)?;
    let mut keys: Vec<_> = directory.access_keys_of(&user.identity.id).collect();
    keys.sort_by_key(|entry| entry.key.created_at);
    call.page("AccessKeyMetadata", keys, |entry| documents::access_key(entry, &user.identity.name))
}

pub(super) fn update(call: &Call, iam: &IdentityService) -> Result<Value, ServiceError> {
    let (name, id) = (call.user_name()?, call.required("AccessKeyId")?);
    let is_active = match call.required("Status")? {
        "Active" => true,
        "Inactive" => false,
        other => {
            let rule = "Member must satisfy enum value set: [Active, Inactive]";
            return Err(crate::query::constraint_failed(&format!("Value '{other}' at 'status'"), rule));
        }
    };
    iam.change(|directory| {
        let key = of_user(directory, name, id)?;
        directory.put_access_key(UserAccessKey { is_active, ..key });
        Ok(())
    })?;
    Ok(Value::Null)
}

pub(super) fn delete(call: &Call, iam: &IdentityService) -> Result<Value, ServiceError> {
    let (name, id) = (call.user_name()?, call.required("AccessKeyId")?);
    iam.change(|directory| {
        of_user(directory, name, id)?;
        directory.delete_access_key(id)
    })?;
    Ok(Value::Null)
}

pub(super) fn last_used(call: &Call, iam: &IdentityService) -> Result<Value, ServiceError> {
    let directory = iam.directory();
    let entry = directory.access_key(call.required("AccessKeyId")?)?;
    let user = directory.identity_of_id(&entry.key.user_id).map(|user| user.identity.name.clone());
    let last_used = match &entry.key.last_used {
        Some(KeyUse { at, service, region }) => json!({ "LastUsedDate": iso_8601_s(*at), "ServiceName": service, "Region": region }),
        None => json!({ "ServiceName": "N/A", "Region": "N/A" }),
    };
    Ok(json!({ "UserName": user, "AccessKeyLastUsed": last_used }))
}

/// A key of this user's and no other's.
fn of_user(directory: &Directory, name: &str, id: &str) -> Result<UserAccessKey, IamError> {
    let user = directory.identity(User, name)?;
    let entry = directory.access_key(id)?;
    if entry.key.user_id != user.identity.id {
        return Err(IamError::NoSuchEntity(format!("The Access Key with id {id} cannot be found.")));
    }
    Ok(entry.key.clone())
}
