//! A WebSocket between a caller and a session's process: the handshake is the agent's own, and what follows is carried byte for byte.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::sync::OwnedSemaphorePermit;

use crate::ResponseBody;
use crate::agent_process::AgentProcess;
use crate::host::{SessionHost, SessionName};
use crate::hosted::Target;
use crate::invoke::{InvokeError, last_words};
use crate::session::Inside;

/// Where agents take WebSockets.
const PATH: &str = "/ws";
/// How long an agent may take to answer the handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);

/// What an agent answers to a handshake.
#[derive(Debug)]
pub enum SocketAnswer {
    /// It takes the connection.
    Open(AgentSocket),
    /// It does not, and says why.
    Refused(Response<ResponseBody>),
}

/// The agent's end of a WebSocket. The session is at work until it is dropped.
#[derive(Debug)]
pub struct AgentSocket {
    /// Headers of the agent's `101 Switching Protocols`.
    pub headers: HeaderMap,
    stream: Upgraded,
    _held: (OwnedSemaphorePermit, Inside),
}

impl AgentSocket {
    /// Carries bytes both ways until one side closes.
    pub async fn relay(self, caller: Upgraded) {
        let (mut caller, mut agent) = (TokioIo::new(caller), TokioIo::new(self.stream));
        // How it ended is in the frames that were carried; a broken connection is an end like any other.
        let _ = tokio::io::copy_bidirectional(&mut caller, &mut agent).await;
    }
}

/// Hands a handshake to a session, starting a process if need be.
pub(crate) async fn open(
    host: &SessionHost,
    target: &Target,
    session: &SessionName,
    headers: HeaderMap,
) -> Result<SocketAnswer, InvokeError> {
    let permit = target.version.standing.in_flight.clone().try_acquire_owned().map_err(|_| InvokeError::Busy)?;
    let (inside, process) = host.enter(target, session).await?;
    inside.session.count_call();
    let asked = tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake(&process, headers)).await;
    let answered = match asked {
        Ok(Ok(answered)) => answered,
        Ok(Err(error)) => return Err(InvokeError::Agent(last_words(&process, &error.to_string()).await)),
        Err(_) => {
            return Err(InvokeError::Agent(format!(
                "The agent did not answer the WebSocket handshake within {} s.",
                HANDSHAKE_TIMEOUT.as_secs()
            )));
        }
    };
    if answered.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(SocketAnswer::Refused(answered.map(|body| body.map_err(Into::into).boxed_unsync())));
    }
    let headers = answered.headers().clone();
    let stream = hyper::upgrade::on(answered).await.map_err(|error| InvokeError::Agent(error.to_string()))?;
    Ok(SocketAnswer::Open(AgentSocket { headers, stream, _held: (permit, inside) }))
}

/// On a connection of its own, which becomes the socket.
async fn handshake(
    process: &AgentProcess,
    headers: HeaderMap,
) -> Result<Response<hyper::body::Incoming>, Box<dyn std::error::Error + Send + Sync>> {
    let stream = process.door().connect().await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection.with_upgrades());
    let mut request = Request::builder().method(Method::GET).uri(PATH).body(Empty::<Bytes>::new())?;
    *request.headers_mut() = headers;
    request.headers_mut().insert(http::header::HOST, process.door().address().to_string().parse()?);
    Ok(sender.send_request(request).await?)
}
