//! The certificates that a program must trust to reach this host under AWS's names, and everybody else as before: the machine's own roots and the local authority's.

mod java_trust_store;

use std::collections::HashSet;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

/// The variables by which programs are told of such a file: the aws CLI and boto3, requests, OpenSSL (Python's urllib, Ruby, Go), curl.
pub(crate) const VARIABLES: [&str; 4] = ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE"];
/// Node's, whose file is for certificates besides its own.
pub(crate) const NODE_VARIABLE: &str = "NODE_EXTRA_CA_CERTS";

/// Writes the bundle, whole or not at all; for everybody to read, since there is nothing secret in it.
pub(crate) fn write(path: &Path, authority_pem: &str) -> anyhow::Result<()> {
    write_file(path, certificates(authority_pem).iter().map(pem).collect::<String>().as_bytes())
}

/// Writes the bundle's certificates as Java reads them, in the same way.
pub(crate) fn write_for_java(path: &Path, authority_pem: &str) -> anyhow::Result<()> {
    let store = java_trust_store::encode(&certificates(authority_pem)).context("a certificate is too long for Java's trust store")?;
    write_file(path, &store)
}

fn write_file(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let write = || -> std::io::Result<()> {
        std::fs::create_dir_all(folder)?;
        let mut beside = tempfile::Builder::new().prefix(".ca-bundle-").tempfile_in(folder)?;
        std::io::Write::write_all(&mut beside, content)?;
        beside.as_file().set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
        beside.persist(path)?;
        Ok(())
    };
    write().with_context(|| format!("failed to write {}", path.display()))
}

/// Each certificate once, the authority's first.
fn certificates(authority_pem: &str) -> Vec<CertificateDer<'static>> {
    let mut certificates: Vec<CertificateDer<'static>> = Vec::new();
    certificates.extend(CertificateDer::pem_slice_iter(authority_pem.as_bytes()).filter_map(Result::ok));
    // As the environment says, else where the system has them.
    let roots = rustls_native_certs::load_native_certs().certs;
    if roots.is_empty() {
        // A slim container has none; what brings its own then (requests) must not lose them.
        certificates.extend(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned());
    }
    certificates.extend(roots);
    // A company's own authority may be named to one program and not to another.
    for file in VARIABLES.into_iter().chain([NODE_VARIABLE]).filter_map(std::env::var_os) {
        if let Ok(found) = CertificateDer::pem_file_iter(file) {
            certificates.extend(found.filter_map(Result::ok));
        }
    }
    let mut seen = HashSet::new();
    certificates.retain(|certificate| seen.insert(certificate.to_vec()));
    certificates
}

/// RFC 7468, section 5.
fn pem(certificate: &CertificateDer<'_>) -> String {
    let encoded = STANDARD.encode(certificate);
    let mut text = "-----BEGIN CERTIFICATE-----\n".to_owned();
    for line in encoded.as_bytes().chunks(64) {
        let _ = writeln!(text, "{}", String::from_utf8_lossy(line));
    }
    text.push_str("-----END CERTIFICATE-----\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_holds_each_certificate_once_and_the_authority_s_first() {
        let root = webpki_root_certs::TLS_SERVER_ROOT_CERTS.first().unwrap();
        let bundle: String = certificates(&pem(root)).iter().map(pem).collect();
        let found: Vec<_> = CertificateDer::pem_slice_iter(bundle.as_bytes()).map(Result::unwrap).collect();
        assert_eq!(found.first(), Some(root));
        assert_eq!(found.iter().filter(|certificate| *certificate == root).count(), 1);
        assert!(found.len() > 10, "a machine trusts more than {} authorities", found.len());
    }
}
