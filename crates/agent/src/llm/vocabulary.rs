//! Which words the FAQ uses, and how telling each is: for judging whether a question is about what was found.
//!
//! The score of a search by meaning is high for a question that only sounds like the FAQ ("How do I reset my Netflix
//! password?"). Words tell such questions: the telling one is nowhere in the FAQ.

use std::collections::{HashMap, HashSet};

use rayon::prelude::*;

use crate::message::EntryMatch;
use crate::retrieval::FaqEntry;

/// Entries whose words one core collects at a time.
const PART: usize = 4096;

/// Words that say nothing about the subject of a question, in the order of the alphabet.
const STOP_WORDS: &[&str] = &[
    "a", "about", "again", "all", "also", "am", "an", "and", "any", "are", "as", "at", "be", "been", "being", "but", "by", "can", "could",
    "did", "do", "does", "dont", "each", "for", "from", "get", "give", "got", "had", "has", "have", "help", "her", "here", "hers", "him",
    "his", "how", "i", "if", "im", "in", "into", "is", "it", "its", "ive", "just", "know", "let", "like", "may", "me", "might", "more",
    "most", "must", "my", "need", "no", "nor", "not", "now", "of", "off", "on", "or", "our", "out", "over", "please", "shall", "she",
    "should", "so", "some", "tell", "than", "that", "the", "their", "them", "then", "there", "these", "they", "this", "those", "to", "too",
    "under", "up", "us", "very", "want", "was", "we", "were", "what", "whats", "when", "where", "which", "who", "whom", "whose", "why",
    "will", "with", "would", "you", "your",
];

/// The FAQ's words.
#[derive(Debug, Clone)]
pub(super) struct Vocabulary {
    /// In how many entries each word is.
    entries_with: HashMap<String, u32>,
    entries: u32,
    /// The words of the company's name: they are in every other entry and tell nothing.
    company: HashSet<String>,
}

/// What the words of a question say, weighted by how telling each is. Both from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Support {
    /// The share of the question that the best of the found entries holds.
    pub(super) shared: f32,
    /// The share of the question that no entry of the FAQ holds.
    pub(super) unknown: f32,
}

impl Vocabulary {
    pub(super) fn new(entries: &[FaqEntry], company: &str) -> Vocabulary {
        let parts: Vec<HashMap<String, u32>> = entries.par_chunks(PART).map(entries_with).collect();
        let mut entries_with: HashMap<String, u32> = HashMap::new();
        for (word, entries) in parts.into_iter().flatten() {
            *entries_with.entry(word).or_default() += entries;
        }
        let entries = u32::try_from(entries.len()).unwrap_or(u32::MAX);
        Vocabulary { entries_with, entries, company: words(company).collect() }
    }

    /// What the words of `question` say about `found`. A question without telling words says nothing: 0 and 0.
    pub(super) fn support(&self, question: &str, found: &[EntryMatch]) -> Support {
        let asked: HashSet<String> = words(question).filter(|word| !self.company.contains(word)).collect();
        let weight = |words: &mut dyn Iterator<Item = &String>| words.map(|word| self.idf(word)).sum::<f32>();
        let total = weight(&mut asked.iter());
        if total == 0.0 {
            return Support { shared: 0.0, unknown: 0.0 };
        }
        let unknown = weight(&mut asked.iter().filter(|word| !self.entries_with.contains_key(*word)));
        let shared = found.iter().map(|found| {
            let held = entry_words(&found.question, &found.answer);
            weight(&mut asked.iter().filter(|word| held.contains(*word)))
        });
        Support { shared: shared.fold(0.0, f32::max) / total, unknown: unknown / total }
    }

    /// The inverse document frequency of BM25 (Robertson and Zaragoza 2009, section 3.2), in the form that is never negative.
    fn idf(&self, word: &str) -> f32 {
        let with = self.entries_with.get(word).copied().unwrap_or_default() as f32;
        (1.0 + (self.entries as f32 - with + 0.5) / (with + 0.5)).ln()
    }
}

/// In how many of `entries` each word is.
fn entries_with(entries: &[FaqEntry]) -> HashMap<String, u32> {
    let mut entries_with: HashMap<String, u32> = HashMap::new();
    let mut held = Vec::new();
    for entry in entries {
        held.extend(words(&entry.question).chain(words(&entry.answer)));
        held.sort_unstable();
        held.dedup();
        for word in held.drain(..) {
            *entries_with.entry(word).or_default() += 1;
        }
    }
    entries_with
}

fn entry_words(question: &str, answer: &str) -> HashSet<String> {
    words(question).chain(words(answer)).collect()
}

/// The telling words of `text`: in lower case, without endings, without stop words and single letters.
fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(|character: char| !character.is_alphanumeric() && !matches!(character, '\'' | '’'))
        .map(|word| word.chars().filter(|character| character.is_alphanumeric()).flat_map(char::to_lowercase).collect::<String>())
        .filter(|word| word.chars().nth(1).is_some() && STOP_WORDS.binary_search(&word.as_str()).is_err())
        .map(stem)
}

/// `word` without an English ending and the silent e before it. Crude, but the same on both sides.
fn stem(mut word: String) -> String {
    for (ending, replacement) in [("ies", "y"), ("sses", "ss"), ("ing", ""), ("ed", ""), ("es", ""), ("s", "")] {
        let is_ending = word.ends_with(ending) && !(ending == "s" && word.ends_with("ss"));
        if is_ending && word.len() >= ending.len() + 3 {
            word.truncate(word.len() - ending.len());
            word.push_str(replacement);
            break;
        }
    }
    if word.len() > 3 && word.ends_with('e') {
        word.pop();
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(question: &str, answer: &str) -> FaqEntry {
        FaqEntry { question: question.to_owned(), answer: answer.to_owned(), id: None }
    }

    /// The support of the first entry for `question`, in tenths.
    fn check(question: &str, expected: (f32, f32)) {
        let entries = [entry("How do I activate roaming?", "Dial the code."), entry("How do I reset my password?", "In the Lauki app.")];
        let vocabulary = Vocabulary::new(&entries, "Lauki");
        let first = EntryMatch { question: entries[0].question.clone(), answer: entries[0].answer.clone(), score: 0.5 };
        let Support { shared, unknown } = vocabulary.support(question, &[first]);
        let tenth = |share: f32| (share * 10.0).round() / 10.0;
        assert_eq!((tenth(shared), tenth(unknown)), expected, "{question}");
    }

    #[test]
    fn stop_words_can_be_looked_up() {
        assert!(STOP_WORDS.is_sorted());
    }

    #[test]
    fn words_are_shared_elsewhere_or_unknown() {
        check("Activating roaming", (1.0, 0.0));
        check("roaming passwords", (0.5, 0.0));
        check("Netflix", (0.0, 1.0));
        check("reset Netflix", (0.0, 0.7));
        check("How do you do, Lauki?", (0.0, 0.0));
        check("", (0.0, 0.0));
    }
}
