//! Events: put, read stream by stream, searched over a group.

use frontdesk_aws::ServiceError;
use frontdesk_store::{EVENT_OVERHEAD_BYTES, EventRange, NewEvent, Position, StoredEvent};
use serde::Deserialize;
use serde_json::{Value, json};

use super::pattern::Pattern;
use super::service::{EVENT_BYTES_MAX, LogService};
use super::{Answer, Call, existing, invalid, not_found, of_store};
use crate::json_document::without_nulls;

/// Events that one PutLogEvents may have.
const BATCH_EVENTS_MAX: usize = 10_000;
/// What they may weigh together, in bytes.
const BATCH_BYTES_MAX: usize = 1_048_576;
const DAY_MS: i64 = 86_400_000;
/// Events that are older are not taken, nor those that lie further ahead.
const AGE_MS_MAX: i64 = 14 * DAY_MS;
const AHEAD_MS_MAX: i64 = 2 * 60 * 60 * 1000;
/// A page of events, at most: so many, or so many bytes.
const PAGE_EVENTS_MAX: usize = 10_000;
const PAGE_BYTES_MAX: usize = 1_048_576;
/// Events that a search reads from the database at once.
const SEARCH_STEP: usize = 1000;
/// Events that a search looks at before it answers with what it has and a token to go on with.
const SEARCH_EVENTS_MAX: usize = 50_000;
/// Streams that a search may name.
const STREAMS_MAX: usize = 100;

#[derive(Debug, Clone, Deserialize)]
struct InputEvent {
    timestamp: i64,
    message: String,
}

/// Which events of a batch are taken: those between the two; the others are too old, or too new.
#[derive(Debug, PartialEq, Eq)]
struct Taken {
    begin: usize,
    end: usize,
    too_old: usize,
    expired: usize,
}

pub(super) fn put(call: &Call, service: &LogService) -> Answer {
    let (group, stream) = (call.group_name("logGroupName")?, call.stream_name("logStreamName")?);
    let events: Vec<InputEvent> = call.required("logEvents")?;
    check_batch(&events)?;
    let retention_days = existing(service, &group)?.retention_days;
    if !service.store.has_log_stream(&group, &stream).map_err(|error| of_store(error, "log stream"))? {
        return Err(not_found("log stream"));
    }
    let taken = taken(&events, call.now_ms, retention_days);
    let count = events.len();
    let new = events.into_iter().take(taken.end).skip(taken.begin).map(|event| NewEvent {
        group: group.clone(),
        stream: stream.clone(),
        timestamp_ms: event.timestamp,
        message: event.message,
    });
    let new: Vec<_> = new.collect();
    if !new.is_empty() {
        service.put(&new, call.now_ms).map_err(|error| of_store(error, "log event"))?;
    }
    let rejected = (taken.begin > 0 || taken.end < count).then(|| {
        without_nulls(json!({
            "tooNewLogEventStartIndex": (taken.end < count).then_some(taken.end),
            "tooOldLogEventEndIndex": (taken.too_old > 0).then_some(taken.too_old),
            "expiredLogEventEndIndex": (taken.expired > 0).then_some(taken.expired),
        }))
    });
    // The token has not been asked for since 2023; older clients hand it on.
    Ok(without_nulls(json!({ "nextSequenceToken": format!("{:056}", call.now_ms), "rejectedLogEventsInfo": rejected })))
}

