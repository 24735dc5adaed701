//! API keys at rest.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension as _, Row, Transaction};

use crate::database::{Store, StoreError, exists_already};
use crate::seal::SecretText;
use crate::usage_plans::UsagePlanId;

/// An API key's id: ten lower-case letters and digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct ApiKeyId(pub String);

impl std::fmt::Display for ApiKeyId {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// HMAC-SHA256 of a key's value under the digest key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyDigest(pub [u8; 32]);

/// The value that a key had before its rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FormerValue {
    /// How it is recognised.
    pub digest: KeyDigest,
    /// From this Unix second on it opens nothing.
    pub retires_at: i64,
}

/// An API key, without its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Its id.
    pub id: ApiKeyId,
    /// Its name; need not be unique.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// How its value is recognised.
    pub digest: KeyDigest,
    /// The last four characters of its value.
    pub hint: String,
    /// The value before the last rotation.
    pub former: Option<FormerValue>,
    /// Whether it opens anything.
    pub enabled: bool,
    /// From this Unix second on it opens nothing.
    pub expires_at: Option<i64>,
    /// Networks it may be used from, in CIDR notation; none means any.
    pub source_ranges: Vec<String>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// Unix seconds.
    pub created_at: i64,
    /// Unix seconds.
    pub updated_at: i64,
}

/// What of a key may be changed. A field of `None` stays as it is.
#[derive(Debug, Clone, Default)]
pub struct ApiKeyChange {
    /// The name.
    pub name: Option<String>,
    /// The description.
    pub description: Option<String>,
    /// Whether it opens anything.
    pub enabled: Option<bool>,
    /// When it expires; `Some(None)` means never.
    pub expires_at: Option<Option<i64>>,
    /// Where it may be used from.
    pub source_ranges: Option<Vec<String>>,
    /// All its tags.
    pub tags: Option<BTreeMap<String, String>>,
}

/// An API key to be stored.
#[derive(Debug)]
pub struct NewApiKey<'a> {
    /// Its id.
    pub id: ApiKeyId,
    /// Its value, which is stored as a digest and, if `keep_value`, sealed.
    pub value: &'a SecretText,
    /// Whether the value can be shown again.
    pub keep_value: bool,
    /// Everything else; what is `None` is empty, and the key is enabled.
    pub about: ApiKeyChange,
    /// The plans it belongs to.
    pub plan_ids: Vec<UsagePlanId>,
    /// Unix seconds.
    pub now: i64,
}

const COLUMNS: &str = "id, name, description, digest, hint, former_digest, former_retires_at, enabled, expires_at, source_ranges, tags, \
                       created_at, updated_at";

