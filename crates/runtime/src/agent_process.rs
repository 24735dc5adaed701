//! One agent process: started on a free port, ready when `/ping` answers, spoken to over plain HTTP.

use std::ffi::OsString;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use frontdesk_process::{Child, ChildSpec, LineListener, LogFile, SpawnError, Spawner};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use crate::emitted::EmittedMetrics;
use crate::host::AgentProgram;

/// How long a start may take, AgentCore's two minutes: a large FAQ is embedded at its first start.
const START_TIMEOUT: Duration = Duration::from_secs(120);
/// How long one `/ping` may take.
pub(crate) const PING_TIMEOUT: Duration = Duration::from_secs(2);
/// Connections kept open to one agent between calls.
const IDLE_CONNECTIONS_MAX: usize = 128;

/// Why an agent could not be started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    #[error("failed to open the agent's log file {path}")]
    Log { path: String, source: io::Error },
    #[error("no free port on 127.0.0.1")]
    Port(#[source] io::Error),
    #[error("the agent ended before it was ready ({ended})\n{tail}")]
    Ended { ended: String, tail: String },
    #[error("the agent did not answer /ping within {} s\n{tail}", START_TIMEOUT.as_secs())]
    NotReady { tail: String },
}

impl StartError {
    /// The error and its causes in one text, for a caller.
    pub(crate) fn report(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            source = cause.source();
        }
        text
    }
}

/// A process that is ready to be called.
#[derive(Debug)]
pub(crate) struct AgentProcess {
    pub(crate) child: Child,
    pub(crate) address: SocketAddr,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl AgentProcess {
    /// Starts the program and waits until it is ready. On failure nothing is left running.
    pub(crate) async fn start(spawner: &Spawner, program: &AgentProgram, metrics: EmittedMetrics) -> Result<AgentProcess, StartError> {
        let address = free_address().map_err(StartError::Port)?;
        let log_file = match &program.log_path {
            None => None,
            Some(path) => {
                let opened = LogFile::open(path);
                Some(opened.map_err(|source| StartError::Log { path: path.display().to_string(), source })?)
            }
        };
        let port = OsString::from(address.port().to_string());
        let mut arguments = program.arguments.clone();
        if let Some(flag) = &program.port_flag {
            arguments.extend([flag.clone(), port.clone()]);
        }
        let mut environment = program.environment.clone();
        environment.push(("PORT".into(), port));
        let spec = ChildSpec {
            program: program.executable.clone(),
            arguments,
            environment,
            working_dir: program.working_dir.clone(),
            log_file,
            listener: Some(LineListener(Arc::new(move |line| metrics.read(line)))),
        };
        let child = spawner.spawn(spec).await?;
        let process = AgentProcess { child, address, client: client() };
        match process.until_ready().await {
            Ok(()) => Ok(process),
            Err(error) => {
                process.child.stop(Duration::from_secs(1)).await;
                Err(error)
            }
        }
    }

    /// Polls `/ping`, eagerly at first: an agent with a warm cache is up within a few tens of milliseconds.
    async fn until_ready(&self) -> Result<(), StartError> {
        let polling = async {
            let mut pause = Duration::from_millis(2);
            while self.ping().await.is_err() {
                tokio::time::sleep(pause).await;
                pause = (pause * 3 / 2).min(Duration::from_millis(100));
            }
        };
        tokio::select! {
            polled = tokio::time::timeout(START_TIMEOUT, polling) => {
                polled.map_err(|_| StartError::NotReady { tail: self.child.tail() })
            }
            ended = self.child.wait() => Err(StartError::Ended { ended: ended.to_string(), tail: self.child.tail() }),
        }
    }

    /// Asks `/ping` once.
    pub(crate) async fn ping(&self) -> Result<(), String> {
        let request = Request::builder()
            .method(Method::GET)
            .uri(self.uri("/ping"))
            .body(Full::default())
            .expect("a request made of constants is valid");
        match tokio::time::timeout(PING_TIMEOUT, self.client.request(request)).await {
            Err(_) => Err(format!("no answer within {} s", PING_TIMEOUT.as_secs())),
            Ok(Err(error)) => Err(error.to_string()),
            Ok(Ok(response)) if response.status() == StatusCode::OK => Ok(()),
            Ok(Ok(response)) => Err(format!("status {}", response.status())),
        }
    }

    /// Sends one request; its path is taken as it stands.
    pub(crate) async fn send(&self, mut request: Request<Full<Bytes>>) -> Result<Response<Incoming>, hyper_util::client::legacy::Error> {
        *request.uri_mut() = self.uri(request.uri().path());
        self.client.request(request).await
    }

    fn uri(&self, path: &str) -> Uri {
        format!("http://{}{path}", self.address).parse().expect("an address and a path make a URI")
    }
}

fn client() -> Client<HttpConnector, Full<Bytes>> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(Duration::from_secs(2)));
    Client::builder(TokioExecutor::new())
        .pool_idle_timeout(Duration::from_secs(60))
        .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
        .build(connector)
}

/// A port that is free now. Another program may take it before the agent binds it; the agent then ends with "address in use", which the caller is told,
/// and the next call tries another port.
fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}
