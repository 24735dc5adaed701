//! A stand-in for what a container on AWS finds around it: the endpoints that give out its role's credentials, and Secrets Manager.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::{get, post, put};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// The role's access key id.
pub const ACCESS_KEY_ID: &str = "ASIAROLEOFCONTAINER1";
/// Its secret, which must turn up nowhere.
pub const SECRET_ACCESS_KEY: &str = "the-secret-of-the-containers-role";
/// Its session's token.
pub const SESSION_TOKEN: &str = "the-token-of-the-containers-role";

/// What Secrets Manager does.
#[derive(Debug, Clone)]
pub enum Secret {
    /// Answers with this text.
    Text(String),
    /// Refuses: a status, an error's code and its message.
    Refused(u16, &'static str, &'static str),
}

/// A call of Secrets Manager.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Its headers.
    pub headers: HeaderMap,
    /// Its document.
    pub document: Value,
}

#[derive(Debug)]
struct Shared {
    secret: Secret,
    asked: Mutex<Vec<Asked>>,
}

/// The stand-in. It ends when dropped.
#[derive(Debug)]
pub struct AwsDouble {
    address: SocketAddr,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

impl AwsDouble {
    /// Starts one on a free port.
    ///
    /// # Errors
    /// When there is no port.
    pub async fn start(secret: Secret) -> io::Result<AwsDouble> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared { secret, asked: Mutex::default() });
        // The container's endpoint (<https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html>), the instance's
        // (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-metadata-security-credentials.html>).
        let router = Router::new()
            .route("/credentials", get(async || credentials()))
            .route("/latest/api/token", put(async || ([("x-aws-ec2-metadata-token-ttl-seconds", "21600")], "a-token")))
            .route("/latest/meta-data/iam/security-credentials/", get(async || "the-role"))
            .route("/latest/meta-data/iam/security-credentials/the-role", get(async || credentials()))
            .route("/", post(secret_value))
            .with_state(shared.clone());
        let serving = tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Ok(AwsDouble { address, shared, serving })
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The calls of Secrets Manager so far.
    #[must_use]
    pub fn asked(&self) -> Vec<Asked> {
        lock(&self.shared.asked).clone()
    }
}

impl Drop for AwsDouble {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn credentials() -> String {
    json!({
        "Code": "Success", "Type": "AWS-HMAC", "LastUpdated": "2026-01-31T12:00:00Z", "Expiration": "2126-01-31T12:00:00Z",
        "AccessKeyId": ACCESS_KEY_ID, "SecretAccessKey": SECRET_ACCESS_KEY, "Token": SESSION_TOKEN,
    })
    .to_string()
}

async fn secret_value(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> (StatusCode, String) {
    lock(&shared.asked).push(Asked { headers, document: serde_json::from_slice(&body).unwrap_or_default() });
    match &shared.secret {
        Secret::Text(text) => {
            (StatusCode::OK, json!({ "Name": "a-secret", "SecretString": text, "VersionStages": ["AWSCURRENT"] }).to_string())
        }
        Secret::Refused(status, code, message) => {
            (StatusCode::from_u16(*status).expect("the test's status is one"), json!({ "__type": code, "Message": message }).to_string())
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
