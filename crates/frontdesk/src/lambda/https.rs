//! The proxy's way to AgentCore from outside: HTTPS, on connections that are kept between calls.

use std::time::Duration;

use anyhow::Context as _;
use frontdesk_proxy::{Sending, SignedRequest, Transport, TransportError};
use http_body_util::BodyExt as _;

/// How long a connection may take to open: AWS answers in a fraction of it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an unused connection is kept. A function is frozen between invocations, and AWS closes connections that it believes idle.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);

/// Carries requests by HTTPS.
pub(crate) struct Https {
    client: reqwest::Client,
}

impl Https {
    /// Sets up the client. Nothing is sent yet.
    ///
    /// # Errors
    /// When the certificate authorities cannot be read.
    pub(crate) fn new() -> anyhow::Result<Https> {
        // As in the agent's crate, which a build of the function alone leaves out; an error means that one is chosen already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .tcp_nodelay(true)
            // A signature is for one address.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .context("failed to make the HTTPS client (SSL_CERT_FILE names other certificate authorities)")?;
        Ok(Https { client })
    }
}

impl Transport for Https {
    fn send(&self, request: SignedRequest) -> Sending {
        let client = self.client.clone();
        Box::pin(async move {
            let request = request.map(reqwest::Body::wrap).try_into().map_err(TransportError::new)?;
            // The address is left out of the error: callers are told it.
            let response = client.execute(request).await.map_err(|error| TransportError::new(error.without_url()))?;
            let response: http::Response<reqwest::Body> = response.into();
            Ok(response.map(|body| body.map_err(|error| TransportError::new(error.without_url())).boxed_unsync()))
        })
    }
}
