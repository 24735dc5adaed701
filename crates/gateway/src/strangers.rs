//! Callers who keep presenting wrong keys are answered later and later. A right key is never slowed, whoever shares its address.

use std::hash::{BuildHasher as _, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use frontdesk_store::Throttle;

use crate::throttle::TokenBucket;

/// Addresses share these places by their hash: memory stays the same however many knock. Who shares a place with a guesser waits with it, but only for a
/// wrong key.
const PLACES: usize = 4096;
/// Ten mistakes at once are a typing error and a retry; beyond them, one a second.
const PATIENCE: Throttle = Throttle { rate_limit: 1.0, burst_limit: 10 };
/// The longest wait: each holds a connection.
const WAIT_MAX: Duration = Duration::from_secs(2);

/// Wrong keys by the address that they came from.
#[derive(Debug)]
pub(crate) struct Strangers {
    places: Box<[TokenBucket]>,
    hash: RandomState,
}

impl Default for Strangers {
    fn default() -> Self {
        Strangers { places: (0..PLACES).map(|_| TokenBucket::default()).collect(), hash: RandomState::new() }
    }
}

impl Strangers {
    /// Notes a wrong key. Returns how long its answer is to be held back.
    #[must_use]
    pub(crate) fn wrong_key(&self, from: IpAddr, monotonic_ns: u64) -> Duration {
        let place = self.hash.hash_one(network_of(from)) as usize % PLACES;
        self.places[place].take(PATIENCE, monotonic_ns).err().unwrap_or_default().min(WAIT_MAX)
    }
}

/// An IPv6 subscriber has a whole /64 to call from.
pub(crate) fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(from: &[&str]) -> Vec<bool> {
        let strangers = Strangers::default();
        from.iter().map(|from| strangers.wrong_key(from.parse().unwrap(), 0) > Duration::ZERO).collect()
    }

    #[test]
    fn an_address_is_slowed_after_ten_wrong_keys() {
        let waits = waits(&["192.0.2.1"; 12]);
        assert!(waits[..10].iter().all(|wait| !wait) && waits[10] && waits[11], "{waits:?}");
    }

    #[test]
    fn the_addresses_of_one_network_share_their_patience() {
        assert_eq!(network_of("2001:db8::1".parse().unwrap()), network_of("2001:db8::ffff:1".parse().unwrap()));
        assert_ne!(network_of("2001:db8::1".parse().unwrap()), network_of("2001:db8:0:1::1".parse().unwrap()));
        assert_eq!(network_of("::ffff:192.0.2.1".parse().unwrap()), network_of("192.0.2.1".parse().unwrap()));
    }

    #[test]
    fn patience_returns_and_a_wait_has_an_end() {
        let strangers = Strangers::default();
        let from = "192.0.2.1".parse().unwrap();
        for _ in 0..10 {
            assert_eq!(strangers.wrong_key(from, 0), Duration::ZERO);
        }
        let first = strangers.wrong_key(from, 0);
        assert!(first > Duration::ZERO && first <= WAIT_MAX);
        assert_eq!(strangers.wrong_key(from, 60_000_000_000), Duration::ZERO);
    }
}
