//! Asks a fresh agent one thing over real HTTP, as its host would.

use std::future::pending;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use frontdesk_agent::{AgentSettings, run};
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;

/// Starts an agent on an FAQ with this text, sends it `payload` and returns the answer's status and body.
///
/// It has no embedding model, so its search is by keywords.
pub(crate) async fn ask(faq_text: &str, payload: &Value, settings: AgentSettings) -> (u16, Value) {
    let folder = TempDir::new().unwrap();
    let faq = folder.path().join("faq.csv");
    std::fs::write(&faq, faq_text).unwrap();
    let settings = AgentSettings { faq, model_dir: missing_model(folder.path()), ..settings };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/invocations", listener.local_addr().unwrap());
    let agent = tokio::spawn(run(listener, settings, pending()));
    let request = Request::post(url).body(Full::new(Bytes::from(payload.to_string()))).unwrap();
    let client = Client::builder(TokioExecutor::new()).build_http();
    let response = tokio::select! {
        response = client.request(request) => response.unwrap(),
        ended = agent => panic!("the agent ended: {ended:?}"),
    };
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap())
}

/// A folder in which no embedding model is.
pub(crate) fn missing_model(folder: &Path) -> PathBuf {
    folder.join("no model")
}
