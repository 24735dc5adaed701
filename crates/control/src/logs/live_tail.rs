//! StartLiveTail: a group's new events, every second, for as long as somebody reads
//! (<https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_StartLiveTail.html>).

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use frontdesk_aws::ServiceError;
use frontdesk_aws::event_stream::{MEDIA_TYPE, Message, message};
use frontdesk_runtime::ResponseBody;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame};
use serde_json::{Value, json};
use tokio::time::{Interval, MissedTickBehavior, Sleep};

use super::pattern::Pattern;
use super::service::LogService;
use super::tails::{Session, Streams, Wanted};
use super::{Call, existing, group_of_arn, invalid};
use crate::json_document::without_nulls;

/// CloudWatch Logs' bound on the groups of a session.
const GROUPS_MAX: usize = 10;
/// How long a session lasts: three hours.
const SESSION: Duration = Duration::from_secs(3 * 3600);
/// How often a session hears something.
const UPDATE_PERIOD: Duration = Duration::from_secs(1);

/// The groups that a call names: their names, and the names or ARNs that it has for them.
///
/// # Errors
/// InvalidParameterException.
pub(super) fn groups(call: &Call) -> Result<Vec<(String, String)>, ServiceError> {
    let identifiers: Vec<String> = call.required("logGroupIdentifiers")?;
    if !(1..=GROUPS_MAX).contains(&identifiers.len()) {
        let bound =
            if identifiers.is_empty() { "greater than or equal to 1".to_owned() } else { format!("less than or equal to {GROUPS_MAX}") };
        return Err(invalid(format!(
            "1 validation error detected: Value at 'logGroupIdentifiers' failed to satisfy constraint: Member must have length {bound}"
        )));
    }
    identifiers
        .into_iter()
        .map(|identifier| match identifier.ends_with('*') {
            true => Err(invalid(format!("The log group identifier {identifier} must not end with an asterisk."))),
            false => Ok((group_of_arn(&identifier).unwrap_or_else(|| identifier.clone()), identifier)),
        })
        .collect()
}

/// Begins a session. Blocks on the database.
///
/// # Errors
/// InvalidParameterException, ResourceNotFoundException, LimitExceededException.
pub(super) fn start(call: &Call, service: &LogService) -> Result<LiveTail, ServiceError> {
    let groups = groups(call)?;
    for (name, _) in &groups {
        existing(service, name)?;
    }
    let (names, prefixes) = (call.member::<Vec<String>>("logStreamNames")?, call.member::<Vec<String>>("logStreamNamePrefixes")?);
    if groups.len() > 1 && (names.is_some() || prefixes.is_some()) {
        return Err(invalid("logStreamNames and logStreamNamePrefixes may be specified for a single log group only."));
    }
    let streams = match (names.clone(), prefixes.clone()) {
        (Some(_), Some(_)) => return Err(invalid("logStreamNames and logStreamNamePrefixes are mutually exclusive parameters.")),
        (Some(names), None) => Streams::Named(names),
        (None, Some(prefixes)) => Streams::Beginning(prefixes),
        (None, None) => Streams::All,
    };
    let text = call.member::<String>("logEventFilterPattern")?;
    let pattern = Pattern::parse(text.as_deref().unwrap_or_default()).map_err(|error| invalid(error.to_string()))?;
    let identifiers: Vec<String> = groups.iter().map(|(_, identifier)| identifier.clone()).collect();
    let session = service.tails.begin(Wanted { groups, streams, pattern }).ok_or_else(|| {
        ServiceError::new(StatusCode::BAD_REQUEST, "LimitExceededException", "The number of concurrent Live Tail sessions is at its limit.")
    })?;
    let started = without_nulls(json!({
        "requestId": uuid::Uuid::new_v4().to_string(),
        "sessionId": uuid::Uuid::new_v4().to_string(),
        "logGroupIdentifiers": identifiers,
        "logStreamNames": names,
        "logStreamNamePrefixes": prefixes,
        "logEventFilterPattern": text,
    }));
    Ok(LiveTail::new(session, &started, UPDATE_PERIOD, SESSION))
}

/// The answer's body: what the session was begun with, then an update every second. Who leaves drops it, and with it the session.
pub(super) struct LiveTail {
    session: Arc<Session>,
    /// Messages that are ready.
    ready: VecDeque<Bytes>,
    has_ended: bool,
    period: Interval,
    end: Pin<Box<Sleep>>,
}

impl LiveTail {
    fn new(session: Arc<Session>, started: &Value, update_period: Duration, lasts: Duration) -> LiveTail {
        let opening = [(Message::Event("initial-response"), json!({})), (Message::Event("sessionStart"), started.clone())];
        let ready = opening.into_iter().map(|(kind, document)| message(kind, document.to_string().as_bytes())).collect();
        // The first update comes a period after the beginning.
        let mut period = tokio::time::interval(update_period);
        period.reset();
        period.set_missed_tick_behavior(MissedTickBehavior::Delay);
        LiveTail { session, ready, has_ended: false, period, end: Box::pin(tokio::time::sleep(lasts)) }
    }

