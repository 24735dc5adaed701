//! The service layer of keys, plans and usage: what the command line, the AWS API and the settings file do, they do through here.
//!
//! A change is written to the store first and then to the table that the request path reads, which is replaced as a whole; so a change counts from the
//! next request on, and what was acknowledged is on disk. All calls block on the database.

mod counted;
pub(crate) mod import;
mod plans;
mod reports;
mod untold;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use frontdesk_store::{
    ActorCount, ApiKey, ApiKeyChange, ApiKeyId, KeyDigest, NewApiKey, SecretText, Store, StoreError, UsageCount, UsagePlan, UsagePlanId,
};
use ipnet::IpNet;

use crate::actors::ActorCounts;
use crate::admission::{KeyEntry, KeyMatch, KeyTable, MethodThrottle, PlanEntry};
use crate::key::{self, KeyValueError};
use crate::lease::LeaseDesk;
use crate::meter::Meter;
use crate::quota::{Calendar, day_of};

use counted::CountedDays;
pub(crate) use counted::first_that_counts;
use untold::Untold;

pub use import::ImportError;
pub use plans::PlanChange;
pub use reports::{ActorUsage, KeyUsage, USAGE_DAYS_MAX, UsageReport};

/// API Gateway's bound on names.
const NAME_CHARS_MAX: usize = 1024;
/// API Gateway's bound on a key's plans.
const PLANS_MAX: usize = 10;
/// AWS's bounds on tags.
const TAGS_MAX: usize = 50;
const TAG_NAME_CHARS_MAX: usize = 128;
const TAG_VALUE_CHARS_MAX: usize = 256;

/// Why a change of keys or plans was refused.
#[derive(Debug, thiserror::Error)]
pub enum KeyServiceError {
    /// The name is too long; the text is API Gateway's.
    #[error("Invalid API Key name, can be at most {NAME_CHARS_MAX} characters.")]
    NameTooLong,
    /// The given value cannot be a key.
    #[error(transparent)]
    Value(#[from] KeyValueError),
    /// What was asked for does not fit; the text says what and how it must be.
    #[error("{0}")]
    Invalid(String),
    /// The file of keys has a mistake.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// Nothing has that id or name.
    #[error("no API key has the id or name {0}")]
    NoSuchKey(String),
    /// The key is there, its value is not.
    #[error(
        "the value of {0} was shown when it was made and is not kept (keys.keep_values is false): `frontdesk keys rotate` makes another"
    )]
    ValueNotKept(String),
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
    /// Several plans have that name.
    #[error("{count} usage plans are named {name}: use an id (see `frontdesk plans list`)")]
    AmbiguousPlan {
        /// The name.
        name: String,
        /// How many have it.
        count: usize,
    },
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

#[derive(Debug, Default)]
struct State {
    meters: Meters,
    /// Without their keys.
    plans: HashMap<UsagePlanId, Arc<UsagePlan>>,
}

/// Keys, plans and usage.
#[derive(Debug)]
pub struct KeyService {
    store: Arc<Store>,
    keep_values: bool,
    table: ArcSwap<KeyTable>,
    /// Every meter there is, and the plans as the table has them. Also the lock under which changes are made, one at a time.
    state: Mutex<State>,
    /// Meters that were charged since the writer came by.
    noted: Mutex<Vec<Arc<Meter>>>,
    actors: ActorCounts,
    /// Where quotas are leased; `None` for a host that is alone.
    desk: Option<Arc<LeaseDesk>>,
    /// What this host counted and the fleet does not know yet.
    untold: Mutex<Untold>,
}

