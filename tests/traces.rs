//! What a collector gets to see of requests: one trace through gateway, proxy, runtime and agent, and nothing that was said in it.

use std::collections::BTreeSet;

use frontdesk_tests::collector::{Collector, ExportedSpan, SpanKind};
use frontdesk_tests::host::{Answer, Host, Setup, kill, send};
use frontdesk_tests::llm_double::{LlmDouble, Mode};
use http::Method;
use serde_json::{Value, json};

const CALLER: (&str, &str) = ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
const CALLERS_TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLERS_SPAN: &str = "00f067aa0ba902b7";
const SECRET_QUESTION: &str = "How do I activate roaming, says Rumpelstiltskin?";

fn setup() -> Setup {
    Setup::new(env!("CARGO_BIN_EXE_frontdesk"))
}

/// A host that exports to `collector`, a batch every tenth of a second.
fn exporting(collector: &Collector) -> Setup {
    setup().variable("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint()).variable("OTEL_BSP_SCHEDULE_DELAY", "100")
}

/// As [`exporting`], but a batch is sent at the end only.
fn exporting_at_the_end(collector: &Collector) -> Setup {
    exporting(collector).variable("OTEL_BSP_SCHEDULE_DELAY", "3600000")
}

async fn ask(host: &Host, headers: &[(&str, &str)], body: &Value) -> Answer {
    let mut all = vec![("content-type", "application/json"), ("x-api-key", host.key())];
    all.extend(headers);
    send(Method::POST, &host.ready.endpoint, &all, body.to_string()).await
}

fn find<'a>(spans: &'a [ExportedSpan], service: &str, name: &str, kind: SpanKind) -> &'a ExportedSpan {
    let is_it = |span: &&ExportedSpan| (span.service.as_str(), span.name.as_str(), span.kind) == (service, name, kind);
    spans.iter().find(is_it).unwrap_or_else(|| panic!("no {kind:?} span {name} of {service} among {spans:#?}"))
}

/// The spans of the four hops, from the door to the agent.
fn hops<'a>(spans: &'a [ExportedSpan], gateway: &str) -> [&'a ExportedSpan; 4] {
    [
        find(spans, "frontdesk", gateway, SpanKind::Server),
        find(spans, "frontdesk", "InvokeAgentRuntime", SpanKind::Client),
        find(spans, "frontdesk", "InvokeAgentRuntime", SpanKind::Server),
        find(spans, "frontdesk-agent", "POST /invocations", SpanKind::Server),
    ]
}

/// Each hop is below the one before.
fn check_chain(hops: [&ExportedSpan; 4]) {
    for pair in hops.windows(2) {
        assert!(pair[1].is_below(pair[0]), "{:#?} is not below {:#?}", pair[1], pair[0]);
    }
}

/// Two programs export, each when it likes; a trace is whole when every hop has done so.
fn is_whole(spans: &[ExportedSpan]) -> bool {
    let has = |is_it: fn(&ExportedSpan) -> bool| spans.iter().any(is_it);
    has(|span| span.kind == SpanKind::Server && !span.attribute("frontdesk.request_id").is_empty())
        && has(|span| span.kind == SpanKind::Client && span.name == "InvokeAgentRuntime")
        && has(|span| span.kind == SpanKind::Server && span.name == "InvokeAgentRuntime")
        && has(|span| span.kind == SpanKind::Server && span.name == "POST /invocations")
}

