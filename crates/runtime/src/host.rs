//! The loop that owns the agents' processes.
//!
//! It alone decides when a process is started, found dead or ended; callers see its decisions through each session's watched state and ask by an
//! [`Event`]. A call of a session that is there looks it up, reads its state and asks nothing: no lock is held across I/O and no queue crossed on its way.

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use frontdesk_store::SessionMode;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior};

use crate::DEFAULT_ENDPOINT;
use crate::agent_process::{AgentProcess, Launcher, PING_TIMEOUT, StartError, now};
use crate::hosted::{HostedVersion, RuntimeTable, Target};
use crate::invoke::InvokeError;
use crate::session::{Freed, Inside, Session, SessionState};

/// How often a ready agent is asked for `/ping`; AWS polls about as often.
const PING_PERIOD: Duration = Duration::from_secs(2);
/// How often a session's agent is asked that is idle and has not been called for as long as this.
const IDLE_PING_PERIOD: Duration = Duration::from_secs(30);
/// So many pings in a row may fail before the process is ended.
const PING_FAILURES_MAX: u32 = 3;
/// After a failed start, calls within this time are told of that failure instead of starting another: an agent that cannot start must not be forked
/// at the rate of the requests.
const START_BACKOFF: Duration = Duration::from_secs(1);
/// SIGTERM, then so much time to finish, then SIGKILL.
const STOP_GRACE: Duration = Duration::from_secs(10);
/// How often the loop looks for sessions whose time has come.
const SWEEP_PERIOD: Duration = Duration::from_secs(1);
/// Events waiting for the loop. It only makes decisions, so the queue is short unless something is broken; then callers are told to come back.
const EVENT_QUEUE_MAX: usize = 1024;
/// A call may find its session ended so often between asking for it and entering it.
const ENTER_ATTEMPTS_MAX: usize = 3;
/// How long after an agent's end the loop may take to hear of it.
const END_NOTICE_MAX: Duration = Duration::from_millis(500);

/// Limits of all sessions together.
#[derive(Debug, Clone)]
pub struct SessionLimits {
    /// Processes at once, shared and warm ones included.
    pub sessions_max: usize,
    /// Calls that may wait for a place; one more is told to come back later.
    pub queue_max: usize,
    /// How long they may wait.
    pub queue_wait: Duration,
    /// Processes of one version that are kept warm between sessions that the runtime named itself.
    pub warm_processes: usize,
    /// Calls of one runtime in flight at once.
    pub calls_max: usize,
}

impl Default for SessionLimits {
    fn default() -> Self {
        SessionLimits { sessions_max: 100, queue_max: 256, queue_wait: Duration::from_secs(10), warm_processes: 2, calls_max: 1024 }
    }
}

/// A session as it is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionName {
    /// By its caller's name.
    Named(String),
    /// The runtime named it itself: nobody will come back to it.
    Generated(String),
}

impl SessionName {
    /// The session's id.
    #[must_use]
    pub fn id(&self) -> &str {
        match self {
            SessionName::Named(id) | SessionName::Generated(id) => id,
        }
    }
}

/// Whose a process is. The text finds it in the table of sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Owner {
    /// All sessions of a version.
    Shared(String),
    /// One session.
    Named(String),
    /// Whichever session the runtime names next.
    Whoever,
}

impl Owner {
    fn of(target: &Target, session: &SessionName) -> Owner {
        let Target { version, endpoint } = target;
        match (version.configuration.sessions, session) {
            (SessionMode::Shared, _) => Owner::Shared([&version.runtime_id, "/", itoa::Buffer::new().format(version.version)].concat()),
            (SessionMode::OwnProcess, SessionName::Named(id)) => Owner::Named(session_key(&version.runtime_id, endpoint, id)),
            (SessionMode::OwnProcess, SessionName::Generated(_)) => Owner::Whoever,
        }
    }

