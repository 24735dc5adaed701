//! What API Gateway does otherwise than the gateway of a host: told before anything is made on AWS, and what is in use here refused unless it was accepted.

use frontdesk_control::KeyDocument;

use crate::settings::Settings;

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Difference {
    /// What a host does.
    pub(crate) what: String,
    /// What becomes of it on AWS.
    pub(crate) on_aws: &'static str,
    /// Whether it is in use, so that somebody would miss it.
    pub(crate) is_in_use: bool,
}

/// A request that API Gateway hands to Lambda has at most this many bytes.
const LAMBDA_PAYLOAD_BYTES_MAX: u64 = 6 * 1024 * 1024;

/// The differences that matter with these settings, and with the keys of the host that runs on them, where one runs.
pub(crate) fn differences(settings: &Settings, keys: Option<&[KeyDocument]>) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut put = |is_in_use: bool, what: String, on_aws: &'static str| found.push(Difference { what, on_aws, is_in_use });
    let gateway = &settings.gateway;
    if gateway.cache_ttl_s > 0 {
        let what = format!("answers are cached by the request's body (gateway.cache_ttl_s is {})", gateway.cache_ttl_s);
        put(true, what, "API Gateway's cache does not look at bodies: nothing is cached");
    }
    if !settings.keys.keep_values {
        put(
            true,
            "keys' values are not kept (keys.keep_values is false)".to_owned(),
            "API Gateway keeps them, and shows them to whoever may read keys",
        );
    }
    let named = |matches: fn(&KeyDocument) -> bool| {
        let names: Vec<_> = keys.unwrap_or_default().iter().filter(|key| matches(key)).map(|key| key.name.clone()).collect();
        (!names.is_empty()).then(|| names.join(", "))
    };
    if let Some(names) = named(|key| key.expires_at.is_some()) {
        put(true, format!("keys expire ({names})"), "API Gateway's keys do not expire: somebody must disable them");
    }
    if let Some(names) = named(|key| !key.source_ranges.is_empty()) {
        put(true, format!("keys count from certain networks only ({names})"), "API Gateway's keys count from everywhere");
    }
    if let Some(names) = named(|key| key.former_value_retires_at.is_some()) {
        put(
            true,
            format!("keys are being rotated within one quota ({names})"),
            "a rotated key on AWS is another key with a quota of its own",
        );
    }
    put(false, "answers carry RateLimit, RateLimit-Policy and Retry-After".to_owned(), "API Gateway sends none of them");
    put(false, "quotas and throttles are exact".to_owned(), "API Gateway applies both on a best-effort basis");
    put(false, "keys were made on this host".to_owned(), "the stack has keys of its own: hand them out anew");
    if gateway.body_bytes_max > LAMBDA_PAYLOAD_BYTES_MAX {
        let what = format!("bodies may have {} bytes (gateway.body_bytes_max)", gateway.body_bytes_max);
        put(false, what, "Lambda takes 6 MB, less what API Gateway adds");
    }
    if keys.is_none() {
        put(
            false,
            "keys may expire or count from certain networks only".to_owned(),
            "no host is running here, so its keys were not looked at",
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(change: impl FnOnce(&mut Settings), expected: &[&str]) {
        let mut settings = Settings::default();
        change(&mut settings);
        let found = differences(&settings, Some(&[]));
        let in_use: Vec<_> = found.iter().filter(|difference| difference.is_in_use).map(|difference| difference.what.as_str()).collect();
        assert_eq!(in_use.len(), expected.len(), "{in_use:?}");
        for (found, part) in in_use.iter().zip(expected) {
            assert!(found.contains(part), "{found}");
        }
    }

    #[test]
    fn only_what_is_in_use_must_be_accepted() {
        check(|_| {}, &[]);
        check(|settings| settings.gateway.cache_ttl_s = 60, &["gateway.cache_ttl_s is 60"]);
        check(|settings| settings.keys.keep_values = false, &["keys.keep_values"]);
    }
}
