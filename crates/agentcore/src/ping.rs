//! `GET /ping`: whether the agent is at work besides its calls, and since when.
//!
//! The host asks every few seconds and reaps a session whose `time_of_last_update` is old. So the time must change on a
//! transition between the two statuses and at no other moment: an agent that stamps "now" is never reaped.

use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde_json::{Value, json};

/// What an agent says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum PingStatus {
    /// It may be reaped when no call has come for a while.
    Healthy,
    /// It is at work in the background, and must not be reaped.
    HealthyBusy,
}

/// Asked at each ping, where an app has one.
pub(crate) type StatusSource = Box<dyn Fn() -> PingStatus + Send + Sync>;

/// The status behind `/ping`: the one that is forced, else what the app's own function says, else busy while background tasks run. An
/// invocation in flight does not make the agent busy.
pub(crate) struct Ping {
    source: Option<StatusSource>,
    state: Mutex<State>,
}

struct State {
    tasks_active: usize,
    forced: Option<PingStatus>,
    /// As it was told last.
    status: PingStatus,
    /// When that began. Unix seconds.
    time_of_last_update: u64,
}

impl Ping {
    pub(crate) fn new(source: Option<StatusSource>) -> Ping {
        let state = State { tasks_active: 0, forced: None, status: PingStatus::Healthy, time_of_last_update: unix_seconds() };
        Ping { source, state: Mutex::new(state) }
    }

    pub(crate) fn task_began(&self) {
        self.change(|state| state.tasks_active += 1);
    }

    pub(crate) fn task_ended(&self) {
        self.change(|state| state.tasks_active -= 1);
    }

    /// Sets the status whatever else is the case; `None` takes that back.
    pub(crate) fn force(&self, status: Option<PingStatus>) {
        self.change(|state| state.forced = status);
    }

    /// The document that `/ping` answers.
    pub(crate) fn document(&self) -> Value {
        let (status, time_of_last_update) = self.change(|_| ());
        json!({ "status": status, "time_of_last_update": time_of_last_update })
    }

    /// Makes a change, and notes the moment if the status is another one after it. Returns the status and since when it is so.
    fn change(&self, change: impl FnOnce(&mut State)) -> (PingStatus, u64) {
        // The app's function may take its time, so it is not asked under the lock.
        let told = self.source.as_ref().map(|source| source());
        // Nothing in this short section panics; a count is whole even if something did.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut state);
        let by_tasks = if state.tasks_active == 0 { PingStatus::Healthy } else { PingStatus::HealthyBusy };
        let status = state.forced.or(told).unwrap_or(by_tasks);
        if status != state.status {
            state.status = status;
            state.time_of_last_update = unix_seconds();
        }
        (state.status, state.time_of_last_update)
    }
}

/// The wall clock, read here and nowhere else in this crate.
#[expect(clippy::disallowed_methods, reason = "an edge: the transitions of this program are timed where they happen")]
fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