    /// The endpoint that the process is called through. One that serves whoever comes counts as the default one's.
    fn endpoint(&self) -> &str {
        match self {
            Owner::Named(key) => key.split('/').nth(1).unwrap_or(DEFAULT_ENDPOINT),
            Owner::Shared(_) | Owner::Whoever => DEFAULT_ENDPOINT,
        }
    }

    fn key(&self) -> Option<&str> {
        match self {
            Owner::Shared(key) | Owner::Named(key) => Some(key),
            Owner::Whoever => None,
        }
    }
}

fn session_key(runtime_id: &str, endpoint: &str, session_id: &str) -> String {
    [runtime_id, "/", endpoint, "/", session_id].concat()
}

/// Which sessions are to be ended.
#[derive(Debug)]
pub(crate) enum Which {
    /// The one with this id that was called through this endpoint.
    OfEndpoint { runtime_id: String, endpoint: String, session_id: String },
    /// All with this id.
    WithId(String),
    /// All of a runtime.
    OfRuntime(String),
    /// All, and none is started any more.
    All,
}

/// What the loop can be told.
#[derive(Debug)]
enum Event {
    /// A call needs a process.
    Wanted(Want),
    /// A start came to its end.
    Started(u64, Result<Arc<AgentProcess>, Arc<StartError>>),
    /// The process of this session ended.
    Ended(u64),
    /// The process of this session answered no ping, several times.
    Silent(u64),
    /// The process of this session has been ended.
    Gone(u64),
    /// These are to be ended; the answer is what is being ended now.
    End(Which, oneshot::Sender<Vec<Arc<Session>>>),
    /// Which there are?
    List(oneshot::Sender<Vec<ListedSession>>),
}

/// A session in a list of all.
#[derive(Debug)]
pub(crate) struct ListedSession {
    pub(crate) session: Arc<Session>,
    pub(crate) is_named: bool,
}

#[derive(Debug)]
struct Want {
    version: Arc<HostedVersion>,
    owner: Owner,
    session_id: String,
    reply: oneshot::Sender<Result<Inside, Refusal>>,
}

#[derive(Debug)]
enum Refusal {
    /// There are as many processes as may be, and as many calls waiting.
    Busy,
    /// A start failed a moment ago.
    Failed(Arc<str>),
    /// The host is going down.
    Closing,
}

type SessionTable = Arc<RwLock<HashMap<String, Arc<Session>>>>;

/// The way to the loop.
#[derive(Debug)]
pub(crate) struct SessionHost {
    events: mpsc::Sender<Event>,
    /// Written by the loop alone.
    by_key: SessionTable,
    freed: Arc<Freed>,
}

impl SessionHost {
    /// Starts the loop.
    pub(crate) fn start(launcher: Launcher, limits: SessionLimits, table: Arc<ArcSwap<RuntimeTable>>) -> SessionHost {
        let (events, queue) = mpsc::channel(EVENT_QUEUE_MAX);
        let (by_key, freed) = <(SessionTable, Arc<Freed>)>::default();
        let decider = HostLoop {
            launcher,
            limits,
            table,
            events: events.downgrade(),
            by_key: by_key.clone(),
            freed: freed.clone(),
            slots: HashMap::new(),
            next_number: 1,
            waiting: VecDeque::new(),
            failures: HashMap::new(),
            is_closing: false,
        };
        tokio::spawn(decider.run(queue));
        SessionHost { events, by_key, freed }
    }

