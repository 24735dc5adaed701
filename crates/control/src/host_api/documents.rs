//! The documents of the host's own API. Times are Unix seconds, dates `YYYY-MM-DD` in UTC.

use std::collections::BTreeMap;

use frontdesk_gateway::quota::date_of;
use frontdesk_gateway::{ActorUsage, KeyUsage, KeyView, UsageReport};
use frontdesk_store::{PlanStage, Quota, Throttle, UsagePlan};
use serde::{Deserialize, Deserializer, Serialize};

/// Asks for a new key.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateKeyRequest {
    /// Its name.
    pub name: String,
    /// Its value, 20 to 128 characters; generated when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The usage plan to put it in, by id or name; left out, the key opens nothing yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage_plan: Option<String>,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// From when on it opens nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<i64>,
    /// Networks it may be used from, in CIDR notation; none means any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub source_ranges: Vec<String>,
    /// Its tags.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}

/// Asks for a change of a key. What is left out stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UpdateKeyRequest {
    /// The name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The description.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Whether it opens anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// From when on it opens nothing; `null` means never.
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Option<i64>>,
    /// Networks it may be used from; an empty list means any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_ranges: Option<Vec<String>>,
    /// Tags to add; one with an empty value is taken away.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}

/// Asks for a second value beside a key's first.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RotateKeyRequest {
    /// How long both values work, in seconds.
    pub overlap_s: u32,
    /// The new value, 20 to 128 characters; generated when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// Brings keys from a file in API Gateway's form.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportKeysRequest {
    /// The file's content: CSV with the columns `Name`, `Key`, and if wanted `Description`, `Enabled`, `UsagePlanIds`.
    pub csv: String,
    /// The usage plan of keys that name none, by id or name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage_plan: Option<String>,
}

/// What was imported.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ImportedKeys {
    /// The keys' ids, in the file's order.
    pub ids: Vec<String>,
}

/// A key, without its value.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KeyDocument {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// The last four characters of its value.
    pub hint: String,
    /// Whether it opens anything.
    pub enabled: bool,
    /// When it was made.
    pub created_at: i64,
    /// From when on it opens nothing.
    pub expires_at: Option<i64>,
    /// After a rotation: until when the value before it works.
    pub former_value_retires_at: Option<i64>,
    /// Networks it may be used from; none means any.
    pub source_ranges: Vec<String>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// The names of its usage plans.
    pub usage_plans: Vec<String>,
    /// Requests counted today (UTC).
    pub used_today: u64,
}

/// All keys, newest first.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KeyList {
    /// The keys.
    pub keys: Vec<KeyDocument>,
}

/// A key's value, for its owner. `Debug` is absent on purpose.
#[derive(Clone, Serialize, Deserialize)]
pub struct KeyWithValue {
    /// The key's id.
    pub id: String,
    /// The key's name.
    pub name: String,
    /// Its value.
    pub value: String,
    /// After a rotation: until when the value before it works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub former_value_retires_at: Option<i64>,
}

impl KeyDocument {
    pub(crate) fn of(view: KeyView, now_unix: i64) -> KeyDocument {
        let KeyView { key, plans, used_today } = view;
        let former = key.former.filter(|former| former.retires_at > now_unix);
        KeyDocument {
            id: key.id.0,
            name: key.name,
            description: key.description,
            hint: key.hint,
            enabled: key.enabled,
            created_at: key.created_at,
            expires_at: key.expires_at,
            former_value_retires_at: former.map(|former| former.retires_at),
            source_ranges: key.source_ranges,
            tags: key.tags,
            usage_plans: plans,
            used_today,
        }
    }
}

/// A token bucket.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ThrottleDocument {
    /// Requests a second in the long run.
    pub rate_limit: f64,
    /// Requests that may come at once.
    pub burst_limit: u32,
}

/// An allowance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuotaDocument {
    /// Requests.
    pub limit: u64,
    /// `DAY`, `WEEK` or `MONTH`; UTC.
    pub period: String,
    /// The day on which a period begins, counted from its first (a week's is Sunday, a month's the 1st).
    #[serde(default)]
    pub offset: u8,
}

/// A stage of an API.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanStageDocument {
    /// The API's id; the seeded API's when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_id: Option<String>,
    /// The stage.
    pub stage: String,
    /// Throttles of methods, by path and verb (`/invoke/POST`).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub throttle: BTreeMap<String, ThrottleDocument>,
}

