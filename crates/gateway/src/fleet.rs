//! This host's part in its fleet, behind the requests' back: leases fetched and given back, counts told, and other hosts' changes taken over.
//!
//! Two loops with a connection each, so that a change of 100,000 keys holds up no lease. Neither ends because the fleet's database is away; they say so once,
//! try again, and say that it is back.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use frontdesk_store::{ApiKeyId, FleetAddress, FleetConnection, FleetError, LeaseAsk, Leased, StoreError, UsagePlanId};
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use crate::keys::{KeyService, first_that_counts};
use crate::lease::{self, LeaseDesk};
use crate::meter::Meter;
use crate::quota::day_of;

/// How often counts are told, leases without requests given back, and changes looked for that nobody told of.
const PERIOD: Duration = Duration::from_secs(1);
/// After a failure, the first wait and the longest.
const RETRY_WAITS: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(2)];

/// This host in its fleet.
#[derive(Debug)]
pub struct Fleet {
    keys: Arc<KeyService>,
    desk: Arc<LeaseDesk>,
    connected: Gauge,
    address: FleetAddress,
    host_id: String,
}

impl Fleet {
    /// The part of the host whose store has joined a fleet; `None` for one that is alone. `connected` is 1 while the fleet's database answers.
    #[must_use]
    pub fn new(keys: Arc<KeyService>, connected: Gauge) -> Option<Fleet> {
        let desk = keys.desk()?.clone();
        let (address, host_id) = keys.store().fleet().map(|(address, host_id)| (address.clone(), host_id.to_owned()))?;
        Some(Fleet { keys, desk, connected, address, host_id })
    }

    /// 1 while the fleet's database answers, else 0.
    #[must_use]
    pub fn connected(&self) -> &Gauge {
        &self.connected
    }

    /// Plays it until `shutdown` ends; then leases are given back and the last counts told.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let (end, ends) = watch::channel(false);
        let replica = replicate(self.keys.clone(), self.address.clone(), ends.clone());
        let leases = Leases { fleet: self, held: HashMap::new(), resting: Vec::new(), has_caught_up: false };
        let shutdown = async {
            shutdown.await;
            let _ = end.send(true);
        };
        tokio::join!(shutdown, leases.run(ends), replica);
    }
}

/// A meter that holds more than it used.
#[derive(Debug)]
struct Held {
    meter: Arc<Meter>,
    /// At the last look; `None` before the first.
    used: Option<u64>,
}

/// The loop of leases and counts.
struct Leases {
    fleet: Fleet,
    held: HashMap<(UsagePlanId, ApiKeyId), Held>,
    /// Meters that were told that nothing is left. They may ask again after the period: another host may have given something back.
    resting: Vec<Arc<Meter>>,
    /// Whether counts of earlier runs were told.
    has_caught_up: bool,
}

