//! Splits a page into chunks of a bounded length. It follows LangChain's `RecursiveCharacterTextSplitter` step by step, so that
//! the same text gives the same chunks there and here; it knows nothing of FAQs.
//!
//! The rule, as LangChain's documentation gives it: cut at the first separator of the list that occurs, keep the separator
//! at the start of the piece that follows it, join neighbouring pieces while they fit, and cut a piece that is too long again
//! with the separators further down the list. Lengths count Unicode code points.

use std::collections::VecDeque;

/// How to split. The default is the FAQ agent's: 500 characters, no overlap, paragraphs before lines before words before
/// characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Splitter {
    chunk_chars_max: usize,
    overlap_chars: usize,
    separators: Vec<String>,
}

impl Default for Splitter {
    fn default() -> Splitter {
        Splitter::new(500, 0)
    }
}

impl Splitter {
    /// A splitter with LangChain's default separators (blank line, line, word, character).
    ///
    /// # Panics
    /// If `chunk_chars_max` is 0, or smaller than `overlap_chars`.
    pub fn new(chunk_chars_max: usize, overlap_chars: usize) -> Splitter {
        assert!(chunk_chars_max > 0, "a chunk holds at least one character");
        assert!(overlap_chars <= chunk_chars_max, "an overlap is no longer than its chunk");
        Splitter { chunk_chars_max, overlap_chars, separators: ["\n\n", "\n", " ", ""].map(String::from).to_vec() }
    }

    /// The chunks of `text` in order, each without white space at its ends; none is empty.
    pub fn split(&self, text: &str) -> Vec<String> {
        let mut chunks = Vec::new();
        self.split_with(text, &self.separators, &mut chunks);
        chunks
    }

    fn split_with(&self, text: &str, separators: &[String], chunks: &mut Vec<String>) {
        // The empty separator "occurs" in every text and ends the search.
        let (separator, finer) = separators
            .iter()
            .position(|separator| text.contains(separator.as_str()))
            .map_or(("", &[][..]), |at| (separators[at].as_str(), &separators[at + 1..]));

        let mut fitting = Vec::new();
        for piece in pieces(text, separator) {
            if char_count(piece) < self.chunk_chars_max {
                fitting.push(piece);
                continue;
            }
            self.merge(&fitting, chunks);
            fitting.clear();
            if finer.is_empty() {
                chunks.push(piece.to_owned());
            } else {
                self.split_with(piece, finer, chunks);
            }
        }
        self.merge(&fitting, chunks);
    }

    /// Joins neighbouring pieces into chunks as long as they fit. What overlaps is carried over in whole pieces.
    fn merge(&self, pieces: &[&str], chunks: &mut Vec<String>) {
        let mut current: VecDeque<(&str, usize)> = VecDeque::new();
        let mut total = 0;
        for piece in pieces {
            let length = char_count(piece);
            if total + length > self.chunk_chars_max && !current.is_empty() {
                push_joined(&current, chunks);
                while total > self.overlap_chars || (total + length > self.chunk_chars_max && total > 0) {
                    let (_, dropped) = current.pop_front().expect("a total above zero has pieces behind it");
                    total -= dropped;
                }
            }
            current.push_back((piece, length));
            total += length;
        }
        push_joined(&current, chunks);
    }
}

/// Cuts `text` before each occurrence of `separator`, so that every piece but the first starts with it; between
/// all characters if `separator` is empty. Empty pieces are left out.
fn pieces<'a>(text: &'a str, separator: &'a str) -> impl Iterator<Item = &'a str> {
    let bounds: Vec<usize> = if separator.is_empty() {
        text.char_indices().map(|(at, _)| at).collect()
    } else {
        std::iter::once(0).chain(text.match_indices(separator).map(|(at, _)| at)).collect()
    };
    let ends: Vec<usize> = bounds.iter().copied().skip(1).chain([text.len()]).collect();
    bounds.into_iter().zip(ends).map(|(start, end)| &text[start..end]).filter(|piece| !piece.is_empty())
}

fn push_joined(pieces: &VecDeque<(&str, usize)>, chunks: &mut Vec<String>) {
    let joined: String = pieces.iter().map(|(piece, _)| *piece).collect();
    let stripped = strip(&joined);
    if !stripped.is_empty() {
        chunks.push(stripped.to_owned());
    }
}

/// `text` without white space at its ends, as Python's `str.strip` sees it: Unicode's `White_Space`, and the four
/// separators U+001C to U+001F, which Unicode leaves out.
pub(crate) fn strip(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c))
}

fn char_count(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(splitter: &Splitter, text: &str, expected: &[&str]) {
        assert_eq!(splitter.split(text), expected, "{text:?}");
    }

    #[test]
    fn a_short_text_is_one_stripped_chunk() {
        check(&Splitter::default(), "  question: a\nanswer: b \u{1f}", &["question: a\nanswer: b"]);
        check(&Splitter::default(), " \n\n \u{3000}", &[]);
        check(&Splitter::default(), "", &[]);
    }

    #[test]
    fn paragraphs_are_kept_whole_before_lines_and_lines_before_words() {
        check(&Splitter::new(10, 0), "one two\n\nthree", &["one two", "three"]);
        check(&Splitter::new(10, 0), "one two\nand three", &["one two", "and three"]);
        // The line break counts: with it the second line has eleven characters.
        check(&Splitter::new(10, 0), "one two\nthree four", &["one two", "three", "four"]);
        check(&Splitter::new(6, 0), "one two\nthree", &["one", "two", "three"]);
    }

    #[test]
    fn a_word_longer_than_a_chunk_is_cut_between_code_points() {
        check(&Splitter::new(3, 0), "äöüß😀é", &["äöü", "ß😀é"]);
    }

    #[test]
    fn an_overlap_repeats_whole_pieces() {
        check(&Splitter::new(8, 4), "aaa bbb ccc", &["aaa bbb", "bbb ccc"]);
    }
}
