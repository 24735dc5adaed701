//! The way back: what this program made is removed, what it did not make is left alone and named.

use super::stacks;
use super::{DeployError, Deployer, Listener};
use crate::call::Account;
use crate::running::keys;
use crate::stack::StackName;

/// Something that stays, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// What.
    pub what: String,
    /// Why.
    pub why: &'static str,
}

/// What was removed, and what stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removed {
    /// In words, such as `stack faq (31 resources)`.
    pub removed: Vec<String>,
    /// What stays.
    pub kept: Vec<Kept>,
}

/// Why the account-wide resources stay.
const KEPT_ROLE: &str = "the account's setting for API Gateway's logs, which others may rely on by now";

/// Removes the stack with all that is in it, then what was made beside it: the secret, the images and the code.
///
/// # Errors
/// [`DeployError::NotOurs`], [`DeployError::Busy`], [`DeployError::Failed`] with the resource that could not be removed.
pub async fn undeploy(
    deployer: &Deployer<'_>,
    account: &Account,
    name: &StackName,
    listener: &mut Listener<'_>,
) -> Result<Removed, DeployError> {
    let mut done = Removed::default();
    let stack = stacks::describe(deployer.aws, name.as_str()).await?;
    if let Some(stack) = stack {
        if !stack.is_ours() {
            return Err(DeployError::NotOurs { what: format!("stack {name}") });
        }
        if stack.is_busy() && stack.status != "DELETE_IN_PROGRESS" {
            return Err(DeployError::Busy { stack: name.to_string(), status: stack.status });
        }
        let resources = stacks::resources(deployer.aws, name.as_str()).await?;
        let (kept, removed): (Vec<_>, Vec<_>) =
            resources.into_iter().partition(|resource| ["LogRole", "LogAccount"].contains(&resource.resource.as_str()));
        let beside: Vec<_> = match keys::list(deployer.aws, &stack).await {
            Ok(keys) => keys.into_iter().filter(|key| key.is_beside).collect(),
            // A stack that never came to be has no keys.
            Err(DeployError::NoOutput(_)) => Vec::new(),
            Err(error) => return Err(error),
        };
        let last_seen = super::events::last(deployer.aws, &stack.id).await?;
        stacks::delete(deployer.aws, &stack.id).await?;
        deployer.watch(&stack.id, last_seen, listener).await?;
        done.removed.push(format!("stack {name} ({} resources)", removed.len()));
        done.removed.extend(deployer.remove_agent_logs(&stack).await?);
        for key in beside {
            keys::delete(deployer.aws, &key.id).await?;
            done.removed.push(format!("API key {}", key.name));
        }
        done.kept.extend(kept.into_iter().map(|resource| Kept {
            what: format!("{} {}", resource.kind, resource.physical_id.unwrap_or(resource.resource)),
            why: KEPT_ROLE,
        }));
    }
    if deployer.remove_key(name).await? {
        done.removed.push(format!("secret {}", name.secret()));
    }
    done.removed.extend(deployer.remove_images(name).await?);
    deployer.remove_code(account, name, &mut done).await?;
    Ok(done)
}
