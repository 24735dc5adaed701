//! What is asked of a stack that is there, against a scripted AWS: usage, logs, the agent, where no stand-in knows them.

mod double;

use std::time::Duration;

use double::{Double, Scripted, says};
use frontdesk_aws::Credentials;
use frontdesk_deploy::call::{Aws, Retries};
use frontdesk_deploy::deployer::stacks::{self, Stack};
use frontdesk_deploy::running::{agent, keys, logs, usage};

const RETRIES: Retries = Retries { times_max: 2, delay_min: Duration::from_millis(1), delay_max: Duration::from_millis(2) };
const STACK: &str = "<R><Stacks><member><StackId>arn:stack</StackId><StackName>faq</StackName><StackStatus>CREATE_COMPLETE</StackStatus><Outputs>\
    <member><OutputKey>ApiKeyId</OutputKey><OutputValue>first</OutputValue></member>\
    <member><OutputKey>UsagePlanId</OutputKey><OutputValue>plan</OutputValue></member></Outputs></member></Stacks></R>";

/// A scripted AWS that has described the stack already.
async fn start(answers: Vec<Scripted>) -> (Double, Aws, Stack) {
    let script = std::iter::once(says(200, &[], STACK)).chain(answers).collect();
    let double = Double::start(script).await;
    let aws = Aws::new(Credentials::new("AKIDEXAMPLE", "secret"), "eu-west-1", Some(&double.url)).unwrap().with_retries(RETRIES);
    let stack = stacks::describe(&aws, "faq").await.unwrap().unwrap();
    (double, aws, stack)
}

/// Path and query of the calls after the first.
fn asked(double: &Double) -> Vec<String> {
    double.asked().iter().skip(1).map(|(parts, _)| format!("{} {}", parts.method, parts.uri.path_and_query().unwrap())).collect()
}

#[tokio::test]
async fn usage_is_read_page_by_page() {
    let first = r#"{"values":{"first":[[3,9997],[4,9996]]},"position":"next"}"#;
    let (double, aws, stack) = start(vec![says(200, &[], first), says(200, &[], r#"{"values":{"other":[[1,0]]}}"#)]).await;
    let found = usage::of(&aws, &stack, "2026-11-22", "2026-11-23").await.unwrap();
    assert_eq!(found[0].days, [(3, 9997), (4, 9996)]);
    assert_eq!((found[1].key_id.as_str(), found[1].days[0]), ("other", (1, 0)));
    let asked = asked(&double);
    assert_eq!(asked[0], "GET /usageplans/plan/usage?startDate=2026-11-22&endDate=2026-11-23");
    assert!(asked[1].contains("position=next"), "{asked:?}");
}

#[tokio::test]
async fn a_key_is_made_enabled_and_put_into_the_plan() {
    let value = r#"{"id":"k9","name":"Ada","value":"abcdefghijklmnopqrstuvwxyz"}"#;
    let (double, aws, stack) = start(vec![says(201, &[], r#"{"id":"k9"}"#), says(201, &[], "{}"), says(200, &[], value)]).await;
    let made = keys::create(&aws, &stack, "Ada", None).await.unwrap();
    assert_eq!(made.value, "abcdefghijklmnopqrstuvwxyz");
    assert_eq!(asked(&double), ["POST /apikeys", "POST /usageplans/plan/keys", "GET /apikeys/k9?includeValue=true"]);
    let sent = String::from_utf8_lossy(&double.asked()[1].1).into_owned();
    assert!(sent.contains(r#""enabled":true"#) && sent.contains(r#""frontdesk-stack":"faq""#), "{sent}");
}

#[tokio::test]
async fn a_followed_log_tells_each_event_once() {
    let event = |id: &str, at: i64| format!(r#"{{"eventId":"{id}","timestamp":{at},"message":"{id}\n"}}"#);
    let page = |events: &[String], next: &str| says(200, &[], &format!(r#"{{"events":[{}]{next}}}"#, events.join(",")));
    let (double, aws, _) = start(vec![
        page(&[event("a", 100_000)], r#","nextToken":"t""#),
        page(&[event("b", 101_000)], ""),
        // A look back finds what is known, and one that came late.
        page(&[event("a", 100_000), event("late", 99_000), event("b", 101_000), event("c", 102_000)], ""),
        says(400, &[], r#"{"__type":"ResourceNotFoundException","message":"no group"}"#),
        page(&[event("d", 103_000)], ""),
    ])
    .await;
    let mut told = Vec::new();
    let mut tell = |event: &logs::LogEvent| {
        told.push(event.message.clone());
        event.message != "d"
    };
    logs::follow(&aws, "/aws/lambda/x", 0, None, Duration::ZERO, &mut tell).await.unwrap();
    assert_eq!(told, ["a", "b", "late", "c", "d"]);
    let third = String::from_utf8_lossy(&double.asked()[3].1).into_owned();
    assert!(third.contains(r#""startTime":71000"#), "{third}");
}

#[tokio::test]
async fn the_agent_is_called_past_the_gateway_and_its_failure_is_told() {
    let arn = "arn:aws:bedrock-agentcore:eu-west-1:123456789012:runtime/faq-0123456789";
    let (double, aws, _) = start(vec![
        says(200, &[], r#"{"status":"CREATE_FAILED","agentRuntimeVersion":"2","failureReason":"the image cannot be pulled"}"#),
        says(200, &[("x-amzn-bedrock-agentcore-runtime-session-id", "s-1")], r#"{"result":"Hi"}"#),
        says(424, &[("x-amzn-errortype", "RuntimeClientError")], r#"{"message":"the agent failed"}"#),
    ])
    .await;
    let state = agent::state(&aws, arn).await.unwrap();
    assert_eq!((state.status.as_str(), state.failure.as_deref()), ("CREATE_FAILED", Some("the image cannot be pulled")));
    let (answer, session) = agent::invoke(&aws, arn, r#"{"prompt":"Hi"}"#, Some("s-1")).await.unwrap();
    assert_eq!((answer.as_str(), session.as_deref()), (r#"{"result":"Hi"}"#, Some("s-1")));
    let error = agent::invoke(&aws, arn, "{}", None).await.unwrap_err().to_string();
    assert!(error.contains("bedrock-agentcore:InvokeAgentRuntime") && error.contains("the agent failed"), "{error}");
    let asked = asked(&double);
    assert_eq!(asked[0], "GET /runtimes/faq-0123456789/");
    assert!(asked[1].starts_with("POST /runtimes/arn%3Aaws%3Abedrock-agentcore"), "{asked:?}");
}
