//! One environment: a process of a function with a Runtime API of its own, which does one invocation after the other.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use frontdesk_aws::Credentials;
use frontdesk_process::{Child, ChildSpec, Isolation, Limits, LineListener, Sandbox, Spawner};
use frontdesk_store::{FunctionConfiguration, FunctionVersion, IsolationLevel};
use serde_json::json;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::client::Start;
use crate::log::{EnvironmentLog, LogSinks, LogSource, Report, stream_name};
use crate::runtime_api::{Job, Outcome, RuntimeApi};

/// How long a start may take. Lambda's ten seconds are for Lambda's machines; a busy laptop needs more for the same imports.
const INIT_TIMEOUT: Duration = Duration::from_secs(60);
/// SIGTERM, then so much time, then SIGKILL: what Lambda grants a runtime.
const END_GRACE: Duration = Duration::from_millis(500);
/// Processes and threads, open files: Lambda's limits on an environment.
const PROCESSES_MAX: u32 = 1024;
const OPEN_FILES_MAX: u64 = 1024;

/// All that a process is started with.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) function: String,
    pub(crate) version: FunctionVersion,
    pub(crate) region: String,
    /// The code, unpacked.
    pub(crate) task: PathBuf,
    pub(crate) start: Start,
    /// The role's, where it has some.
    pub(crate) credentials: Option<Credentials>,
    /// What every function finds in its environment.
    pub(crate) environment: Arc<[(OsString, OsString)]>,
    pub(crate) isolation: IsolationLevel,
    /// What every function may read.
    pub(crate) readable: Arc<[PathBuf]>,
    pub(crate) hidden: Arc<[PathBuf]>,
    pub(crate) sinks: LogSinks,
}

/// An environment.
pub(crate) struct Environment {
    child: Child,
    api: RuntimeApi,
    log: EnvironmentLog,
    folder: PathBuf,
    memory_mb: u32,
    /// How long its start took, until the first invocation has told it.
    init: Option<Duration>,
}

/// An invocation for an environment.
pub(crate) struct Invocation {
    pub(crate) request_id: String,
    pub(crate) payload: bytes::Bytes,
    pub(crate) function_arn: String,
    pub(crate) trace_id: String,
    pub(crate) client_context: Option<String>,
    pub(crate) timeout: Duration,
}

/// What came of an invocation, and whether the environment can do another.
pub(crate) struct Done {
    pub(crate) outcome: Outcome,
    pub(crate) log_tail: String,
    pub(crate) duration: Duration,
    pub(crate) is_usable: bool,
}

impl Environment {
    /// Starts a process with `folder` for its own, which must not be there yet.
    ///
    /// # Errors
    /// In a sentence: why no process could be started. A function that fails by itself is no error here: its first invocation tells.
    pub(crate) async fn start(plan: &Plan, spawner: &Spawner, folder: PathBuf) -> Result<Environment, String> {
        let api = RuntimeApi::start().await.map_err(|error| format!("failed to open a port for the Runtime API: {error}"))?;
        let made = folder.clone();
        let made = tokio::task::spawn_blocking(move || make_private(&made)).await.map_err(std::io::Error::other).flatten();
        made.map_err(|error| format!("failed to make the folder {}: {error}", folder.display()))?;
        let stream = stream_name(&plan.version.version, now());
        let configuration = &plan.version.configuration;
        let source = LogSource { function: plan.function.clone(), role_arn: configuration.role_arn.clone(), stream };
        let log = EnvironmentLog::open(source, &plan.sinks);
        let heard = log.clone();
        let spec = ChildSpec {
            program: plan.start.program.clone(),
            arguments: plan.start.arguments.clone(),
            environment: variables(plan, &api.address(), &folder, log.stream()),
            working_dir: Some(plan.task.clone()),
            log_file: None,
            listener: Some(LineListener(Arc::new(move |_stream, lines| lines.iter().for_each(|line| heard.line(line, now()))))),
            sandbox: sandbox(plan, &folder),
        };
        let child = spawner.spawn(spec).await.map_err(|error| causes(&error))?;
        Ok(Environment { child, api, log, folder, memory_mb: configuration.memory_mb, init: None })
    }

