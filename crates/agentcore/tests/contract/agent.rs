//! One handler with a branch for every row of the AgentCore contract; `agent.py` is its twin, written with the Python SDK.

use frontdesk_agentcore::{Answer, App, Context, Frame, HandlerError};
use serde_json::{Value, json};

async fn every_way(payload: Value, context: Context) -> Result<Answer, HandlerError> {
    match payload["do"].as_str() {
        Some("stream") => Ok(Answer::stream(async |events| {
            for item in [json!("one"), json!({ "number": 2 }), json!(["three", null])] {
                events.send(item).await;
            }
            Ok(())
        })),
        Some("stream error") => Ok(Answer::stream(async |events| {
            events.send(json!("first")).await;
            Err(HandlerError::Internal("mid".to_owned()))
        })),
        Some("error") => Err(HandlerError::Internal("boom".to_owned())),
        Some("http error") => Err(HandlerError::http(418, "short and stout")),
        Some("context") => {
            let mut headers: Vec<&str> = context.headers.keys().map(|name| name.as_str()).collect();
            headers.sort_unstable();
            Ok(json!({ "session": context.session_id, "headers": headers }).into())
        }
        Some("busy") => {
            context.force_ping_status(Some(frontdesk_agentcore::PingStatus::HealthyBusy));
            Ok(Value::Null.into())
        }
        Some("idle") => {
            context.force_ping_status(None);
            Ok(Value::Null.into())
        }
        _ => Ok(json!({ "echo": payload }).into()),
    }
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let app = App::new(every_way).websocket(|connection, _context| {
        Box::pin(async move {
            while let Some(frame) = connection.receive().await {
                if frame == Frame::Text("fail".to_owned()) {
                    return Err(HandlerError::Internal("boom".to_owned()));
                }
                connection.send(frame).await?;
            }
            Ok(())
        })
    });
    app.serve().await
}
