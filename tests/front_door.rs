//! The API as third parties see it, to the letter: paths, headers, bodies, statuses.

use frontdesk_tests::host::{Answer, Host, Setup, post, send};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

fn setup() -> Setup {
    Setup::new(env!("CARGO_BIN_EXE_frontdesk"))
}

async fn host() -> (TempDir, Host) {
    host_with(setup()).await
}

async fn host_with(setup: Setup) -> (TempDir, Host) {
    let folder = tempfile::tempdir().unwrap();
    let host = setup.start(folder.path()).await;
    (folder, host)
}

/// Status, body and `x-amzn-ErrorType`, and what every answer carries.
fn check(answer: &Answer, status: u16, body: Value, error_type: &str) {
    assert_eq!((answer.status.as_u16(), answer.json()), (status, body));
    assert_eq!(answer.header("x-amzn-errortype"), error_type);
    check_every_answer(answer);
}

fn check_every_answer(answer: &Answer) {
    assert_eq!(answer.header("x-amzn-requestid").len(), 36, "{answer:?}");
    assert_eq!(answer.header("x-amz-apigw-id").len(), 16, "{answer:?}");
    assert_eq!(answer.header("access-control-allow-origin"), "*", "{answer:?}");
    assert_eq!(answer.header("content-type"), "application/json", "{answer:?}");
}

#[tokio::test]
async fn a_question_is_answered_and_the_ids_come_back() {
    let (_folder, host) = host().await;
    let body = json!({ "prompt": "How do I activate roaming?", "actor_id": "user-123", "thread_id": "session-456" });
    let answer = host.post(Some(host.key()), &body.to_string()).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    check_every_answer(&answer);
    assert!(answer.header("x-amzn-trace-id").starts_with("Root=1-"));
    let answer = answer.json();
    let fields: std::collections::BTreeSet<_> = answer.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(fields, ["actor_id", "result", "thread_id"].into());
    assert_eq!((&answer["actor_id"], &answer["thread_id"]), (&json!("user-123"), &json!("session-456")));
    assert!(answer["result"].as_str().unwrap().contains("roaming"), "{answer}");

    let answer = host.ask("How do I activate roaming?").await.json();
    assert_eq!((&answer["actor_id"], &answer["thread_id"]), (&json!("api-user"), &json!("api-session")));
}

#[tokio::test]
async fn without_a_good_key_the_door_is_shut() {
    let (_folder, host) = host().await;
    let forbidden = || json!({ "message": "Forbidden" });
    let question = r#"{"prompt":"hi"}"#;
    let endless = "x".repeat(5_000);
    for key in [None, Some("invalid-key-12345"), Some(""), Some(endless.as_str())] {
        check(&host.post(key, question).await, 403, forbidden(), "ForbiddenException");
    }
    // A key without a plan opens nothing.
    let unplanned = host.run_json(&["keys", "create", "unplanned", "--no-usage-plan", "--json"]).await;
    check(&host.post(unplanned["value"].as_str(), question).await, 403, forbidden(), "ForbiddenException");
    // A disabled key stops on the next request, and an enabled one works on the next.
    let second = host.run_json(&["keys", "create", "second", "--json"]).await;
    let second = second["value"].as_str().unwrap();
    assert_eq!(host.post(Some(second), question).await.status, StatusCode::OK);
    assert_eq!(host.run(&["keys", "disable", "second"]).await.code, Some(0));
    check(&host.post(Some(second), question).await, 403, forbidden(), "ForbiddenException");
    assert_eq!(host.run(&["keys", "enable", "second"]).await.code, Some(0));
    assert_eq!(host.post(Some(second), question).await.status, StatusCode::OK);
    // An unknown stage looks the same.
    let other_stage = host.ready.endpoint.replace("/prod/", "/dev/");
    check(&post(&other_stage, Some(host.key()), question.to_owned()).await, 403, forbidden(), "ForbiddenException");
}

#[tokio::test]
async fn an_unknown_path_or_verb_is_a_missing_token() {
    let (_folder, host) = host().await;
    let missing = || json!({ "message": "Missing Authentication Token" });
    let key = [("x-api-key", host.key())];
    let unknown_path = host.ready.endpoint.replace("/invoke", "/nothing");
    for (verb, url) in [(Method::GET, &host.ready.endpoint), (Method::POST, &unknown_path), (Method::DELETE, &host.ready.endpoint)] {
        check(&send(verb, url, &key, "").await, 403, missing(), "MissingAuthenticationTokenException");
    }
}

