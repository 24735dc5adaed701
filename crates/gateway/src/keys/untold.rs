//! Counts on their way to the fleet: of each thing the latest, since a count stands for all before it. So the list is as long as a day has keys and actors,
//! however long the fleet's database is away.

use std::collections::HashMap;

use frontdesk_store::{ActorCount, ApiKeyId, UsageCount, UsagePlanId};

/// What the fleet does not know yet.
#[derive(Debug, Default)]
pub(super) struct Untold {
    used: HashMap<(UsagePlanId, ApiKeyId, u32), u64>,
    actors: HashMap<(ApiKeyId, String, u32), u64>,
}

impl Untold {
    /// Adds counts; of two of the same thing the larger is the later.
    pub(super) fn add(&mut self, counts: Vec<UsageCount>, actors: Vec<ActorCount>) {
        for UsageCount { plan_id, key_id, day, used } in counts {
            let known = self.used.entry((plan_id, key_id, day)).or_default();
            *known = used.max(*known);
        }
        for ActorCount { key_id, actor, day, used } in actors {
            let known = self.actors.entry((key_id, actor, day)).or_default();
            *known = used.max(*known);
        }
    }

    /// All of them, as they are written.
    pub(super) fn into_counts(self) -> (Vec<UsageCount>, Vec<ActorCount>) {
        let count = |((plan_id, key_id, day), used)| UsageCount { plan_id, key_id, day, used };
        let actor = |((key_id, actor, day), used)| ActorCount { key_id, actor, day, used };
        (self.used.into_iter().map(count).collect(), self.actors.into_iter().map(actor).collect())
    }
}
