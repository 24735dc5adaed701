//! Sealing: secrets at rest are encrypted, and API keys are looked up by a keyed digest.
//!
//! One 32-byte seal key; from it HMAC-SHA256 with a label derives one key for encryption (ChaCha20-Poly1305, random nonce in front of the ciphertext)
//! and one for digests, so that neither use weakens the other.

use std::io;
use std::path::{Path, PathBuf};

use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{ChaCha20Poly1305, KeyInit as _};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::api_keys::KeyDigest;
use crate::data_folder::write_private;

/// Size of a seal key.
pub const SEAL_KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 12;

/// A text that must not be seen: `Debug` prints nothing of it, and its memory is wiped.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(Zeroizing<String>);

impl SecretText {
    /// Wraps a secret.
    #[must_use]
    pub fn new(text: String) -> SecretText {
        SecretText(Zeroizing::new(text))
    }

    /// The secret itself, for the one place that needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for SecretText {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("SecretText(…)")
    }
}

/// Why a seal key cannot be used or a secret cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The key file cannot be read or made.
    #[error("failed to use the seal key file {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The key is not 64 hexadecimal digits.
    #[error("the seal key in {place} must be 64 hexadecimal digits (32 bytes)")]
    Malformed {
        /// The file or variable that holds it.
        place: String,
    },
    /// The system's random generator failed.
    #[error("the system's random generator failed: {0}")]
    Random(getrandom::Error),
    /// A sealed secret does not open with this key.
    #[error("a sealed secret does not open: the seal key is not the one that this data folder was made with")]
    WrongKey,
}

/// The keys derived from the seal key.
#[derive(Clone)]
pub struct SealKey {
    encryption: Zeroizing<[u8; SEAL_KEY_BYTES]>,
    /// The digest key, with which HMAC has begun.
    digest: Hmac<Sha256>,
}

impl std::fmt::Debug for SealKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("SealKey(…)")
    }
}

impl SealKey {
    /// Derives the keys from the seal key's bytes.
    #[must_use]
    pub fn from_bytes(seal_key: &[u8; SEAL_KEY_BYTES]) -> SealKey {
        SealKey {
            encryption: Zeroizing::new(keyed_hash(seal_key, b"frontdesk seal: encryption")),
            digest: keyed(&*Zeroizing::new(keyed_hash(seal_key, b"frontdesk seal: api key digest"))),
        }
    }

    /// Reads a seal key written as 64 hexadecimal digits.
    ///
    /// # Errors
    /// [`SealError::Malformed`], naming `place`.
    pub fn from_hex(digits: &str, place: &str) -> Result<SealKey, SealError> {
        let mut seal_key = Zeroizing::new([0; SEAL_KEY_BYTES]);
        hex::decode_to_slice(digits.trim(), &mut *seal_key).map_err(|_| SealError::Malformed { place: place.to_owned() })?;
        Ok(SealKey::from_bytes(&seal_key))
    }

    /// Reads the key file, or makes one (mode 0600) where it is missing.
    ///
    /// # Errors
    /// See [`SealError`].
    pub fn from_file(path: &Path) -> Result<SealKey, SealError> {
        let fail = |source| SealError::File { path: path.to_owned(), source };
        match std::fs::read_to_string(path) {
            Ok(digits) => SealKey::from_hex(&digits, &path.display().to_string()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mut seal_key = [0; SEAL_KEY_BYTES];
                getrandom::fill(&mut seal_key).map_err(SealError::Random)?;
                write_private(path, format!("{}\n", hex::encode(seal_key)).as_bytes()).map_err(fail)?;
                Ok(SealKey::from_bytes(&seal_key))
            }
            Err(error) => Err(fail(error)),
        }
    }

    /// The digest by which an API key is found.
    #[must_use]
    pub fn digest(&self, api_key_value: &str) -> KeyDigest {
        KeyDigest(finished(self.digest.clone(), api_key_value.as_bytes()))
    }

    /// What tells this key from another and is no help in finding it.
    pub(crate) fn fingerprint(&self) -> String {
        // No API key has spaces, so this is no API key's digest.
        hex::encode(finished(self.digest.clone(), b"frontdesk seal: fingerprint"))
    }

    /// Encrypts a secret. `bound_to` (a row's id) must be given again to open it, so that sealed values cannot be swapped between rows.
    ///
    /// # Errors
    /// [`SealError::Random`].
    pub fn seal(&self, secret: &str, bound_to: &str) -> Result<Vec<u8>, SealError> {
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).map_err(SealError::Random)?;
        let payload = Payload { msg: secret.as_bytes(), aad: bound_to.as_bytes() };
        let ciphertext = self.cipher().encrypt(&nonce.into(), payload).expect("a secret is far shorter than the cipher's 256 GiB limit");
        Ok([nonce.as_slice(), &ciphertext].concat())
    }

    /// Decrypts what [`SealKey::seal`] made.
    ///
    /// # Errors
    /// [`SealError::WrongKey`] when it was sealed with another key, for another row, or altered.
    pub fn open(&self, sealed: &[u8], bound_to: &str) -> Result<SecretText, SealError> {
        let (nonce, ciphertext) = sealed.split_first_chunk::<NONCE_BYTES>().ok_or(SealError::WrongKey)?;
        let payload = Payload { msg: ciphertext, aad: bound_to.as_bytes() };
        let opened = self.cipher().decrypt(nonce.into(), payload).map_err(|_| SealError::WrongKey)?;
        String::from_utf8(opened).map(SecretText::new).map_err(|_| SealError::WrongKey)
    }

    fn cipher(&self) -> ChaCha20Poly1305 {
        ChaCha20Poly1305::new((&*self.encryption).into())
    }
}

fn keyed_hash(key: &[u8], message: &[u8]) -> [u8; SEAL_KEY_BYTES] {
    finished(keyed(key), message)
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    <Hmac<Sha256> as Mac>::new_from_slice(key).expect("HMAC takes a key of any length")
}

fn finished(mut mac: Hmac<Sha256>, message: &[u8]) -> [u8; SEAL_KEY_BYTES] {
    mac.update(message);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_secret_opens_only_with_its_key_for_its_row_and_unaltered() {
        let key = SealKey::from_bytes(&[7; SEAL_KEY_BYTES]);
        let mut sealed = key.seal("the secret", "row 1").unwrap();
        assert_eq!(key.open(&sealed, "row 1").unwrap().expose(), "the secret");
        assert!(matches!(key.open(&sealed, "row 2"), Err(SealError::WrongKey)));
        assert!(matches!(SealKey::from_bytes(&[8; SEAL_KEY_BYTES]).open(&sealed, "row 1"), Err(SealError::WrongKey)));
        *sealed.last_mut().unwrap() ^= 1;
        assert!(matches!(key.open(&sealed, "row 1"), Err(SealError::WrongKey)));
        assert!(matches!(key.open(&[], "row 1"), Err(SealError::WrongKey)));
    }

    #[test]
    fn a_secret_is_not_printed() {
        assert!(!format!("{:?}", SecretText::new("hidden".to_owned())).contains("hidden"));
    }

    #[test]
    fn a_key_file_is_made_once_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seal-key");
        let first = SealKey::from_file(&path).unwrap();
        let second = SealKey::from_file(&path).unwrap();
        assert_eq!(first.digest("x"), second.digest("x"));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        std::fs::write(&path, "not a key").unwrap();
        assert!(SealKey::from_file(&path).unwrap_err().to_string().contains("64 hexadecimal digits"));
    }
}
