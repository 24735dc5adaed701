//! The keys of OpenID providers: fetched when they are first asked for, kept, and fetched again when a token names a key that is not among them.
//!
//! A caller whose key is known waits for nobody: keys that have grown old are fetched again behind its back. A caller whose key is not known waits for one
//! fetch, which all such callers of a provider share; made-up key names cannot make this host ask a provider more often than [`REFETCH_PAUSE_S`] allows.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;

use super::token::{Key, Token};

/// Keys older than this are fetched again.
const FRESH_S: i64 = 3600;
/// A provider that cannot be reached is believed for so long: about a day's outage of its.
const BELIEVED_S: i64 = 86_400;
/// The pause between two fetches from a provider.
const REFETCH_PAUSE_S: i64 = 10;
/// A provider publishes a handful.
const KEYS_MAX: usize = 64;
/// Providers that are kept. Each is one of some runtime's.
const PROVIDERS_MAX: usize = 256;

/// A document on its way.
pub type Fetching = Pin<Box<dyn Future<Output = Result<Bytes, FetchError>> + Send>>;
/// Fetches the document at a URL, within a few seconds and up to some size.
pub type Fetch = Arc<dyn Fn(String) -> Fetching + Send + Sync>;

/// Why a document could not be fetched, in words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FetchError(pub String);

/// All providers, by discovery URL.
pub(super) struct Providers {
    fetch: Fetch,
    known: Mutex<HashMap<String, Arc<Provider>>>,
}

impl std::fmt::Debug for Providers {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Providers").finish_non_exhaustive()
    }
}

struct Provider {
    discovery_url: String,
    keys: ArcSwapOption<ProviderKeys>,
    /// When keys were fetched last, or that was tried. Held while they are.
    tried_at: tokio::sync::Mutex<Option<i64>>,
    is_refreshing: AtomicBool,
}

/// What a provider said of itself.
#[derive(Debug)]
pub(super) struct ProviderKeys {
    pub(super) issuer: String,
    keys: Vec<Key>,
    fetched_at: i64,
}

#[derive(Deserialize)]
struct DiscoveryDocument {
    issuer: String,
    jwks_uri: String,
}

#[derive(Deserialize)]
struct KeySetDocument {
    keys: Vec<Value>,
}

impl ProviderKeys {
    /// Whether one of the keys made a token's signature: the one it names, or any where it names none.
    pub(super) fn verify(&self, token: &Token<'_>) -> bool {
        let kid = token.header.kid.as_deref();
        self.keys.iter().filter(|key| kid.is_none() || key.id.as_deref() == kid).any(|key| key.verify(token))
    }

    fn has(&self, kid: Option<&str>) -> bool {
        kid.is_none() || self.keys.iter().any(|key| key.id.as_deref() == kid)
    }
}

impl Providers {
    pub(super) fn new(fetch: Fetch) -> Providers {
        Providers { fetch, known: Mutex::default() }
    }

    /// The keys of a provider, with the one of this name among them if the provider has it. Nothing when the provider cannot be asked.
    pub(super) async fn keys(&self, discovery_url: &str, kid: Option<&str>, now_unix: i64) -> Option<Arc<ProviderKeys>> {
        let provider = self.provider(discovery_url);
        let believed = |keys: &Arc<ProviderKeys>| now_unix - keys.fetched_at < BELIEVED_S;
        if let Some(keys) = provider.keys.load_full().filter(|keys| believed(keys) && keys.has(kid)) {
            if now_unix - keys.fetched_at >= FRESH_S && !provider.is_refreshing.swap(true, Ordering::AcqRel) {
                let (provider, fetch) = (provider.clone(), self.fetch.clone());
                tokio::spawn(async move {
                    provider.fetch_unless_tried(&fetch, now_unix, |_| false).await;
                    provider.is_refreshing.store(false, Ordering::Release);
                });
            }
            return Some(keys);
        }
        provider.fetch_unless_tried(&self.fetch, now_unix, |keys| believed(keys) && keys.has(kid)).await;
        provider.keys.load_full().filter(believed)
    }

    fn provider(&self, discovery_url: &str) -> Arc<Provider> {
        // Poison is ignored: the table is consistent between any two of its operations.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(provider) = known.get(discovery_url) {
            return provider.clone();
        }
        if known.len() >= PROVIDERS_MAX {
            // Mostly those of runtimes that are gone. Asking again is cheaper than keeping an order of use.
            known.clear();
        }
        let provider = Arc::new(Provider {
            discovery_url: discovery_url.to_owned(),
            keys: ArcSwapOption::empty(),
            tried_at: tokio::sync::Mutex::default(),
            is_refreshing: AtomicBool::new(false),
        });
        known.insert(discovery_url.to_owned(), provider.clone());
        provider
    }
}

impl Provider {
    /// Fetches the keys, unless that was tried a moment ago or somebody has fetched what is wanted while this caller waited.
    async fn fetch_unless_tried(&self, fetch: &Fetch, now_unix: i64, is_wanted: impl Fn(&Arc<ProviderKeys>) -> bool) {
        let mut tried_at = self.tried_at.lock().await;
        let was_tried = tried_at.is_some_and(|tried_at| now_unix - tried_at < REFETCH_PAUSE_S);
        if was_tried || self.keys.load_full().is_some_and(|keys| is_wanted(&keys)) {
            return;
        }
        *tried_at = Some(now_unix);
        match fetch_keys(fetch, &self.discovery_url, now_unix).await {
            Ok(keys) => self.keys.store(Some(Arc::new(keys))),
            Err(error) => tracing::warn!(provider = self.discovery_url, %error, "the keys of an OpenID provider could not be fetched"),
        }
    }
}

