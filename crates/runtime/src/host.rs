//! The loop that owns an agent's process.
//!
//! It alone decides when a process is started, found dead or ended; callers see its decisions through a watched state and ask by an [`Event`]. A call to
//! a ready agent reads that state and asks nothing, so no lock is held and no queue crossed on the way of a warm request.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use frontdesk_aws::arn::AgentRuntimeArn;
use frontdesk_process::Spawner;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::Instant;

use crate::agent_process::{AgentProcess, PING_TIMEOUT, StartError};
use crate::emitted::EmittedMetrics;

/// How often a ready agent is asked for `/ping`; AWS polls about as often.
const PING_PERIOD: Duration = Duration::from_secs(2);
/// So many pings in a row may fail before the process is ended and replaced.
const PING_FAILURES_MAX: u32 = 3;
/// After a failed start, calls within this time are told of that failure instead of starting another: an agent that cannot start must not be forked
/// at the rate of the requests.
const START_BACKOFF: Duration = Duration::from_secs(1);
/// SIGTERM, then so much time to finish, then SIGKILL.
const STOP_GRACE: Duration = Duration::from_secs(10);
/// Events waiting for the loop. It only makes decisions, so the queue is short unless something is broken; then callers skip their event and time out.
const EVENT_QUEUE_MAX: usize = 1024;

/// The program to host, and how to start it.
#[derive(Debug, Clone)]
pub struct AgentProgram {
    /// Path of the executable.
    pub executable: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// The argument before the port number (`--port`), for programs that do not read `PORT`.
    pub port_flag: Option<OsString>,
    /// Its whole environment, to which `PORT` is added.
    pub environment: Vec<(OsString, OsString)>,
    /// Its working folder; the host's when `None`.
    pub working_dir: Option<PathBuf>,
    /// File that takes its output.
    pub log_path: Option<PathBuf>,
}

/// What the loop can be told.
#[derive(Debug)]
enum Event {
    /// A call needs a process.
    Wanted,
    /// A start came to its end.
    Started(Result<Arc<AgentProcess>, Arc<StartError>>),
    /// The process with this id ended.
    Ended(u32),
    /// The process with this id answered no ping, several times.
    Silent(u32),
    /// The host is going down.
    Stop,
}

/// What callers see of the loop's decisions.
#[derive(Debug, Clone)]
pub(crate) enum ProcessState {
    /// No process; the next call starts one.
    Stopped,
    /// A process is being started.
    Starting,
    /// A process answers.
    Ready(Arc<AgentProcess>),
    /// The last start failed at this time, for this reason.
    Failed { at: Instant, reason: Arc<str> },
    /// The host is going down for good.
    Closed,
}

/// An agent's state in a word, as AgentCore-like tools print it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostedAgentState {
    /// No process is running; the next call starts one.
    Stopped,
    /// A process is being started.
    Starting,
    /// A process answers.
    Ready,
    /// The last start failed.
    Failed,
}

/// What is known of a hosted agent now.
#[derive(Debug, Clone)]
pub struct AgentStatus {
    /// The runtime's ARN.
    pub arn: AgentRuntimeArn,
    /// Its state.
    pub state: HostedAgentState,
    /// The running process's id.
    pub pid: Option<u32>,
    /// Why the last start failed.
    pub failure: Option<String>,
}

/// A handle on one hosted agent. Cheap to clone.
#[derive(Debug, Clone)]
pub struct HostedAgent {
    arn: AgentRuntimeArn,
    events: mpsc::Sender<Event>,
    pub(crate) state: watch::Receiver<ProcessState>,
    /// Calls that may be inside the agent or waiting for it at once.
    pub(crate) in_flight: Arc<Semaphore>,
    metrics: EmittedMetrics,
}

impl HostedAgent {
    /// Begins to host an agent. Nothing is started until a call or [`HostedAgent::start`] wants it.
    ///
    /// `calls_max` bounds the calls in flight; one more is told to come back later.
    #[must_use]
    pub fn new(arn: AgentRuntimeArn, program: AgentProgram, spawner: Spawner, calls_max: usize) -> HostedAgent {
        let (events, queue) = mpsc::channel(EVENT_QUEUE_MAX);
        let (publish, state) = watch::channel(ProcessState::Stopped);
        let metrics = EmittedMetrics::default();
        let decider = HostLoop { program, spawner, publish, events: events.downgrade(), metrics: metrics.clone() };
        tokio::spawn(decider.run(queue));
        HostedAgent { arn, events, state, in_flight: Arc::new(Semaphore::new(calls_max)), metrics }
    }

    /// The metrics that the agent wrote into its log, over all its processes.
    #[must_use]
    pub fn emitted_metrics(&self) -> &EmittedMetrics {
        &self.metrics
    }

    /// The runtime's ARN.
    #[must_use]
    pub fn arn(&self) -> &AgentRuntimeArn {
        &self.arn
    }

    /// What is known of the agent now.
    #[must_use]
    pub fn status(&self) -> AgentStatus {
        let (state, pid, failure) = match &*self.state.borrow() {
            ProcessState::Stopped | ProcessState::Closed => (HostedAgentState::Stopped, None, None),
            ProcessState::Starting => (HostedAgentState::Starting, None, None),
            ProcessState::Ready(process) => (HostedAgentState::Ready, Some(process.child.pid()), None),
            ProcessState::Failed { reason, .. } => (HostedAgentState::Failed, None, Some(reason.to_string())),
        };
        AgentStatus { arn: self.arn.clone(), state, pid, failure }
    }

