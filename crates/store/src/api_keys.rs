//! API keys at rest.

use rusqlite::{OptionalExtension as _, Row};

use crate::database::{Store, StoreError, exists_already};
use crate::seal::SecretText;

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

/// An API key, without its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Its id.
    pub id: ApiKeyId,
    /// Its name; need not be unique.
    pub name: String,
    /// How its value is recognised.
    pub digest: KeyDigest,
    /// The last four characters of its value.
    pub hint: String,
    /// Whether it opens anything.
    pub enabled: bool,
    /// Unix seconds.
    pub created_at: i64,
    /// Unix seconds.
    pub updated_at: i64,
}

/// An API key to be stored.
#[derive(Debug)]
pub struct NewApiKey<'a> {
    /// Its id.
    pub id: ApiKeyId,
    /// Its name.
    pub name: &'a str,
    /// Its value, which is stored as a digest and sealed.
    pub value: &'a SecretText,
    /// Whether it opens anything.
    pub enabled: bool,
    /// Unix seconds.
    pub now: i64,
}

impl Store {
    /// Stores a key, and with it the usage plan it belongs to.
    ///
    /// # Errors
    /// [`StoreError::Exists`] when the id or the value is taken.
    pub fn add_api_key(&self, key: &NewApiKey<'_>, plan_id: Option<&crate::UsagePlanId>) -> Result<(), StoreError> {
        let value = key.value.expose();
        let digest = self.seal_key.digest(value);
        let sealed_value = self.seal_key.seal(value, &key.id.0)?;
        let hint: String = value.chars().skip(value.chars().count().saturating_sub(4)).collect();
        let mut connection = self.connection();
        let transaction = connection.transaction()?;
        transaction
            .execute(
                "INSERT INTO api_key (id, name, digest, sealed_value, hint, enabled, created_at, updated_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7)",
                (&key.id.0, key.name, digest.0, sealed_value, hint, key.enabled, key.now),
            )
            .map_err(|error| exists_already(error, || format!("an API key with the id {} or the same value", key.id)))?;
        if let Some(plan_id) = plan_id {
            transaction.execute("INSERT INTO usage_plan_key (plan_id, key_id) VALUES (?1, ?2)", (&plan_id.0, &key.id.0))?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// All keys, newest first.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn api_keys(&self) -> Result<Vec<ApiKey>, StoreError> {
        let connection = self.connection();
        let mut select = connection.prepare_cached(
            "SELECT id, name, digest, hint, enabled, created_at, updated_at FROM api_key ORDER BY created_at DESC, rowid DESC",
        )?;
        let keys = select.query_map([], api_key)?.collect::<Result<_, _>>()?;
        Ok(keys)
    }

    /// A key's value, unsealed; `None` when there is no such key.
    ///
    /// # Errors
    /// [`StoreError::Seal`] when the seal key is another than the one it was sealed with.
    pub fn api_key_value(&self, id: &ApiKeyId) -> Result<Option<SecretText>, StoreError> {
        let sealed: Option<Vec<u8>> = {
            let connection = self.connection();
            let mut select = connection.prepare_cached("SELECT sealed_value FROM api_key WHERE id = ?1")?;
            select.query_row([&id.0], |row| row.get(0)).optional()?
        };
        Ok(sealed.map(|sealed| self.seal_key.open(&sealed, &id.0)).transpose()?)
    }

    /// Enables or disables a key. Returns whether there was one.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn set_api_key_enabled(&self, id: &ApiKeyId, enabled: bool, now: i64) -> Result<bool, StoreError> {
        let sql = "UPDATE api_key SET enabled = ?2, updated_at = ?3 WHERE id = ?1";
        Ok(self.connection().execute(sql, (&id.0, enabled, now))? == 1)
    }
}

fn api_key(row: &Row<'_>) -> rusqlite::Result<ApiKey> {
    Ok(ApiKey {
        id: ApiKeyId(row.get(0)?),
        name: row.get(1)?,
        digest: KeyDigest(row.get(2)?),
        hint: row.get(3)?,
        enabled: row.get(4)?,
        created_at: row.get(5)?,
        updated_at: row.get(6)?,
    })
}