/// CloudWatch Logs' rules for a batch.
fn check_batch(events: &[InputEvent]) -> Result<(), ServiceError> {
    if events.is_empty() || events.len() > BATCH_EVENTS_MAX {
        let bound =
            if events.is_empty() { "greater than or equal to 1".to_owned() } else { format!("less than or equal to {BATCH_EVENTS_MAX}") };
        return Err(invalid(format!(
            "1 validation error detected: Value at 'logEvents' failed to satisfy constraint: Member must have length {bound}"
        )));
    }
    if let Some(index) = events.iter().position(|event| event.message.is_empty()) {
        return Err(invalid(format!(
            "1 validation error detected: Value '' at 'logEvents.{}.member.message' failed to satisfy constraint: Member must have length greater than or equal to 1",
            index + 1
        )));
    }
    if let Some(event) = events.iter().find(|event| event.message.len() + EVENT_OVERHEAD_BYTES > EVENT_BYTES_MAX) {
        return Err(invalid(format!(
            "Log event too large: {} bytes exceeds limit of {EVENT_BYTES_MAX}",
            event.message.len() + EVENT_OVERHEAD_BYTES
        )));
    }
    let bytes: usize = events.iter().map(|event| event.message.len() + EVENT_OVERHEAD_BYTES).sum();
    if bytes > BATCH_BYTES_MAX {
        return Err(invalid(format!("Upload too large: {bytes} bytes exceeds limit of {BATCH_BYTES_MAX}")));
    }
    if events.iter().any(|event| event.timestamp < 0) {
        return Err(invalid("A log event's timestamp must not be before the year 1970."));
    }
    if !events.is_sorted_by_key(|event| event.timestamp) {
        return Err(invalid("Log events in a single PutLogEvents request must be in chronological order."));
    }
    let span = events.last().zip(events.first()).map_or(0, |(last, first)| last.timestamp - first.timestamp);
    if span > DAY_MS {
        return Err(invalid("The batch of log events in a single PutLogEvents request cannot span more than 24 hours."));
    }
    Ok(())
}

fn taken(events: &[InputEvent], now_ms: i64, retention_days: Option<u32>) -> Taken {
    let before = |moment: i64| events.partition_point(|event| event.timestamp < moment);
    let too_old = before(now_ms - AGE_MS_MAX);
    let expired = retention_days.map_or(0, |days| before(now_ms - i64::from(days) * DAY_MS));
    let begin = too_old.max(expired);
    Taken { begin, end: before(now_ms + AHEAD_MS_MAX + 1).max(begin), too_old, expired }
}

pub(super) fn get(call: &Call, service: &LogService) -> Answer {
    let group = existing(service, &call.group_of_events()?)?;
    let stream = call.stream_name("logStreamName")?;
    if !service.store.has_log_stream(&group.name, &stream).map_err(|error| of_store(error, "log stream"))? {
        return Err(not_found("log stream"));
    }
    let limit = call.bounded("limit", PAGE_EVENTS_MAX, PAGE_EVENTS_MAX)?;
    let token = call.member::<String>("nextToken")?;
    let place =
        token.as_deref().map(|token| read_place(token).ok_or_else(|| invalid("The specified nextToken is invalid."))).transpose()?;
    let is_forward = match place {
        Some((is_forward, _)) => is_forward,
        None => call.member("startFromHead")?.unwrap_or(false),
    };
    let range = EventRange {
        streams: Some(vec![stream]),
        until_ms: moment(call, "endTime")?.unwrap_or(i64::MAX),
        is_backward: !is_forward,
        beyond: place.map(|(_, place)| place),
        limit,
        ..whole(call, &group)?
    };
    let mut events = service.store.log_events(&range).map_err(|error| of_store(error, "log event"))?.events;
    if range.is_backward {
        events.reverse();
    }
    // Where there is nothing, both tokens stay where the caller is.
    let here = place.map_or(Position { timestamp_ms: 0, id: 0 }, |(_, place)| place);
    let (first, last) = (events.first().map_or(here, StoredEvent::position), events.last().map_or(here, StoredEvent::position));
    let documents: Vec<Value> = events
        .iter()
        .map(|event| json!({ "timestamp": event.timestamp_ms, "message": event.message, "ingestionTime": event.ingested_at_ms }))
        .collect();
    Ok(json!({ "events": documents, "nextForwardToken": written_place('f', last), "nextBackwardToken": written_place('b', first) }))
}

