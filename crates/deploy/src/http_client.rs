//! The HTTP client of this crate, made in one place: for calls of AWS's services and for registries.

use std::time::Duration;

/// How long a connection may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the other side may be silent. No limit on the whole: an upload of a model takes what the line takes.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// A client with ring as its cryptography. A proxy is taken from the environment, but not to what is on this machine. It follows no redirect: a signature counts for one host, and a registry's
/// token must not leak to another.
pub(crate) fn http_client(is_local: bool) -> Result<reqwest::Client, reqwest::Error> {
    // An error means that the program has chosen a provider already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = reqwest::Client::builder().connect_timeout(CONNECT_TIMEOUT).read_timeout(READ_TIMEOUT);
    let builder = builder.redirect(reqwest::redirect::Policy::none());
    if is_local { builder.no_proxy().build() } else { builder.build() }
}

/// Whether `host`, with or without a port, is this machine.
pub(crate) fn is_local(host: &str) -> bool {
    let address = |host: &str| host.trim_matches(['[', ']']).parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback());
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    name == "localhost" || address(name) || address(host)
}
