//! An agent that answers bit by bit: the words of the prompt, one server-sent event each.

use std::time::Duration;

use frontdesk_agentcore::{Answer, App, Context, HandlerError};
use serde_json::{Value, json};

async fn spell(payload: Value, _context: Context) -> Result<Answer, HandlerError> {
    let prompt = payload["prompt"].as_str().ok_or_else(|| HandlerError::http(400, "Missing required field: prompt"))?.to_owned();
    Ok(Answer::stream(async move |events| {
        for word in prompt.split_whitespace() {
            events.send(json!({ "word": word })).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }))
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    App::new(spell).serve().await
}
