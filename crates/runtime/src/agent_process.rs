//! One agent process: started on a free port, ready when `/ping` answers, spoken to over plain HTTP.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use frontdesk_process::{Child, ChildSpec, LineListener, LogFile, SandboxUser, SpawnError, Spawner};
use frontdesk_store::{AgentProtocol, IsolationLevel};
use http::{Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Limited};
use serde::Deserialize;
use time::OffsetDateTime;

use crate::agent_client::{AgentBody, AgentClient, SendError};
use crate::agent_port::{AgentDoor, PortLease, Ports};
use crate::egress::{self, Dial, EgressRules, Relay};
use crate::hosted::{HostedVersion, SeededProgram};
use crate::payload::{Payload, PayloadBody};
use crate::sandbox;
use crate::service::RuntimePlace;
use crate::session::{Session, SessionState};
use crate::session_log::{AgentLines, AgentOutput};
use crate::session_users::{self, SessionUsers, UserLease};

/// How long a start may take: AgentCore's two minutes.
const START_TIMEOUT: Duration = Duration::from_secs(120);
/// The longest answer to `/ping`, which is an object with two fields.
const PING_BYTES_MAX: usize = 4096;
/// The status of an agent that is at work besides its calls, in AgentCore's words.
const BUSY: &str = "HealthyBusy";
/// How long one `/ping` may take.
pub(crate) const PING_TIMEOUT: Duration = Duration::from_secs(2);
/// SIGTERM, then so much time, then SIGKILL, for what never became ready.
const FAILED_START_GRACE: Duration = Duration::from_secs(1);

/// Why an agent could not be started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    #[error("failed to open the agent's log file {path}")]
    Log { path: String, source: io::Error },
    #[error("failed to make its way out of its own network")]
    Egress(#[source] io::Error),
    #[error("no free port on 127.0.0.1")]
    Port(#[source] io::Error),
    #[error("failed to make the folder {path}")]
    Folder { path: String, source: io::Error },
    #[error("it is no program of this machine")]
    NoProgram,
    #[error("the session was ended while it was started")]
    Unwanted,
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

/// What starts agents and speaks to them. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Launcher {
    spawner: Spawner,
    /// What every agent finds in its environment.
    environment: Arc<[(OsString, OsString)]>,
    /// Where each process gets a folder of its own.
    folder: PathBuf,
    /// Folders that no sandboxed process may read.
    hidden: Arc<[PathBuf]>,
    /// Where processes with a network of their own may go, and how.
    egress: Arc<EgressRules>,
    dial: Dial,
    /// Who else takes what agents print.
    lines: AgentLines,
    ports: Ports,
    users: Option<SessionUsers>,
    /// Whether the log knows that a program is closed to users of sessions' own.
    has_told_of_closed: Arc<AtomicBool>,
}

impl std::fmt::Debug for Launcher {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Launcher").field("folder", &self.folder).field("egress", &self.egress).finish_non_exhaustive()
    }
}

impl Launcher {
    pub(crate) fn new(spawner: Spawner, place: &RuntimePlace) -> Launcher {
        let (environment, hidden) = (place.environment.clone().into(), place.hidden.clone().into());
        let (folder, egress) = (place.sessions.clone(), Arc::new(place.egress.clone()));
        let users = place.session_users_from.map(SessionUsers::new);
        let (ports, has_told_of_closed) = Default::default();
        Launcher {
            spawner,
            environment,
            folder,
            hidden,
            egress,
            dial: egress::dial(),
            lines: place.lines.clone(),
            ports,
            users,
            has_told_of_closed,
        }
    }

    /// Starts a session's program and waits until it is ready, or no longer wanted. On failure nothing is left running.
    pub(crate) async fn start(&self, session: &Session) -> Result<Arc<AgentProcess>, StartError> {
        let process = self.spawn(session).await?;
        session.serving.set_pid(process.child.pid());
        let mut state = session.state.clone();
        let unwanted = async {
            let _ = state.wait_for(|state| !matches!(state, SessionState::Starting)).await;
        };
        let ready = tokio::select! {
            ready = process.until_ready() => ready,
            () = unwanted => Err(StartError::Unwanted),
        };
        match ready {
            Ok(()) => Ok(Arc::new(process)),
            Err(error) => {
                process.child.stop(FAILED_START_GRACE).await;
                Err(error)
            }
        }
    }

