//! What the hosts of a fleet share, in one PostgreSQL database: keys, plans, quotas and counts.
//!
//! PostgreSQL has the truth; each host's own database holds a replica of keys and plans, which everything else goes on reading. A change is made in both or
//! in neither, the fleet's first ([`Store::join_fleet`] tells how a host comes in). Why PostgreSQL and not Valkey: what was sold must not be forgotten, a
//! change touches several rows at once, and quotas are handed out in slices, so that the counters' traffic is small enough for a database that flushes.
//!
//! Unlike the rest of this crate, a [`FleetConnection`] is awaited. Each of its calls ends within a time limit; one that fails leaves the connection unfit,
//! and its owner opens another.

mod address;
mod change;
mod connection;
mod counts;
mod rows;
mod tls;

pub use address::FleetAddress;
pub use change::Joined;
pub(crate) use change::Member;
pub use connection::{FleetConnection, FleetNews};
pub use counts::{LeaseAsk, Leased};

#[cfg(doc)]
use crate::database::Store;

/// Why the fleet's database could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// The address cannot be used; the text says why and repeats nothing of it.
    #[error("the fleet's database (fleet.url) cannot be used: {0}")]
    Address(String),
    /// There is no connection.
    #[error("the fleet's database cannot be reached")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It does not answer.
    #[error("the fleet's database does not answer")]
    Silent,
    /// It answered that it would not.
    #[error("the fleet's database refused an operation")]
    Refused(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// What stands in it cannot be read.
    #[error("the fleet's database holds what cannot be read: {0}")]
    Malformed(String),
    /// Its secrets were sealed by another key.
    #[error(
        "this host's seal key is not the fleet's: give every host of a fleet the first host's (the file `seal-key` in its data folder) by seal_key_file or \
         FRONTDESK_SEAL_KEY"
    )]
    OtherSealKey,
    /// This data folder is another fleet's.
    #[error("this data folder belongs to another fleet than the one at fleet.url: use another --data-dir, or correct fleet.url")]
    OtherFleet,
    /// This data folder has keys that the fleet does not know.
    #[error(
        "this data folder has keys and plans of its own, and the fleet at fleet.url has others: a host joins with an empty data folder (--data-dir), or is \
         the first of its fleet"
    )]
    KeysOfItsOwn,
    /// Another process counts under this host's name.
    #[error(
        "another process is this host in the fleet: if the data folder was copied, start the copy with an empty one, or what both count is counted once"
    )]
    HostTwice,
    /// A newer program made the fleet.
    #[error("the fleet's database has schema version {found}, newer than this program's {known}: use the newer frontdesk")]
    Newer {
        /// The version found.
        found: i32,
        /// The version that this program knows.
        known: i32,
    },
}

impl FleetError {
    /// Whether it is nobody's mistake and may pass by itself.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        matches!(self, FleetError::Unreachable(_) | FleetError::Silent)
    }
}

impl From<tokio_postgres::Error> for FleetError {
    fn from(error: tokio_postgres::Error) -> Self {
        use tokio_postgres::error::SqlState;
        let passing = [
            SqlState::ADMIN_SHUTDOWN,
            SqlState::CANNOT_CONNECT_NOW,
            SqlState::CRASH_SHUTDOWN,
            SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
            SqlState::LOCK_NOT_AVAILABLE,
            SqlState::QUERY_CANCELED,
            SqlState::TOO_MANY_CONNECTIONS,
        ];
        match error.code() {
            Some(code) if !passing.contains(code) => FleetError::Refused(Box::new(error)),
            _ => FleetError::Unreachable(Box::new(error)),
        }
    }
}