    /// Waits until the process asks for work, or will never do so. Its log lines until then belong to its first invocation.
    pub(crate) async fn init(&mut self) -> Result<(), Outcome> {
        let began = Instant::now();
        let mut progress = self.api.progress();
        let ready = async {
            let seen = progress.wait_for(|progress| progress.asked > 0 || progress.init_error.is_some()).await;
            seen.map(|seen| seen.init_error.clone()).unwrap_or_default()
        };
        let failed = tokio::select! {
            // What it has told counts, though it may have ended right after.
            biased;
            error = ready => error.map(Outcome::Failed),
            ended = self.child.wait() => Some(self.exited(None, &ended.to_string())),
            () = tokio::time::sleep(INIT_TIMEOUT) => {
                let message = format!("The start took longer than {} seconds", INIT_TIMEOUT.as_secs());
                Some(failure("Sandbox.Timedout", &message))
            }
        };
        let took = began.elapsed();
        // What it wrote while it started comes before the first START line.
        self.child.drain().await;
        match failed {
            None => {
                self.init = Some(took);
                Ok(())
            }
            Some(outcome) => Err(outcome),
        }
    }

    /// Forgets the log of the invocation before.
    pub(crate) fn begin(&self) {
        self.log.begin();
    }

    /// Does one invocation.
    pub(crate) async fn invoke(&mut self, invocation: Invocation, version: &str) -> Done {
        let Invocation { request_id, payload, function_arn, trace_id, client_context, timeout } = invocation;
        self.log.line(&format!("START RequestId: {request_id} Version: {version}"), now());
        let (told, outcome) = oneshot::channel();
        let (take, taken) = oneshot::channel();
        let job =
            Job { request_id: request_id.clone(), payload, timeout, function_arn, trace_id, client_context, outcome: told, taken: take };
        let asked = self.api.progress().borrow().asked;
        let (outcome, duration, is_usable) = self.carry(job, outcome, taken, timeout).await;
        // As in Lambda, an invocation ends when the process asks for the next; one that ends instead does none.
        let is_usable = is_usable && self.asks_again(asked, timeout.saturating_sub(duration)).await;
        let is_timeout = outcome.is_none();
        let outcome = outcome.unwrap_or_else(|| {
            let message = format!("Task timed out after {:.2} seconds", timeout.as_secs_f64());
            self.log.line(&format!("{request_id} {message}"), now());
            failure("Sandbox.Timedout", &format!("RequestId: {request_id} Error: {message}"))
        });
        let report =
            Report { duration, init: self.init.take(), memory_mb: self.memory_mb, memory_used_mb: self.memory_used_mb(), is_timeout };
        self.child.drain().await;
        self.log.line(&format!("END RequestId: {request_id}"), now());
        self.log.line(&report.line(&request_id), now());
        Done { outcome, log_tail: self.log.text(), duration, is_usable }
    }

    /// The log lines of a start that failed, with Lambda's own around them.
    pub(crate) async fn report_failed_start(&mut self, request_id: &str, version: &str, began: Instant) -> String {
        self.log.line(&format!("START RequestId: {request_id} Version: {version}"), now());
        self.log.line(&format!("END RequestId: {request_id}"), now());
        let report = Report {
            duration: began.elapsed(),
            init: None,
            memory_mb: self.memory_mb,
            memory_used_mb: self.memory_used_mb(),
            is_timeout: false,
        };
        self.log.line(&report.line(request_id), now());
        self.log.text()
    }

    /// Hands the job to the process and waits for its outcome: `None` when the time is up. The time counts from when the process takes the job.
    async fn carry(
        &self,
        job: Job,
        outcome: oneshot::Receiver<Outcome>,
        taken: oneshot::Receiver<()>,
        timeout: Duration,
    ) -> (Option<Outcome>, Duration, bool) {
        let request_id = job.request_id.clone();
        let given = Instant::now();
        let working = async {
            self.api.give(job).await;
            let _ = taken.await;
            let began = Instant::now();
            let told = tokio::time::timeout(timeout, outcome).await;
            (told, began.elapsed())
        };
        tokio::select! {
            // What it has told counts, though it may have ended right after.
            biased;
            (told, duration) = working => match told {
                Ok(Ok(outcome)) => (Some(outcome), duration, true),
                Ok(Err(_)) => (Some(failure("Runtime.InvalidRequest", "the invocation could not be handed to the function")), duration, false),
                Err(_) => (None, timeout, false),
            },
            ended = self.child.wait() => (Some(self.exited(Some(&request_id), &ended.to_string())), given.elapsed(), false),
        }
    }

    /// Whether the process asks for work once more, within the time.
    async fn asks_again(&self, asked: u64, timeout: Duration) -> bool {
        let mut progress = self.api.progress();
        let asks = async { progress.wait_for(|progress| progress.asked > asked).await.is_ok() };
        tokio::select! {
            asks = asks => asks,
            _ = self.child.wait() => false,
            () = tokio::time::sleep(timeout) => false,
        }
    }

    /// What Lambda says of a process that ended by itself.
    fn exited(&self, request_id: Option<&str>, ended: &str) -> Outcome {
        let about = request_id.map(|request_id| format!("RequestId: {request_id} ")).unwrap_or_default();
        failure("Runtime.ExitError", &format!("{about}Error: Runtime exited with error: {ended}"))
    }

