//! Who really calls, when proxies of one's own stand in front: `X-Forwarded-For`, believed only as far as trusted proxies wrote it.

use std::net::IpAddr;

use http::HeaderMap;
use ipnet::IpNet;

use crate::header_names::FORWARDED_FOR;

/// The caller's address: the connection's, or, from a trusted proxy, the last address in `X-Forwarded-For` that is no trusted proxy's. What stands before
/// it was written by the caller itself and means nothing.
#[must_use]
pub(crate) fn caller_address(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |address: &IpAddr| trusted.iter().any(|network| network.contains(&address.to_canonical()));
    let mut caller = peer.to_canonical();
    if trusted.is_empty() {
        return caller;
    }
    let values: Vec<&str> = headers.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok()).collect();
    for hop in values.iter().rev().flat_map(|value| value.rsplit(',')) {
        if !is_trusted(&caller) {
            return caller;
        }
        match parse(hop.trim()) {
            Some(address) => caller = address.to_canonical(),
            None => return caller,
        }
    }
    caller
}

/// An address, with or without a port.
fn parse(hop: &str) -> Option<IpAddr> {
    let with_port = || hop.parse().map(|address: std::net::SocketAddr| address.ip());
    let in_brackets = || hop.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    hop.parse().ok().or_else(|| with_port().ok()).or_else(in_brackets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn check(peer: &str, forwarded: &[&'static str], expected: &str) {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", HeaderValue::from_static(value));
        }
        let trusted = ["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
        assert_eq!(caller_address(peer.parse().unwrap(), &headers, &trusted).to_string(), expected, "{peer} {forwarded:?}");
    }

    #[test]
    fn a_stranger_s_header_is_not_believed() {
        check("192.0.2.1", &["198.51.100.1"], "192.0.2.1");
        check("::ffff:192.0.2.1", &[], "192.0.2.1");
    }

    #[test]
    fn a_trusted_proxy_s_header_is_believed_as_far_as_trusted_proxies_wrote_it() {
        check("10.0.0.1", &["198.51.100.1"], "198.51.100.1");
        check("10.0.0.1", &["203.0.113.9, 198.51.100.1, 10.9.9.9"], "198.51.100.1");
        check("10.0.0.1", &["203.0.113.9", "198.51.100.1:4711"], "198.51.100.1");
        check("::1", &["[2001:db8::1]:80, 10.0.0.7"], "2001:db8::1");
        check("10.0.0.1", &[], "10.0.0.1");
        check("10.0.0.1", &["198.51.100.1, rubbish"], "10.0.0.1");
    }
}
