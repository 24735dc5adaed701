//! The end of an exchange: when its answer has been handed out, or its caller has gone, the access log, the metrics and the trace are told.

use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use crate::exchange::{Ended, Exchange};
use crate::integration::{Body, BoxError};
use crate::metrics::MethodMetrics;
use crate::route::StageFacts;
use crate::serve::Observers;
use crate::span;

/// An exchange that is under way. Whatever becomes of it, its end is noted once: when this is dropped.
pub(crate) struct Observation {
    exchange: Exchange,
    began: Instant,
    response_bytes: u64,
    /// Of the API that was asked, when no method of it was reached.
    pub(crate) unrouted: Option<MethodMetrics>,
    /// The stage that was asked for it.
    pub(crate) unrouted_stage: Option<Arc<StageFacts>>,
    observers: Arc<Observers>,
}

impl Observation {
    /// In a box, since it goes from hand to hand.
    pub(crate) fn new(exchange: Exchange, began: Instant, observers: Arc<Observers>) -> Box<Observation> {
        Box::new(Observation { exchange, began, response_bytes: 0, unrouted: None, unrouted_stage: None, observers })
    }
}

impl Deref for Observation {
    type Target = Exchange;

    fn deref(&self) -> &Exchange {
        &self.exchange
    }
}

impl DerefMut for Observation {
    fn deref_mut(&mut self) -> &mut Exchange {
        &mut self.exchange
    }
}

impl Drop for Observation {
    fn drop(&mut self) {
        let ended = Ended { latency: since(self.began), response_bytes: self.response_bytes };
        let metrics = self.exchange.route.as_ref().map(|route| &route.metrics).or(self.unrouted.as_ref());
        if let Some(metrics) = metrics {
            metrics.record(&self.exchange, ended);
        }
        let stage = self.exchange.route.as_ref().map(|route| &route.stage).or(self.unrouted_stage.as_ref());
        let of_stage = stage.and_then(|stage| stage.access_log.as_ref());
        for access_log in self.observers.access_log.as_deref().into_iter().chain(of_stage) {
            access_log.write(&self.exchange, ended);
        }
        self.observers.spans.record(self.exchange.trace.span, || span::record(&self.exchange, ended, now()));
    }
}

/// A body that counts what it hands out.
pub(crate) struct ObservedBody {
    body: Body,
    observation: Option<Box<Observation>>,
}

impl ObservedBody {
    pub(crate) fn new(body: Body, observation: Box<Observation>) -> ObservedBody {
        ObservedBody { body, observation: Some(observation) }
    }
}

impl HttpBody for ObservedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        match (&polled, &mut self.observation) {
            (Poll::Ready(Some(Ok(frame))), Some(observation)) => {
                observation.response_bytes += frame.data_ref().map_or(0, Bytes::len) as u64;
            }
            (Poll::Ready(None | Some(Err(_))), _) => self.observation = None,
            _ => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the edge where an answer's end is read")]
fn since(began: Instant) -> Duration {
    Instant::now().duration_since(began)
}

#[expect(clippy::disallowed_methods, reason = "this is the edge where an answer's end is read")]
fn now() -> SystemTime {
    SystemTime::now()
}
