//! Asks a fresh agent over real HTTP, as its host would.

#![expect(clippy::allow_attributes, reason = "what one test file uses and another does not can only be allowed to be unused")]

use std::future::pending;
use std::net::SocketAddr;
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
use tokio::task::JoinHandle;

/// A running agent with an FAQ file of its own, without an embedding model: its search is by keywords. It ends when it is dropped.
pub(crate) struct Agent {
    folder: TempDir,
    address: SocketAddr,
    serving: JoinHandle<anyhow::Result<()>>,
}

impl Agent {
    /// Starts one on an FAQ with this text.
    pub(crate) async fn start(faq_text: &str, settings: AgentSettings) -> Agent {
        let folder = TempDir::new().unwrap();
        let faq = folder.path().join("faq.csv");
        std::fs::write(&faq, faq_text).unwrap();
        let settings = AgentSettings { faq, model_dir: missing_model(folder.path()), ..settings };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(run(listener, settings, Default::default(), pending()));
        Agent { folder, address, serving }
    }

    /// Writes the FAQ anew.
    #[allow(dead_code, reason = "not every test file needs it")]
    pub(crate) fn rewrite(&self, faq_text: &str) {
        std::fs::write(self.folder.path().join("faq.csv"), faq_text).unwrap();
    }

    /// The status and the text of the answer to `payload`, in the session of this name.
    pub(crate) async fn send(&self, payload: &Value, session: &str) -> (u16, String) {
        let request = Request::post(format!("http://{}/invocations", self.address))
            .header("x-amzn-bedrock-agentcore-runtime-session-id", session)
            .body(Full::new(Bytes::from(payload.to_string())))
            .unwrap();
        let response = Client::builder(TokioExecutor::new()).build_http().request(request).await;
        let response = match response {
            Ok(response) => response,
            Err(error) => panic!("{error}; the agent has ended: {}", self.serving.is_finished()),
        };
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    /// As [`Agent::send`], for an answer that is JSON.
    pub(crate) async fn ask(&self, payload: &Value) -> (u16, Value) {
        let (status, body) = self.send(payload, "a-session-of-thirty-three-characters").await;
        (status, serde_json::from_str(&body).unwrap())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// One question to a fresh agent.
pub(crate) async fn ask(faq_text: &str, payload: &Value, settings: AgentSettings) -> (u16, Value) {
    Agent::start(faq_text, settings).await.ask(payload).await
}

/// A folder in which no embedding model is.
pub(crate) fn missing_model(folder: &Path) -> PathBuf {
    folder.join("no model")
}