/// A moment of the call's, in Unix milliseconds.
fn moment(call: &Call, member: &str) -> Result<Option<i64>, ServiceError> {
    match call.member::<i64>(member)? {
        Some(moment) if moment < 0 => Err(invalid(format!(
            "1 validation error detected: Value '{moment}' at '{member}' failed to satisfy constraint: Member must have value greater than or equal to 0"
        ))),
        moment => Ok(moment),
    }
}

/// The events of a group that the call's moments leave, forward and without an end.
fn whole(call: &Call, group: &frontdesk_store::LogGroup) -> Result<EventRange, ServiceError> {
    let begin = moment(call, "startTime")?.unwrap_or(0);
    // What is too old is not shown, whether it has been deleted yet or not.
    let kept = group.retention_days.map_or(0, |days| call.now_ms - i64::from(days) * DAY_MS);
    Ok(EventRange {
        group: group.name.clone(),
        streams: None,
        from_ms: kept.max(begin),
        until_ms: i64::MAX,
        is_backward: false,
        beyond: None,
        limit: PAGE_EVENTS_MAX,
        bytes_max: PAGE_BYTES_MAX,
    })
}

pub(super) fn filter(call: &Call, service: &LogService) -> Answer {
    let group = existing(service, &call.group_of_events()?)?;
    let pattern =
        Pattern::parse(&call.member::<String>("filterPattern")?.unwrap_or_default()).map_err(|error| invalid(error.to_string()))?;
    let limit = call.bounded("limit", PAGE_EVENTS_MAX, PAGE_EVENTS_MAX)?;
    let token: Option<String> = call.member("nextToken")?;
    let place =
        token.as_deref().map(|token| read_place(token).ok_or_else(|| invalid("The specified nextToken is invalid."))).transpose()?;
    let mut range = EventRange {
        streams: streams(call, service, &group.name)?,
        // An event of the last moment still belongs to what is asked for, other than with GetLogEvents.
        until_ms: moment(call, "endTime")?.map_or(i64::MAX, |end| end.saturating_add(1)),
        beyond: place.map(|(_, place)| place),
        limit: SEARCH_STEP,
        ..whole(call, &group)?
    };
    let (mut found, mut bytes, mut searched) = (Vec::new(), 0, 0);
    let has_more = 'search: loop {
        let page = service.store.log_events(&range).map_err(|error| of_store(error, "log event"))?;
        searched += page.events.len();
        for event in page.events {
            if pattern.matches(&event.message) {
                bytes += event.message.len() + EVENT_OVERHEAD_BYTES;
                if found.len() == limit || (bytes > PAGE_BYTES_MAX && !found.is_empty()) {
                    break 'search true;
                }
                found.push(document(&event));
            }
            range.beyond = Some(event.position());
        }
        if !page.has_more || searched >= SEARCH_EVENTS_MAX {
            break page.has_more;
        }
    };
    let next = range.beyond.filter(|_| has_more).map(|place| written_place('f', place));
    Ok(without_nulls(json!({ "events": found, "searchedLogStreams": [], "nextToken": next })))
}

/// The streams that a search is for; `None` for all of the group's.
fn streams(call: &Call, service: &LogService, group: &str) -> Result<Option<Vec<String>>, ServiceError> {
    let (names, prefix) = (call.member::<Vec<String>>("logStreamNames")?, call.member::<String>("logStreamNamePrefix")?);
    match (names, prefix) {
        (Some(_), Some(_)) => Err(invalid("logStreamNames and logStreamNamePrefix are mutually exclusive parameters.")),
        (Some(names), None) if names.len() > STREAMS_MAX => Err(invalid(format!(
            "1 validation error detected: Value at 'logStreamNames' failed to satisfy constraint: Member must have length less than or equal to {STREAMS_MAX}"
        ))),
        (Some(names), None) if !names.is_empty() => {
            for name in &names {
                if !service.store.has_log_stream(group, name).map_err(|error| of_store(error, "log stream"))? {
                    return Err(not_found("log stream"));
                }
            }
            Ok(Some(names))
        }
        (_, Some(prefix)) => {
            let streams = service.store.log_streams(group).map_err(|error| of_store(error, "log stream"))?;
            Ok(Some(streams.into_iter().map(|stream| stream.name).filter(|name| name.starts_with(&prefix)).collect()))
        }
        _ => Ok(None),
    }
}

