//! A host's share of a quota. Alone it has the whole; in a fleet it is handed slices, and counts against what it was handed, so that no request waits for
//! the database that hands out.
//!
//! All numbers are totals of a period, not differences: a host says how much it has used, and is told how much it may have used. An answer that was lost, or
//! given twice, does no harm.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::meter::{DatedCount, Meter};

/// What all hosts together may hold unused, and what they may count too much, in parts of a quota: one per cent.
const TOLERANCE: u64 = 100;
/// Small quotas are handed out in slices of this many, as long as there is plenty; one by one would be a refill for each request.
const SMALL_SLICE: u64 = 8;
/// A slice leaves each host this many of its like.
const SLICES_LEFT: u64 = 4;

/// What a host does about quotas while the fleet's database is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnOutage {
    /// It counts against the whole quota, less what the other hosts were last known to have.
    Open,
    /// It uses up what it was handed, and then turns away.
    Closed,
}

/// How the host stands to the fleet's database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Slices come.
    Leasing,
    /// None come.
    Outage(OnOutage),
}

/// What a host knows of a quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// The quota, with what was granted beyond it.
    pub limit: u64,
    /// Requests that this host may count, those that it has counted included.
    pub granted: u64,
    /// The same of all other hosts together, as it was at the last refill.
    pub others: u64,
}

/// Why a request is not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChargeRefused {
    /// The fleet's allowance is spent, as far as this host knows.
    Spent,
    /// This host's slice is spent, and the next is on its way.
    AwaitingLease,
    /// This host's slice is spent, and nobody can be asked for the next.
    NobodyToAsk,
}

impl Share {
    /// Requests that nobody was granted.
    #[must_use]
    pub fn unleased(self) -> u64 {
        self.limit.saturating_sub(self.others).saturating_sub(self.granted)
    }

    /// How many requests this host may have counted. While a refill is on its way that is a little more than it was granted, unless nothing is left to
    /// grant.
    #[must_use]
    pub fn ceiling(self, standing: Standing, hosts: u64) -> u64 {
        let ceiling = match standing {
            Standing::Leasing => self.granted.saturating_add(overdraft(self.limit, hosts).min(self.unleased())),
            Standing::Outage(OnOutage::Open) => self.limit.saturating_sub(self.others).max(self.granted),
            Standing::Outage(OnOutage::Closed) => self.granted,
        };
        ceiling.min(self.limit)
    }

    /// Why a host that has counted up to its ceiling turns a request away.
    #[must_use]
    pub fn refusal(self, standing: Standing, used: u64) -> ChargeRefused {
        let is_spent = used.max(self.granted).saturating_add(self.others) >= self.limit;
        match standing {
            Standing::Outage(OnOutage::Open) => ChargeRefused::Spent,
            _ if is_spent => ChargeRefused::Spent,
            Standing::Leasing => ChargeRefused::AwaitingLease,
            Standing::Outage(OnOutage::Closed) => ChargeRefused::NobodyToAsk,
        }
    }

    /// Whether it is time to ask: less than half a slice is left.
    #[must_use]
    pub fn is_low(self, used: u64, hosts: u64) -> bool {
        let held = self.granted.saturating_sub(used);
        let next = slice(self.limit, self.limit.saturating_sub(self.others).saturating_sub(used), hosts);
        held.saturating_mul(2) < next
    }
}

/// What a host that has used `used` is granted, when the others were granted `others`. What was used is granted in any case: it has happened.
#[must_use]
pub fn grant(used: u64, others: u64, limit: u64, wants_more: bool, hosts: u64) -> u64 {
    let left = limit.saturating_sub(others).saturating_sub(used);
    used.saturating_add(if wants_more { slice(limit, left, hosts).min(left) } else { 0 })
}

/// The size of a slice: the hosts' tolerance, and less when little is left, so that the last requests do not lie with a host that has no use for them.
fn slice(limit: u64, left: u64, hosts: u64) -> u64 {
    let hosts = hosts.max(1);
    let most = (limit / TOLERANCE / hosts).max(SMALL_SLICE);
    (left / (SLICES_LEFT * hosts)).clamp(1, most)
}

/// What a host may count beyond its slice while it waits for the next one. Never nothing: a key's first request on a host finds no slice there.
fn overdraft(limit: u64, hosts: u64) -> u64 {
    (limit / TOLERANCE / hosts.max(1)).max(1)
}

