//! Which of a request's headers an agent gets to see.

use http::HeaderName;

const CUSTOM_PREFIX: &str = "x-amzn-bedrock-agentcore-runtime-custom-";
/// The token of the workload's identity, which has a header of AWS's own.
const IDENTITY_TOKEN: &str = "x-amz-bedrock-agentcore-identity-wat";

/// The headers that are never handed on, sorted. From "Pass custom headers to Amazon Bedrock AgentCore Runtime" in the AgentCore
/// developer guide.
const RESTRICTED: &[&str] = &[
    "accept",
    "accept-ch",
    "accept-ch-lifetime",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "accept-ranges",
    "access-control-allow-credentials",
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-allow-origin",
    "access-control-expose-headers",
    "access-control-max-age",
    "access-control-request-headers",
    "access-control-request-method",
    "cache-control",
    "cf-connecting-ip",
    "cf-ray",
    "clear-site-data",
    "connection",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-range",
    "content-security-policy",
    "content-security-policy-report-only",
    "content-type",
    "cookie",
    "cross-origin-embedder-policy",
    "cross-origin-opener-policy",
    "cross-origin-resource-policy",
    "date",
    "downlink",
    "dpr",
    "ect",
    "etag",
    "expect-ct",
    "expires",
    "feature-policy",
    "forwarded",
    "from",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "keep-alive",
    "last-modified",
    "link",
    "location",
    "origin",
    "permissions-policy",
    "pragma",
    "proxy-authorization",
    "proxy-connection",
    "public-key-pins",
    "public-key-pins-report-only",
    "range",
    "referer",
    "referrer-policy",
    "retry-after",
    "rtt",
    "save-data",
    "sec-websocket-accept",
    "sec-websocket-extensions",
    "sec-websocket-key",
    "sec-websocket-protocol",
    "sec-websocket-version",
    "server",
    "set-cookie",
    "strict-transport-security",
    "te",
    "trailer",
    "transfer-encoding",
    "true-client-ip",
    "upgrade",
    "user-agent",
    "vary",
    "via",
    "viewport-width",
    "width",
    "www-authenticate",
    "x-amz-cf-id",
    "x-cache",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-content-type-options",
    "x-csrf-token",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-frame-options",
    "x-original-host",
    "x-original-url",
    "x-originating-ip",
    "x-real-ip",
    "x-requested-with",
    "x-rewrite-url",
    "x-served-by",
    "x-source-ip",
    "x-xss-protection",
];

/// Whether an agent may see the header: those of the caller's own, not those of the connection, of AWS's signing and of proxies.
pub(super) fn is_handed_on(name: &HeaderName) -> bool {
    let name = name.as_str();
    let is_reserved = name.starts_with("x-amz-") || (name.starts_with("x-amzn-") && !name.starts_with(CUSTOM_PREFIX));
    name == IDENTITY_TOKEN || (!is_reserved && RESTRICTED.binary_search(&name).is_err())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_can_be_searched() {
        assert!(RESTRICTED.is_sorted());
    }

    fn check(name: &'static str, expected: bool) {
        assert_eq!(is_handed_on(&HeaderName::from_static(name)), expected, "{name}");
    }

    #[test]
    fn a_caller_s_own_headers_are_handed_on() {
        check("authorization", true);
        check("x-shop", true);
        check("x-amzn-bedrock-agentcore-runtime-custom-shop", true);
        check("x-amz-bedrock-agentcore-identity-wat", true);
        check("x-amzn-bedrock-agentcore-runtime-session-id", false);
        check("x-amz-date", false);
        check("cookie", false);
        check("x-forwarded-for", false);
        check("content-type", false);
    }
}
