//! The runtime interface clients: what stands between a function's code and the Runtime API. They are the real ones, each installed once, into a folder of its own:
//! `awslambdaric` for Python, `aws-lambda-ric` for Node; an OS-only runtime brings its own, the file `bootstrap`.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use tokio::sync::Mutex;

/// What Python functions find installed, as in Lambda: the client and AWS's SDK.
const PYTHON_PACKAGES: [&str; 2] = ["awslambdaric==4.2.2", "boto3==1.44.5"];
/// The client for Node. The next major version needs Node 22.
const NODE_PACKAGE: &str = "aws-lambda-ric@3.3.0";
/// Lines of a failed installation that are told.
const LINES_TOLD: usize = 20;

/// What a runtime's name asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum RuntimeKind {
    /// Python, of this minor version of 3.
    Python(u8),
    /// Node, of this major version.
    Node(u8),
    /// An executable of the function's own.
    Provided,
}

impl RuntimeKind {
    /// The runtimes that can be named.
    pub(crate) const NAMES: [&str; 10] = [
        "python3.9",
        "python3.10",
        "python3.11",
        "python3.12",
        "python3.13",
        "python3.14",
        "nodejs20.x",
        "nodejs22.x",
        "provided.al2",
        "provided.al2023",
    ];

    /// What a runtime's name stands for.
    pub(crate) fn of(name: &str) -> Option<RuntimeKind> {
        if !RuntimeKind::NAMES.contains(&name) {
            return None;
        }
        if let Some(minor) = name.strip_prefix("python3.") {
            return minor.parse().ok().map(RuntimeKind::Python);
        }
        if let Some(major) = name.strip_prefix("nodejs").and_then(|rest| rest.strip_suffix(".x")) {
            return major.parse().ok().map(RuntimeKind::Node);
        }
        Some(RuntimeKind::Provided)
    }
}

/// What starts a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Start {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<OsString>,
    /// What it must be able to read besides the function's code.
    pub(crate) readable: Vec<PathBuf>,
}

/// The installed clients.
#[derive(Debug, Clone)]
pub(crate) struct Clients {
    folder: PathBuf,
    path: OsString,
    /// What is installed and was found to work, but for the handler. Held while another is installed: one at a time.
    ready: Arc<Mutex<HashMap<RuntimeKind, Start>>>,
}

impl Clients {
    /// Clients in this folder; interpreters are looked for on `path`.
    pub(crate) fn new(folder: PathBuf, path: OsString) -> Clients {
        Clients { folder, path, ready: Arc::default() }
    }

    /// What starts a function of this kind, whose code is in `task`. The first time a client is installed, which takes from seconds to minutes.
    ///
    /// # Errors
    /// In a sentence, with the remedy: what is missing or could not be installed.
    pub(crate) async fn prepare(&self, kind: RuntimeKind, handler: &str, task: &Path) -> Result<Start, String> {
        if kind == RuntimeKind::Provided {
            return provided(task);
        }
        let mut ready = self.ready.lock().await;
        let mut start = match ready.get(&kind) {
            Some(start) => start.clone(),
            None => {
                let clients = self.clone();
                let prepared = tokio::task::spawn_blocking(move || match kind {
                    RuntimeKind::Python(minor) => clients.python(minor),
                    RuntimeKind::Node(_) => clients.node(),
                    RuntimeKind::Provided => Err("an OS-only runtime needs no client".to_owned()),
                });
                let start = prepared.await.map_err(|panicked| panicked.to_string())??;
                ready.insert(kind, start.clone());
                start
            }
        };
        start.arguments.push(handler.into());
        Ok(start)
    }

    fn python(&self, minor: u8) -> Result<Start, String> {
        let interpreter = self.interpreter(minor)?;
        let environment = self.folder.join(format!("python-{}", interpreter.version));
        let python = environment.join("bin/python");
        let wanted = PYTHON_PACKAGES.join("\n");
        install_once(&environment, &wanted, |making| {
            tracing::info!(packages = wanted.replace('\n', " "), folder = %environment.display(), "Installing the client of Python functions");
            run(Command::new(&interpreter.program).args(["-m", "venv"]).arg(making))?;
            let mut pip = Command::new(making.join("bin/python"));
            run(pip.args(["-m", "pip", "install", "--disable-pip-version-check", "--quiet"]).args(PYTHON_PACKAGES))
        })?;
        let arguments = ["-m", "awslambdaric"].map(OsString::from).to_vec();
        Ok(Start { program: python, arguments, readable: vec![environment, interpreter.prefix] })
    }

    /// The asked Python, or the one that is there: most functions run on either.
    fn interpreter(&self, minor: u8) -> Result<Interpreter, String> {
        let asked = self.find(&format!("python3.{minor}")).and_then(|program| Interpreter::ask(&program));
        if let Some(interpreter) = asked {
            return Ok(interpreter);
        }
        let found = self.find("python3").and_then(|program| Interpreter::ask(&program));
        let found = found.ok_or_else(|| format!("neither python3.{minor} nor python3 is on PATH: install Python"))?;
        if found.version != format!("3.{minor}") {
            tracing::warn!(
                asked = format!("3.{minor}"),
                used = found.version,
                "the Python that a function asks for is not on PATH: another runs it"
            );
        }
        Ok(found)
    }

