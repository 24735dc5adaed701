//! Session tokens: what temporary credentials are, sealed with the host's key so that nobody reads, alters or invents them.
//!
//! Nothing is kept: a token outlives a restart, costs no memory, and ends by its own date, or when its user or role is gone. It is bound to its access key
//! id, so that a token and a key of two sessions do not fit.

use std::collections::BTreeMap;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use frontdesk_store::{SealError, SealKey};
use serde::{Deserialize, Serialize};

/// What a session token says.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Session {
    /// The secret access key.
    pub(super) secret: String,
    pub(super) holder: Holder,
    /// Policies that bound the session: documents, and ARNs of managed ones.
    pub(super) policies: Vec<String>,
    pub(super) policy_arns: Vec<String>,
    /// Session tags, which are the principal's.
    pub(super) tags: BTreeMap<String, String>,
    /// Unix seconds.
    pub(super) issued_at: i64,
    /// Unix seconds.
    pub(super) expires_at: i64,
}

/// Whose the session is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Holder {
    /// The account's root.
    Root,
    /// A user, by id.
    User(String),
    /// A role, by id, under a name of the caller's.
    Role { id: String, session_name: String },
}

impl std::fmt::Debug for Session {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Session").field("holder", &self.holder).field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

impl Session {
    /// The token, for the access key with this id.
    pub(super) fn seal(&self, seal_key: &SealKey, access_key_id: &str) -> Result<String, SealError> {
        let claims = serde_json::to_string(self).expect("maps with text keys become JSON");
        Ok(BASE64_STANDARD.encode(seal_key.seal(&claims, &bound_to(access_key_id))?))
    }

    /// What a token says; nothing when this host did not make it for this access key.
    pub(super) fn open(token: &str, seal_key: &SealKey, access_key_id: &str) -> Option<Session> {
        let sealed = BASE64_STANDARD.decode(token).ok()?;
        let claims = seal_key.open(&sealed, &bound_to(access_key_id)).ok()?;
        serde_json::from_str(claims.expose()).ok()
    }
}

/// Apart from whatever else is sealed for an id.
fn bound_to(access_key_id: &str) -> String {
    format!("session/{access_key_id}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_opens_for_its_own_key_alone() {
        let session = Session {
            secret: "s3cret".to_owned(),
            holder: Holder::Role { id: "AROA1".to_owned(), session_name: "test".to_owned() },
            policies: vec!["{}".to_owned()],
            policy_arns: Vec::new(),
            tags: BTreeMap::from([("team".to_owned(), "red".to_owned())]),
            issued_at: 1,
            expires_at: 2,
        };
        let key = SealKey::from_bytes(&[1; 32]);
        let token = session.seal(&key, "ASIA1").unwrap();
        let check = |token: &str, key: &SealKey, id: &str, expected: bool| {
            assert_eq!(Session::open(token, key, id), expected.then(|| session.clone()), "{id}");
        };
        check(&token, &key, "ASIA1", true);
        check(&token, &key, "ASIA2", false);
        check(&token, &SealKey::from_bytes(&[2; 32]), "ASIA1", false);
        check(&token[1..], &key, "ASIA1", false);
        check("", &key, "ASIA1", false);
        assert!(!token.contains("s3cret") && !format!("{session:?}").contains("s3cret"));
    }
}