impl Store {
    /// Stores keys, and with them the usage plans they belong to: all of them or none.
    ///
    /// # Errors
    /// [`StoreError::Exists`] when an id or a value is taken.
    pub fn add_api_keys(&self, keys: &[NewApiKey<'_>]) -> Result<(), StoreError> {
        self.change(|transaction| keys.iter().try_for_each(|key| self.add_api_key(transaction, key)))
    }

    /// Stores keys as [`Store::add_api_keys`] does; a key whose value is known already takes the new name, description, state and plans instead.
    /// Returns the ids in the order of `keys`.
    ///
    /// # Errors
    /// [`StoreError::Exists`] when an id is taken.
    pub fn import_api_keys(&self, keys: &[NewApiKey<'_>]) -> Result<Vec<ApiKeyId>, StoreError> {
        self.change(|transaction| keys.iter().map(|key| self.import_api_key(transaction, key)).collect())
    }

    fn import_api_key(&self, transaction: &Transaction<'_>, key: &NewApiKey<'_>) -> Result<ApiKeyId, StoreError> {
        let digest = self.seal_key.digest(key.value.expose());
        let mut select = transaction.prepare_cached("SELECT id FROM api_key WHERE digest = ?1")?;
        let known: Option<String> = select.query_row([digest.0], |row| row.get(0)).optional()?;
        let Some(known) = known.map(ApiKeyId) else {
            self.add_api_key(transaction, key)?;
            return Ok(key.id.clone());
        };
        change(transaction, &known, &key.about, key.now)?;
        for plan_id in &key.plan_ids {
            let sql = "INSERT OR IGNORE INTO usage_plan_key (plan_id, key_id) VALUES (?1, ?2)";
            transaction.execute(sql, (&plan_id.0, &known.0))?;
        }
        Ok(known)
    }

    fn add_api_key(&self, transaction: &Transaction<'_>, key: &NewApiKey<'_>) -> Result<(), StoreError> {
        let value = key.value.expose();
        let digest = self.seal_key.digest(value);
        let sealed_value = key.keep_value.then(|| self.seal_key.seal(value, &key.id.0)).transpose()?;
        let taken = || format!("an API key with the id {} or the same value", key.id);
        if is_former_value(transaction, digest, key.now)? {
            return Err(StoreError::Exists { what: taken() });
        }
        let about = &key.about;
        transaction
            .prepare_cached(
                "INSERT INTO api_key (id, name, description, digest, sealed_value, hint, enabled, expires_at, source_ranges, tags, created_at, updated_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?11)",
            )?
            .execute((
                &key.id.0,
                about.name.as_deref().unwrap_or_default(),
                about.description.as_deref().unwrap_or_default(),
                digest.0,
                sealed_value,
                hint(value),
                about.enabled.unwrap_or(true),
                about.expires_at.flatten(),
                about.source_ranges.as_deref().unwrap_or_default().join(","),
                tags_text(about.tags.as_ref()),
                key.now,
            ))
            .map_err(|error| exists_already(error, taken))?;
        let mut join = transaction.prepare_cached("INSERT INTO usage_plan_key (plan_id, key_id) VALUES (?1, ?2)")?;
        for plan_id in &key.plan_ids {
            join.execute((&plan_id.0, &key.id.0))?;
        }
        Ok(())
    }

    /// All keys, newest first.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn api_keys(&self) -> Result<Vec<ApiKey>, StoreError> {
        let connection = self.connection();
        let sql = format!("SELECT {COLUMNS} FROM api_key ORDER BY created_at DESC, rowid DESC");
        let mut select = connection.prepare_cached(&sql)?;
        let keys = select.query_map([], api_key)?.collect::<Result<_, _>>()?;
        Ok(keys)
    }

    /// The key with this id, else the keys with this name, newest first.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn api_keys_called(&self, id_or_name: &str) -> Result<Vec<ApiKey>, StoreError> {
        let connection = self.connection();
        let sql = format!("SELECT {COLUMNS} FROM api_key WHERE id = ?1 OR name = ?1 ORDER BY id = ?1 DESC, created_at DESC, rowid DESC");
        let mut select = connection.prepare_cached(&sql)?;
        let mut keys: Vec<ApiKey> = select.query_map([id_or_name], api_key)?.collect::<Result<_, _>>()?;
        if keys.first().is_some_and(|key| key.id.0 == id_or_name) {
            keys.truncate(1);
        }
        Ok(keys)
    }

    /// A key's value, unsealed; `None` when there is no such key, or its value was not kept.
    ///
    /// # Errors
    /// [`StoreError::Seal`] when the seal key is another than the one it was sealed with.
    pub fn api_key_value(&self, id: &ApiKeyId) -> Result<Option<SecretText>, StoreError> {
        let sealed: Option<Vec<u8>> = {
            let connection = self.connection();
            let mut select = connection.prepare_cached("SELECT sealed_value FROM api_key WHERE id = ?1")?;
            select.query_row([&id.0], |row| row.get(0)).optional()?.flatten()
        };
        Ok(sealed.map(|sealed| self.seal_key.open(&sealed, &id.0)).transpose()?)
    }

