//! An HTTP/1.1 client of one agent, with connections that are kept between calls.
//!
//! A connection is driven by the runtime that it was opened on, and only calls on that runtime use it again: the gateway has a runtime for each of its threads,
//! and a call on another thread's connection would wake that thread for the request and be woken by it for the answer.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::runtime::{self, Handle};
use tokio::time::Instant;

use crate::agent_port::AgentDoor;
use crate::payload::PayloadBody;

/// Connections kept open to one agent between calls.
const IDLE_CONNECTIONS_MAX: usize = 128;
/// A connection has buffers of some ten kilobytes, and a thousand idle sessions shall cost none of them, while a session that is called again and again keeps its
/// own.
const IDLE_CONNECTION_TIMEOUT: Duration = Duration::from_secs(1);

/// A client of one agent.
#[derive(Debug)]
pub(crate) struct AgentClient {
    door: AgentDoor,
    host: HeaderValue,
    idle: Arc<IdleConnections>,
}

/// Why a request was not answered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    /// Nobody listens there, so the request was not sent; it is given back.
    #[error("no connection: {source}")]
    NoConnection { source: io::Error, request: Box<Request<PayloadBody>> },
    /// The connection broke. The agent may have acted on the request.
    #[error("{0}")]
    Broken(#[from] hyper::Error),
}

impl AgentClient {
    pub(crate) fn new(door: AgentDoor) -> AgentClient {
        let host = HeaderValue::from_str(&door.address().to_string()).expect("an address is a header's value");
        AgentClient { door, host, idle: Arc::default() }
    }

    /// The way to its agent.
    pub(crate) fn door(&self) -> &AgentDoor {
        &self.door
    }

    /// Sends a request whose URI is a path; the answer streams.
    pub(crate) async fn send(&self, mut request: Request<PayloadBody>) -> Result<Response<AgentBody>, SendError> {
        request.headers_mut().insert(header::HOST, self.host.clone());
        let here = Handle::current().id();
        while let Some(mut kept) = self.idle.take(here) {
            match kept.try_send_request(request).await {
                Ok(response) => return Ok(self.keeping(response, kept, here)),
                Err(mut failed) => match failed.take_message() {
                    // The agent closed it while it was idle, and none of the request was written.
                    Some(unsent) => request = unsent,
                    None => return Err(failed.into_error().into()),
                },
            }
        }
        let (response, sender) = Box::pin(self.send_anew(request)).await?;
        Ok(self.keeping(response, sender, here))
    }

    /// Sends a request on a connection of its own, which ends with it: for what comes so seldom that keeping one would only cost memory.
    pub(crate) async fn send_alone(&self, mut request: Request<PayloadBody>) -> Result<Response<Incoming>, SendError> {
        request.headers_mut().insert(header::HOST, self.host.clone());
        Ok(self.send_anew(request).await?.0)
    }

    async fn send_anew(&self, request: Request<PayloadBody>) -> Result<(Response<Incoming>, SendRequest<PayloadBody>), SendError> {
        let stream = match self.door.connect().await {
            Ok(stream) => stream,
            Err(source) => return Err(SendError::NoConnection { source, request: Box::new(request) }),
        };
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
        // How it ends, its requests are told.
        tokio::spawn(async move { drop(connection.await) });
        Ok((sender.send_request(request).await?, sender))
    }

    fn keeping(&self, response: Response<Incoming>, sender: SendRequest<PayloadBody>, here: runtime::Id) -> Response<AgentBody> {
        response.map(|body| AgentBody { body, connection: Some((sender, here)), idle: self.idle.clone(), has_ended: false })
    }
}

/// An agent's answer on its way. Read to its end, it leaves its connection to the next call; else the connection ends with it, which tells the agent.
#[derive(Debug)]
pub(crate) struct AgentBody {
    body: Incoming,
    connection: Option<(SendRequest<PayloadBody>, runtime::Id)>,
    idle: Arc<IdleConnections>,
    has_ended: bool,
}

impl Body for AgentBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        self.has_ended |= matches!(polled, Poll::Ready(None));
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for AgentBody {
    fn drop(&mut self) {
        // Who knows the length asks for no frame after the last.
        let has_ended = self.has_ended || self.body.is_end_stream();
        if let Some((sender, runtime)) = self.connection.take().filter(|_| has_ended) {
            self.idle.keep(sender, runtime);
        }
    }
}

/// Connections that wait for their next request, the last used last.
#[derive(Debug, Default)]
struct IdleConnections(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    connections: Vec<KeptConnection>,
    /// Whether a task looks for those that have waited long enough.
    is_swept: bool,
}

#[derive(Debug)]
struct KeptConnection {
    sender: SendRequest<PayloadBody>,
    runtime: runtime::Id,
    since: Instant,
}

impl IdleConnections {
    /// The last used one of a runtime that takes a request at once: none that has been closed, nor one whose last request is still being written.
    fn take(&self, runtime: runtime::Id) -> Option<SendRequest<PayloadBody>> {
        let connections = &mut self.lock().connections;
        let at = connections.iter().rposition(|kept| kept.runtime == runtime && kept.sender.is_ready())?;
        Some(connections.remove(at).sender)
    }

    fn keep(self: &Arc<Self>, sender: SendRequest<PayloadBody>, runtime: runtime::Id) {
        let mut kept = self.lock();
        if kept.connections.len() >= IDLE_CONNECTIONS_MAX || sender.is_closed() {
            return;
        }
        if !kept.is_swept {
            // Outside a runtime everything is being ended.
            let Ok(here) = Handle::try_current() else { return };
            here.spawn(sweep(Arc::downgrade(self)));
            kept.is_swept = true;
        }
        kept.connections.push(KeptConnection { sender, runtime, since: Instant::now() });
    }

    /// Ends what has waited long enough, and says whether something goes on waiting.
    fn end_the_old(&self) -> bool {
        let mut kept = self.lock();
        kept.connections.retain(|kept| kept.since.elapsed() < IDLE_CONNECTION_TIMEOUT && !kept.sender.is_closed());
        kept.is_swept = !kept.connections.is_empty();
        if !kept.is_swept {
            kept.connections = Vec::new();
        }
        kept.is_swept
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // Poison is ignored: the list is consistent between any two of its operations.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn sweep(idle: Weak<IdleConnections>) {
    loop {
        tokio::time::sleep(IDLE_CONNECTION_TIMEOUT).await;
        if !idle.upgrade().is_some_and(|idle| idle.end_the_old()) {
            return;
        }
    }
}
