//! What a handler answers: one JSON value, or a stream of them as server-sent events.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::HandlerError;
use crate::unwind::poll_guarded;

/// Events that may wait for a slow reader. A producer that is further ahead waits too.
const EVENTS_WAITING_MAX: usize = 16;

type Producer = Pin<Box<dyn Future<Output = Result<(), HandlerError>> + Send>>;

/// A handler's answer.
pub enum Answer {
    /// One value, answered as `application/json`.
    Value(Value),
    /// A stream of values, answered as `text/event-stream`. Made by [`Answer::stream`].
    Stream(EventStream),
}

impl Answer {
    /// Serializes `value` as the answer. Fails where `serde_json` does, for instance on a map whose keys are no strings.
    pub fn of(value: impl Serialize) -> Result<Answer, HandlerError> {
        serde_json::to_value(value).map(Answer::Value).map_err(|error| HandlerError::Internal(format!("the answer is not JSON: {error}")))
    }

    /// A streamed answer: `produce` is given the sending end and runs while the answer is read.
    ///
    /// An `Err` at its end, or a panic, is told in a last event
    /// `{"error", "error_type", "message"}`; the status is 200 by then. There is no event name and no end marker.
    pub fn stream<P, F>(produce: P) -> Answer
    where
        P: FnOnce(Events) -> F,
        F: Future<Output = Result<(), HandlerError>> + Send + 'static,
    {
        let (sender, receiver) = mpsc::channel(EVENTS_WAITING_MAX);
        let producer = Box::pin(produce(Events { sender }));
        Answer::Stream(EventStream { producer: Some(producer), receiver })
    }
}

impl From<Value> for Answer {
    fn from(value: Value) -> Answer {
        Answer::Value(value)
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // An answer may be private, so its content stays out of logs.
        formatter.write_str(match self {
            Answer::Value(_) => "Answer::Value(..)",
            Answer::Stream(_) => "Answer::Stream(..)",
        })
    }
}

/// The sending end of a streamed answer.
#[derive(Debug, Clone)]
pub struct Events {
    sender: mpsc::Sender<Value>,
}

impl Events {
    /// Sends one event, waiting while the reader is behind.
    pub async fn send(&self, item: Value) {
        // A closed channel means that the body is being dropped, and the producer with it: nobody is left to tell.
        let _ = self.sender.send(item).await;
    }
}

/// The body of a streamed answer. It drives the producer itself, so dropping the body stops the work.
pub struct EventStream {
    /// `None` once it has ended.
    producer: Option<Producer>,
    receiver: mpsc::Receiver<Value>,
}

impl Body for EventStream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let mut failure = None;
        if let Some(producer) = self.producer.as_mut()
            && let Poll::Ready(ended) = poll_guarded(context, |context| producer.as_mut().poll(context))
        {
            self.producer = None;
            failure = ended.err();
        }
        if let Some(error) = failure {
            tracing::warn!(errorType = error.type_name(), errorMessage = %error, "Stream failed");
            return self.last_events(&error);
        }
        // The producer holds the only sender, so the channel closes when it ends and what it sent has been read.
        self.receiver.poll_recv(context).map(|item| item.map(|item| Ok(Frame::data(event(&item)))))
    }
}

impl EventStream {
    /// What was sent before the producer failed, then the failure, as one frame.
    fn last_events(&mut self, error: &HandlerError) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        // A clone of the sender may live elsewhere; after its producer's failure it has nothing more to say.
        self.receiver.close();
        let mut events = Vec::new();
        while let Ok(item) = self.receiver.try_recv() {
            events.extend_from_slice(&event(&item));
        }
        events.extend_from_slice(&event(&json!({
            "error": error.to_string(),
            "error_type": error.type_name(),
            "message": "An error occurred during streaming",
        })));
        Poll::Ready(Some(Ok(Frame::data(events.into()))))
    }
}

/// One server-sent event. JSON holds no raw line break, so one `data:` line is enough.
fn event(item: &Value) -> Bytes {
    format!("data: {item}\n\n").into()
}
