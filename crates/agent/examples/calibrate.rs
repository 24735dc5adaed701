//! Prints what each decline threshold of the built-in model would do, on an FAQ and a set of labelled questions.
//!
//! `cargo run --release -p frontdesk-agent --example calibrate -- FAQ QUESTIONS`, both as `frontdesk eval` takes them. With a third
//! argument, `keyword`, the search is by keywords.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use frontdesk_agent::evaluation::{LabelledQuestion, read_questions};
use frontdesk_agent::llm::Extractive;
use frontdesk_agent::message::ToolCall;
use frontdesk_agent::retrieval::model::{ModelFiles, default_dir};
use frontdesk_agent::retrieval::{Faq, Knowledge, KnowledgeOptions};
use frontdesk_agent::tools::{FaqTools, SEARCH_FAQ};
use serde_json::json;

/// One question's finding.
struct Finding {
    confidence: f32,
    /// Whether the best entry is the right one; `None` when there is none.
    is_right: Option<bool>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (faq, questions, model) = match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [faq, questions] => (*faq, *questions, ModelFiles::locate(&default_dir())?),
        [faq, questions, "keyword"] => (*faq, *questions, None),
        _ => bail!("usage: calibrate FAQ QUESTIONS [keyword]"),
    };
    let faq = Faq::read(Path::new(faq))?;
    let questions = read_questions(Path::new(questions), &faq.entries)?;
    let knowledge = Arc::new(Knowledge::open(faq, KnowledgeOptions { model, ..KnowledgeOptions::default() })?);
    println!("search: {:?}, {} entries", knowledge.kind(), knowledge.entries().len());

    let extractive = Extractive::new("Lauki", knowledge.entries());
    let tools = FaqTools::new(knowledge.clone());
    let mut findings = Vec::new();
    for question in &questions {
        let finding = find(&tools, &extractive, &knowledge, question).await?;
        if question.gold.is_empty() {
            println!("off topic {:.3} {}", finding.confidence, question.text);
        }
        findings.push(finding);
    }
    println!("threshold  answered right  answered wrong  declined  off topic declined");
    for step in 4..=20 {
        let threshold = step as f32 * 0.03;
        let share = |of: &dyn Fn(&Finding) -> bool, holds: &dyn Fn(&Finding) -> bool| {
            let all = findings.iter().filter(|finding| of(finding)).count();
            100.0 * findings.iter().filter(|finding| of(finding) && holds(finding)).count() as f32 / all as f32
        };
        let answerable = |finding: &Finding| finding.is_right.is_some();
        println!(
            "{threshold:9.2} {:14.1} % {:13.1} % {:7.1} % {:17.1} %",
            share(&answerable, &|finding| finding.is_right == Some(true) && finding.confidence >= threshold),
            share(&answerable, &|finding| finding.is_right == Some(false) && finding.confidence >= threshold),
            share(&answerable, &|finding| finding.confidence < threshold),
            share(&|finding| !answerable(finding), &|finding| finding.confidence < threshold),
        );
    }
    Ok(())
}

/// Searches as the built-in model does.
async fn find(tools: &FaqTools, extractive: &Extractive, knowledge: &Knowledge, question: &LabelledQuestion) -> anyhow::Result<Finding> {
    let call = ToolCall { id: String::new(), name: SEARCH_FAQ.to_owned(), arguments: json!({ "query": question.text }) };
    let messages = tools.call_all(&[call], &Default::default()).await;
    let findings = messages.first().and_then(|message| message.artifact.as_ref()).context("the search gave no findings")?;
    let best = findings.matches.first().and_then(|best| knowledge.entries().iter().find(|entry| entry.question == best.question));
    let is_right = best.is_some_and(|entry| question.gold.iter().any(|gold| gold == entry.label()));
    Ok(Finding { confidence: extractive.confidence(findings), is_right: (!question.gold.is_empty()).then_some(is_right) })
}
