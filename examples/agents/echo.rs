//! The smallest agent: it answers what it was sent, and in which session.

use frontdesk_agentcore::{Answer, App, Context, HandlerError};
use serde_json::{Value, json};

async fn echo(payload: Value, context: Context) -> Result<Answer, HandlerError> {
    Ok(json!({ "echo": payload, "session": context.session_id }).into())
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    App::new(echo).serve().await
}
