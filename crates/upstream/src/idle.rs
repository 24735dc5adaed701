//! The connections to one server that wait for their next request.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tokio::runtime::{self, Handle};
use tokio::time::Instant;

use crate::connection::{Answer, Connection};

/// How often waiting connections are looked at, unless they wait no longer than this.
const SWEEP_PERIOD: Duration = Duration::from_secs(5);

/// How many connections wait, and how long.
#[derive(Debug, Clone, Copy)]
pub struct IdleLimits {
    /// One more is closed.
    pub connections_max: usize,
    /// One that has waited so long is closed.
    pub timeout: Duration,
}

/// Why a request was not answered.
#[derive(Debug, thiserror::Error)]
pub enum SendError<B, E> {
    /// No connection could be made, so the request was not sent; it is given back.
    #[error("no connection: {source}")]
    NoConnection {
        /// Why.
        source: E,
        /// The request.
        request: Box<Request<B>>,
    },
    /// The connection broke. The server may have acted on the request.
    #[error("{0}")]
    Broken(hyper::Error),
}

/// The connections to one server that wait. Cheap to clone: all clones are the same.
pub struct Idle<B>(Arc<Shared<B>>);

struct Shared<B> {
    limits: IdleLimits,
    kept: Mutex<Kept<B>>,
}

struct Kept<B> {
    /// The last used last.
    connections: Vec<Waiting<B>>,
    /// Whether a task looks for those that have waited long enough.
    is_swept: bool,
}

struct Waiting<B> {
    connection: Connection<B>,
    since: Instant,
}

impl<B> Clone for Idle<B> {
    fn clone(&self) -> Self {
        Idle(self.0.clone())
    }
}

impl<B> std::fmt::Debug for Idle<B> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Idle").field("limits", &self.0.limits).field("connections", &self.0.lock().connections.len()).finish()
    }
}

impl<B> Shared<B> {
    fn lock(&self) -> MutexGuard<'_, Kept<B>> {
        // Poison is ignored: the list is consistent between any two of its operations.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B> Idle<B>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// None yet.
    #[must_use]
    pub fn new(limits: IdleLimits) -> Idle<B> {
        Idle(Arc::new(Shared { limits, kept: Mutex::new(Kept { connections: Vec::new(), is_swept: false }) }))
    }

    /// Sends a request on the connection that was used last, or on one that `connect` makes, and waits for the head of its answer. Where a connection that has waited
    /// turns out to be closed before anything of the request was sent, another one is taken.
    ///
    /// # Errors
    /// Those of connecting and of the connection.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub async fn send<E, Connecting>(
        &self,
        mut request: Request<B>,
        connect: impl FnOnce() -> Connecting,
    ) -> Result<Response<Answer<B>>, SendError<B, E>>
    where
        Connecting: Future<Output = Result<Connection<B>, E>>,
    {
        let here = Handle::current().id();
        while let Some(mut connection) = self.take(here) {
            match connection.send(request).await {
                Ok(response) => return Ok(response.map(|body| Answer::new(body, connection, Some(self.clone())))),
                Err(mut failed) => match failed.take_message() {
                    // The server closed it while it waited, and none of the request was written.
                    Some(unsent) => request = unsent,
                    None => return Err(SendError::Broken(failed.into_error())),
                },
            }
        }
        let mut connection = match connect().await {
            Ok(connection) => connection,
            Err(source) => return Err(SendError::NoConnection { source, request: Box::new(request) }),
        };
        match connection.send(request).await {
            Ok(response) => Ok(response.map(|body| Answer::new(body, connection, Some(self.clone())))),
            Err(failed) => Err(SendError::Broken(failed.into_error())),
        }
    }

    /// The last used one of a runtime that takes a request at once.
    fn take(&self, runtime: runtime::Id) -> Option<Connection<B>> {
        let connections = &mut self.0.lock().connections;
        while let Some(at) = connections.iter().rposition(|waiting| waiting.connection.runtime() == runtime) {
            let mut connection = connections.remove(at).connection;
            if connection.is_open() {
                return Some(connection);
            }
        }
        None
    }

    pub(crate) fn keep(&self, mut connection: Connection<B>) {
        if !connection.is_open() {
            return;
        }
        let mut kept = self.0.lock();
        if kept.connections.len() >= self.0.limits.connections_max {
            return;
        }
        if !kept.is_swept {
            // Outside a runtime everything is being ended.
            let Ok(here) = Handle::try_current() else { return };
            here.spawn(sweep(Arc::downgrade(&self.0)));
            kept.is_swept = true;
        }
        kept.connections.push(Waiting { connection, since: Instant::now() });
    }
}

/// Ends what has waited long enough or was closed at the other end, until nothing waits.
async fn sweep<B>(idle: Weak<Shared<B>>)
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    while let Some(period) = idle.upgrade().map(|idle| idle.limits.timeout.min(SWEEP_PERIOD)) {
        tokio::time::sleep(period).await;
        let Some(idle) = idle.upgrade() else { return };
        let mut kept = idle.lock();
        kept.connections.retain_mut(|waiting| waiting.since.elapsed() < idle.limits.timeout && waiting.connection.is_open());
        kept.is_swept = !kept.connections.is_empty();
        if !kept.is_swept {
            kept.connections = Vec::new();
            return;
        }
    }
}
