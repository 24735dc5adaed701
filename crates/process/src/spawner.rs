//! The permanent spawning thread.
//!
//! `PR_SET_PDEATHSIG` follows the *thread* that forked, not the process (prctl(2)): were a child started from a pool thread that later exits, the
//! child would be killed with it. So one thread, alive as long as the process, does all the spawning.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;

use tokio::sync::{mpsc, oneshot};

use crate::child::Child;
use crate::output::{LineListener, LogFile};

/// Spawn requests waiting for the thread. Spawning takes a millisecond or so; a longer queue is a caller gone wild.
const SPAWN_QUEUE_MAX: usize = 256;

/// What to start.
#[derive(Debug)]
pub struct ChildSpec {
    /// Path of the executable.
    pub program: PathBuf,
    /// Arguments, the program's own name left out.
    pub arguments: Vec<OsString>,
    /// The whole environment: nothing is inherited.
    pub environment: Vec<(OsString, OsString)>,
    /// Working folder; the host's own when `None`.
    pub working_dir: Option<PathBuf>,
    /// Where the program's output goes besides the tail kept in memory.
    pub log_file: Option<LogFile>,
    /// Who hears every line of it.
    pub listener: Option<LineListener>,
}

/// Why a program could not be started.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// The operating system refused.
    #[error("failed to start {}", program.display())]
    Refused {
        /// The executable that was to be started.
        program: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// Too many programs are waiting to be started.
    #[error("too many programs are waiting to be started (limit {SPAWN_QUEUE_MAX})")]
    Busy,
    /// The spawning thread is gone: the host is shutting down.
    #[error("the host is shutting down")]
    ShuttingDown,
}

type SpawnRequest = (ChildSpec, oneshot::Sender<Result<Child, SpawnError>>);

/// A handle on the spawning thread. Cheap to clone; the thread lives until the last handle is dropped.
#[derive(Debug, Clone)]
pub struct Spawner {
    requests: mpsc::Sender<SpawnRequest>,
}

impl Spawner {
    /// Starts the spawning thread.
    ///
    /// # Errors
    /// When the operating system grants no thread.
    ///
    /// # Panics
    /// Outside a Tokio runtime, whose reactor reaps the children.
    pub fn start() -> io::Result<Spawner> {
        let (requests, mut queue) = mpsc::channel::<SpawnRequest>(SPAWN_QUEUE_MAX);
        let reactor = tokio::runtime::Handle::current();
        std::thread::Builder::new().name("spawner".to_owned()).spawn(move || {
            let _entered = reactor.enter();
            while let Some((spec, reply)) = queue.blocking_recv() {
                // A caller that went away while waiting wants no child: sending fails, and dropping the `Child` ends it.
                let _ = reply.send(spawn(spec));
            }
        })?;
        Ok(Spawner { requests })
    }

    /// Starts a program.
    ///
    /// # Errors
    /// See [`SpawnError`].
    pub async fn spawn(&self, spec: ChildSpec) -> Result<Child, SpawnError> {
        let (reply, answer) = oneshot::channel();
        self.requests.try_send((spec, reply)).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => SpawnError::Busy,
            mpsc::error::TrySendError::Closed(_) => SpawnError::ShuttingDown,
        })?;
        answer.await.map_err(|_| SpawnError::ShuttingDown)?
    }
}

fn spawn(spec: ChildSpec) -> Result<Child, SpawnError> {
    let mut command = tokio::process::Command::new(&spec.program);
    command
        .args(&spec.arguments)
        .env_clear()
        .envs(spec.environment)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    if let Some(working_dir) = &spec.working_dir {
        command.current_dir(working_dir);
    }
    die_with_the_host(&mut command);
    let process = command.spawn().map_err(|source| SpawnError::Refused { program: spec.program.clone(), source })?;
    Ok(Child::watch(process, spec.log_file, spec.listener))
}

/// Asks the kernel to kill the child when the host dies, however it dies.
#[cfg(target_os = "linux")]
fn die_with_the_host(command: &mut tokio::process::Command) {
    let host = nix::unistd::getpid();
    let in_child = move || {
        nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
        // The host may have died between fork and prctl; then nobody would send the signal any more.
        if nix::unistd::getppid() != host {
            return Err(io::Error::other("the host died"));
        }
        Ok(())
    };
    #[expect(unsafe_code, reason = "the closure runs between fork and exec and makes only the async-signal-safe calls prctl and getppid")]
    unsafe {
        command.pre_exec(in_child);
    }
}

/// No parent-death signal outside Linux: there an agent ends itself when its standard output closes.
#[cfg(not(target_os = "linux"))]
fn die_with_the_host(_command: &mut tokio::process::Command) {}