    fn memory_used_mb(&self) -> u64 {
        self.child.usage().map_or(0, |usage| usage.resident_bytes.div_ceil(1024 * 1024))
    }

    /// Whether it still runs.
    pub(crate) fn is_running(&self) -> bool {
        self.child.is_running()
    }

    /// Ends it, with all that it started, and takes its folder away.
    pub(crate) async fn end(self) {
        self.child.stop(END_GRACE).await;
        let folder = self.folder;
        let _ = tokio::task::spawn_blocking(move || std::fs::remove_dir_all(folder)).await;
    }

    /// Ends it at once.
    pub(crate) async fn kill(self) {
        self.child.stop(Duration::ZERO).await;
        let folder = self.folder;
        let _ = tokio::task::spawn_blocking(move || std::fs::remove_dir_all(folder)).await;
    }
}

/// An error's document, as a runtime would write it.
pub(crate) fn failure(kind: &str, message: &str) -> Outcome {
    Outcome::Failed(json!({ "errorType": kind, "errorMessage": message }).to_string().into())
}

/// The variables of a process, as Lambda sets them (<https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html#configuration-envvars-runtime>).
fn variables(plan: &Plan, runtime_api: &str, folder: &Path, stream: &str) -> Vec<(OsString, OsString)> {
    let configuration = &plan.version.configuration;
    let mut variables = plan.environment.to_vec();
    let mut set = |name: &str, value: &str| variables.push((name.into(), value.into()));
    set("LANG", "en_US.UTF-8");
    set("TZ", ":UTC");
    for (name, value) in &configuration.environment {
        set(name, value);
    }
    set("_HANDLER", &configuration.handler);
    set("AWS_DEFAULT_REGION", &plan.region);
    set("AWS_EXECUTION_ENV", &format!("AWS_Lambda_{}", configuration.runtime));
    set("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", &configuration.memory_mb.to_string());
    set("AWS_LAMBDA_FUNCTION_NAME", &plan.function);
    set("AWS_LAMBDA_FUNCTION_VERSION", &plan.version.version);
    set("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand");
    set("AWS_LAMBDA_LOG_GROUP_NAME", &format!("/aws/lambda/{}", plan.function));
    set("AWS_LAMBDA_LOG_STREAM_NAME", stream);
    set("AWS_LAMBDA_RUNTIME_API", runtime_api);
    set("AWS_REGION", &plan.region);
    if let Some(credentials) = &plan.credentials {
        set("AWS_ACCESS_KEY_ID", credentials.access_key_id.as_str());
        set("AWS_SECRET_ACCESS_KEY", credentials.secret_access_key.expose());
        if let Some(token) = &credentials.session_token {
            set("AWS_SESSION_TOKEN", token.expose());
        }
    }
    variables.push(("LAMBDA_TASK_ROOT".into(), plan.task.clone().into()));
    // Where an OS-only runtime would find what Lambda brings: there is nothing of the kind.
    variables.push(("LAMBDA_RUNTIME_DIR".into(), plan.task.clone().into()));
    variables.push(("HOME".into(), folder.into()));
    variables.push(("TMPDIR".into(), folder.into()));
    variables
}

fn sandbox(plan: &Plan, folder: &Path) -> Sandbox {
    let isolation = match plan.isolation {
        IsolationLevel::None => return Sandbox::default(),
        IsolationLevel::Process => Isolation::Process,
        IsolationLevel::Namespace => Isolation::Namespace,
    };
    let mut readable = plan.start.readable.clone();
    readable.push(plan.task.clone());
    readable.extend_from_slice(&plan.readable);
    Sandbox {
        isolation,
        limits: limits(&plan.version.configuration),
        private_dirs: vec![folder.to_owned()],
        readable,
        hidden: plan.hidden.to_vec(),
        user: None,
    }
}

/// Lambda gives a processor for each 1,769 MB of memory; a function with less starts too slowly on it, so it gets one.
fn limits(configuration: &FunctionConfiguration) -> Limits {
    Limits {
        memory_bytes: Some(u64::from(configuration.memory_mb) << 20),
        processes: Some(PROCESSES_MAX),
        open_files: Some(OPEN_FILES_MAX),
        file_bytes: Some(u64::from(configuration.ephemeral_storage_mb) << 20),
        cpus: Some((f64::from(configuration.memory_mb) / 1769.0).max(1.0)),
    }
}

fn make_private(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().mode(0o700).recursive(true).create(folder)
}

/// An error and its causes in one text.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

#[expect(clippy::disallowed_methods, reason = "an edge: log lines are dated where they are read")]
pub(crate) fn now() -> time::OffsetDateTime {
    time::OffsetDateTime::now_utc()
}