fn document(event: &StoredEvent) -> Value {
    json!({
        "logStreamName": event.stream,
        "timestamp": event.timestamp_ms,
        "message": event.message,
        "ingestionTime": event.ingested_at_ms,
        "eventId": format!("{:020}{:036}", event.timestamp_ms, event.id),
    })
}

/// A place as a token: its direction and 56 digits, as CloudWatch Logs' own look.
fn written_place(direction: char, place: Position) -> String {
    format!("{direction}/{:020}{:036}/s", place.timestamp_ms, place.id)
}

/// Whether a token leads forward, and its place.
fn read_place(token: &str) -> Option<(bool, Position)> {
    let is_forward = token.starts_with("f/");
    let digits = token.strip_prefix("f/").or_else(|| token.strip_prefix("b/"))?.strip_suffix("/s")?;
    let (timestamp_ms, id) = (digits.len() == 56 && digits.is_ascii()).then(|| digits.split_at(20))?;
    Some((is_forward, Position { timestamp_ms: timestamp_ms.parse().ok()?, id: id.parse().ok()? }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(moments: &[i64]) -> Vec<InputEvent> {
        moments.iter().map(|timestamp| InputEvent { timestamp: *timestamp, message: "hi".to_owned() }).collect()
    }

    #[test]
    fn a_batch_keeps_the_rules() {
        let check = |events: &[InputEvent], expected: &str| {
            let told = check_batch(events).err().map(|error| error.message).unwrap_or_default();
            assert!(told.contains(expected) && told.is_empty() == expected.is_empty(), "{expected}: {told}");
        };
        check(&events(&[1, 1, 2]), "");
        check(&[], "greater than or equal to 1");
        check(&events(&[2, 1]), "chronological order");
        check(&events(&[0, DAY_MS + 1]), "span more than 24 hours");
        check(&vec![events(&[1])[0].clone(); BATCH_EVENTS_MAX + 1], "less than or equal to 10000");
        check(&[InputEvent { timestamp: 1, message: String::new() }], "logEvents.1.member.message");
        check(&[InputEvent { timestamp: 1, message: "x".repeat(EVENT_BYTES_MAX) }], "Log event too large");
        check(&vec![InputEvent { timestamp: 1, message: "x".repeat(600_000) }; 2], "Upload too large");
    }

    #[test]
    fn what_is_too_old_or_too_new_is_not_taken() {
        let now_ms = 100 * DAY_MS;
        let moments = [now_ms - 15 * DAY_MS, now_ms - 2 * DAY_MS, now_ms, now_ms + AHEAD_MS_MAX, now_ms + AHEAD_MS_MAX + 1];
        assert_eq!(taken(&events(&moments), now_ms, None), Taken { begin: 1, end: 4, too_old: 1, expired: 0 });
        assert_eq!(taken(&events(&moments), now_ms, Some(1)), Taken { begin: 2, end: 4, too_old: 1, expired: 2 });
        assert_eq!(taken(&events(&[0, 1]), now_ms, None), Taken { begin: 2, end: 2, too_old: 2, expired: 0 });
    }

    #[test]
    fn a_place_is_written_and_read() {
        let place = Position { timestamp_ms: 1_700_000_000_000, id: 42 };
        assert_eq!(read_place(&written_place('f', place)), Some((true, place)));
        assert_eq!(read_place(&written_place('b', place)), Some((false, place)));
        for wrong in ["", "f/", "f/1/s", "x/00000001700000000000000000000000000000000000000000000042/s"] {
            assert_eq!(read_place(wrong), None, "{wrong}");
        }
    }
}
