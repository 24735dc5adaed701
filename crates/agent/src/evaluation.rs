//! How well an FAQ is searched: labelled questions in, recall and the rate of declined questions out.
//!
//! The measures are those of information retrieval: recall@k is the share of answerable questions with a right entry among the
//! first k; MRR@10 the mean of 1/rank, 0 beyond ten; AUROC the probability that an answerable question's top score is above an
//! unanswerable one's (ties count half). An entry's rank is that of its best chunk, and entries that share an id count as one.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::{StreamExt as _, TryStreamExt as _};
use serde::{Deserialize, Serialize};

use crate::llm::Extractive;
use crate::retrieval::{FaqEntry, Knowledge, SearchError};
use crate::tools::{FaqTools, RESULTS};

/// Chunks that are looked at for ten entries: hardly an entry has five.
const CHUNKS: usize = 50;
/// Questions in work at once: enough for the embedding threads to have a batch each.
const CONCURRENT: usize = 32;
/// The last rank that counts.
const RANK_MAX: usize = 10;

/// A question and what answers it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct LabelledQuestion {
    /// What is asked.
    #[serde(alias = "question")]
    pub text: String,
    /// The right entries, by their id or else their question; none for a question that the FAQ does not answer.
    #[serde(default, deserialize_with = "one_or_many")]
    pub gold: Vec<String>,
}

/// `"id"`, `["id", …]`, a number, or null.
fn one_or_many<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let name = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    Ok(match serde_json::Value::deserialize(deserializer)? {
        serde_json::Value::Null => Vec::new(),
        serde_json::Value::Array(golds) => golds.iter().map(name).collect(),
        gold => vec![name(&gold)],
    })
}

/// Why a file of labelled questions cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum QuestionsError {
    /// It cannot be read.
    #[error("failed to read the questions {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A line is no question.
    #[error("{path}, line {line}: {reason}; each line is one object {{\"text\": \"…\", \"gold\": \"id\" or [\"id\", …] or null}}")]
    BadLine {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// A label that no entry has.
    #[error("{path}, line {line}: no entry of the FAQ has the id or the question `{gold}`")]
    UnknownGold {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// The label.
        gold: String,
    },
    /// There is none.
    #[error("{path} holds no questions")]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

/// Reads labelled questions for `entries`: JSON Lines `{"text", "gold"}`, where `gold` is an entry's id or question, a list of such, or null.
pub fn read_questions(path: &Path, entries: &[FaqEntry]) -> Result<Vec<LabelledQuestion>, QuestionsError> {
    let text = std::fs::read_to_string(path).map_err(|source| QuestionsError::Io { path: path.to_owned(), source })?;
    let known: HashSet<&str> = entries.iter().map(FaqEntry::label).collect();
    let mut questions = Vec::new();
    for (line, content) in (1..).zip(text.lines()).filter(|(_, content)| !content.trim().is_empty()) {
        let question: LabelledQuestion = serde_json::from_str(content).map_err(|error| QuestionsError::BadLine {
            path: path.to_owned(),
            line,
            reason: error.to_string(),
        })?;
        if let Some(gold) = question.gold.iter().find(|gold| !known.contains(gold.as_str())) {
            return Err(QuestionsError::UnknownGold { path: path.to_owned(), line, gold: gold.clone() });
        }
        questions.push(question);
    }
    if questions.is_empty() { Err(QuestionsError::Empty { path: path.to_owned() }) } else { Ok(questions) }
}

/// What was measured. Shares are from 0 to 1; `null` where no question of the kind was asked.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evaluation {
    /// Entries of the FAQ.
    pub entries: usize,
    /// Questions that the FAQ answers.
    pub answerable: usize,
    /// Questions that it does not answer.
    pub unanswerable: usize,
    /// The share of answerable questions whose first entry is right.
    pub recall_at_1: Option<f64>,
    /// The share with a right entry among the first three.
    pub recall_at_3: Option<f64>,
    /// The mean reciprocal rank within ten.
    pub mrr_at_10: Option<f64>,
    /// The share of unanswerable questions that the built-in model declines.
    pub declined: Option<f64>,
    /// The share of answerable questions that it declines by mistake.
    pub declined_by_mistake: Option<f64>,
    /// How well the top score tells answerable from unanswerable.
    pub auroc: Option<f64>,
    /// The questions that went wrong.
    pub errors: Vec<EvaluationError>,
}

