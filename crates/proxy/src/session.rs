//! Which conversation a call belongs to.
//!
//! AgentCore wants a session id of 33 to 256 characters. One is derived from key, actor and thread, so that two callers who happen to choose the same thread never
//! share a conversation; a call that names no thread is a conversation of its own.

use sha2::{Digest as _, Sha256};

use crate::payload::Question;

/// The header that carries a session id.
pub const SESSION_ID_HEADER: &str = "x-amzn-bedrock-agentcore-runtime-session-id";

pub(crate) fn session_id(api_key_id: Option<&str>, question: &Question) -> String {
    let Some(thread_id) = question.thread_id.as_deref().filter(|thread_id| !thread_id.is_empty()) else {
        return uuid::Uuid::new_v4().to_string();
    };
    let mut hasher = Sha256::new();
    for part in [api_key_id.unwrap_or_default(), question.actor_id.as_deref().unwrap_or_default(), thread_id] {
        // With its length in front, so that ("ab", "c") and ("a", "bc") differ.
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hex::encode(hasher.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(key: &str, actor: Option<&str>, thread: Option<&str>) -> String {
        let question = Question { prompt: "hi".to_owned(), actor_id: actor.map(str::to_owned), thread_id: thread.map(str::to_owned) };
        let id = session_id(Some(key), &question);
        assert!((33..=256).contains(&id.len()), "{id}");
        id
    }

    #[test]
    fn one_key_actor_and_thread_is_one_session() {
        assert_eq!(id("k", Some("a"), Some("t")), id("k", Some("a"), Some("t")));
        assert_eq!(id("k", None, Some("t")), id("k", None, Some("t")));
    }

    #[test]
    fn any_difference_is_another_session() {
        let all = [
            id("k", Some("a"), Some("t")),
            id("l", Some("a"), Some("t")),
            id("k", Some("b"), Some("t")),
            id("k", Some("a"), Some("u")),
            id("ka", None, Some("t")),
            id("k", Some("at"), Some("")),
        ];
        let distinct: std::collections::HashSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
    }

    #[test]
    fn a_call_without_a_thread_is_a_session_of_its_own() {
        assert_ne!(id("k", Some("a"), None), id("k", Some("a"), None));
        assert_ne!(id("k", Some("a"), Some("")), id("k", Some("a"), Some("")));
    }
}
