//! `POST /prod/stream`: the same question, answered as server-sent events while the answer is written.

use std::time::Duration;

use frontdesk_tests::events;
use frontdesk_tests::host::{Host, Setup, post};
use frontdesk_tests::llm_double::{LlmDouble, Mode};
use serde_json::{Value, json};

fn setup() -> Setup {
    Setup::new(env!("CARGO_BIN_EXE_frontdesk"))
}

fn endpoint(host: &Host) -> String {
    host.ready.endpoint.replace("/invoke", "/stream")
}

#[tokio::test]
async fn an_answer_comes_in_events_and_is_counted_once() {
    let folder = tempfile::tempdir().unwrap();
    let host = setup().variable("FRONTDESK_USAGE_PLAN_QUOTA_LIMIT", "1").start(folder.path()).await;
    let body = json!({ "prompt": "How do I activate roaming?", "actor_id": "a", "thread_id": "t" }).to_string();
    let answer = post(&endpoint(&host), Some(host.key()), body.clone()).await;
    assert_eq!(answer.status.as_u16(), 200, "{answer:?}");
    assert_eq!(answer.header("content-type"), "text/event-stream; charset=utf-8");
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    let events = events(&String::from_utf8_lossy(&answer.body));
    let text: String = events.iter().filter_map(|event| event["delta"].as_str()).collect();
    assert!(text.contains("roaming"), "{events:?}");
    assert_eq!(events.last().unwrap(), &json!({ "result": text, "actor_id": "a", "thread_id": "t" }));
    let second = post(&endpoint(&host), Some(host.key()), body).await;
    assert_eq!((second.status.as_u16(), second.json()), (429, json!({ "message": "Limit Exceeded" })));
}

#[tokio::test]
async fn what_is_refused_is_refused_as_at_invoke() {
    let folder = tempfile::tempdir().unwrap();
    let host = setup().start(folder.path()).await;
    let check = async |key: Option<&str>, body: &str, status: u16, expected: Value| {
        let answer = post(&endpoint(&host), key, body.to_owned()).await;
        assert_eq!((answer.status.as_u16(), answer.json()), (status, expected), "{body}");
    };
    check(None, "{}", 403, json!({ "message": "Forbidden" })).await;
    check(Some(host.key()), "{}", 400, json!({ "error": "Missing required field: prompt" })).await;
}

#[tokio::test]
async fn a_provider_that_quotes_the_key_does_not_bring_it_into_a_log() {
    let refusing = Mode::Status { status: 401, times: None, retry_after_s: None };
    let double = LlmDouble::start(([127, 0, 0, 1], 0).into(), refusing).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let host = setup().with_llm(&double).start(folder.path()).await;
    for url in [host.ready.endpoint.clone(), endpoint(&host)] {
        let answer = post(&url, Some(host.key()), json!({ "prompt": "How do I activate roaming?" }).to_string()).await;
        let said = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(said.contains("401") && !said.contains("sk-stand-in"), "{said}");
    }
    let log = std::fs::read_to_string(folder.path().join(".frontdesk/logs/agent.log")).unwrap();
    assert!(log.contains("401 Unauthorized") && !log.contains("sk-stand-in"), "{log}");
}

#[tokio::test]
async fn a_caller_that_goes_away_stops_the_work() {
    let double = LlmDouble::start(([127, 0, 0, 1], 0).into(), Mode::Trickle).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let host = setup().with_llm(&double).start(folder.path()).await;
    let url = endpoint(&host);
    let (address, path) = url.trim_start_matches("http://").split_once('/').unwrap();
    let body = r#"{"prompt":"hi there, what is roaming?"}"#;
    let mut caller = tokio::net::TcpStream::connect(address).await.unwrap();
    let request =
        format!("POST /{path} HTTP/1.1\r\nhost: {address}\r\nx-api-key: {}\r\ncontent-length: {}\r\n\r\n{body}", host.key(), body.len());
    tokio::io::AsyncWriteExt::write_all(&mut caller, request.as_bytes()).await.unwrap();
    wait_for(|| double.streams() == 1, "the model's stream begins").await;
    drop(caller);
    wait_for(|| double.streams() == 0, "and ends with its reader").await;
}

async fn wait_for(condition: impl Fn() -> bool, what: &str) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(15), waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}
