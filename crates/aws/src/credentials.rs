//! Who signs: an access key id, its secret, and for temporary credentials a session token. Secrets print nothing and are wiped when dropped.

use std::fmt;
use std::sync::Arc;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// The public half of an access key, such as `AKIAIOSFODNN7EXAMPLE`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccessKeyId(String);

impl AccessKeyId {
    /// Takes any text: AWS publishes no grammar for access key ids beyond "16 to 128 word characters", and emulators use shorter ones.
    pub fn new(id: impl Into<String>) -> Self {
        Self(id.into())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AccessKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The secret half of an access key.
///
/// Clones share one copy in memory, which is overwritten when the last of them is dropped. `Debug` prints no part of it, and `==` takes the same
/// time wherever the two differ.
#[derive(Clone)]
pub struct SecretKey(Arc<Zeroizing<String>>);

impl SecretKey {
    /// Keeps `secret`. The caller's `String` is moved, not copied, so that no second copy is left behind.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(Arc::new(Zeroizing::new(secret.into())))
    }

    /// The secret itself, for whoever must sign with it or store it sealed.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl PartialEq for SecretKey {
    fn eq(&self, other: &Self) -> bool {
        bool::from(self.expose().as_bytes().ct_eq(other.expose().as_bytes()))
    }
}

impl Eq for SecretKey {}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(..)")
    }
}

/// What a caller signs with, and what a verifier looks up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// Sent with every request, in the clear.
    pub access_key_id: AccessKeyId,
    /// Never sent.
    pub secret_access_key: SecretKey,
    /// Set for temporary credentials (an assumed role); sent with every request.
    pub session_token: Option<SecretKey>,
}

impl Credentials {
    /// Long-lived credentials: no session token.
    pub fn new(access_key_id: impl Into<String>, secret_access_key: impl Into<String>) -> Self {
        Self { access_key_id: AccessKeyId::new(access_key_id), secret_access_key: SecretKey::new(secret_access_key), session_token: None }
    }

    /// The same, made temporary by the token of the session they belong to.
    #[must_use]
    pub fn with_session_token(mut self, token: impl Into<String>) -> Self {
        self.session_token = Some(SecretKey::new(token));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_prints_no_secret() {
        let credentials = Credentials::new("AKIDEXAMPLE", "wJalrXUtnFEMI").with_session_token("FwoGZXIvYXdz");
        let printed = format!("{credentials:?} {credentials:#?}");
        assert!(printed.contains("AKIDEXAMPLE"));
        assert!(!printed.contains("wJalr") && !printed.contains("FwoG"), "{printed}");
    }

    #[test]
    fn secrets_compare_by_content() {
        let check = |one: &str, other: &str, expected: bool| {
            assert_eq!(SecretKey::new(one) == SecretKey::new(other), expected, "{one} == {other}");
        };
        check("secret", "secret", true);
        check("secret", "secreT", false);
        check("secret", "secrets", false);
        check("", "", true);
    }
}
