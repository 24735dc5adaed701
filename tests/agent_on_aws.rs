//! The agent in its AgentCore container: Bedrock with the role's credentials, the model's key from Secrets Manager, one line of JSON for each event.

use std::net::TcpListener;
use std::process::Stdio;

use frontdesk_tests::aws_double::{ACCESS_KEY_ID, AwsDouble, SECRET_ACCESS_KEY, SESSION_TOKEN, Secret};
use frontdesk_tests::host::{Answer, repository, send};
use frontdesk_tests::llm_double::{LlmDouble, Mode};
use http::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};

const SECRET_ARN: &str = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:frontdesk/groq-AbCdEf";
const SESSION: &str = "a-session-of-more-than-thirty-three-characters";

fn command(port: u16, variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_frontdesk"));
    command.env_clear().arg("agent").env("PORT", port.to_string()).env("AWS_REGION", "us-east-1").env("HOME", "/nonexistent");
    command.env("FRONTDESK_AGENT_FAQ", repository().join("examples/lauki_qna.csv")).env("FRONTDESK_AGENT_MODEL_DIR", "no-model-here");
    command.envs(variables.iter().copied()).stderr(Stdio::piped()).stdin(Stdio::null()).kill_on_drop(true);
    command
}

struct Agent {
    url: String,
    child: Child,
    lines: Lines<BufReader<ChildStderr>>,
    log: String,
}

impl Agent {
    async fn start(variables: &[(&str, &str)]) -> Agent {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut child = command(port, variables).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut log = String::new();
        while !log.contains("Agent ready") {
            let line = lines.next_line().await.unwrap().unwrap_or_else(|| panic!("the agent ended: {log}"));
            log.push_str(&line);
            log.push('\n');
        }
        Agent { url: format!("http://127.0.0.1:{port}/invocations"), child, lines, log }
    }

    async fn ask(&self) -> Answer {
        let headers = [("content-type", "application/json"), ("x-amzn-bedrock-agentcore-runtime-session-id", SESSION)];
        send(Method::POST, &self.url, &headers, json!({ "prompt": "How do I activate roaming?" }).to_string()).await
    }

    /// Ends it, and returns what it logged.
    async fn log(mut self) -> String {
        self.child.start_kill().unwrap();
        while let Ok(Some(line)) = self.lines.next_line().await {
            self.log.push_str(&line);
            self.log.push('\n');
        }
        self.log
    }
}

/// A start that must fail, and the words that its message must hold.
async fn check_refused(variables: &[(&str, &str)], words: &[&str]) {
    let mut child = command(0, variables).spawn().unwrap();
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).await.unwrap();
    assert!(!child.wait().await.unwrap().success(), "{stderr}");
    for word in words {
        assert!(stderr.contains(word), "{word:?} in {stderr}");
    }
}

#[tokio::test]
async fn bedrock_is_asked_with_the_credentials_of_the_role() {
    let aws = AwsDouble::start(Secret::Text(String::new())).await.unwrap();
    let of_container = ("AWS_CONTAINER_CREDENTIALS_FULL_URI", format!("{}/credentials", aws.url()));
    let of_instance = ("AWS_EC2_METADATA_SERVICE_ENDPOINT", aws.url());
    for (name, url) in [of_container, of_instance] {
        let llm = LlmDouble::start(([127, 0, 0, 1], 0).into(), Mode::Instant).await.unwrap();
        let base_url = format!("http://{}", llm.address());
        let variables =
            [(name, url.as_str()), ("FRONTDESK_AGENT_MODEL", "bedrock:amazon.nova-lite-v1:0"), ("FRONTDESK_AGENT_BASE_URL", &base_url)];
        let agent = Agent::start(&variables).await;
        let answer = agent.ask().await;
        assert_eq!(answer.status, 200, "{name}: {:?}", answer.json());
        assert!(answer.json()["result"].as_str().unwrap().contains("roaming"), "{name}: {:?}", answer.json());
        let asked = llm.recorded();
        assert_eq!(asked[0].path, "/model/amazon.nova-lite-v1%3A0/converse", "{name}");
        let authorization = asked[0].authorization.clone().unwrap_or_default();
        assert!(authorization.starts_with(&format!("AWS4-HMAC-SHA256 Credential={ACCESS_KEY_ID}/")), "{name}: {authorization}");
        assert!(authorization.contains("/us-east-1/bedrock/aws4_request"), "{name}: {authorization}");
        assert!(authorization.contains("x-amz-security-token"), "{name}: the token is signed: {authorization}");
        let log = agent.log().await;
        for line in log.lines() {
            serde_json::from_str::<Value>(line).unwrap_or_else(|_| panic!("a line that is no JSON: {line}"));
        }
        assert!(log.contains(SESSION), "lines name AgentCore's session: {log}");
        assert!(![SECRET_ACCESS_KEY, SESSION_TOKEN, "activate roaming"].iter().any(|secret| log.contains(secret)), "{log}");
    }
}

