//! A streamed answer that must keep coming, and come to an end.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use crate::integration::{Body, BoxError};

/// API Gateway's bounds on a streamed answer: between two pieces, and in all.
const STREAM_IDLE_TIMEOUT: Duration = Duration::from_secs(5 * 60);
const STREAM_TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// A body with a bound between two pieces and one in all; over either it breaks off, so that its reader knows that it is not whole.
pub(crate) struct TimedBody {
    body: Body,
    idle: Pin<Box<Sleep>>,
    idle_timeout: Duration,
    ends: Instant,
}

impl TimedBody {
    pub(crate) fn new(body: Body) -> TimedBody {
        let (idle_timeout, timeout) = (STREAM_IDLE_TIMEOUT, STREAM_TIMEOUT);
        TimedBody { body, idle: Box::pin(tokio::time::sleep(idle_timeout)), idle_timeout, ends: Instant::now() + timeout }
    }
}

impl HttpBody for TimedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                let next = (Instant::now() + self.idle_timeout).min(self.ends);
                self.idle.as_mut().reset(next);
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => match self.idle.as_mut().poll(context) {
                Poll::Ready(()) => Poll::Ready(Some(Err("the backend's answer did not come to its end in time".into()))),
                Poll::Pending => Poll::Pending,
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