#[tokio::test]
async fn one_question_is_one_trace() {
    let collector = Collector::start().await.unwrap();
    let double = LlmDouble::start(([127, 0, 0, 1], 0).into(), Mode::Instant).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let setup = exporting(&collector).with_llm(&double).variable("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20of-the-collector");
    let host = setup.start(folder.path()).await;
    let answer = ask(&host, &[CALLER, ("user-agent", "a test")], &json!({ "prompt": SECRET_QUESTION, "actor_id": "rapunzel" })).await;
    assert_eq!(answer.status, 200);

    let spans = collector.spans_until(is_whole).await;
    let hops = hops(&spans, "POST /prod/invoke");
    check_chain(hops);
    let [gateway, proxy, runtime, agent] = hops;
    assert_eq!((gateway.trace_id.as_str(), gateway.parent_span_id.as_str()), (CALLERS_TRACE, CALLERS_SPAN));
    assert!(spans.iter().all(|span| span.trace_id == CALLERS_TRACE && !span.is_failed), "{spans:#?}");
    let keys = host.run_json(&["keys", "list", "--json"]).await;
    let expected = [
        ("http.request.method", "POST"),
        ("http.route", "/prod/invoke"),
        ("url.path", "/prod/invoke"),
        ("http.response.status_code", "200"),
        ("client.address", "127.0.0.1"),
        ("user_agent.original", "a test"),
        ("aws.apigateway.stage", "prod"),
        ("frontdesk.request_id", answer.header("x-amzn-requestid")),
        ("frontdesk.api_key_id", keys["keys"][0]["id"].as_str().unwrap()),
        ("http.response.body.size", &answer.body.len().to_string()),
    ];
    for (name, value) in expected {
        assert_eq!(gateway.attribute(name), value, "{name}");
    }
    assert_eq!(proxy.attribute("frontdesk.request_id"), answer.header("x-amzn-requestid"));
    for hop in [proxy, runtime, agent] {
        assert_eq!(hop.attribute("http.response.status_code"), "200");
    }

    // The model is asked twice, for a search and for the answer; both and the search are the agent's.
    let inside: Vec<_> = spans.iter().filter(|span| span.is_below(agent)).collect();
    let names: Vec<_> = inside.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, ["chat stand-in", "execute_tool search_faq", "chat stand-in"]);
    assert_eq!((inside[0].kind, inside[0].attribute("gen_ai.provider.name")), (SpanKind::Client, "openai"));
    assert!(inside[0].attribute("gen_ai.usage.input_tokens").parse::<u32>().unwrap() > 0);
    assert_eq!(inside[1].attribute("gen_ai.tool.name"), "search_faq");

    // Ids are exported and nothing else of the conversation, of its people, of keys and tokens.
    let answer = answer.json()["result"].as_str().unwrap().to_owned();
    let opening: String = answer.chars().take(20).collect();
    for secret in ["Rumpelstiltskin", "roaming", "rapunzel", &opening, host.key(), "sk-stand-in", "of-the-collector", "Signature="] {
        assert!(!collector.has_seen(secret), "{secret} was exported: {:#?}", collector.spans());
    }
    let authorizations: BTreeSet<_> = collector.authorizations().into_iter().collect();
    assert_eq!(authorizations.into_iter().collect::<Vec<_>>(), ["Bearer of-the-collector"]);
}

#[tokio::test]
async fn a_stream_is_a_trace_and_the_end_of_the_program_sends_it() {
    let collector = Collector::start().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let host = exporting_at_the_end(&collector).start(folder.path()).await;
    let url = host.ready.endpoint.replace("/invoke", "/stream");
    let body = json!({ "prompt": SECRET_QUESTION }).to_string();
    assert_eq!(send(Method::POST, &url, &[("x-api-key", host.key()), CALLER], body).await.status, 200);
    // A caller whose trace is not recorded is not recorded here.
    let unsampled = ("traceparent", "00-00000000000000000000000000000007-00f067aa0ba902b7-00");
    assert_eq!(ask(&host, &[unsampled], &json!({ "prompt": "hi" })).await.status, 200);
    assert!(collector.spans().is_empty());

    assert_eq!(host.end("-TERM").await, Some(0));
    let spans = collector.spans();
    check_chain(hops(&spans, "POST /prod/stream"));
    assert!(spans.iter().all(|span| span.trace_id == CALLERS_TRACE), "{spans:#?}");
    let agent = find(&spans, "frontdesk-agent", "POST /invocations", SpanKind::Server);
    assert!(spans.iter().any(|span| span.is_below(agent) && span.name == "chat extractive"), "{spans:#?}");
}

#[tokio::test]
async fn a_refusal_is_a_span_of_its_own() {
    let collector = Collector::start().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let host = exporting_at_the_end(&collector).variable("OTEL_SERVICE_NAME", "our-desk").start(folder.path()).await;
    assert_eq!(host.post(Some("wrong-key-wrong-key-wrong"), "{}").await.status, 403);
    let nowhere = format!("{}/prod/nothing?x-api-key=wrong-key-wrong-key-wrong", host.ready.gateway);
    assert_eq!(send(Method::GET, &nowhere, &[], "").await.status, 403);
    assert_eq!(host.end("-INT").await, Some(0));

    let spans = collector.spans();
    let found: BTreeSet<_> =
        spans.iter().map(|span| (span.service.as_str(), span.name.as_str(), span.attribute("frontdesk.refusal"))).collect();
    let expected = [("our-desk", "GET", "MissingAuthenticationTokenException"), ("our-desk", "POST /prod/invoke", "ForbiddenException")];
    assert_eq!(found.into_iter().collect::<Vec<_>>(), expected);
    for span in &spans {
        assert_eq!((span.attribute("http.response.status_code"), span.parent_span_id.as_str(), span.is_failed), ("403", "", false));
    }
    assert!(!collector.has_seen("wrong-key"));
}

