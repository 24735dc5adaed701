//! One connection to the fleet's database: opening it, the schema, and the shared rows.

use std::future::Future;
use std::time::Duration;

use futures_util::future::poll_fn;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OnceCell, mpsc};
use tokio::task::JoinHandle;
use tokio_postgres::tls::NoTls;
use tokio_postgres::{AsyncMessage, Client, Connection, Statement};

use super::address::ANSWER_TIMEOUT;
use super::rows::SharedRow;
use super::tls::Tls;
use super::{FleetAddress, FleetError};

const SCHEMA: &str = include_str!("schema.sql");
const SCHEMA_VERSION: i32 = 1;
/// For calls that carry every key there may be; no request waits for them.
const BULK_TIMEOUT: Duration = Duration::from_secs(30);
/// The channel on which changes are told.
const CHANNEL: &str = "frontdesk_changes";
/// What every session begins with. A host that dies in the middle of a change must not keep the others from theirs, and a lock is waited for no longer than an
/// answer. A commit need not have reached the disk: leases and counts are sent again as whole numbers, and changes of keys ask for more (`begin_change`).
const SESSION: &str = "SET statement_timeout = '30s'; SET idle_in_transaction_session_timeout = '10s'; \
                       SET synchronous_commit = off; SET client_min_messages = warning; \
                       SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 2; SET tcp_keepalives_count = 3";
/// Held while the schema is made, so that two first hosts do not make it both; any number will do.
const SCHEMA_LOCK: i64 = 0x66_64_65_73_6b;

/// A connection to the fleet's database.
#[derive(Debug)]
pub struct FleetConnection {
    pub(super) client: Client,
    /// The two statements of a lease, prepared when first needed: leases are what is asked for most.
    pub(super) lease_statements: OnceCell<[Statement; 2]>,
    /// Something changed, or, at its end, the connection is gone.
    changes: mpsc::Receiver<()>,
    driver: JoinHandle<()>,
    /// How long a call may take.
    patience: Duration,
}

/// The fleet as its one row has it.
#[derive(Debug, Clone)]
pub(super) struct FleetRow {
    pub(super) id: String,
    pub(super) seal_fingerprint: String,
    pub(super) revision: i64,
}

/// What changed since a host last looked.
#[derive(Debug)]
pub struct FleetNews {
    pub(super) fleet_id: String,
    /// The change that they lead to.
    pub(super) revision: i64,
    pub(super) rows: Vec<SharedRow>,
    /// Whether these are all rows that there are.
    pub(super) is_whole: bool,
}

impl FleetNews {
    /// Whether the replica is as the fleet is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && !self.is_whole
    }
}

impl Drop for FleetConnection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl FleetConnection {
    /// Connects.
    ///
    /// # Errors
    /// [`FleetError::Unreachable`], [`FleetError::Silent`], or [`FleetError::Refused`] for a wrong password.
    pub async fn open(address: &FleetAddress) -> Result<FleetConnection, FleetError> {
        FleetConnection::open_for(address, ANSWER_TIMEOUT).await
    }

    /// As [`FleetConnection::open`], for calls that each may take this long.
    pub(super) async fn open_for(address: &FleetAddress, patience: Duration) -> Result<FleetConnection, FleetError> {
        let (told, changes) = mpsc::channel(1);
        let connecting = async {
            Ok(match &address.tls {
                Some(tls) => {
                    let (client, connection) = address.config.connect(Tls(tls.clone())).await?;
                    (client, tokio::spawn(drive(connection, told)))
                }
                None => {
                    let (client, connection) = address.config.connect(NoTls).await?;
                    (client, tokio::spawn(drive(connection, told)))
                }
            })
        };
        let (client, driver) = within(patience, connecting).await?;
        let connection = FleetConnection { client, lease_statements: OnceCell::new(), changes, driver, patience };
        let lock_timeout = format!("SET lock_timeout = {}; {SESSION}", patience.as_millis());
        connection.within(connection.client.batch_execute(&lock_timeout)).await?;
        Ok(connection)
    }

    /// From here on [`FleetConnection::changed`] hears of changes.
    ///
    /// # Errors
    /// See [`FleetError`].
    pub async fn listen(&self) -> Result<(), FleetError> {
        self.within(self.client.batch_execute(&format!("LISTEN {CHANNEL}"))).await
    }

    /// Waits for the next change of shared rows; several may be told as one. Losing the wait loses nothing.
    ///
    /// # Errors
    /// [`FleetError::Unreachable`] when the connection ends.
    pub async fn changed(&mut self) -> Result<(), FleetError> {
        self.changes.recv().await.ok_or_else(|| FleetError::Unreachable("the connection was closed".into()))
    }

    /// The rows that changed after a revision; all of them when the fleet is behind it, as after a restored backup.
    ///
    /// # Errors
    /// See [`FleetError`].
    pub async fn news_since(&self, seen: i64) -> Result<FleetNews, FleetError> {
        let fleet = self.fleet("").await?.ok_or(FleetError::OtherFleet)?;
        let is_whole = fleet.revision < seen;
        let rows = if fleet.revision == seen { Vec::new() } else { self.rows_since(if is_whole { None } else { Some(seen) }).await? };
        // Rows of a change that came in between are taken again with the next look, which does no harm.
        Ok(FleetNews { fleet_id: fleet.id, revision: fleet.revision, rows, is_whole })
    }

    /// All rows that there are, as news.
    ///
    /// # Errors
    /// See [`FleetError`].
    pub async fn everything(&self) -> Result<FleetNews, FleetError> {
        let fleet = self.fleet("").await?.ok_or(FleetError::OtherFleet)?;
        Ok(FleetNews { fleet_id: fleet.id, revision: fleet.revision, rows: self.rows_since(None).await?, is_whole: true })
    }

