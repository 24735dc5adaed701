//! How a host joins its fleet, and how a change becomes the whole fleet's.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rusqlite::{Connection, Transaction};

use super::connection::{FleetConnection, FleetNews};
use super::rows::{self, Membership};
use super::{FleetAddress, FleetError};
use crate::database::{Store, StoreError};
use crate::usage::{ActorCount, UsageCount};

/// Who makes a change waits for it, as requests do not; and a busy database is no reason to refuse one.
const PATIENCE: Duration = Duration::from_secs(5);

/// What this host is in its fleet.
#[derive(Debug)]
pub(crate) struct Member {
    address: FleetAddress,
    fleet_id: String,
    host_id: String,
    /// Whether rows of other hosts came in that nobody has looked at yet.
    has_news: AtomicBool,
}

/// How a host came into its fleet.
#[derive(Debug)]
pub enum Joined {
    /// The fleet's database answered, and the replica is as it is.
    Reached,
    /// It did not; the replica is as it was.
    FromReplica(FleetError),
}

impl Store {
    /// Makes this host one of the fleet at `address`. The first host founds the fleet with what it has; a host with an empty database takes over what is
    /// there; a host that was in it before brings its replica up to date, or, while the database is away and if `may_start_alone`, goes on with it as it was.
    /// Blocks for some seconds at most.
    ///
    /// # Errors
    /// [`StoreError::Fleet`] for a host that does not belong there, or cannot find out.
    ///
    /// # Panics
    /// When it is called twice.
    pub fn join_fleet(&self, address: FleetAddress, new_host_id: String, may_start_alone: bool) -> Result<Joined, StoreError> {
        let mut connection = self.connection();
        rows::watch(&connection)?;
        let known = rows::membership(&connection)?;
        let fingerprint = self.seal_key.fingerprint();
        let own: &mut Connection = &mut connection;
        let joining = await_on_a_thread(|| join(&address, own, known.clone(), &new_host_id, &fingerprint));
        let (joined, Membership { fleet_id, host_id, .. }) = match (joining, known) {
            (Ok(membership), _) => (Joined::Reached, membership),
            (Err(StoreError::Fleet(reason)), Some(known)) if reason.is_outage() && may_start_alone => (Joined::FromReplica(reason), known),
            (Err(error), _) => return Err(error),
        };
        let member = Member { address, fleet_id, host_id, has_news: AtomicBool::new(false) };
        assert!(self.fleet.set(member).is_ok(), "a host joins one fleet once");
        Ok(joined)
    }

    /// The fleet's database, and this host's id in the fleet; `None` for a host that is alone.
    #[must_use]
    pub fn fleet(&self) -> Option<(&FleetAddress, &str)> {
        self.fleet.get().map(|member| (&member.address, member.host_id.as_str()))
    }

    /// The change up to which the replica is complete.
    ///
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn fleet_revision(&self) -> Result<i64, StoreError> {
        Ok(rows::membership(&self.connection())?.map_or(0, |membership| membership.revision))
    }