#[tokio::test]
async fn failures_and_a_new_start_of_the_agent_are_seen() {
    let collector = Collector::start().await.unwrap();
    let double =
        LlmDouble::start(([127, 0, 0, 1], 0).into(), Mode::Status { status: 401, times: None, retry_after_s: None }).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let host = exporting(&collector).with_llm(&double).start(folder.path()).await;
    assert_eq!(host.ask(SECRET_QUESTION).await.status, 424);
    let spans = collector.spans_until(is_whole).await;
    let [gateway, proxy, runtime, agent] = hops(&spans, "POST /prod/invoke");
    assert_eq!((gateway.attribute("http.response.status_code"), gateway.is_failed), ("424", false));
    assert_eq!(
        (proxy.attribute("error.type"), runtime.attribute("error.type"), agent.attribute("error.type")),
        ("424", "RuntimeClientError", "502")
    );
    let chat = find(&spans, "frontdesk-agent", "chat stand-in", SpanKind::Client);
    assert_eq!((chat.is_failed, chat.attribute("error.type")), (true, "refused"));
    assert!(!collector.has_seen("sk-stand-in") && !collector.has_seen("Rumpelstiltskin"));

    double.set_mode(Mode::Instant);
    kill("-KILL", host.agent_pid().await).await;
    // A call that was on its way to the killed one would be told of its end.
    while !host.run_json(&["status", "--json"]).await["agent_pid"].is_null() {}
    let answer = ask(&host, &[CALLER], &json!({ "prompt": "How do I activate roaming?" })).await;
    assert_eq!(answer.status, 200, "{:?} {:?}", answer.json(), double.recorded());
    let of_the_second = |spans: &[ExportedSpan]| spans.iter().filter(|span| span.trace_id == CALLERS_TRACE).cloned().collect::<Vec<_>>();
    let spans = of_the_second(&collector.spans_until(|spans| is_whole(&of_the_second(spans))).await);
    let start = find(&spans, "frontdesk", "start agent", SpanKind::Internal);
    assert!(start.is_below(find(&spans, "frontdesk", "InvokeAgentRuntime", SpanKind::Server)), "{spans:#?}");
}

#[tokio::test]
async fn metrics_go_the_same_way() {
    let collector = Collector::start().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let setup = exporting(&collector).variable("OTEL_METRIC_EXPORT_INTERVAL", "50").variable("OTEL_TRACES_EXPORTER", "none");
    let host = setup.start(folder.path()).await;
    assert_eq!(ask(&host, &[], &json!({ "prompt": "hi" })).await.status, 200);
    let invoke = ("resource", "/invoke");
    collector.metric_until("apigateway_count", invoke, 1).await;
    collector.metric_until("apigateway_latency_seconds", invoke, 1).await;
    // What is counted after the last interval is sent at the end.
    host.post(Some("wrong-key-wrong-key-wrong"), "{}").await;
    assert_eq!(host.end("-TERM").await, Some(0));
    collector.metric_until("apigateway_refused", ("reason", "forbidden"), 1).await;
    assert!(collector.spans().is_empty());
}

#[tokio::test]
async fn a_collector_that_is_down_costs_no_request_its_answer() {
    let free = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let nobody = format!("http://{}", free.local_addr().unwrap());
    drop(free);
    let folder = tempfile::tempdir().unwrap();
    let setup = setup().variable("OTEL_EXPORTER_OTLP_ENDPOINT", &nobody).variable("OTEL_BSP_SCHEDULE_DELAY", "10");
    let host = setup.variable("OTEL_BSP_MAX_QUEUE_SIZE", "4").start(folder.path()).await;
    for _ in 0..20 {
        assert_eq!(host.ask("How do I activate roaming?").await.status, 200);
    }
    assert_eq!(host.end("-TERM").await, Some(0));
}

#[tokio::test]
async fn what_cannot_be_spoken_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let setup = setup().variable("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317").variable("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
    let ran = setup.run(folder.path(), &["up"]).await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("OTEL_EXPORTER_OTLP_PROTOCOL is `grpc`"), "{ran:?}");
}