/// Where a host's meters ask for slices. One for all of them.
#[derive(Debug)]
pub struct LeaseDesk {
    on_outage: OnOutage,
    is_leasing: AtomicBool,
    hosts: AtomicU64,
    asking: Mutex<Vec<Arc<Meter>>>,
    bell: Notify,
}

impl LeaseDesk {
    /// A desk that hands out slices, or, with the fleet's database away, none.
    #[must_use]
    pub fn new(on_outage: OnOutage, is_leasing: bool) -> LeaseDesk {
        LeaseDesk {
            on_outage,
            is_leasing: AtomicBool::new(is_leasing),
            hosts: AtomicU64::new(1),
            asking: Mutex::default(),
            bell: Notify::new(),
        }
    }

    /// How the host stands to the fleet's database.
    #[must_use]
    pub fn standing(&self) -> Standing {
        if self.is_leasing.load(Ordering::Acquire) { Standing::Leasing } else { Standing::Outage(self.on_outage) }
    }

    pub(crate) fn set_leasing(&self, is_leasing: bool) {
        self.is_leasing.store(is_leasing, Ordering::Release);
    }

    pub(crate) fn hosts(&self) -> u64 {
        self.hosts.load(Ordering::Relaxed)
    }

    pub(crate) fn set_hosts(&self, hosts: u64) {
        self.hosts.store(hosts, Ordering::Relaxed);
    }

    /// Asks for a slice; whoever asked already need not.
    pub(crate) fn ask(&self, meter: &Arc<Meter>) {
        self.asking.lock().unwrap_or_else(PoisonError::into_inner).push(meter.clone());
        self.bell.notify_one();
    }

    /// Waits until somebody asks.
    pub(crate) async fn asked(&self) {
        self.bell.notified().await;
    }

