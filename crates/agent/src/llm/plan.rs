//! Which searches a question asks for: one for itself, one for each part when it asks several things, and one together with
//! the subject of the conversation when it only makes sense after what was said before. English only; a question in
//! another language is one search.

use serde_json::json;

use super::small_talk;
use crate::message::ToolCall;
use crate::tools::{REFORMULATE_QUERY, SEARCH_FAQ};

/// The id of the call that searches for the whole question.
pub(super) const WHOLE: &str = "search-whole";
/// The id of the call that searches for the question with the conversation's subject.
pub(super) const FOLLOW_UP: &str = "search-follow-up";
/// The ids of the calls that search for the parts of a question.
pub(super) const PARTS: [&str; 3] = ["search-part-1", "search-part-2", "search-part-3"];

/// Words with which a question begins that stands for itself.
const QUESTION_WORDS: &[&str] = &[
    "how", "what", "whats", "where", "wheres", "when", "who", "whom", "whose", "which", "why", "can", "could", "do", "does", "did", "is",
    "are", "am", "was", "will", "would", "should", "may", "must", "have", "has",
];

/// Words that point back to something said before.
const POINTERS: &[&str] = &[
    "it", "its", "that", "this", "they", "them", "their", "those", "these", "one", "ones", "there", "then", "same", "instead", "either",
    "both", "else",
];

/// With these a question goes on from the one before.
const CONTINUATIONS: &[&str] = &["and", "or", "also", "but", "what about", "how about", "so", "then", "ok and", "okay and"];

/// A question of so few words says too little alone.
const SHORT_WORDS_MAX: usize = 3;

/// The searches for `question`, after a conversation about `subject`.
pub(super) fn searches(question: &str, subject: Option<&str>) -> Vec<ToolCall> {
    let search = |id: &str, query: &str| call(id, SEARCH_FAQ, json!({ "query": query }));
    let mut calls = vec![search(WHOLE, question)];
    if let Some(subject) = subject
        && is_follow_up(question)
    {
        calls.push(call(FOLLOW_UP, REFORMULATE_QUERY, json!({ "original_query": subject, "focus_aspect": question })));
        return calls;
    }
    let parts = parts(question);
    if parts.len() > 1 {
        calls.extend(PARTS.iter().zip(parts).map(|(id, part)| search(id, part)));
    }
    calls
}

fn call(id: &str, name: &str, arguments: serde_json::Value) -> ToolCall {
    ToolCall { id: id.to_owned(), name: name.to_owned(), arguments }
}

/// Whether `question` leans on what was said before: it goes on from it, points back to it, or is too short to say what it is about.
pub(super) fn is_follow_up(question: &str) -> bool {
    let words = words(question);
    let text = words.join(" ");
    let continues = CONTINUATIONS.iter().any(|start| text.strip_prefix(start).is_some_and(|rest| rest.is_empty() || rest.starts_with(' ')));
    continues || words.len() <= SHORT_WORDS_MAX || words.iter().any(|word| POINTERS.contains(&word.as_str()))
}

/// The questions that `text` asks, at most as many as [`PARTS`]; `text` itself where it asks one.
pub(super) fn parts(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    for sentence in text.split_inclusive(['?', ';', '\n']) {
        let mut rest = sentence;
        while let Some(at) = next_question(rest) {
            parts.push(&rest[..at]);
            rest = &rest[at..];
        }
        parts.push(rest);
    }
    let parts: Vec<&str> = parts.into_iter().map(trim).filter(|part| words(part).len() > 2).collect();
    if parts.len() > PARTS.len() || parts.is_empty() { vec![text] } else { parts }
}

/// Where in `text` an " and " stands between two questions, each of several words.
fn next_question(text: &str) -> Option<usize> {
    let lower = text.to_ascii_lowercase();
    lower.match_indices(" and ").map(|(at, _)| at).find(|at| {
        let (before, after) = (words(&lower[..*at]), words(&lower[at + " and ".len()..]));
        before.len() > 2 && after.len() > 2 && QUESTION_WORDS.contains(&after[0].as_str())
    })
}

fn trim(part: &str) -> &str {
    let part = part.trim_matches(|character: char| character.is_whitespace() || matches!(character, ',' | ';'));
    part.strip_prefix("and ").or_else(|| part.strip_prefix("And ")).unwrap_or(part)
}

/// The words of `text` in lower case, without apostrophes.
fn words(text: &str) -> Vec<String> {
    small_talk::words(text).into_iter().map(|word| word.lower).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_parts(text: &str, expected: &[&str]) {
        assert_eq!(parts(text), expected, "{text:?}");
    }

    #[test]
    fn a_question_is_cut_where_another_begins() {
        check_parts("How do I activate roaming?", &["How do I activate roaming?"]);
        check_parts("How do I pay and what does a SIM cost?", &["How do I pay", "what does a SIM cost?"]);
        check_parts("How do I pay my bill? Where are your shops?", &["How do I pay my bill?", "Where are your shops?"]);
        check_parts("Do you sell phones; how do I return one?", &["Do you sell phones", "how do I return one?"]);
        check_parts("Is there roaming in Spain and Portugal?", &["Is there roaming in Spain and Portugal?"]);
        check_parts("my phone was stolen, what now?", &["my phone was stolen, what now?"]);
        check_parts("Really? How do I pay my bill?", &["How do I pay my bill?"]);
        check_parts(
            "one two three? one two three? one two three? one two three?",
            &["one two three? one two three? one two three? one two three?"],
        );
        check_parts("", &[""]);
    }

    fn check_follow_up(question: &str, expected: bool) {
        assert_eq!(is_follow_up(question), expected, "{question:?}");
    }

    #[test]
    fn a_follow_up_leans_on_what_was_said() {
        for question in
            ["and how much does it cost?", "What about Switzerland?", "how much?", "Can I switch it off again?", "Do they speak English?"]
        {
            check_follow_up(question, true);
        }
        for question in ["How do I activate roaming in Spain?", "Android phones: which do you sell?", "Where can I find my PUK code?"] {
            check_follow_up(question, false);
        }
    }

    #[test]
    fn the_subject_joins_only_a_follow_up() {
        let ids = |question: &str, subject| searches(question, subject).into_iter().map(|call| call.id).collect::<Vec<_>>();
        assert_eq!(ids("and how much does it cost?", None), [WHOLE]);
        assert_eq!(ids("and how much does it cost?", Some("How do I activate roaming?")), [WHOLE, FOLLOW_UP]);
        assert_eq!(ids("Where can I find my PUK code?", Some("How do I activate roaming?")), [WHOLE]);
        assert_eq!(ids("How do I pay and what does a SIM cost?", None), [WHOLE, PARTS[0], PARTS[1]]);
    }
}
