//! The ways of searching: by vectors, by keywords, by both.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::de::value::StrDeserializer;
use serde::{Deserialize, Serialize};

use super::embed::{TextEncoder, Vector};
use super::index::VectorIndex;
use super::keyword::KeywordIndex;
use super::workers::{Answer, Question, Workers};
use super::{RESULTS_MAX, SearchError};

/// How much the cosine of the query and an entry's question counts; that of the query and the chunk counts for the rest.
///
/// Measured on three labelled sets (StackFAQ, COVID FAQ, HINT3 curekart) with all-MiniLM-L6-v2: every weight from 0.2 to 0.45 is better on
/// average than either cosine alone; this is the middle of what is good on each. `docs/benchmark.md` has the figures.
const QUESTION_WEIGHT: f32 = 0.3;

/// How much the share of the query's words that a chunk answers to counts beside the cosines, in a hybrid search. Larger weights measured
/// worse on average.
const KEYWORD_WEIGHT: f32 = 0.05;

/// A way of searching.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SearchKind {
    /// By meaning, with embeddings.
    #[default]
    Vector,
    /// By words, with BM25. The only way without an embedding model.
    Keyword,
    /// By meaning, with a bonus for words in common.
    Hybrid,
}

impl SearchKind {
    /// Its name in settings.
    pub fn name(self) -> &'static str {
        match self {
            SearchKind::Vector => "vector",
            SearchKind::Keyword => "keyword",
            SearchKind::Hybrid => "hybrid",
        }
    }
}

impl FromStr for SearchKind {
    type Err = serde::de::value::Error;

    /// Reads the name; the error lists the names that there are.
    fn from_str(name: &str) -> Result<SearchKind, Self::Err> {
        SearchKind::deserialize(StrDeserializer::new(name))
    }
}

impl fmt::Display for SearchKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// The chunks, made searchable. Results are places of chunks with their scores, best first.
pub(super) enum Search {
    Keyword(KeywordIndex),
    Embedded(Workers<Embedded>),
}

impl Search {
    pub(super) async fn search(&self, query: &str, k: usize) -> Result<Vec<(usize, f32)>, SearchError> {
        match self {
            Search::Keyword(index) => Ok(index.search(query, k)),
            Search::Embedded(workers) => workers.ask(Question { text: query.to_owned(), k }).await,
        }
    }
}

/// What the embedding threads share.
pub(super) struct Embedded {
    pub(super) encoder: Arc<TextEncoder>,
    pub(super) index: VectorIndex,
    /// For the hybrid search.
    pub(super) keywords: Option<KeywordIndex>,
}

impl Answer for Embedded {
    type Output = Vec<(usize, f32)>;

    fn answer(&self, batch: &[Question]) -> Result<Vec<Vec<(usize, f32)>>, String> {
        let texts: Vec<&str> = batch.iter().map(|question| question.text.as_str()).collect();
        let vectors = self.encoder.embed(&texts).map_err(|error| error.to_string())?;
        let answer = |(vector, question): (&Vector, &Question)| match &self.keywords {
            None => self.index.nearest(vector, question.k),
            Some(keywords) => self.nearest_by_both(keywords, vector, question),
        };
        Ok(vectors.iter().zip(batch).map(answer).collect())
    }
}

impl Embedded {
    /// The best of those that one of the two searches finds.
    fn nearest_by_both(&self, keywords: &KeywordIndex, vector: &Vector, question: &Question) -> Vec<(usize, f32)> {
        let mut scores: BTreeMap<usize, f32> = self.index.nearest(vector, RESULTS_MAX).into_iter().collect();
        for (place, share) in keywords.search(&question.text, RESULTS_MAX) {
            *scores.entry(place).or_insert_with(|| self.index.score(place, vector)) += KEYWORD_WEIGHT * share;
        }
        let mut found: Vec<(usize, f32)> = scores.into_iter().collect();
        // Stable, so that equals stay in their own order.
        found.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        found.truncate(question.k);
        found
    }
}

/// The vector whose product with that of a query is the score of a chunk: both cosines by their weights. It is shorter than 1 as far as
/// the chunk and the question of its entry differ.
pub(super) fn indexed(chunk: &Vector, question: &Vector) -> Vector {
    std::array::from_fn(|at| (1.0 - QUESTION_WEIGHT) * chunk[at] + QUESTION_WEIGHT * question[at])
}
