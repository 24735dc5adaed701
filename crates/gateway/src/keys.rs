//! The service layer of keys, plans and usage: what the command line, the AWS API and the settings file do, they do through here.
//!
//! A change is written to the store first and then to the table that the request path reads, which is replaced as a whole; so a change counts from the
//! next request on, and what was acknowledged is on disk. All calls block on the database.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use frontdesk_store::{ApiKey, ApiKeyId, KeyDigest, NewApiKey, SecretText, Store, StoreError, UsageCount, UsagePlan, UsagePlanId};

use crate::admission::{KeyEntry, KeyTable, PlanEntry};
use crate::key::{self, KeyValueError};
use crate::meter::{DayCount, Meter, day_of};
use crate::throttle::TokenBucket;

/// API Gateway's bound on names.
const NAME_CHARS_MAX: usize = 1024;

/// Why a change of keys was refused.
#[derive(Debug, thiserror::Error)]
pub enum KeyServiceError {
    /// The name is too long; the text is API Gateway's.
    #[error("Invalid API Key name, can be at most {NAME_CHARS_MAX} characters.")]
    NameTooLong,
    /// The given value cannot be a key.
    #[error(transparent)]
    Value(#[from] KeyValueError),
    /// Nothing has that id or name.
    #[error("no API key has the id or name {0}")]
    NoSuchKey(String),
    /// Several keys have that name.
    #[error("{count} API keys are named {name}: use an id (see `frontdesk keys list`)")]
    Ambiguous {
        /// The name.
        name: String,
        /// How many have it.
        count: usize,
    },
    /// Nothing has that id or name.
    #[error("no usage plan has the id or name {0}")]
    NoSuchPlan(String),
    /// The random generator failed.
    #[error("the system's random generator failed: {0}")]
    Random(getrandom::Error),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A key as it is shown.
#[derive(Debug, Clone)]
pub struct KeyView {
    /// The key, without its value.
    pub key: ApiKey,
    /// The names of its plans.
    pub plans: Vec<String>,
    /// Requests counted today, over all its plans.
    pub used_today: u64,
}

/// A new key with its value.
#[derive(Debug)]
pub struct CreatedKey {
    /// Its id.
    pub id: ApiKeyId,
    /// Its value.
    pub value: SecretText,
}

type Meters = HashMap<(UsagePlanId, ApiKeyId), Arc<Meter>>;

/// Keys, plans and usage.
#[derive(Debug)]
pub struct KeyService {
    store: Arc<Store>,
    table: ArcSwap<KeyTable>,
    /// Every meter there is. Also the lock under which changes are made, one at a time.
    meters: Mutex<Meters>,
}

impl KeyService {
    /// Reads keys, plans and today's counts.
    ///
    /// # Errors
    /// When the store fails.
    pub fn open(store: Arc<Store>, now_unix: i64) -> Result<KeyService, StoreError> {
        let today = day_of(now_unix);
        let counted = store.usage_on(today)?.into_iter().map(|count| {
            let UsageCount { plan_id, key_id, day, used } = count;
            let meter = meter(plan_id.clone(), key_id.clone(), DayCount::new(day, used));
            ((plan_id, key_id), meter)
        });
        let service = KeyService { meters: Mutex::new(counted.collect()), table: ArcSwap::default(), store };
        service.reload()?;
        Ok(service)
    }

    /// The table that requests are judged by.
    pub(crate) fn table(&self) -> arc_swap::Guard<Arc<KeyTable>> {
        self.table.load()
    }

    /// The digest of a presented value; `None` for one too long to be any key.
    pub(crate) fn digest(&self, presented: &[u8]) -> Option<KeyDigest> {
        let text = std::str::from_utf8(presented).ok().filter(|text| text.len() <= key::VALUE_BYTES_MAX)?;
        Some(self.store.seal_key().digest(text))
    }

    /// Reads keys and plans from the store again, after a change of them.
    ///
    /// # Errors
    /// When the store fails; the table stays as it was.
    pub fn reload(&self) -> Result<(), StoreError> {
        let mut meters = self.lock_meters();
        self.rebuild(&mut meters)
    }

    fn rebuild(&self, meters: &mut Meters) -> Result<(), StoreError> {
        let plans = self.store.usage_plans()?;
        let entries = self.store.api_keys()?.into_iter().map(|api_key| {
            let plans = plans.iter().filter(|plan| plan.key_ids.contains(&api_key.id));
            let plans = plans.map(|plan| plan_entry(plan, &api_key.id, meters)).collect();
            (api_key.digest, Arc::new(KeyEntry { id: api_key.id, enabled: api_key.enabled, plans }))
        });
        let by_digest = entries.collect();
        self.table.store(Arc::new(KeyTable { by_digest }));
        Ok(())
    }

    /// Makes a key and puts it into a plan. Without a value one is generated.
    ///
    /// # Errors
    /// See [`KeyServiceError`].
    pub fn create(&self, name: &str, value: Option<SecretText>, plan: Option<&str>, now_unix: i64) -> Result<CreatedKey, KeyServiceError> {
        if name.chars().count() > NAME_CHARS_MAX {
            return Err(KeyServiceError::NameTooLong);
        }
        let value = match value {
            Some(value) => {
                key::check_given(value.expose())?;
                value
            }
            None => key::generate().map_err(KeyServiceError::Random)?,
        };
        let plan_id = plan.map(|plan| self.plan_id(plan)).transpose()?;
        let id = ApiKeyId(key::generate_id().map_err(KeyServiceError::Random)?);
        let mut meters = self.lock_meters();
        let new = NewApiKey { id: id.clone(), name, value: &value, enabled: true, now: now_unix };
        self.store.add_api_key(&new, plan_id.as_ref())?;
        self.rebuild(&mut meters)?;
        Ok(CreatedKey { id, value })
    }

    /// All keys, newest first.
    ///
    /// # Errors
    /// When the store fails.
    pub fn list(&self, now_unix: i64) -> Result<Vec<KeyView>, KeyServiceError> {
        let today = day_of(now_unix);
        let plans = self.store.usage_plans()?;
        let meters = self.lock_meters();
        let view = |key: ApiKey| {
            let counts = meters.values().filter(|meter| meter.key_id == key.id).map(|meter| meter.day_count.read());
            let used_today = counts.filter(|(day, _)| *day == today).map(|(_, used)| used).sum();
            let plans = plans.iter().filter(|plan| plan.key_ids.contains(&key.id)).map(|plan| plan.name.clone()).collect();
            KeyView { key, plans, used_today }
        };
        Ok(self.store.api_keys()?.into_iter().map(view).collect())
    }

    /// Enables or disables a key, named by id or by a name that only one key has.
    ///
    /// # Errors
    /// See [`KeyServiceError`].
    pub fn set_enabled(&self, id_or_name: &str, enabled: bool, now_unix: i64) -> Result<ApiKey, KeyServiceError> {
        let mut key = self.find(id_or_name)?;
        let mut meters = self.lock_meters();
        self.store.set_api_key_enabled(&key.id, enabled, now_unix)?;
        self.rebuild(&mut meters)?;
        key.enabled = enabled;
        Ok(key)
    }

    /// A key's value.
    ///
    /// # Errors
    /// See [`KeyServiceError`].
    pub fn value(&self, id_or_name: &str) -> Result<(ApiKey, SecretText), KeyServiceError> {
        let key = self.find(id_or_name)?;
        let value = self.store.api_key_value(&key.id)?.ok_or_else(|| KeyServiceError::NoSuchKey(id_or_name.to_owned()))?;
        Ok((key, value))
    }

    fn find(&self, id_or_name: &str) -> Result<ApiKey, KeyServiceError> {
        let mut keys = self.store.api_keys()?;
        if let Some(index) = keys.iter().position(|key| key.id.0 == id_or_name) {
            return Ok(keys.swap_remove(index));
        }
        keys.retain(|key| key.name == id_or_name);
        match keys.len() {
            0 => Err(KeyServiceError::NoSuchKey(id_or_name.to_owned())),
            1 => Ok(keys.swap_remove(0)),
            count => Err(KeyServiceError::Ambiguous { name: id_or_name.to_owned(), count }),
        }
    }

    fn plan_id(&self, id_or_name: &str) -> Result<UsagePlanId, KeyServiceError> {
        let plans = self.store.usage_plans()?;
        let named = plans.into_iter().find(|plan| plan.id.0 == id_or_name || plan.name == id_or_name);
        named.map(|plan| plan.id).ok_or_else(|| KeyServiceError::NoSuchPlan(id_or_name.to_owned()))
    }

    /// The current count of every meter, for the writer.
    pub(crate) fn counts(&self) -> Vec<UsageCount> {
        let count = |meter: &Arc<Meter>| {
            let (day, used) = meter.day_count.read();
            UsageCount { plan_id: meter.plan_id.clone(), key_id: meter.key_id.clone(), day, used }
        };
        self.lock_meters().values().map(count).collect()
    }

    pub(crate) fn store(&self) -> &Arc<Store> {
        &self.store
    }

    fn lock_meters(&self) -> std::sync::MutexGuard<'_, Meters> {
        self.meters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn plan_entry(plan: &UsagePlan, key_id: &ApiKeyId, meters: &mut Meters) -> PlanEntry {
    let unused = || meter(plan.id.clone(), key_id.clone(), DayCount::new(0, 0));
    let meter = meters.entry((plan.id.clone(), key_id.clone())).or_insert_with(unused).clone();
    PlanEntry { id: plan.id.clone(), throttle: plan.throttle, quota_limit: plan.quota_limit, stages: plan.stages.clone(), meter }
}

fn meter(plan_id: UsagePlanId, key_id: ApiKeyId, day_count: DayCount) -> Arc<Meter> {
    Arc::new(Meter { plan_id, key_id, bucket: TokenBucket::default(), day_count })
}