    /// Changes a key. Returns whether there was one.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn change_api_key(&self, id: &ApiKeyId, about: &ApiKeyChange, now: i64) -> Result<bool, StoreError> {
        self.change(|transaction| change(transaction, id, about, now))
    }

    /// Gives a key a new value; the one it had works until `retires_at`. Returns whether there was such a key.
    ///
    /// # Errors
    /// [`StoreError::Exists`] when another key has the new value.
    pub fn rotate_api_key(
        &self,
        id: &ApiKeyId,
        value: &SecretText,
        keep_value: bool,
        retires_at: i64,
        now: i64,
    ) -> Result<bool, StoreError> {
        let digest = self.seal_key.digest(value.expose());
        let sealed_value = keep_value.then(|| self.seal_key.seal(value.expose(), &id.0)).transpose()?;
        let sql =
            "UPDATE api_key SET former_digest = digest, former_retires_at = ?2, digest = ?3, sealed_value = ?4, hint = ?5, updated_at = ?6
                   WHERE id = ?1";
        let taken = || "an API key with the same value".to_owned();
        self.change(|transaction| {
            if is_former_value(transaction, digest, now)? {
                return Err(StoreError::Exists { what: taken() });
            }
            let rotated = transaction
                .execute(sql, (&id.0, retires_at, digest.0, sealed_value, hint(value.expose()), now))
                .map_err(|error| exists_already(error, taken))?;
            Ok(rotated == 1)
        })
    }

    /// Deletes a key; what was counted for it stays. Returns whether there was one.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn delete_api_key(&self, id: &ApiKeyId) -> Result<bool, StoreError> {
        self.change(|transaction| Ok(transaction.execute("DELETE FROM api_key WHERE id = ?1", [&id.0])? == 1))
    }
}

fn change(connection: &Connection, id: &ApiKeyId, about: &ApiKeyChange, now: i64) -> Result<bool, StoreError> {
    let mut update = connection.prepare_cached(
        "UPDATE api_key SET name = coalesce(?2, name), description = coalesce(?3, description), enabled = coalesce(?4, enabled),
             expires_at = CASE WHEN ?5 THEN ?6 ELSE expires_at END, source_ranges = coalesce(?7, source_ranges),
             tags = coalesce(?8, tags), updated_at = ?9
         WHERE id = ?1",
    )?;
    let changed = update.execute((
        &id.0,
        &about.name,
        &about.description,
        about.enabled,
        about.expires_at.is_some(),
        about.expires_at.flatten(),
        about.source_ranges.as_ref().map(|ranges| ranges.join(",")),
        about.tags.as_ref().map(|tags| tags_text(Some(tags))),
        now,
    ))?;
    Ok(changed == 1)
}

/// Present and former values share one space, which an index over one column cannot tell.
fn is_former_value(connection: &Connection, digest: KeyDigest, now: i64) -> Result<bool, StoreError> {
    let mut select = connection.prepare_cached("SELECT 1 FROM api_key WHERE former_digest = ?1 AND former_retires_at > ?2")?;
    Ok(select.exists((digest.0, now))?)
}

fn hint(value: &str) -> String {
    value.chars().skip(value.chars().count().saturating_sub(4)).collect()
}

fn tags_text(tags: Option<&BTreeMap<String, String>>) -> String {
    tags.map_or_else(|| "{}".to_owned(), |tags| serde_json::to_string(tags).expect("a map of texts is JSON"))
}

fn api_key(row: &Row<'_>) -> rusqlite::Result<ApiKey> {
    let former: (Option<[u8; 32]>, Option<i64>) = (row.get(5)?, row.get(6)?);
    let source_ranges: String = row.get(9)?;
    let tags: String = row.get(10)?;
    let tags = serde_json::from_str(&tags)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(10, rusqlite::types::Type::Text, Box::new(error)))?;
    Ok(ApiKey {
        id: ApiKeyId(row.get(0)?),
        name: row.get(1)?,
        description: row.get(2)?,
        digest: KeyDigest(row.get(3)?),
        hint: row.get(4)?,
        former: former.0.zip(former.1).map(|(digest, retires_at)| FormerValue { digest: KeyDigest(digest), retires_at }),
        enabled: row.get(7)?,
        expires_at: row.get(8)?,
        source_ranges: source_ranges.split(',').filter(|range| !range.is_empty()).map(str::to_owned).collect(),
        tags,
        created_at: row.get(11)?,
        updated_at: row.get(12)?,
    })
}
