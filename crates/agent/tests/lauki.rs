//! The built-in model on the sample FAQ: questions in other words find their entry, what the FAQ does not hold is declined, small talk is
//! not looked up. Once with the embedding model, once with keywords.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use frontdesk_agent::AgentSettings;
use frontdesk_agent::evaluation::read_questions;
use frontdesk_agent::faq::{FaqAgent, Question};
use frontdesk_agent::graph::Events;
use frontdesk_agent::llm::{Extractive, Model};
use frontdesk_agent::retrieval::model::{ModelFiles, default_dir};
use frontdesk_agent::retrieval::{Faq, Knowledge, KnowledgeOptions};
use frontdesk_agent::tools::FaqTools;
use tokio::time::Instant;

/// Shares of the questions, in percent.
#[derive(Debug)]
struct Shares {
    /// Paraphrases whose answer names a right entry.
    answered_right: f32,
    /// Paraphrases whose answer names a right entry, as the source or among the offers.
    shown_right: f32,
    /// Questions outside the FAQ that are declined.
    off_topic_declined: f32,
}

fn repository(path: &str) -> PathBuf {
    PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it for tests")).join("../..").join(path)
}

async fn check(model: Option<ModelFiles>, at_least: Shares) {
    let faq = Faq::read(&repository("examples/lauki_qna.csv")).unwrap();
    let questions = read_questions(&repository("tests/data/lauki_questions.jsonl"), &faq.entries).unwrap();
    let small_talk = std::fs::read_to_string(repository("tests/data/small_talk.txt")).unwrap();
    let knowledge = Knowledge::open(faq, KnowledgeOptions { model, ..KnowledgeOptions::default() }).unwrap();
    let extractive = Model::Extractive(Box::new(Extractive::new("Lauki", knowledge.entries())));
    let agent = FaqAgent::new(extractive, FaqTools::new(Arc::new(knowledge)), Arc::default(), &AgentSettings::default()).unwrap();
    let answer = async |question: &str| {
        let question = Question {
            text: question.to_owned(),
            thread: None,
            deadline: Instant::now() + Duration::from_secs(60),
            span: Default::default(),
        };
        agent.answer(&question, &Events::unwatched()).await.unwrap()
    };

    let (mut answered, mut shown, mut declined) = (0, 0, 0);
    for question in &questions {
        let text = answer(&question.text).await;
        if question.gold.is_empty() {
            declined += i32::from(text.starts_with("I am sorry"));
            continue;
        }
        answered += i32::from(question.gold.iter().any(|entry| text.contains(&format!("Source: “{entry}”"))));
        shown += i32::from(question.gold.iter().any(|entry| text.contains(&format!("“{entry}”"))));
    }
    for text in small_talk.lines() {
        let said = answer(text).await;
        assert!(!said.contains("Source:") && !said.starts_with("I am sorry"), "{text:?} was looked up: {said}");
    }
    let answerable = questions.iter().filter(|question| !question.gold.is_empty()).count();
    let share = |count: i32, all: usize| 100.0 * count as f32 / all as f32;
    let measured = Shares {
        answered_right: share(answered, answerable),
        shown_right: share(shown, answerable),
        off_topic_declined: share(declined, questions.len() - answerable),
    };
    println!("{measured:?}");
    assert!(
        measured.answered_right >= at_least.answered_right
            && measured.shown_right >= at_least.shown_right
            && measured.off_topic_declined >= at_least.off_topic_declined,
        "{measured:?} is worse than {at_least:?}"
    );
}

#[tokio::test]
async fn by_meaning() {
    let model = ModelFiles::locate(&default_dir()).unwrap().expect("the embedding model is missing: run `frontdesk model pull`");
    check(Some(model), Shares { answered_right: 45.0, shown_right: 68.0, off_topic_declined: 75.0 }).await;
}

#[tokio::test]
async fn by_keywords() {
    check(None, Shares { answered_right: 17.0, shown_right: 30.0, off_topic_declined: 80.0 }).await;
}
