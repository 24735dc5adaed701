//! Search by words, for when there is no embedding model: BM25 over the chunks. It finds what shares words with the
//! question, and nothing that merely means the same.
//!
//! Okapi BM25 as in Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009), section 3.2,
//! with k1 = 1.2, b = 0.75, and idf = ln(1 + (N − n + 0.5) / (n + 0.5)), which is never negative.

use std::collections::{BTreeSet, HashMap};

use rayon::prelude::*;

use super::index::best;

const K1: f32 = 1.2;
const B: f32 = 0.75;

/// Words that say nothing about the subject of a question, in the order of the alphabet.
const STOP_WORDS: &[&str] = &[
    "a", "about", "am", "an", "and", "any", "are", "as", "at", "be", "been", "but", "by", "can", "could", "d", "did", "do", "does", "for",
    "from", "had", "has", "have", "how", "i", "if", "in", "into", "is", "it", "its", "ll", "m", "may", "me", "my", "of", "on", "or", "our",
    "please", "re", "s", "shall", "should", "so", "t", "than", "that", "the", "their", "them", "then", "there", "these", "they", "this",
    "to", "us", "ve", "was", "we", "were", "what", "when", "where", "which", "who", "why", "will", "with", "would", "you", "your",
];

/// Chunks whose words one core collects at a time.
const PART: usize = 4096;

/// The chunks' words.
#[derive(Default)]
pub(crate) struct KeywordIndex {
    /// For each word the chunks that have it, ascending, with the number of times.
    postings: HashMap<String, Vec<(u32, u32)>>,
    /// Words in each chunk.
    lengths: Vec<u32>,
    length_mean: f32,
}

impl KeywordIndex {
    pub(crate) fn new<'a>(chunks: impl IntoIterator<Item = &'a str>) -> KeywordIndex {
        let chunks: Vec<&str> = chunks.into_iter().collect();
        let parts: Vec<KeywordIndex> = chunks.par_chunks(PART).map(KeywordIndex::of_part).collect();
        let mut index = KeywordIndex::default();
        for part in parts {
            let before = index.lengths.len() as u32;
            for (word, places) in part.postings {
                let places = places.into_iter().map(|(chunk, times)| (before + chunk, times));
                index.postings.entry(word).or_default().extend(places);
            }
            index.lengths.extend(part.lengths);
        }
        index.length_mean = index.lengths.iter().sum::<u32>() as f32 / index.lengths.len().max(1) as f32;
        index
    }

    /// The words of some chunks, numbered from 0; without their mean length.
    fn of_part(chunks: &[&str]) -> KeywordIndex {
        let mut index = KeywordIndex::default();
        for (chunk, text) in (0..).zip(chunks) {
            let mut length = 0;
            for word in words(text) {
                length += 1;
                let places = index.postings.entry(word).or_default();
                match places.last_mut() {
                    Some((last, times)) if *last == chunk => *times += 1,
                    _ => places.push((chunk, 1)),
                }
            }
            index.lengths.push(length);
        }
        index
    }

    /// The `k` chunks that match `query` best, best first, each with a score between 0 (exclusive) and 1; chunks that
    /// share no word with the query are left out.
    ///
    /// The score is the BM25 sum divided by the idf sum of the query's words, at most 1. A word found once in a chunk of
    /// mean length contributes exactly its idf to the BM25 sum, so the score reads as the share of the query, weighted by
    /// how telling each word is, that the chunk answers to. A word that no chunk has weighs most in the divisor: a
    /// question about something else scores low even where a common word matches.
    pub(crate) fn search(&self, query: &str, k: usize) -> Vec<(usize, f32)> {
        let terms: BTreeSet<String> = words(query).collect();
        let mut sums = vec![0.0; self.lengths.len()];
        let mut idf_total = 0.0;
        for term in &terms {
            let places = self.postings.get(term).map_or(&[][..], Vec::as_slice);
            let idf = self.idf(places.len());
            idf_total += idf;
            for (chunk, times) in places {
                let chunk = *chunk as usize;
                sums[chunk] += idf * self.saturation(chunk, *times);
            }
        }
        let mut found = best(&sums, k);
        found.retain(|(_, sum)| *sum > 0.0);
        found.iter_mut().for_each(|(_, sum)| *sum = (*sum / idf_total).min(1.0));
        found
    }

    fn idf(&self, chunks_with: usize) -> f32 {
        let (all, with) = (self.lengths.len() as f32, chunks_with as f32);
        (1.0 + (all - with + 0.5) / (with + 0.5)).ln()
    }

    fn saturation(&self, chunk: usize, times: u32) -> f32 {
        let times = times as f32;
        let length = self.lengths[chunk] as f32 / self.length_mean;
        times * (K1 + 1.0) / (times + K1 * (1.0 - B + B * length))
    }
}

