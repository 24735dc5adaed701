//! A real host in a folder of its own, on ports of its own, and a plain HTTP client to call it as a third party would.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::llm_double::LlmDouble;

/// A host that is not up by then never will be.
const START_TIMEOUT: Duration = Duration::from_secs(150);
/// The last line of `up`'s greeting.
const GREETING_ENDS: &str = "Ctrl-C stops it.";

/// What `up --ready-file` writes.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ready {
    /// The gateway's URL.
    pub gateway: String,
    /// Where questions are posted.
    pub endpoint: String,
    /// The control URL.
    pub control: String,
    /// The first key, on the first start.
    pub api_key: Option<String>,
    /// The agent's ARN.
    pub agent_runtime_arn: String,
    /// The region.
    pub region: String,
    /// The root access key's id.
    pub access_key_id: String,
    /// The root access key's secret.
    pub secret_access_key: String,
}

/// How a host is to be started.
#[derive(Debug, Clone)]
pub struct Setup {
    executable: PathBuf,
    variables: Vec<(String, String)>,
}

impl Setup {
    /// A host of this executable, with the sample FAQ and without a model: by keywords, which starts fast.
    #[must_use]
    pub fn new(executable: &str) -> Setup {
        let faq = repository().join("examples/lauki_qna.csv").to_string_lossy().into_owned();
        let setup = Setup { executable: PathBuf::from(executable), variables: Vec::new() };
        setup.variable("FRONTDESK_AGENT_FAQ", &faq).variable("FRONTDESK_AGENT_MODEL_DIR", "no-model-here")
    }

    /// With the real embedding model, which must have been fetched (`frontdesk model pull`), and embeddings that are kept in `cache_dir` for the next test.
    #[must_use]
    pub fn with_model(mut self, cache_dir: &str) -> Setup {
        self.variables.retain(|(name, _)| name != "FRONTDESK_AGENT_MODEL_DIR");
        // On a busy machine too the first answer is to be one by vectors.
        self.variable("FRONTDESK_AGENT_CACHE_DIR", cache_dir).variable("FRONTDESK_AGENT_EMBEDDING_WAIT_MS", "100000")
    }

    /// Sets a variable for the host.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Setup {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Lets `double` answer as the language model, with a key that must turn up nowhere.
    #[must_use]
    pub fn with_llm(self, double: &LlmDouble) -> Setup {
        self.variable("FRONTDESK_AGENT_MODEL", "openai:stand-in")
            .variable("FRONTDESK_AGENT_BASE_URL", &double.base_url())
            .variable("OPENAI_API_KEY", "sk-stand-in")
    }

    /// The command for anything this executable can do in a folder, with no trace of this process's own provider keys or settings.
    #[must_use]
    pub fn command(&self, folder: &Path) -> Command {
        let mut command = Command::new(&self.executable);
        for (name, _) in std::env::vars().filter(|(name, _)| is_of_the_person(name)) {
            command.env_remove(name);
        }
        if let Ok(model_dir) = std::env::var("FRONTDESK_MODEL_DIR") {
            command.env("FRONTDESK_MODEL_DIR", model_dir);
        }
        command.envs(self.variables.iter().map(|(name, value)| (name, value))).current_dir(folder).kill_on_drop(true);
        command
    }

