//! What breaks, and what callers and owners are told then: killed agents, killed hosts, slow and broken models, mistakes at the start.

use std::path::Path;
use std::time::Duration;

use frontdesk_tests::host::{Host, Ran, Setup, kill, post};
use frontdesk_tests::llm_double::{LlmDouble, Mode};
use http::StatusCode;
use serde_json::json;

fn setup() -> Setup {
    Setup::new(env!("CARGO_BIN_EXE_frontdesk"))
}

/// A host whose agent asks a language model that behaves like this.
async fn with_llm(mode: Mode) -> (tempfile::TempDir, LlmDouble, Host) {
    let double = LlmDouble::start(([127, 0, 0, 1], 0).into(), mode).await.unwrap();
    let setup = setup().with_llm(&double);
    let folder = tempfile::tempdir().unwrap();
    let host = setup.start(folder.path()).await;
    (folder, double, host)
}

/// Begins a request and waits until the model has been asked, so that the agent is in the middle of it.
async fn in_flight(host: &Host, double: &LlmDouble) -> tokio::task::JoinHandle<frontdesk_tests::host::Answer> {
    let (endpoint, key) = (host.ready.endpoint.clone(), host.key().to_owned());
    let seen = double.recorded().len();
    let asking = tokio::spawn(async move { post(&endpoint, Some(&key), json!({ "prompt": "What does roaming cost?" }).to_string()).await });
    while double.recorded().len() == seen {
        tokio::task::yield_now().await;
    }
    asking
}

#[tokio::test]
async fn a_killed_agent_is_told_of_and_replaced() {
    let (_folder, double, host) = with_llm(Mode::Hang).await;
    let asking = in_flight(&host, &double).await;
    let first = host.agent_pid().await;
    kill("-KILL", first).await;
    let answer = asking.await.unwrap();
    assert_eq!((answer.status.as_u16(), &answer.json()["error"]), (424, &json!("AgentCore error: 424")), "{:?}", answer.json());
    let details = answer.json()["details"].as_str().unwrap().to_owned();
    assert!(details.contains("SIGKILL") && !details.contains("What does roaming cost?"), "{details}");
    double.set_mode(Mode::Instant);
    let answer = host.ask("What does roaming cost?").await;
    assert_eq!(answer.status, StatusCode::OK, "{:?}", answer.json());
    assert_ne!(host.agent_pid().await, first);
}

#[tokio::test]
async fn an_interrupt_lets_requests_in_flight_finish() {
    let (_folder, double, host) = with_llm(Mode::Slow(Duration::from_millis(800))).await;
    let asking = in_flight(&host, &double).await;
    assert_eq!(host.end("-INT").await, Some(0));
    let answer = asking.await.unwrap();
    assert_eq!(answer.status, StatusCode::OK, "{:?}", answer.json());
}