    fn node(&self) -> Result<Start, String> {
        let node = self.find("node").ok_or("node is not on PATH: install Node.js")?;
        let npm = self.find("npm").ok_or("npm is not on PATH: install it beside Node.js")?;
        let environment = self.folder.join("node");
        install_once(&environment, NODE_PACKAGE, |making| {
            tracing::info!(package = NODE_PACKAGE, folder = %environment.display(), "Installing the client of Node functions, which compiles for minutes");
            fs::create_dir_all(making).map_err(|error| format!("failed to make the folder {}: {error}", making.display()))?;
            let mut install = Command::new(&npm);
            install.args(["install", "--no-audit", "--no-fund", "--prefix"]).arg(making).arg(NODE_PACKAGE);
            run(install.env("PATH", &self.path))
        })?;
        let client = environment.join("node_modules/aws-lambda-ric/bin/index.mjs");
        Ok(Start { program: node, arguments: vec![client.into()], readable: vec![environment] })
    }

    fn find(&self, name: &str) -> Option<PathBuf> {
        std::env::split_paths(&self.path).map(|folder| folder.join(name)).find(|file| is_executable(file))
    }
}

/// The file of the function itself.
fn provided(task: &Path) -> Result<Start, String> {
    let bootstrap = task.join("bootstrap");
    if !is_executable(&bootstrap) {
        return Err("the code has no executable file `bootstrap` at its top, which an OS-only runtime starts".to_owned());
    }
    Ok(Start { program: bootstrap, arguments: Vec::new(), readable: Vec::new() })
}

fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    fs::metadata(file).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// A Python that is there and works.
struct Interpreter {
    program: PathBuf,
    version: String,
    prefix: PathBuf,
}

impl Interpreter {
    fn ask(program: &Path) -> Option<Interpreter> {
        let question = "import sys; print(sys._base_executable); print('%d.%d' % sys.version_info[:2]); print(sys.base_prefix)";
        let ran = Command::new(program).args(["-c", question]).stdin(Stdio::null()).output().ok()?;
        let told = String::from_utf8(ran.stdout).ok().filter(|_| ran.status.success())?;
        let mut lines = told.lines();
        let (program, version, prefix) = (lines.next()?.into(), lines.next()?.to_owned(), lines.next()?.into());
        Some(Interpreter { program, version, prefix })
    }
}

/// Makes `folder` by `make`, unless it was made for the same `wanted` before. What is half made is never used.
fn install_once(folder: &Path, wanted: &str, make: impl FnOnce(&Path) -> Result<(), String>) -> Result<(), String> {
    let note = folder.join("installed.txt");
    let is_installed = || fs::read_to_string(&note).is_ok_and(|installed| installed == wanted);
    if is_installed() {
        return Ok(());
    }
    let failed = |error: std::io::Error| format!("failed to make the folder {}: {error}", folder.display());
    fs::create_dir_all(folder.parent().unwrap_or(folder)).map_err(failed)?;
    // Another host may share the folder. The lock goes with the file's handle.
    let lock = fs::File::create(folder.with_added_extension("lock")).map_err(failed)?;
    lock.lock().map_err(failed)?;
    if is_installed() {
        return Ok(());
    }
    let _ = fs::remove_dir_all(folder);
    // Made in its place: an environment of Python holds its own path.
    fs::create_dir_all(folder).map_err(failed)?;
    make(folder)?;
    fs::write(note, wanted).map_err(failed)
}

/// Runs a program to its end.
fn run(command: &mut Command) -> Result<(), String> {
    let ran = command.stdin(Stdio::null()).output();
    let program = command.get_program().display();
    let ran = ran.map_err(|error| format!("failed to run {program}: {error}"))?;
    if ran.status.success() {
        return Ok(());
    }
    let output = [ran.stdout, ran.stderr].concat();
    let output = String::from_utf8_lossy(&output);
    let lines: Vec<&str> = output.lines().collect();
    Err(format!("{program} failed ({}):\n{}", ran.status, lines[lines.len().saturating_sub(LINES_TOLD)..].join("\n")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_runtimes_name_stands_for_something() {
        for name in RuntimeKind::NAMES {
            assert!(RuntimeKind::of(name).is_some(), "{name}");
        }
        assert_eq!(RuntimeKind::of("python3.12"), Some(RuntimeKind::Python(12)));
        assert_eq!(RuntimeKind::of("nodejs22.x"), Some(RuntimeKind::Node(22)));
        assert_eq!(RuntimeKind::of("provided.al2023"), Some(RuntimeKind::Provided));
        assert_eq!(RuntimeKind::of("python2.7"), None);
    }
}
