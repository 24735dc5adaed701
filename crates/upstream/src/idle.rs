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
        // In a box, since it is handed through states that keep room for it.
        mut request: Box<Request<B>>,
        connect: impl FnOnce() -> Connecting,
    ) -> Result<Response<Answer<B>>, SendError<B, E>>
    where
        Connecting: Future<Output = Result<Connection<B>, E>>,
    {
        let here = Handle::current().id();
        while let Some(mut connection) = self.take(here) {
            match connection.send(*request).await {
                Ok(response) => return Ok(response.map(|body| Answer::new(body, connection, Some(self.clone())))),
                Err(mut failed) => match failed.take_message() {
                    // The server closed it while it waited, and none of the request was written.
                    Some(unsent) => request = Box::new(unsent),
                    None => return Err(SendError::Broken(failed.into_error())),
                },
            }
        }
        let mut connection = match connect().await {
            Ok(connection) => connection,
            Err(source) => return Err(SendError::NoConnection { source, request }),
        };
        match connection.send(*request).await {
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

#[cfg(test)]
mod tests {
    use std::io;

    use http_body_util::{BodyExt as _, Full};
    use hyper_util::rt::TokioIo;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

    use super::*;

    /// One after another, what the server does with a connection's requests.
    type Script = &'static [&'static [Does]];

    #[derive(Clone, Copy)]
    enum Does {
        Answer(&'static str),
        /// Answers so much and waits until the caller leaves.
        AnswerAndWait(&'static str),
        Close,
    }

    const WHOLE: Does = Does::Answer("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    const CHUNKED: Does = Does::Answer("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n");
    const EMPTY: Does = Does::Answer("HTTP/1.1 204 No Content\r\n\r\n");

    struct Caller {
        idle: Idle<Full<Bytes>>,
        address: std::net::SocketAddr,
        /// The number of each connection that has ended.
        ended: UnboundedReceiver<usize>,
    }

    async fn caller(script: Script, limits: IdleLimits) -> Caller {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, ended) = unbounded_channel();
        tokio::spawn(async move {
            for (number, connection) in script.iter().enumerate() {
                let (mut stream, _) = listener.accept().await.unwrap();
                let tell = tell.clone();
                tokio::spawn(async move {
                    for does in *connection {
                        let mut request = Vec::new();
                        while !request.ends_with(b"\r\n\r\n") {
                            match stream.read_u8().await {
                                Ok(byte) => request.push(byte),
                                Err(_) => break,
                            }
                        }
                        match does {
                            Does::Answer(answer) => stream.write_all(answer.as_bytes()).await.unwrap(),
                            Does::AnswerAndWait(answer) => {
                                stream.write_all(answer.as_bytes()).await.unwrap();
                                let _ = stream.read_u8().await;
                            }
                            Does::Close => break,
                        }
                    }
                    drop(stream);
                    let _ = tell.send(number);
                });
            }
        });
        Caller { idle: Idle::new(limits), address, ended }
    }

    const LIMITS: IdleLimits = IdleLimits { connections_max: 2, timeout: Duration::from_secs(60) };

    impl Caller {
        async fn send(&self) -> Result<Response<Answer<Full<Bytes>>>, SendError<Full<Bytes>, io::Error>> {
            let request = Request::get("/").header("host", "x").body(Full::default()).unwrap();
            let connect = || async {
                let stream = TcpStream::connect(self.address).await?;
                Connection::over(TokioIo::new(stream)).await.map_err(io::Error::other)
            };
            self.idle.send(Box::new(request), connect).await
        }

        async fn text(&self) -> String {
            let body = self.send().await.unwrap().into_body().collect().await.unwrap();
            String::from_utf8(body.to_bytes().to_vec()).unwrap()
        }

        fn waiting(&self) -> usize {
            self.idle.0.lock().connections.len()
        }
    }

    #[tokio::test]
    async fn a_connection_carries_one_request_after_another_however_answers_end() {
        let caller = caller(&[&[WHOLE, CHUNKED, EMPTY, WHOLE, Does::Close]], LIMITS).await;
        for expected in ["ok", "ok", "", "ok"] {
            assert_eq!((caller.text().await.as_str(), caller.waiting()), (expected, 1));
        }
    }

    #[tokio::test]
    async fn one_that_was_closed_while_it_waited_is_not_used() {
        let mut caller = caller(&[&[WHOLE], &[WHOLE, WHOLE]], LIMITS).await;
        assert_eq!(caller.text().await, "ok");
        assert_eq!(caller.ended.recv().await, Some(0));
        assert_eq!((caller.text().await.as_str(), caller.text().await.as_str()), ("ok", "ok"));
    }

    #[tokio::test]
    async fn a_request_that_may_have_been_acted_on_is_not_sent_again() {
        let caller = caller(&[&[WHOLE, Does::Close], &[WHOLE]], LIMITS).await;
        assert_eq!(caller.text().await, "ok");
        assert!(matches!(caller.send().await, Err(SendError::Broken(_))));
        assert_eq!(caller.text().await, "ok");
    }

    #[tokio::test]
    async fn who_reads_no_further_tells_the_server() {
        const BEGUN: Does = Does::AnswerAndWait("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok");
        let mut caller = caller(&[&[BEGUN]], LIMITS).await;
        let mut answer = caller.send().await.unwrap().into_body();
        assert_eq!(answer.frame().await.unwrap().unwrap().into_data().unwrap(), "ok");
        drop(answer);
        assert_eq!((caller.ended.recv().await, caller.waiting()), (Some(0), 0));
    }

    #[tokio::test]
    async fn an_answer_that_breaks_off_is_an_error() {
        let caller = caller(&[&[Does::Answer("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok")]], LIMITS).await;
        assert!(caller.send().await.unwrap().into_body().collect().await.is_err());
        assert_eq!(caller.waiting(), 0);
    }

    #[tokio::test]
    async fn where_nobody_listens_the_request_comes_back() {
        let caller = Caller { address: "127.0.0.1:1".parse().unwrap(), ..caller(&[], LIMITS).await };
        match caller.send().await {
            Err(SendError::NoConnection { request, .. }) => assert_eq!(request.uri(), "/"),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn no_more_wait_than_may_and_none_longer_than_it_may() {
        let limits = IdleLimits { connections_max: 2, timeout: Duration::from_millis(50) };
        let mut caller = caller(&[&[WHOLE, WHOLE], &[WHOLE, WHOLE], &[WHOLE, WHOLE]], limits).await;
        let (one, two, three) = tokio::join!(caller.send(), caller.send(), caller.send());
        for answer in [one, two, three] {
            answer.unwrap().into_body().collect().await.unwrap();
        }
        assert_eq!(caller.waiting(), 2);
        let mut ended = Vec::new();
        for _ in 0..3 {
            ended.extend(caller.ended.recv().await);
        }
        ended.sort_unstable();
        assert_eq!((ended, caller.waiting()), (vec![0, 1, 2], 0));
    }
}