/// A question that went wrong.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EvaluationError {
    /// What was asked.
    pub question: String,
    /// The label of the entry that was found first; `None` when nothing was found.
    pub found: Option<String>,
    /// The labels of the right entries; empty when the question should have been declined.
    pub expected: Vec<String>,
}

/// What became of one question.
struct Judged {
    /// The labels found, best first, each once.
    labels: Vec<String>,
    /// The best score.
    top: f32,
    is_declined: bool,
}

/// Asks `knowledge` every question, and judges what the built-in model would do with the findings.
pub async fn evaluate(knowledge: Arc<Knowledge>, company_name: &str, questions: &[LabelledQuestion]) -> Result<Evaluation, SearchError> {
    let extractive = Extractive::new(company_name, knowledge.entries());
    let tools = FaqTools::new(knowledge.clone());
    let judged: Vec<Judged> = futures_util::stream::iter(questions)
        .map(|question| judge(&knowledge, &tools, &extractive, &question.text))
        .buffered(CONCURRENT)
        .try_collect()
        .await?;

    let (mut ranks, mut scores_with, mut scores_without) = (Vec::new(), Vec::new(), Vec::new());
    let (mut declined, mut declined_by_mistake) = (0, 0);
    let mut errors = Vec::new();
    for (question, Judged { labels, top, is_declined }) in questions.iter().zip(judged) {
        let is_wrong = if question.gold.is_empty() {
            scores_without.push(top);
            declined += usize::from(is_declined);
            !is_declined
        } else {
            scores_with.push(top);
            declined_by_mistake += usize::from(is_declined);
            let rank = labels.iter().take(RANK_MAX).position(|label| question.gold.contains(label));
            ranks.push(rank);
            rank != Some(0)
        };
        if is_wrong {
            let found = labels.into_iter().next();
            errors.push(EvaluationError { question: question.text.clone(), found, expected: question.gold.clone() });
        }
    }
    let within = |k: usize| ranks.iter().flatten().filter(|rank| **rank < k).count() as f64;
    let reciprocal: f64 = ranks.iter().flatten().map(|rank| 1.0 / (*rank as f64 + 1.0)).sum();
    let (answerable, unanswerable) = (ranks.len(), scores_without.len());
    Ok(Evaluation {
        entries: knowledge.entries().len(),
        answerable,
        unanswerable,
        recall_at_1: share(within(1), answerable),
        recall_at_3: share(within(3), answerable),
        mrr_at_10: share(reciprocal, answerable),
        declined: share(declined as f64, unanswerable),
        declined_by_mistake: share(declined_by_mistake as f64, answerable),
        auroc: auroc(&scores_with, &scores_without),
        errors,
    })
}

/// Looks `question` up, and asks the built-in model whether it would say that the FAQ has no answer.
async fn judge(knowledge: &Knowledge, tools: &FaqTools, extractive: &Extractive, question: &str) -> Result<Judged, SearchError> {
    let hits = knowledge.search(question, CHUNKS).await?;
    // The plain search's own hits are the first of these.
    let findings = tools.findings(question.to_owned(), &hits[..hits.len().min(RESULTS)]);
    let is_declined = !extractive.would_answer(&findings);
    let mut seen = HashSet::new();
    let labels = hits.iter().map(|hit| knowledge.entry(hit.entry).label()).filter(|label| seen.insert(*label)).map(str::to_owned).collect();
    Ok(Judged { labels, top: hits.first().map_or(0.0, |hit| hit.score), is_declined })
}

fn share(part: f64, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part / whole as f64)
}

