//! The service seen from outside: real processes, and what callers get.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use frontdesk_process::Spawner;
use frontdesk_runtime::{
    Asked, DEFAULT_ENDPOINT, EndpointChange, Invocation, InvokeError, Payload, RuntimeError, RuntimePlace, RuntimeService, SessionLimits,
    SessionName,
};
use frontdesk_store::{
    AgentProtocol, Artifact, IsolationLevel, LocalProgram, RuntimeConfiguration, RuntimeStatus, SealKey, SessionMode, Store,
};
use frontdesk_trace::Span;
use http::{HeaderMap, HeaderValue};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

/// Nothing here takes so long; it only keeps a broken test from hanging.
const LONG: Duration = Duration::from_secs(120);

struct Host {
    service: Arc<RuntimeService>,
    folder: PathBuf,
}

impl Host {
    fn open(folder: &Path, limits: SessionLimits) -> Host {
        let store = Store::open(&folder.join("frontdesk.db"), SealKey::from_bytes(&[1; 32])).unwrap();
        let place = RuntimePlace {
            region: "us-east-1".to_owned(),
            account_id: "123456789012".to_owned(),
            logs: folder.join("logs"),
            lines: Default::default(),
            sessions: folder.join("sessions"),
            environment: vec![("PATH".into(), std::env::var_os("PATH").unwrap())],
            hidden: Vec::new(),
            egress: Default::default(),
            session_users_from: None,
        };
        let service = RuntimeService::open(Arc::new(store), Spawner::start().unwrap(), place, limits).unwrap();
        Host { service, folder: folder.to_owned() }
    }

    /// Launches the test's agent. Returns its id.
    async fn launch(&self, change: impl FnOnce(&mut RuntimeConfiguration)) -> String {
        let mut configuration = configuration();
        change(&mut configuration);
        let service = self.service.clone();
        let launched = tokio::task::spawn_blocking(move || service.launch("echo", configuration, 1_700_000_000_000)).await.unwrap();
        let view = launched.unwrap();
        assert_eq!(view.status, RuntimeStatus::Ready, "{:?}", view.version.failure_reason);
        view.runtime.id
    }

    async fn ask(&self, id: &str, endpoint: &str, session: &SessionName, asked: Asked, payload: Payload) -> Result<Value, InvokeError> {
        let target = self.service.resolve(id, endpoint)?;
        let mut headers = HeaderMap::new();
        headers.insert("x-amzn-bedrock-agentcore-runtime-session-id", HeaderValue::from_str(session.id()).unwrap());
        let untraced = Span::default();
        let invoked = self.service.invoke(&target, session, Invocation { asked, headers, payload }, &untraced);
        let response = tokio::time::timeout(LONG, invoked).await.expect("an answer")?;
        let body = response.into_body().collect().await.unwrap().to_bytes();
        Ok(serde_json::from_slice(&body).unwrap())
    }

    async fn say(&self, id: &str, session: &SessionName, wanted: Value) -> Result<Value, InvokeError> {
        self.ask(id, DEFAULT_ENDPOINT, session, Asked::Invocation, Bytes::from(wanted.to_string()).into()).await
    }
}

fn configuration() -> RuntimeConfiguration {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/agent.py").display().to_string();
    let program = LocalProgram {
        executable: python(),
        arguments: vec!["-u".to_owned(), script],
        port_flag: None,
        working_dir: None,
        readable: Vec::new(),
    };
    // Sandboxes are the executable's: a test's own program cannot keep one.
    let isolation = IsolationLevel::None;
    RuntimeConfiguration {
        isolation,
        ..RuntimeConfiguration::new(Artifact::Program(program), "arn:aws:iam::123456789012:role/R".to_owned())
    }
}

fn python() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap();
    std::env::split_paths(&path).map(|folder| folder.join("python3")).find(|file| file.exists()).expect("python3 is on the PATH")
}

fn named(name: &str) -> SessionName {
    SessionName::Named(format!("{name}-{}", "0".repeat(33)))
}

fn generated(name: &str) -> SessionName {
    SessionName::Generated(name.to_owned())
}

