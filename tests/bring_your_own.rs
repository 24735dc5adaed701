//! Agents that people bring: what the launchers do with their files, and the life of an agent by the command line, from `configure` to `destroy`.

use std::path::Path;

use frontdesk_tests::host::{Host, Ran, Setup, repository};
use serde_json::Value;
use tokio::process::Command;

fn setup(folder: &Path) -> Setup {
    Setup::new(env!("CARGO_BIN_EXE_frontdesk")).variable("FRONTDESK_PROGRAMS_DIR", &folder.join("programs").to_string_lossy())
}

/// A host beside an agent's project with one of the examples.
async fn host_with(folder: &Path, example: &str) -> Host {
    std::fs::copy(repository().join("examples/bring_your_own").join(example), folder.join(example)).unwrap();
    setup(folder).start(folder).await
}

async fn succeed(host: &Host, arguments: &[&str]) -> Ran {
    let ran = host.run(arguments).await;
    assert_eq!(ran.code, Some(0), "{arguments:?}: {ran:?}");
    ran
}

/// The answer to a call in JSON, and the session that it was in.
async fn invoke(host: &Host, arguments: &[&str]) -> (Value, String) {
    let ran = succeed(host, &[&["invoke"], arguments].concat()).await;
    let answer = serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
    let session = ran.stderr.lines().find_map(|line| line.strip_prefix("Session: ")).unwrap_or_else(|| panic!("no session: {ran:?}"));
    (answer, session.to_owned())
}

#[tokio::test]
async fn launchers_serve_every_kind_of_file() {
    let project = repository().join("crates/frontdesk/src/project");
    let mut python = Command::new("python3");
    python.arg(repository().join("tests/clients/launchers.py")).arg(project.join("launcher.py")).arg(project.join("launcher.cjs"));
    let ran = python.arg(repository().join("examples/bring_your_own")).output().await.unwrap();
    let stdout = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{stdout}\n{}", String::from_utf8_lossy(&ran.stderr));
    assert!(stdout.contains("all agents were as expected"), "{stdout}");
}

