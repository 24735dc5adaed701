//! Where sessions may go: hosts by name or pattern, and never this machine.

use std::net::{IpAddr, UdpSocket};

use super::AddressCheck;

/// What a pattern without a port stands for: HTTPS and HTTP.
const DEFAULT_PORTS: [u16; 2] = [443, 80];

/// The hosts that sessions with a network of their own may reach.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EgressRules(Vec<Rule>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    host: Host,
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Host {
    Any,
    /// `*.example.com`: whatever is below it, with the dot in front.
    Below(String),
    Named(String),
}

/// A text that names no host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` names no host: write api.example.com, *.example.com or *, with :PORT for another than 443 and 80")]
pub struct EgressRuleError(String);

impl EgressRules {
    /// Reads patterns that commas separate: a host's name, `*.` and a domain, or `*`; each with a port if it is another than 443 and 80.
    ///
    /// # Errors
    /// [`EgressRuleError`] naming the pattern.
    pub fn parse(text: &str) -> Result<EgressRules, EgressRuleError> {
        let patterns = text.split(',').map(str::trim).filter(|pattern| !pattern.is_empty());
        patterns
            .map(|pattern| Rule::parse(pattern).ok_or_else(|| EgressRuleError(pattern.to_owned())))
            .collect::<Result<_, _>>()
            .map(EgressRules)
    }

    /// Whether there is nowhere to go.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Which of a host's addresses may be reached; nothing when the host may not. `host` is [`normal`].
    pub(super) fn check(&self, host: &str, port: u16) -> Option<AddressCheck> {
        let permits = |rule: &&Rule| rule.host.is(host) && rule.port.map_or(DEFAULT_PORTS.contains(&port), |allowed| allowed == port);
        let mut permitting = self.0.iter().filter(permits).peekable();
        permitting.peek()?;
        // Whoever owns a domain below a pattern decides where its names lead, so a private network is reached by its host's own name alone.
        let is_named = permitting.any(|rule| matches!(rule.host, Host::Named(_)));
        Some(if is_named { is_elsewhere } else { is_public })
    }
}

impl Rule {
    fn parse(pattern: &str) -> Option<Rule> {
        let (host, port) = match pattern.rsplit_once(':') {
            // The colons of a bare IPv6 address are its own.
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, Some(port.parse().ok()?)),
            _ => (pattern, None),
        };
        let (written, host) = (host, normal(host));
        let is_name = |name: &str| {
            name.parse::<IpAddr>().is_ok()
                || (!name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_')))
        };
        let host = match host.strip_prefix("*.") {
            Some(domain) if is_name(domain) => Host::Below(format!(".{domain}")),
            None if written == "*" => Host::Any,
            None if is_name(&host) => Host::Named(host),
            _ => return None,
        };
        Some(Rule { host, port })
    }
}

impl Host {
    fn is(&self, host: &str) -> bool {
        match self {
            Host::Any => true,
            Host::Below(domain) => host.len() > domain.len() && host.ends_with(domain.as_str()),
            Host::Named(name) => host == name,
        }
    }
}

/// A host's name in lower case, without the dot that ends it and the brackets around an address.
pub(super) fn normal(host: &str) -> String {
    host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.').to_ascii_lowercase()
}

/// Whether an address is another machine's: neither loopback nor any address of this one, nor of the link, where clouds keep their credentials.
fn is_elsewhere(address: IpAddr) -> bool {
    let is_special = match address.to_canonical() {
        IpAddr::V4(address) => {
            let of_this_network = address.octets()[0] == 0;
            address.is_loopback() || of_this_network || address.is_link_local() || address.is_multicast() || address.is_broadcast()
        }
        IpAddr::V6(address) => {
            address.is_loopback() || address.is_unspecified() || address.is_unicast_link_local() || address.is_multicast()
        }
    };
    // Only an address of this machine can be bound.
    !is_special && UdpSocket::bind((address, 0)).is_err()
}

/// Whether an address is another machine's on the public internet.
fn is_public(address: IpAddr) -> bool {
    let is_private = match address.to_canonical() {
        IpAddr::V4(address) => {
            // Of carriers (RFC 6598).
            let is_shared = matches!(address.octets(), [100, 64..=127, ..]);
            address.is_private() || is_shared
        }
        IpAddr::V6(address) => address.is_unique_local(),
    };
    !is_private && is_elsewhere(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports() {
        let check = |rules: &str, host: &str, port: u16, expected: bool| {
            assert_eq!(EgressRules::parse(rules).unwrap().check(&normal(host), port).is_some(), expected, "{rules}: {host}:{port}");
        };
        check("", "a.com", 443, false);
        check("a.com", "A.com.", 443, true);
        check("a.com", "a.com", 80, true);
        check("a.com", "a.com", 8443, false);
        check("a.com:8443", "a.com", 8443, true);
        check("a.com:8443", "a.com", 443, false);
        check("a.com", "b.a.com", 443, false);
        check("*.a.com", "b.a.com", 443, true);
        check("*.a.com", "c.b.a.com", 443, true);
        check("*.a.com", "a.com", 443, false);
        check("*.a.com", "evila.com", 443, false);
        check(" x.com , *.a.com ", "b.a.com", 443, true);
        check("*", "anything", 443, true);
        check("*", "anything", 22, false);
        check("10.1.2.3:5432", "10.1.2.3", 5432, true);
        check("[2001:db8::1]:443", "[2001:db8::1]", 443, true);
        check("2001:db8::1", "[2001:db8::1]", 443, true);
        for wrong in ["a b", "*.", "a.com:port", "*.*.com", "https://a.com", "a.com/x"] {
            assert!(EgressRules::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn this_machine_and_its_link_are_never_reached() {
        let check = |address: &str, public: bool, elsewhere: bool| {
            let address = address.parse().unwrap();
            assert_eq!((is_public(address), is_elsewhere(address)), (public, elsewhere), "{address}");
        };
        check("93.184.216.34", true, true);
        check("2001:4860:4860::8888", true, true);
        check("10.255.254.253", false, true);
        check("100.64.0.1", false, true);
        check("fd00::1234", false, true);
        for never in ["127.0.0.1", "127.9.9.9", "::1", "0.0.0.0", "::", "169.254.169.254", "fe80::1", "224.0.0.1", "255.255.255.255"] {
            check(never, false, false);
        }
        check("::ffff:127.0.0.1", false, false);
        check("::ffff:169.254.169.254", false, false);
    }
}
