//! The environments of all functions: which wait for work, and how much runs at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::environment::Environment;
use crate::error::FunctionError;

/// An environment that has had no work for so long is ended. Lambda keeps its own for minutes, too, and promises nothing.
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_secs(300);

/// What an environment runs: any change of a version makes another.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct PoolKey {
    pub(crate) function: String,
    pub(crate) revision_id: String,
}

/// The environments.
pub(crate) struct Pools {
    state: Arc<Mutex<State>>,
    /// How many may do work at once, over all functions.
    busy_max: u32,
}

#[derive(Default)]
struct State {
    idle: HashMap<PoolKey, Vec<(Environment, Instant)>>,
    busy: u32,
    busy_of: HashMap<String, u32>,
}

/// The right to do work for one function, until it is dropped.
pub(crate) struct Place {
    function: String,
    state: Arc<Mutex<State>>,
}

impl Pools {
    pub(crate) fn new(busy_max: u32) -> Pools {
        Pools { state: Arc::default(), busy_max }
    }

    /// A place for one more invocation of a function.
    ///
    /// # Errors
    /// [`FunctionError::TooManyRequests`], with Lambda's word for the limit that is reached.
    pub(crate) fn enter(&self, function: &str, reserved: Option<u32>) -> Result<Place, FunctionError> {
        let mut state = lock(&self.state);
        let busy_of = state.busy_of.get(function).copied().unwrap_or(0);
        if reserved.is_some_and(|reserved| busy_of >= reserved) {
            return Err(FunctionError::TooManyRequests { reason: "ReservedFunctionConcurrentInvocationLimitExceeded" });
        }
        if state.busy >= self.busy_max {
            return Err(FunctionError::TooManyRequests { reason: "ConcurrentInvocationLimitExceeded" });
        }
        state.busy += 1;
        *state.busy_of.entry(function.to_owned()).or_default() += 1;
        Ok(Place { function: function.to_owned(), state: self.state.clone() })
    }

    /// An environment that waits for work, the one that had some last.
    pub(crate) fn take(&self, key: &PoolKey) -> Option<Environment> {
        let mut state = lock(&self.state);
        let waiting = state.idle.get_mut(key)?;
        while let Some((environment, _)) = waiting.pop() {
            if environment.is_running() {
                return Some(environment);
            }
        }
        None
    }

    /// Lets an environment wait for more.
    pub(crate) fn put(&self, key: PoolKey, environment: Environment, now: Instant) {
        lock(&self.state).idle.entry(key).or_default().push((environment, now));
    }

    /// The waiting environments that are no longer wanted: idle for too long, or of a revision that `is_wanted` does not know.
    pub(crate) fn unwanted(&self, now: Instant, is_wanted: impl Fn(&PoolKey) -> bool) -> Vec<Environment> {
        let mut unwanted = Vec::new();
        lock(&self.state).idle.retain(|key, waiting| {
            let is_wanted = is_wanted(key);
            let kept = std::mem::take(waiting).into_iter().filter_map(|(environment, since)| {
                if is_wanted && now.duration_since(since) < IDLE_TIMEOUT && environment.is_running() {
                    return Some((environment, since));
                }
                unwanted.push(environment);
                None
            });
            *waiting = kept.collect();
            !waiting.is_empty()
        });
        unwanted
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = lock(&self.state);
        state.busy -= 1;
        if let Some(busy_of) = state.busy_of.get_mut(&self.function) {
            *busy_of -= 1;
            if *busy_of == 0 {
                state.busy_of.remove(&self.function);
            }
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_by_function_and_over_all() {
        let pools = Pools::new(3);
        let refused = |function: &str, reserved| match pools.enter(function, reserved) {
            Err(FunctionError::TooManyRequests { reason }) => reason,
            _ => "",
        };
        let a = pools.enter("a", Some(1)).map_err(|error| error.to_string()).ok();
        assert!(a.is_some());
        assert_eq!(refused("a", Some(1)), "ReservedFunctionConcurrentInvocationLimitExceeded");
        assert_eq!(refused("b", Some(0)), "ReservedFunctionConcurrentInvocationLimitExceeded");
        let held = [pools.enter("b", None).ok(), pools.enter("b", None).ok()];
        assert!(held.iter().all(Option::is_some));
        assert_eq!(refused("c", None), "ConcurrentInvocationLimitExceeded");
        drop(a);
        assert_eq!(refused("a", Some(1)), "", "the place is free again");
    }
}
