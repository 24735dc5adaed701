//! `GET /ws`: a conversation in both directions, for agents that have a handler for it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{FromRequestParts as _, Request, State};
use axum::response::{IntoResponse, Response};
use frontdesk_trace::SpanParent;
use http::{StatusCode, header};
use tracing::Instrument as _;

use crate::HandlerError;
use crate::app::{Served, text};
use crate::context::Context;
use crate::unwind::guard;

/// A connection, as its handler gets it: messages are received and sent until one side closes.
///
/// When the handler returns, the connection is closed.
pub struct Connection {
    socket: WebSocket,
}

/// A message of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// Text, JSON as a rule.
    Text(String),
    /// Anything else.
    Binary(bytes::Bytes),
}

impl Connection {
    /// The next message; `None` when the caller has closed the connection or it broke. Pings are answered on the way.
    pub async fn receive(&mut self) -> Option<Frame> {
        loop {
            match self.socket.recv().await? {
                Ok(Message::Text(text)) => return Some(Frame::Text(text.to_string())),
                Ok(Message::Binary(bytes)) => return Some(Frame::Binary(bytes)),
                Ok(Message::Ping(_) | Message::Pong(_)) => {}
                Ok(Message::Close(_)) | Err(_) => return None,
            }
        }
    }

    /// Sends a message. Fails when the connection is closed.
    pub async fn send(&mut self, frame: Frame) -> Result<(), HandlerError> {
        let message = match frame {
            Frame::Text(text) => Message::Text(text.into()),
            Frame::Binary(bytes) => Message::Binary(bytes),
        };
        self.socket.send(message).await.map_err(|error| HandlerError::Internal(format!("the connection is closed: {error}")))
    }

    async fn close(&mut self, code: u16, reason: String) {
        // A close frame's payload is at most 125 bytes, two of them the code (RFC 6455, section 5.5).
        let reason = reason[..reason.floor_char_boundary(123)].to_owned();
        // Who has gone already needs no goodbye.
        let _ = self.socket.send(Message::Close(Some(CloseFrame { code, reason: reason.into() }))).await;
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Connection").finish_non_exhaustive()
    }
}

pub(crate) type WebSocketFuture<'a> = Pin<Box<dyn Future<Output = Result<(), HandlerError>> + Send + 'a>>;
pub(crate) type WebSocketHandler = dyn for<'a> Fn(&'a mut Connection, Context) -> WebSocketFuture<'a> + Send + Sync;

/// Accepts the handshake where there is a handler; without one it gets 403, and a plain GET finds nothing here.
pub(crate) async fn upgrade(State(served): State<Arc<Served>>, request: Request) -> Response {
    let is_handshake = request.headers().get(header::UPGRADE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"));
    if !is_handshake {
        return text(StatusCode::NOT_FOUND, "Not Found");
    }
    let Some(handler) = served.websocket.clone() else {
        return StatusCode::FORBIDDEN.into_response();
    };
    let context = Context::from_headers(request.headers(), SpanParent::default(), served.ping.clone());
    let (mut parts, _) = request.into_parts();
    let upgrade = match WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
        Ok(upgrade) => upgrade,
        Err(refusal) => return refusal.into_response(),
    };
    let span =
        tracing::info_span!("websocket", requestId = context.request_id, sessionId = context.session_id.as_deref().unwrap_or_default());
    upgrade.on_upgrade(move |socket| {
        async move {
            let mut connection = Connection { socket };
            let handled = guard(handler(&mut connection, context)).await;
            match handled {
                Ok(()) => connection.close(close_code::NORMAL, String::new()).await,
                Err(error) => {
                    tracing::warn!(errorType = error.type_name(), errorMessage = %error, "Handler failed");
                    // 1011, "internal error", as the published SDKs close.
                    connection.close(close_code::ERROR, error.to_string()).await;
                }
            }
        }
        .instrument(span)
    })
}
