//! `frontdesk eval`: how well an FAQ is searched, measured on labelled questions.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use comfy_table::Table;
use frontdesk_agent::evaluation::{self, Evaluation, EvaluationError};
use frontdesk_agent::retrieval::model::ModelFiles;
use frontdesk_agent::retrieval::{Faq, Knowledge, KnowledgeOptions, SearchKind};

use super::agent::agent_settings;
use crate::settings::{HostedAgentSettings, Override};

/// How many errors are listed; `--json` has them all.
const ERRORS_SHOWN: usize = 20;

/// The flags of `eval`.
#[derive(Debug, Args)]
pub(crate) struct EvalArguments {
    /// The FAQ: CSV, JSON Lines, Markdown, or a folder of them
    #[arg(long, value_name = "FILE")]
    faq: Option<PathBuf>,
    /// JSON Lines {"text", "gold"}: gold is an entry's id or question, a list of them, or null
    #[arg(long, value_name = "FILE")]
    questions: PathBuf,
    /// How to search: vector, keyword or hybrid; by default as the settings say
    #[arg(long, value_name = "KIND")]
    search: Option<SearchKind>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl EvalArguments {
    /// The settings that the flags override.
    pub(crate) fn overrides(&self) -> Vec<Override> {
        let faq = self.faq.as_ref().map(|faq| ("agent.faq", toml::Value::from(faq.to_string_lossy().into_owned())));
        faq.into_iter().collect()
    }
}

/// Measures and prints.
pub(crate) fn run(arguments: &EvalArguments, settings: HostedAgentSettings) -> anyhow::Result<()> {
    let settings = agent_settings(settings);
    let search = arguments.search.unwrap_or(settings.search);
    let model = ModelFiles::locate(&settings.model_dir)?;
    if model.is_none() && search != SearchKind::Keyword {
        eprintln!("The embedding model is missing, so the search is by keywords; `frontdesk model pull` fetches it.");
    }
    let faq = Faq::read(&settings.faq)?;
    let questions = evaluation::read_questions(&arguments.questions, &faq.entries)?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let options = KnowledgeOptions { model, search, embedding_threads: threads, ..KnowledgeOptions::default() };
    let knowledge = Arc::new(Knowledge::open(faq, options)?);
    let evaluating = async { evaluation::evaluate(knowledge, settings.company_name(), &questions).await.context("a search failed") };
    let measured = super::block_on(evaluating)?;
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&measured)?);
    } else {
        print_table(&measured);
    }
    Ok(())
}

fn print_table(measured: &Evaluation) {
    let shown = |share: Option<f64>| share.map_or_else(|| "–".to_owned(), |share| format!("{share:.3}"));
    println!(
        "{} entries, {} questions that they answer, {} that they do not",
        measured.entries, measured.answerable, measured.unanswerable
    );
    let mut table = Table::new();
    table
        .load_style(comfy_table::presets::NOTHING)
        .set_header(["recall@1", "recall@3", "MRR@10", "declined", "declined by mistake", "AUROC"])
        .add_row([
            shown(measured.recall_at_1),
            shown(measured.recall_at_3),
            shown(measured.mrr_at_10),
            shown(measured.declined),
            shown(measured.declined_by_mistake),
            shown(measured.auroc),
        ]);
    println!("{table}");
    if measured.errors.is_empty() {
        return;
    }
    println!(
        "{} questions went wrong{}",
        measured.errors.len(),
        if measured.errors.len() > ERRORS_SHOWN { "; the first of them:" } else { ":" }
    );
    for EvaluationError { question, found, expected } in measured.errors.iter().take(ERRORS_SHOWN) {
        let expected = if expected.is_empty() { "a decline".to_owned() } else { expected.join(", or ") };
        println!("- {question}\n    found {}, expected {expected}", found.as_deref().unwrap_or("nothing"));
    }
}
