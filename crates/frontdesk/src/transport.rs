//! The signed hop inside one process: the request that would cross a socket is handed to the control face as it is.
//!
//! Only the writing and reading of HTTP/1.1 is left out: the request is built, signed, verified and judged as if it had come from another host.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock, Weak};

use frontdesk_control::Control;
use frontdesk_proxy::{Sending, SignedRequest, Transport, TransportError};
use futures_util::FutureExt as _;
use http_body_util::BodyExt as _;

/// Carries the proxy's requests to a control face in the same process.
#[derive(Clone)]
pub(crate) struct InProcess {
    end: ControlEnd,
}

/// The end that the control face is put to once it is there: it knows the APIs, whose function the proxy is, which needs this transport.
#[derive(Clone, Default)]
pub(crate) struct ControlEnd(Arc<OnceLock<Weak<Control>>>);

impl ControlEnd {
    /// Puts the control face to it; the first one stays.
    pub(crate) fn put(&self, control: &Arc<Control>) {
        let _ = self.0.set(Arc::downgrade(control));
    }
}

impl InProcess {
    pub(crate) fn new(end: ControlEnd) -> InProcess {
        InProcess { end }
    }
}

impl Transport for InProcess {
    fn send(&self, request: SignedRequest) -> Sending {
        let control = self.end.0.get().and_then(Weak::upgrade);
        Box::pin(async move {
            let control = control.ok_or_else(|| TransportError::new(NoControl))?;
            // What breaks on the other side of a connection breaks this call, and not its caller.
            let answered = AssertUnwindSafe(control.handle(request)).catch_unwind().await;
            let response = answered.map_err(|_| TransportError::new(Broken))?;
            Ok(response.map(|body| body.map_err(TransportError::new).boxed_unsync()))
        })
    }
}

/// The host is only beginning, or ending.
#[derive(Debug, thiserror::Error)]
#[error("there is no control face to call")]
struct NoControl;

/// A bug, whose own message is in the host's log.
#[derive(Debug, thiserror::Error)]
#[error("the control face broke off")]
struct Broken;
