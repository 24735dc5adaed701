//! The Lambda function: the executable against a stand-in for Lambda's Runtime API, with events as API Gateway sends them, before a stand-in for AgentCore that
//! fails in every way, and before this program's own control face.

use std::process::Stdio;
use std::time::Duration;

use frontdesk_tests::agentcore_double::{AgentCoreDouble, Behaviour};
use frontdesk_tests::host::{Setup, repository};
use frontdesk_tests::runtime_api::{Answered, Invocation, RuntimeApi};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

const ARN: &str = "arn:aws:bedrock-agentcore:us-east-1:123456789012:runtime/langgraph_agent-Ab12Cd34Ef";
const SECRET: &str = "wJalrXUtnFEMI/the-roles-own-secret";
const TOKEN: &str = "IQoJb3JpZ2luX2VjE-the-roles-own-token";
const PROMPT: &str = "How do I activate roaming?";

/// The function's process, as Lambda would have started it.
struct Function {
    runtime_api: RuntimeApi,
    child: Child,
}

impl Function {
    /// In front of AgentCore at `url`, with these variables besides.
    async fn start(url: &str, variables: &[(&str, &str)]) -> Function {
        let runtime_api = RuntimeApi::start().await.unwrap();
        let child = command(&runtime_api.address(), url, variables).spawn().unwrap();
        Function { runtime_api, child }
    }

    async fn invoke(&mut self, event: Value) -> Answered {
        self.runtime_api.invoke(Invocation::of(event)).await
    }

    /// The answer's status and body.
    async fn ask(&mut self, event: Value) -> (u64, Value) {
        let answer = self.invoke(event).await.document().await;
        let headers = &answer["headers"];
        assert_eq!(headers["content-type"], "application/json", "{answer}");
        // What the FAQ guide's function sends with every answer.
        assert_eq!(headers["access-control-allow-origin"], "*", "{answer}");
        assert_eq!(headers["access-control-allow-headers"], "Content-Type,x-api-key", "{answer}");
        assert_eq!(headers["access-control-allow-methods"], "POST,OPTIONS", "{answer}");
        assert_eq!(answer["isBase64Encoded"], false, "{answer}");
        let body = answer["body"].as_str().unwrap();
        (answer["statusCode"].as_u64().unwrap(), serde_json::from_str(body).unwrap_or_else(|_| Value::from(body)))
    }

    /// Ends it, and returns what it logged.
    async fn log(mut self) -> String {
        self.child.start_kill().unwrap();
        let mut log = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut log).await.unwrap();
        log
    }
}

fn command(runtime_api: &str, url: &str, variables: &[(&str, &str)]) -> Command {
    let mut command = Setup::new(env!("CARGO_BIN_EXE_frontdesk")).command(&std::env::temp_dir());
    // Of the setup's own there are settings for hosts; a function has none.
    command.env_clear().arg("lambda");
    command.env("AWS_LAMBDA_RUNTIME_API", runtime_api).env("AWS_LAMBDA_FUNCTION_NAME", "AgentCoreProxy");
    command.env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256").env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST");
    command.env("AWS_ACCESS_KEY_ID", "ASIAIOSFODNN7EXAMPLE").env("AWS_SECRET_ACCESS_KEY", SECRET).env("AWS_SESSION_TOKEN", TOKEN);
    command.env("AWS_REGION", "us-east-1").env("AGENT_RUNTIME_ARN", ARN).env("AWS_ENDPOINT_URL_BEDROCK_AGENTCORE", url);
    command.envs(variables.iter().copied()).stderr(Stdio::piped()).stdin(Stdio::null());
    command
}

/// A recorded event with another body.
fn event(body: &Value) -> Value {
    event_with(&json!(body.to_string()), false)
}

fn event_with(body: &Value, is_base64: bool) -> Value {
    let recorded = std::fs::read(repository().join("tests/data/api_gateway_event.json")).unwrap();
    let mut event: Value = serde_json::from_slice(&recorded).unwrap();
    (event["body"], event["isBase64Encoded"]) = (body.clone(), json!(is_base64));
    event
}

