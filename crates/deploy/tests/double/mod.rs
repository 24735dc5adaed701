//! A server that answers from a script and keeps what it was asked: a stand-in for AWS's services.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use http::request::Parts;

/// What the server says next.
pub(crate) struct Scripted {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: String,
}

pub(crate) fn says(status: u16, headers: &[(&'static str, &str)], body: &str) -> Scripted {
    let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    Scripted { status, headers, body: body.to_owned() }
}

#[derive(Default)]
struct Script {
    answers: VecDeque<Scripted>,
    asked: Vec<(Parts, Bytes)>,
}

/// The server; it ends with the test's runtime.
pub(crate) struct Double {
    pub(crate) url: String,
    script: Arc<Mutex<Script>>,
}

impl Double {
    pub(crate) async fn start(answers: Vec<Scripted>) -> Double {
        let script = Arc::new(Mutex::new(Script { answers: answers.into(), asked: Vec::new() }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer).with_state(Arc::clone(&script));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Double { url, script }
    }

    /// What was asked so far, in order.
    pub(crate) fn asked(&self) -> Vec<(Parts, Bytes)> {
        self.script.lock().unwrap().asked.clone()
    }
}

async fn answer(State(script): State<Arc<Mutex<Script>>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let mut script = script.lock().unwrap();
    script.asked.push((parts, body));
    let scripted = script.answers.pop_front().unwrap_or_else(|| says(599, &[], "the script has ended"));
    let mut response = Response::builder().status(StatusCode::from_u16(scripted.status).unwrap());
    for (name, value) in scripted.headers {
        response = response.header(name, value);
    }
    response.body(scripted.body.into()).unwrap()
}
