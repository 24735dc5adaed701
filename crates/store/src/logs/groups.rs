//! Log groups and their streams.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension as _, Row};

use super::LogStore;
use crate::database::{StoreError, exists_already};

/// A log group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogGroup {
    /// Its name, which no other group has.
    pub name: String,
    /// Unix milliseconds.
    pub created_at_ms: i64,
    /// How long events are kept; `None` for as long as there is room.
    pub retention_days: Option<u32>,
    /// `STANDARD`, `INFREQUENT_ACCESS` or `DELIVERY`; kept for the owner.
    pub class: String,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// What its events weigh, in bytes, each with the 26 that CloudWatch Logs adds.
    pub stored_bytes: u64,
}

/// A stream of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogStream {
    /// Its name, which no other stream of the group has.
    pub name: String,
    /// Unix milliseconds, as all of these.
    pub created_at_ms: i64,
    /// The earliest event's.
    pub first_event_ms: Option<i64>,
    /// The latest event's.
    pub last_event_ms: Option<i64>,
    /// When an event came last.
    pub last_ingested_ms: Option<i64>,
}

const GROUP: &str = "SELECT name, created_at_ms, retention_days, class, tags, stored_bytes FROM log_group";

impl LogStore {
    /// Makes a group.
    ///
    /// # Errors
    /// [`StoreError::Exists`].
    pub fn create_log_group(&self, group: &LogGroup) -> Result<(), StoreError> {
        let tags = serde_json::to_string(&group.tags).map_err(StoreError::Document)?;
        let sql = "INSERT INTO log_group (name, created_at_ms, retention_days, class, tags) VALUES (?1, ?2, ?3, ?4, ?5)";
        let done = self.writer().execute(sql, (&group.name, group.created_at_ms, group.retention_days, &group.class, tags));
        done.map(drop).map_err(|error| exists_already(error, || format!("a log group {}", group.name)))
    }

    /// All groups, by name.
    ///
    /// # Errors
    /// [`StoreError::Sql`], [`StoreError::Document`].
    pub fn log_groups(&self) -> Result<Vec<LogGroup>, StoreError> {
        let reader = self.reader();
        let mut select = reader.prepare_cached(&format!("{GROUP} ORDER BY name"))?;
        let rows = select.query_map([], read_group)?;
        rows.map(|row| with_tags(row?)).collect()
    }

    /// One group.
    ///
    /// # Errors
    /// [`StoreError::Sql`], [`StoreError::Document`].
    pub fn log_group(&self, name: &str) -> Result<Option<LogGroup>, StoreError> {
        let reader = self.reader();
        let mut select = reader.prepare_cached(&format!("{GROUP} WHERE name = ?1"))?;
        select.query_row([name], read_group).optional()?.map(with_tags).transpose()
    }

    /// Writes a group's retention and tags. Returns whether there is such a group.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn update_log_group(&self, group: &LogGroup) -> Result<bool, StoreError> {
        let tags = serde_json::to_string(&group.tags).map_err(StoreError::Document)?;
        let sql = "UPDATE log_group SET retention_days = ?2, tags = ?3 WHERE name = ?1";
        Ok(self.writer().execute(sql, (&group.name, group.retention_days, tags))? == 1)
    }

    /// Deletes a group with all that is in it. Returns whether there was one.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn delete_log_group(&self, name: &str) -> Result<bool, StoreError> {
        Ok(self.writer().execute("DELETE FROM log_group WHERE name = ?1", [name])? == 1)
    }

    /// Makes a stream. Returns whether there is such a group.
    ///
    /// # Errors
    /// [`StoreError::Exists`].
    pub fn create_log_stream(&self, group: &str, stream: &str, now_ms: i64) -> Result<bool, StoreError> {
        let sql = "INSERT INTO log_stream (group_id, name, created_at_ms) SELECT id, ?2, ?3 FROM log_group WHERE name = ?1";
        let done = self.writer().execute(sql, (group, stream, now_ms));
        Ok(done.map_err(|error| exists_already(error, || format!("a log stream {stream} of {group}")))? == 1)
    }

    /// A group's streams, by name.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn log_streams(&self, group: &str) -> Result<Vec<LogStream>, StoreError> {
        let reader = self.reader();
        let sql = "SELECT log_stream.name, log_stream.created_at_ms, first_event_ms, last_event_ms, last_ingested_ms
                   FROM log_stream JOIN log_group ON log_group.id = group_id WHERE log_group.name = ?1 ORDER BY log_stream.name";
        let mut select = reader.prepare_cached(sql)?;
        let rows = select.query_map([group], |row| {
            Ok(LogStream {
                name: row.get(0)?,
                created_at_ms: row.get(1)?,
                first_event_ms: row.get(2)?,
                last_event_ms: row.get(3)?,
                last_ingested_ms: row.get(4)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Whether a group has a stream.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn has_log_stream(&self, group: &str, stream: &str) -> Result<bool, StoreError> {
        Ok(stream_id(&self.reader(), group, stream)?.is_some())
    }

    /// Deletes a stream with its events. Returns whether there was one.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn delete_log_stream(&self, group: &str, stream: &str) -> Result<bool, StoreError> {
        let mut writer = self.writer();
        let transaction = writer.transaction()?;
        let Some(id) = stream_id(&transaction, group, stream)? else { return Ok(false) };
        let bytes = super::events::WEIGHT;
        let sql = format!(
            "UPDATE log_group SET stored_bytes = stored_bytes - (SELECT coalesce(sum({bytes}), 0) FROM log_event WHERE stream_id = ?2) WHERE name = ?1"
        );
        transaction.execute(&sql, (group, id))?;
        transaction.execute("DELETE FROM log_stream WHERE id = ?1", [id])?;
        transaction.commit()?;
        Ok(true)
    }
}

pub(super) fn stream_id(connection: &Connection, group: &str, stream: &str) -> Result<Option<i64>, StoreError> {
    let sql =
        "SELECT log_stream.id FROM log_stream JOIN log_group ON log_group.id = group_id WHERE log_group.name = ?1 AND log_stream.name = ?2";
    Ok(connection.prepare_cached(sql)?.query_row([group, stream], |row| row.get(0)).optional()?)
}

/// A row, with its tags as they are kept.
fn read_group(row: &Row<'_>) -> rusqlite::Result<(LogGroup, String)> {
    let group = LogGroup {
        name: row.get(0)?,
        created_at_ms: row.get(1)?,
        retention_days: row.get(2)?,
        class: row.get(3)?,
        tags: BTreeMap::new(),
        stored_bytes: u64::try_from(row.get::<_, i64>(5)?).unwrap_or(0),
    };
    Ok((group, row.get(4)?))
}

fn with_tags((group, tags): (LogGroup, String)) -> Result<LogGroup, StoreError> {
    Ok(LogGroup { tags: serde_json::from_str(&tags).map_err(StoreError::Document)?, ..group })
}