#[tokio::test]
async fn an_agent_s_life_from_configure_to_destroy() {
    let folder = tempfile::tempdir().unwrap();
    let host = host_with(folder.path(), "echo_agent.py").await;
    succeed(&host, &["configure", "-e", "echo_agent.py"]).await;
    let launched = succeed(&host, &["launch", "--env", "GREETING=hello"]).await;
    assert!(launched.stdout.contains("READY") && launched.stdout.contains("frontdesk invoke"), "{launched:?}");
    let config = || std::fs::read_to_string(folder.path().join(".bedrock_agentcore.yaml")).unwrap();
    let arn = config().lines().find_map(|line| line.trim().strip_prefix("agent_arn: ").map(str::to_owned)).unwrap();
    assert!(arn.starts_with("arn:aws:bedrock-agentcore:us-east-1:000000000000:runtime/echo_agent-"), "{arn}");

    // A call names its session, and the next call goes on in it.
    let (answer, session) = invoke(&host, &[r#"{"prompt": "one"}"#]).await;
    assert_eq!((answer["result"].as_str(), answer["session"].as_str()), (Some("one"), Some(session.as_str())));
    assert_eq!(invoke(&host, &["two"]).await.1, session);
    let (_, other) = invoke(&host, &["three", "--new-session"]).await;
    assert_ne!(other, session);
    let sessions = host.run_json(&["sessions", "--agent", "echo_agent", "--json"]).await;
    let sessions = sessions["sessions"].as_array().unwrap();
    let pids: std::collections::BTreeSet<_> = sessions.iter().map(|session| session["pid"].as_u64().unwrap()).collect();
    assert_eq!((sessions.len(), pids.len()), (2, 2), "each session has a process of its own: {sessions:?}");

    // A short id is refused before anything is sent, and is never noted.
    let refused = host.run(&["invoke", "x", "-s", "short"]).await;
    assert!(refused.code == Some(2) && refused.stderr.contains("33"), "{refused:?}");
    assert!(!config().contains("short"));

    // What it printed is found by its session.
    let logs = succeed(&host, &["logs", "--session", &session]).await;
    assert!(logs.stdout.contains("asked: {'prompt': 'one'}") && !logs.stdout.contains("three"), "{logs:?}");

    let status = host.run_json(&["status", "--json"]).await;
    assert_eq!((status["agentRuntimeArn"].as_str(), status["agentRuntimeVersion"].as_str()), (Some(arn.as_str()), Some("1")));

    succeed(&host, &["sessions", "stop", &session]).await;
    let gone = host.run(&["sessions", "stop", &session]).await;
    assert!(gone.code == Some(1) && gone.stderr.contains("no session"), "{gone:?}");
    succeed(&host, &["stop"]).await;

    succeed(&host, &["destroy", "--force"]).await;
    let gone = host.run(&["invoke", "x"]).await;
    assert!(gone.code == Some(1) && gone.stderr.contains("frontdesk launch"), "{gone:?}");
    assert!(config().contains("agent_arn: null") && config().contains("entrypoint: "), "{}", config());
}

#[tokio::test]
async fn a_version_keeps_its_files_and_going_back_is_one_command() {
    let folder = tempfile::tempdir().unwrap();
    let host = host_with(folder.path(), "echo_agent.py").await;
    let agent = folder.path().join("echo_agent.py");
    succeed(&host, &["configure", "-e", "echo_agent.py", "--name", "changing"]).await;
    succeed(&host, &["launch"]).await;
    let text = std::fs::read_to_string(&agent).unwrap();
    std::fs::write(&agent, text.replace(r#"payload.get("prompt", "nothing was asked")"#, r#""changed""#)).unwrap();
    assert_eq!(invoke(&host, &["x", "--new-session"]).await.0["result"], "x", "an edit is for nobody to see until it is launched");
    let again = host.run_json(&["launch", "--json"]).await;
    assert_eq!(again["agentRuntimeVersion"], "2");
    assert_eq!(invoke(&host, &["x", "--new-session"]).await.0["result"], "changed");
    let unchanged = host.run_json(&["launch", "--json"]).await;
    assert_eq!(unchanged["agentRuntimeVersion"], "2", "what does not change is no new version");
    let back = host.run_json(&["launch", "--version", "1", "--json"]).await;
    assert_eq!(back["agentRuntimeVersion"], "3");
    assert_eq!(invoke(&host, &["x", "--new-session"]).await.0["result"], "x");
}

#[tokio::test]
async fn a_stream_is_printed_as_it_comes() {
    let folder = tempfile::tempdir().unwrap();
    let host = host_with(folder.path(), "streaming_agent.py").await;
    succeed(&host, &["configure", "-e", "streaming_agent.py"]).await;
    succeed(&host, &["launch"]).await;
    let ran = succeed(&host, &["invoke", "one two", "--stream"]).await;
    let words: Vec<Value> = ran.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["word"].clone()).collect();
    assert_eq!(words, ["one", "two"]);
}

#[tokio::test]
async fn an_agent_in_node_and_a_project_of_the_npm_toolkit() {
    let folder = tempfile::tempdir().unwrap();
    let host = host_with(folder.path(), "echo_agent.mjs").await;
    let app = folder.path().join("app/echo");
    std::fs::create_dir_all(&app).unwrap();
    std::fs::create_dir(folder.path().join("agentcore")).unwrap();
    std::fs::rename(folder.path().join("echo_agent.mjs"), app.join("main.js")).unwrap();
    std::fs::write(app.join("package.json"), r#"{"type": "module"}"#).unwrap();
    let project = r#"{"name": "p", "version": 1, "runtimes": [{"name": "echo", "build": "CodeZip", "entrypoint": "main.js", "codeLocation": "app/echo"}]}"#;
    std::fs::write(folder.path().join("agentcore/agentcore.json"), project).unwrap();
    succeed(&host, &["launch"]).await;
    assert_eq!(invoke(&host, &["from npm"]).await.0["result"], "from npm");
}

#[tokio::test]
async fn an_agent_that_cannot_start_says_why_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let host = host_with(folder.path(), "echo_agent.py").await;
    std::fs::write(folder.path().join("broken.py"), "import os\nprint(os.environ['A_KEY_THAT_IS_MISSING'])\n").unwrap();
    succeed(&host, &["configure", "-e", "broken.py"]).await;
    let launched = host.run(&["launch"]).await;
    let called = host.run(&["invoke", "x"]).await;
    let told = format!("{}{}", launched.stderr, called.stderr);
    assert!(called.code == Some(1) && told.contains("A_KEY_THAT_IS_MISSING"), "{launched:?} {called:?}");
}

#[tokio::test]
async fn without_a_host_the_command_says_how_to_start_one() {
    let folder = tempfile::tempdir().unwrap();
    let setup = setup(folder.path());
    std::fs::write(folder.path().join("01_agentcore_runtime.py"), "x = 1\n").unwrap();
    let configured = setup.run(folder.path(), &["configure", "-e", "01_agentcore_runtime.py"]).await;
    assert!(configured.code == Some(0) && configured.stdout.contains("agentcore_runtime"), "{configured:?}");
    let ran = setup.run(folder.path(), &["launch"]).await;
    assert!(ran.code == Some(1) && ran.stderr.contains("frontdesk up"), "{ran:?}");
    assert!(!folder.path().join("programs").exists(), "nothing is installed in vain");
    let nameless = setup.run(folder.path(), &["configure", "-e", "01_agentcore_runtime.py", "--name", "01"]).await;
    assert!(nameless.code == Some(1) && nameless.stderr.contains("a letter"), "{nameless:?}");
}

/// What `configure` writes is what the Python toolkit's own reader (PyYAML) reads.
#[tokio::test]
async fn the_file_is_the_toolkit_s() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("agent.py"), "x = 1\n").unwrap();
    let arguments =
        ["configure", "-e", "agent.py", "--protocol", "mcp", "--idle-timeout", "60", "--request-header-allowlist", "Authorization,X-Y"];
    let ran = setup(folder.path()).run(folder.path(), &arguments).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let script = "import json, sys, yaml; print(json.dumps(yaml.safe_load(open(sys.argv[1]))))";
    let read = Command::new("python3").args(["-c", script]).arg(folder.path().join(".bedrock_agentcore.yaml")).output().await.unwrap();
    let file: Value = serde_json::from_slice(&read.stdout).unwrap_or_else(|error| panic!("{error}: {read:?}"));
    let agent = &file["agents"]["agent"];
    assert_eq!((file["default_agent"].as_str(), agent["language"].as_str()), (Some("agent"), Some("python")));
    assert_eq!(agent["entrypoint"].as_str(), folder.path().join("agent.py").to_str());
    assert_eq!(
        (agent["aws"]["account"].as_str(), &agent["aws"]["lifecycle_configuration"]["idle_runtime_session_timeout"]),
        (Some("000000000000"), &Value::from(60))
    );
    assert_eq!(agent["aws"]["protocol_configuration"]["server_protocol"], "MCP");
    assert_eq!(agent["request_header_configuration"]["requestHeaderAllowlist"], serde_json::json!(["Authorization", "X-Y"]));
    assert_eq!(agent["bedrock_agentcore"], serde_json::json!({"agent_id": null, "agent_arn": null, "agent_session_id": null}));
}

#[tokio::test]
async fn an_agent_answers_behind_the_key() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(repository().join("examples/bring_your_own/echo_agent.py"), folder.path().join("echo_agent.py")).unwrap();
    let host = setup(folder.path()).variable("FRONTDESK_GATEWAY_AGENT", "echo_agent").start(folder.path()).await;
    let early = host.ask("one").await;
    assert_eq!((early.status.as_u16(), early.json()["error"].as_str()), (404, Some("AgentCore error: 404")), "{early:?}");
    assert!(early.json()["details"].as_str().unwrap().contains("frontdesk launch"), "{early:?}");
    let status = host.run(&["status", "--host"]).await;
    assert!(status.stdout.contains("no agent named echo_agent is hosted"), "{status:?}");
    let doctor = host.run(&["doctor"]).await;
    assert!(doctor.code == Some(1) && doctor.stdout.contains("BAD   Endpoint: no agent named echo_agent"), "{doctor:?}");

    succeed(&host, &["configure", "-e", "echo_agent.py"]).await;
    succeed(&host, &["launch"]).await;
    let answer = host.ask("two").await;
    assert_eq!((answer.status.as_u16(), answer.json()["result"].as_str()), (200, Some("two")), "{answer:?}");
    assert_eq!(host.post(None, r#"{"prompt": "x"}"#).await.status, 403, "the key is asked for all the same");
    let doctor = host.run(&["doctor"]).await;
    assert!(doctor.stdout.contains("ok    Endpoint: answered by arn:") && !doctor.stdout.contains("FAQ"), "{doctor:?}");

    // The same name with another ARN.
    succeed(&host, &["destroy", "--force"]).await;
    assert_eq!(host.ask("three").await.status, 404);
    succeed(&host, &["launch"]).await;
    assert_eq!(host.ask("four").await.json()["result"], "four");
    let listed = host.run_json(&["sessions", "--json"]).await;
    assert!(!listed.to_string().contains("lauki_faq"), "nobody asked the built-in agent: {listed}");
}
