//! The body that callers send, checked; and the payload that the agent gets.

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value};

/// The default limit on a prompt's length, in Unicode characters.
pub const PROMPT_CHARS_MAX: usize = 32_000;
/// An actor's or a thread's name is an identifier, not a document.
const NAME_CHARS_MAX: usize = 1024;

/// What the API documents for a call that names no actor.
const DEFAULT_ACTOR_ID: &str = "api-user";
/// What the API documents for a call that names no thread.
const DEFAULT_THREAD_ID: &str = "api-session";

/// A checked question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) prompt: String,
    pub(crate) actor_id: Option<String>,
    pub(crate) thread_id: Option<String>,
}

impl Question {
    /// Whom it is for.
    pub(crate) fn actor(&self) -> &str {
        self.actor_id.as_deref().unwrap_or(DEFAULT_ACTOR_ID)
    }

    /// The agent's payload: `{"prompt", "actor_id", "thread_id"}`, with the documented defaults; and `"stream": true` where the answer is
    /// wanted in pieces.
    pub(crate) fn to_agent(&self, stream: bool) -> Bytes {
        let payload = Payload {
            prompt: &self.prompt,
            actor_id: self.actor(),
            thread_id: self.thread_id.as_deref().unwrap_or(DEFAULT_THREAD_ID),
            stream,
        };
        serde_json::to_vec(&payload).expect("strings always serialize").into()
    }
}

#[derive(Serialize)]
struct Payload<'a> {
    prompt: &'a str,
    actor_id: &'a str,
    thread_id: &'a str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    stream: bool,
}

/// Why a body is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("Request body is not valid JSON")]
    NotJson { details: String },
    #[error("Request body must be a JSON object")]
    NotAnObject,
    #[error("Missing required field: prompt")]
    NoPrompt,
    #[error("Field {field} must be a string")]
    NotAString { field: &'static str },
    #[error("Field {field} is longer than the limit of {limit} characters")]
    TooLong { field: &'static str, limit: usize },
}

/// Checks a body.
///
/// A field that is `null` counts as left out: serializers of several languages send it for an optional field that is not set.
pub(crate) fn parse(body: &[u8], prompt_chars_max: usize) -> Result<Question, Refused> {
    let value: Value = serde_json::from_slice(body).map_err(|error| Refused::NotJson { details: error.to_string() })?;
    let Value::Object(mut fields) = value else { return Err(Refused::NotAnObject) };
    let prompt = take(&mut fields, "prompt", prompt_chars_max)?.filter(|prompt| !prompt.trim().is_empty());
    Ok(Question {
        prompt: prompt.ok_or(Refused::NoPrompt)?,
        actor_id: take(&mut fields, "actor_id", NAME_CHARS_MAX)?,
        thread_id: take(&mut fields, "thread_id", NAME_CHARS_MAX)?,
    })
}

fn take(fields: &mut Map<String, Value>, field: &'static str, limit: usize) -> Result<Option<String>, Refused> {
    match fields.remove(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.chars().count() > limit => Err(Refused::TooLong { field, limit }),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Refused::NotAString { field }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &str, expected: &str) {
        let told = match parse(body.as_bytes(), 10) {
            Ok(question) => String::from_utf8(question.to_agent(false).to_vec()).unwrap(),
            Err(refused) => refused.to_string(),
        };
        assert_eq!(told, expected, "{body}");
    }

    #[test]
    fn ids_left_out_or_null_get_the_documented_defaults() {
        let defaults = r#"{"prompt":"hi","actor_id":"api-user","thread_id":"api-session"}"#;
        check(r#"{"prompt":"hi"}"#, defaults);
        check(r#"{"prompt":"hi","actor_id":null,"thread_id":null,"more":1}"#, defaults);
        check(r#"{"prompt":"hi","actor_id":"a","thread_id":"t"}"#, r#"{"prompt":"hi","actor_id":"a","thread_id":"t"}"#);
    }

    #[test]
    fn a_stream_is_asked_for_in_the_payload() {
        let question = parse(br#"{"prompt":"hi","actor_id":"a","thread_id":"t"}"#, 10).unwrap();
        assert_eq!(question.to_agent(true), r#"{"prompt":"hi","actor_id":"a","thread_id":"t","stream":true}"#);
    }

    #[test]
    fn a_bad_body_is_refused_by_name() {
        check("", "Request body is not valid JSON");
        check("{", "Request body is not valid JSON");
        check("[]", "Request body must be a JSON object");
        check("{}", "Missing required field: prompt");
        check(r#"{"prompt":""}"#, "Missing required field: prompt");
        check(r#"{"prompt":" \n"}"#, "Missing required field: prompt");
        check(r#"{"prompt":null}"#, "Missing required field: prompt");
        check(r#"{"prompt":7}"#, "Field prompt must be a string");
        check(r#"{"prompt":"hi","actor_id":7}"#, "Field actor_id must be a string");
        check(r#"{"prompt":"ääääääääää"}"#, r#"{"prompt":"ääääääääää","actor_id":"api-user","thread_id":"api-session"}"#);
        check(r#"{"prompt":"12345678901"}"#, "Field prompt is longer than the limit of 10 characters");
    }
}
