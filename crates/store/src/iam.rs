//! Who can call, at rest: IAM's model (users, groups, roles, managed policies, access keys) and where it is kept.
//!
//! The names are IAM's (<https://docs.aws.amazon.com/IAM/latest/APIReference/API_Operations.html>). An identity is one JSON document, since it is always read and
//! written as a whole; policy documents in it are the texts that were given. Temporary credentials are not kept: their session token holds all there is to know.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::Transaction;
use serde::{Deserialize, Serialize};

use crate::database::{Store, StoreError, exists_already};
use crate::rest_apis::text;
use crate::seal::SecretText;

/// The kinds of identity that policies are attached to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IdentityKind {
    /// A person or a program with access keys of its own.
    User,
    /// Users that share policies.
    Group,
    /// Whoever may assume it.
    Role,
}

impl IdentityKind {
    /// `user`, `group` or `role`: as in ARNs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            IdentityKind::User => "user",
            IdentityKind::Group => "group",
            IdentityKind::Role => "role",
        }
    }
}

/// A user, group or role.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    /// Which it is.
    pub kind: IdentityKind,
    /// Its unique id, such as `AROA…`: another identity of the same name has another.
    pub id: String,
    /// Its name; no other of its kind has it in any case.
    pub name: String,
    /// `/`, or names between slashes.
    pub path: String,
    /// Unix seconds.
    pub created_at: i64,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// Policies that are its own, by name: documents.
    pub inline: BTreeMap<String, String>,
    /// Managed policies: ARNs, in the order in which they were attached.
    pub attached: Vec<String>,
    /// The managed policy that bounds what it may, by ARN.
    pub boundary: Option<String>,
    /// The groups that a user is in, by id.
    pub groups: BTreeSet<String>,
    /// What a role has besides.
    pub role: Option<RoleTerms>,
}

/// Who may be a role, and for how long.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RoleTerms {
    /// The trust policy's document.
    pub trust: String,
    /// What it is for.
    pub description: Option<String>,
    /// How long a session of it may be, in seconds.
    pub session_s_max: u32,
}

/// A managed policy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ManagedPolicy {
    /// Its unique id, `ANPA…`.
    pub id: String,
    /// Its name, which no other has in any case.
    pub name: String,
    /// `/`, or names between slashes.
    pub path: String,
    /// What it is for.
    pub description: Option<String>,
    /// Unix seconds.
    pub created_at: i64,
    /// Unix seconds, of the newest version.
    pub updated_at: i64,
    /// Its versions by number; there is at least one.
    pub versions: BTreeMap<u32, PolicyVersion>,
    /// The version that counts.
    pub default_version: u32,
    /// The number of the newest version that there ever was: a number is used once.
    pub newest_version: u32,
    /// Tags.
    pub tags: BTreeMap<String, String>,
}

/// One version of a managed policy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PolicyVersion {
    /// The document as it was given.
    pub document: String,
    /// Unix seconds.
    pub created_at: i64,
}

/// An access key of a user.
#[derive(Debug, Clone, PartialEq)]
pub struct UserAccessKey {
    /// `AKIA…`.
    pub id: String,
    /// The user's id.
    pub user_id: String,
    /// Its secret.
    pub secret: SecretText,
    /// Whether it opens anything.
    pub is_active: bool,
    /// Unix seconds.
    pub created_at: i64,
    /// When and for what it was used last.
    pub last_used: Option<KeyUse>,
}

/// A use of an access key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyUse {
    /// Unix seconds.
    pub at: i64,
    /// The service's name in signatures.
    pub service: String,
    /// The region of the signature.
    pub region: String,
}

/// A change of the identities.
#[derive(Debug, Clone)]
pub enum IdentityChange {
    /// Makes an identity or replaces what was known of it.
    PutIdentity(Identity),
    /// Deletes an identity by id, with its access keys.
    DeleteIdentity(String),
    /// Makes a managed policy or replaces what was known of it.
    PutPolicy(ManagedPolicy),
    /// Deletes a managed policy by id.
    DeletePolicy(String),
    /// Makes an access key or replaces what was known of it.
    PutAccessKey(UserAccessKey),
    /// Deletes an access key by id.
    DeleteAccessKey(String),
}

/// All that is kept of identities.
#[derive(Debug, Clone, Default)]
pub struct StoredIdentities {
    /// Users, groups and roles.
    pub identities: Vec<Identity>,
    /// Managed policies.
    pub policies: Vec<ManagedPolicy>,
    /// Access keys.
    pub access_keys: Vec<UserAccessKey>,
}