    /// Who asked since the last call.
    pub(crate) fn take(&self) -> Vec<Arc<Meter>> {
        std::mem::take(&mut *self.asking.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What one meter was handed.
#[derive(Debug)]
pub(crate) struct Lease {
    pub(crate) desk: Arc<LeaseDesk>,
    granted: DatedCount,
    others: DatedCount,
    /// The quota of the last request.
    limit: AtomicU64,
    /// Whether it waits for an answer of the desk.
    is_asking: AtomicBool,
}

impl Lease {
    /// A lease on what was used before, and nothing more yet.
    pub(crate) fn new(desk: Arc<LeaseDesk>, first_day: u32, used: u64) -> Lease {
        let (granted, others) = (DatedCount::new(first_day, used), DatedCount::new(first_day, 0));
        Lease { desk, granted, others, limit: AtomicU64::new(0), is_asking: AtomicBool::new(false) }
    }

    /// What is known of a quota in a period.
    pub(crate) fn share(&self, limit: u64, first_day: u32) -> Share {
        Share { limit, granted: self.granted.on(first_day), others: self.others.on(first_day) }
    }

    /// The quota of the last request; nothing before the first, and without a quota.
    pub(crate) fn limit(&self) -> u64 {
        self.limit.load(Ordering::Relaxed)
    }

    pub(crate) fn set_limit(&self, limit: Option<u64>) {
        self.limit.store(limit.unwrap_or(0), Ordering::Relaxed);
    }

    pub(crate) fn others(&self, first_day: u32) -> u64 {
        self.others.on(first_day)
    }

    pub(crate) fn set(&self, first_day: u32, granted: u64, others: u64) {
        self.granted.set(first_day, granted);
        self.others.set(first_day, others);
    }

    /// Gives back what is held: from here on only what was used is granted.
    pub(crate) fn give_back(&self, first_day: u32, used: u64) {
        self.granted.set(first_day, used);
    }

    /// Claims the one place in the desk's list.
    pub(crate) fn begin_asking(&self) -> bool {
        !self.is_asking.swap(true, Ordering::AcqRel)
    }

    /// It was answered and may ask again.
    pub(crate) fn end_asking(&self) {
        self.is_asking.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a host may count at most, by what it knows.
    fn check(share: (u64, u64, u64), standing: Standing, expected: u64) {
        let (limit, granted, others) = share;
        assert_eq!(Share { limit, granted, others }.ceiling(standing, 2), expected, "limit, granted, others: {share:?}, {standing:?}");
    }

    #[test]
    fn a_host_counts_to_its_slice_and_a_little_further() {
        check((10_000, 300, 200), Standing::Leasing, 350);
        check((400, 30, 200), Standing::Leasing, 32);
        check((10, 0, 0), Standing::Leasing, 1);
        check((10_000, 300, 9_700), Standing::Leasing, 300);
        check((10_000, 300, 9_690), Standing::Leasing, 310);
        check((0, 0, 0), Standing::Leasing, 0);
        // The plan was made smaller.
        check((100, 300, 0), Standing::Leasing, 100);
    }

    #[test]
    fn an_outage_is_open_or_closed() {
        check((10_000, 300, 200), Standing::Outage(OnOutage::Open), 9_800);
        check((10_000, 300, 200), Standing::Outage(OnOutage::Closed), 300);
        let (share, used) = (Share { limit: 100, granted: 30, others: 20 }, 30);
        assert_eq!(share.refusal(Standing::Outage(OnOutage::Closed), used), ChargeRefused::NobodyToAsk);
        assert_eq!(share.refusal(Standing::Leasing, used), ChargeRefused::AwaitingLease);
        let spent = Share { others: 70, ..share };
        for standing in [Standing::Leasing, Standing::Outage(OnOutage::Open), Standing::Outage(OnOutage::Closed)] {
            assert_eq!(spent.refusal(standing, used), ChargeRefused::Spent);
        }
    }

    #[test]
    fn slices_are_small_against_the_quota_and_smaller_at_its_end() {
        assert_eq!([10_000, 200, 80, 8, 0].map(|left| slice(10_000, left, 2)), [50, 25, 10, 1, 1]);
        assert_eq!([400, 64, 16, 1].map(|left| slice(400, left, 2)), [8, 8, 2, 1]);
        assert_eq!(grant(10, 390, 400, true, 2), 10);
        assert_eq!(grant(12, 390, 400, true, 2), 12);
        assert_eq!(grant(10, 100, 400, false, 2), 10);
    }

    #[derive(Debug, Clone, Copy)]
    enum Step {
        Request { host: usize },
        Refill { host: usize },
        GiveBack { host: usize },
    }

    fn steps(hosts: usize) -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            6 => (0..hosts).prop_map(|host| Step::Request { host }),
            2 => (0..hosts).prop_map(|host| Step::Refill { host }),
            1 => (0..hosts).prop_map(|host| Step::GiveBack { host }),
        ];
        prop::collection::vec(step, 0..3_000)
    }

    #[derive(Debug, Clone, Copy, Default)]
    struct Host {
        used: u64,
        granted: u64,
        others: u64,
    }

    /// Hosts of a fleet, and what its database has of each.
    struct Fleet {
        limit: u64,
        hosts: Vec<Host>,
        granted: Vec<u64>,
    }

    impl Fleet {
        fn do_step(&mut self, step: Step) -> bool {
            let count = self.hosts.len() as u64;
            let (Step::Request { host } | Step::Refill { host } | Step::GiveBack { host }) = step;
            let others = self.granted.iter().sum::<u64>() - self.granted[host];
            let it = &mut self.hosts[host];
            match step {
                Step::Request { .. } => {
                    let share = Share { limit: self.limit, granted: it.granted, others: it.others };
                    let is_counted = it.used < share.ceiling(Standing::Leasing, count);
                    it.used += u64::from(is_counted);
                    return is_counted;
                }
                Step::Refill { .. } | Step::GiveBack { .. } => {
                    it.granted = grant(it.used, others, self.limit, matches!(step, Step::Refill { .. }), count);
                    it.others = others;
                    self.granted[host] = it.granted;
                }
            }
            true
        }

        fn used(&self) -> u64 {
            self.hosts.iter().map(|host| host.used).sum()
        }
    }

    proptest! {
        #[test]
        fn a_fleet_keeps_its_quota(
            limit in prop_oneof![0_u64..40, 0_u64..2_000],
            (hosts, steps) in (1_usize..5).prop_flat_map(|hosts| (Just(hosts), steps(hosts))),
        ) {
            let mut fleet = Fleet { limit, hosts: vec![Host::default(); hosts], granted: vec![0; hosts] };
            let most = limit + overdraft(limit, hosts as u64) * hosts as u64;
            for step in steps {
                fleet.do_step(step);
                prop_assert!(fleet.used() <= most, "{} of {limit}", fleet.used());
            }
            // Under load everywhere, nothing of it is left lying: each host uses what it has and asks for more until there is none.
            let mut is_idle = false;
            while !is_idle {
                is_idle = true;
                for host in 0..hosts {
                    fleet.do_step(Step::Refill { host });
                    while fleet.do_step(Step::Request { host }) {
                        is_idle = false;
                    }
                }
            }
            prop_assert!((limit..=most).contains(&fleet.used()), "{} of {limit}", fleet.used());
        }
    }
}