impl Leases {
    async fn run(mut self, mut ends: watch::Receiver<bool>) {
        let mut is_first_failure = true;
        let [mut wait, longest] = RETRY_WAITS;
        loop {
            let mut has_served = false;
            match self.serve(&mut ends, &mut has_served).await {
                Ok(()) => return,
                Err(reason) => {
                    self.set_connected(false);
                    is_first_failure |= has_served;
                    if std::mem::take(&mut is_first_failure) {
                        let standing = self.fleet.desk.standing();
                        tracing::warn!(error = &reason as &dyn std::error::Error, ?standing, "the fleet's database is away");
                    }
                }
            }
            wait = if has_served { RETRY_WAITS[0] } else { (wait * 2).min(longest) };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = ended(&mut ends) => return,
            }
        }
    }

    /// Serves on one connection until the end, which is `Ok`, or until it fails.
    async fn serve(&mut self, ends: &mut watch::Receiver<bool>, has_served: &mut bool) -> Result<(), FleetError> {
        let mut connection = tokio::select! {
            opened = FleetConnection::open(&self.fleet.address) => opened?,
            () = ended(ends) => return Ok(()),
        };
        connection.claim(&self.fleet.host_id).await?;
        self.catch_up(&connection).await?;
        self.look_around(&connection).await?;
        self.set_connected(true);
        *has_served = true;
        let mut period = tokio::time::interval(PERIOD);
        period.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.fleet.desk.asked() => self.refill(&connection).await?,
                _ = period.tick() => self.look_around(&connection).await?,
                // It listens to nothing, so all that it is told is its end.
                gone = connection.changed() => gone?,
                () = ended(ends) => {
                    if let Err(reason) = self.part(&connection).await {
                        tracing::warn!(error = &reason as &dyn std::error::Error, "leases could not be given back");
                    }
                    return Ok(());
                }
            }
        }
    }

    fn set_connected(&self, is_connected: bool) {
        if is_connected && self.fleet.connected.get() == 0 {
            tracing::info!(host = self.fleet.host_id, "connected with the fleet's database");
        }
        self.fleet.connected.set(i64::from(is_connected));
        self.fleet.desk.set_leasing(is_connected);
    }

    /// Fetches slices for the meters that asked.
    async fn refill(&mut self, connection: &FleetConnection) -> Result<(), FleetError> {
        let meters = self.fleet.desk.take();
        let today = today();
        let asks: Vec<LeaseAsk> = meters.iter().filter_map(|meter| meter.lease_ask(true, today)).collect();
        let leased = match self.lease(connection, &asks).await {
            Ok(leased) => leased,
            Err(reason) => {
                // Asked again once there is somebody to ask.
                meters.iter().for_each(|meter| self.fleet.desk.ask(meter));
                return Err(reason);
            }
        };
        for ((meter, ask), leased) in meters.into_iter().zip(&asks).zip(leased) {
            meter.take_lease(ask.first_day, leased);
            if leased.granted > ask.used {
                meter.end_asking();
                self.held.insert((ask.plan_id.clone(), ask.key_id.clone()), Held { meter, used: None });
            } else {
                self.resting.push(meter);
            }
        }
        Ok(())
    }

    /// What is done each period: the other hosts counted, what nobody uses given back, counts told.
    async fn look_around(&mut self, connection: &FleetConnection) -> Result<(), FleetError> {
        self.fleet.desk.set_hosts(connection.beat(&self.fleet.host_id).await?);
        self.resting.drain(..).for_each(|meter| meter.end_asking());
        let today = today();
        let mut idle = Vec::new();
        self.held.retain(|_, held| {
            let used = Some(held.meter.used_in_period(today));
            let is_idle = used == held.used;
            held.used = used;
            if is_idle {
                idle.push(held.meter.clone());
            }
            !is_idle
        });
        self.give_back(connection, idle, today).await?;
        self.tell_counts(connection).await
    }

    async fn give_back(&self, connection: &FleetConnection, meters: Vec<Arc<Meter>>, today: u32) -> Result<(), FleetError> {
        // First here, then there: what is counted from now on is beyond the lease, and asks for a new one.
        let asks: Vec<LeaseAsk> = meters.iter().filter_map(|meter| meter.give_back_lease(today)).collect();
        for ((meter, ask), leased) in meters.iter().zip(&asks).zip(self.lease(connection, &asks).await?) {
            meter.take_lease(ask.first_day, leased);
        }
        Ok(())
    }

    async fn lease(&self, connection: &FleetConnection, asks: &[LeaseAsk]) -> Result<Vec<Leased>, FleetError> {
        if asks.is_empty() {
            return Ok(Vec::new());
        }
        let hosts = self.fleet.desk.hosts();
        let grant = |ask: &LeaseAsk, others| lease::grant(ask.used, others, ask.limit, ask.wants_more, hosts);
        connection.lease(&self.fleet.host_id, asks, grant).await
    }

    async fn tell_counts(&self, connection: &FleetConnection) -> Result<(), FleetError> {
        let (counts, actors) = self.fleet.keys.take_untold();
        let told = connection.write_usage(&self.fleet.host_id, &counts, &actors).await;
        if told.is_err() {
            self.fleet.keys.tell(counts, actors);
        }
        told
    }

    /// Tells what earlier runs used and counted and could not tell any more; for the fleet's first host, what it did alone.
    async fn catch_up(&mut self, connection: &FleetConnection) -> Result<(), FleetError> {
        if self.has_caught_up {
            return Ok(());
        }
        let since = connection.last_counted_day(&self.fleet.host_id).await?.unwrap_or(0);
        let (store, today) = (self.fleet.keys.store().clone(), today());
        let stored = blocking(move || Ok((store.usage_between(since, today)?, store.actor_usage_between(since, today)?))).await;
        let (counts, actors) = stored.map_err(|error| FleetError::Malformed(error.to_string()))?;
        connection.write_usage(&self.fleet.host_id, &counts, &actors).await?;
        let used = self.fleet.keys.meters().into_iter().filter(|meter| meter.used_in_period(today) > 0).collect();
        self.give_back(connection, used, today).await?;
        self.has_caught_up = true;
        Ok(())
    }

    /// The end: nothing stays behind that another host could use.
    async fn part(&mut self, connection: &FleetConnection) -> Result<(), FleetError> {
        let today = today();
        let held = self.held.drain().map(|(_, held)| held.meter).collect();
        self.give_back(connection, held, today).await?;
        self.tell_counts(connection).await?;
        connection.leave(&self.fleet.host_id, first_that_counts(today)).await
    }
}

