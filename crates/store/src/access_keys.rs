//! Access keys of the host's own identities at rest.

use rusqlite::OptionalExtension as _;

use crate::database::{Store, StoreError};
use crate::seal::SecretText;

/// An access key with its secret.
#[derive(Debug, Clone)]
pub struct AccessKey {
    /// Its id, such as `AKIA…`.
    pub id: String,
    /// Whose it is: an ARN.
    pub principal: String,
    /// Its secret.
    pub secret: SecretText,
}

impl Store {
    /// The access key of a principal, if it has one.
    ///
    /// # Errors
    /// [`StoreError::Seal`] when the seal key is another than the one it was sealed with.
    pub fn access_key_of(&self, principal: &str) -> Result<Option<AccessKey>, StoreError> {
        let row: Option<(String, Vec<u8>)> = {
            let connection = self.connection();
            let mut select = connection.prepare_cached("SELECT id, sealed_secret FROM access_key WHERE principal = ?1")?;
            select.query_row([principal], |row| Ok((row.get(0)?, row.get(1)?))).optional()?
        };
        row.map(|(id, sealed)| {
            let secret = self.seal_key.open(&sealed, &id)?;
            Ok(AccessKey { id, principal: principal.to_owned(), secret })
        })
        .transpose()
    }

    /// Stores an access key.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn add_access_key(&self, key: &AccessKey, now: i64) -> Result<(), StoreError> {
        let sealed = self.seal_key.seal(key.secret.expose(), &key.id)?;
        let sql = "INSERT INTO access_key (id, principal, sealed_secret, created_at) VALUES (?1, ?2, ?3, ?4)";
        self.connection().execute(sql, (&key.id, &key.principal, sealed, now))?;
        Ok(())
    }
}
