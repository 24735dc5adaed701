//! Measures retrieval on labelled FAQs: `FRONTDESK_EVAL_DATA=FOLDER cargo run --release -p frontdesk-agent --example evaluate`
//!
//! The folder holds a folder for each set, with `faq.jsonl` (`{id, question, answer}`) and `queries.jsonl` (`{text, gold}`, where
//! `gold` is an id, a list of ids, or null for a question that the FAQ does not answer). An entry's rank is that of its best
//! chunk. R@k: the share of answerable questions with a right entry among the first k. MRR@10: the mean of 1/rank, 0 beyond
//! ten. AUROC: how well the top score tells answerable questions from the others.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use frontdesk_agent::retrieval::model::{self, ModelFiles};
use frontdesk_agent::retrieval::{Faq, FaqEntry, Knowledge, KnowledgeOptions, SearchKind};
use serde::Deserialize;
use serde::de::DeserializeOwned;

#[derive(Deserialize)]
struct Row {
    id: String,
    question: String,
    #[serde(default)]
    answer: String,
}

#[derive(Deserialize)]
struct Query {
    text: String,
    gold: Option<Gold>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Gold {
    One(String),
    Many(Vec<String>),
}

fn main() -> anyhow::Result<()> {
    let Some(data) = std::env::var_os("FRONTDESK_EVAL_DATA").map(PathBuf::from) else {
        bail!("FRONTDESK_EVAL_DATA is not set; let it name the folder of labelled FAQs");
    };
    let model = ModelFiles::locate(&model::default_dir())?.context("there is no embedding model: run `frontdesk model pull`")?;
    let mut sets: Vec<PathBuf> = std::fs::read_dir(&data)
        .with_context(|| format!("failed to list {}", data.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.join("faq.jsonl").is_file())
        .collect();
    sets.sort();
    println!("{:<16} {:<9} {:>6} {:>6} {:>6} {:>6} {:>6} {:>9}", "set", "search", "R@1", "R@3", "R@10", "MRR@10", "AUROC", "questions");
    for set in sets {
        for model in [Some(model.clone()), None] {
            evaluate(&set, model)?;
        }
    }
    Ok(())
}

fn evaluate(set: &Path, model: Option<ModelFiles>) -> anyhow::Result<()> {
    let rows: Vec<Row> = read_lines(&set.join("faq.jsonl"))?;
    let queries: Vec<Query> = read_lines(&set.join("queries.jsonl"))?;
    let entries = rows.iter().map(|row| FaqEntry { question: row.question.clone(), answer: row.answer.clone() }).collect();
    let options = KnowledgeOptions { model, embedding_threads: 2, ..KnowledgeOptions::default() };
    let knowledge = Knowledge::open(Faq::from_entries(entries), options)?;

    let (mut ranks, mut scores_with, mut scores_without) = (Vec::new(), Vec::new(), Vec::new());
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    for query in &queries {
        // Fifty chunks are enough for ten entries: hardly an entry has five.
        let hits = runtime.block_on(knowledge.search(&query.text, 50))?;
        let top = hits.first().map_or(0.0, |hit| hit.score);
        let Some(gold) = &query.gold else {
            scores_without.push(top);
            continue;
        };
        scores_with.push(top);
        let mut seen = HashSet::new();
        let ids = hits.iter().map(|hit| rows[hit.entry].id.as_str()).filter(|id| seen.insert(*id));
        ranks.push(ids.take(10).position(|id| gold.contains(id)));
    }

    let recall = |k: usize| share(ranks.iter().filter(|rank| rank.is_some_and(|rank| rank < k)).count() as f64, ranks.len());
    let reciprocal: f64 = ranks.iter().flatten().map(|rank| 1.0 / (*rank as f64 + 1.0)).sum();
    let auroc = match scores_without.is_empty() {
        true => "–".to_owned(),
        false => format!("{:.3}", auroc(&scores_with, &scores_without)),
    };
    println!(
        "{:<16} {:<9} {:>6.3} {:>6.3} {:>6.3} {:>6.3} {:>6} {:>9}",
        set.file_name().unwrap_or_default().to_string_lossy(),
        match knowledge.kind() {
            SearchKind::Semantic => "meaning",
            SearchKind::Keyword => "words",
        },
        recall(1),
        recall(3),
        recall(10),
        share(reciprocal, ranks.len()),
        auroc,
        queries.len(),
    );
    Ok(())
}

impl Gold {
    fn contains(&self, id: &str) -> bool {
        match self {
            Gold::One(gold) => gold == id,
            Gold::Many(golds) => golds.iter().any(|gold| gold == id),
        }
    }
}

fn share(part: f64, whole: usize) -> f64 {
    part / whole.max(1) as f64
}

/// The probability that an answerable question scores above an unanswerable one; ties count half.
fn auroc(with: &[f32], without: &[f32]) -> f64 {
    let above: f64 = with
        .iter()
        .flat_map(|a| {
            without.iter().map(move |b| {
                if a > b {
                    1.0
                } else if a == b {
                    0.5
                } else {
                    0.0
                }
            })
        })
        .sum();
    share(above, with.len() * without.len())
}

fn read_lines<T: DeserializeOwned>(path: &Path) -> anyhow::Result<Vec<T>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("failed to read {}", path.display()))?;
    let parse = |(number, line)| serde_json::from_str(line).with_context(|| format!("{}, line {}", path.display(), number + 1));
    text.lines().enumerate().map(parse).collect()
}