#[tokio::test]
async fn nothing_outlives_a_killed_host() {
    let folder = tempfile::tempdir().unwrap();
    let host = setup().start(folder.path()).await;
    let (key, agent) = (host.key().to_owned(), host.agent_pid().await);
    assert_eq!(host.ask("hi").await.status, StatusCode::OK);
    assert_eq!(host.end("-KILL").await, None);
    // The kernel kills the agent with its parent; its entry is gone once it is reaped.
    let gone = async {
        while is_running(agent) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), gone).await.expect("the agent ends with its host");
    let host = setup().start(folder.path()).await;
    assert_eq!(host.post(Some(&key), r#"{"prompt":"hi"}"#).await.status, StatusCode::OK, "the key is still there");
}

/// Whether a process is there and no zombie.
fn is_running(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.lines().any(|line| line.starts_with("State:") && !line.contains('Z'))
}

#[tokio::test]
async fn a_broken_model_is_an_answer_of_the_table_and_no_hang() {
    let (_folder, double, host) = with_llm(Mode::Close).await;
    let modes = [Mode::Close, Mode::BadJson, Mode::Status { status: 401, times: None, retry_after_s: None }];
    for mode in modes {
        double.set_mode(mode.clone());
        let answer = host.ask("What does roaming cost?").await;
        assert_eq!(
            (answer.status.as_u16(), &answer.json()["error"]),
            (424, &json!("AgentCore error: 424")),
            "{mode:?}: {:?}",
            answer.json()
        );
        assert!(!answer.json().to_string().contains("sk-stand-in"), "no key in an answer: {:?}", answer.json());
    }
    double.set_mode(Mode::Status { status: 429, times: Some(1), retry_after_s: Some(0) });
    assert_eq!(host.ask("What does roaming cost?").await.status, StatusCode::OK, "one 429 is retried");
}

#[tokio::test]
async fn a_silent_model_is_told_of_before_the_caller_gives_up() {
    let double = LlmDouble::start(([127, 0, 0, 1], 0).into(), Mode::Hang).await.unwrap();
    let setup = setup().with_llm(&double).variable("FRONTDESK_GATEWAY_INTEGRATION_TIMEOUT_MS", "12000");
    let folder = tempfile::tempdir().unwrap();
    let host = setup.start(folder.path()).await;
    let answer = host.ask("What does roaming cost?").await;
    assert_eq!((answer.status.as_u16(), &answer.json()["error"]), (424, &json!("AgentCore error: 424")));
    assert!(answer.json()["details"].as_str().unwrap().contains("did not answer within"), "{:?}", answer.json());
}

#[tokio::test]
async fn a_silent_agent_is_a_timeout_at_the_gateway() {
    let folder = tempfile::tempdir().unwrap();
    let host = setup().variable("FRONTDESK_GATEWAY_INTEGRATION_TIMEOUT_MS", "1500").start(folder.path()).await;
    let agent = host.agent_pid().await;
    kill("-STOP", agent).await;
    let answer = host.ask("What does roaming cost?").await;
    kill("-CONT", agent).await;
    assert_eq!((answer.status.as_u16(), answer.json()), (504, json!({ "message": "Endpoint request timed out" })));
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    assert_eq!(host.ask("What does roaming cost?").await.status, StatusCode::OK);
}

/// A start that must fail, and the words that its message must hold.
async fn check_refused(setup: Setup, folder: &Path, words: &[&str]) {
    let ran = setup.run(folder, &["up", "--gateway-listen", "127.0.0.1:0", "--control-listen", "127.0.0.1:0"]).await;
    check_failure(&ran, words);
}

fn check_failure(ran: &Ran, words: &[&str]) {
    assert_eq!(ran.code, Some(1), "{ran:?}");
    for word in words {
        assert!(ran.stderr.contains(word), "{word:?} in {ran:?}");
    }
}

#[tokio::test]
async fn a_bad_faq_is_named_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let faq = |name: &str, content: &[u8]| {
        std::fs::write(folder.path().join(name), content).unwrap();
        setup().variable("FRONTDESK_AGENT_FAQ", name)
    };
    let bare = || setup().variable("FRONTDESK_AGENT_FAQ", "nowhere.csv");
    let huge = format!("question,answer\nq,\"{}\"\n", "a".repeat(5 * 1024 * 1024));
    check_refused(bare(), folder.path(), &["nowhere.csv"]).await;
    check_refused(faq("header.csv", b"q,a\nx,y\n"), folder.path(), &["header.csv", "question,answer"]).await;
    check_refused(faq("empty.csv", b"question,answer\n"), folder.path(), &["empty.csv", "no"]).await;
    check_refused(faq("latin1.csv", b"question,answer\ncaf\xe9,yes\n"), folder.path(), &["latin1.csv", "UTF-8", "line 2"]).await;
    check_refused(faq("huge.csv", huge.as_bytes()), folder.path(), &["huge.csv", "line 2", "answer"]).await;
}

#[tokio::test]
async fn a_taken_port_a_held_folder_and_an_unknown_setting_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let host = setup().start(folder.path()).await;
    let pid = host.pid().to_string();
    check_refused(setup(), folder.path(), &[".frontdesk", &pid, "--data-dir"]).await;
    let elsewhere = tempfile::tempdir().unwrap();
    let taken = host.ready.gateway.trim_start_matches("http://");
    let ran = setup().run(elsewhere.path(), &["up", "--gateway-listen", taken]).await;
    check_failure(&ran, &[taken, "--gateway-listen"]);
    std::fs::write(elsewhere.path().join("frontdesk.toml"), "[gateway]\nport = 1\n").unwrap();
    check_refused(setup(), elsewhere.path(), &["frontdesk.toml", "port"]).await;
    check_refused(setup().variable("FRONTDESK_GATEWAY_PORT", "1"), folder.path(), &["FRONTDESK_GATEWAY_PORT"]).await;
    let bare = tempfile::tempdir().unwrap();
    let ran = setup().run(bare.path(), &["keys", "list", "--data-dir", "nothing-here"]).await;
    check_failure(&ran, &["nothing-here", "frontdesk up"]);
}

#[tokio::test]
async fn a_damaged_model_file_is_named_with_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model");
    std::fs::create_dir(&model).unwrap();
    std::fs::write(model.join("model.safetensors"), "not the weights").unwrap();
    std::fs::write(model.join("tokenizer.json"), "{}").unwrap();
    let damaged = setup().variable("FRONTDESK_AGENT_MODEL_DIR", &model.to_string_lossy());
    check_refused(damaged, folder.path(), &["model", "frontdesk model pull"]).await;
}

#[tokio::test]
async fn without_the_model_the_search_is_by_keywords_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let host = setup().start(folder.path()).await;
    assert!(host.greeting.contains("keyword only"), "{}", host.greeting);
    assert_eq!(host.run_json(&["status", "--json"]).await["search"], "keyword");
    let answer = host.ask("How do I activate roaming?").await.json();
    assert!(answer["result"].as_str().unwrap().to_lowercase().contains("roaming"), "{answer}");
}
