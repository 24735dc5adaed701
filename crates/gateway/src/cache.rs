//! The response cache of a stage, as API Gateway's: answers of 200 are kept for a time and given again. Beyond API Gateway's, answers to a POST may be
//! cached, told apart by their body, since a frequent question is a POST with the same body.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use sha2::{Digest as _, Sha256};

use crate::admission::Now;
use crate::integration::{Actor, Body};

/// API Gateway's bound on a cached answer.
const ANSWER_BYTES_MAX: usize = 1_048_576;
/// What an entry weighs beside its body and its headers.
const ENTRY_BYTES: u64 = 256;

/// Who shares an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheScope {
    /// Only requests with the same API key.
    PerKey,
    /// All callers of the method.
    Shared,
}

/// What the cache of a stage does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheSettings {
    /// Who shares it.
    pub scope: CacheScope,
    /// Memory for answers; the least used go first.
    pub bytes_max: u64,
}

/// Whose answer: the digest of method, path, query, body and, if it is not shared, key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CacheKey([u8; 32]);

#[derive(Debug, Clone)]
struct Entry {
    headers: Arc<HeaderMap>,
    body: Bytes,
    /// Whom it was for: the body, which is part of the key, names the same one.
    actor: Option<Actor>,
    stored_ns: u64,
}

#[derive(Debug, Clone, Copy)]
struct Weight;

impl quick_cache::Weighter<CacheKey, Entry> for Weight {
    fn weight(&self, _key: &CacheKey, entry: &Entry) -> u64 {
        let headers: usize = entry.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        ENTRY_BYTES + entry.body.len() as u64 + headers as u64
    }
}

/// A stage's cache.
#[derive(Debug)]
pub struct ResponseCache {
    settings: CacheSettings,
    entries: quick_cache::sync::Cache<CacheKey, Entry, Weight>,
}

impl ResponseCache {
    /// An empty cache.
    #[must_use]
    pub fn new(settings: CacheSettings) -> ResponseCache {
        // A guess at the number of entries, from answers of a kilobyte.
        let entries = usize::try_from(settings.bytes_max / 1024).unwrap_or(usize::MAX).max(16);
        ResponseCache { settings, entries: quick_cache::sync::Cache::with_weighter(entries, settings.bytes_max, Weight) }
    }

