//! Events: written in batches, read by time, deleted when they are too old or too many.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension as _, Transaction, params_from_iter};

use super::LogStore;
use super::groups::stream_id;
use crate::database::StoreError;

/// What CloudWatch Logs adds to the length of an event's message when it weighs it, in bytes.
pub const EVENT_OVERHEAD_BYTES: usize = 26;
/// An event's weight in bytes, as SQL: the message's length in UTF-8 and the overhead.
pub(super) const WEIGHT: &str = "octet_length(message) + 26";
/// How many events are deleted in one transaction: others write in between.
const DELETE_ROWS: u32 = 5000;

/// An event to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// The group, which is made where it is missing.
    pub group: String,
    /// The stream, which is made where it is missing.
    pub stream: String,
    /// When it happened; Unix milliseconds.
    pub timestamp_ms: i64,
    /// What happened.
    pub message: String,
}

/// An event that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// Grows in the order of writing.
    pub id: i64,
    /// Its stream.
    pub stream: String,
    /// When it happened; Unix milliseconds.
    pub timestamp_ms: i64,
    /// When it was written; Unix milliseconds.
    pub ingested_at_ms: i64,
    /// What happened.
    pub message: String,
}

impl StoredEvent {
    /// Its place in the order of reading.
    #[must_use]
    pub fn position(&self) -> Position {
        Position { timestamp_ms: self.timestamp_ms, id: self.id }
    }
}

/// A place in the order of reading: by time, and at the same time by id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Unix milliseconds.
    pub timestamp_ms: i64,
    /// An event's id.
    pub id: i64,
}

/// Which events are wanted.
#[derive(Debug, Clone)]
pub struct EventRange {
    /// The group.
    pub group: String,
    /// Of these streams only; `None` for all.
    pub streams: Option<Vec<String>>,
    /// Not before this moment; Unix milliseconds.
    pub from_ms: i64,
    /// Not at this moment and later.
    pub until_ms: i64,
    /// Whether the latest come first.
    pub is_backward: bool,
    /// Only what comes behind this place in the order of reading.
    pub beyond: Option<Position>,
    /// At most so many.
    pub limit: usize,
    /// At most so many bytes together, as CloudWatch Logs weighs events; the first comes however heavy it is.
    pub bytes_max: usize,
}

/// Events that were read, and whether their range has more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventPage {
    /// The events, in the range's order.
    pub events: Vec<StoredEvent>,
    /// Whether a limit ended the page.
    pub has_more: bool,
}

impl LogStore {
    /// Writes events in one transaction, making the groups and streams that are missing.
    ///
    /// # Errors
    /// [`StoreError::Sql`]; nothing is written then.
    pub fn append_log_events(&self, events: &[NewEvent], now_ms: i64) -> Result<(), StoreError> {
        let mut writer = self.writer();
        let transaction = writer.transaction()?;
        let mut by_stream: HashMap<(&str, &str), Vec<&NewEvent>> = HashMap::new();
        for event in events {
            by_stream.entry((&event.group, &event.stream)).or_default().push(event);
        }
        let mut ids = HashMap::new();
        for (&(group, stream), events) in &by_stream {
            let group_id = group_id(&transaction, group, now_ms)?;
            let moments = events.iter().map(|event| event.timestamp_ms);
            let (first, last) = (moments.clone().min().unwrap_or(now_ms), moments.max().unwrap_or(now_ms));
            let sql = "INSERT INTO log_stream (group_id, name, created_at_ms, first_event_ms, last_event_ms, last_ingested_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?3)
                       ON CONFLICT (group_id, name) DO UPDATE SET
                           first_event_ms = min(coalesce(first_event_ms, excluded.first_event_ms), excluded.first_event_ms),
                           last_event_ms = max(coalesce(last_event_ms, excluded.last_event_ms), excluded.last_event_ms),
                           last_ingested_ms = excluded.last_ingested_ms
                       RETURNING id";
            let mut upsert = transaction.prepare_cached(sql)?;
            let stream_id: i64 = upsert.query_row((group_id, stream, now_ms, first, last), |row| row.get(0))?;
            let bytes: u64 = events.iter().map(|event| (event.message.len() + EVENT_OVERHEAD_BYTES) as u64).sum();
            let mut weigh = transaction.prepare_cached("UPDATE log_group SET stored_bytes = stored_bytes + ?2 WHERE id = ?1")?;
            weigh.execute((group_id, i64::try_from(bytes).unwrap_or(i64::MAX)))?;
            ids.insert((group, stream), (group_id, stream_id));
        }
        {
            let sql = "INSERT INTO log_event (group_id, stream_id, timestamp_ms, ingested_at_ms, message) VALUES (?1, ?2, ?3, ?4, ?5)";
            let mut insert = transaction.prepare_cached(sql)?;
            for event in events {
                let (group_id, stream_id) = ids[&(event.group.as_str(), event.stream.as_str())];
                insert.execute((group_id, stream_id, event.timestamp_ms, now_ms, &event.message))?;
            }
        }
        Ok(transaction.commit()?)
    }