    /// Enters a session whose process answers, starting one if need be.
    pub(crate) async fn enter(&self, target: &Target, session: &SessionName) -> Result<(Inside, Arc<AgentProcess>), InvokeError> {
        let owner = Owner::of(target, session);
        for _ in 0..ENTER_ATTEMPTS_MAX {
            let warm = owner.key().and_then(|key| self.find(key)).and_then(|session| Inside::enter(session, &self.freed));
            let inside = match warm {
                Some(inside) => inside,
                None => self.ask(target, &owner, session).await?,
            };
            let mut state = inside.session.state.clone();
            let settled = state.wait_for(|state| !matches!(state, SessionState::Starting)).await.map(|state| state.clone());
            match settled {
                Ok(SessionState::Ready(process)) if process.child.is_running() => {
                    if owner == Owner::Whoever && inside.session.serving.session_id() != session.id() {
                        // What it printed for the session before may still be in its pipe, and is that one's.
                        process.child.drain().await;
                        inside.session.serving.set_session_id(session.id());
                    }
                    return Ok((inside, process));
                }
                // It has ended, and the loop is about to hear of it.
                Ok(SessionState::Ready(_)) => {
                    let _ = tokio::time::timeout(END_NOTICE_MAX, state.wait_for(|state| !matches!(state, SessionState::Ready(_)))).await;
                }
                Ok(SessionState::Failed(reason)) => return Err(InvokeError::Agent(reason.to_string())),
                // Another is started for the same session.
                Ok(SessionState::Starting | SessionState::Stopping | SessionState::Ended) | Err(_) => {}
            }
        }
        Err(InvokeError::Agent("the session's process ended again and again before it was called".to_owned()))
    }

    /// Enters a session whose process answers already; nothing where it is not there, or is being ended.
    pub(crate) fn enter_warm(&self, target: &Target, session: &SessionName) -> Option<(Inside, Arc<AgentProcess>)> {
        let session = self.find(Owner::of(target, session).key()?)?;
        let process = match &*session.state.borrow() {
            SessionState::Ready(process) if process.child.is_running() => process.clone(),
            _ => return None,
        };
        Some((Inside::enter(session, &self.freed)?, process))
    }

