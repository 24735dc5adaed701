//! One connection, and the body of the answer that it brings.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::rt::{Read, Write};
use tokio::runtime::{self, Handle};

use crate::idle::Idle;
use crate::joined::Joined;

type Driver = Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>;

/// A connection that carries one request at a time.
pub struct Connection<B> {
    sender: SendRequest<B>,
    driver: Driver,
    runtime: runtime::Id,
}

impl<B> std::fmt::Debug for Connection<B> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Connection").field("sender", &self.sender).field("runtime", &self.runtime).finish_non_exhaustive()
    }
}

impl<B> Connection<B>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// A connection over a stream that the current runtime watches.
    ///
    /// # Errors
    /// hyper's; as a rule there is none before something is sent.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub async fn over<Stream: Read + Write + Send + Unpin + 'static>(stream: Stream) -> hyper::Result<Connection<B>> {
        let (sender, driver) = handshake(Joined(stream)).await?;
        Ok(Connection { sender, driver: Box::pin(driver), runtime: Handle::current().id() })
    }

    /// Sends a request and waits for the head of its answer. The connection ends with the answer.
    ///
    /// # Errors
    /// What the connection broke off with.
    pub async fn send_last(mut self, request: Request<B>) -> hyper::Result<Response<Answer<B>>> {
        match self.send(request).await {
            Ok(response) => Ok(response.map(|body| Answer::new(body, self, None))),
            Err(error) => Err(error.into_error()),
        }
    }

    /// Sends a request and drives the connection until the head of the answer is there.
    // No `async fn`, which would keep a second copy of the request.
    pub(crate) fn send(&mut self, request: Request<B>) -> impl Future<Output = Result<Response<Incoming>, TrySendError<Request<B>>>> {
        let Connection { sender, driver, .. } = self;
        let answering = sender.try_send_request(request);
        async move {
            let mut answering = std::pin::pin!(answering);
            let mut has_ended = false;
            std::future::poll_fn(|context| {
                // What ends a connection is told to the request that it carries.
                has_ended = has_ended || driver.as_mut().poll(context).is_ready();
                answering.as_mut().poll(context)
            })
            .await
        }
    }

    /// Whether it can carry a request, as far as its socket has been heard.
    pub(crate) fn is_open(&mut self) -> bool {
        let has_ended = self.driver.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
        !has_ended && self.sender.is_ready()
    }

    /// The runtime that it was opened on.
    pub(crate) fn runtime(&self) -> runtime::Id {
        self.runtime
    }
}

/// The body of an answer. Who reads it drives its connection, which waits for the next request when the body has been read to its end; one that is not ends with
/// the body, which tells the server. An error is told one poll late, so that a server that hands the body on has sent what came before it.
pub struct Answer<B> {
    body: Incoming,
    /// What the next poll tells.
    error: Option<hyper::Error>,
    /// `None` when it has ended or waits for another request.
    carrier: Option<(Connection<B>, Option<Idle<B>>)>,
}

impl<B> std::fmt::Debug for Answer<B> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Answer").field("body", &self.body).field("carrier", &self.carrier).finish()
    }
}

impl<B> Answer<B>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// Without `idle` the connection ends with the body.
    pub(crate) fn new(body: Incoming, connection: Connection<B>, idle: Option<Idle<B>>) -> Answer<B> {
        let mut answer = Answer { body, error: None, carrier: Some((connection, idle)) };
        if answer.body.is_end_stream() {
            answer.let_go();
        }
        answer
    }

    fn let_go(&mut self) {
        if let Some((connection, Some(idle))) = self.carrier.take() {
            idle.keep(connection);
        }
    }

    /// Polls the body and, where it has nothing, its connection.
    fn poll_driven(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = self.poll_body(context);
        if polled.is_ready() {
            return polled;
        }
        // What ends a connection is told to the body that it carries.
        if let Some((connection, _)) = &mut self.carrier
            && connection.driver.as_mut().poll(context).is_ready()
        {
            self.carrier = None;
        }
        self.poll_body(context)
    }

    fn poll_body(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if self.body.is_end_stream() || matches!(polled, Poll::Ready(None)) {
            self.let_go();
        }
        polled
    }
}

impl<B> Body for Answer<B>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if let Some(error) = self.error.take() {
            return Poll::Ready(Some(Err(error)));
        }
        match self.poll_driven(context) {
            Poll::Ready(Some(Err(error))) => {
                self.error = Some(error);
                context.waker().wake_by_ref();
                Poll::Pending
            }
            polled => polled,
        }
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
    use http_body_util::{BodyExt as _, Full};
    use hyper_util::rt::TokioIo;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    #[tokio::test]
    async fn an_answer_that_breaks_off_is_an_error_one_poll_late() {
        let (stream, mut server) = duplex(1024);
        tokio::spawn(async move {
            let _ = server.read(&mut [0; 1024]).await;
            server.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok").await.unwrap();
        });
        let connection = Connection::over(TokioIo::new(stream)).await.unwrap();
        let request = Request::get("/").body(Full::<Bytes>::default()).unwrap();
        let mut answer = connection.send_last(request).await.unwrap().into_body();
        assert_eq!(answer.frame().await.unwrap().unwrap().into_data().unwrap(), "ok");
        // The stream has ended: it is there to be told.
        let context = &mut Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut answer).poll_frame(context).is_pending());
        assert!(matches!(Pin::new(&mut answer).poll_frame(context), Poll::Ready(Some(Err(_)))));
    }
}