fn limits() -> SessionLimits {
    SessionLimits { queue_wait: LONG, ..SessionLimits::default() }
}

fn failure(answer: Result<Value, InvokeError>) -> String {
    match answer {
        Err(InvokeError::Agent(message)) => message,
        other => panic!("{other:?}"),
    }
}

fn is_running(pid: &Value) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_session_has_a_process_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::open(folder.path(), limits());
    let id = host.launch(|_| {}).await;
    let one = host.say(&id, &named("one"), json!({})).await.unwrap();
    let two = host.say(&id, &named("two"), json!({})).await.unwrap();
    assert_ne!(one["pid"], two["pid"]);
    assert_ne!(one["temporary"], two["temporary"]);
    assert_eq!(one["path"], "/invocations");
    assert_eq!(one["inherited"], Value::Null, "nothing of the host's environment");
    assert_eq!(host.say(&id, &named("one"), json!({})).await.unwrap()["pid"], one["pid"]);
    let sessions = host.service.sessions(Some("echo")).await;
    assert_eq!(sessions.iter().map(|session| session.calls).collect::<Vec<_>>(), [2, 1]);
    assert!(sessions[0].usage.resident_bytes > 0);

    // The agent's own failure is told with its words, and so is its end; the others notice nothing.
    let said = failure(host.say(&id, &named("one"), json!({ "do": "fail" })).await);
    assert!(said.contains("The agent answered 500") && said.contains("boom"), "{said}");
    let said = failure(host.say(&id, &named("one"), json!({ "do": "exit" })).await);
    assert!(said.contains("exit status: 3") && said.contains("last words"), "{said}");
    let again = host.say(&id, &named("one"), json!({})).await.unwrap();
    assert_ne!(again["pid"], one["pid"], "another process for the same session");
    assert_eq!(host.say(&id, &named("two"), json!({})).await.unwrap()["pid"], two["pid"]);

    // Every line says whose it is.
    let log = std::fs::read_to_string(host.folder.join("logs/echo.jsonl")).unwrap();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let last_words = lines.iter().find(|line| line["message"] == "last words").expect("the last words are logged");
    assert_eq!((&last_words["session"], &last_words["pid"], &last_words["version"]), (&json!(named("one").id()), &one["pid"], &json!("1")));

    // Nothing outlives the host, nor its folder.
    host.service.shut_down().await;
    assert!(!is_running(&again["pid"]) && !is_running(&two["pid"]));
    assert!(host.service.sessions(None).await.is_empty());
    assert!(failure(host.say(&id, &named("one"), json!({})).await).contains("shutting down"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_the_runtime_named_gives_its_process_back() {
    let folder = tempfile::tempdir().unwrap();
    let host = Arc::new(Host::open(folder.path(), limits()));
    let id = host.launch(|_| {}).await;
    let one = host.say(&id, &generated("one"), json!({})).await.unwrap();
    let two = host.say(&id, &generated("two"), json!({})).await.unwrap();
    assert_eq!(one["pid"], two["pid"]);
    let log = std::fs::read_to_string(host.folder.join("logs/echo.jsonl")).unwrap();
    let sessions: Vec<Value> = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["session"].clone()).collect();
    assert_eq!(sessions, ["one", "two"]);
    // A process that a call left in mid-work serves nobody else.
    let (caller, caller_id) = (host.clone(), id.clone());
    let leaves = tokio::spawn(async move { caller.say(&caller_id, &generated("leaves"), json!({ "do": "hang" })).await });
    while !std::fs::read_to_string(host.folder.join("logs/echo.jsonl")).unwrap().contains("hang") {
        tokio::task::yield_now().await;
    }
    leaves.abort();
    assert!(leaves.await.unwrap_err().is_cancelled());
    assert_ne!(host.say(&id, &generated("next"), json!({})).await.unwrap()["pid"], one["pid"]);
    // Whoever names a session gets none that others have used.
    assert_ne!(host.say(&id, &named("three"), json!({})).await.unwrap()["pid"], one["pid"]);
    host.service.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_all_places_are_taken_calls_wait_or_are_turned_away() {
    let folder = tempfile::tempdir().unwrap();
    let host = Arc::new(Host::open(folder.path(), SessionLimits { sessions_max: 1, queue_max: 1, ..limits() }));
    let id = host.launch(|_| {}).await;
    let one = host.say(&id, &named("one"), json!({})).await.unwrap();
    let ask = |name: &'static str| {
        let (host, id) = (host.clone(), id.clone());
        tokio::spawn(async move { (name, host.say(&id, &named(name), json!({})).await) })
    };
    let (mut two, mut three) = (ask("two"), ask("three"));
    // The queue has one place: whoever comes second is turned away, and the other waits.
    let (turned_away, waits) = tokio::select! {
        answered = &mut two => (answered, three),
        answered = &mut three => (answered, two),
    };
    assert!(matches!(turned_away.unwrap(), (_, Err(InvokeError::Busy))));
    assert!(host.service.stop_session(&id, DEFAULT_ENDPOINT, named("one").id()).await);
    let (name, waited) = waits.await.unwrap();
    let waited = waited.unwrap();
    assert_ne!(one["pid"], waited["pid"]);
    assert!(!host.service.stop_session(&id, DEFAULT_ENDPOINT, named("one").id()).await, "it has ended");
    assert!(host.service.end_session(named(name).id()).await);
    assert!(!is_running(&waited["pid"]));
    host.service.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_warm_process_makes_place_for_a_session() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::open(folder.path(), SessionLimits { sessions_max: 1, ..limits() });
    let id = host.launch(|_| {}).await;
    let warm = host.say(&id, &generated("one"), json!({})).await.unwrap();
    let session = host.say(&id, &named("two"), json!({})).await.unwrap();
    assert_ne!(warm["pid"], session["pid"]);
    host.service.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_fails_is_told_with_its_reason() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::open(folder.path(), limits());
    let id = host.launch(|wanted| drop(wanted.environment.insert("BROKEN".to_owned(), "1".to_owned()))).await;
    let said = failure(host.say(&id, &named("one"), json!({})).await);
    assert!(said.contains("exit status: 1") && said.contains("there is no key for the model"), "{said}");
    assert!(host.service.sessions(None).await.is_empty());
    host.service.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_finish_on_the_version_that_they_began_with() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::open(folder.path(), limits());
    let greet = |greeting: &'static str| {
        move |wanted: &mut RuntimeConfiguration| drop(wanted.environment.insert("GREETING".to_owned(), greeting.to_owned()))
    };
    let id = host.launch(greet("one")).await;
    let (before, after, last) = (named("before"), named("after"), named("last"));
    assert_eq!(host.say(&id, &before, json!({})).await.unwrap()["greeting"], "one");
    assert_eq!(host.launch(greet("one")).await, id);
    assert_eq!(host.service.view(&id, None).unwrap().version.version, 1, "nothing differs");
    host.launch(greet("two")).await;
    assert_eq!(host.service.view(&id, None).unwrap().version.version, 2);
    assert_eq!(host.say(&id, &before, json!({})).await.unwrap()["greeting"], "one");
    assert_eq!(host.say(&id, &after, json!({})).await.unwrap()["greeting"], "two");

    // Going back makes the next version; an endpoint that pins one stays there.
    let (service, runtime) = (host.service.clone(), id.clone());
    let changed = tokio::task::spawn_blocking(move || {
        let pin = EndpointChange { version: Some(2), ..EndpointChange::default() };
        assert_eq!(service.create_endpoint(&runtime, "pinned", pin.clone(), 1)?.status, RuntimeStatus::Creating);
        assert!(matches!(service.create_endpoint(&runtime, "pinned", pin, 1), Err(RuntimeError::Conflict(_))));
        let none = EndpointChange { version: Some(9), ..EndpointChange::default() };
        assert!(matches!(service.create_endpoint(&runtime, "other", none, 1), Err(RuntimeError::NotFound(_))));
        service.go_back("echo", 1, 1)
    });
    assert_eq!(changed.await.unwrap().unwrap().version.version, 3);
    assert_eq!(host.say(&id, &last, json!({})).await.unwrap()["greeting"], "one");
    let pinned = host.ask(&id, "pinned", &last, Asked::Invocation, Bytes::from_static(b"{}").into()).await.unwrap();
    assert_eq!(pinned["greeting"], "two", "another endpoint's session is another session");
    host.service.shut_down().await;

    // All of it is there after opening again.
    drop(host);
    let host = Host::open(folder.path(), limits());
    let view = host.service.named("echo").unwrap();
    assert_eq!((view.runtime.id.as_str(), view.version.version, view.status), (id.as_str(), 3, RuntimeStatus::Ready));
    assert_eq!(host.service.endpoint(&id, "pinned").unwrap().live_version, Some(2));
    assert_eq!(host.say(&id, &last, json!({})).await.unwrap()["greeting"], "one");

    // Deleting ends its sessions.
    let (service, runtime) = (host.service.clone(), id.clone());
    tokio::task::spawn_blocking(move || service.delete(&runtime, None)).await.unwrap().unwrap();
    assert!(matches!(host.say(&id, &last, json!({})).await, Err(InvokeError::NotFound(_))));
    while host.service.view(&id, None).is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(host.service.sessions(None).await.is_empty());
    host.service.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_process_serves_all_sessions_where_they_share_it() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::open(folder.path(), limits());
    let id = host.launch(|wanted| wanted.sessions = SessionMode::Shared).await;
    let one = host.say(&id, &named("one"), json!({})).await.unwrap();
    let two = host.say(&id, &generated("two"), json!({})).await.unwrap();
    assert_eq!(one["pid"], two["pid"]);
    assert_eq!(host.service.shared_status(&id).pid.map(Value::from), Some(one["pid"].clone()));
    host.service.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_routed_by_protocol() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::open(folder.path(), limits());
    for (protocol, path) in [(AgentProtocol::Mcp, "/mcp"), (AgentProtocol::A2a, "/"), (AgentProtocol::Agui, "/invocations")] {
        let has_no_ping = matches!(protocol, AgentProtocol::Mcp | AgentProtocol::A2a);
        let id = host
            .launch(|wanted| {
                wanted.protocol = protocol;
                if has_no_ping {
                    wanted.environment.insert("NO_PING".to_owned(), "1".to_owned());
                }
            })
            .await;
        let session = named(protocol.name());
        assert_eq!(host.say(&id, &session, json!({})).await.unwrap()["path"], path);
        let card = host.ask(&id, DEFAULT_ENDPOINT, &session, Asked::AgentCard, Bytes::new().into()).await.unwrap();
        assert_eq!(card["name"], "card");
    }
    host.service.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_payload_is_streamed_from_its_file() {
    use std::io::Write as _;
    let folder = tempfile::tempdir().unwrap();
    let host = Host::open(folder.path(), limits());
    let id = host.launch(|_| {}).await;
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&vec![b'x'; 3_000_001]).unwrap();
    let payload = Payload::Spooled { file: Arc::new(file), bytes: 3_000_001 };
    let answer = host.ask(&id, DEFAULT_ENDPOINT, &named("one"), Asked::Invocation, payload).await.unwrap();
    assert_eq!(answer["bytes"], 3_000_001);
    host.service.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_this_machine_cannot_run_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::open(folder.path(), limits());
    let service = host.service.clone();
    let launched = tokio::task::spawn_blocking(move || {
        let uri = "public.ecr.aws/x/agent:1".to_owned();
        let image = RuntimeConfiguration { artifact: Artifact::Container { uri }, ..configuration() };
        service.launch("image", image, 1)
    });
    let view = launched.await.unwrap().unwrap();
    assert_eq!(view.status, RuntimeStatus::CreateFailed);
    let reason = view.version.failure_reason.unwrap();
    assert!(reason.contains("no container engine") && reason.contains("frontdesk launch"), "{reason}");
    assert!(failure(host.say(&view.runtime.id, &named("one"), json!({})).await).contains("no container engine"));
    host.service.shut_down().await;
}
