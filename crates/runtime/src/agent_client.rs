//! An HTTP/1.1 client of one agent, with connections that are kept between calls.

use std::io;
use std::time::Duration;

use frontdesk_upstream::{Answer, Connection, Idle, IdleLimits};
use http::{HeaderValue, Request, Response, header};
use hyper_util::rt::TokioIo;

use crate::agent_port::AgentDoor;
use crate::payload::PayloadBody;

/// A connection has buffers of some ten kilobytes, and a thousand idle sessions shall cost none of them, while a session that is called again and again keeps its
/// own.
const IDLE_CONNECTIONS: IdleLimits = IdleLimits { connections_max: 128, timeout: Duration::from_secs(1) };

/// A client of one agent.
#[derive(Debug)]
pub(crate) struct AgentClient {
    door: AgentDoor,
    host: HeaderValue,
    idle: Idle<PayloadBody>,
}

/// An agent's answer on its way.
pub(crate) type AgentBody = Answer<PayloadBody>;
/// Why a request was not answered.
pub(crate) type SendError = frontdesk_upstream::SendError<PayloadBody, io::Error>;

impl AgentClient {
    pub(crate) fn new(door: AgentDoor) -> AgentClient {
        let host = HeaderValue::from_str(&door.address().to_string()).expect("an address is a header's value");
        AgentClient { door, host, idle: Idle::new(IDLE_CONNECTIONS) }
    }

    /// The way to its agent.
    pub(crate) fn door(&self) -> &AgentDoor {
        &self.door
    }

    /// Sends a request whose URI is a path; the answer streams.
    pub(crate) async fn send(&self, mut request: Box<Request<PayloadBody>>) -> Result<Response<AgentBody>, SendError> {
        request.headers_mut().insert(header::HOST, self.host.clone());
        self.idle.send(request, || Box::pin(self.connect())).await
    }

    /// Sends a request on a connection of its own, which ends with it: for what comes so seldom that keeping one would only cost memory.
    pub(crate) async fn send_alone(&self, mut request: Request<PayloadBody>) -> Result<Response<AgentBody>, SendError> {
        request.headers_mut().insert(header::HOST, self.host.clone());
        match self.connect().await {
            Ok(connection) => connection.send_last(request).await.map_err(SendError::Broken),
            Err(source) => Err(SendError::NoConnection { source, request: Box::new(request) }),
        }
    }

    async fn connect(&self) -> io::Result<Connection<PayloadBody>> {
        Connection::over(TokioIo::new(self.door.connect().await?)).await.map_err(io::Error::other)
    }
}