    /// Starts a process if none runs, and waits until it answers.
    ///
    /// # Errors
    /// The reason of a failed start.
    pub async fn start(&self) -> Result<(), String> {
        self.ready_process().await.map(drop)
    }

    /// Ends the agent for good: in-flight calls have been drained by now, or are cut.
    pub async fn stop(&self) {
        let mut state = self.state.clone();
        if self.events.send(Event::Stop).await.is_ok() {
            let _ = state.wait_for(|state| matches!(state, ProcessState::Closed)).await;
        }
    }

    /// The process to call now, started if need be.
    pub(crate) async fn ready_process(&self) -> Result<Arc<AgentProcess>, String> {
        let mut state = self.state.clone();
        loop {
            let seen = state.borrow_and_update().clone();
            match seen {
                ProcessState::Ready(process) if process.child.is_running() => return Ok(process),
                // It has ended, and the loop is about to hear of it.
                ProcessState::Ready(_) => {}
                ProcessState::Closed => return Err("the host is shutting down".to_owned()),
                ProcessState::Failed { at, reason } if at.elapsed() < START_BACKOFF => return Err(reason.to_string()),
                ProcessState::Stopped | ProcessState::Failed { .. } => {
                    let _ = self.events.try_send(Event::Wanted);
                }
                ProcessState::Starting => {}
            }
            if state.changed().await.is_err() {
                return Err("the host is shutting down".to_owned());
            }
        }
    }
}

/// The loop's own data: only it publishes a state.
struct HostLoop {
    program: AgentProgram,
    spawner: Spawner,
    publish: watch::Sender<ProcessState>,
    events: mpsc::WeakSender<Event>,
    metrics: EmittedMetrics,
}

impl HostLoop {
    async fn run(self, mut queue: mpsc::Receiver<Event>) {
        while let Some(event) = queue.recv().await {
            let now = self.publish.borrow().clone();
            match (event, now) {
                (Event::Wanted, ProcessState::Stopped | ProcessState::Failed { .. }) => self.start(),
                (Event::Started(Ok(process)), _) => self.started(process),
                (Event::Started(Err(error)), _) => {
                    let reason = error.report();
                    tracing::error!(%reason, "agent could not be started");
                    self.tell(ProcessState::Failed { at: Instant::now(), reason: reason.into() });
                }
                (Event::Ended(pid), ProcessState::Ready(process)) if process.child.pid() == pid => {
                    let ended = process.child.ended().map(|ended| ended.0).unwrap_or_default();
                    tracing::warn!(pid, ended, "agent ended; the next call starts another");
                    self.tell(ProcessState::Stopped);
                }
                (Event::Silent(pid), ProcessState::Ready(process)) if process.child.pid() == pid => {
                    tracing::warn!(pid, "agent answers no ping and is replaced");
                    self.tell(ProcessState::Stopped);
                    tokio::spawn(async move { process.child.stop(STOP_GRACE).await });
                }
                (Event::Stop, now) => {
                    if let ProcessState::Ready(process) = now {
                        process.child.stop(STOP_GRACE).await;
                    }
                    self.tell(ProcessState::Closed);
                    return;
                }
                // A start is under way already, or the process spoken of has been replaced.
                (Event::Wanted | Event::Ended(_) | Event::Silent(_), _) => {}
            }
        }
    }

    fn tell(&self, state: ProcessState) {
        self.publish.send_replace(state);
    }

    /// Starts a process beside the loop, so that the loop stays free to decide.
    fn start(&self) {
        self.tell(ProcessState::Starting);
        let (spawner, program, events, metrics) = (self.spawner.clone(), self.program.clone(), self.events.clone(), self.metrics.clone());
        tokio::spawn(async move {
            let started = AgentProcess::start(&spawner, &program, metrics).await.map(Arc::new).map_err(Arc::new);
            if let Some(events) = events.upgrade() {
                // When the loop has ended meanwhile, the event is dropped and the process with it.
                let _ = events.send(Event::Started(started)).await;
            }
        });
    }

    fn started(&self, process: Arc<AgentProcess>) {
        tracing::info!(pid = process.child.pid(), address = %process.address, "agent is ready");
        tokio::spawn(watch_process(process.clone(), self.events.clone()));
        self.tell(ProcessState::Ready(process));
    }
}

/// Watches one process until it ends or falls silent, and tells the loop.
async fn watch_process(process: Arc<AgentProcess>, events: mpsc::WeakSender<Event>) {
    let pid = process.child.pid();
    let silence = async {
        let mut failures = 0;
        while failures < PING_FAILURES_MAX {
            tokio::time::sleep(PING_PERIOD).await;
            match process.ping().await {
                Ok(()) => failures = 0,
                Err(error) => {
                    failures += 1;
                    tracing::warn!(pid, failures, error, timeout_ms = PING_TIMEOUT.as_millis(), "agent did not answer a ping");
                }
            }
        }
    };
    let event = tokio::select! {
        _ = process.child.wait() => Event::Ended(pid),
        () = silence => Event::Silent(pid),
    };
    if let Some(events) = events.upgrade() {
        let _ = events.send(event).await;
    }
}