#[tokio::test]
async fn a_question_is_signed_and_handed_on() {
    let agentcore = AgentCoreDouble::start().await.unwrap();
    let agent_says = r#"{"result": "Dial *123#.", "actor_id": "ann", "thread_id": "t1"}"#;
    agentcore.behave(Behaviour::Answer(agent_says.into()));
    let mut function = Function::start(&agentcore.url(), &[]).await;
    let question = json!({ "prompt": PROMPT, "actor_id": "ann", "thread_id": "t1" });
    let answer = function.invoke(event(&question)).await.document().await;
    assert_eq!((&answer["statusCode"], &answer["body"]), (&json!(200), &json!(agent_says)), "as the agent wrote it");

    let request = &agentcore.received()[0];
    let arn = ARN.replace(':', "%3A").replace('/', "%2F");
    assert_eq!(request.target, format!("/runtimes/{arn}/invocations?qualifier=DEFAULT"));
    assert_eq!(request.body, question);
    let authorization = request.header("authorization");
    assert!(authorization.starts_with("AWS4-HMAC-SHA256 Credential=ASIAIOSFODNN7EXAMPLE/"), "{authorization}");
    assert!(authorization.contains("/us-east-1/bedrock-agentcore/aws4_request"), "{authorization}");
    assert!(authorization.contains("x-amz-security-token"), "the token is signed: {authorization}");
    assert_eq!(request.header("x-amz-security-token"), TOKEN);
    assert_eq!(request.header("x-amzn-trace-id"), Invocation::of(Value::Null).trace_id, "Lambda's segment, not the gateway's");
    assert!(request.header("traceparent").starts_with("00-5bef4de7ad49b0e87f6ef6c87fc2e700-"), "{request:?}");
    assert_eq!(request.header("tracestate"), "vendor=value");
    let left_ms: u64 = request.header("x-amzn-bedrock-agentcore-runtime-custom-deadline-ms").parse().unwrap();
    // Of API Gateway's 29 s one is the proxy's and one the agent's.
    assert!((20_000..=27_000).contains(&left_ms), "{left_ms}");

    // A conversation is one session for one key.
    function.ask(event(&question)).await;
    let mut other = event(&question);
    other["requestContext"]["identity"]["apiKeyId"] = json!("another");
    function.ask(other).await;
    let sessions: Vec<_> =
        agentcore.received().iter().map(|request| request.header("x-amzn-bedrock-agentcore-runtime-session-id").to_owned()).collect();
    assert!(sessions[0].len() >= 33 && sessions[0] == sessions[1] && sessions[0] != sessions[2], "{sessions:?}");

    let log = function.log().await;
    for line in log.lines() {
        serde_json::from_str::<Value>(line).unwrap_or_else(|_| panic!("a line that is no JSON: {line}"));
    }
    let line: Value = serde_json::from_str(log.lines().next().unwrap()).unwrap();
    assert_eq!(
        (&line["requestId"], &line["functionRequestId"], &line["apiKeyId"], &line["status"]),
        (&json!("c6af9ac6-7b61-11e6-9a41-93e8deadbeef"), &json!("8476a536-e9f4-11e8-9739-2dfe598c3fcd"), &json!("k1e2y3i4d5"), &json!(200)),
    );
    for secret in [PROMPT, "Dial *123#", "the-callers-own-api-key-value", SECRET, TOKEN] {
        assert!(!log.contains(secret), "{secret} is in the log: {log}");
    }
}