/// The words of `text` that count: runs of letters and digits, lower case, without stop words, plurals made singular.
fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .filter(|word| STOP_WORDS.binary_search(&word.as_str()).is_err())
        .map(singular)
}

/// Takes off English plural endings. Only meant to bring "plans" and "plan" together: what remains need not be a word.
fn singular(mut word: String) -> String {
    let ends = |endings: &[&str]| endings.iter().any(|ending| word.ends_with(ending));
    let cut = if word.len() <= 3 || ends(&["ss", "us", "is"]) || !ends(&["s"]) {
        0
    } else if ends(&["ies"]) {
        word.truncate(word.len() - 3);
        word.push('y');
        return word;
    } else if ends(&["sses", "shes", "ches", "xes", "zzes"]) {
        2
    } else {
        1
    };
    word.truncate(word.len() - cut);
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNKS: [&str; 4] = [
        "question: How do I activate roaming?\nanswer: Dial *123# and choose Roaming.",
        "question: What data plans are there?\nanswer: Three plans, from 5 GB of data.",
        "question: How do I get an eSIM?\nanswer: In the app, under SIM cards.",
        "question: My SIM card was stolen\nanswer: Block it at once in the app.",
    ];

    #[track_caller]
    fn check(query: &str, expected: &[usize]) {
        let found = KeywordIndex::new(CHUNKS).search(query, 3);
        assert_eq!(found.iter().map(|(chunk, _)| *chunk).collect::<Vec<_>>(), expected, "{found:?}");
        assert!(found.iter().all(|(_, score)| (0.0..=1.0).contains(score)), "{found:?}");
        assert!(found.is_sorted_by(|a, b| a.1 >= b.1), "{found:?}");
    }

    #[test]
    fn chunks_are_found_by_their_words_whatever_case_and_number() {
        check("ROAMING", &[0]);
        check("which plan has the most data", &[1]);
        check("a stolen card", &[3, 2]);
        check("apps", &[2, 3]);
    }

    #[test]
    fn the_parts_of_a_large_corpus_make_one_index() {
        let texts: Vec<String> = (0..2 * PART + 2).map(|number| format!("chunk {number}, part {}", number / PART)).collect();
        let index = KeywordIndex::new(texts.iter().map(String::as_str));
        let found = |query| index.search(query, 2).into_iter().map(|(chunk, _)| chunk).collect::<Vec<_>>();
        assert_eq!(found("chunk 5000"), [5000, 0]);
        assert_eq!(found("8193"), [8193]);
        assert_eq!(index.postings["chunk"].len(), texts.len());
        assert!(index.postings["chunk"].is_sorted());
    }

    #[test]
    fn stop_words_can_be_looked_up() {
        assert!(STOP_WORDS.is_sorted());
    }

    #[test]
    fn nothing_in_common_finds_nothing() {
        check("what is the weather like", &[]);
        check("how do I", &[]);
        check("", &[]);
        assert!(KeywordIndex::new([]).search("roaming", 3).is_empty());
    }

    #[test]
    fn an_unknown_subject_lowers_the_score() {
        let index = KeywordIndex::new(CHUNKS);
        let score = |query| index.search(query, 1)[0].1;
        assert!(score("activate roaming") > 0.9, "{}", score("activate roaming"));
        assert!(score("roaming wolves of mongolia") < 0.4, "{}", score("roaming wolves of mongolia"));
    }

    #[test]
    fn plurals_meet_their_singular() {
        let check = |plural: &str, expected: &str| assert_eq!(singular(plural.to_owned()), expected);
        check("plans", "plan");
        check("batteries", "battery");
        check("switches", "switch");
        check("bus", "bus");
        check("wireless", "wireless");
        check("ünïs", "ünï");
    }
}
