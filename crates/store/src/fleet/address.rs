//! Where the fleet's database is: a `postgres://` URL, which holds a password and is therefore never printed.

use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, RootCertStore};
use tokio_postgres::Config;
use tokio_postgres::config::SslMode;

use super::FleetError;
use crate::seal::SecretText;

/// A server that has not answered the loops of leases and changes by then is taken for gone.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// The fleet's database, as a URL names it.
#[derive(Clone)]
pub struct FleetAddress {
    pub(super) config: Config,
    /// With `sslmode=require`: the system's certificate authorities.
    pub(super) tls: Option<Arc<ClientConfig>>,
}

impl std::fmt::Debug for FleetAddress {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("FleetAddress(…)")
    }
}

impl FleetAddress {
    /// Reads a URL such as `postgres://user:password@host:5432/database?sslmode=require`. With `require` the connection is encrypted and the server's
    /// certificate must be one that this system trusts, for the URL's host; with anything else it is not encrypted.
    ///
    /// # Errors
    /// [`FleetError::Address`], which repeats nothing of the URL.
    pub fn parse(url: &SecretText) -> Result<FleetAddress, FleetError> {
        let mut config: Config = url.expose().parse().map_err(|_| FleetError::Address("it is no postgres:// URL".to_owned()))?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(FleetError::Address("it names no host".to_owned()));
        }
        let tls = match config.get_ssl_mode() {
            SslMode::Require => Some(Arc::new(system_trust()?)),
            // `prefer` would take an answer without a certificate for as good as one with it, which protects from nobody who matters.
            _ => None,
        };
        config.application_name("frontdesk").tcp_user_timeout(ANSWER_TIMEOUT);
        Ok(FleetAddress { config, tls })
    }
}

fn system_trust() -> Result<ClientConfig, FleetError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(FleetError::Address(
            "sslmode=require needs certificate authorities, and this system has none (SSL_CERT_FILE)".to_owned(),
        ));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let versions = versions.map_err(|error| FleetError::Address(error.to_string()))?;
    Ok(versions.with_root_certificates(roots).with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str, expected: Result<(), &str>) {
        let parsed = FleetAddress::parse(&SecretText::new(url.to_owned()));
        match (parsed, expected) {
            (Ok(address), Ok(())) => assert!(!format!("{address:?}").contains("secret"), "{address:?}"),
            (Err(error), Err(reason)) => {
                assert!(error.to_string().contains(reason) && !error.to_string().contains("secret"), "{error}");
            }
            (parsed, expected) => panic!("{url}: {parsed:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn a_url_is_read_and_never_repeated() {
        check("postgres://frontdesk:secret@db.example:5432/frontdesk", Ok(()));
        check("postgresql://frontdesk:secret@%2Ftmp%2Fsockets/frontdesk", Ok(()));
        check("mysql://frontdesk:secret@db.example/frontdesk", Err("no postgres:// URL"));
        check("postgres://frontdesk:secret@db.example/frontdesk?sslmode=secret", Err("no postgres:// URL"));
        check("postgres://", Err("names no host"));
    }
}