#[tokio::test]
async fn bedrock_without_a_role_is_told_at_the_start() {
    let variables = [("FRONTDESK_AGENT_MODEL", "bedrock:amazon.nova-lite-v1:0"), ("AWS_EC2_METADATA_DISABLED", "true")];
    check_refused(&variables, &["bedrock:amazon.nova-lite-v1:0", "bedrock:InvokeModel", "AWS_BEARER_TOKEN_BEDROCK"]).await;
}

/// An agent whose model's key is in a secret with this text.
async fn with_secret(text: &str, variables: &[(&str, &str)]) -> (AwsDouble, LlmDouble, String) {
    let aws = AwsDouble::start(Secret::Text(text.to_owned())).await.unwrap();
    let llm = LlmDouble::start(([127, 0, 0, 1], 0).into(), Mode::Instant).await.unwrap();
    let (url, credentials, base_url) = (aws.url(), format!("{}/credentials", aws.url()), llm.base_url());
    let of_aws = [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", credentials.as_str()),
        ("AWS_ENDPOINT_URL_SECRETS_MANAGER", &url),
        ("FRONTDESK_AGENT_API_KEY_SECRET", SECRET_ARN),
        ("FRONTDESK_AGENT_BASE_URL", &base_url),
    ];
    let agent = Agent::start(&[of_aws.as_slice(), variables].concat()).await;
    let answer = agent.ask().await;
    assert_eq!(answer.status, 200, "{:?}", answer.json());
    let log = agent.log().await;
    (aws, llm, log)
}

#[tokio::test]
async fn the_models_key_comes_from_the_secret() {
    // Without a model's name: a key that is there means Groq, as ever.
    let (aws, llm, log) = with_secret("gsk_from-the-secret\n", &[]).await;
    let asked = &aws.asked()[0];
    assert_eq!(asked.document, json!({ "SecretId": SECRET_ARN }));
    let header = |name: &str| asked.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    assert_eq!((header("x-amz-target"), header("x-amz-security-token")), ("secretsmanager.GetSecretValue", SESSION_TOKEN));
    assert!(header("authorization").contains("/eu-west-1/secretsmanager/aws4_request"), "in the secret's region: {asked:?}");
    assert_eq!(llm.recorded()[0].authorization.as_deref(), Some("Bearer gsk_from-the-secret"));
    assert_eq!(llm.recorded()[0].body["model"], "openai/gpt-oss-20b");
    assert!(!log.contains("gsk_from-the-secret"), "{log}");

    let secret = json!({ "OTHER": "x", "MY_KEY": "sk-of-a-field" }).to_string();
    let variables = [("FRONTDESK_AGENT_MODEL", "openai:stand-in"), ("FRONTDESK_AGENT_API_KEY_VARIABLE", "MY_KEY")];
    let (_aws, llm, _log) = with_secret(&secret, &variables).await;
    assert_eq!(llm.recorded()[0].authorization.as_deref(), Some("Bearer sk-of-a-field"));
}

#[tokio::test]
async fn a_secret_that_cannot_be_read_is_named_with_the_action() {
    let denied = "User: arn:aws:sts::123456789012:assumed-role/AgentRole/agent is not authorized to perform: secretsmanager:GetSecretValue";
    let refusals = [
        (Secret::Refused(400, "AccessDeniedException", denied), "allow the role secretsmanager:GetSecretValue"),
        (
            Secret::Refused(400, "ResourceNotFoundException", "Secrets Manager can't find the specified secret."),
            "ResourceNotFoundException",
        ),
        (Secret::Text(json!({ "a": "1", "b": "2" }).to_string()), "agent.api_key_variable"),
    ];
    for (secret, words) in refusals {
        let aws = AwsDouble::start(secret).await.unwrap();
        let (url, credentials) = (aws.url(), format!("{}/credentials", aws.url()));
        let variables = [
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", credentials.as_str()),
            ("AWS_ENDPOINT_URL_SECRETS_MANAGER", &url),
            ("FRONTDESK_AGENT_API_KEY_SECRET", SECRET_ARN),
        ];
        check_refused(&variables, &[SECRET_ARN, words]).await;
    }
    check_refused(&[("FRONTDESK_AGENT_API_KEY_SECRET", "arn:aws:s3:::bucket")], &["arn:aws:s3:::bucket", "secretsmanager"]).await;
    let variables = [("FRONTDESK_AGENT_API_KEY_SECRET", SECRET_ARN), ("AWS_EC2_METADATA_DISABLED", "true")];
    check_refused(&variables, &[SECRET_ARN, "no AWS credentials"]).await;
}