    /// Starts a host in a folder; a later start in the same folder is the same host again.
    pub async fn start(&self, folder: &Path) -> Host {
        let ready_file = folder.join("ready.json");
        let mut command = self.command(folder);
        command.arg("up").args(["--gateway-listen", "127.0.0.1:0", "--control-listen", "127.0.0.1:0", "--ready-file"]).arg(&ready_file);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the executable starts");
        let mut lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
        let mut greeting = String::new();
        let greeted = async {
            while let Ok(Some(line)) = lines.next_line().await {
                greeting.push_str(&line);
                greeting.push('\n');
                if line == GREETING_ENDS {
                    return true;
                }
            }
            false
        };
        let up = tokio::time::timeout(START_TIMEOUT, greeted).await.unwrap_or(false);
        if !up {
            let _ = child.start_kill();
            let mut errors = String::new();
            let _ = child.stderr.take().expect("stderr is piped").read_to_string(&mut errors).await;
            panic!("the host did not come up.\nstdout:\n{greeting}\nstderr:\n{errors}");
        }
        let ready = std::fs::read(&ready_file).expect("the ready file is there once the host has greeted");
        let ready: Ready = serde_json::from_slice(&ready).expect("the ready file has the documented fields");
        // Both pipes are read to their end, or the host would stop at a full one.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let stderr = child.stderr.take().expect("stderr is piped");
        tokio::spawn(async move {
            let mut lines = BufReader::new(stderr).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                eprintln!("host: {line}");
            }
        });
        Host { setup: self.clone(), folder: folder.to_owned(), child, ready, greeting }
    }

    /// Runs a command of the executable to its end.
    pub async fn run(&self, folder: &Path, arguments: &[&str]) -> Ran {
        let mut command = self.command(folder);
        let output = tokio::time::timeout(START_TIMEOUT, command.args(arguments).stdin(Stdio::null()).output()).await;
        let output = output.expect("the command ends").expect("the executable starts");
        Ran {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Whether a variable would make a host speak to the model or the collector of whoever runs the tests, or be set otherwise than the test says.
fn is_of_the_person(name: &str) -> bool {
    name.ends_with("_API_KEY") || name.starts_with("FRONTDESK_") || name.starts_with("OTEL_")
}

/// A command's end.
#[derive(Debug)]
pub struct Ran {
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it complained of.
    pub stderr: String,
}

/// A running host. It is killed when dropped.
#[derive(Debug)]
pub struct Host {
    setup: Setup,
    folder: PathBuf,
    child: Child,
    /// Its addresses and keys.
    pub ready: Ready,
    /// What `up` printed.
    pub greeting: String,
}

/// An HTTP answer.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// The body as JSON; text when it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| Value::from(String::from_utf8_lossy(&self.body).into_owned()))
    }

    /// A header as text; empty when it is missing.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

impl Host {
    /// The first start's key.
    #[must_use]
    pub fn key(&self) -> &str {
        self.ready.api_key.as_deref().expect("the first start makes a key")
    }

    /// Sends a question with the first key.
    pub async fn ask(&self, prompt: &str) -> Answer {
        self.post(Some(self.key()), &serde_json::json!({ "prompt": prompt }).to_string()).await
    }

    /// Posts a body to the endpoint.
    pub async fn post(&self, key: Option<&str>, body: &str) -> Answer {
        post(&self.ready.endpoint, key, body.to_owned()).await
    }

    /// Runs a command beside the host, on its data folder.
    pub async fn run(&self, arguments: &[&str]) -> Ran {
        self.setup.run(&self.folder, arguments).await
    }

    /// Runs a command that must succeed, and reads its JSON.
    pub async fn run_json(&self, arguments: &[&str]) -> Value {
        let ran = self.run(arguments).await;
        assert_eq!(ran.code, Some(0), "{arguments:?}: {ran:?}");
        serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {ran:?}"))
    }

    /// Plays a script of `tests/clients`, which must succeed, in the host's folder: with the host's control face and its root's credentials as AWS's clients find
    /// them, the ARN of its own agent, the program of another, its gateway, its data folder, and these variables. Returns what it printed.
    pub async fn play(&self, script: &str, arguments: &[&str], variables: &[(&str, &str)]) -> String {
        let ran = Command::new("python3")
            .arg(repository().join("tests/clients").join(script))
            .args(arguments)
            .env("AWS_ENDPOINT_URL", &self.ready.control)
            .env("AWS_ACCESS_KEY_ID", &self.ready.access_key_id)
            .env("AWS_SECRET_ACCESS_KEY", &self.ready.secret_access_key)
            .env("AWS_DEFAULT_REGION", &self.ready.region)
            .env("AGENT_ARN", &self.ready.agent_runtime_arn)
            .env("AGENT", repository().join("crates/runtime/tests/agent.py"))
            .env("GATEWAY", &self.ready.gateway)
            .env("DATA_DIR", self.folder.join(".frontdesk"))
            .env("NO_PROXY", "*")
            .envs(variables.iter().copied())
            .current_dir(&self.folder)
            .output()
            .await
            .unwrap_or_else(|error| panic!("python3 could not be run: {error}"));
        let stdout = String::from_utf8_lossy(&ran.stdout).into_owned();
        assert!(ran.status.success(), "{script} {arguments:?}: {stdout}\n{}", String::from_utf8_lossy(&ran.stderr));
        stdout
    }

    /// The agent's process id, from `status`.
    pub async fn agent_pid(&self) -> u32 {
        let status = self.run_json(&["status", "--json"]).await;
        let pid = status["agent_pid"].as_u64().unwrap_or_else(|| panic!("the agent runs: {status}"));
        u32::try_from(pid).expect("a process id")
    }

    /// The host's own process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id().expect("the host has not been waited for")
    }

    /// Sends a signal (`-INT`, `-TERM`, `-KILL`) and waits for the host's end. Returns its exit code.
    pub async fn end(mut self, signal: &str) -> Option<i32> {
        kill(signal, self.pid()).await;
        let ended = tokio::time::timeout(START_TIMEOUT, self.child.wait()).await;
        ended.expect("the host ends").expect("the host can be waited for").code()
    }
}

/// Sends a signal to a process.
pub async fn kill(signal: &str, pid: u32) {
    let killed = Command::new("kill").args([signal, &pid.to_string()]).status().await.expect("kill(1) is there");
    assert!(killed.success(), "kill {signal} {pid}");
}

/// Posts JSON with a key.
pub async fn post(url: &str, key: Option<&str>, body: String) -> Answer {
    let mut headers = vec![("content-type", "application/json")];
    headers.extend(key.map(|key| ("x-api-key", key)));
    send(Method::POST, url, &headers, body).await
}

/// Sends any request.
pub async fn send(verb: Method, url: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
    let mut request = Request::builder().method(verb).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(body.into())).expect("the test's request is one");
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let response = client.request(request).await.unwrap_or_else(|error| panic!("{url}: {error:?}"));
    let (parts, body) = response.into_parts();
    let body = body.collect().await.expect("the answer's body is whole").to_bytes();
    Answer { status: parts.status, headers: parts.headers, body }
}

/// The repository's folder.
#[must_use]
pub fn repository() -> PathBuf {
    // Asked when the test runs: one target folder may serve several clones, and the variable of the build is then another clone's.
    let package = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it for tests"));
    package.ancestors().find(|folder| folder.join("Cargo.lock").exists()).expect("the package lies in the repository").to_owned()
}
