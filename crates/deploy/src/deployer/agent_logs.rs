//! The agent's log groups: AgentCore makes them itself with the runtime, keeps what is in them for ever, and leaves them when the runtime goes. No template can
//! hold them, since CloudFormation makes nothing that is there already.

use serde_json::json;

use super::Deployer;
use super::stacks::Stack;
use crate::call::{Call, CallError, operation};
use crate::stack::{AGENT_ENDPOINT, outputs};

/// AgentCore's own endpoint of every runtime.
const DEFAULT_ENDPOINT: &str = "DEFAULT";

/// The groups of the stack's endpoints; none of a stack that never had an agent.
fn groups(stack: &Stack) -> Vec<String> {
    let id = stack.outputs.get(outputs::AGENT_ARN).and_then(|arn| arn.rsplit_once('/')).map(|(_, id)| id);
    let of = |id: &str| [AGENT_ENDPOINT, DEFAULT_ENDPOINT].map(|endpoint| format!("/aws/bedrock-agentcore/runtimes/{id}-{endpoint}"));
    id.map(of).into_iter().flatten().collect()
}

impl Deployer<'_> {
    /// Has the agent's logs kept for so many days.
    ///
    /// # Errors
    /// As [`crate::call::Aws::send`].
    pub async fn keep_agent_logs(&self, stack: &Stack, days: u32) -> Result<(), CallError> {
        for group in groups(stack) {
            let resource = format!("log group {group}");
            let make = Call::new(&operation::CREATE_LOG_GROUP, &resource).json(&json!({ "logGroupName": group }));
            match self.aws.send(make).await {
                Err(error) if error.has_code("ResourceAlreadyExistsException") => {}
                made => drop(made?),
            }
            let keep = json!({ "logGroupName": group, "retentionInDays": days });
            self.aws.send(Call::new(&operation::PUT_RETENTION_POLICY, &resource).json(&keep)).await?;
        }
        Ok(())
    }

    /// Removes the agent's logs. Gives the groups that were there.
    ///
    /// # Errors
    /// As [`crate::call::Aws::send`].
    pub(super) async fn remove_agent_logs(&self, stack: &Stack) -> Result<Vec<String>, CallError> {
        let mut removed = Vec::new();
        for group in groups(stack) {
            let resource = format!("log group {group}");
            match self.aws.send(Call::new(&operation::DELETE_LOG_GROUP, &resource).json(&json!({ "logGroupName": group }))).await {
                Ok(_) => removed.push(resource),
                Err(error) if error.has_code("ResourceNotFoundException") => {}
                Err(error) => return Err(error),
            }
        }
        Ok(removed)
    }
}
