//! The one writer of usage counts.
//!
//! The request path counts in memory and never waits for the database; what it has counted reaches the disk in groups. A killed process forgets at most
//! one period's requests, and can never have written more than were made.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use frontdesk_store::{ApiKeyId, StoreError, UsageCount, UsagePlanId};

use crate::keys::KeyService;

/// The longest that a count stays in memory alone.
const WRITE_PERIOD: Duration = Duration::from_millis(100);

/// Writes counts until it is told to stop.
#[derive(Debug)]
pub struct UsageWriter {
    keys: Arc<KeyService>,
    written: HashMap<(UsagePlanId, ApiKeyId), (u32, u64)>,
}

impl UsageWriter {
    /// A writer that has written nothing yet.
    #[must_use]
    pub fn new(keys: Arc<KeyService>) -> UsageWriter {
        UsageWriter { keys, written: HashMap::new() }
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
                // The counts are still in memory and are tried again; a full disk must not stop the door. Said once, not ten times a second.
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
        let changed: Vec<UsageCount> = self.keys.counts().into_iter().filter(|count| self.is_news(count)).collect();
        if changed.is_empty() {
            return Ok(());
        }
        let store = self.keys.store().clone();
        let writing = tokio::task::spawn_blocking(move || store.write_usage(&changed).map(|()| changed));
        let written = writing.await.expect("writing usage does not panic, and the runtime outlives the writer")?;
        self.written.extend(written.into_iter().map(|count| ((count.plan_id, count.key_id), (count.day, count.used))));
        Ok(())
    }

    fn is_news(&self, count: &UsageCount) -> bool {
        let written = self.written.get(&(count.plan_id.clone(), count.key_id.clone()));
        count.used > 0 && written != Some(&(count.day, count.used))
    }
}
