//! The database itself: opening, migrations, and the record of what was seeded.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _};

use crate::fleet::{FleetError, Member};
use crate::seal::{SealError, SealKey};

/// Each step takes the schema from its index to the next version; a step that has shipped is never changed.
const MIGRATIONS: &[&str] = &[
    include_str!("schema.sql"),
    include_str!("schema_2.sql"),
    include_str!("schema_3.sql"),
    include_str!("schema_4.sql"),
    include_str!("schema_5.sql"),
    include_str!("schema_6.sql"),
    include_str!("schema_7.sql"),
    include_str!("schema_8.sql"),
    include_str!("schema_9.sql"),
    include_str!("schema_10.sql"),
];
/// Only a person's own tool may hold the database for a moment; this process is its one user.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Why the store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be opened.
    #[error("failed to open the database {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// SQLite's reason.
        source: rusqlite::Error,
    },
    /// The database was written by a newer version of this program.
    #[error("the database {} has schema version {found}, newer than this program's {known}: use the newer frontdesk, or another --data-dir", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// The version found.
        found: usize,
        /// The version that this program knows.
        known: usize,
    },
    /// A statement failed.
    #[error("the database refused an operation")]
    Sql(#[from] rusqlite::Error),
    /// A secret cannot be sealed or opened.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// A stored document does not have the form that this program gives it.
    #[error("the database holds a document that cannot be read")]
    Document(#[source] serde_json::Error),
    /// The fleet's database could not do its part; nothing was changed.
    #[error(transparent)]
    Fleet(#[from] FleetError),
    /// A name or value is taken.
    #[error("{what} exists already")]
    Exists {
        /// What exists.
        what: String,
    },
}

/// The kinds of resource that `up` makes from its settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seeded {
    /// The REST API.
    RestApi,
    /// Not an id: the settings that the REST API was last brought to.
    RestApiSettings,
    /// The usage plan.
    UsagePlan,
    /// Not an id: the settings that the usage plan was last brought to.
    UsagePlanSettings,
    /// The agent runtime.
    AgentRuntime,
    /// The first API key.
    ApiKey,
    /// Not seeded: the ARN of the role that API Gateway's account settings name; empty where it was taken away.
    AccountLogRole,
}

impl Seeded {
    fn kind(self) -> &'static str {
        match self {
            Seeded::RestApi => "rest_api",
            Seeded::RestApiSettings => "rest_api_settings",
            Seeded::UsagePlan => "usage_plan",
            Seeded::UsagePlanSettings => "usage_plan_settings",
            Seeded::AgentRuntime => "agent_runtime",
            Seeded::ApiKey => "api_key",
            Seeded::AccountLogRole => "account_log_role",
        }
    }
}

/// The open database. One connection behind a lock: nothing on the way of a request waits for it.
#[derive(Debug)]
pub struct Store {
    connection: Mutex<Connection>,
    pub(crate) seal_key: SealKey,
    /// Nothing for a host that is alone.
    pub(crate) fleet: OnceLock<Member>,
}

impl Store {
    /// Opens the database, making it where it is missing, and brings its schema up to date.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn open(path: &Path, seal_key: SealKey) -> Result<Store, StoreError> {
        let fail = |source| StoreError::Open { path: path.to_owned(), source };
        let mut connection = Connection::open(path).map_err(fail)?;
        connection.busy_timeout(BUSY_TIMEOUT).map_err(fail)?;
        // In WAL mode a commit is safe against a killed process at once, and with FULL against a power cut too.
        connection.pragma_update(None, "journal_mode", "WAL").map_err(fail)?;
        connection.pragma_update(None, "synchronous", "FULL").map_err(fail)?;
        // Not before the schema is what it should be: a table that is made again would take what refers to it along.
        connection.pragma_update(None, "foreign_keys", false).map_err(fail)?;
        migrate(&mut connection, path)?;
        connection.pragma_update(None, "foreign_keys", true).map_err(fail)?;
        Ok(Store { connection: Mutex::new(connection), seal_key, fleet: OnceLock::new() })
    }

    pub(crate) fn connection(&self) -> MutexGuard<'_, Connection> {
        // A panic inside a transaction rolls it back, so the connection is sound.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The keys derived from the seal key.
    #[must_use]
    pub fn seal_key(&self) -> &SealKey {
        &self.seal_key
    }

    /// The id of what was seeded, if it was.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn seeded(&self, what: Seeded) -> Result<Option<String>, StoreError> {
        let connection = self.connection();
        let mut select = connection.prepare_cached("SELECT id FROM seeded WHERE kind = ?1")?;
        Ok(select.query_row([what.kind()], |row| row.get(0)).optional()?)
    }

    /// Records the id of what was seeded.
    ///
    /// # Errors
    /// [`StoreError::Sql`], [`StoreError::Fleet`].
    pub fn record_seeded(&self, what: Seeded, id: &str) -> Result<(), StoreError> {
        let sql = "INSERT INTO seeded (kind, id) VALUES (?1, ?2) ON CONFLICT (kind) DO UPDATE SET id = excluded.id";
        self.change(|transaction| {
            transaction.execute(sql, (what.kind(), id))?;
            Ok(())
        })
    }

    /// Records the id of what was seeded, unless another host of the fleet did so first. Returns the id that counts.
    ///
    /// # Errors
    /// [`StoreError::Sql`], [`StoreError::Fleet`].
    pub fn record_seeded_first(&self, what: Seeded, id: &str) -> Result<String, StoreError> {
        self.change(|transaction| {
            transaction.execute("INSERT INTO seeded (kind, id) VALUES (?1, ?2) ON CONFLICT (kind) DO NOTHING", (what.kind(), id))?;
            Ok(transaction.query_row("SELECT id FROM seeded WHERE kind = ?1", [what.kind()], |row| row.get(0))?)
        })
    }
}

fn migrate(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let version = connection
        .pragma_query_value(None, "user_version", |row| row.get::<_, u32>(0))
        .map_err(|source| StoreError::Open { path: path.to_owned(), source })?;
    let version = version as usize;
    if version > MIGRATIONS.len() {
        return Err(StoreError::Newer { path: path.to_owned(), found: version, known: MIGRATIONS.len() });
    }
    for (reached, step) in (1_u32..).zip(MIGRATIONS).skip(version) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "user_version", reached)?;
        transaction.commit()?;
    }
    Ok(())
}

/// Turns SQLite's "unique" into a sentence about the thing.
pub(crate) fn exists_already(error: rusqlite::Error, what: impl FnOnce() -> String) -> StoreError {
    match &error {
        rusqlite::Error::SqliteFailure(failure, _) if failure.code == rusqlite::ErrorCode::ConstraintViolation => {
            StoreError::Exists { what: what() }
        }
        _ => StoreError::Sql(error),
    }
}
