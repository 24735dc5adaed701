//! Real functions, run by Lambda's own runtime interface clients: what callers get, and what the log holds.

use std::collections::BTreeMap;
use std::io::{Cursor, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use frontdesk_aws::Credentials;
use frontdesk_functions::{
    CodeChange, ConfigurationChange, FunctionError, FunctionName, FunctionPlace, FunctionService, InvokeRequest, Invoked, LogSinks,
    LogSource, NewFunction, Permission,
};
use frontdesk_process::Spawner;
use frontdesk_store::{FunctionConfiguration, FunctionState, FunctionVersion, IsolationLevel, LastUpdate, SealKey, Store};
use serde_json::{Value, json};
use tokio::sync::Notify;

/// Nothing here takes so long, but for the clients' installation; it only keeps a broken test from hanging.
const LONG: Duration = Duration::from_secs(1800);
const NOW_MS: i64 = 1_700_000_000_000;
const ROLE: &str = "arn:aws:iam::123456789012:role/of-function";

struct Host {
    service: Arc<FunctionService>,
    log: Arc<Mutex<Vec<(LogSource, String)>>>,
    logged: Arc<Notify>,
}

impl Host {
    fn open(folder: &Path) -> Host {
        let store = Arc::new(Store::open(&folder.join("frontdesk.db"), SealKey::from_bytes(&[1; 32])).unwrap());
        let place = FunctionPlace {
            region: "us-east-1".to_owned(),
            account_id: "123456789012".to_owned(),
            code: folder.join("code"),
            // Installed once for all tests.
            clients: clients(),
            environments: folder.join("environments"),
            environment: vec![("PATH".into(), std::env::var_os("PATH").unwrap())],
            readable: Vec::new(),
            hidden: Vec::new(),
            // Sandboxes are the executable's: a test's own program cannot keep one.
            isolation: IsolationLevel::None,
            invocations_max: 10,
        };
        let roles = Arc::new(|role: &str, function: &str| {
            Some(Credentials::new(format!("ASIA-{function}"), "a-secret").with_session_token(format!("token of {role}")))
        });
        let log: Arc<Mutex<Vec<(LogSource, String)>>> = Arc::default();
        let logged = Arc::new(Notify::new());
        let (heard, notify) = (log.clone(), logged.clone());
        let sinks: LogSinks = Arc::new(move |source: LogSource| {
            let (heard, notify) = (heard.clone(), notify.clone());
            Arc::new(move |_, line| {
                heard.lock().unwrap().push((source.clone(), line.to_owned()));
                notify.notify_one();
            })
        });
        let service = FunctionService::open(store, Spawner::start().unwrap(), place, roles, sinks).unwrap();
        Host { service, log, logged }
    }

    /// Makes a Python function of this source and waits until it can be called.
    async fn create(&self, name: &str, source: &str, change: impl FnOnce(&mut FunctionConfiguration)) {
        let mut configuration = configuration("python3.12", "app.handler");
        change(&mut configuration);
        let new = NewFunction {
            name: name.to_owned(),
            configuration,
            zip: zip(&[("app.py", 0o644, source.as_bytes())]),
            tags: BTreeMap::new(),
            is_published: false,
        };
        self.create_new(new).await;
    }

    async fn create_new(&self, new: NewFunction) {
        let (service, name) = (self.service.clone(), new.name.clone());
        let made = tokio::task::spawn_blocking(move || service.create(new, NOW_MS)).await.unwrap().unwrap();
        assert_eq!(made.version.state, FunctionState::Pending);
        self.settled(&name).await;
    }

    /// Waits until the function is no longer on its way.
    async fn settled(&self, name: &str) {
        let version = self.prepared(name).await;
        assert_eq!((version.state, &version.state_reason), (FunctionState::Active, &None));
    }

    async fn prepared(&self, name: &str) -> FunctionVersion {
        let mut changes = self.service.changes();
        let prepared = async {
            loop {
                let version = self.service.get(name, None).unwrap().version;
                if version.state != FunctionState::Pending && version.last_update != LastUpdate::InProgress {
                    return version;
                }
                changes.changed().await.unwrap();
            }
        };
        tokio::time::timeout(LONG, prepared).await.expect("the function is prepared")
    }

    async fn invoke(&self, name: &str, payload: Value) -> Invoked {
        self.try_invoking(name, payload).await.unwrap()
    }

    async fn try_invoking(&self, name: &str, payload: Value) -> Result<Invoked, FunctionError> {
        let name = FunctionName::parse(name, None).unwrap();
        let request = InvokeRequest { name, payload: Bytes::from(payload.to_string()), trace_id: None, client_context: None };
        tokio::time::timeout(LONG, self.service.invoke(request)).await.expect("an answer")
    }

    fn lines(&self) -> Vec<String> {
        self.log.lock().unwrap().iter().map(|(_, line)| line.clone()).collect()
    }
}

/// Where the runtime interface clients are kept between tests: beside what is built.
fn clients() -> PathBuf {
    let executable = std::env::current_exe().unwrap();
    executable.ancestors().nth(2).unwrap().join("runtime-interface-clients")
}

fn configuration(runtime: &str, handler: &str) -> FunctionConfiguration {
    FunctionConfiguration {
        runtime: runtime.to_owned(),
        role_arn: ROLE.to_owned(),
        handler: handler.to_owned(),
        description: String::new(),
        timeout_s: 60,
        memory_mb: 256,
        ephemeral_storage_mb: 512,
        architecture: "x86_64".to_owned(),
        environment: BTreeMap::new(),
        tracing_mode: "PassThrough".to_owned(),
    }
}

fn zip(files: &[(&str, u32, &[u8])]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, mode, content) in files {
        writer.start_file(*name, zip::write::SimpleFileOptions::default().unix_permissions(*mode)).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn document(invoked: &Invoked) -> Value {
    serde_json::from_slice(&invoked.payload).unwrap()
}

const TELLING: &str = r#"
import os, boto3
CALLS = 0
print("starting")
def handler(event, context):
    global CALLS
    CALLS += 1
    print("called with", event["word"])
    session = boto3.Session()
    credentials = session.get_credentials()
    return {
        "calls": CALLS,
        "word": event["word"],
        "names": [context.function_name, context.function_version, context.memory_limit_in_mb, context.invoked_function_arn],
        "left_ms": context.get_remaining_time_in_millis(),
        "region": session.region_name,
        "credentials": [credentials.access_key, credentials.secret_key, credentials.token],
        "environment": {name: os.environ.get(name) for name in ("OWN", "_HANDLER", "AWS_EXECUTION_ENV", "AWS_LAMBDA_LOG_GROUP_NAME", "TZ")},
        "root_is_cwd": os.environ["LAMBDA_TASK_ROOT"] == os.getcwd(),
    }
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_function_finds_what_lambda_gives_it() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::open(folder.path());
    let with_variable = |configuration: &mut FunctionConfiguration| {
        configuration.environment = BTreeMap::from([("OWN".to_owned(), "mine".to_owned())]);
    };
    host.create("teller", TELLING, with_variable).await;
    let first = host.invoke("teller", json!({ "word": "one" })).await;
    assert!(!first.is_error, "{first:?}");
    let told = document(&first);
    assert_eq!((&told["calls"], &told["word"]), (&json!(1), &json!("one")));
    let arn = "arn:aws:lambda:us-east-1:123456789012:function:teller";
    assert_eq!(told["names"], json!(["teller", "$LATEST", "256", arn]));
    assert!((50_000..=60_000).contains(&told["left_ms"].as_u64().unwrap()), "{told}");
    assert_eq!(told["region"], "us-east-1");
    assert_eq!(told["credentials"], json!(["ASIA-teller", "a-secret", format!("token of {ROLE}")]));
    let environment = json!({
        "OWN": "mine", "_HANDLER": "app.handler", "AWS_EXECUTION_ENV": "AWS_Lambda_python3.12", "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/teller", "TZ": ":UTC",
    });
    assert_eq!((&told["environment"], &told["root_is_cwd"]), (&environment, &json!(true)));

    // The same process does the next.
    let second = host.invoke("teller", json!({ "word": "two" })).await;
    assert_eq!(document(&second)["calls"], 2);
    let tail: Vec<&str> = second.log_tail.lines().collect();
    let id = &second.request_id;
    assert_eq!(tail[0], format!("START RequestId: {id} Version: $LATEST"));
    assert_eq!((tail[1], tail[2]), ("called with two", format!("END RequestId: {id}").as_str()));
    assert!(tail[3].starts_with(&format!("REPORT RequestId: {id}\tDuration: ")) && tail[3].contains("Memory Size: 256 MB"), "{tail:?}");
    assert!(!tail[3].contains("Init Duration"), "only the first tells of the start: {tail:?}");
    assert!(first.log_tail.contains("Init Duration") && first.log_tail.starts_with("starting\n"), "{}", first.log_tail);
    let lines = host.lines();
    assert_eq!(lines.iter().filter(|line| line.starts_with("REPORT")).count(), 2, "{lines:?}");
    let (source, _) = host.log.lock().unwrap()[0].clone();
    assert_eq!((source.function.as_str(), source.role_arn.as_str()), ("teller", ROLE));
    assert!(source.stream.contains("/[$LATEST]"), "{source:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_to_fail_is_an_answer() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::open(folder.path());
    let source = r#"
import os, sys, time
def handler(event, context):
    if event == "raise":
        raise ValueError("no good")
    if event == "exit":
        sys.stdout.write("going")
        sys.stdout.flush()
        os._exit(3)
    if event == "sleep":
        time.sleep(60)
    if event == "large":
        return "x" * 7_000_000
    return os.getpid()
"#;
    host.create("failing", source, |configuration| configuration.timeout_s = 2).await;
    let first = host.invoke("failing", json!("pid")).await;
    let check = |invoked: &Invoked, kind: &str, message: &str| {
        let told = document(invoked);
        assert!(invoked.is_error, "{told}: {}", invoked.log_tail);
        assert_eq!(told["errorType"], kind, "{told}: {}", invoked.log_tail);
        assert!(told["errorMessage"].as_str().unwrap().contains(message), "{told}");
        let log = &invoked.log_tail;
        assert!(log.contains(&format!("END RequestId: {}", invoked.request_id)) && log.contains("REPORT RequestId"), "{log}");
    };
    let raised = host.invoke("failing", json!("raise")).await;
    check(&raised, "ValueError", "no good");
    assert!(document(&raised)["stackTrace"].as_array().is_some_and(|trace| !trace.is_empty()));
    assert!(raised.log_tail.contains("[ERROR] ValueError: no good"), "{}", raised.log_tail);
    // An exception leaves the process as it is.
    assert_eq!(document(&host.invoke("failing", json!("pid")).await), document(&first));
    check(&host.invoke("failing", json!("large")).await, "Function.ResponseSizeTooLarge", "exceeded maximum allowed payload size");

    let exited = host.invoke("failing", json!("exit")).await;
    check(&exited, "Runtime.ExitError", "exit status: 3");
    assert!(exited.log_tail.contains("going"), "its last words: {}", exited.log_tail);
    let slow = host.invoke("failing", json!("sleep")).await;
    check(&slow, "Sandbox.Timedout", "Task timed out after 2.00 seconds");
    assert!(slow.log_tail.contains("Task timed out after 2.00 seconds") && slow.log_tail.contains("Status: timeout"), "{}", slow.log_tail);
    assert_ne!(document(&host.invoke("failing", json!("pid")).await), document(&first), "another process goes on");

    host.create("broken", "import nothing_of_the_kind\n", |_| {}).await;
    let broken = host.invoke("broken", json!({})).await;
    check(&broken, "Runtime.ImportModuleError", "nothing_of_the_kind");
    host.create("handless", "x = 1\n", |_| {}).await;
    check(&host.invoke("handless", json!({})).await, "Runtime.HandlerNotFound", "handler");

    let refused = host.try_invoking("nobody", json!({})).await.unwrap_err();
    assert_eq!(refused.to_string(), "Function not found: arn:aws:lambda:us-east-1:123456789012:function:nobody");
    let name = FunctionName::parse("failing", None).unwrap();
    let no_json = InvokeRequest { name, payload: Bytes::from_static(b"{"), trace_id: None, client_context: None };
    assert!(matches!(host.service.invoke(no_json).await, Err(FunctionError::InvalidJson(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_aliases_and_changes_lead_where_they_should() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::open(folder.path());
    let returning = |word: &str| format!("def handler(event, context):\n    return [{word:?}, context.function_version]\n");
    host.create("lives", &returning("first"), |_| {}).await;
    let service = host.service.clone();
    let one = tokio::task::spawn_blocking(move || {
        let one = service.publish("lives", None, None, None, NOW_MS).unwrap();
        assert_eq!(service.publish("lives", None, None, None, NOW_MS).unwrap().version.version, "1", "nothing has changed");
        service.create_alias("lives", "live", "1", String::new()).unwrap();
        one
    });
    let one = one.await.unwrap();
    assert_eq!((one.version.version.as_str(), one.arn.rsplit(':').next()), ("1", Some("1")));

    let (service, zip) = (host.service.clone(), zip(&[("app.py", 0o644, returning("second").as_bytes())]));
    let updated =
        tokio::task::spawn_blocking(move || service.update_code("lives", CodeChange { zip, ..CodeChange::default() }, NOW_MS + 1));
    assert_eq!(updated.await.unwrap().unwrap().version.last_update, LastUpdate::InProgress);
    host.settled("lives").await;
    assert_eq!(document(&host.invoke("lives", json!({})).await), json!(["second", "$LATEST"]));
    assert_eq!(document(&host.invoke("lives:1", json!({})).await), json!(["first", "1"]));
    let live = host.invoke("lives:live", json!({})).await;
    assert_eq!((document(&live), live.executed_version.as_str()), (json!(["first", "1"]), "1"));

    let service = host.service.clone();
    let moved = tokio::task::spawn_blocking(move || {
        let two = service.publish("lives", Some("the second".to_owned()), None, None, NOW_MS).unwrap();
        service.update_alias("lives", "live", Some("2"), None, None).unwrap();
        assert!(matches!(service.delete("lives", Some("2")), Err(FunctionError::Conflict(_))), "an alias leads to it");
        assert!(matches!(service.delete("lives", Some("$LATEST")), Err(FunctionError::Invalid(_))));
        service.delete("lives", Some("1")).unwrap();
        two.version.configuration.description
    });
    assert_eq!(moved.await.unwrap(), "the second");
    assert_eq!(document(&host.invoke("lives:live", json!({})).await), json!(["second", "2"]));
    assert!(host.try_invoking("lives:1", json!({})).await.is_err());

    let service = host.service.clone();
    let changed = tokio::task::spawn_blocking(move || {
        let wrong = ConfigurationChange { timeout_s: Some(901), ..ConfigurationChange::default() };
        assert!(matches!(service.update_configuration("lives", wrong, NOW_MS), Err(FunctionError::Invalid(_))));
        let stale = ConfigurationChange { revision_id: Some("another".to_owned()), ..ConfigurationChange::default() };
        assert!(matches!(service.update_configuration("lives", stale, NOW_MS), Err(FunctionError::PreconditionFailed)));
        service.reserve_concurrency("lives", Some(0)).unwrap();
    });
    changed.await.unwrap();
    let refused = host.try_invoking("lives", json!({})).await.unwrap_err();
    assert!(
        matches!(refused, FunctionError::TooManyRequests { reason: "ReservedFunctionConcurrentInvocationLimitExceeded" }),
        "{refused:?}"
    );

    // All of it outlives the host.
    drop(host);
    let host = Host::open(folder.path());
    assert_eq!(host.service.get("lives", Some("live")).unwrap().version.version, "2");
    assert_eq!(host.service.get("lives", None).unwrap().function.reserved_concurrency, Some(0));
    let service = host.service.clone();
    tokio::task::spawn_blocking(move || service.delete("lives", None)).await.unwrap().unwrap();
    assert!(host.service.get("lives", None).is_err());
    assert_eq!(std::fs::read_dir(folder.path().join("code")).unwrap().count(), 0, "its code is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_os_only_runtime_starts_the_functions_own_file() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::open(folder.path());
    // A runtime in a few lines of Python, by the Runtime API alone.
    let bootstrap = r#"#!/usr/bin/env python3
import os, urllib.request
base = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2018-06-01/runtime/invocation/"
while True:
    with urllib.request.urlopen(base + "next") as job:
        id, event = job.headers["Lambda-Runtime-Aws-Request-Id"], job.read()
    urllib.request.urlopen(base + id + "/response", data=b'{"echo": ' + event + b'}').read()
"#;
    let new = |name: &str, zip| NewFunction {
        name: name.to_owned(),
        configuration: configuration("provided.al2023", "bootstrap"),
        zip,
        tags: BTreeMap::new(),
        is_published: false,
    };
    host.create_new(new("own", zip(&[("bootstrap", 0o755, bootstrap.as_bytes())]))).await;
    assert_eq!(document(&host.invoke("own", json!([1, 2])).await), json!({ "echo": [1, 2] }));

    let (service, without) = (host.service.clone(), new("empty", zip(&[("readme", 0o644, b"nothing")])));
    tokio::task::spawn_blocking(move || service.create(without, NOW_MS)).await.unwrap().unwrap();
    let failed = host.prepared("empty").await;
    assert_eq!(failed.state, FunctionState::Failed);
    assert!(failed.state_reason.unwrap().contains("bootstrap"));
}

/// The first time, the client is compiled.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_function_is_run_by_its_own_client() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::open(folder.path());
    let source = br#"
export const handler = async (event, context) => {
    console.log("asked", event.word);
    if (event.word === "throw") throw new TypeError("no good");
    return { word: event.word, name: context.functionName, version: process.env.AWS_LAMBDA_FUNCTION_VERSION };
};
"#;
    let new = NewFunction {
        name: "noder".to_owned(),
        configuration: configuration("nodejs20.x", "index.handler"),
        zip: zip(&[("index.mjs", 0o644, source)]),
        tags: BTreeMap::new(),
        is_published: false,
    };
    host.create_new(new).await;
    let told = host.invoke("noder", json!({ "word": "one" })).await;
    assert_eq!(document(&told), json!({ "word": "one", "name": "noder", "version": "$LATEST" }));
    assert!(told.log_tail.contains("asked one"), "{}", told.log_tail);
    let thrown = host.invoke("noder", json!({ "word": "throw" })).await;
    assert_eq!((thrown.is_error, &document(&thrown)["errorType"]), (true, &json!("TypeError")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_handled_by_and_by() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::open(folder.path());
    host.create("later", "def handler(event, context):\n    print('handled', event)\n", |_| {}).await;
    let name = FunctionName::parse("later", None).unwrap();
    let request = InvokeRequest { name, payload: Bytes::from_static(b"\"it\""), trace_id: None, client_context: None };
    let id = host.service.send_event(request).unwrap();
    let handled = async {
        while !host.lines().iter().any(|line| line.starts_with(&format!("REPORT RequestId: {id}"))) {
            host.logged.notified().await;
        }
    };
    tokio::time::timeout(LONG, handled).await.unwrap();
    assert!(host.lines().contains(&"handled it".to_owned()), "{:?}", host.lines());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policy_says_which_service_may_call() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::open(folder.path());
    host.create("guarded", "def handler(event, context):\n    return 1\n", |_| {}).await;
    let gateway = "apigateway.amazonaws.com";
    let source = "arn:aws:execute-api:us-east-1:123456789012:abc/prod/POST/invoke";
    let service = host.service.clone();
    let may = move |service: &FunctionService| service.service_may_invoke("guarded", None, gateway, source);
    let checked = tokio::task::spawn_blocking(move || {
        assert!(!may(&service));
        let permission = |id: &str, arn: &str| Permission {
            statement_id: id.to_owned(),
            action: "lambda:InvokeFunction".to_owned(),
            principal: gateway.to_owned(),
            source_arn: Some(arn.to_owned()),
            ..Permission::default()
        };
        service.add_permission("guarded", None, permission("other", "arn:aws:execute-api:us-east-1:123456789012:other/*/*")).unwrap();
        assert!(!may(&service), "another API's");
        service.add_permission("guarded", None, permission("ours", "arn:aws:execute-api:us-east-1:123456789012:abc/*/*")).unwrap();
        assert!(may(&service));
        let again = service.add_permission("guarded", None, permission("ours", "arn:aws:execute-api:us-east-1:123456789012:abc/*/*"));
        assert!(matches!(again, Err(FunctionError::Conflict(_))));
        assert_eq!(service.policy("guarded", None).unwrap().statements.len(), 2);
        service.remove_permission("guarded", None, "ours", None).unwrap();
        assert!(!may(&service));
        let nobody = Permission { principal: "somebody".to_owned(), ..permission("x", source) };
        assert!(matches!(service.add_permission("guarded", None, nobody), Err(FunctionError::Invalid(_))));
    });
    checked.await.unwrap();
}