#[tokio::test]
async fn a_body_may_be_base64_and_must_be_a_question() {
    let agentcore = AgentCoreDouble::start().await.unwrap();
    agentcore.behave(Behaviour::Answer(b"{}".to_vec()));
    let mut function = Function::start(&agentcore.url(), &[]).await;
    // {"prompt":"hi"}, and the call that the FAQ guide makes by hand.
    assert_eq!(function.ask(event_with(&json!("eyJwcm9tcHQiOiJoaSJ9"), true)).await, (200, json!({})));
    assert_eq!(function.ask(json!({ "body": "{\"prompt\": \"test\"}" })).await, (200, json!({})));
    assert_eq!(agentcore.received().len(), 2);

    let error = |text: &str| (400, json!({ "error": text }));
    let (status, body) = function.ask(event_with(&Value::Null, false)).await;
    assert_eq!((status, &body["error"]), (400, &json!("Request body is not valid JSON")));
    assert_eq!(function.ask(event(&json!({}))).await, error("Missing required field: prompt"));
    assert_eq!(function.ask(event(&json!({ "prompt": 7 }))).await, error("Field prompt must be a string"));
    let oversized = event(&json!({ "prompt": "x".repeat(5 * 1024 * 1024) }));
    assert_eq!(function.ask(oversized).await, error("Field prompt is longer than the limit of 32000 characters"));
    assert_eq!(function.ask(event_with(&json!("?"), true)).await, error("the event's body is marked as base64 and is not"));
    let no_event = error("the event is not one of an AWS_PROXY integration of a REST API (format version 1.0)");
    assert_eq!(function.ask(json!("hello")).await, no_event);
    assert_eq!(agentcore.received().len(), 2, "none of these is AgentCore's business");
}

#[tokio::test]
async fn agentcores_refusals_are_handed_on() {
    let agentcore = AgentCoreDouble::start().await.unwrap();
    let mut function = Function::start(&agentcore.url(), &[]).await;
    let denied = "User: arn:aws:sts::123456789012:assumed-role/AgentCoreLambdaProxyRole/AgentCoreProxy is not authorized to perform: \
                  bedrock-agentcore:InvokeAgentRuntime";
    let refusals = [
        (403, "AccessDeniedException", "Authorization method mismatch"),
        (403, "AccessDeniedException", denied),
        (424, "RuntimeClientError", "the agent ended with exit code 1"),
        (429, "ThrottlingException", "Rate exceeded"),
        (500, "InternalServerException", "An internal error occurred"),
    ];
    for (status, code, message) in refusals {
        agentcore.behave(Behaviour::Refuse(status, code, message));
        let (told, body) = function.ask(event(&json!({ "prompt": PROMPT }))).await;
        let details = json!({ "message": message }).to_string();
        let expected = json!({ "error": format!("AgentCore error: {status}"), "details": details });
        assert_eq!((told, body), (u64::from(status), expected));
    }
    // Whatever it answers with 200 is the caller's to read.
    agentcore.behave(Behaviour::Answer(b"{\"result\": \"cut".to_vec()));
    assert_eq!(function.ask(event(&json!({ "prompt": PROMPT }))).await, (200, json!("{\"result\": \"cut")));
}

#[tokio::test]
async fn an_agentcore_that_is_silent_or_away_is_told_of() {
    let agentcore = AgentCoreDouble::start().await.unwrap();
    let mut function = Function::start(&agentcore.url(), &[]).await;
    // The function's own deadline is earlier than the gateway's.
    let asked = Invocation { time_left: Duration::from_millis(1500), ..Invocation::of(event(&json!({ "prompt": PROMPT }))) };
    let answer = function.runtime_api.invoke(asked).await.document().await;
    let timed_out = json!({ "message": "Endpoint request timed out" }).to_string();
    assert_eq!((&answer["statusCode"], &answer["body"]), (&json!(504), &json!(timed_out)));

    let url = agentcore.url();
    drop(agentcore);
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = format!("http://{}", nobody.local_addr().unwrap());
    drop(nobody);
    let mut function = Function::start(&closed, &[]).await;
    let (status, body) = function.ask(event(&json!({ "prompt": PROMPT }))).await;
    assert_eq!((status, &body["error"]), (500, &json!("Internal server error")), "{body}");
    assert!(!body.to_string().contains(&closed) && !body.to_string().contains(&url), "no address: {body}");
}

