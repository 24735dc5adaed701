//! Log streams.

use frontdesk_store::LogStream;
use serde_json::{Value, json};

use super::service::LogService;
use super::{Answer, Call, existing, invalid, not_found, of_store};
use crate::json_document::without_nulls;

pub(super) fn create(call: &Call, service: &LogService) -> Answer {
    let (group, stream) = (call.group_name("logGroupName")?, call.stream_name("logStreamName")?);
    let has_group = service.store.create_log_stream(&group, &stream, call.now_ms).map_err(|error| of_store(error, "log stream"))?;
    if has_group { Ok(Value::Null) } else { Err(not_found("log group")) }
}

pub(super) fn delete(call: &Call, service: &LogService) -> Answer {
    let (group, stream) = (call.group_name("logGroupName")?, call.stream_name("logStreamName")?);
    existing(service, &group)?;
    let was_there = service.store.delete_log_stream(&group, &stream).map_err(|error| of_store(error, "log stream"))?;
    if was_there { Ok(Value::Null) } else { Err(not_found("log stream")) }
}

pub(super) fn describe(call: &Call, service: &LogService) -> Answer {
    let group = existing(service, &call.group_of_events()?)?.name;
    let prefix: Option<String> = call.member("logStreamNamePrefix")?;
    let order: String = call.member("orderBy")?.unwrap_or_else(|| "LogStreamName".to_owned());
    let by_time = match order.as_str() {
        "LogStreamName" => false,
        "LastEventTime" => true,
        other => {
            return Err(invalid(format!(
                "1 validation error detected: Value '{other}' at 'orderBy' failed to satisfy constraint: Member must satisfy enum value set: \
                 [LogStreamName, LastEventTime]"
            )));
        }
    };
    if by_time && prefix.is_some() {
        return Err(invalid("Cannot order by LastEventTime with a logStreamNamePrefix."));
    }
    let mut streams = service.store.log_streams(&group).map_err(|error| of_store(error, "log stream"))?;
    streams.retain(|stream| prefix.as_ref().is_none_or(|prefix| stream.name.starts_with(prefix)));
    if by_time {
        // The sort keeps the order by name among those of the same moment.
        streams.sort_by_key(|stream| stream.last_event_ms);
    }
    if call.member("descending")?.unwrap_or(false) {
        streams.reverse();
    }
    let arn = service.arn(&group);
    call.page("logStreams", streams, |stream| document(&stream, &arn))
}

fn document(stream: &LogStream, group_arn: &str) -> Value {
    without_nulls(json!({
        "logStreamName": stream.name,
        "creationTime": stream.created_at_ms,
        "firstEventTimestamp": stream.first_event_ms,
        "lastEventTimestamp": stream.last_event_ms,
        "lastIngestionTime": stream.last_ingested_ms,
        "uploadSequenceToken": stream.last_ingested_ms.map(|moment| format!("{moment:056}")),
        "arn": format!("{group_arn}:log-stream:{}", stream.name),
        // Always 0 at AWS, since 2019; the group's counts.
        "storedBytes": 0,
    }))
}
