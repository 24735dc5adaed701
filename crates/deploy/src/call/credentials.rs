//! Who calls and where, found as every AWS tool finds it: environment, profiles, SSO, web identity, container and instance roles. The official crate `aws-config`
//! looks; its answers are kept here until shortly before they expire.

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::{ProvideCredentials as _, SharedCredentialsProvider, error::CredentialsError};
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use frontdesk_aws::Credentials;
use time::{Duration, OffsetDateTime};
use tokio::sync::Mutex;

/// Credentials are fetched anew when they have no longer than this to live, so that none expires between its signature and its arrival.
const EXPIRY_MARGIN: Duration = Duration::minutes(5);

/// What `aws-config` found, before anything was asked of a credentials provider.
pub(super) async fn load(profile: Option<&str>, region: Option<&str>) -> SdkConfig {
    let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12()).http_client(http_client());
    if let Some(profile) = profile {
        loader = loader.profile_name(profile);
    }
    if let Some(region) = region {
        loader = loader.region(Region::new(region.to_owned()));
    }
    loader.load().await
}

/// What SSO, roles and metadata services are reached by: with ring, as all TLS here, and through the proxy that the environment names.
fn http_client() -> aws_smithy_runtime_api::client::http::SharedHttpClient {
    aws_smithy_http_client::Builder::new().build_with_connector_fn(|settings, components| {
        let mut connector = aws_smithy_http_client::Connector::builder()
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .proxy_config(ProxyConfig::from_env());
        connector.set_connector_settings(settings.cloned());
        connector.set_sleep_impl(components.and_then(|components| components.sleep_impl()));
        connector.build()
    })
}

/// Where credentials come from.
#[derive(Debug)]
pub(super) enum CredentialSource {
    /// Given by the caller; they live as long as they live.
    Given(Credentials),
    /// A chain of providers, and what it said last with the moment it expires.
    Chain { provider: SharedCredentialsProvider, kept: Mutex<Option<(Credentials, Option<OffsetDateTime>)>> },
}

impl CredentialSource {
    pub(super) fn chain(provider: SharedCredentialsProvider) -> CredentialSource {
        CredentialSource::Chain { provider, kept: Mutex::new(None) }
    }

    /// Credentials that are good for the next minutes.
    ///
    /// # Errors
    /// Why the chain has none, cause by cause.
    pub(super) async fn credentials(&self, now: OffsetDateTime) -> Result<Credentials, String> {
        let (provider, kept) = match self {
            CredentialSource::Given(credentials) => return Ok(credentials.clone()),
            CredentialSource::Chain { provider, kept } => (provider, kept),
        };
        // Held while the provider is asked: whoever else needs credentials needs these, and SSO must not be asked twice.
        let mut kept = kept.lock().await;
        if let Some((credentials, expiry)) = &*kept
            && expiry.is_none_or(|expiry| expiry - EXPIRY_MARGIN > now)
        {
            return Ok(credentials.clone());
        }
        let found = provider.provide_credentials().await.map_err(|error| causes(&error))?;
        let mut credentials = Credentials::new(found.access_key_id(), found.secret_access_key());
        if let Some(token) = found.session_token() {
            credentials = credentials.with_session_token(token);
        }
        *kept = Some((credentials.clone(), found.expiry().map(OffsetDateTime::from)));
        Ok(credentials)
    }
}

fn causes(error: &CredentialsError) -> String {
    let mut said = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let text = error.to_string();
        if !said.contains(&text) {
            said = format!("{said}: {text}");
        }
        cause = error.source();
    }
    said
}