    fn find(&self, key: &str) -> Option<Arc<Session>> {
        self.by_key.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    /// What is known of the process that a version's sessions share.
    pub(crate) fn shared(&self, target: &Target) -> Option<Arc<Session>> {
        let any = SessionName::Generated(String::new());
        Owner::of(target, &any).key().and_then(|key| self.find(key))
    }

    async fn ask(&self, target: &Target, owner: &Owner, session: &SessionName) -> Result<Inside, InvokeError> {
        let (reply, answer) = oneshot::channel();
        let want = Want { version: target.version.clone(), owner: owner.clone(), session_id: session.id().to_owned(), reply };
        self.events.try_send(Event::Wanted(want)).map_err(|_| InvokeError::Busy)?;
        match answer.await {
            Ok(Ok(inside)) => Ok(inside),
            Ok(Err(Refusal::Busy)) => Err(InvokeError::Busy),
            Ok(Err(Refusal::Failed(reason))) => Err(InvokeError::Agent(reason.to_string())),
            Ok(Err(Refusal::Closing)) | Err(_) => Err(InvokeError::Agent("the host is shutting down".to_owned())),
        }
    }

    /// Begins to end sessions, at once and side by side. Calls inside are cut; the next call of such a session starts another process.
    pub(crate) async fn end(&self, which: Which) -> Vec<Arc<Session>> {
        let (reply, answer) = oneshot::channel();
        match self.events.send(Event::End(which, reply)).await {
            Ok(()) => answer.await.unwrap_or_default(),
            Err(_) => Vec::new(),
        }
    }

    pub(crate) async fn list(&self) -> Vec<ListedSession> {
        let (reply, answer) = oneshot::channel();
        match self.events.send(Event::List(reply)).await {
            Ok(()) => answer.await.unwrap_or_default(),
            Err(_) => Vec::new(),
        }
    }
}

/// Waits until none of these runs any more.
pub(crate) async fn all_ended(sessions: Vec<Arc<Session>>) {
    for session in sessions {
        let mut state = session.state.clone();
        let _ = state.wait_for(|state| matches!(state, SessionState::Ended | SessionState::Failed(_))).await;
    }
}

/// A process with what only the loop knows of it.
#[derive(Debug)]
struct Slot {
    session: Arc<Session>,
    owner: Owner,
    publish: watch::Sender<SessionState>,
}

impl Slot {
    fn tell(&self, state: SessionState) {
        self.publish.send_replace(state);
    }
}

/// The loop's own data: only it publishes a state.
struct HostLoop {
    launcher: Launcher,
    limits: SessionLimits,
    table: Arc<ArcSwap<RuntimeTable>>,
    events: mpsc::WeakSender<Event>,
    by_key: SessionTable,
    freed: Arc<Freed>,
    slots: HashMap<u64, Slot>,
    next_number: u64,
    /// Calls that wait for a place, with the end of their patience; the oldest first.
    waiting: VecDeque<(Instant, Want)>,
    /// Versions whose last start failed, when and why.
    failures: HashMap<(String, u32), (Instant, Arc<str>)>,
    is_closing: bool,
}

impl HostLoop {
    async fn run(mut self, mut queue: mpsc::Receiver<Event>) {
        let freed = self.freed.clone();
        let mut sweeps = tokio::time::interval(SWEEP_PERIOD);
        sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = queue.recv() => match event {
                    Some(event) => self.decide(event),
                    None => return,
                },
                () = freed.notify.notified() => self.serve_waiting(),
                _ = sweeps.tick() => self.sweep(),
            }
        }
    }

    fn decide(&mut self, event: Event) {
        match event {
            Event::Wanted(want) => {
                if let Some(want) = self.serve(want) {
                    self.make_wait(want);
                }
            }
            Event::Started(number, started) => self.started(number, started),
            Event::Ended(number) => self.ended(number),
            Event::Silent(number) => {
                if self.is_ready(number) {
                    tracing::warn!(session = self.session_id(number), "agent answers no ping and is replaced");
                    self.end(number);
                }
            }
            Event::Gone(number) => self.remove(number, SessionState::Ended),
            Event::End(which, reply) => {
                self.is_closing |= matches!(which, Which::All);
                let numbers: Vec<u64> = self.slots.iter().filter(|(_, slot)| is_meant(&which, slot)).map(|(number, _)| *number).collect();
                let ended = numbers.iter().filter_map(|number| self.slots.get(number)).map(|slot| slot.session.clone()).collect();
                numbers.into_iter().for_each(|number| self.end(number));
                let _ = reply.send(ended);
            }
            Event::List(reply) => {
                let mut numbers: Vec<&u64> = self.slots.keys().collect();
                numbers.sort_unstable();
                let listed = |number: &u64| {
                    let slot = &self.slots[number];
                    ListedSession { session: slot.session.clone(), is_named: matches!(slot.owner, Owner::Named(_)) }
                };
                let _ = reply.send(numbers.into_iter().map(listed).collect());
            }
        }
    }

    /// Gives a call its process: the one that is there, a warm one or a new one. Gives the call back when there is no place for it.
    fn serve(&mut self, want: Want) -> Option<Want> {
        if want.reply.is_closed() {
            return None;
        }
        if self.is_closing {
            let _ = want.reply.send(Err(Refusal::Closing));
            return None;
        }
        let there = match want.owner.key() {
            Some(key) => self.by_key.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned(),
            None => None,
        };
        if let Some(inside) = there.and_then(|session| Inside::enter(session, &self.freed)) {
            let _ = want.reply.send(Ok(inside));
            return None;
        }
        if want.owner == Owner::Whoever
            && let Some(inside) = self.enter_warm(&want.version)
        {
            let _ = want.reply.send(Ok(inside));
            return None;
        }
        let failed = self.failures.get(&(want.version.runtime_id.clone(), want.version.version));
        if let Some((_, reason)) = failed.filter(|(at, _)| at.elapsed() < START_BACKOFF) {
            let _ = want.reply.send(Err(Refusal::Failed(reason.clone())));
            return None;
        }
        // A process that serves all sessions takes no session's place: there is one of each version that is called.
        let is_full = || self.slots.values().filter(|slot| !matches!(slot.owner, Owner::Shared(_))).count() >= self.limits.sessions_max;
        if !matches!(want.owner, Owner::Shared(_)) && is_full() {
            self.reclaim();
            return Some(want);
        }
        let session = self.start(&want.version, want.owner, &want.session_id);
        let inside = Inside::enter(session, &self.freed).expect("the doors of a new session are open");
        // Where the caller has left, the session is entered and left at once, and ends when it has been idle.
        let _ = want.reply.send(Ok(inside));
        None
    }

    fn make_wait(&mut self, want: Want) {
        // Who has left by now takes no place in the queue.
        self.waiting.retain(|(_, waiting)| !waiting.reply.is_closed());
        if self.waiting.len() >= self.limits.queue_max {
            let _ = want.reply.send(Err(Refusal::Busy));
        } else {
            self.waiting.push_back((Instant::now() + self.limits.queue_wait, want));
        }
        self.freed.waiting.store(self.waiting.len(), Ordering::Relaxed);
    }

    /// Serves who waits, in the order of coming, as far as there are places; turns away who has waited long enough.
    fn serve_waiting(&mut self) {
        for (patience_ends, want) in std::mem::take(&mut self.waiting) {
            match self.serve(want) {
                None => {}
                Some(want) if Instant::now() >= patience_ends => drop(want.reply.send(Err(Refusal::Busy))),
                Some(want) => self.waiting.push_back((patience_ends, want)),
            }
        }
        self.freed.waiting.store(self.waiting.len(), Ordering::Relaxed);
    }

    /// A process of this version that answers and serves nobody.
    fn enter_warm(&self, version: &HostedVersion) -> Option<Inside> {
        let fits = |slot: &&Slot| {
            let of = &slot.session.version;
            slot.owner == Owner::Whoever
                && !slot.session.is_spoiled()
                && of.version == version.version
                && of.runtime_id == version.runtime_id
                && matches!(&*slot.session.state.borrow(), SessionState::Ready(process) if process.child.is_running())
        };
        self.slots.values().filter(fits).find_map(|slot| Inside::enter_alone(slot.session.clone(), &self.freed))
    }

    /// Makes place by ending the warm process that has served nobody for longest.
    fn reclaim(&mut self) {
        let warm = self.slots.iter().filter(|(number, slot)| slot.owner == Owner::Whoever && self.is_ready(**number));
        let mut warm: Vec<_> = warm.map(|(number, slot)| (slot.session.since_last_call(), *number)).collect();
        warm.sort_unstable();
        let free = warm.into_iter().rev().find(|(_, number)| self.slots[number].session.doors.shut_if_empty());
        if let Some((_, number)) = free {
            self.end(number);
        }
    }

    /// Starts a process beside the loop, so that the loop stays free to decide.
    fn start(&mut self, version: &Arc<HostedVersion>, owner: Owner, session_id: &str) -> Arc<Session> {
        let number = self.next_number;
        self.next_number += 1;
        let (publish, state) = watch::channel(SessionState::Starting);
        let session_id = if matches!(owner, Owner::Shared(_)) { "" } else { session_id };
        let session = Arc::new(Session::new(number, version.clone(), owner.endpoint().to_owned(), state, session_id));
        if let Some(key) = owner.key() {
            self.by_key.write().unwrap_or_else(PoisonError::into_inner).insert(key.to_owned(), session.clone());
        }
        self.slots.insert(number, Slot { session: session.clone(), owner, publish });
        let (launcher, events, starting) = (self.launcher.clone(), self.events.clone(), session.clone());
        tokio::spawn(async move {
            let started = launcher.start(&starting).await.map_err(Arc::new);
            if let Some(events) = events.upgrade() {
                let _ = events.send(Event::Started(number, started)).await;
            }
        });
        session
    }

    fn started(&mut self, number: u64, started: Result<Arc<AgentProcess>, Arc<StartError>>) {
        let Some(slot) = self.slots.get(&number) else { return };
        let version = slot.session.version.clone();
        let is_wanted = matches!(*slot.publish.borrow(), SessionState::Starting);
        match started {
            Ok(process) if is_wanted => {
                tracing::info!(agent = version.name(), pid = process.child.pid(), address = %process.door().address(), "agent is ready");
                self.failures.remove(&(version.runtime_id.clone(), version.version));
                version.standing.set_failure(None);
                tokio::spawn(watch_process(slot.session.clone(), process.clone(), self.events.clone()));
                slot.tell(SessionState::Ready(process));
            }
            Ok(process) => self.stop(number, process),
            Err(_) if !is_wanted => self.remove(number, SessionState::Ended),
            Err(error) => {
                let reason: Arc<str> = error.report().into();
                tracing::error!(agent = version.name(), %reason, "agent could not be started");
                version.standing.set_failure(Some(&reason));
                self.failures.insert((version.runtime_id.clone(), version.version), (Instant::now(), reason.clone()));
                self.remove(number, SessionState::Failed(reason));
            }
        }
    }

    fn ended(&mut self, number: u64) {
        let Some(slot) = self.slots.get(&number) else { return };
        let SessionState::Ready(process) = slot.publish.borrow().clone() else { return };
        let ended = process.child.ended().map(|ended| ended.0).unwrap_or_default();
        let (agent, pid) = (slot.session.version.name(), process.child.pid());
        tracing::warn!(agent, pid, ended, "agent ended; the next call starts another");
        self.remove(number, SessionState::Ended);
    }

    /// Ends a session, whatever it does. Its key is free at once.
    fn end(&mut self, number: u64) {
        let Some(slot) = self.slots.get(&number) else { return };
        let state = slot.publish.borrow().clone();
        slot.session.doors.shut();
        match state {
            SessionState::Starting => slot.tell(SessionState::Stopping),
            SessionState::Ready(process) => {
                slot.tell(SessionState::Stopping);
                self.stop(number, process);
            }
            SessionState::Stopping | SessionState::Failed(_) | SessionState::Ended => {}
        }
        self.forget_key(number);
    }

    /// Ends a process beside the loop.
    fn stop(&self, number: u64, process: Arc<AgentProcess>) {
        let events = self.events.clone();
        tokio::spawn(async move {
            process.child.stop(STOP_GRACE).await;
            if let Some(events) = events.upgrade() {
                let _ = events.send(Event::Gone(number)).await;
            }
        });
    }

    /// Takes leave of a session whose process has gone.
    fn remove(&mut self, number: u64, state: SessionState) {
        self.forget_key(number);
        let Some(slot) = self.slots.remove(&number) else { return };
        slot.session.doors.shut();
        slot.tell(state);
        let folder = self.launcher.folder_of(number);
        tokio::task::spawn_blocking(move || remove_folder(&folder));
        self.serve_waiting();
    }

    fn forget_key(&self, number: u64) {
        let Some(key) = self.slots.get(&number).and_then(|slot| slot.owner.key()) else { return };
        let mut by_key = self.by_key.write().unwrap_or_else(PoisonError::into_inner);
        if by_key.get(key).is_some_and(|session| session.number == number) {
            by_key.remove(key);
        }
    }

    fn is_ready(&self, number: u64) -> bool {
        self.slots.get(&number).is_some_and(|slot| matches!(*slot.publish.borrow(), SessionState::Ready(_)))
    }

    fn session_id(&self, number: u64) -> String {
        self.slots.get(&number).map(|slot| slot.session.serving.session_id()).unwrap_or_default()
    }

    /// Ends what has been idle or alive for too long, and what is warm beyond need.
    fn sweep(&mut self) {
        self.failures.retain(|_, (at, _)| at.elapsed() < START_BACKOFF);
        let now_unix = now().unix_timestamp();
        let table = self.table.load_full();
        let mut warm: HashMap<(&str, u32), usize> = HashMap::new();
        let mut due = Vec::new();
        for (number, slot) in &self.slots {
            let SessionState::Ready(process) = &*slot.publish.borrow() else { continue };
            let session = &slot.session;
            let configuration = &session.version.configuration;
            let facts = Facts {
                owner: &slot.owner,
                is_live: table.is_live(&session.version),
                inside: session.doors.inside(),
                is_busy: process.is_busy(),
                is_spoiled: session.is_spoiled(),
                age: session.started_at.elapsed(),
                quiet: session.since_last_call().min(process.since_update(now_unix)),
                idle_timeout: Duration::from_secs(configuration.idle_timeout_s.into()),
                lifetime: Duration::from_secs(configuration.lifetime_max_s.into()),
            };
            match verdict(&facts) {
                Verdict::Stay => {}
                Verdict::Warm => {
                    let kept = warm.entry((&session.version.runtime_id, session.version.version)).or_default();
                    *kept += 1;
                    if *kept > self.limits.warm_processes {
                        due.push((*number, false));
                    }
                }
                Verdict::EndIfEmpty => due.push((*number, false)),
                Verdict::End => due.push((*number, true)),
            }
        }
        for (number, whatever_it_does) in due {
            if whatever_it_does || self.slots[&number].session.doors.shut_if_empty() {
                tracing::debug!(session = self.session_id(number), whatever_it_does, "session's time has come");
                self.end(number);
            }
        }
        self.serve_waiting();
    }
}

