//! The host's own certificate authority: made at first use, its key in one file that only the owner may read, and good for nothing but names of `amazonaws.com`.
//!
//! The certificate says so itself (name constraints, RFC 5280, section 4.2.1.10): whoever should get hold of the key can put on no other mask with it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use frontdesk_store::{DataFolder, DataFolderError};
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, NameConstraints,
};
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use time::{Duration, OffsetDateTime};

/// The file of key and certificate, in the data folder.
const FILE: &str = "local-ca.json";
/// What the authority is for.
const DOMAIN: &str = "amazonaws.com";
/// How long an authority lasts, and how long before its end another is made.
const AUTHORITY_DAYS: Duration = Duration::days(3650);
const AUTHORITY_DAYS_LEFT_MIN: Duration = Duration::days(60);
/// How long a host's certificate lasts, and how long before its end another is made. Programs that look twice at long ones are content with this.
const LEAF_DAYS: Duration = Duration::days(30);
const LEAF_DAYS_LEFT_MIN: Duration = Duration::days(1);
/// Clocks of a machine and its containers may differ.
const CLOCK_SKEW: Duration = Duration::days(1);
/// Hosts whose certificates are kept; with one more, all are made anew.
const LEAVES_MAX: usize = 256;

/// Why there is no authority, or no certificate.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The file cannot be read.
    #[error("failed to read the local certificate authority from {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is no authority's.
    #[error("{} holds no certificate authority: remove it, and the next start makes another", .0.display())]
    Damaged(PathBuf),
    /// The file cannot be written.
    #[error(transparent)]
    Write(#[from] DataFolderError),
    /// A certificate could not be made.
    #[error("failed to make a certificate")]
    Make(#[from] rcgen::Error),
    /// TLS does not take a certificate.
    #[error("failed to use a certificate")]
    Use(#[from] rustls::Error),
}

/// The authority.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    certificate_pem: String,
    /// One key for all hosts' certificates, for as long as this lives.
    leaf_key: KeyPair,
    provider: Arc<CryptoProvider>,
    leaves: Mutex<HashMap<String, Leaf>>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Authority(…)")
    }
}

/// A host's certificate, in use.
struct Leaf {
    server: Arc<ServerConfig>,
    ends: OffsetDateTime,
}

/// The file. `Debug` is absent on purpose.
#[derive(Serialize, Deserialize)]
struct AuthorityFile {
    certificate: String,
    key: String,
    not_after_unix: i64,
}

impl Authority {
    /// The authority of a data folder, made now if there is none or its end is near.
    ///
    /// # Errors
    /// See [`AuthorityError`].
    pub fn open(data_folder: &DataFolder, now: OffsetDateTime) -> Result<Authority, AuthorityError> {
        let path = data_folder.path().join(FILE);
        match std::fs::read(&path) {
            Ok(text) => {
                let file: AuthorityFile = serde_json::from_slice(&text).map_err(|_| AuthorityError::Damaged(path.clone()))?;
                if file.not_after_unix > (now + AUTHORITY_DAYS_LEFT_MIN).unix_timestamp() {
                    let key = KeyPair::from_pem(&file.key).map_err(|_| AuthorityError::Damaged(path.clone()))?;
                    let certificate = CertificateDer::from_pem_slice(file.certificate.as_bytes());
                    let certificate = certificate.map_err(|_| AuthorityError::Damaged(path))?;
                    return Authority::new(key, certificate, file.certificate);
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(source) => return Err(AuthorityError::Read { path, source }),
        }
        let key = KeyPair::generate()?;
        let not_after = now + AUTHORITY_DAYS;
        let mut parameters = parameters(&key);
        (parameters.not_before, parameters.not_after) = (now - CLOCK_SKEW, not_after);
        let certificate = parameters.self_signed(&key)?;
        let file = AuthorityFile { certificate: certificate.pem(), key: key.serialize_pem(), not_after_unix: not_after.unix_timestamp() };
        data_folder.write_private(FILE, &serde_json::to_vec_pretty(&file).unwrap_or_default())?;
        Authority::new(key, certificate.der().clone(), file.certificate)
    }

    fn new(key: KeyPair, certificate: CertificateDer<'static>, certificate_pem: String) -> Result<Authority, AuthorityError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let (leaf_key, leaves) = (KeyPair::generate()?, Mutex::default());
        Ok(Authority { issuer: Issuer::new(parameters(&key), key), certificate, certificate_pem, leaf_key, provider, leaves })
    }

    /// The certificate that programs must trust, as PEM. The key is never told.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// What speaks TLS as a host, HTTP/2 or HTTP/1.1.
    ///
    /// # Errors
    /// [`AuthorityError::Make`] for a name that no certificate can hold, and [`AuthorityError::Use`].
    pub(super) fn server(&self, host: &str, now: OffsetDateTime) -> Result<Arc<ServerConfig>, AuthorityError> {
        let mut leaves = self.leaves.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(leaf) = leaves.get(host).filter(|leaf| leaf.ends > now + LEAF_DAYS_LEFT_MIN) {
            return Ok(leaf.server.clone());
        }
        let ends = now + LEAF_DAYS;
        let server = Arc::new(self.new_server(host, now, ends)?);
        if leaves.len() >= LEAVES_MAX {
            leaves.clear();
        }
        leaves.insert(host.to_owned(), Leaf { server: server.clone(), ends });
        Ok(server)
    }

    fn new_server(&self, host: &str, now: OffsetDateTime, ends: OffsetDateTime) -> Result<ServerConfig, AuthorityError> {
        let mut parameters = CertificateParams::new([host.to_owned()])?;
        parameters.distinguished_name = named("Frontdesk, in AWS's place");
        (parameters.not_before, parameters.not_after) = (now - CLOCK_SKEW, ends);
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        parameters.use_authority_key_identifier_extension = true;
        let leaf = parameters.signed_by(&self.leaf_key, &self.issuer)?;
        let chain = vec![leaf.der().clone(), self.certificate.clone()];
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.leaf_key.serialize_der()));
        let builder = ServerConfig::builder_with_provider(self.provider.clone()).with_safe_default_protocol_versions()?;
        let mut server = builder.with_no_client_auth().with_single_cert(chain, key)?;
        server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(server)
    }
}

