//! The account's role with which API Gateway writes logs: read first, never overwritten.

use crate::call::{Aws, Call, CallError, operation};

/// The role with which API Gateway writes logs in this account and region; `None` where there is none.
///
/// # Errors
/// As [`Aws::send`].
pub async fn find(aws: &Aws) -> Result<Option<String>, CallError> {
    let answer = aws.send(Call::new(&operation::GET_API_GATEWAY_ACCOUNT, "API Gateway's account settings")).await?;
    Ok(answer.json()?["cloudwatchRoleArn"].as_str().filter(|arn| !arn.is_empty()).map(str::to_owned))
}
