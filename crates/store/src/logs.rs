//! Logs at rest: CloudWatch Logs' model (group, stream, event, metric filter) in a database of its own, beside the one of everything else.
//!
//! A database and not files, because what is asked of logs is what an index answers: by time, over many streams, a page at a time, the oldest deleted first. One of its
//! own, because lines come in thousands a second and whoever changes a key must not wait for them, and because a fleet shares keys and not logs. A commit is on its way to
//! the disk when it returns, so a killed process loses nothing of it; after a power cut the last moments may be missing (`synchronous = NORMAL`), which is the price of a
//! commit every few milliseconds. One connection writes, another reads: a long search keeps no line waiting.

mod events;
mod groups;

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::Connection;
use serde::{Deserialize, Serialize};

use crate::database::StoreError;

pub use events::{EVENT_OVERHEAD_BYTES, EventPage, EventRange, NewEvent, Position, StoredEvent};
pub use groups::{LogGroup, LogStream};

const SCHEMA: &str = include_str!("logs/schema.sql");
/// What the schema is now.
const VERSION: u32 = 1;
/// The command line reads beside a running host.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Which events of a group count as a metric's, and as what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricFilter {
    /// Its name, which no other filter of the group has.
    pub name: String,
    /// The filter pattern.
    pub pattern: String,
    /// What matching events count as.
    pub transformations: Vec<MetricTransformation>,
    /// Unix milliseconds.
    pub created_at_ms: i64,
}

/// What a matching event counts as.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricTransformation {
    /// The metric.
    pub metric_name: String,
    /// Its namespace.
    pub metric_namespace: String,
    /// A number, or a field of the event such as `$.latency`.
    pub metric_value: String,
    /// What counts where no event matched.
    pub default_value: Option<f64>,
    /// Dimensions and the fields of the event that they come from.
    #[serde(default)]
    pub dimensions: std::collections::BTreeMap<String, String>,
    /// The metric's unit.
    pub unit: Option<String>,
}

/// The logs' database.
#[derive(Debug)]
pub struct LogStore {
    writer: Mutex<Connection>,
    reader: Mutex<Connection>,
}

impl LogStore {
    /// Opens the database, making it where it is missing.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn open(path: &Path) -> Result<LogStore, StoreError> {
        let fail = |source| StoreError::Open { path: path.to_owned(), source };
        let mut writer = Connection::open(path).map_err(fail)?;
        writer.busy_timeout(BUSY_TIMEOUT).map_err(fail)?;
        // Before the first table: pages that deleted events leave can be given back.
        writer.pragma_update(None, "auto_vacuum", "INCREMENTAL").map_err(fail)?;
        writer.pragma_update(None, "journal_mode", "WAL").map_err(fail)?;
        writer.pragma_update(None, "synchronous", "NORMAL").map_err(fail)?;
        writer.pragma_update(None, "foreign_keys", true).map_err(fail)?;
        let found: u32 = writer.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(fail)?;
        if found > VERSION {
            return Err(StoreError::Newer { path: path.to_owned(), found: found as usize, known: VERSION as usize });
        }
        if found == 0 {
            let transaction = writer.transaction()?;
            transaction.execute_batch(SCHEMA)?;
            transaction.pragma_update(None, "user_version", VERSION)?;
            transaction.commit()?;
        }
        let reader = Connection::open(path).map_err(fail)?;
        reader.busy_timeout(BUSY_TIMEOUT).map_err(fail)?;
        Ok(LogStore { writer: Mutex::new(writer), reader: Mutex::new(reader) })
    }

    fn writer(&self) -> MutexGuard<'_, Connection> {
        // A panic inside a transaction rolls it back, so the connection is sound.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reader(&self) -> MutexGuard<'_, Connection> {
        self.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All metric filters, each with its group's name, by group and name.
    ///
    /// # Errors
    /// [`StoreError::Sql`], [`StoreError::Document`].
    pub fn metric_filters(&self) -> Result<Vec<(String, MetricFilter)>, StoreError> {
        let reader = self.reader();
        let sql =
            "SELECT log_group.name, definition FROM metric_filter JOIN log_group ON log_group.id = group_id ORDER BY 1, metric_filter.name";
        let mut select = reader.prepare_cached(sql)?;
        let rows = select.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
        rows.map(|row| {
            let (group, definition) = row?;
            Ok((group, serde_json::from_str(&definition).map_err(StoreError::Document)?))
        })
        .collect()
    }

    /// Writes a metric filter of a group; one with the same name is replaced. Returns whether there is such a group.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn put_metric_filter(&self, group: &str, filter: &MetricFilter) -> Result<bool, StoreError> {
        let definition = serde_json::to_string(filter).map_err(StoreError::Document)?;
        let sql = "INSERT INTO metric_filter (group_id, name, definition) SELECT id, ?2, ?3 FROM log_group WHERE name = ?1
                   ON CONFLICT (group_id, name) DO UPDATE SET definition = excluded.definition";
        Ok(self.writer().execute(sql, (group, &filter.name, definition))? == 1)
    }

    /// Deletes a metric filter. Returns whether there was one.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn delete_metric_filter(&self, group: &str, name: &str) -> Result<bool, StoreError> {
        let sql = "DELETE FROM metric_filter WHERE name = ?2 AND group_id = (SELECT id FROM log_group WHERE name = ?1)";
        Ok(self.writer().execute(sql, (group, name))? == 1)
    }
}
