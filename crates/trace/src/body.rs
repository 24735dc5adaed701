//! A body with whose end a span ends: an answer is given when its last byte has been handed out.

use std::pin::Pin;
use std::task::{Context, Poll};

use http_body::{Body, Frame, SizeHint};

use crate::span::Span;

/// A body that holds a span open. Made by [`Span::until_the_end_of`].
#[derive(Debug)]
pub struct SpannedBody<B> {
    body: B,
    /// `None` once it has ended.
    span: Option<Span>,
}

impl<B> SpannedBody<B> {
    pub(crate) fn new(body: B, span: Span) -> SpannedBody<B> {
        SpannedBody { body, span: Some(span) }
    }
}

impl<B: Body + Unpin> Body for SpannedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        match &polled {
            Poll::Ready(None) => self.span = None,
            Poll::Ready(Some(Err(_))) => {
                if let Some(mut span) = self.span.take() {
                    span.fail(|| "cut_off");
                }
            }
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Waker;

    use bytes::Bytes;
    use http_body_util::Full;

    use super::*;
    use crate::context::SpanContext;
    use crate::span::{SpanKind, SpanRecord, SpanSink, Spans};

    /// Counts the spans that have ended.
    #[derive(Default)]
    struct Ended(AtomicUsize);

    impl SpanSink for Ended {
        fn is_wanted(&self, _trace_id: u128, _parent: Option<SpanContext>) -> bool {
            true
        }

        fn take(&self, _span: SpanRecord) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn body(ended: &Arc<Ended>) -> SpannedBody<Full<Bytes>> {
        let span = Spans::to(ended.clone()).begin("answer", SpanKind::Server, None);
        span.until_the_end_of(Full::new(Bytes::from_static(b"hi")))
    }

    #[test]
    fn a_span_ends_with_the_last_byte_or_when_nobody_reads_on() {
        let ended = Arc::new(Ended::default());
        let mut read = body(&ended);
        let mut next = || Pin::new(&mut read).poll_frame(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(next(), Poll::Ready(Some(Ok(_)))));
        assert_eq!(ended.0.load(Ordering::Relaxed), 0);
        assert!(matches!(next(), Poll::Ready(None)));
        assert_eq!(ended.0.load(Ordering::Relaxed), 1);
        drop(read);
        drop(body(&ended));
        assert_eq!(ended.0.load(Ordering::Relaxed), 2);
    }
}
