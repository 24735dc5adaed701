//! `GET /ping`: whether the agent is at work besides its calls, and since when.
//!
//! The host asks every few seconds and reaps a session whose `time_of_last_update` is old. So the time must change on a
//! transition between the two statuses and at no other moment: an agent that stamps "now" is never reaped.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

/// The status behind `/ping`. An invocation in flight does not make the agent busy, only background tasks do.
pub(crate) struct Ping {
    state: Mutex<State>,
}

struct State {
    tasks_active: usize,
    /// Unix seconds.
    time_of_last_update: u64,
}

impl Ping {
    pub(crate) fn new() -> Ping {
        Ping { state: Mutex::new(State { tasks_active: 0, time_of_last_update: unix_seconds() }) }
    }

    pub(crate) fn task_began(&self) {
        let mut state = self.lock();
        state.tasks_active += 1;
        if state.tasks_active == 1 {
            state.time_of_last_update = unix_seconds();
        }
    }

    pub(crate) fn task_ended(&self) {
        let mut state = self.lock();
        state.tasks_active -= 1;
        if state.tasks_active == 0 {
            state.time_of_last_update = unix_seconds();
        }
    }

    /// The document that `/ping` answers.
    pub(crate) fn document(&self) -> Value {
        let state = self.lock();
        let status = if state.tasks_active == 0 { "Healthy" } else { "HealthyBusy" };
        json!({ "status": status, "time_of_last_update": state.time_of_last_update })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in these short sections panics; a count is whole even if something did.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The wall clock, read here and nowhere else in this crate.
#[expect(clippy::disallowed_methods, reason = "an edge: the transitions of this program are timed where they happen")]
fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
