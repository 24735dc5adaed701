//! Searching a small FAQ from file to hits, by meaning and by words.

use std::fs;
use std::path::{Path, PathBuf};

use frontdesk_agent::retrieval::model::{self, ModelFiles};
use frontdesk_agent::retrieval::{Faq, Knowledge, KnowledgeOptions, SearchKind};

const FAQ: &str = "question,answer
How do I activate roaming?,Dial *123# before you travel and choose Roaming.
What happens if my phone is stolen?,Call 611 and we block the SIM at once. A new one costs nothing.
Do you offer eSIM?,Yes. Scan the QR code in the app and the line moves to the phone's built-in SIM.
How can I pay my bill?,\"By direct debit, by card in the app, or in any shop.\"
";

fn model_files() -> ModelFiles {
    let files = ModelFiles::locate(&model::default_dir()).unwrap();
    files.expect("this test needs the model: run `frontdesk model pull`")
}

fn by_vectors(cache_dir: Option<&Path>) -> KnowledgeOptions {
    KnowledgeOptions {
        model: Some(model_files()),
        cache_dir: cache_dir.map(PathBuf::from),
        embedding_threads: 2,
        ..KnowledgeOptions::default()
    }
}

fn open(csv: &str, options: KnowledgeOptions) -> Knowledge {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("faq.csv");
    fs::write(&path, csv).unwrap();
    Knowledge::open(Faq::read(&path).unwrap(), options).unwrap()
}

#[track_caller]
fn check(knowledge: &Knowledge, runtime: &tokio::runtime::Runtime, query: &str, expected: &str) {
    let hits = runtime.block_on(knowledge.search(query, 3)).unwrap();
    assert_eq!(knowledge.entry(hits[0].entry).question, expected, "{query:?}: {hits:?}");
    assert_eq!(knowledge.chunks()[hits[0].chunk].text, hits[0].text);
    assert!(hits.is_sorted_by(|a, b| a.score >= b.score), "{hits:?}");
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn questions_in_other_words_find_their_entry_by_meaning() {
    let (knowledge, runtime) = (open(FAQ, by_vectors(None)), runtime());
    assert_eq!(knowledge.kind(), SearchKind::Vector);
    check(&knowledge, &runtime, "someone took my handset", "What happens if my phone is stolen?");
    check(&knowledge, &runtime, "do you have those digital sims", "Do you offer eSIM?");
    check(&knowledge, &runtime, "using my phone abroad", "How do I activate roaming?");
    check(&knowledge, &runtime, "settling the invoice", "How can I pay my bill?");
}

#[test]
fn questions_in_the_same_words_find_their_entry_without_a_model() {
    let (knowledge, runtime) = (open(FAQ, KnowledgeOptions::default()), runtime());
    assert_eq!(knowledge.kind(), SearchKind::Keyword);
    check(&knowledge, &runtime, "activate ROAMING please", "How do I activate roaming?");
    check(&knowledge, &runtime, "my phone was stolen", "What happens if my phone is stolen?");
    assert!(runtime.block_on(knowledge.search("who won the football match", 3)).unwrap().is_empty());
}

#[test]
fn the_number_of_results_is_held_within_its_limits() {
    for options in [by_vectors(None), KnowledgeOptions::default()] {
        let (knowledge, runtime) = (open(FAQ, options), runtime());
        for (k, expected) in [(0, 1), (1, 1), (3, 3), (usize::MAX, 4)] {
            let hits = runtime.block_on(knowledge.search("roaming stolen sim bill", k)).unwrap();
            assert_eq!(hits.len(), expected, "k = {k}, {:?}", knowledge.kind());
        }
    }
}

#[test]
fn any_query_is_answered() {
    let (knowledge, runtime) = (open(FAQ, by_vectors(None)), runtime());
    for query in ["", " ", "\0", "📱", "[SEP][SEP]", &"long ".repeat(100_000)] {
        assert_eq!(runtime.block_on(knowledge.search(query, 2)).unwrap().len(), 2);
    }
}

#[test]
fn many_questions_at_once_all_get_their_own_answer() {
    let knowledge = std::sync::Arc::new(open(FAQ, by_vectors(None)));
    let questions: Vec<String> = knowledge.entries().iter().map(|entry| entry.question.clone()).collect();
    runtime().block_on(async {
        let asked: Vec<_> = (0..60)
            .map(|number| {
                let (knowledge, question) = (knowledge.clone(), questions[number % questions.len()].clone());
                tokio::spawn(async move { (question.clone(), knowledge.search(&question, 1).await.unwrap()) })
            })
            .collect();
        for asked in asked {
            let (question, hits) = asked.await.unwrap();
            assert_eq!(knowledge.entry(hits[0].entry).question, question);
        }
    });
}

#[test]
fn a_second_start_embeds_only_what_is_new() {
    let cache = tempfile::tempdir().unwrap();
    let embedded = |csv: &str| open(csv, by_vectors(Some(cache.path()))).embedded();
    assert_eq!(embedded(FAQ), 8, "each entry's page and its question");
    assert_eq!(embedded(FAQ), 0);
    let changed = FAQ.replace("A new one costs nothing", "A new one costs €5");
    assert_eq!(embedded(&changed), 1);
    // The changed row's old vector has gone from the cache.
    assert_eq!(embedded(FAQ), 1);

    fs::write(cache.path().join("embeddings.bin"), "damaged").unwrap();
    assert_eq!(embedded(FAQ), 8);
    assert_eq!(embedded(FAQ), 0);
}

#[test]
fn repeated_rows_are_embedded_once_and_found_both() {
    let csv = "question,answer\nOpening hours?,9 to 5\nOpening hours?,9 to 5\n";
    let (knowledge, runtime) = (open(csv, by_vectors(None)), runtime());
    assert_eq!(knowledge.embedded(), 2, "the page and its question");
    let hits = runtime.block_on(knowledge.search("when do you open", 5)).unwrap();
    assert_eq!(hits.iter().map(|hit| hit.entry).collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn vectors_from_the_cache_are_those_that_were_stored() {
    let cache = tempfile::tempdir().unwrap();
    let runtime = runtime();
    let search = || {
        let knowledge = open(FAQ, by_vectors(Some(cache.path())));
        runtime.block_on(knowledge.search("lost my mobile", 4)).unwrap()
    };
    assert_eq!(search(), search());
}