/// A usage plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlanDocument {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// The speed of each key; `null` means unlimited.
    pub throttle: Option<ThrottleDocument>,
    /// The allowance of each key; `null` means unlimited.
    pub quota: Option<QuotaDocument>,
    /// The stages it opens.
    pub stages: Vec<PlanStageDocument>,
    /// How many keys it serves.
    pub keys: usize,
}

/// All plans, by name.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PlanList {
    /// The plans.
    pub usage_plans: Vec<PlanDocument>,
}

/// Asks for a new plan, or a change of one. What is left out stays as it is; `null` takes a limit away.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PutPlanRequest {
    /// The name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The description.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The speed of each key.
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub throttle: Option<Option<ThrottleDocument>>,
    /// The allowance of each key.
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub quota: Option<Option<QuotaDocument>>,
    /// All stages of the seeded API that it opens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stages: Option<Vec<String>>,
    /// Throttles of methods, by path and verb (`/invoke/POST`); `null` takes one away.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub method_throttles: BTreeMap<String, Option<ThrottleDocument>>,
}

impl From<Throttle> for ThrottleDocument {
    fn from(throttle: Throttle) -> Self {
        ThrottleDocument { rate_limit: throttle.rate_limit, burst_limit: throttle.burst_limit }
    }
}

impl From<ThrottleDocument> for Throttle {
    fn from(document: ThrottleDocument) -> Self {
        Throttle { rate_limit: document.rate_limit, burst_limit: document.burst_limit }
    }
}

impl From<Quota> for QuotaDocument {
    fn from(quota: Quota) -> Self {
        QuotaDocument { limit: quota.limit, period: quota.period.name().to_owned(), offset: quota.offset }
    }
}

impl From<UsagePlan> for PlanDocument {
    fn from(plan: UsagePlan) -> Self {
        let stage = |open: PlanStage| PlanStageDocument {
            api_id: Some(open.stage.api_id),
            stage: open.stage.stage,
            throttle: open.method_throttles.into_iter().map(|(method, throttle)| (method, throttle.into())).collect(),
        };
        PlanDocument {
            id: plan.id.0,
            name: plan.name,
            description: plan.description,
            throttle: plan.throttle.map(Into::into),
            quota: plan.quota.map(Into::into),
            stages: plan.stages.into_iter().map(stage).collect(),
            keys: plan.key_ids.len(),
        }
    }
}

/// What was used on some days, exact to the moment.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct UsageDocument {
    /// By key, in the order of days.
    pub keys: Vec<KeyUsageDocument>,
    /// By actor, in the order of days, the busiest first.
    pub actors: Vec<ActorUsageDocument>,
}

/// Requests of a key under a plan on a day.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KeyUsageDocument {
    /// The day.
    pub date: String,
    /// The plan's name; its id when it was deleted.
    pub usage_plan: String,
    /// The key's id.
    pub key_id: String,
    /// The key's name; empty when it was deleted.
    pub key_name: String,
    /// Requests counted.
    pub used: u64,
    /// Requests left of the quota at the end of the day; `null` without one.
    pub remaining: Option<u64>,
}

/// Requests answered for an actor of a key on a day.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ActorUsageDocument {
    /// The day.
    pub date: String,
    /// The key's id.
    pub key_id: String,
    /// The key's name; empty when it was deleted.
    pub key_name: String,
    /// The actor, as callers name it.
    pub actor: String,
    /// Requests answered.
    pub used: u64,
}

/// Grants a key requests beyond its quota in the period that is running.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExtendQuotaRequest {
    /// The key, by id or name.
    pub key: String,
    /// How many requests.
    pub extra: u64,
    /// The plan, by id or name; needed only when several have a quota for the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage_plan: Option<String>,
}

/// A quota after it was extended.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ExtendedQuota {
    /// The plan's name.
    pub usage_plan: String,
    /// Requests left until the period ends.
    pub remaining: u64,
}

impl From<UsageReport> for UsageDocument {
    fn from(report: UsageReport) -> Self {
        let of_key = |usage: KeyUsage| KeyUsageDocument {
            date: date_of(usage.day).to_string(),
            usage_plan: usage.plan,
            key_id: usage.key_id.0,
            key_name: usage.key_name,
            used: usage.used,
            remaining: usage.remaining,
        };
        let of_actor = |usage: ActorUsage| ActorUsageDocument {
            date: date_of(usage.day).to_string(),
            key_id: usage.key_id.0,
            key_name: usage.key_name,
            actor: usage.actor,
            used: usage.used,
        };
        UsageDocument { keys: report.keys.into_iter().map(of_key).collect(), actors: report.actors.into_iter().map(of_actor).collect() }
    }
}

/// Tells a field that is `null` from one that is left out.
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}