#[tokio::test]
async fn a_bad_body_is_told_what_is_wrong_with_it() {
    let (_folder, host) = host().await;
    let not_json = host.post(Some(host.key()), "{\"prompt\":").await;
    assert_eq!((not_json.status, &not_json.json()["error"]), (StatusCode::BAD_REQUEST, &json!("Request body is not valid JSON")));
    assert!(not_json.json()["details"].is_string());
    let missing = json!({ "error": "Missing required field: prompt" });
    for body in ["{}", r#"{"prompt":""}"#, r#"{"prompt":null}"#] {
        check(&host.post(Some(host.key()), body).await, 400, missing.clone(), "");
    }
    let long = json!({ "prompt": "a".repeat(100_000) }).to_string();
    let told = json!({ "error": "Field prompt is longer than the limit of 32000 characters" });
    check(&host.post(Some(host.key()), &long).await, 400, told, "");
    check(&host.post(Some(host.key()), r#"{"prompt":["hi"]}"#).await, 400, json!({ "error": "Field prompt must be a string" }), "");
    let oversized = format!(r#"{{"prompt":"{}"}}"#, "a".repeat(10 * 1024 * 1024));
    check(&host.post(Some(host.key()), &oversized).await, 413, json!({ "message": "Request Too Long" }), "RequestTooLargeException");
}

#[tokio::test]
async fn a_page_of_another_origin_may_call() {
    let (_folder, host) = host().await;
    let asks =
        [("origin", "https://example.com"), ("access-control-request-method", "POST"), ("access-control-request-headers", "x-api-key")];
    let answer = send(Method::OPTIONS, &host.ready.endpoint, &asks, "").await;
    assert_eq!((answer.status, answer.body.len()), (StatusCode::OK, 0));
    check_every_answer(&answer);
    assert_eq!(answer.header("access-control-allow-headers"), "Content-Type,x-api-key");
    assert_eq!(answer.header("access-control-allow-methods"), "POST,OPTIONS");
}

#[tokio::test]
async fn who_is_too_fast_is_told_when_to_come_again() {
    let slow = setup().variable("FRONTDESK_USAGE_PLAN_RATE_LIMIT", "0.01").variable("FRONTDESK_USAGE_PLAN_BURST_LIMIT", "2");
    let (_folder, host) = host_with(slow).await;
    for _ in 0..2 {
        assert_eq!(host.ask("hi").await.status, StatusCode::OK);
    }
    let answer = host.ask("hi").await;
    check(&answer, 429, json!({ "message": "Too Many Requests" }), "TooManyRequestsException");
    let retry_after: u64 = answer.header("retry-after").parse().unwrap();
    assert!((1..=100).contains(&retry_after), "{retry_after}");
    // Another key has a bucket of its own, and the page itself is not metered.
    let second = host.run_json(&["keys", "create", "second", "--json"]).await;
    assert_eq!(host.post(second["value"].as_str(), r#"{"prompt":"hi"}"#).await.status, StatusCode::OK);
    assert_eq!(send(Method::GET, &format!("{}/", host.ready.gateway), &[], "").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_spent_day_stays_spent_after_a_kill_and_a_restart() {
    let scarce = setup().variable("FRONTDESK_USAGE_PLAN_QUOTA_LIMIT", "3");
    let (folder, host) = host_with(scarce.clone()).await;
    let key = host.key().to_owned();
    for _ in 0..3 {
        assert_eq!(host.ask("hi").await.status, StatusCode::OK);
    }
    check(&host.ask("hi").await, 429, json!({ "message": "Limit Exceeded" }), "LimitExceededException");
    // Counts are on disk within a second; here the list is asked until the writer has had its turn, then the host is killed.
    let used = host.run_json(&["keys", "list", "--json"]).await["keys"][0]["used_today"].clone();
    assert_eq!(used, json!(3));
    assert_eq!(host.end("-TERM").await, Some(0));
    let host = scarce.start(folder.path()).await;
    assert_eq!(host.ready.api_key, None, "a later start makes no key");
    check(&host.post(Some(&key), r#"{"prompt":"hi"}"#).await, 429, json!({ "message": "Limit Exceeded" }), "LimitExceededException");
    assert_eq!(host.end("-KILL").await, None);
    let generous = scarce.variable("FRONTDESK_USAGE_PLAN_QUOTA_LIMIT", "4");
    let host = generous.start(folder.path()).await;
    assert_eq!(host.post(Some(&key), r#"{"prompt":"hi"}"#).await.status, StatusCode::OK, "the plan follows its settings");
    assert_eq!(host.post(Some(&key), r#"{"prompt":"hi"}"#).await.status, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn the_api_is_found_by_its_id_too() {
    let (_folder, host) = host().await;
    let forbidden = json!({ "message": "Forbidden" });
    let elsewhere = [("host", "nobody.execute-api.us-east-1.amazonaws.com"), ("x-api-key", host.key())];
    let answer = send(Method::POST, &host.ready.endpoint, &elsewhere, r#"{"prompt":"hi"}"#).await;
    assert_eq!((answer.status.as_u16(), answer.json()), (403, forbidden));
    assert_eq!(answer.header("access-control-allow-origin"), "", "another API has the CORS headers that it configures, which are none");
}

#[tokio::test]
async fn the_programs_own_pages_need_no_key() {
    let (_folder, host) = host().await;
    let page = send(Method::GET, &format!("{}/", host.ready.gateway), &[], "").await;
    assert_eq!((page.status, page.header("content-type")), (StatusCode::OK, "text/html; charset=utf-8"));
    let health = send(Method::GET, &format!("{}/healthz", host.ready.gateway), &[], "").await;
    assert_eq!((health.status.as_u16(), health.json()), (200, json!({ "status": "ok" })));
}