/// The loop of changes: takes over what other hosts changed, as soon as it is told or a period later.
async fn replicate(keys: Arc<KeyService>, address: FleetAddress, mut ends: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            Err(reason) = follow(&keys, &address) => {
                if !matches!(&reason, StoreError::Fleet(reason) if reason.is_outage()) {
                    tracing::error!(error = &reason as &dyn std::error::Error, "other hosts' changes cannot be taken over; trying again");
                }
            }
            () = ended(&mut ends) => return,
        }
        tokio::select! {
            () = tokio::time::sleep(PERIOD) => {}
            () = ended(&mut ends) => return,
        }
    }
}

async fn follow(keys: &Arc<KeyService>, address: &FleetAddress) -> Result<std::convert::Infallible, StoreError> {
    let mut connection = FleetConnection::open(address).await?;
    connection.listen().await?;
    let mut period = tokio::time::interval(PERIOD);
    period.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        take_over(keys, &connection).await?;
        tokio::select! {
            told = connection.changed() => told?,
            _ = period.tick() => {}
        }
    }
}

async fn take_over(keys: &Arc<KeyService>, connection: &FleetConnection) -> Result<(), StoreError> {
    let store = keys.store().clone();
    let seen = blocking(move || store.fleet_revision()).await?;
    let news = connection.news_since(seen).await?;
    if !news.is_empty() {
        let store = keys.store().clone();
        let taken = blocking(move || store.take_over(&news)).await;
        // Two rows that traded a name cannot be put in place one after the other; all of them anew can.
        if matches!(taken, Err(StoreError::Sql(_))) {
            let (store, all) = (keys.store().clone(), connection.everything().await?);
            blocking(move || store.take_over(&all)).await?;
        } else {
            taken?;
        }
    }
    // Also a change of this host's own may have brought others' with it.
    if keys.store().has_fleet_news() {
        let keys = keys.clone();
        blocking(move || keys.reload(now_unix())).await?;
    }
    Ok(())
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, StoreError> + Send + 'static) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work).await.expect("the store does not panic, and the runtime outlives its loops")
}

async fn ended(ends: &mut watch::Receiver<bool>) {
    let _ = ends.wait_for(|ended| *ended).await;
}

fn today() -> u32 {
    day_of(now_unix())
}

#[expect(clippy::disallowed_methods, reason = "this is the edge where the loops' moment is read")]
fn now_unix() -> i64 {
    time::OffsetDateTime::now_utc().unix_timestamp()
}