#[tokio::test]
async fn an_answer_beyond_lambdas_limit_is_told_of() {
    let agentcore = AgentCoreDouble::start().await.unwrap();
    let mut function = Function::start(&agentcore.url(), &[]).await;
    agentcore.behave(Behaviour::Answer(json!({ "result": "x".repeat(5_000_000) }).to_string().into_bytes()));
    assert_eq!(function.ask(event(&json!({ "prompt": PROMPT }))).await.0, 200);
    // Over the limit as they come, and only once Lambda's document escapes them.
    for result in ["x".repeat(7_000_000), "\"".repeat(1_600_000)] {
        agentcore.behave(Behaviour::Answer(json!({ "result": result }).to_string().into_bytes()));
        let (status, body) = function.ask(event(&json!({ "prompt": PROMPT }))).await;
        assert_eq!((status, &body["error"]), (502, &json!("The agent's answer is too large")), "{body}");
    }
}

/// The prelude and the beginning of the body.
async fn prelude(answered: &mut Answered) -> (Value, Vec<u8>) {
    assert_eq!(answered.headers["content-type"], "application/vnd.awslambda.http-integration-response");
    assert_eq!(answered.headers["lambda-runtime-function-response-mode"], "streaming");
    let mut bytes = Vec::new();
    loop {
        bytes.extend_from_slice(&answered.piece().await.expect("a prelude and eight zeros"));
        if let Some(end) = bytes.windows(8).position(|window| window == [0; 8]) {
            return (serde_json::from_slice(&bytes[..end]).unwrap(), bytes[end + 8..].to_vec());
        }
    }
}

fn stream_event(body: &Value) -> Value {
    let mut event = event(body);
    (event["resource"], event["path"]) = (json!("/stream"), json!("/stream"));
    event
}

#[tokio::test]
async fn a_stream_is_handed_on_while_it_comes() {
    let agentcore = AgentCoreDouble::start().await.unwrap();
    let mut function = Function::start(&agentcore.url(), &[]).await;
    let (agent, pieces) = mpsc::channel(1);
    agentcore.behave(Behaviour::Stream(pieces));
    let asking = function.invoke(stream_event(&json!({ "prompt": PROMPT })));
    let first = "data: {\"delta\":\"Dial\"}\n\n";
    let (mut answered, sent) = tokio::join!(asking, agent.send(Ok(first.into())));
    sent.unwrap();
    let (status, mut body) = prelude(&mut answered).await;
    assert_eq!((&status["statusCode"], &status["headers"]["access-control-allow-origin"]), (&json!(200), &json!("*")));
    assert_eq!(status["headers"]["content-type"], "text/event-stream; charset=utf-8");
    while body.len() < first.len() {
        body.extend_from_slice(&answered.piece().await.expect("the first piece, before there is a second"));
    }
    assert_eq!(body, first.as_bytes());
    assert_eq!(agentcore.received()[0].body["stream"], true);
    agent.send(Ok("data: {\"result\":\"Dial *123#.\"}\n\n".into())).await.unwrap();
    drop(agent);
    assert_eq!(answered.rest().await, b"data: {\"result\":\"Dial *123#.\"}\n\n");

    // Cut off in the middle of an event: the reader is told in the stream.
    let (agent, pieces) = mpsc::channel(2);
    agentcore.behave(Behaviour::Stream(pieces));
    agent.send(Ok("data: {\"delta\":".into())).await.unwrap();
    let mut answered = function.invoke(stream_event(&json!({ "prompt": PROMPT }))).await;
    let (_, mut body) = prelude(&mut answered).await;
    agent.send(Err(std::io::Error::other("gone"))).await.unwrap();
    body.extend(answered.rest().await);
    let body = String::from_utf8(body).unwrap();
    let last: Value = serde_json::from_str(body.trim_end().rsplit("data: ").next().unwrap()).unwrap();
    assert_eq!(last["message"], "An error occurred during streaming", "{body}");

    // What is told instead of an answer comes in the same form.
    agentcore.behave(Behaviour::Refuse(429, "ThrottlingException", "Rate exceeded"));
    let mut answered = function.invoke(stream_event(&json!({ "prompt": PROMPT }))).await;
    let (status, mut body) = prelude(&mut answered).await;
    body.extend(answered.rest().await);
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((&status["statusCode"], &body["error"]), (&json!(429), &json!("AgentCore error: 429")));
}