/// The probability that a score of `with` is above one of `without`; ties count half. By ranks (Mann and Whitney 1947), so that it takes
/// n log n steps.
fn auroc(with: &[f32], without: &[f32]) -> Option<f64> {
    let mut without = without.to_vec();
    without.sort_by(f32::total_cmp);
    let below: f64 = with
        .iter()
        .map(|score| {
            let below = without.partition_point(|other| other < score);
            let not_above = without.partition_point(|other| other <= score);
            (below + not_above) as f64 / 2.0
        })
        .sum();
    share(below, with.len() * without.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::retrieval::{Faq, KnowledgeOptions};

    #[test]
    fn the_auroc_is_the_share_of_pairs_in_order() {
        let check = |with: &[f32], without: &[f32], expected| assert_eq!(auroc(with, without), expected, "{with:?} {without:?}");
        check(&[0.9, 0.8], &[0.1, 0.2], Some(1.0));
        check(&[0.1], &[0.9], Some(0.0));
        check(&[0.5, 0.2], &[0.5, 0.1], Some(0.625));
        check(&[], &[0.1], None);
        check(&[0.1], &[], None);
    }

    fn entries() -> Vec<FaqEntry> {
        let entry =
            |id: &str, question: &str| FaqEntry { question: question.to_owned(), answer: "Yes.".to_owned(), id: Some(id.to_owned()) };
        vec![
            entry("roaming", "Can I activate roaming?"),
            entry("roaming", "Does my phone work abroad?"),
            entry("bill", "Can I pay my bill?"),
        ]
    }

    fn read(content: &str) -> Result<Vec<LabelledQuestion>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("questions.jsonl");
        std::fs::write(&path, content).unwrap();
        read_questions(&path, &entries()).map_err(|error| error.to_string().rsplit_once('/').expect("a path").1.to_owned())
    }

    #[test]
    fn questions_are_read_with_their_labels() {
        let questions = read(
            "{\"text\":\"a\",\"gold\":\"bill\"}\n\n{\"question\":\"b\",\"gold\":[\"bill\",\"roaming\"]}\n{\"text\":\"c\",\"gold\":null}",
        )
        .unwrap();
        let golds: Vec<_> = questions.iter().map(|question| question.gold.join(" ")).collect();
        assert_eq!(golds, ["bill", "bill roaming", ""]);
        assert_eq!(read("\n"), Err("questions.jsonl holds no questions".to_owned()));
        assert!(
            read("{\"text\":\"a\",\"gold\":\"sim\"}")
                .unwrap_err()
                .ends_with("line 1: no entry of the FAQ has the id or the question `sim`")
        );
        assert!(read("{\"text\":\"a\"}\n{\"gold\":1}").unwrap_err().starts_with("questions.jsonl, line 2: missing field `text`"));
    }

    #[tokio::test]
    async fn entries_of_one_id_count_as_one_and_errors_are_listed() {
        let knowledge = Arc::new(Knowledge::open(Faq::from_entries(entries()), KnowledgeOptions::default()).unwrap());
        let question = |text: &str, gold: &[&str]| LabelledQuestion {
            text: text.to_owned(),
            gold: gold.iter().map(|gold| (*gold).to_owned()).collect(),
        };
        let questions = [
            question("activate roaming abroad with my phone and pay a bill", &["bill"]),
            question("pay bill", &["bill"]),
            question("weather tomorrow", &[]),
            question("activate roaming", &[]),
        ];
        let evaluation = evaluate(knowledge, "Lauki", &questions).await.unwrap();
        assert_eq!((evaluation.answerable, evaluation.unanswerable, evaluation.entries), (2, 2, 3));
        assert_eq!((evaluation.recall_at_1, evaluation.recall_at_3), (Some(0.5), Some(1.0)));
        assert_eq!(evaluation.mrr_at_10, Some(0.75), "the roaming entries are one rank");
        assert_eq!(evaluation.declined, Some(0.5));
        let wrong: Vec<_> = evaluation.errors.iter().map(|error| (error.found.as_deref(), error.expected.len())).collect();
        assert_eq!(wrong, [(Some("roaming"), 1), (Some("roaming"), 0)]);
    }
}
