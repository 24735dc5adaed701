//! Alarms at rest, with the state they are in and what became of them.

use std::collections::BTreeMap;

use rusqlite::OptionalExtension as _;
use serde::{Deserialize, Serialize};

use crate::database::{Store, StoreError};
use crate::rest_apis::text;

/// History of one alarm; the oldest is forgotten.
const HISTORY_MAX: u32 = 1000;

/// An alarm over a metric, or over an expression of several (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricAlarm.html>).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricAlarm {
    /// Its name, which no other alarm has.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// Whether anybody is told of its changes.
    pub actions_enabled: bool,
    /// ARNs to tell when it goes to OK; kept for the owner, the host's own way of telling is a setting.
    pub ok_actions: Vec<String>,
    /// The same for ALARM.
    pub alarm_actions: Vec<String>,
    /// The same for INSUFFICIENT_DATA.
    pub insufficient_data_actions: Vec<String>,
    /// What it looks at.
    pub watched: Watched,
    /// How many periods it looks at.
    pub evaluation_periods: u32,
    /// How many of them must breach the threshold; by default all.
    pub datapoints_to_alarm: Option<u32>,
    /// The threshold.
    pub threshold: f64,
    /// What breaches it.
    pub comparison: Comparison,
    /// What a period without data means; by default [`MissingData::Missing`].
    pub missing_data: Option<MissingData>,
    /// `evaluate` or `ignore`, for percentiles of few values; kept for the owner.
    pub low_sample_percentile: Option<String>,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// When it was made or changed, in Unix milliseconds.
    pub configured_at_ms: i64,
    /// The state it is in.
    pub state: AlarmStanding,
}

/// What an alarm looks at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Watched {
    /// One metric.
    Metric(MetricStat),
    /// Queries, of which one alone returns data.
    Queries(Vec<MetricQuery>),
}

/// A metric's statistic by period.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricStat {
    /// The metric's namespace.
    pub namespace: String,
    /// The metric's name.
    pub name: String,
    /// Its dimensions.
    pub dimensions: BTreeMap<String, String>,
    /// `Sum`, `p99` and so on.
    pub statistic: String,
    /// The period, in seconds.
    pub period_s: u32,
    /// The unit of the values that count; by default any.
    pub unit: Option<String>,
}

/// One of several queries: a metric's statistic, or an expression of others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricQuery {
    /// What expressions name it by.
    pub id: String,
    /// What it asks for.
    pub asked: Asked,
    /// What people are shown for its name.
    pub label: Option<String>,
    /// Whether its data is wanted, or only what others make of it.
    pub returns_data: bool,
}

/// What a query asks for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Asked {
    /// A metric's statistic.
    Stat(MetricStat),
    /// An expression, and the period it was given.
    Expression(String, Option<u32>),
}

/// What breaches a threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Comparison {
    /// `>=`
    GreaterThanOrEqualToThreshold,
    /// `>`
    GreaterThanThreshold,
    /// `<`
    LessThanThreshold,
    /// `<=`
    LessThanOrEqualToThreshold,
}

/// What a period without data means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum MissingData {
    /// Nothing is known.
    Missing,
    /// The alarm stays as it is.
    Ignore,
    /// The threshold is breached.
    Breaching,
    /// It is not.
    NotBreaching,
}

/// How it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AlarmState {
    /// The threshold is not breached.
    Ok,
    /// It is.
    Alarm,
    /// Nobody knows.
    InsufficientData,
}

/// The state that an alarm is in, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlarmStanding {
    /// The state.
    pub state: AlarmState,
    /// Why, for people.
    pub reason: String,
    /// Why, as JSON.
    pub reason_data: Option<String>,
    /// When reason or state changed, in Unix milliseconds.
    pub updated_at_ms: i64,
    /// When the state changed.
    pub transitioned_at_ms: i64,
}

/// Something that became of an alarm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlarmHistoryItem {
    /// The alarm's name.
    pub alarm: String,
    /// Unix milliseconds.
    pub at_ms: i64,
    /// `ConfigurationUpdate`, `StateUpdate` or `Action`.
    pub kind: String,
    /// In words.
    pub summary: String,
    /// JSON.
    pub data: String,
}

