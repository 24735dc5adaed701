//! The agent behind the API, past API Gateway and the proxy: how AgentCore says it is, and a call of it.

use crate::call::{Aws, Call, CallError, operation};

/// The header that names a session.
const SESSION_HEADER: &str = "x-amzn-bedrock-agentcore-runtime-session-id";

/// How a runtime is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentState {
    /// Such as `READY`.
    pub status: String,
    /// The version that its endpoint serves.
    pub version: String,
    /// Why it is not ready.
    pub failure: Option<String>,
}

/// Asks AgentCore for a runtime by its ARN.
///
/// # Errors
/// As [`Aws::send`].
pub async fn state(aws: &Aws, arn: &str) -> Result<AgentState, CallError> {
    let id = arn.rsplit_once('/').map_or(arn, |(_, id)| id);
    let answer = aws.send(Call::new(&operation::GET_AGENT_RUNTIME, arn).path("id", id)).await?;
    let document = answer.json()?;
    let text = |field: &str| document[field].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    Ok(AgentState {
        status: text("status").ok_or_else(|| answer.lacks("status"))?,
        version: text("agentRuntimeVersion").unwrap_or_default(),
        failure: text("failureReason"),
    })
}

/// Calls the agent with a payload as it stands. Gives the answer's body, and the session that it belongs to.
///
/// # Errors
/// As [`Aws::send`].
pub async fn invoke(aws: &Aws, arn: &str, payload: &str, session: Option<&str>) -> Result<(String, Option<String>), CallError> {
    let mut call = Call::new(&operation::INVOKE_AGENT_RUNTIME, arn).path("arn", arn).header("content-type", "application/json");
    if let Some(session) = session {
        call = call.header(SESSION_HEADER, session);
    }
    let answer = aws.send(call.bytes(payload.to_owned().into())).await?;
    let session = answer.header(SESSION_HEADER).map(str::to_owned);
    Ok((String::from_utf8_lossy(&answer.into_bytes()).into_owned(), session))
}
