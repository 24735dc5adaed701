//! A stand-in for whoever is told by webhook: takes JSON by POST, refuses as often as it is told to, and hands over what came.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use http::StatusCode;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// What has not come by then never will: a minute's alarm goes back to OK two minutes later.
const WAIT_TIMEOUT: Duration = Duration::from_secs(240);

/// A server that takes documents.
#[derive(Debug)]
pub struct Webhook {
    url: String,
    documents: mpsc::UnboundedReceiver<Value>,
    serving: JoinHandle<()>,
}

impl Webhook {
    /// Starts one that answers 503 to the first `refusals`.
    ///
    /// # Errors
    /// Without a free port.
    pub async fn start(refusals: usize) -> io::Result<Webhook> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/told", listener.local_addr()?);
        let (sender, documents) = mpsc::unbounded_channel();
        let state = (sender, Arc::new(AtomicUsize::new(refusals)));
        let router = Router::new().route("/told", post(take)).with_state(state);
        let serving = tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Ok(Webhook { url, documents, serving })
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The next document.
    ///
    /// # Panics
    /// When none comes.
    pub async fn next(&mut self) -> Value {
        let next = tokio::time::timeout(WAIT_TIMEOUT, self.documents.recv()).await.expect("the webhook is told in time");
        next.expect("the webhook's server lives")
    }
}

impl Drop for Webhook {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn take(State((sender, refusals)): State<(mpsc::UnboundedSender<Value>, Arc<AtomicUsize>)>, body: Bytes) -> StatusCode {
    if refusals.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    match serde_json::from_slice(&body) {
        Ok(document) => {
            let _ = sender.send(document);
            StatusCode::OK
        }
        Err(_) => StatusCode::BAD_REQUEST,
    }
}