    /// The folder of a session's process.
    pub(crate) fn folder_of(&self, number: u64) -> PathBuf {
        self.folder.join(number.to_string())
    }

    async fn spawn(&self, session: &Session) -> Result<AgentProcess, StartError> {
        let lease = self.ports.lease().map_err(StartError::Port)?;
        let port = lease.port;
        let folder = self.folder_of(session.number);
        let made = folder.clone();
        let (launcher, version, number) = (self.clone(), session.version.clone(), session.number);
        let made = tokio::task::spawn_blocking(move || {
            make_private(&made)?;
            Ok(launcher.user_for(&version, number))
        });
        let made = made.await.map_err(io::Error::other).flatten();
        let user = made.map_err(|source| StartError::Folder { path: folder.display().to_string(), source })?;
        let sandbox_user = user.as_ref().map(|lease| lease.user);
        let child = Arc::new(self.spawner.spawn(self.child_spec(session, port.number(), &folder, sandbox_user)?).await?);
        let relay = match self.has_relay(session) {
            true => {
                let listener = child.listen_inside(egress::RELAY_PORT).await.map_err(StartError::Egress)?;
                let agent = session.version.arn.name();
                Some(Relay::begin(listener, self.egress.clone(), self.dial.clone(), agent))
            }
            false => None,
        };
        let client = AgentClient::new(AgentDoor::new(child.clone(), port));
        let protocol = session.version.configuration.protocol;
        let (is_busy, updated_at) = Default::default();
        Ok(AgentProcess { child, client, _lease: lease, _relay: relay, _user: user, protocol, is_busy, updated_at })
    }

    /// A user of its own for a session's process, where the host can give it one and the program is not closed to it. Looks at files, so it blocks.
    fn user_for(&self, version: &HostedVersion, session: u64) -> Option<UserLease> {
        let users = self.users.as_ref()?;
        if version.configuration.isolation == IsolationLevel::None {
            return None;
        }
        let program = version.program()?;
        if let Some(closed) = session_users::closed_to_others(version.executable(program), program) {
            if !self.has_told_of_closed.swap(true, Ordering::Relaxed) {
                let (agent, closed) = (version.arn.name(), closed.display());
                tracing::warn!(agent, %closed, "sessions run as the host's own user: their program lies behind what is closed to others");
            }
            return None;
        }
        users.lease(session)
    }

    /// Whether a session's process goes out through a relay: it has a network of its own, and there is somewhere to go.
    fn has_relay(&self, session: &Session) -> bool {
        session.version.configuration.isolation == IsolationLevel::Namespace && !self.egress.is_empty()
    }

    /// What is started: the one place that knows what a configuration means for a process.
    fn child_spec(&self, session: &Session, port: u16, folder: &Path, user: Option<SandboxUser>) -> Result<ChildSpec, StartError> {
        let version = session.version.clone();
        let program = version.program().ok_or(StartError::NoProgram)?;
        let port = OsString::from(port.to_string());
        let mut arguments: Vec<OsString> = program.arguments.iter().map(OsString::from).collect();
        if let Some(flag) = &program.port_flag {
            arguments.extend([flag.into(), port.clone()]);
        }
        let mut environment = self.environment.to_vec();
        let region = version.arn.region();
        environment.extend([("AWS_REGION".into(), region.into()), ("AWS_DEFAULT_REGION".into(), region.into())]);
        let seeded = version.standing.seeded.clone();
        match &seeded {
            Some(seeded) => environment.extend(seeded.environment.iter().cloned()),
            None => environment.extend([("TMPDIR".into(), folder.into()), ("HOME".into(), folder.into())]),
        }
        if self.has_relay(session) {
            let relayed = egress::environment();
            environment.retain(|(name, _)| !relayed.iter().any(|(relayed, _)| name == relayed));
            environment.extend(relayed.into_iter().map(|(name, value)| (name.into(), value.into())));
        }
        environment.extend(version.configuration.environment.iter().map(|(name, value)| (name.into(), value.into())));
        environment.push(("PORT".into(), port));
        let log_file = seeded.map(|SeededProgram { log_path, .. }| {
            LogFile::open(&log_path).map_err(|source| StartError::Log { path: log_path.display().to_string(), source })
        });
        let serving = session.serving.clone();
        let executable = version.executable(program).to_owned();
        let working_dir = program.working_dir.clone().or_else(|| log_file.is_none().then(|| folder.to_owned()));
        let sandbox = sandbox::of(&version.configuration, program, folder, &self.hidden, user);
        let (AgentLines(lines), endpoint) = (self.lines.clone(), session.endpoint.clone());
        let listener = LineListener(Arc::new(move |stream, printed| {
            printed.iter().for_each(|line| version.standing.metrics.read(line));
            let now = now();
            if let Some(log) = &version.standing.log {
                log.append(version.version, &serving, stream, printed, now);
            }
            let timestamp_ms = i64::try_from(now.unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX);
            let (runtime_id, session_id) = (&version.runtime_id, serving.session_id());
            lines(AgentOutput { runtime_id, endpoint: &endpoint, session_id: &session_id, timestamp_ms, lines: printed });
        }));
        Ok(ChildSpec {
            program: executable,
            arguments,
            environment,
            working_dir,
            log_file: log_file.transpose()?,
            listener: Some(listener),
            sandbox,
        })
    }
}