fn is_meant(which: &Which, slot: &Slot) -> bool {
    match which {
        Which::All => true,
        Which::OfRuntime(runtime_id) => slot.session.version.runtime_id == *runtime_id,
        Which::WithId(session_id) => matches!(slot.owner, Owner::Named(_)) && slot.session.serving.session_id() == *session_id,
        Which::OfEndpoint { runtime_id, endpoint, session_id } => {
            slot.owner == Owner::Named(session_key(runtime_id, endpoint, session_id))
                && matches!(*slot.publish.borrow(), SessionState::Starting | SessionState::Ready(_))
        }
    }
}

fn remove_folder(folder: &Path) {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!(folder = %folder.display(), error = &error as &dyn std::error::Error, "a session's folder could not be removed");
        }
        _ => {}
    }
}

/// What decides whether a process has had its time.
struct Facts<'a> {
    owner: &'a Owner,
    /// Whether new sessions still get its version.
    is_live: bool,
    /// Calls inside.
    inside: u32,
    /// Whether it says that it is at work besides its calls.
    is_busy: bool,
    /// Whether it is not fit to serve another session.
    is_spoiled: bool,
    age: Duration,
    /// Since its last call, and since it last said that its status had changed, whichever is shorter.
    quiet: Duration,
    idle_timeout: Duration,
    lifetime: Duration,
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Stay,
    /// It may stay if there are not too many like it.
    Warm,
    EndIfEmpty,
    End,
}

