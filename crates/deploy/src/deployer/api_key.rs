//! What API Gateway is asked directly: the account's role for logs, and an API key's value, which no output of a stack should show.

use super::DeployError;
use super::stacks::Stack;
use crate::call::{Aws, Call, CallError, operation};
use crate::stack::outputs;

/// The role with which API Gateway writes logs in this account and region; `None` where there is none.
///
/// # Errors
/// As [`Aws::send`].
pub async fn log_role(aws: &Aws) -> Result<Option<String>, CallError> {
    let answer = aws.send(Call::new(&operation::GET_API_GATEWAY_ACCOUNT, "API Gateway's account settings")).await?;
    Ok(answer.json()?["cloudwatchRoleArn"].as_str().filter(|arn| !arn.is_empty()).map(str::to_owned))
}

/// The value of the stack's first API key.
///
/// # Errors
/// [`DeployError::NoOutput`]; as [`Aws::send`].
pub async fn value(aws: &Aws, stack: &Stack) -> Result<String, DeployError> {
    let id = stack.output(outputs::API_KEY_ID)?;
    let resource = format!("API key {id}");
    let answer = aws.send(Call::new(&operation::GET_API_KEY, &resource).path("id", id).parameter("includeValue", "true")).await?;
    let document = answer.json()?;
    Ok(document["value"].as_str().ok_or_else(|| answer.lacks("value"))?.to_owned())
}
