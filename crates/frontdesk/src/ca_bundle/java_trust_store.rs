//! The same certificates for Java, which reads no PEM: a key store of trusted certificates and nothing else, in the format JKS.
//!
//! The format is that of OpenJDK's `sun.security.provider.JavaKeyStore`, whose `engineStore` describes it: all numbers big-endian, texts with their length in two
//! bytes before them. JKS rather than PKCS #12, since every Java reads it and it takes no cipher to write. Private keys, which it would protect badly, are not written.

use ring::digest;
use rustls::pki_types::CertificateDer;

const MAGIC: u32 = 0xFEED_FEED;
const VERSION: u32 = 2;
/// The tag of an entry that is a certificate.
const TRUSTED_CERTIFICATE: u32 = 2;
const CERTIFICATE_TYPE: &str = "X.509";
/// The password of Java's own store of roots. Nothing is kept secret by it: it is for programs that insist on one.
const PASSWORD: &str = "changeit";
/// What the digest has between password and content.
const WHITENER: &[u8] = b"Mighty Aphrodite";
/// When an entry was made, in milliseconds: left at the epoch, so that the same certificates make the same file.
const CREATED_MS: u64 = 0;

/// The store of these certificates, under names that count them: `root-1` and so on.
///
/// # Errors
/// When one is longer than the format can say.
pub(super) fn encode(certificates: &[CertificateDer<'_>]) -> Result<Vec<u8>, std::num::TryFromIntError> {
    let mut store = Vec::new();
    store.extend(MAGIC.to_be_bytes());
    store.extend(VERSION.to_be_bytes());
    store.extend(u32::try_from(certificates.len())?.to_be_bytes());
    for (number, certificate) in certificates.iter().enumerate() {
        store.extend(TRUSTED_CERTIFICATE.to_be_bytes());
        push_text(&mut store, &format!("root-{}", number + 1))?;
        store.extend(CREATED_MS.to_be_bytes());
        push_text(&mut store, CERTIFICATE_TYPE)?;
        store.extend(u32::try_from(certificate.len())?.to_be_bytes());
        store.extend_from_slice(certificate);
    }
    // The format's own; nothing rests on it, for whoever may write the file may write the digest.
    let mut integrity = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    for unit in PASSWORD.encode_utf16() {
        integrity.update(&unit.to_be_bytes());
    }
    integrity.update(WHITENER);
    integrity.update(&store);
    store.extend_from_slice(integrity.finish().as_ref());
    Ok(store)
}

fn push_text(store: &mut Vec<u8>, text: &str) -> Result<(), std::num::TryFromIntError> {
    store.extend(u16::try_from(text.len())?.to_be_bytes());
    store.extend_from_slice(text.as_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `keytool` reads a whole store in tests/exec.rs.
    #[test]
    fn an_empty_store_is_that_of_java_s_own() {
        // What `KeyStore.getInstance("JKS")` stores after `load(null, null)`, with the same password.
        let expected = "feedfeed0000000200000000e2686e45fb43dfa4d992dd41ceb6b21c6330d792";
        assert_eq!(hex::encode(encode(&[]).unwrap()), expected);
    }
}