fn verdict(facts: &Facts<'_>) -> Verdict {
    let is_idle = facts.inside == 0 && !facts.is_busy;
    let is_quiet = is_idle && facts.quiet >= facts.idle_timeout;
    match facts.owner {
        // One that serves all sessions stays for as long as there may be new ones.
        Owner::Shared(_) if facts.is_live || !is_quiet => Verdict::Stay,
        Owner::Shared(_) => Verdict::EndIfEmpty,
        _ if facts.age >= facts.lifetime => Verdict::End,
        _ if is_quiet => Verdict::EndIfEmpty,
        Owner::Whoever if is_idle && facts.is_live && !facts.is_spoiled => Verdict::Warm,
        Owner::Whoever if facts.inside == 0 && (is_idle || facts.is_spoiled) => Verdict::EndIfEmpty,
        Owner::Named(_) | Owner::Whoever => Verdict::Stay,
    }
}

/// Watches one process until it ends or falls silent, and tells the loop.
async fn watch_process(session: Arc<Session>, process: Arc<AgentProcess>, events: mpsc::WeakSender<Event>) {
    let pid = process.child.pid();
    let is_shared = session.version.configuration.sessions == SessionMode::Shared;
    let silence = async {
        let mut failures = 0;
        while failures < PING_FAILURES_MAX {
            let is_idle = !is_shared && failures == 0 && !process.is_busy() && session.since_last_call() > IDLE_PING_PERIOD;
            tokio::time::sleep(if is_idle { IDLE_PING_PERIOD } else { PING_PERIOD }).await;
            match process.ping().await {
                Ok(()) => failures = 0,
                // It is being ended.
                Err(_) if !matches!(*session.state.borrow(), SessionState::Ready(_)) => std::future::pending().await,
                // A program that does one thing at a time answers no ping while it answers a call.
                Err(_) if !is_shared && session.doors.inside() > 0 => failures = 0,
                Err(error) => {
                    failures += 1;
                    tracing::warn!(pid, failures, error, timeout_ms = PING_TIMEOUT.as_millis(), "agent did not answer a ping");
                }
            }
        }
    };
    let event = tokio::select! {
        _ = process.child.wait() => Event::Ended(session.number),
        () = silence => Event::Silent(session.number),
    };
    if let Some(events) = events.upgrade() {
        let _ = events.send(event).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(owner: &str, facts: (bool, u32, bool), age_s: u64, quiet_s: u64, expected: Verdict) {
        let owner = match owner {
            "shared" => Owner::Shared("r/1".to_owned()),
            "named" => Owner::Named("r/DEFAULT/s".to_owned()),
            _ => Owner::Whoever,
        };
        let (is_live, inside, is_busy) = facts;
        let seconds = Duration::from_secs;
        let (age, quiet, idle_timeout, lifetime) = (seconds(age_s), seconds(quiet_s), seconds(60), seconds(600));
        let facts = |is_spoiled| Facts { owner: &owner, is_live, inside, is_busy, is_spoiled, age, quiet, idle_timeout, lifetime };
        if expected == Verdict::Warm {
            assert_eq!(verdict(&facts(true)), Verdict::EndIfEmpty, "a process with half an answer serves nobody else");
        }
        assert_eq!(verdict(&facts(false)), expected, "{owner:?} live {is_live} inside {inside} busy {is_busy} age {age_s} quiet {quiet_s}");
    }

    #[test]
    fn a_session_ends_when_it_is_idle_or_old() {
        check("named", (true, 0, false), 100, 59, Verdict::Stay);
        check("named", (true, 0, false), 100, 60, Verdict::EndIfEmpty);
        check("named", (true, 1, false), 100, 60, Verdict::Stay);
        check("named", (true, 0, true), 100, 60, Verdict::Stay);
        check("named", (true, 1, true), 600, 0, Verdict::End);
        // It finishes on the version that it began with.
        check("named", (false, 0, false), 100, 59, Verdict::Stay);
    }

    #[test]
    fn a_shared_process_stays_while_its_version_is_called() {
        check("shared", (true, 0, false), 700, 700, Verdict::Stay);
        check("shared", (false, 0, false), 700, 59, Verdict::Stay);
        check("shared", (false, 1, false), 700, 60, Verdict::Stay);
        check("shared", (false, 0, false), 700, 60, Verdict::EndIfEmpty);
    }

    #[test]
    fn a_process_without_a_session_is_kept_warm_while_its_version_is_called() {
        check("whoever", (true, 0, false), 100, 5, Verdict::Warm);
        check("whoever", (true, 1, false), 100, 5, Verdict::Stay);
        check("whoever", (false, 0, false), 100, 5, Verdict::EndIfEmpty);
        check("whoever", (true, 0, false), 100, 60, Verdict::EndIfEmpty);
        check("whoever", (true, 0, false), 600, 5, Verdict::End);
    }
}
