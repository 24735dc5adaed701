//! An agent that goes on working after it has answered: until the work is done `/ping` says `HealthyBusy`.

use std::time::Duration;

use frontdesk_agentcore::{App, Context, HandlerError};
use serde_json::{Value, json};

async fn begin(payload: Value, context: Context) -> Result<Value, HandlerError> {
    let seconds = payload["seconds"].as_u64().unwrap_or(5);
    let task = context.background_task();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        tracing::info!(seconds, "The work is done");
        drop(task);
    });
    Ok(json!({ "begun": true, "seconds": seconds }))
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    App::new(begin).serve().await
}
