//! The rows of this host's database that the fleet shares: which a change has touched, what is in them, and others' put in their place.
//!
//! All of it is generic over the tables of one list: columns and keys are asked of SQLite itself, so that a table needs its name here and nothing else.

use rusqlite::types::{Value as SqlValue, ValueRef};
use rusqlite::{Connection, OptionalExtension as _, ToSql, Transaction};
use serde_json::{Map, Value};

use crate::database::StoreError;

/// The shared tables. A table stands after those that it refers to.
const SHARED: [&str; 7] =
    ["api_key", "usage_plan", "usage_plan_stage", "usage_plan_method_throttle", "usage_plan_key", "quota_extension", "seeded"];

/// A shared row as it travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SharedRow {
    /// Its table.
    pub(crate) table: String,
    /// Its primary key: a JSON array of values.
    pub(crate) key: String,
    /// A JSON object by column; `None` when the row was deleted.
    pub(crate) content: Option<String>,
}

struct Column {
    name: String,
    is_blob: bool,
    is_key: bool,
}

/// Has every change of a shared table noted, on this connection and without a trace in the file.
pub(super) fn watch(connection: &Connection) -> Result<(), StoreError> {
    connection.execute_batch("CREATE TEMP TABLE IF NOT EXISTS touched (table_name TEXT, row_key TEXT)")?;
    for table in SHARED {
        for (event, rows) in [("INSERT", &["new"][..]), ("UPDATE", &["old", "new"]), ("DELETE", &["old"])] {
            let mut notes = String::new();
            for row in rows {
                let key: Vec<String> = key_of(connection, table)?.into_iter().map(|column| format!("{row}.{column}")).collect();
                notes.push_str(&format!("INSERT INTO touched VALUES ('{table}', json_array({}));", key.join(", ")));
            }
            connection.execute_batch(&format!(
                "CREATE TEMP TRIGGER IF NOT EXISTS {table}_after_{event} AFTER {event} ON main.{table} BEGIN {notes} END"
            ))?;
        }
    }
    Ok(())
}

/// The rows that were touched since the last call, as they are now.
pub(super) fn take_touched(transaction: &Transaction<'_>) -> Result<Vec<SharedRow>, StoreError> {
    let names: Vec<(String, String)> = {
        let mut select = transaction.prepare_cached("SELECT DISTINCT table_name, row_key FROM touched")?;
        select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?
    };
    transaction.execute("DELETE FROM touched", [])?;
    names.into_iter().map(|(table, key)| Ok(SharedRow { content: content(transaction, &table, &key)?, table, key })).collect()
}

/// All rows of all shared tables.
pub(super) fn all(connection: &Connection) -> Result<Vec<SharedRow>, StoreError> {
    let mut rows = Vec::new();
    for table in SHARED {
        let mut select = connection.prepare(&format!("SELECT json_array({}) FROM {table}", key_of(connection, table)?.join(", ")))?;
        let keys: Vec<String> = select.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
        for key in keys {
            rows.push(SharedRow { table: table.to_owned(), content: content(connection, table, &key)?, key });
        }
    }
    Ok(rows)
}

/// Puts rows in the place of those with the same keys; if these rows are `all_there_are`, every other shared row goes. Their order does not matter.
pub(super) fn apply(transaction: &Transaction<'_>, rows: &[SharedRow], all_there_are: bool) -> Result<(), StoreError> {
    transaction.pragma_update(None, "defer_foreign_keys", true)?;
    if all_there_are {
        for table in SHARED.iter().rev() {
            transaction.execute(&format!("DELETE FROM {table}"), [])?;
        }
    }
    // A newer host may share tables that this one does not have.
    let known = || rows.iter().filter(|row| SHARED.contains(&row.table.as_str()));
    for SharedRow { table, key, .. } in known().filter(|row| row.content.is_none()) {
        let delete = format!("DELETE FROM {table} WHERE {}", where_key(transaction, table)?);
        transaction.prepare_cached(&delete)?.execute(rusqlite::params_from_iter(key_values(key)?))?;
    }
    for SharedRow { table, content, .. } in known() {
        let Some(content) = content else { continue };
        put(transaction, table, content)?;
    }
    transaction.execute("DELETE FROM touched", [])?;
    Ok(())
}

fn put(transaction: &Transaction<'_>, table: &str, content: &str) -> Result<(), StoreError> {
    let content: Map<String, Value> = serde_json::from_str(content).map_err(|error| malformed(&error))?;
    // A column that the sender does not know keeps its default.
    let columns: Vec<Column> = columns(transaction, table)?.into_iter().filter(|column| content.contains_key(&column.name)).collect();
    let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    let keys: Vec<&str> = columns.iter().filter(|column| column.is_key).map(|column| column.name.as_str()).collect();
    let others = columns.iter().filter(|column| !column.is_key);
    let replaced: Vec<String> = others.map(|column| format!("{0} = excluded.{0}", column.name)).collect();
    let action = if replaced.is_empty() { "NOTHING".to_owned() } else { format!("UPDATE SET {}", replaced.join(", ")) };
    let places = vec!["?"; names.len()].join(", ");
    let upsert = format!("INSERT INTO {table} ({}) VALUES ({places}) ON CONFLICT ({}) DO {action}", names.join(", "), keys.join(", "));
    let values = columns.iter().map(|column| sql_value(&content[&column.name], column.is_blob)).collect::<Result<Vec<_>, _>>()?;
    transaction.prepare_cached(&upsert)?.execute(rusqlite::params_from_iter(values))?;
    Ok(())
}