    /// The answer that streams it.
    pub(super) fn into_response(self) -> Response<ResponseBody> {
        let mut response = Response::new(self.map_err(|never| match never {}).boxed_unsync());
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        response
    }

    fn update(&self) -> Bytes {
        let (events, is_sample) = self.session.take();
        let event = |event: super::tails::TailedEvent| {
            json!({
                "logGroupIdentifier": event.group,
                "logStreamName": event.stream,
                "message": event.message,
                "timestamp": event.timestamp_ms,
                "ingestionTime": event.ingested_at_ms,
            })
        };
        let events: Vec<Value> = events.into_iter().map(event).collect();
        let document = json!({ "sessionMetadata": { "sampled": is_sample }, "sessionResults": events });
        message(Message::Event("sessionUpdate"), document.to_string().as_bytes())
    }
}

impl Body for LiveTail {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        if let Some(message) = this.ready.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(message))));
        }
        if this.has_ended {
            return Poll::Ready(None);
        }
        if this.end.as_mut().poll(context).is_ready() {
            this.has_ended = true;
            let said = json!({ "message": "The Live Tail session has timed out: it was open for three hours." });
            let said = message(Message::Exception("SessionTimeoutException"), said.to_string().as_bytes());
            return Poll::Ready(Some(Ok(Frame::data(said))));
        }
        ready!(this.period.poll_tick(context));
        if this.session.has_ended() {
            this.has_ended = true;
            return Poll::Ready(None);
        }
        Poll::Ready(Some(Ok(Frame::data(this.update()))))
    }
}

#[cfg(test)]
mod tests {
    use frontdesk_store::NewEvent;

    use super::super::tails::Tails;
    use super::*;

    /// The name and the payload of a message.
    fn read(message: &Bytes) -> (String, Value) {
        let headers = u32::from_be_bytes(message[4..8].try_into().unwrap()) as usize;
        let text = String::from_utf8_lossy(&message[12..12 + headers]).into_owned();
        let names = ["initial-response", "sessionStart", "sessionUpdate", "SessionTimeoutException"];
        let name = names.into_iter().find(|name| text.contains(name)).unwrap();
        (name.to_owned(), serde_json::from_slice(&message[12 + headers..message.len() - 4]).unwrap())
    }

    async fn next(tail: &mut LiveTail) -> Option<(String, Value)> {
        let frame = tail.frame().await?.unwrap();
        Some(read(frame.data_ref().unwrap()))
    }

    fn tail(tails: &Tails) -> LiveTail {
        let wanted = Wanted { groups: vec![("g".to_owned(), "g".to_owned())], streams: Streams::All, pattern: Pattern::parse("").unwrap() };
        LiveTail::new(tails.begin(wanted).unwrap(), &json!({ "sessionId": "s" }), Duration::from_millis(1), SESSION)
    }

    #[tokio::test]
    async fn a_session_hears_something_every_period_until_its_time_is_over() {
        let tails = Tails::default();
        let mut tail = tail(&tails);
        assert_eq!(next(&mut tail).await, Some(("initial-response".to_owned(), json!({}))));
        assert_eq!(next(&mut tail).await, Some(("sessionStart".to_owned(), json!({ "sessionId": "s" }))));
        let event = NewEvent { group: "g".to_owned(), stream: "a".to_owned(), timestamp_ms: 1, message: "hi".to_owned() };
        tails.tell(&[event], 2);
        let told = json!({ "logGroupIdentifier": "g", "logStreamName": "a", "message": "hi", "timestamp": 1, "ingestionTime": 2 });
        let update = json!({ "sessionMetadata": { "sampled": false }, "sessionResults": [told] });
        assert_eq!(next(&mut tail).await, Some(("sessionUpdate".to_owned(), update)));
        assert_eq!(next(&mut tail).await.unwrap().1["sessionResults"], json!([]));
        tail.end = Box::pin(tokio::time::sleep(Duration::ZERO));
        let mut last = next(&mut tail).await.unwrap();
        while last.0 == "sessionUpdate" {
            last = next(&mut tail).await.unwrap();
        }
        assert_eq!(last.0, "SessionTimeoutException");
        assert_eq!(next(&mut tail).await, None);
    }

    #[tokio::test]
    async fn a_session_ends_with_the_host() {
        let tails = Tails::default();
        let mut tail = tail(&tails);
        let _ = (next(&mut tail).await, next(&mut tail).await);
        tails.end();
        assert_eq!(next(&mut tail).await, None);
    }
}