async fn fetch_keys(fetch: &Fetch, discovery_url: &str, now_unix: i64) -> Result<ProviderKeys, FetchError> {
    let read = |error: serde_json::Error| FetchError(format!("the document cannot be read: {error}"));
    let document = fetch(discovery_url.to_owned()).await?;
    let DiscoveryDocument { issuer, jwks_uri } = serde_json::from_slice(&document).map_err(read)?;
    let document = fetch(jwks_uri).await?;
    let KeySetDocument { keys } = serde_json::from_slice(&document).map_err(read)?;
    let keys = keys.iter().filter_map(Key::parse).take(KEYS_MAX).collect();
    Ok(ProviderKeys { issuer, keys, fetched_at: now_unix })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use serde_json::json;

    use super::*;

    /// A provider that publishes the keys it is told to, and counts how often it is asked.
    #[derive(Clone, Default)]
    struct Double {
        kids: Arc<Mutex<Vec<String>>>,
        asked: Arc<AtomicUsize>,
        is_away: Arc<AtomicBool>,
    }

    impl Double {
        fn publishing(kids: &[&str]) -> Double {
            let double = Double::default();
            double.publish(kids);
            double
        }

        fn publish(&self, kids: &[&str]) {
            *self.kids.lock().unwrap() = kids.iter().map(|kid| (*kid).to_owned()).collect();
        }

        fn fetch(&self) -> Fetch {
            let double = self.clone();
            Arc::new(move |url| {
                let double = double.clone();
                Box::pin(async move {
                    if double.is_away.load(Ordering::Relaxed) {
                        return Err(FetchError("away".to_owned()));
                    }
                    if url == "https://x/jwks" {
                        let key = |kid: &String| json!({ "kty": "OKP", "crv": "Ed25519", "kid": kid, "x": "AAAA" });
                        let keys: Vec<Value> = double.kids.lock().unwrap().iter().map(key).collect();
                        return Ok(Bytes::from(json!({ "keys": keys }).to_string()));
                    }
                    double.asked.fetch_add(1, Ordering::Relaxed);
                    Ok(Bytes::from(json!({ "issuer": "https://x", "jwks_uri": "https://x/jwks" }).to_string()))
                })
            })
        }

        fn asked(&self) -> usize {
            self.asked.load(Ordering::Relaxed)
        }
    }

    /// Whether a key is known at a moment, and how often the provider has been asked by then.
    async fn check(providers: &Providers, double: &Double, kid: &str, now: i64, expected: (bool, usize)) {
        let keys = providers.keys("https://x/.well-known/openid-configuration", Some(kid), now).await;
        assert_eq!((keys.is_some_and(|keys| keys.has(Some(kid))), double.asked()), expected, "{kid} at {now}");
    }

    #[tokio::test]
    async fn a_key_that_is_not_known_is_asked_for_and_not_too_often() {
        let double = Double::publishing(&["one"]);
        let providers = Providers::new(double.fetch());
        check(&providers, &double, "one", 0, (true, 1)).await;
        check(&providers, &double, "one", 5, (true, 1)).await;
        check(&providers, &double, "two", 9, (false, 1)).await;
        double.publish(&["one", "two"]);
        check(&providers, &double, "two", 10, (true, 2)).await;
        check(&providers, &double, "three", 20, (false, 3)).await;
        for moment in 21..30 {
            check(&providers, &double, "three", moment, (false, 3)).await;
        }
        // A key that is withdrawn is gone with the next fetch.
        double.publish(&["two"]);
        check(&providers, &double, "three", 30, (false, 4)).await;
        check(&providers, &double, "one", 31, (false, 4)).await;
    }

    #[tokio::test]
    async fn a_provider_that_is_away_is_believed_for_a_day() {
        let double = Double::publishing(&["one"]);
        let providers = Providers::new(double.fetch());
        check(&providers, &double, "one", 0, (true, 1)).await;
        double.is_away.store(true, Ordering::Relaxed);
        check(&providers, &double, "one", FRESH_S, (true, 1)).await;
        check(&providers, &double, "one", BELIEVED_S - 1, (true, 1)).await;
        check(&providers, &double, "one", BELIEVED_S, (false, 1)).await;
        double.is_away.store(false, Ordering::Relaxed);
        check(&providers, &double, "one", BELIEVED_S + REFETCH_PAUSE_S, (true, 2)).await;
    }

    #[tokio::test]
    async fn callers_that_come_together_share_one_fetch() {
        let double = Double::publishing(&["one"]);
        let providers = Arc::new(Providers::new(double.fetch()));
        let mut callers = tokio::task::JoinSet::new();
        for _ in 0..50 {
            let providers = providers.clone();
            callers.spawn(async move { providers.keys("https://x/.well-known/openid-configuration", Some("one"), 0).await.is_some() });
        }
        while let Some(known) = callers.join_next().await {
            assert!(known.unwrap());
        }
        assert_eq!(double.asked(), 1);
    }
}
