//! API keys of a stack: the first, which the template makes, and those that were made beside it, known by their tag.

use serde_json::{Value, json};

use super::PAGES_MAX;
use crate::call::{Aws, Call, CallError, operation};
use crate::deployer::{DeployError, stacks::Stack};
use crate::stack::{MADE_BY, TAG_MADE_BY, TAG_STACK, outputs};

/// A key as API Gateway lists it: without its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedKey {
    /// Ten letters and digits.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Whether it opens anything.
    pub enabled: bool,
    /// Whether it was made beside the stack, and not by its template.
    pub is_beside: bool,
}

/// A key with its value. `Debug` is absent on purpose.
pub struct KeyWithValue {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What callers send.
    pub value: String,
}

/// The stack's keys, as API Gateway lists them.
///
/// # Errors
/// [`DeployError::NoOutput`]; as [`Aws::send`].
pub async fn list(aws: &Aws, stack: &Stack) -> Result<Vec<ListedKey>, DeployError> {
    let first = stack.output(outputs::API_KEY_ID)?;
    let (mut found, mut position) = (Vec::new(), None::<String>);
    for _ in 0..PAGES_MAX {
        let mut call = Call::new(&operation::GET_API_KEYS, "the account's API keys").parameter("limit", "500");
        if let Some(position) = &position {
            call = call.parameter("position", position);
        }
        let page = aws.send(call).await?.json()?;
        let text = |key: &Value, field: &str| key[field].as_str().unwrap_or_default().to_owned();
        found.extend(page["item"].as_array().into_iter().flatten().filter_map(|key| {
            let is_beside = key["tags"][TAG_STACK] == stack.name.as_str() && key["id"] != first;
            let is_ours = is_beside || key["id"] == first;
            is_ours.then(|| ListedKey { id: text(key, "id"), name: text(key, "name"), enabled: key["enabled"] == true, is_beside })
        }));
        position = page["position"].as_str().map(str::to_owned);
        if position.is_none() {
            break;
        }
    }
    Ok(found)
}

/// The stack's key with this id or name.
///
/// # Errors
/// [`DeployError::NoKey`]; as [`list`].
pub async fn find(aws: &Aws, stack: &Stack, id_or_name: &str) -> Result<ListedKey, DeployError> {
    let keys = list(aws, stack).await?;
    let is_meant = |key: &&ListedKey| key.id == id_or_name || key.name == id_or_name;
    let found = keys.iter().find(is_meant).or_else(|| keys.iter().find(|key| key.name == format!("{}-{id_or_name}", stack.name)));
    found.cloned().ok_or_else(|| DeployError::NoKey {
        key: id_or_name.to_owned(),
        known: keys.into_iter().map(|key| key.name).collect::<Vec<_>>().join(", "),
    })
}

/// A key with its value.
///
/// # Errors
/// As [`Aws::send`].
pub async fn with_value(aws: &Aws, id: &str) -> Result<KeyWithValue, CallError> {
    let resource = format!("API key {id}");
    let answer = aws.send(Call::new(&operation::GET_API_KEY, &resource).path("id", id).parameter("includeValue", "true")).await?;
    let document = answer.json()?;
    let text = |field: &str| document[field].as_str().map(str::to_owned).ok_or_else(|| answer.lacks(field));
    Ok(KeyWithValue { id: text("id")?, name: text("name")?, value: text("value")? })
}

/// Makes a key beside the stack and puts it into the stack's plan.
///
/// # Errors
/// [`DeployError::NoOutput`]; as [`Aws::send`].
pub async fn create(aws: &Aws, stack: &Stack, name: &str, description: Option<&str>) -> Result<KeyWithValue, DeployError> {
    let plan = stack.output(outputs::USAGE_PLAN_ID)?;
    let resource = format!("API key {name}");
    let tags = json!({ TAG_MADE_BY: MADE_BY, TAG_STACK: stack.name });
    // Left out, `enabled` means false.
    let mut document = json!({ "name": name, "enabled": true, "tags": tags });
    if let Some(description) = description {
        document["description"] = json!(description);
    }
    let answer = aws.send(Call::new(&operation::CREATE_API_KEY, &resource).json(&document)).await?;
    let made = answer.json()?;
    let id = made["id"].as_str().ok_or_else(|| answer.lacks("id"))?;
    let membership = json!({ "keyId": id, "keyType": "API_KEY" });
    let in_plan = format!("usage plan {plan}");
    aws.send(Call::new(&operation::CREATE_USAGE_PLAN_KEY, &in_plan).path("id", plan).json(&membership)).await?;
    Ok(with_value(aws, id).await?)
}

/// Lets a key open doors, or stops it from doing so.
///
/// # Errors
/// As [`Aws::send`].
pub async fn enable(aws: &Aws, id: &str, enabled: bool) -> Result<(), CallError> {
    let resource = format!("API key {id}");
    let patch = json!({ "patchOperations": [{ "op": "replace", "path": "/enabled", "value": enabled.to_string() }] });
    aws.send(Call::new(&operation::UPDATE_API_KEY, &resource).path("id", id).json(&patch)).await.map(drop)
}

/// Deletes a key.
///
/// # Errors
/// As [`Aws::send`].
pub async fn delete(aws: &Aws, id: &str) -> Result<(), CallError> {
    let resource = format!("API key {id}");
    aws.send(Call::new(&operation::DELETE_API_KEY, &resource).path("id", id)).await.map(drop)
}