    /// The events of a range, in its order. No more is read than the page may hold, wherever in the range it begins.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn log_events(&self, range: &EventRange) -> Result<EventPage, StoreError> {
        let reader = self.reader();
        let sql = "SELECT id FROM log_group WHERE name = ?1";
        let Some(group_id) = reader.prepare_cached(sql)?.query_row([&range.group], |row| row.get::<_, i64>(0)).optional()? else {
            return Ok(EventPage::default());
        };
        let streams = match &range.streams {
            None => None,
            Some(names) => {
                let ids = names.iter().map(|name| stream_id(&reader, &range.group, name)).collect::<Result<Vec<_>, _>>()?;
                Some(ids.into_iter().flatten().collect::<Vec<i64>>())
            }
        };
        // One stream has an index of its own; of several the group's is read and the others' events are passed over.
        let chosen = match streams.as_deref() {
            None => "log_event.group_id = ?1".to_owned(),
            Some([]) => return Ok(EventPage::default()),
            Some([one]) => format!("log_event.stream_id = {one} AND ?1 = +log_event.group_id"),
            Some(many) => {
                let ids = many.iter().map(i64::to_string).collect::<Vec<_>>().join(", ");
                format!("log_event.group_id = ?1 AND +log_event.stream_id IN ({ids})")
            }
        };
        let mut page = EventPage::default();
        let mut bytes = 0;
        for Leg { from_ms, until_ms, from_id, until_id } in legs(range) {
            // One more than wanted tells whether there is more.
            let limit = i64::try_from(range.limit - page.events.len()).unwrap_or(i64::MAX).saturating_add(1);
            let mut select = reader.prepare_cached(&leg_sql(&chosen, range.is_backward, from_id.is_some()))?;
            let ids = from_id.zip(until_id).map(|(from_id, until_id)| [from_id, until_id]);
            let numbers = [group_id, limit, from_ms, until_ms].into_iter().chain(ids.into_iter().flatten());
            let mut rows = select.query(params_from_iter(numbers))?;
            while let Some(row) = rows.next()? {
                bytes += usize::try_from(row.get::<_, i64>(5)?).unwrap_or(usize::MAX);
                if page.events.len() == range.limit || (bytes > range.bytes_max && !page.events.is_empty()) {
                    page.has_more = true;
                    return Ok(page);
                }
                page.events.push(StoredEvent {
                    id: row.get(0)?,
                    stream: row.get(1)?,
                    timestamp_ms: row.get(2)?,
                    ingested_at_ms: row.get(3)?,
                    message: row.get(4)?,
                });
            }
        }
        Ok(page)
    }

    /// Deletes some of the events that are older than their group's retention. Returns how many.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn delete_expired_log_events(&self, now_ms: i64) -> Result<usize, StoreError> {
        let sql = "SELECT log_event.id FROM log_group JOIN log_event ON log_event.group_id = log_group.id
                   WHERE retention_days IS NOT NULL AND timestamp_ms < ?1 - retention_days * 86400000 LIMIT ?2";
        self.delete_events(sql, (now_ms, DELETE_ROWS))
    }

    /// Deletes some of the oldest events, if all together weigh more than `bytes_max`. Returns how many.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn delete_oldest_log_events(&self, bytes_max: u64) -> Result<usize, StoreError> {
        let bytes: i64 = self.reader().query_row("SELECT coalesce(sum(stored_bytes), 0) FROM log_group", [], |row| row.get(0))?;
        let excess = bytes.saturating_sub_unsigned(bytes_max);
        if excess <= 0 {
            return Ok(0);
        }
        // Those before which less than the excess is deleted: no more than that, however heavy they are.
        let sql = format!(
            "SELECT id FROM (
                 SELECT id, coalesce(sum({WEIGHT}) OVER (ORDER BY id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS before
                 FROM (SELECT id, message FROM log_event ORDER BY id LIMIT ?2))
             WHERE before < ?1"
        );
        self.delete_events(&sql, (excess, DELETE_ROWS))
    }

    /// Deletes the events that `chosen` selects the ids of, and gives their room back to the disk.
    fn delete_events(&self, chosen: &str, parameters: (i64, u32)) -> Result<usize, StoreError> {
        let mut writer = self.writer();
        let transaction = writer.transaction()?;
        let ids: Vec<i64> = transaction.prepare_cached(chosen)?.query_map(parameters, |row| row.get(0))?.collect::<Result<_, _>>()?;
        {
            let sql = format!("DELETE FROM log_event WHERE id = ?1 RETURNING group_id, {WEIGHT}");
            let mut delete = transaction.prepare_cached(&sql)?;
            let mut lighter: HashMap<i64, i64> = HashMap::new();
            for id in &ids {
                let (group_id, bytes) = delete.query_row([id], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))?;
                *lighter.entry(group_id).or_default() += bytes;
            }
            let mut weigh = transaction.prepare_cached("UPDATE log_group SET stored_bytes = stored_bytes - ?2 WHERE id = ?1")?;
            for change in lighter {
                weigh.execute(change)?;
            }
        }
        transaction.commit()?;
        if !ids.is_empty() {
            give_back(&writer)?;
        }
        Ok(ids.len())
    }
}