/// A process that was started.
#[derive(Debug)]
pub(crate) struct AgentProcess {
    pub(crate) child: Arc<Child>,
    _lease: PortLease,
    _relay: Option<Relay>,
    _user: Option<UserLease>,
    protocol: AgentProtocol,
    client: AgentClient,
    /// What the last `/ping` said.
    is_busy: AtomicBool,
    /// When, by its last `/ping`, its status changed last; Unix seconds.
    updated_at: AtomicI64,
}

/// What is read of the answer to `/ping`. An agent that says less is not busy.
#[derive(Debug, Default, Deserialize)]
struct PingDocument {
    #[serde(default)]
    status: String,
    #[serde(default)]
    time_of_last_update: f64,
}

impl AgentProcess {
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

    /// Asks `/ping` once. Agents that speak MCP or A2A need not know it: whatever they answer, they are there.
    pub(crate) async fn ping(&self) -> Result<(), String> {
        let mut request = Request::new(Payload::from(Bytes::new()).body());
        *request.uri_mut() = Uri::from_static("/ping");
        let asked = async {
            let response = self.client.send_alone(request).await.map_err(|error| error.to_string())?;
            if response.status() != StatusCode::OK {
                return match self.protocol {
                    AgentProtocol::Mcp | AgentProtocol::A2a => Ok(()),
                    AgentProtocol::Http | AgentProtocol::Agui => Err(format!("status {}", response.status())),
                };
            }
            // The status is the answer; an agent may write what it likes into the document.
            let body = Limited::new(response.into_body(), PING_BYTES_MAX).collect().await;
            let document = body.ok().and_then(|body| serde_json::from_slice(&body.to_bytes()).ok());
            let document: PingDocument = document.unwrap_or_default();
            self.is_busy.store(document.status == BUSY, Ordering::Relaxed);
            #[expect(clippy::cast_possible_truncation, reason = "a moment that fits no integer is no moment; the cast saturates")]
            self.updated_at.store(document.time_of_last_update as i64, Ordering::Relaxed);
            Ok(())
        };
        let answered = tokio::time::timeout(PING_TIMEOUT, asked).await;
        answered.unwrap_or_else(|_| Err(format!("no answer within {} s", PING_TIMEOUT.as_secs())))
    }

    /// How long ago, by what it said when it was last asked, its status changed.
    pub(crate) fn since_update(&self, now_unix: i64) -> Duration {
        let seconds = now_unix.saturating_sub(self.updated_at.load(Ordering::Relaxed));
        Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
    }

    /// Whether the agent said, when it was last asked, that it is at work besides its calls.
    pub(crate) fn is_busy(&self) -> bool {
        self.is_busy.load(Ordering::Relaxed)
    }

    /// Sends one request, whose URI is a path.
    pub(crate) async fn send(&self, request: Box<Request<PayloadBody>>) -> Result<Response<AgentBody>, SendError> {
        self.client.send(request).await
    }

    /// The way to it.
    pub(crate) fn door(&self) -> &AgentDoor {
        self.client.door()
    }
}

fn make_private(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().mode(0o700).create(folder)
}

#[expect(clippy::disallowed_methods, reason = "this is the edge where the moments of log lines and pings are read")]
pub(crate) fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}
