//! One session, or one process that several sessions share, as calls and the loop see it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::agent_process::AgentProcess;
use crate::hosted::HostedVersion;
use crate::session_log::Serving;

/// What callers see of the loop's decisions about a session's process.
#[derive(Debug, Clone)]
pub(crate) enum SessionState {
    /// It is being started.
    Starting,
    /// It answers.
    Ready(Arc<AgentProcess>),
    /// It is being ended.
    Stopping,
    /// It could not be started, for this reason.
    Failed(Arc<str>),
    /// It has ended.
    Ended,
}

/// A session with its process.
#[derive(Debug)]
pub(crate) struct Session {
    /// Tells it from every other since the host's start.
    pub(crate) number: u64,
    pub(crate) version: Arc<HostedVersion>,
    /// The endpoint that it is called through.
    pub(crate) endpoint: String,
    pub(crate) state: watch::Receiver<SessionState>,
    pub(crate) doors: Doors,
    pub(crate) serving: Arc<Serving>,
    pub(crate) started_at: Instant,
    /// When a call last began or ended, in milliseconds after `started_at`.
    last_call_ms: AtomicU64,
    pub(crate) calls: AtomicU64,
    /// Whether a call left before its answer was complete: the process may still be at work on it, or hold half of it.
    is_spoiled: AtomicBool,
}

impl Session {
    pub(crate) fn new(
        number: u64,
        version: Arc<HostedVersion>,
        endpoint: String,
        state: watch::Receiver<SessionState>,
        session_id: &str,
    ) -> Session {
        let serving = Arc::new(Serving::default());
        serving.set_session_id(session_id);
        let (doors, last_call_ms, calls, is_spoiled) = Default::default();
        Session { number, version, endpoint, state, doors, serving, started_at: Instant::now(), last_call_ms, calls, is_spoiled }
    }

    /// How long ago a call last began or ended.
    pub(crate) fn since_last_call(&self) -> Duration {
        let last_call = Duration::from_millis(self.last_call_ms.load(Ordering::Relaxed));
        self.started_at.elapsed().saturating_sub(last_call)
    }

    /// Whether its process is not fit to serve another session.
    pub(crate) fn is_spoiled(&self) -> bool {
        self.is_spoiled.load(Ordering::Relaxed)
    }

    pub(crate) fn count_call(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    fn touch(&self) {
        let now_ms = u64::try_from(self.started_at.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_call_ms.fetch_max(now_ms, Ordering::Relaxed);
    }
}

/// Who is inside. Entering and shutting are one step each, so that no call enters a session that is being ended for idleness.
#[derive(Debug, Default)]
pub(crate) struct Doors(AtomicU32);

const SHUT: u32 = 1 << 31;

impl Doors {
    /// Enters, unless they are shut.
    fn enter(&self) -> bool {
        self.change(|inside| (inside & SHUT == 0).then(|| inside + 1))
    }

    /// Enters if nobody is inside and they are not shut.
    fn enter_alone(&self) -> bool {
        self.change(|inside| (inside == 0).then_some(1))
    }

    fn leave(&self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }

    /// Shuts them if nobody is inside.
    pub(crate) fn shut_if_empty(&self) -> bool {
        self.change(|inside| (inside == 0).then_some(SHUT))
    }

    /// Shuts them behind whoever is inside.
    pub(crate) fn shut(&self) {
        self.0.fetch_or(SHUT, Ordering::AcqRel);
    }

    /// How many are inside.
    pub(crate) fn inside(&self) -> u32 {
        self.0.load(Ordering::Acquire) & !SHUT
    }

    fn change(&self, to: impl FnMut(u32) -> Option<u32>) -> bool {
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, to).is_ok()
    }
}

/// Wakes the loop when a place may have become free, if somebody waits for one.
#[derive(Debug, Default)]
pub(crate) struct Freed {
    pub(crate) waiting: AtomicUsize,
    pub(crate) notify: Notify,
}

/// A call's presence in a session; dropping it leaves.
#[derive(Debug)]
pub(crate) struct Inside {
    pub(crate) session: Arc<Session>,
    freed: Arc<Freed>,
    /// Whether the call has had its whole answer.
    pub(crate) is_finished: bool,
}

impl Inside {
    /// Enters a session, unless it is being ended.
    pub(crate) fn enter(session: Arc<Session>, freed: &Arc<Freed>) -> Option<Inside> {
        session.doors.enter().then(|| Inside::at_work(session, freed))
    }

    /// Enters a session that nobody else is in.
    pub(crate) fn enter_alone(session: Arc<Session>, freed: &Arc<Freed>) -> Option<Inside> {
        session.doors.enter_alone().then(|| Inside::at_work(session, freed))
    }

    fn at_work(session: Arc<Session>, freed: &Arc<Freed>) -> Inside {
        session.touch();
        Inside { session, freed: freed.clone(), is_finished: false }
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.session.touch();
        if !self.is_finished {
            self.session.is_spoiled.store(true, Ordering::Relaxed);
        }
        self.session.doors.leave();
        if self.freed.waiting.load(Ordering::Relaxed) > 0 {
            self.freed.notify.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_enters_through_shut_doors() {
        let doors = Doors::default();
        assert!(doors.enter() && doors.enter());
        assert!(!doors.enter_alone() && !doors.shut_if_empty());
        doors.leave();
        doors.leave();
        assert!(doors.enter_alone());
        doors.shut();
        assert!(!doors.enter());
        assert_eq!(doors.inside(), 1);
        doors.leave();
        assert_eq!(doors.inside(), 0);
        assert!(!doors.enter_alone(), "shut for good");

        let doors = Doors::default();
        assert!(doors.shut_if_empty());
        assert!(!doors.enter());
    }
}
