//! What the whole house answers, with the real embedding model: the right entry for questions in other words than the FAQ's, a polite no for the rest.

use frontdesk_tests::host::{Host, Setup};
use http::StatusCode;

async fn host() -> (tempfile::TempDir, Host) {
    let folder = tempfile::tempdir().unwrap();
    let unlimited = Setup::new(env!("CARGO_BIN_EXE_frontdesk"))
        .with_model(env!("CARGO_TARGET_TMPDIR"))
        .variable("FRONTDESK_USAGE_PLAN_RATE_LIMIT", "0");
    let host = unlimited.start(folder.path()).await;
    assert!(
        host.greeting.contains("vector (all-MiniLM-L6-v2)"),
        "the model is missing; `frontdesk model pull` fetches it:\n{}",
        host.greeting
    );
    (folder, host)
}

async fn result(host: &Host, prompt: &str) -> String {
    let answer = host.ask(prompt).await;
    assert_eq!(answer.status, StatusCode::OK, "{prompt}: {:?}", answer.json());
    answer.json()["result"].as_str().unwrap().to_owned()
}

fn names(answer: &str, entry: &str) -> bool {
    answer.contains(&format!("“{entry}”"))
}

#[tokio::test]
async fn everyday_questions_find_their_entry() {
    let (_folder, host) = host().await;
    let cases = [
        ("my phone was stolen, what now", "My phone was lost or stolen. What should I do?"),
        ("How do I activate roaming?", "How do I activate roaming?"),
        ("What are the available data plans?", "What are the available data plans?"),
        ("How do I check my balance?", "How do I check my balance?"),
    ];
    for (prompt, entry) in cases {
        let answer = result(&host, prompt).await;
        assert!(names(&answer, entry), "{prompt}: {answer}");
    }
}

#[tokio::test]
async fn strangers_are_declined_and_small_talk_is_made() {
    let (_folder, host) = host().await;
    for prompt in ["who won the football last night", "how do I bake a sourdough bread", "what is the capital of mongolia"] {
        let answer = result(&host, prompt).await;
        assert!(answer.starts_with("I am sorry") && !answer.contains("Source:"), "{prompt}: {answer}");
    }
    let answer = result(&host, "hey there").await;
    assert!(answer.starts_with("Hello!"), "{answer}");
}
