//! Signing keys: four HMACs over the day, the region, the service and a fixed word, starting from the secret. They change only once a day, so
//! they are kept.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::{HexDigest, Scope, TERMINATOR};
use crate::credentials::{AccessKeyId, Credentials, SecretKey};

/// How many derived keys are kept. One is 32 bytes and its name; a host has a handful of access keys, each used for a handful of services.
const KEPT_KEYS_MAX: usize = 256;

/// A derived key: good for one access key, day, region and service.
#[derive(Clone)]
pub(super) struct SigningKey(Zeroizing<[u8; 32]>);

impl SigningKey {
    fn derive(secret: &SecretKey, day: &str, scope: Scope<'_>) -> Self {
        let first = Zeroizing::new(format!("AWS4{}", secret.expose()));
        let day_key = hmac(first.as_bytes(), day.as_bytes());
        let region_key = hmac(&*day_key, scope.region.as_bytes());
        let service_key = hmac(&*region_key, scope.service.as_bytes());
        Self(hmac(&*service_key, TERMINATOR.as_bytes()))
    }

    /// The signature of a string to sign.
    pub(super) fn signature(&self, string_to_sign: &str) -> HexDigest {
        HexDigest::of(&hmac(&*self.0, string_to_sign.as_bytes()))
    }
}

fn hmac(key: &[u8], message: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of every length");
    mac.update(message);
    Zeroizing::new(mac.finalize().into_bytes().into())
}

/// Derived signing keys, kept between requests so that a signature costs one HMAC instead of five.
///
/// One of these is shared by all requests of a signer or of a verifier; its lock is held while a short list is searched. A key is used again only while the
/// secret is the one it was derived from, so that replacing or deleting an access key takes effect with the next request.
#[derive(Default)]
pub struct SigningKeys {
    kept: Mutex<Vec<Kept>>,
}

struct Kept {
    access_key_id: AccessKeyId,
    day: String,
    region: String,
    service: String,
    secret: SecretKey,
    key: SigningKey,
}

impl SigningKeys {
    /// An empty cache.
    pub fn new() -> Self {
        Self::default()
    }

    /// The key of `credentials` for `day` (`yyyymmdd`) and `scope`, derived now or earlier.
    pub(super) fn get(&self, credentials: &Credentials, day: &str, scope: Scope<'_>) -> SigningKey {
        let is_it = |kept: &Kept| {
            let Kept { access_key_id, day: of_day, region, service, .. } = kept;
            *access_key_id == credentials.access_key_id && of_day == day && region == scope.region && service == scope.service
        };
        // Poison is ignored: the list is consistent between any two of its operations.
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let at = kept.iter().position(is_it);
        if let Some(found) = at.map(|at| &kept[at]).filter(|kept| kept.secret == credentials.secret_access_key) {
            return found.key.clone();
        }
        let key = SigningKey::derive(&credentials.secret_access_key, day, scope);
        if let Some(at) = at {
            // Of the secret before.
            kept.swap_remove(at);
        }
        if kept.len() >= KEPT_KEYS_MAX {
            // Mostly yesterday's. Deriving today's again is cheaper than keeping an order of use.
            kept.clear();
        }
        let Credentials { access_key_id, secret_access_key, .. } = credentials.clone();
        let (day, region, service) = (day.to_owned(), scope.region.to_owned(), scope.service.to_owned());
        kept.push(Kept { access_key_id, day, region, service, secret: secret_access_key, key: key.clone() });
        key
    }
}

impl fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKeys(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCOPE: Scope<'_> = Scope { region: "us-east-1", service: "iam" };

    /// The worked example of AWS's documentation, "Deriving a signing key" (AWS General Reference, signature version 4 examples).
    #[test]
    fn derives_the_documented_key() {
        let secret = SecretKey::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY");
        let key = SigningKey::derive(&secret, "20150830", SCOPE);
        assert_eq!(hex::encode(*key.0), "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9");
    }

    #[test]
    fn a_kept_key_is_not_used_for_another_secret_day_or_scope() {
        let keys = SigningKeys::new();
        let get = |secret: &str, day: &str, service: &str| {
            let scope = Scope { region: "us-east-1", service };
            keys.get(&Credentials::new("AKIDEXAMPLE", secret), day, scope).signature("text")
        };
        let first = get("one", "20150830", "iam");
        assert_eq!(first, get("one", "20150830", "iam"));
        assert_ne!(first, get("two", "20150830", "iam"));
        assert_ne!(first, get("one", "20150831", "iam"));
        assert_ne!(first, get("one", "20150830", "sts"));
        assert_eq!(first, get("one", "20150830", "iam"));
    }

    #[test]
    fn the_number_of_kept_keys_is_limited() {
        let keys = SigningKeys::new();
        for number in 0..2 * KEPT_KEYS_MAX {
            keys.get(&Credentials::new(format!("AKID{number}"), "secret"), "20150830", SCOPE);
        }
        assert!(keys.kept.lock().expect("no test panics with the lock").len() <= KEPT_KEYS_MAX);
    }
}