/// The signature is verified, and the agent answers.
#[tokio::test]
async fn a_host_s_own_control_face_takes_the_function_s_calls() {
    let folder = tempfile::tempdir().unwrap();
    let host = Setup::new(env!("CARGO_BIN_EXE_frontdesk")).start(folder.path()).await;
    let ready = &host.ready;
    let of_host = [
        ("AGENT_RUNTIME_ARN", ready.agent_runtime_arn.as_str()),
        ("AWS_ACCESS_KEY_ID", &ready.access_key_id),
        ("AWS_SECRET_ACCESS_KEY", &ready.secret_access_key),
        ("AWS_SESSION_TOKEN", ""),
    ];
    let mut function = Function::start(&ready.control, &of_host).await;
    let (status, body) = function.ask(event(&json!({ "prompt": PROMPT }))).await;
    assert_eq!((status, &body["actor_id"]), (200, &json!("api-user")), "{body}");
    assert!(body["result"].as_str().unwrap().to_lowercase().contains("roaming"), "{body}");

    let wrong = [of_host.as_slice(), &[("AWS_SECRET_ACCESS_KEY", "another")]].concat();
    let mut function = Function::start(&ready.control, &wrong).await;
    let (status, body) = function.ask(event(&json!({ "prompt": PROMPT }))).await;
    assert_eq!((status, &body["error"]), (403, &json!("AgentCore error: 403")), "{body}");
    assert!(body["details"].as_str().unwrap().contains("does not match the signature"), "{body}");
}

/// In a zip with the runtime `provided.al2023` Lambda starts a file of this name, without arguments.
#[tokio::test]
async fn a_file_called_bootstrap_is_the_function() {
    let folder = tempfile::tempdir().unwrap();
    let bootstrap = folder.path().join("bootstrap");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_frontdesk"), &bootstrap).unwrap();
    let ran = Command::new(&bootstrap).env_clear().output().await.unwrap();
    assert!(String::from_utf8(ran.stderr).unwrap().contains("AWS_LAMBDA_RUNTIME_API"));
    let ran = Command::new(&bootstrap).env_clear().arg("--version").output().await.unwrap();
    assert!(ran.status.success(), "with arguments it is what it always is");
}

#[tokio::test]
async fn mistakes_at_the_start_are_named() {
    let check = async |variables: &[(&str, &str)], without: &str, words: &[&str]| {
        let mut command = command("127.0.0.1:1", "http://127.0.0.1:1", variables);
        let ran = command.env_remove(without).output().await.unwrap();
        let stderr = String::from_utf8(ran.stderr).unwrap();
        assert!(!ran.status.success(), "{stderr}");
        for word in words {
            assert!(stderr.contains(word), "{word:?} in {stderr}");
        }
    };
    check(&[], "AGENT_RUNTIME_ARN", &["AGENT_RUNTIME_ARN"]).await;
    check(&[("AGENT_RUNTIME_ARN", "arn:aws:s3:::x")], "", &["AGENT_RUNTIME_ARN", "arn:aws:s3:::x"]).await;
    check(&[], "AWS_SECRET_ACCESS_KEY", &["AWS_SECRET_ACCESS_KEY", "role"]).await;
    check(&[], "AWS_LAMBDA_RUNTIME_API", &["AWS_LAMBDA_RUNTIME_API", "frontdesk up"]).await;
    check(&[], "nothing", &["Lambda's Runtime API failed"]).await;
}