/// A part of a range that an index finds by its beginning and its end.
struct Leg {
    from_ms: i64,
    until_ms: i64,
    from_id: Option<i64>,
    until_id: Option<i64>,
}

/// The parts of a range in the order of reading: what is left of its place's own moment, then the other moments. One comparison of moment and id together would
/// read again whatever happened at the place's moment.
fn legs(range: &EventRange) -> Vec<Leg> {
    let EventRange { from_ms, until_ms, is_backward, .. } = *range;
    let whole = Leg { from_ms, until_ms, from_id: None, until_id: None };
    let Some(Position { timestamp_ms, id }) = range.beyond else { return vec![whole] };
    let (from_id, until_id) = if is_backward { (i64::MIN, id) } else { (id.saturating_add(1), i64::MAX) };
    let moment = Leg { from_ms: timestamp_ms, until_ms: timestamp_ms.saturating_add(1), from_id: Some(from_id), until_id: Some(until_id) };
    let others = match is_backward {
        true => Leg { until_ms: until_ms.min(timestamp_ms), ..whole },
        false => Leg { from_ms: from_ms.max(timestamp_ms.saturating_add(1)), ..whole },
    };
    let has_moment = (from_ms..until_ms).contains(&timestamp_ms);
    has_moment.then_some(moment).into_iter().chain([others]).collect()
}

/// A leg's events among those that `chosen` selects.
fn leg_sql(chosen: &str, is_backward: bool, is_one_moment: bool) -> String {
    let order = if is_backward { "DESC" } else { "ASC" };
    let between = match is_one_moment {
        true => "timestamp_ms = ?3 AND ?4 > ?3 AND log_event.id >= ?5 AND log_event.id < ?6",
        false => "timestamp_ms >= ?3 AND timestamp_ms < ?4",
    };
    format!(
        "SELECT log_event.id, log_stream.name, timestamp_ms, ingested_at_ms, message, {WEIGHT}
         FROM log_event JOIN log_stream ON log_stream.id = log_event.stream_id
         WHERE {chosen} AND {between} ORDER BY timestamp_ms {order}, log_event.id {order} LIMIT ?2"
    )
}

/// Gives free pages at the file's end back to the disk.
fn give_back(connection: &Connection) -> Result<(), StoreError> {
    let mut vacuum = connection.prepare("PRAGMA incremental_vacuum(1000)")?;
    let mut rows = vacuum.query([])?;
    while rows.next()?.is_some() {}
    Ok(())
}

/// The id of a group, which is made where it is missing.
fn group_id(transaction: &Transaction<'_>, name: &str, now_ms: i64) -> Result<i64, StoreError> {
    let known = transaction.prepare_cached("SELECT id FROM log_group WHERE name = ?1")?.query_row([name], |row| row.get(0)).optional()?;
    if let Some(id) = known {
        return Ok(id);
    }
    let sql = "INSERT INTO log_group (name, created_at_ms, class, tags) VALUES (?1, ?2, 'STANDARD', '{}')";
    transaction.prepare_cached(sql)?.execute((name, now_ms))?;
    Ok(transaction.last_insert_rowid())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A page at the end of a long stream costs what one at its beginning does.
    #[test]
    fn every_leg_is_found_by_an_index() {
        let folder = tempfile::tempdir().unwrap();
        let store = LogStore::open(&folder.path().join("logs.db")).unwrap();
        let check = |is_one_moment, expected: &str| {
            for chosen in ["log_event.group_id = ?1", "log_event.stream_id = 7 AND ?1 = +log_event.group_id"] {
                for is_backward in [false, true] {
                    let sql = format!("EXPLAIN QUERY PLAN {}", leg_sql(chosen, is_backward, is_one_moment));
                    let reader = store.reader();
                    let mut explain = reader.prepare(&sql).unwrap();
                    let numbers = [1_i64, 10, 0, 9, 0, 9];
                    let numbers = &numbers[..explain.parameter_count()];
                    let told = explain.query_map(params_from_iter(numbers), |row| row.get::<_, String>(3)).unwrap();
                    let told = told.collect::<Result<Vec<_>, _>>().unwrap().join("; ");
                    assert!(told.contains(expected) && !told.contains("TEMP B-TREE"), "{told}");
                }
            }
        };
        check(false, "timestamp_ms>? AND timestamp_ms<?)");
        check(true, "timestamp_ms=? AND id>? AND id<?)");
    }
}
