//! What a stack's parts have printed, from CloudWatch Logs, oldest first.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use super::PAGES_MAX;
use crate::call::{Aws, Call, CallError, operation};

/// How far a follower looks back: events become visible some seconds after they happened, and not in order.
const LATE_MS: i64 = 30_000;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEvent {
    /// CloudWatch's own id.
    pub id: String,
    /// When it happened, in milliseconds since 1970.
    pub at_ms: i64,
    /// The line.
    pub message: String,
}

/// The events of a log group since `from_ms`, that match CloudWatch's `pattern`. A group that is not there yet has none.
///
/// # Errors
/// As [`Aws::send`].
pub async fn since(aws: &Aws, group: &str, from_ms: i64, pattern: Option<&str>) -> Result<Vec<LogEvent>, CallError> {
    let resource = format!("log group {group}");
    let (mut found, mut token) = (Vec::new(), Value::Null);
    for _ in 0..PAGES_MAX {
        let mut document = json!({ "logGroupName": group, "startTime": from_ms });
        if let Some(pattern) = pattern {
            document["filterPattern"] = json!(pattern);
        }
        if !token.is_null() {
            document["nextToken"] = token;
        }
        let mut page = match aws.send(Call::new(&operation::FILTER_LOG_EVENTS, &resource).json(&document)).await {
            Err(error) if error.has_code("ResourceNotFoundException") => break,
            answer => answer?.json()?,
        };
        found.extend(page["events"].as_array().into_iter().flatten().map(|event| LogEvent {
            id: event["eventId"].as_str().unwrap_or_default().to_owned(),
            at_ms: event["timestamp"].as_i64().unwrap_or(from_ms),
            message: event["message"].as_str().unwrap_or_default().trim_end().to_owned(),
        }));
        token = page["nextToken"].take();
        if token.is_null() {
            break;
        }
    }
    Ok(found)
}

/// Tells each event once, for as long as `told` says to go on.
///
/// # Errors
/// As [`Aws::send`].
pub async fn follow(
    aws: &Aws,
    group: &str,
    mut from_ms: i64,
    pattern: Option<&str>,
    pause: Duration,
    told: &mut (dyn FnMut(&LogEvent) -> bool + Send),
) -> Result<(), CallError> {
    // Only what a look back could find again is remembered.
    let mut seen: BTreeSet<(i64, String)> = BTreeSet::new();
    loop {
        let events = since(aws, group, from_ms, pattern).await?;
        for event in &events {
            if seen.insert((event.at_ms, event.id.clone())) && !told(event) {
                return Ok(());
            }
        }
        let newest = events.iter().map(|event| event.at_ms).max().unwrap_or(from_ms);
        from_ms = from_ms.max(newest - LATE_MS);
        seen.retain(|(at_ms, _)| *at_ms >= from_ms);
        tokio::time::sleep(pause).await;
    }
}