impl KeyService {
    /// Reads keys, plans and the counts of the periods that are running. With `keep_values` a key's value is kept sealed and can be shown again. Quotas are
    /// leased from `desk`, if there is one.
    ///
    /// # Errors
    /// When the store fails.
    pub fn open(store: Arc<Store>, keep_values: bool, desk: Option<Arc<LeaseDesk>>, now_unix: i64) -> Result<KeyService, StoreError> {
        let today = day_of(now_unix);
        let actors = ActorCounts::new(store.actor_usage_between(today, today)?);
        let (state, noted, untold) = (Mutex::default(), Mutex::default(), Mutex::default());
        let service = KeyService { state, noted, untold, actors, table: ArcSwap::default(), store, keep_values, desk };
        service.rebuild(&mut service.lock(), now_unix)?;
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

    /// Puts a charged meter into the writer's list.
    pub(crate) fn note(&self, meter: &Arc<Meter>) {
        if meter.note() {
            self.noted.lock().unwrap_or_else(PoisonError::into_inner).push(meter.clone());
        }
    }

    /// Counts an answered request for an actor of a key.
    pub(crate) fn count_actor(&self, key_id: &ApiKeyId, actor: &str, now_unix: i64) {
        self.actors.count(key_id, actor, day_of(now_unix));
    }

    /// What was counted since the writer came by.
    pub(crate) fn take_counts(&self) -> (Vec<UsageCount>, Vec<ActorCount>) {
        let noted = std::mem::take(&mut *self.noted.lock().unwrap_or_else(PoisonError::into_inner));
        (noted.iter().flat_map(|meter| meter.take_note()).collect(), self.actors.take())
    }

    /// Reads everything again: for changes that came from elsewhere.
    pub(crate) fn reload(&self, now_unix: i64) -> Result<(), StoreError> {
        self.rebuild(&mut self.lock(), now_unix)
    }

    /// Reads everything again: for a change of plans, or of many keys.
    fn rebuild(&self, state: &mut State, now_unix: i64) -> Result<(), StoreError> {
        let today = day_of(now_unix);
        let mut plans_of: HashMap<ApiKeyId, Vec<Arc<UsagePlan>>> = HashMap::new();
        state.plans.clear();
        for mut plan in self.store.usage_plans()? {
            let key_ids = std::mem::take(&mut plan.key_ids);
            let plan = Arc::new(plan);
            state.plans.insert(plan.id.clone(), plan.clone());
            for key_id in key_ids {
                plans_of.entry(key_id).or_default().push(plan.clone());
            }
        }
        let counted = self.counted(&state.meters, today)?;
        for ((plan_id, key_id), meter) in &state.meters {
            meter.set_extra(counted.of(plan_id, key_id, meter.calendar, today).extra, today);
        }
        let mut table = KeyTable::default();
        for api_key in self.store.api_keys()? {
            let plans = plans_of.remove(&api_key.id).unwrap_or_default();
            let plans = plans.into_iter().map(|plan| self.plan_entry(plan, &api_key.id, &mut state.meters, &counted, today)).collect();
            insert(&mut table, api_key, plans, now_unix);
        }
        self.table.store(Arc::new(table));
        Ok(())
    }

    /// Reads one key again and leaves the others as they are: among 100,000 keys a change must not take seconds.
    fn refresh(&self, state: &mut State, key_id: &ApiKeyId, now_unix: i64) -> Result<(), StoreError> {
        let today = day_of(now_unix);
        let mut table = KeyTable::clone(&self.table.load());
        table.by_digest.retain(|_, found| found.key.id != *key_id);
        if let Some(api_key) = self.store.api_keys_called(&key_id.0)?.into_iter().find(|key| key.id == *key_id) {
            let mut counted = CountedDays::default();
            let mut plans = Vec::new();
            for plan_id in self.store.usage_plan_ids_of(key_id)? {
                let Some(plan) = state.plans.get(&plan_id).cloned() else { continue };
                if !state.meters.contains_key(&(plan_id.clone(), key_id.clone())) {
                    counted.add_days(self.store.usage_of(&plan_id, key_id, first_that_counts(today), today)?);
                    counted.add_extensions(self.store.quota_extensions_since(first_that_counts(today))?);
                }
                plans.push(self.plan_entry(plan, key_id, &mut state.meters, &counted, today));
            }
            insert(&mut table, api_key, plans, now_unix);
        }
        self.table.store(Arc::new(table));
        Ok(())
    }

    fn plan_entry(&self, plan: Arc<UsagePlan>, key_id: &ApiKeyId, meters: &mut Meters, counted: &CountedDays, today: u32) -> PlanEntry {
        let calendar = Calendar::of(plan.quota);
        let begin = || {
            let counted = counted.of(&plan.id, key_id, calendar, today);
            Arc::new(Meter::new(plan.id.clone(), key_id.clone(), calendar, counted).leasing_from(self.desk.as_ref()))
        };
        let meter = meters.entry((plan.id.clone(), key_id.clone())).or_insert_with(begin);
        if meter.calendar != calendar {
            *meter = begin();
        }
        let mut method_throttles = Vec::new();
        for open in &plan.stages {
            for (method, throttle) in &open.method_throttles {
                let bucket = meter.method_bucket(format!("{}/{}{method}", open.stage.api_id, open.stage.stage));
                method_throttles.push(MethodThrottle { stage: open.stage.clone(), method: method.clone(), throttle: *throttle, bucket });
            }
        }
        PlanEntry { meter: meter.clone(), plan, method_throttles }
    }

    /// What meters begin with: the store's counts of the longest period that today lies in, and what is counted in memory alone.
    fn counted(&self, meters: &Meters, today: u32) -> Result<CountedDays, StoreError> {
        let mut counted = CountedDays::default();
        counted.add_days(self.store.usage_between(first_that_counts(today), today)?);
        for (of, meter) in meters {
            let used_today = meter.used_on(today);
            if used_today > 0 {
                counted.used.entry(of.clone()).or_default().insert(today, used_today);
            }
        }
        counted.add_extensions(self.store.quota_extensions_since(first_that_counts(today))?);
        Ok(counted)
    }

    /// Makes a key and puts it into a plan. Without a value one is generated.
    ///
    /// # Errors
    /// See [`KeyServiceError`].
    pub fn create(
        &self,
        about: ApiKeyChange,
        value: Option<SecretText>,
        plan: Option<&str>,
        now_unix: i64,
    ) -> Result<CreatedKey, KeyServiceError> {
        check_about(&about)?;
        let value = given_or_generated(value)?;
        let plan_ids = plan.map(|plan| self.plan(plan)).transpose()?.into_iter().map(|plan| plan.id).collect();
        let id = ApiKeyId(key::generate_id().map_err(KeyServiceError::Random)?);
        let mut state = self.lock();
        let new = NewApiKey { id: id.clone(), value: &value, keep_value: self.keep_values, about, plan_ids, now: now_unix };
        self.store.add_api_keys(&[new])?;
        self.refresh(&mut state, &id, now_unix)?;
        Ok(CreatedKey { id, value })
    }

    /// All keys, newest first.
    ///
    /// # Errors
    /// When the store fails.
    pub fn list(&self, now_unix: i64) -> Result<Vec<KeyView>, KeyServiceError> {
        let today = day_of(now_unix);
        let mut plans_of: HashMap<ApiKeyId, Vec<String>> = HashMap::new();
        for plan in self.store.usage_plans()? {
            for key_id in plan.key_ids {
                plans_of.entry(key_id).or_default().push(plan.name.clone());
            }
        }
        let mut used: HashMap<ApiKeyId, u64> = HashMap::new();
        for meter in self.lock().meters.values() {
            *used.entry(meter.key_id.clone()).or_default() += meter.used_on(today);
        }
        for count in self.used_by_other_hosts(today) {
            *used.entry(count.key_id).or_default() += count.used;
        }
        let view = |key: ApiKey| {
            let (plans, used_today) = (plans_of.remove(&key.id).unwrap_or_default(), used.get(&key.id).copied().unwrap_or(0));
            KeyView { key, plans, used_today }
        };
        Ok(self.store.api_keys()?.into_iter().map(view).collect())
    }

    /// One key, named by id or by a name that only one key has.
    ///
    /// # Errors
    /// See [`KeyServiceError`].
    pub fn view(&self, id_or_name: &str, now_unix: i64) -> Result<KeyView, KeyServiceError> {
        let key = self.find(id_or_name)?;
        let plan_ids = self.store.usage_plan_ids_of(&key.id)?;
        let (today, by_others) = (day_of(now_unix), self.used_by_other_hosts(day_of(now_unix)));
        let by_others: u64 = by_others.iter().filter(|count| count.key_id == key.id).map(|count| count.used).sum();
        let state = self.lock();
        let plans = plan_ids.iter().filter_map(|id| Some(state.plans.get(id)?.name.clone())).collect();
        let meters = plan_ids.into_iter().filter_map(|plan_id| state.meters.get(&(plan_id, key.id.clone())));
        let used_today = meters.map(|meter| meter.used_on(today)).sum::<u64>() + by_others;
        Ok(KeyView { plans, used_today, key })
    }

    /// What the other hosts of a fleet counted. Keys are told of without them while the fleet's database is away: who looks for a key then needs it most.
    fn used_by_other_hosts(&self, today: u32) -> Vec<UsageCount> {
        self.store.usage_of_other_hosts(today, today).map(|(counts, _)| counts).unwrap_or_else(|error| {
            tracing::warn!(error = &error as &dyn std::error::Error, "today's requests are told without other hosts'");
            Vec::new()
        })
    }

    /// Changes a key. Tags are added to those it has; one with an empty value goes.
    ///
    /// # Errors
    /// See [`KeyServiceError`].
    pub fn change(&self, id_or_name: &str, mut about: ApiKeyChange, now_unix: i64) -> Result<(), KeyServiceError> {
        let key = self.find(id_or_name)?;
        if let Some(tags) = about.tags.take() {
            let mut all = key.tags;
            all.extend(tags);
            all.retain(|_, value| !value.is_empty());
            about.tags = Some(all);
        }
        check_about(&about)?;
        let mut state = self.lock();
        self.store.change_api_key(&key.id, &about, now_unix)?;
        Ok(self.refresh(&mut state, &key.id, now_unix)?)
    }

    /// Gives a key a second value beside the first, which retires after `overlap_s` seconds. Returns the new value and the Unix second of the old one's end.
    ///
    /// # Errors
    /// See [`KeyServiceError`]; [`KeyServiceError::Invalid`] while an earlier rotation's overlap runs, since a key has two values at most.
    pub fn rotate(
        &self,
        id_or_name: &str,
        value: Option<SecretText>,
        overlap_s: u32,
        now_unix: i64,
    ) -> Result<(ApiKey, SecretText, i64), KeyServiceError> {
        let key = self.find(id_or_name)?;
        if let Some(former) = key.former.filter(|former| former.retires_at > now_unix && overlap_s > 0) {
            let left = former.retires_at - now_unix;
            return Err(KeyServiceError::Invalid(format!(
                "{} was rotated already and its former value works for {left} s more: wait, or end all former values now with an overlap of 0",
                key.name
            )));
        }
        let value = given_or_generated(value)?;
        if self.store.seal_key().digest(value.expose()) == key.digest {
            return Err(KeyServiceError::Invalid(format!("{} has that value already", key.name)));
        }
        let retires_at = now_unix + i64::from(overlap_s);
        let mut state = self.lock();
        self.store.rotate_api_key(&key.id, &value, self.keep_values, retires_at, now_unix)?;
        self.refresh(&mut state, &key.id, now_unix)?;
        Ok((key, value, retires_at))
    }

    /// Deletes a key; what was counted for it stays on the record.
    ///
    /// # Errors
    /// See [`KeyServiceError`].
    pub fn delete(&self, id_or_name: &str, now_unix: i64) -> Result<ApiKey, KeyServiceError> {
        let key = self.find(id_or_name)?;
        let mut state = self.lock();
        self.store.delete_api_key(&key.id)?;
        self.refresh(&mut state, &key.id, now_unix)?;
        Ok(key)
    }

    /// A key's value.
    ///
    /// # Errors
    /// See [`KeyServiceError`].
    pub fn value(&self, id_or_name: &str) -> Result<(ApiKey, SecretText), KeyServiceError> {
        let key = self.find(id_or_name)?;
        let value = self.store.api_key_value(&key.id)?.ok_or_else(|| KeyServiceError::ValueNotKept(key.name.clone()))?;
        Ok((key, value))
    }

    fn find(&self, id_or_name: &str) -> Result<ApiKey, KeyServiceError> {
        let mut keys = self.store.api_keys_called(id_or_name)?;
        match keys.len() {
            0 => Err(KeyServiceError::NoSuchKey(id_or_name.to_owned())),
            1 => Ok(keys.swap_remove(0)),
            count => Err(KeyServiceError::Ambiguous { name: id_or_name.to_owned(), count }),
        }
    }

    /// Where quotas are leased; `None` for a host that is alone.
    pub(crate) fn desk(&self) -> Option<&Arc<LeaseDesk>> {
        self.desk.as_ref()
    }

    /// All meters there are.
    pub(crate) fn meters(&self) -> Vec<Arc<Meter>> {
        self.lock().meters.values().cloned().collect()
    }

    /// Takes counts that are on this host's disk and are to be told to the fleet. A later count of the same thing takes the place of an earlier one.
    pub(crate) fn tell(&self, counts: Vec<UsageCount>, actors: Vec<ActorCount>) {
        if self.desk.is_some() {
            self.untold.lock().unwrap_or_else(PoisonError::into_inner).add(counts, actors);
        }
    }

    /// What is to be told to the fleet.
    pub(crate) fn take_untold(&self) -> (Vec<UsageCount>, Vec<ActorCount>) {
        std::mem::take(&mut *self.untold.lock().unwrap_or_else(PoisonError::into_inner)).into_counts()
    }

    pub(crate) fn store(&self) -> &Arc<Store> {
        &self.store
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn insert(table: &mut KeyTable, api_key: ApiKey, plans: Vec<PlanEntry>, now_unix: i64) {
    let ApiKey { id, digest, former, enabled, expires_at, source_ranges, .. } = api_key;
    // What was stored was checked; a range that is none would open the key to everybody, so it closes it instead.
    let source_ranges = source_ranges.iter().map(|range| range.parse().unwrap_or_else(|_| nobody())).collect();
    let key = Arc::new(KeyEntry { id, enabled, expires_at, source_ranges, plans });
    if let Some(former) = former
        && former.retires_at > now_unix
    {
        table.by_digest.entry(former.digest).or_insert(KeyMatch { key: key.clone(), retires_at: Some(former.retires_at) });
    }
    table.by_digest.insert(digest, KeyMatch { key, retires_at: None });
}

fn nobody() -> IpNet {
    IpNet::from(std::net::IpAddr::from([255, 255, 255, 255]))
}

fn given_or_generated(value: Option<SecretText>) -> Result<SecretText, KeyServiceError> {
    match value {
        Some(value) => {
            key::check_given(value.expose())?;
            Ok(value)
        }
        None => key::generate().map_err(KeyServiceError::Random),
    }
}

fn check_about(about: &ApiKeyChange) -> Result<(), KeyServiceError> {
    let invalid = |text: String| Err(KeyServiceError::Invalid(text));
    if about.name.as_ref().is_some_and(|name| name.chars().count() > NAME_CHARS_MAX) {
        return Err(KeyServiceError::NameTooLong);
    }
    for range in about.source_ranges.iter().flatten() {
        if range.parse::<IpNet>().is_err() {
            return invalid(format!("`{range}` is no network in CIDR notation, such as 192.0.2.0/24 or 2001:db8::/32"));
        }
    }
    let tags = about.tags.as_ref();
    if tags.is_some_and(|tags| tags.len() > TAGS_MAX) {
        return invalid(format!("a key has at most {TAGS_MAX} tags"));
    }
    for (name, value) in tags.into_iter().flatten() {
        let (name_chars, value_chars) = (name.chars().count(), value.chars().count());
        if !(1..=TAG_NAME_CHARS_MAX).contains(&name_chars) || value_chars > TAG_VALUE_CHARS_MAX {
            return invalid(format!(
                "the tag `{name}` does not fit: names have 1 to {TAG_NAME_CHARS_MAX} characters, values at most {TAG_VALUE_CHARS_MAX}"
            ));
        }
    }
    Ok(())
}