impl Store {
    /// All alarms, in the order of their names.
    ///
    /// # Errors
    /// [`StoreError::Sql`], [`StoreError::Document`].
    pub fn metric_alarms(&self) -> Result<Vec<MetricAlarm>, StoreError> {
        let connection = self.connection();
        let mut select = connection.prepare_cached("SELECT definition FROM metric_alarm ORDER BY name")?;
        let definitions = select.query_map([], |row| row.get::<_, String>(0))?;
        definitions.map(|definition| serde_json::from_str(&definition?).map_err(StoreError::Document)).collect()
    }

    /// Writes an alarm, and what became of it, in one step.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn put_metric_alarm(&self, alarm: &MetricAlarm, history: &[AlarmHistoryItem]) -> Result<(), StoreError> {
        let mut connection = self.connection();
        let transaction = connection.transaction()?;
        let sql =
            "INSERT INTO metric_alarm (name, definition) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET definition = excluded.definition";
        transaction.execute(sql, (&alarm.name, text(alarm)))?;
        history.iter().try_for_each(|item| add_history(&transaction, item))?;
        transaction.commit()?;
        Ok(())
    }

    /// Deletes an alarm; its history stays. Returns whether there was one.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn delete_metric_alarm(&self, name: &str, history: &AlarmHistoryItem) -> Result<bool, StoreError> {
        let mut connection = self.connection();
        let transaction = connection.transaction()?;
        let was_there =
            transaction.query_row("DELETE FROM metric_alarm WHERE name = ?1 RETURNING 1", [name], |_| Ok(())).optional()?.is_some();
        if was_there {
            add_history(&transaction, history)?;
        }
        transaction.commit()?;
        Ok(was_there)
    }

    /// Adds to an alarm's history.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn add_alarm_history(&self, item: &AlarmHistoryItem) -> Result<(), StoreError> {
        add_history(&self.connection(), item)
    }

    /// What became of an alarm (of all, where none is named) from `from_ms` until `until_ms`, newest first.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn alarm_history(&self, alarm: Option<&str>, from_ms: i64, until_ms: i64) -> Result<Vec<AlarmHistoryItem>, StoreError> {
        let connection = self.connection();
        let sql = "SELECT alarm, at_ms, kind, summary, data FROM alarm_history
                   WHERE (?1 IS NULL OR alarm = ?1) AND at_ms BETWEEN ?2 AND ?3 ORDER BY at_ms DESC, id DESC";
        let mut select = connection.prepare_cached(sql)?;
        let items = select
            .query_map((alarm, from_ms, until_ms), |row| {
                Ok(AlarmHistoryItem { alarm: row.get(0)?, at_ms: row.get(1)?, kind: row.get(2)?, summary: row.get(3)?, data: row.get(4)? })
            })?
            .collect::<Result<_, _>>()?;
        Ok(items)
    }

    /// Forgets what became of alarms before a moment.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn forget_alarm_history(&self, before_ms: i64) -> Result<(), StoreError> {
        self.connection().execute("DELETE FROM alarm_history WHERE at_ms < ?1", [before_ms])?;
        Ok(())
    }
}

fn add_history(connection: &rusqlite::Connection, item: &AlarmHistoryItem) -> Result<(), StoreError> {
    let AlarmHistoryItem { alarm, at_ms, kind, summary, data } = item;
    let sql = "INSERT INTO alarm_history (alarm, at_ms, kind, summary, data) VALUES (?1, ?2, ?3, ?4, ?5)";
    connection.prepare_cached(sql)?.execute((alarm, at_ms, kind, summary, data))?;
    let sql = "DELETE FROM alarm_history WHERE alarm = ?1
               AND id <= (SELECT id FROM alarm_history WHERE alarm = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)";
    connection.prepare_cached(sql)?.execute((alarm, HISTORY_MAX))?;
    Ok(())
}
