//! The model provider's key in Secrets Manager: made before the stack, so that the agent never starts without it, and no part of it, so that no template,
//! parameter or event shows it.

use serde_json::{Value, json};

use super::{DeployError, Deployer, Listener, Progress};
use crate::call::{Call, CallError, operation};
use crate::stack::{MADE_BY, StackName, TAG_MADE_BY, TAG_STACK};

/// A secret as it was found.
struct Found {
    arn: String,
    is_ours: bool,
}

impl Deployer<'_> {
    /// Puts `key` into the stack's secret, which is made where there is none, and left as it is where the key is in it already. Gives the secret's ARN.
    ///
    /// # Errors
    /// [`DeployError::NotOurs`] when a secret of that name was made otherwise; [`DeployError::Call`].
    pub async fn store_key(&self, stack: &StackName, key: &str, listener: &mut Listener<'_>) -> Result<String, DeployError> {
        let name = stack.secret();
        let resource = format!("secret {name}");
        let Some(found) = self.find_secret(&name, &resource).await? else {
            let tags = json!([{ "Key": TAG_MADE_BY, "Value": MADE_BY }, { "Key": TAG_STACK, "Value": stack.as_str() }]);
            let description = "Key of the model provider that the agent calls";
            let secret = json!({ "Name": name, "Description": description, "SecretString": key, "Tags": tags });
            let answer = self.aws.send(Call::new(&operation::CREATE_SECRET, &resource).json(&secret)).await?;
            listener(Progress::KeyStored(&name));
            let document = answer.json()?;
            return Ok(document["ARN"].as_str().ok_or_else(|| answer.lacks("ARN"))?.to_owned());
        };
        if !found.is_ours {
            return Err(DeployError::NotOurs { what: resource });
        }
        let read = Call::new(&operation::GET_SECRET_VALUE, &resource).json(&json!({ "SecretId": found.arn }));
        let is_there = match self.aws.send(read).await {
            Ok(answer) => answer.json()?["SecretString"] == key,
            // A secret whose first value never arrived.
            Err(error) if error.has_code("ResourceNotFoundException") => false,
            Err(error) => return Err(error.into()),
        };
        if !is_there {
            let put = json!({ "SecretId": found.arn, "SecretString": key });
            self.aws.send(Call::new(&operation::PUT_SECRET_VALUE, &resource).json(&put)).await?;
            listener(Progress::KeyStored(&name));
        }
        Ok(found.arn)
    }

    /// Removes the stack's secret at once: the provider's key is the user's own, who has it. `false` where there is none, or it was made otherwise.
    ///
    /// # Errors
    /// [`DeployError::Call`].
    pub async fn remove_key(&self, stack: &StackName) -> Result<bool, DeployError> {
        let name = stack.secret();
        let resource = format!("secret {name}");
        let Some(found) = self.find_secret(&name, &resource).await?.filter(|found| found.is_ours) else { return Ok(false) };
        let document = json!({ "SecretId": found.arn, "ForceDeleteWithoutRecovery": true });
        self.aws.send(Call::new(&operation::DELETE_SECRET, &resource).json(&document)).await?;
        Ok(true)
    }

    async fn find_secret(&self, name: &str, resource: &str) -> Result<Option<Found>, CallError> {
        let answer = match self.aws.send(Call::new(&operation::DESCRIBE_SECRET, resource).json(&json!({ "SecretId": name }))).await {
            Err(error) if error.has_code("ResourceNotFoundException") => return Ok(None),
            answer => answer?,
        };
        let document = answer.json()?;
        let arn = document["ARN"].as_str().ok_or_else(|| answer.lacks("ARN"))?.to_owned();
        let is_mark = |tag: &Value| tag["Key"] == TAG_MADE_BY && tag["Value"] == MADE_BY;
        let is_ours = document["Tags"].as_array().into_iter().flatten().any(is_mark);
        Ok(Some(Found { arn, is_ours }))
    }
}