    /// The key of a request.
    #[must_use]
    pub fn key(&self, route: &str, path_and_query: &str, body: &[u8], api_key_id: Option<&str>) -> CacheKey {
        let mut digest = Sha256::new();
        let api_key_id = match self.settings.scope {
            CacheScope::PerKey => api_key_id.unwrap_or_default(),
            CacheScope::Shared => "",
        };
        for part in [route.as_bytes(), path_and_query.as_bytes(), api_key_id.as_bytes(), body] {
            // With its length, so that two parts cannot be read as another two.
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        CacheKey(digest.finalize().into())
    }

    /// Forgets everything.
    pub fn flush(&self) {
        self.entries.clear();
    }

    /// The answer for a key, unless it is older than `ttl`, or the caller wants a new one (`Cache-Control: max-age=0` or `no-cache`).
    #[must_use]
    pub fn find(&self, key: &CacheKey, request: &HeaderMap, ttl: Duration, now: Now) -> Option<Response<Body>> {
        if wants_new(request) {
            self.entries.remove(key);
            return None;
        }
        let entry = self.entries.get(key)?;
        let age = Duration::from_nanos(now.monotonic_ns.saturating_sub(entry.stored_ns));
        let Some(left) = ttl.checked_sub(age).filter(|left| !left.is_zero()) else {
            self.entries.remove(key);
            return None;
        };
        let mut response = Response::new(Full::new(entry.body).map_err(|never| match never {}).boxed_unsync());
        *response.headers_mut() = (*entry.headers).clone();
        if let Some(actor) = entry.actor {
            response.extensions_mut().insert(actor);
        }
        response.headers_mut().insert(header::AGE, HeaderValue::from(age.as_secs()));
        let status = format!("frontdesk; hit; ttl={}", left.as_secs());
        insert_status(response.headers_mut(), &status);
        Some(response)
    }

    /// Keeps an answer, if it is one to keep: a whole 200 that is not too long and does not forbid it.
    pub fn store(&self, key: CacheKey, answer: &http::response::Parts, body: &Bytes, now: Now) -> bool {
        let forbids = directives(&answer.headers).any(|directive| matches!(directive, "no-store" | "private" | "no-cache"));
        if answer.status != StatusCode::OK || forbids || body.len() > ANSWER_BYTES_MAX {
            return false;
        }
        let (headers, actor) = (Arc::new(answer.headers.clone()), answer.extensions.get().cloned());
        let entry = Entry { headers, body: body.clone(), actor, stored_ns: now.monotonic_ns };
        self.entries.insert(key, entry);
        true
    }
}

/// Notes on an answer that it did not come from the cache (RFC 9211).
pub fn note_miss(headers: &mut HeaderMap, is_stored: bool) {
    insert_status(headers, if is_stored { "frontdesk; fwd=miss; stored" } else { "frontdesk; fwd=miss" });
}

fn insert_status(headers: &mut HeaderMap, status: &str) {
    headers.insert("cache-status", HeaderValue::from_str(status).expect("names and numbers are header text"));
}

fn wants_new(request: &HeaderMap) -> bool {
    directives(request).any(|directive| matches!(directive, "max-age=0" | "no-cache" | "no-store"))
}

fn directives(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(header::CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_NS: u64 = 1_000_000_000;

    fn answer(status: StatusCode, headers: HeaderMap) -> http::response::Parts {
        let (mut parts, ()) = Response::new(()).into_parts();
        (parts.status, parts.headers) = (status, headers);
        parts
    }

    fn ok() -> http::response::Parts {
        answer(StatusCode::OK, HeaderMap::new())
    }

    fn at(seconds: u64) -> Now {
        Now { unix_ms: 0, monotonic_ns: seconds * SECOND_NS }
    }

    fn cache(scope: CacheScope) -> ResponseCache {
        ResponseCache::new(CacheSettings { scope, bytes_max: 1 << 20 })
    }

    fn found(cache: &ResponseCache, key: &CacheKey, request: &HeaderMap, now: Now) -> Option<String> {
        cache
            .find(key, request, Duration::from_secs(300), now)
            .map(|response| response.headers()["cache-status"].to_str().unwrap().to_owned())
    }

    #[test]
    fn an_answer_is_given_again_until_it_is_too_old() {
        let cache = cache(CacheScope::PerKey);
        let key = cache.key("prod /invoke POST", "/prod/invoke", b"{}", Some("k1"));
        assert_eq!(found(&cache, &key, &HeaderMap::new(), at(0)), None);
        assert!(cache.store(key, &ok(), &Bytes::from_static(b"{}"), at(1)));
        assert_eq!(found(&cache, &key, &HeaderMap::new(), at(101)).as_deref(), Some("frontdesk; hit; ttl=200"));
        assert_eq!(found(&cache, &key, &HeaderMap::new(), at(301)), None);
    }

    #[test]
    fn requests_are_told_apart_by_everything_that_makes_them() {
        let per_key = cache(CacheScope::PerKey);
        let key = |route: &str, path: &str, body: &str, api_key: &str| per_key.key(route, path, body.as_bytes(), Some(api_key));
        let one = key("r", "/p", "b", "k");
        for other in [key("s", "/p", "b", "k"), key("r", "/q", "b", "k"), key("r", "/p", "c", "k"), key("r", "/p", "b", "l")] {
            assert_ne!(one, other);
        }
        assert_ne!(key("r", "/pb", "", "k"), key("r", "/p", "b", "k"));
        let shared = cache(CacheScope::Shared);
        assert_eq!(shared.key("r", "/p", b"b", Some("k")), shared.key("r", "/p", b"b", Some("l")));
    }

    #[test]
    fn a_caller_may_want_a_new_answer() {
        let cache = cache(CacheScope::Shared);
        let key = cache.key("r", "/p", b"", None);
        cache.store(key, &ok(), &Bytes::new(), at(0));
        let fresh = HeaderMap::from_iter([(header::CACHE_CONTROL, HeaderValue::from_static("no-transform, max-age=0"))]);
        assert_eq!(found(&cache, &key, &fresh, at(1)), None);
        assert_eq!(found(&cache, &key, &HeaderMap::new(), at(1)), None, "the old answer is gone for everybody");
    }

    #[test]
    fn only_whole_good_answers_are_kept() {
        let cache = cache(CacheScope::Shared);
        let key = cache.key("r", "/p", b"", None);
        let private = HeaderMap::from_iter([(header::CACHE_CONTROL, HeaderValue::from_static("private"))]);
        assert!(!cache.store(key, &answer(StatusCode::BAD_REQUEST, HeaderMap::new()), &Bytes::new(), at(0)));
        assert!(!cache.store(key, &answer(StatusCode::OK, private), &Bytes::new(), at(0)));
        assert!(!cache.store(key, &ok(), &Bytes::from(vec![0; ANSWER_BYTES_MAX + 1]), at(0)));
    }

    #[test]
    fn memory_has_a_limit() {
        let cache = cache(CacheScope::Shared);
        for index in 0..100_u32 {
            let key = cache.key("r", "/p", &index.to_be_bytes(), None);
            cache.store(key, &ok(), &Bytes::from(vec![0; 100_000]), at(0));
        }
        assert!(cache.entries.weight() <= 1 << 20, "{}", cache.entries.weight());
    }
}