impl Store {
    /// All identities, policies and access keys, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Document`], and [`StoreError::Seal`] when the seal key is another than the one the secrets were sealed with.
    pub fn identities(&self) -> Result<StoredIdentities, StoreError> {
        let mut stored = StoredIdentities::default();
        let connection = self.connection();
        let mut select = connection.prepare_cached("SELECT definition FROM iam_identity ORDER BY created_at, id")?;
        for row in select.query_map([], |row| row.get::<_, String>(0))? {
            stored.identities.push(serde_json::from_str(&row?).map_err(StoreError::Document)?);
        }
        let mut select = connection.prepare_cached("SELECT definition FROM iam_policy ORDER BY created_at, id")?;
        for row in select.query_map([], |row| row.get::<_, String>(0))? {
            stored.policies.push(serde_json::from_str(&row?).map_err(StoreError::Document)?);
        }
        let sql = "SELECT id, user_id, sealed_secret, is_active, created_at, last_used FROM iam_access_key ORDER BY created_at, id";
        let mut select = connection.prepare_cached(sql)?;
        let rows = select.query_map([], |row| {
            let key = (row.get::<_, String>(0)?, row.get(1)?, row.get::<_, Vec<u8>>(2)?, row.get(3)?, row.get(4)?);
            Ok((key, row.get::<_, Option<String>>(5)?))
        })?;
        for row in rows {
            let ((id, user_id, sealed, is_active, created_at), last_used) = row?;
            let secret = self.seal_key.open(&sealed, &id)?;
            let last_used = last_used.map(|last_used| serde_json::from_str(&last_used)).transpose().map_err(StoreError::Document)?;
            stored.access_keys.push(UserAccessKey { id, user_id, secret, is_active, created_at, last_used });
        }
        Ok(stored)
    }

    /// Makes changes, all or none.
    ///
    /// # Errors
    /// [`StoreError::Exists`] when a name is taken.
    pub fn change_identities(&self, changes: &[IdentityChange]) -> Result<(), StoreError> {
        let mut connection = self.connection();
        let transaction = connection.transaction()?;
        for change in changes {
            self.change_identity(&transaction, change)?;
        }
        Ok(transaction.commit()?)
    }

    fn change_identity(&self, transaction: &Transaction<'_>, change: &IdentityChange) -> Result<(), StoreError> {
        match change {
            IdentityChange::PutIdentity(identity) => {
                let Identity { kind, id, name, created_at, .. } = identity;
                let sql = "INSERT INTO iam_identity (id, kind, name, created_at, definition) VALUES (?1, ?2, ?3, ?4, ?5)
                           ON CONFLICT (id) DO UPDATE SET name = excluded.name, definition = excluded.definition";
                let put = transaction.execute(sql, (id, kind.name(), name, created_at, text(identity)));
                put.map_err(|error| exists_already(error, || format!("a {} named {name}", kind.name())))?;
            }
            IdentityChange::DeleteIdentity(id) => {
                transaction.execute("DELETE FROM iam_identity WHERE id = ?1", [id])?;
            }
            IdentityChange::PutPolicy(policy) => {
                let ManagedPolicy { id, name, created_at, .. } = policy;
                let sql = "INSERT INTO iam_policy (id, name, created_at, definition) VALUES (?1, ?2, ?3, ?4)
                           ON CONFLICT (id) DO UPDATE SET definition = excluded.definition";
                let put = transaction.execute(sql, (id, name, created_at, text(policy)));
                put.map_err(|error| exists_already(error, || format!("a policy named {name}")))?;
            }
            IdentityChange::DeletePolicy(id) => {
                transaction.execute("DELETE FROM iam_policy WHERE id = ?1", [id])?;
            }
            IdentityChange::PutAccessKey(key) => {
                let UserAccessKey { id, user_id, secret, is_active, created_at, last_used } = key;
                let sealed = self.seal_key.seal(secret.expose(), id)?;
                let last_used = last_used.as_ref().map(text);
                let sql = "INSERT INTO iam_access_key (id, user_id, sealed_secret, is_active, created_at, last_used)
                           VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                           ON CONFLICT (id) DO UPDATE SET is_active = excluded.is_active, last_used = excluded.last_used";
                transaction.execute(sql, (id, user_id, sealed, is_active, created_at, last_used))?;
            }
            IdentityChange::DeleteAccessKey(id) => {
                transaction.execute("DELETE FROM iam_access_key WHERE id = ?1", [id])?;
            }
        }
        Ok(())
    }
}
