//! The one writer of usage counts.
//!
//! The request path counts in memory and never waits for the database; what it has counted reaches the disk in groups. A killed process forgets at most
//! one period's requests, and can never have written more than were made.

use std::sync::Arc;
use std::time::Duration;

use frontdesk_store::{ActorCount, StoreError, UsageCount};

use crate::keys::KeyService;

/// The longest that a count stays in memory alone.
const WRITE_PERIOD: Duration = Duration::from_millis(100);

/// Writes counts until it is told to stop.
#[derive(Debug)]
pub struct UsageWriter {
    keys: Arc<KeyService>,
    /// What could not be written yet.
    unwritten: (Vec<UsageCount>, Vec<ActorCount>),
}

impl UsageWriter {
    /// A writer that has written nothing yet.
    #[must_use]
    pub fn new(keys: Arc<KeyService>) -> UsageWriter {
        UsageWriter { keys, unwritten: Default::default() }
    }

    /// Writes every period until `shutdown` ends, and once more then.
    pub async fn run(mut self, shutdown: impl Future<Output = ()>) {
        tokio::pin!(shutdown);
        let mut period = tokio::time::interval(WRITE_PERIOD);
        period.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut failing = false;
        loop {
            let last = tokio::select! {
                _ = period.tick() => false,
                () = &mut shutdown => true,
            };
            match self.write_changes().await {
                Ok(()) => failing = false,
                // The counts are kept and tried again; a full disk must not stop the door. Said once, not ten times a second.
                Err(error) if !failing => {
                    failing = true;
                    tracing::error!(error = &error as &dyn std::error::Error, "usage counts cannot be written; trying again");
                }
                Err(_) => {}
            }
            if last {
                return;
            }
        }
    }

    async fn write_changes(&mut self) -> Result<(), StoreError> {
        let (keys, actors) = self.keys.take_counts();
        // A count stands for all before it, so of the same thing only the last need wait; the store sorts that out, and the list stays short
        // because a day has only so many keys and actors.
        let (mut unwritten_keys, mut unwritten_actors) = std::mem::take(&mut self.unwritten);
        unwritten_keys.retain(|old| !keys.iter().any(|new| (&new.plan_id, &new.key_id, new.day) == (&old.plan_id, &old.key_id, old.day)));
        unwritten_actors.retain(|old| !actors.iter().any(|new| (&new.key_id, &new.actor, new.day) == (&old.key_id, &old.actor, old.day)));
        unwritten_keys.extend(keys);
        unwritten_actors.extend(actors);
        if unwritten_keys.is_empty() && unwritten_actors.is_empty() {
            return Ok(());
        }
        let store = self.keys.store().clone();
        let writing = tokio::task::spawn_blocking(move || {
            let written = store.write_usage(&unwritten_keys, &unwritten_actors);
            (written, unwritten_keys, unwritten_actors)
        });
        let (written, keys, actors) = writing.await.expect("writing usage does not panic, and the runtime outlives the writer");
        match &written {
            Ok(()) => self.keys.tell(keys, actors),
            Err(_) => self.unwritten = (keys, actors),
        }
        written
    }
}
