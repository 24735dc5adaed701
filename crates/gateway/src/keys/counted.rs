//! What was counted before this process, or before a change: what meters begin with.

use std::collections::{BTreeMap, HashMap};

use frontdesk_store::{ApiKeyId, QuotaExtension, UsageCount, UsagePlanId};

use crate::meter::Counted;
use crate::quota::{Calendar, SPAN_DAYS_MAX};

/// What was counted before, by plan and key.
#[derive(Debug, Default)]
pub(super) struct CountedDays {
    pub(super) used: HashMap<(UsagePlanId, ApiKeyId), BTreeMap<u32, u64>>,
    extra: HashMap<(UsagePlanId, ApiKeyId, u32), u64>,
}

impl CountedDays {
    /// Adds the store's counts.
    pub(super) fn add_days(&mut self, counts: Vec<UsageCount>) {
        for count in counts {
            self.used.entry((count.plan_id, count.key_id)).or_default().insert(count.day, count.used);
        }
    }

    /// Adds what was granted beyond quotas.
    pub(super) fn add_extensions(&mut self, extensions: Vec<QuotaExtension>) {
        for extension in extensions {
            self.extra.insert((extension.plan_id, extension.key_id, extension.period_day), extension.extra);
        }
    }

    /// What a meter begins with.
    pub(super) fn of(&self, plan_id: &UsagePlanId, key_id: &ApiKeyId, calendar: Calendar, today: u32) -> Counted {
        let first_day = calendar.span(today).first_day;
        let days = self.used.get(&(plan_id.clone(), key_id.clone()));
        let used_in_period = days.map_or(0, |days| days.range(first_day..=today).map(|(_, used)| used).sum());
        let used_today = days.and_then(|days| days.get(&today)).copied().unwrap_or(0);
        let extra = self.extra.get(&(plan_id.clone(), key_id.clone(), first_day)).copied().unwrap_or(0);
        Counted { today, used_today, used_in_period, extra }
    }
}

/// No period that today lies in began before this day.
pub(crate) fn first_that_counts(today: u32) -> u32 {
    today.saturating_sub(SPAN_DAYS_MAX - 1)
}