/// All that a key's authority says of itself but its dates: the same at each start.
fn parameters(key: &KeyPair) -> CertificateParams {
    let mark: String = Sha256::digest(key.public_key_raw()).iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = named(&format!("Frontdesk local authority {mark}"));
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    parameters.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![GeneralSubtree::DnsName(DOMAIN.to_owned())],
        // A certificate may name addresses instead, which the line above says nothing of.
        excluded_subtrees: vec![
            GeneralSubtree::IpAddress(CidrSubnet::V4([0; 4], [0; 4])),
            GeneralSubtree::IpAddress(CidrSubnet::V6([0; 16], [0; 16])),
        ],
    });
    parameters
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::OrganizationName, "Frontdesk");
    distinguished.push(DnType::CommonName, name);
    distinguished
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use rustls::client::WebPkiServerVerifier;
    use rustls::client::danger::ServerCertVerifier as _;
    use rustls::pki_types::{ServerName, UnixTime};
    use rustls::{CertificateError, Error, RootCertStore};
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-11-23 12:00 UTC);

    /// Whether somebody who trusts this authority alone takes its certificate for a host.
    fn trusted(authority: &Authority, host: &str, asked: &str, at: OffsetDateTime) -> Result<(), Error> {
        let mut parameters = CertificateParams::new([host.to_owned()]).unwrap();
        (parameters.not_before, parameters.not_after) = (NOW - CLOCK_SKEW, NOW + LEAF_DAYS);
        let leaf = parameters.signed_by(&authority.leaf_key, &authority.issuer).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.certificate_pem().as_bytes()).unwrap()).unwrap();
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), authority.provider.clone()).build().unwrap();
        let at = UnixTime::since_unix_epoch(std::time::Duration::from_secs(at.unix_timestamp().try_into().unwrap()));
        let name = ServerName::try_from(asked.to_owned()).unwrap();
        verifier.verify_server_cert(leaf.der(), &[], &name, &[], at).map(drop)
    }

    #[test]
    fn it_is_made_once_kept_private_and_made_anew_before_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let data_folder = DataFolder::hold(folder.path()).unwrap();
        let first = Authority::open(&data_folder, NOW).unwrap();
        let mode = std::fs::metadata(folder.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let again = Authority::open(&data_folder, NOW + Duration::days(3500)).unwrap();
        assert_eq!(again.certificate_pem(), first.certificate_pem());
        // What the second issues is trusted by who knows the first.
        let leaf = "sts.amazonaws.com";
        assert_eq!(trusted(&again, leaf, leaf, NOW), Ok(()));
        let later = Authority::open(&data_folder, NOW + Duration::days(3600)).unwrap();
        assert_ne!(later.certificate_pem(), first.certificate_pem());
        std::fs::write(folder.path().join(FILE), "{}").unwrap();
        assert!(Authority::open(&data_folder, NOW).unwrap_err().to_string().contains("remove it"));
    }

    #[test]
    fn it_vouches_for_nobody_but_amazonaws_com() {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::open(&DataFolder::hold(folder.path()).unwrap(), NOW).unwrap();
        let aws = "abc.execute-api.us-east-1.amazonaws.com";
        assert_eq!(trusted(&authority, aws, aws, NOW), Ok(()));
        for other in ["example.com", "amazonaws.com.cn", "127.0.0.1", "::1"] {
            let refused = trusted(&authority, other, other, NOW).unwrap_err();
            assert!(matches!(refused, Error::InvalidCertificate(CertificateError::Other(_))), "{other}: {refused:?}");
        }
        assert!(trusted(&authority, aws, "sts.amazonaws.com", NOW).is_err());
        assert!(trusted(&authority, aws, aws, NOW + Duration::days(31)).is_err());
    }

    #[test]
    fn a_host_s_certificate_is_kept_until_its_end_is_near() {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::open(&DataFolder::hold(folder.path()).unwrap(), NOW).unwrap();
        let first = authority.server("sts.amazonaws.com", NOW).unwrap();
        assert!(Arc::ptr_eq(&first, &authority.server("sts.amazonaws.com", NOW + Duration::days(28)).unwrap()));
        assert!(!Arc::ptr_eq(&first, &authority.server("sts.amazonaws.com", NOW + Duration::days(30)).unwrap()));
        for number in 0..LEAVES_MAX {
            authority.server(&format!("a{number}.execute-api.us-east-1.amazonaws.com"), NOW).unwrap();
        }
        assert!(authority.leaves.lock().unwrap().len() <= LEAVES_MAX);
    }
}