    /// Rows that changed after a revision, or all rows that are there.
    pub(super) async fn rows_since(&self, seen: Option<i64>) -> Result<Vec<SharedRow>, FleetError> {
        const SINCE: &str = "SELECT table_name, row_key, content FROM frontdesk.shared_row WHERE revision > $1";
        const ALL: &str = "SELECT table_name, row_key, content FROM frontdesk.shared_row WHERE content IS NOT NULL";
        let rows = match &seen {
            Some(seen) => within(BULK_TIMEOUT, self.client.query(SINCE, &[seen])).await?,
            None => within(BULK_TIMEOUT, self.client.query(ALL, &[])).await?,
        };
        Ok(rows.iter().map(|row| SharedRow { table: row.get(0), key: row.get(1), content: row.get(2) }).collect())
    }

    /// Makes the schema where it is missing.
    pub(super) async fn make_schema(&self) -> Result<(), FleetError> {
        let found = self.within(self.client.query_one("SELECT to_regclass('frontdesk.fleet') IS NOT NULL", &[])).await?;
        if !found.get::<_, bool>(0) {
            let sql = format!(
                "BEGIN; SELECT pg_advisory_xact_lock({SCHEMA_LOCK});
                 DO $make$ BEGIN IF to_regclass('frontdesk.fleet') IS NULL THEN {SCHEMA} END IF; END $make$;
                 COMMIT"
            );
            within(BULK_TIMEOUT, self.client.batch_execute(&sql)).await?;
        }
        Ok(())
    }

    /// Begins a change: until it ends no other host makes one, and what it wrote then is on the disk.
    pub(super) async fn begin_change(&self) -> Result<Option<FleetRow>, FleetError> {
        self.within(self.client.batch_execute("BEGIN; SET LOCAL synchronous_commit = on")).await?;
        // A lock that is there before the row is: two first hosts.
        self.within(self.client.execute("SELECT pg_advisory_xact_lock($1)", &[&SCHEMA_LOCK])).await?;
        self.fleet("FOR UPDATE").await
    }

    /// Writes rows as the next revision of a fleet, and tells the other hosts once the change is committed.
    pub(super) async fn put_rows(&self, rows: &[SharedRow], revision: i64) -> Result<(), FleetError> {
        let tables: Vec<&str> = rows.iter().map(|row| row.table.as_str()).collect();
        let keys: Vec<&str> = rows.iter().map(|row| row.key.as_str()).collect();
        let contents: Vec<Option<&str>> = rows.iter().map(|row| row.content.as_deref()).collect();
        let sql = "INSERT INTO frontdesk.shared_row (table_name, row_key, content, revision)
                   SELECT *, $4::bigint FROM unnest($1::text[], $2::text[], $3::text[])
                   ON CONFLICT (table_name, row_key) DO UPDATE SET content = excluded.content, revision = excluded.revision";
        within(BULK_TIMEOUT, self.client.execute(sql, &[&tables, &keys, &contents, &revision])).await?;
        self.within(self.client.execute("UPDATE frontdesk.fleet SET revision = $1", &[&revision])).await?;
        self.within(self.client.batch_execute(&format!("NOTIFY {CHANNEL}"))).await
    }

    /// Founds the fleet and returns its first revision: a time in milliseconds, so that a fleet founded anew is ahead of every replica of the one before.
    pub(super) async fn found(&self, id: &str, seal_fingerprint: &str) -> Result<i64, FleetError> {
        let sql = "INSERT INTO frontdesk.fleet (id, schema_version, seal_fingerprint, revision)
                   VALUES ($1, $2, $3, (extract(epoch FROM clock_timestamp()) * 1000)::bigint) RETURNING revision";
        let row = self.within(self.client.query_one(sql, &[&id, &SCHEMA_VERSION, &seal_fingerprint])).await?;
        Ok(row.get(0))
    }

    pub(super) async fn commit(&self) -> Result<(), FleetError> {
        within(BULK_TIMEOUT, self.client.batch_execute("COMMIT")).await
    }

    /// A call, within this connection's patience.
    pub(super) async fn within<T>(&self, call: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T, FleetError> {
        within(self.patience, call).await
    }

    /// The fleet's row; none when no host has founded it.
    async fn fleet(&self, lock: &str) -> Result<Option<FleetRow>, FleetError> {
        let sql = format!("SELECT id, schema_version, seal_fingerprint, revision FROM frontdesk.fleet {lock}");
        let Some(row) = self.within(self.client.query_opt(&sql, &[])).await? else { return Ok(None) };
        let found = row.get(1);
        if found > SCHEMA_VERSION {
            return Err(FleetError::Newer { found, known: SCHEMA_VERSION });
        }
        Ok(Some(FleetRow { id: row.get(0), seal_fingerprint: row.get(2), revision: row.get(3) }))
    }
}

/// Carries a connection's traffic to its end.
async fn drive<S, T>(mut connection: Connection<S, T>, told: mpsc::Sender<()>)
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
        if matches!(message, AsyncMessage::Notification(_)) {
            // A full channel says already that there is something to look for.
            let _ = told.try_send(());
        }
    }
}

/// Nothing waits for the fleet's database without an end.
async fn within<T>(limit: Duration, call: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T, FleetError> {
    match tokio::time::timeout(limit, call).await {
        Ok(answered) => Ok(answered?),
        Err(_) => Err(FleetError::Silent),
    }
}
