//! A caller of gateways: plain or by TLS, HTTP/1.1 or HTTP/2, with a say in which certificates are trusted.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

/// A little more than the gateway's own limit, so that its answer is the one that is read.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(35);

/// Which servers are trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Trust {
    /// Those that this machine's certificate authorities vouch for.
    System,
    /// Those that show a certificate of this file, or one that a certificate of this file vouches for.
    Authorities(PathBuf),
    /// The one that shows the first certificate of this file: whatever name it is for, it is the one that was meant.
    Exactly(PathBuf),
}

/// Sends one request and reads the whole answer.
///
/// # Errors
/// Names the address, and what may be done where its certificate is not trusted.
pub(crate) async fn send(request: Request<Full<Bytes>>, trust: &Trust) -> anyhow::Result<(StatusCode, Bytes)> {
    let address = request.uri().to_string();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = HttpsConnectorBuilder::new();
    let builder = match trust {
        Trust::System => {
            builder.with_provider_and_platform_verifier(provider).context("failed to read this machine's certificate authorities")?
        }
        Trust::Authorities(file) => builder.with_tls_config(trusting(file, true, provider)?),
        Trust::Exactly(file) => builder.with_tls_config(trusting(file, false, provider)?),
    };
    let client = Client::builder(TokioExecutor::new()).build(builder.https_or_http().enable_all_versions().build());
    let answering = async {
        let response = client.request(request).await?;
        let status = response.status();
        anyhow::Ok((status, response.into_body().collect().await?.to_bytes()))
    };
    let answered = tokio::time::timeout(ANSWER_TIMEOUT, answering).await.with_context(|| format!("no answer in time from {address}"))?;
    answered.map_err(|error| match error.chain().any(is_distrust) {
        true => error.context(format!("the certificate of {address} is not trusted: name a file of those to trust with --ca FILE")),
        false => error.context(format!("{address} does not answer: is the host still running?")),
    })
}

/// Whether a call failed for the server's certificate: TLS tells it in an I/O error, which is told in another.
fn is_distrust(cause: &(dyn std::error::Error + 'static)) -> bool {
    match (cause.downcast_ref(), cause.downcast_ref::<std::io::Error>()) {
        (Some(rustls::Error::InvalidCertificate(_)), _) => true,
        (_, Some(io)) => io.get_ref().is_some_and(|inner| is_distrust(inner)),
        _ => false,
    }
}

fn trusting(file: &Path, vouching: bool, provider: Arc<CryptoProvider>) -> anyhow::Result<ClientConfig> {
    let read = || CertificateDer::pem_file_iter(file)?.collect::<Result<Vec<_>, _>>();
    let mut certificates = read().with_context(|| format!("failed to read certificates from {}", file.display()))?;
    if certificates.is_empty() {
        bail!("{} holds no certificate in PEM form", file.display());
    }
    let mut vouched = None;
    if vouching {
        let mut roots = RootCertStore::empty();
        if roots.add_parsable_certificates(certificates.iter().cloned()).0 > 0 {
            vouched = Some(WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build()?);
        }
    } else {
        certificates.truncate(1);
    }
    let verifier = Arc::new(Known { certificates, vouched, provider: provider.clone() });
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

/// Trusts servers by their very certificates. A self-signed one is often marked as an authority's, which no server may show by the rules; who holds its key is who
/// was meant all the same.
#[derive(Debug)]
struct Known {
    certificates: Vec<CertificateDer<'static>>,
    /// For others: that a known one vouches for them.
    vouched: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Known {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.certificates.iter().any(|known| known == shown) {
            return Ok(ServerCertVerified::assertion());
        }
        match &self.vouched {
            Some(verifier) => verifier.verify_server_cert(shown, between, name, ocsp, now),
            None => Err(CertificateError::UnknownIssuer.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