    /// Takes over what other hosts changed.
    ///
    /// # Errors
    /// [`StoreError::Fleet`] when the news are another fleet's.
    pub fn take_over(&self, news: &FleetNews) -> Result<(), StoreError> {
        let Some(member) = self.fleet.get() else { return Ok(()) };
        if news.fleet_id != member.fleet_id {
            return Err(FleetError::OtherFleet.into());
        }
        let mut connection = self.connection();
        let transaction = connection.transaction()?;
        let seen = rows::membership(&transaction)?.map_or(0, |membership| membership.revision);
        // A change of this host's own may have taken them over already, and more.
        if news.revision > seen || news.is_whole {
            rows::apply(&transaction, &news.rows, news.is_whole)?;
            rows::set_revision(&transaction, news.revision)?;
            transaction.commit()?;
            member.has_news.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// Whether other hosts' changes came in since the last call.
    pub fn has_fleet_news(&self) -> bool {
        self.fleet.get().is_some_and(|member| member.has_news.swap(false, Ordering::AcqRel))
    }

    /// What the other hosts of the fleet counted on the days from `first` to `last`; nothing for a host that is alone.
    ///
    /// # Errors
    /// [`StoreError::Fleet`].
    pub fn usage_of_other_hosts(&self, first: u32, last: u32) -> Result<(Vec<UsageCount>, Vec<ActorCount>), StoreError> {
        let Some(member) = self.fleet.get() else { return Ok(Default::default()) };
        await_on_a_thread(|| async {
            let shared = FleetConnection::open_for(&member.address, PATIENCE).await?;
            Ok(shared.usage_of_others(&member.host_id, first, last).await?)
        })
    }

    /// Makes a change of keys, plans or seeded ids: here, and in a fleet in its database first. It is made in both or in neither.
    pub(crate) fn change<T: Send>(&self, work: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError> + Send) -> Result<T, StoreError> {
        let mut connection = self.connection();
        let Some(member) = self.fleet.get() else {
            let transaction = connection.transaction()?;
            let done = work(&transaction)?;
            transaction.commit()?;
            return Ok(done);
        };
        let connection = &mut *connection;
        await_on_a_thread(|| change_in_fleet(member, connection, work))
    }
}

async fn join(
    address: &FleetAddress,
    connection: &mut Connection,
    known: Option<Membership>,
    new_host_id: &str,
    fingerprint: &str,
) -> Result<Membership, StoreError> {
    let shared = FleetConnection::open_for(address, PATIENCE).await?;
    shared.make_schema().await?;
    let fleet = shared.begin_change().await?;
    let transaction = connection.transaction()?;
    let host_id = known.as_ref().map_or_else(|| new_host_id.to_owned(), |known| known.host_id.clone());
    let membership = match fleet {
        None => {
            let fleet_id = known.map_or_else(|| new_host_id.to_owned(), |known| known.fleet_id);
            let revision = shared.found(&fleet_id, fingerprint).await?;
            shared.put_rows(&rows::all(&transaction)?, revision).await?;
            shared.commit().await?;
            Membership { fleet_id, host_id, revision }
        }
        Some(fleet) if fleet.seal_fingerprint != fingerprint => return Err(FleetError::OtherSealKey.into()),
        Some(fleet) => {
            match &known {
                Some(known) if known.fleet_id != fleet.id => return Err(FleetError::OtherFleet.into()),
                None if !rows::all(&transaction)?.is_empty() => return Err(FleetError::KeysOfItsOwn.into()),
                _ => {}
            }
            // Everything, not what changed since: whatever happened to either side while this host was away ends here.
            let all = shared.rows_since(None).await?;
            // The others need not wait while 100,000 keys are written here.
            shared.commit().await?;
            rows::apply(&transaction, &all, true)?;
            Membership { fleet_id: fleet.id, host_id, revision: fleet.revision }
        }
    };
    rows::put_membership(&transaction, &membership)?;
    transaction.commit()?;
    Ok(membership)
}

async fn change_in_fleet<T>(
    member: &Member,
    connection: &mut Connection,
    work: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let shared = FleetConnection::open_for(&member.address, PATIENCE).await?;
    let fleet = shared.begin_change().await?.filter(|fleet| fleet.id == member.fleet_id).ok_or(FleetError::OtherFleet)?;
    let transaction = connection.transaction()?;
    // What others changed comes first, so that this change is judged (a name that is taken, a value that is known) by what the fleet has.
    let seen = rows::membership(&transaction)?.map_or(0, |membership| membership.revision);
    let is_whole = fleet.revision < seen;
    let news = if fleet.revision == seen { Vec::new() } else { shared.rows_since((!is_whole).then_some(seen)).await? };
    rows::apply(&transaction, &news, is_whole)?;
    let done = work(&transaction)?;
    let touched = rows::take_touched(&transaction)?;
    let revision = if touched.is_empty() { fleet.revision } else { fleet.revision + 1 };
    if !touched.is_empty() {
        shared.put_rows(&touched, revision).await?;
    }
    rows::set_revision(&transaction, revision)?;
    // Should the answer to this be lost, the change is made or not, and the next look at the fleet's revision tells.
    shared.commit().await?;
    transaction.commit()?;
    if is_whole || !news.is_empty() {
        member.has_news.store(true, Ordering::Release);
    }
    Ok(done)
}

/// Waits for asynchronous work from a thread that may be anybody's: one that blocks by trade, or one of a runtime, where waiting for another runtime is
/// forbidden. The work gets a thread of its own for its short life.
fn await_on_a_thread<T: Send, F: Future<Output = Result<T, StoreError>>>(work: impl FnOnce() -> F + Send) -> Result<T, StoreError> {
    let run = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| FleetError::Unreachable(Box::new(error)))?;
        runtime.block_on(work())
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("fleet-change".to_owned()).spawn_scoped(scope, run);
        let thread = thread.map_err(|error| FleetError::Unreachable(Box::new(error)))?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
