//! The end of an exchange: a response body that counts what it hands out and, when it is done with or dropped, tells the access log and the metrics.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use crate::exchange::{Ended, Exchange};
use crate::integration::{Body, BoxError};
use crate::metrics::MethodMetrics;
use crate::serve::Observers;

/// A body whose end is noted.
pub(crate) struct ObservedBody {
    body: Body,
    response_bytes: u64,
    end: Option<End>,
}

struct End {
    exchange: Exchange,
    began: Instant,
    metrics: Option<MethodMetrics>,
    observers: Arc<Observers>,
}

impl ObservedBody {
    pub(crate) fn new(
        body: Body,
        exchange: Exchange,
        began: Instant,
        metrics: Option<MethodMetrics>,
        observers: Arc<Observers>,
    ) -> ObservedBody {
        ObservedBody { body, response_bytes: 0, end: Some(End { exchange, began, metrics, observers }) }
    }

    fn finish(&mut self) {
        let Some(End { exchange, began, metrics, observers }) = self.end.take() else { return };
        let ended = Ended { latency: since(began), response_bytes: self.response_bytes };
        if let Some(metrics) = metrics {
            metrics.record(&exchange, ended);
        }
        if let Some(access_log) = &observers.access_log {
            access_log.write(&exchange, ended);
        }
    }
}

impl Drop for ObservedBody {
    fn drop(&mut self) {
        self.finish();
    }
}

impl HttpBody for ObservedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => self.response_bytes += frame.data_ref().map_or(0, Bytes::len) as u64,
            Poll::Ready(None | Some(Err(_))) => self.finish(),
            Poll::Pending => {}
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
