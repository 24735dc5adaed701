//! Who among a key's users asked how much: answered requests by key, actor and day.
//!
//! An actor is whatever the caller writes, so their number has a limit; beyond it they are counted together.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use frontdesk_store::{ActorCount, ApiKeyId};

/// Actors of all keys that are counted one by one on a day.
const ACTORS_MAX: usize = 10_000;
/// Under this name the others are counted.
pub const OTHER_ACTORS: &str = "(others)";
/// An actor's name is cut here, in characters.
const ACTOR_CHARS_MAX: usize = 128;

type ActorOfKey = (ApiKeyId, String);

#[derive(Debug, Default)]
struct Counts {
    day: u32,
    used: BTreeMap<ActorOfKey, u64>,
    changed: HashSet<ActorOfKey>,
    /// Of the day before, not yet taken by the writer.
    left_over: Vec<ActorCount>,
}

/// The counts of the day.
#[derive(Debug)]
pub(crate) struct ActorCounts(Mutex<Counts>);

impl ActorCounts {
    /// Starts with what the store has of today.
    #[must_use]
    pub(crate) fn new(stored: Vec<ActorCount>) -> ActorCounts {
        let day = stored.iter().map(|count| count.day).max().unwrap_or(0);
        let used = stored.into_iter().map(|count| ((count.key_id, count.actor), count.used)).collect();
        ActorCounts(Mutex::new(Counts { day, used, ..Counts::default() }))
    }

    /// Counts one answered request.
    pub(crate) fn count(&self, key_id: &ApiKeyId, actor: &str, today: u32) {
        let mut counts = self.lock();
        if today > counts.day {
            let left_over = counts.changes();
            *counts = Counts { day: today, left_over, ..Counts::default() };
        }
        let actor: String = actor.chars().take(ACTOR_CHARS_MAX).collect();
        let mut who = (key_id.clone(), actor);
        if counts.used.len() >= ACTORS_MAX && !counts.used.contains_key(&who) {
            who.1 = OTHER_ACTORS.to_owned();
        }
        *counts.used.entry(who.clone()).or_default() += 1;
        counts.changed.insert(who);
    }

    /// What changed since the last call.
    pub(crate) fn take(&self) -> Vec<ActorCount> {
        let mut counts = self.lock();
        let changes = counts.changes();
        counts.changed.clear();
        counts.left_over.clear();
        changes
    }

    /// The store's counts with what only memory has.
    #[must_use]
    pub(crate) fn merged(&self, stored: Vec<ActorCount>, first: u32, last: u32) -> Vec<ActorCount> {
        let mut all: BTreeMap<(u32, ActorOfKey), u64> =
            stored.into_iter().map(|count| ((count.day, (count.key_id, count.actor)), count.used)).collect();
        let counts = self.lock();
        for ActorCount { key_id, actor, day, used } in &counts.left_over {
            all.insert((*day, (key_id.clone(), actor.clone())), *used);
        }
        for (who, used) in &counts.used {
            all.insert((counts.day, who.clone()), *used);
        }
        drop(counts);
        let count = |((day, (key_id, actor)), used)| ActorCount { key_id, actor, day, used };
        let mut all: Vec<_> = all.into_iter().map(count).filter(|count| (first..=last).contains(&count.day)).collect();
        all.sort_by(|one, other| one.day.cmp(&other.day).then(other.used.cmp(&one.used)));
        all
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    fn changes(&self) -> Vec<ActorCount> {
        let count = |who: &ActorOfKey| {
            let used = self.used.get(who).copied().unwrap_or(0);
            ActorCount { key_id: who.0.clone(), actor: who.1.clone(), day: self.day, used }
        };
        self.left_over.iter().cloned().chain(self.changed.iter().map(count)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(counts: Vec<ActorCount>) -> Vec<String> {
        let mut told: Vec<_> =
            counts.iter().map(|count| format!("{} {} {} {}", count.day, count.key_id, count.actor, count.used)).collect();
        told.sort();
        told
    }

    fn count(counts: &ActorCounts, actors: &str, day: u32) {
        for actor in actors.split(' ') {
            counts.count(&ApiKeyId("k".to_owned()), actor, day);
        }
    }

    #[test]
    fn only_changes_are_taken_and_a_new_day_loses_nothing() {
        let stored = ActorCount { key_id: ApiKeyId("k".to_owned()), actor: "anna".to_owned(), day: 3, used: 5 };
        let counts = ActorCounts::new(vec![stored]);
        assert!(counts.take().is_empty());
        count(&counts, "anna bob", 3);
        assert_eq!(of(counts.take()), ["3 k anna 6", "3 k bob 1"]);
        count(&counts, "bob", 3);
        count(&counts, "bob", 4);
        assert_eq!(of(counts.merged(Vec::new(), 0, 9)), ["3 k bob 2", "4 k bob 1"]);
        assert_eq!(of(counts.take()), ["3 k bob 2", "4 k bob 1"]);
        assert!(counts.take().is_empty());
    }

    #[test]
    fn many_actors_are_counted_together() {
        let counts = ActorCounts::new(Vec::new());
        for index in 0..ACTORS_MAX + 5 {
            count(&counts, &format!("a{index}"), 3);
        }
        let taken = counts.take();
        assert_eq!(taken.len(), ACTORS_MAX + 1);
        assert_eq!(taken.iter().find(|count| count.actor == OTHER_ACTORS).unwrap().used, 5);
    }
}
