//! What is seen of requests: the access log, the metrics, the trace; and the cache, which is seen in all of them.

use std::path::Path;

use frontdesk_tests::host::{Host, Setup, send};
use frontdesk_tests::llm_double::{LlmDouble, Mode};
use http::Method;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

const SECRET_QUESTION: &str = "How do I activate roaming, says Rumpelstiltskin?";

fn setup() -> Setup {
    Setup::new(env!("CARGO_BIN_EXE_frontdesk"))
}

async fn ask(host: &Host, headers: &[(&str, &str)], body: &Value) -> frontdesk_tests::host::Answer {
    let mut all = vec![("content-type", "application/json"), ("x-api-key", host.key())];
    all.extend(headers);
    send(Method::POST, &host.ready.endpoint, &all, body.to_string()).await
}

/// The access log's lines, once there are `count`: they are written behind the answer.
async fn lines(file: &Path, count: usize) -> Vec<String> {
    loop {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let lines: Vec<_> = text.lines().map(str::to_owned).collect();
        if lines.len() >= count {
            return lines;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

async fn metrics(host: &Host) -> String {
    let answer = send(Method::GET, &format!("{}/metrics", host.ready.control), &[], "").await;
    assert_eq!(answer.status, 200);
    assert!(answer.header("content-type").starts_with("application/openmetrics-text"));
    String::from_utf8(answer.body.to_vec()).unwrap()
}

fn check_metric(metrics: &str, name: &str, labels: &str, expected: u64) {
    let line = metrics.lines().find(|line| line.starts_with(&format!("{name}{{")) && line.contains(labels));
    let line = line.unwrap_or_else(|| panic!("no {name} with {labels} in\n{metrics}"));
    assert_eq!(line.rsplit(' ').next(), Some(expected.to_string().as_str()), "{line}");
}

#[tokio::test]
async fn every_request_has_a_line_and_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let host = setup().start(folder.path()).await;
    let answer = ask(&host, &[("user-agent", "a \"test\"")], &json!({ "prompt": SECRET_QUESTION })).await;
    assert_eq!(answer.status, 200);
    host.post(Some("wrong-key-wrong-key-wrong"), "{}").await;
    send(Method::GET, &format!("{}/prod/nothing", host.ready.gateway), &[], "").await;

    let file = folder.path().join(".frontdesk/logs/access.log");
    let text = lines(&file, 3).await;
    let lines: Vec<Value> = text.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let good = lines.iter().find(|line| line["status"] == "200").unwrap();
    assert_eq!(good["requestId"], answer.header("x-amzn-requestid"));
    assert_eq!(good["traceId"], answer.header("x-amzn-trace-id"));
    assert_eq!((&good["httpMethod"], &good["resourcePath"], &good["stage"]), (&json!("POST"), &json!("/invoke"), &json!("prod")));
    assert_eq!((&good["userAgent"], &good["ip"], &good["errorType"]), (&json!("a \"test\""), &json!("127.0.0.1"), &json!("-")));
    assert_eq!(good["responseLength"], answer.body.len().to_string());
    let keys = host.run_json(&["keys", "list", "--json"]).await;
    assert_eq!(good["apiKeyId"], keys["keys"][0]["id"]);
    let wrong = lines.iter().find(|line| line["errorType"] == "INVALID_API_KEY").unwrap();
    assert_eq!((&wrong["apiKeyId"], &wrong["integrationStatus"]), (&json!("-"), &json!("-")));
    let text = text.join("\n");
    assert!(!text.contains(host.key()) && !text.contains("Rumpelstiltskin") && !text.contains("wrong-key"), "{text}");

    let metrics = metrics(&host).await;
    let invoke = "resource=\"/invoke\",method=\"POST\"";
    check_metric(&metrics, "apigateway_count_total", invoke, 2);
    check_metric(&metrics, "apigateway_4xx_error_total", invoke, 1);
    check_metric(&metrics, "apigateway_5xx_error_total", invoke, 0);
    check_metric(&metrics, "apigateway_integration_latency_seconds_count", invoke, 1);
    check_metric(&metrics, "apigateway_count_total", "resource=\"\"", 1);
    check_metric(&metrics, "apigateway_refused_total", "reason=\"forbidden\"", 1);
    assert!(metrics.ends_with("# EOF\n"));
}

#[tokio::test]
async fn the_log_has_the_form_that_is_asked_for_and_the_metrics_can_be_shut() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("elsewhere/clf.log");
    let setup = setup()
        .variable("FRONTDESK_ACCESS_LOG_PATH", file.to_str().unwrap())
        .variable("FRONTDESK_ACCESS_LOG_FORMAT", "clf")
        .variable("FRONTDESK_CONTROL_METRICS", "false")
        .variable("FRONTDESK_GATEWAY_TRUSTED_PROXIES", "127.0.0.0/8");
    let host = setup.start(folder.path()).await;
    let answer = ask(&host, &[("x-forwarded-for", "203.0.113.9, 198.51.100.7")], &json!({ "prompt": "hi" })).await;
    let line = lines(&file, 1).await.remove(0);
    assert!(line.starts_with("198.51.100.7 - - [") && line.contains("] \"POST /invoke HTTP/1.1\" 200 "), "{line}");
    assert!(line.ends_with(answer.header("x-amzn-requestid")), "{line}");
    assert_eq!(send(Method::GET, &format!("{}/metrics", host.ready.control), &[], "").await.status, 404);
}

#[tokio::test]
async fn one_trace_id_finds_a_request_from_the_caller_to_the_agent() {
    let folder = tempfile::tempdir().unwrap();
    let host = setup().start(folder.path()).await;
    let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let answer = ask(&host, &[("traceparent", traceparent)], &json!({ "prompt": "hi" })).await;
    let trace_id = "Root=1-4bf92f35-77b34da6a3ce929d0e0e4736";
    assert_eq!(answer.header("x-amzn-trace-id"), trace_id);
    for log in ["access.log", "agent.log"] {
        let file = folder.path().join(".frontdesk/logs").join(log);
        while !std::fs::read_to_string(&file).unwrap_or_default().contains(&format!("\"traceId\":\"{trace_id}\"")) {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test]
async fn an_answer_is_given_again_to_the_same_question_of_the_same_key() {
    let folder = tempfile::tempdir().unwrap();
    let host = setup().variable("FRONTDESK_GATEWAY_CACHE_TTL_S", "300").start(folder.path()).await;
    let question = json!({ "prompt": "How do I pay my bill?", "actor_id": "anna" });
    let first = ask(&host, &[], &question).await;
    let second = ask(&host, &[], &question).await;
    assert_eq!((first.status.as_u16(), first.header("cache-status")), (200, "frontdesk; fwd=miss; stored"));
    assert!(second.header("cache-status").starts_with("frontdesk; hit; ttl="), "{second:?}");
    assert_eq!(first.body, second.body);
    assert_ne!(first.header("x-amzn-requestid"), second.header("x-amzn-requestid"));
    let other = host.run_json(&["keys", "create", "other", "--json"]).await;
    let of_other = host.post(other["value"].as_str(), &question.to_string()).await;
    assert_eq!(of_other.header("cache-status"), "frontdesk; fwd=miss; stored");
    let fresh = ask(&host, &[("cache-control", "max-age=0")], &question).await;
    assert_eq!(fresh.header("cache-status"), "frontdesk; fwd=miss; stored");
    // A refusal is not kept; a stream is not cached at all.
    for _ in 0..2 {
        assert_eq!(ask(&host, &[], &json!({})).await.header("cache-status"), "frontdesk; fwd=miss");
    }
    let stream = host.ready.endpoint.replace("/invoke", "/stream");
    let streamed = send(Method::POST, &stream, &[("x-api-key", host.key())], question.to_string()).await;
    assert_eq!((streamed.status.as_u16(), streamed.header("cache-status")), (200, ""));

    // Hits count as requests, for the key and for the actor.
    let usage = host.run_json(&["usage", "--json", "--key", "ThirdPartyServerKey"]).await;
    assert_eq!((&usage["keys"][0]["used"], &usage["actors"][0]["used"]), (&json!(6), &json!(4)));
    let metrics = metrics(&host).await;
    check_metric(&metrics, "apigateway_cache_hit_total", "resource=\"/invoke\",method=\"POST\"", 1);
    check_metric(&metrics, "apigateway_cache_miss_total", "resource=\"/invoke\",method=\"POST\"", 5);
}

#[tokio::test]
async fn the_language_model_s_tokens_are_counted() {
    let double = LlmDouble::start(([127, 0, 0, 1], 0).into(), Mode::Instant).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let host = setup().with_llm(&double).start(folder.path()).await;
    assert_eq!(ask(&host, &[], &json!({ "prompt": "How do I activate roaming?" })).await.status, 200);
    let model = "model_id=\"openai:stand-in\"";
    // The lines come through the agent's output, behind the answer.
    let of = |metrics: &str, name: &str| {
        let line = metrics.lines().find(|line| line.starts_with(&format!("{name}{{")) && line.contains(model));
        line.map_or(0.0, |line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
    };
    let mut seen = metrics(&host).await;
    while of(&seen, "agent_invocations_samples_total") < 2.0 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        seen = metrics(&host).await;
    }
    let of = |name: &str| of(&seen, name);
    assert_eq!((of("agent_invocations_total"), of("agent_invocations_samples_total")), (2.0, 2.0));
    assert!(of("agent_input_token_count_total") > 0.0 && of("agent_output_token_count_total") > 0.0);
}

#[tokio::test]
async fn a_caller_that_goes_away_is_on_record() {
    let double = LlmDouble::start(([127, 0, 0, 1], 0).into(), Mode::Hang).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let host = setup().with_llm(&double).start(folder.path()).await;
    let mut caller = TcpStream::connect(host.ready.gateway.strip_prefix("http://").unwrap()).await.unwrap();
    let body = json!({ "prompt": "What is roaming?" }).to_string();
    let head = format!("POST /prod/invoke HTTP/1.1\r\nHost: x\r\nx-api-key: {}\r\nContent-Length: {}\r\n\r\n", host.key(), body.len());
    caller.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    while double.recorded().is_empty() {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(metrics(&host).await.contains("apigateway_requests_in_flight 1\n"));
    drop(caller);
    let line: Value = serde_json::from_str(&lines(&folder.path().join(".frontdesk/logs/access.log"), 1).await[0]).unwrap();
    assert_eq!((&line["status"], &line["integrationStatus"], &line["resourcePath"]), (&json!("499"), &json!("-"), &json!("/invoke")));
    let metrics = metrics(&host).await;
    assert!(metrics.contains("apigateway_requests_in_flight 0\n"), "{metrics}");
    check_metric(&metrics, "apigateway_4xx_error_total", "resource=\"/invoke\",method=\"POST\"", 1);
}