fn content(connection: &Connection, table: &str, key: &str) -> Result<Option<String>, StoreError> {
    let columns = columns(connection, table)?;
    let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    let sql = format!("SELECT {} FROM {table} WHERE {}", names.join(", "), where_key(connection, table)?);
    let mut select = connection.prepare_cached(&sql)?;
    let found = select.query_row(rusqlite::params_from_iter(key_values(key)?), |row| {
        let mut content = Map::new();
        for (index, name) in names.iter().enumerate() {
            content.insert((*name).to_owned(), json_value(row.get_ref(index)?));
        }
        Ok(Value::Object(content).to_string())
    });
    Ok(found.optional()?)
}

fn columns(connection: &Connection, table: &str) -> Result<Vec<Column>, StoreError> {
    let mut select = connection.prepare_cached("SELECT name, type = 'BLOB', pk > 0 FROM pragma_table_info(?1) ORDER BY cid")?;
    let columns = select.query_map([table], |row| Ok(Column { name: row.get(0)?, is_blob: row.get(1)?, is_key: row.get(2)? }))?;
    Ok(columns.collect::<Result<_, _>>()?)
}

/// The names of the primary key's columns, in its order.
fn key_of(connection: &Connection, table: &str) -> Result<Vec<String>, StoreError> {
    let mut select = connection.prepare_cached("SELECT name FROM pragma_table_info(?1) WHERE pk > 0 ORDER BY pk")?;
    Ok(select.query_map([table], |row| row.get(0))?.collect::<Result<_, _>>()?)
}

fn where_key(connection: &Connection, table: &str) -> Result<String, StoreError> {
    let terms: Vec<String> = key_of(connection, table)?.into_iter().map(|column| format!("{column} = ?")).collect();
    Ok(terms.join(" AND "))
}

fn key_values(key: &str) -> Result<Vec<SqlValue>, StoreError> {
    let values: Vec<Value> = serde_json::from_str(key).map_err(|error| malformed(&error))?;
    values.iter().map(|value| sql_value(value, false)).collect()
}

fn json_value(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::from(number),
        ValueRef::Real(number) => Value::from(number),
        ValueRef::Text(text) => Value::from(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(bytes) => Value::from(hex::encode(bytes)),
    }
}

fn sql_value(value: &Value, is_blob: bool) -> Result<SqlValue, StoreError> {
    Ok(match value {
        Value::Null => SqlValue::Null,
        Value::String(digits) if is_blob => SqlValue::Blob(hex::decode(digits).map_err(|error| malformed(&error))?),
        Value::String(text) => SqlValue::Text(text.clone()),
        Value::Number(number) => match number.as_i64() {
            Some(integer) => SqlValue::Integer(integer),
            None => SqlValue::Real(number.as_f64().unwrap_or_default()),
        },
        other => return Err(malformed(&format!("{other} is no value of a column"))),
    })
}

fn malformed(reason: &dyn std::fmt::Display) -> StoreError {
    StoreError::Fleet(super::FleetError::Malformed(reason.to_string()))
}

/// What this host is in its fleet, as its own database has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Membership {
    pub(super) fleet_id: String,
    pub(super) host_id: String,
    /// The replica is complete up to this change.
    pub(super) revision: i64,
}

pub(super) fn membership(connection: &Connection) -> Result<Option<Membership>, StoreError> {
    let mut select = connection.prepare_cached("SELECT fleet_id, host_id, revision FROM fleet_member")?;
    let found = select.query_row([], |row| Ok(Membership { fleet_id: row.get(0)?, host_id: row.get(1)?, revision: row.get(2)? }));
    Ok(found.optional()?)
}

pub(super) fn put_membership(transaction: &Transaction<'_>, membership: &Membership) -> Result<(), StoreError> {
    transaction.execute("DELETE FROM fleet_member", [])?;
    let Membership { fleet_id, host_id, revision } = membership;
    let values: [&dyn ToSql; 3] = [fleet_id, host_id, revision];
    transaction.execute("INSERT INTO fleet_member (fleet_id, host_id, revision) VALUES (?1, ?2, ?3)", values)?;
    Ok(())
}

pub(super) fn set_revision(transaction: &Transaction<'_>, revision: i64) -> Result<(), StoreError> {
    transaction.execute("UPDATE fleet_member SET revision = ?1", [revision])?;
    Ok(())
}
