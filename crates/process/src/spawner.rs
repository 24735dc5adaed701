//! The permanent spawning thread.
//!
//! `PR_SET_PDEATHSIG` follows the *thread* that forked, not the process (prctl(2)): were a child started from a pool thread that later exits, the
//! child would be killed with it. So one thread, alive as long as the process, does all the spawning. A sandboxed child is forked by the keeper instead
//! (`keeper.rs`), which the same thread starts and speaks to.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;

use tokio::net::unix::pipe;
use tokio::sync::{mpsc, oneshot};

use crate::child::{Child, Output};
use crate::output::{LineListener, LogFile};
use crate::sandbox::Sandbox;

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
    /// How it is kept apart.
    pub sandbox: Sandbox,
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
    /// The keeper of sandboxed programs, or this one's warden, did not do its part.
    #[error("failed to have {} kept in its sandbox", program.display())]
    Keeper {
        /// The executable that was to be started.
        program: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// Too many programs are waiting to be started.
    #[error("too many programs are waiting to be started (limit {SPAWN_QUEUE_MAX})")]
    Busy,
    /// The spawning thread is gone: the host is shutting down.
    #[error("the host is shutting down")]
    ShuttingDown,
}

type SpawnRequest = (ChildSpec, oneshot::Sender<Result<Begun, SpawnError>>);

/// How far the spawning thread has brought a child.
#[derive(Debug)]
enum Begun {
    Running(Child),
    /// A warden waits for its order. It ends when this is dropped.
    #[cfg(target_os = "linux")]
    Warden(Box<sandboxed::Waiting>),
}

/// A handle on the spawning thread. Cheap to clone; the thread lives until the last handle is dropped.
#[derive(Debug, Clone)]
pub struct Spawner {
    requests: mpsc::Sender<SpawnRequest>,
}

impl Spawner {
    /// Starts the spawning thread. Sandboxed programs are kept by this executable, whose `main` calls [`supervise_if_asked`](crate::supervise_if_asked).
    ///
    /// # Errors
    /// When the operating system grants no thread.
    ///
    /// # Panics
    /// Outside a Tokio runtime, whose reactor reaps the children.
    pub fn start() -> io::Result<Spawner> {
        // The executable as it was when this process began, though its file may have been replaced since.
        Spawner::start_with_keeper(PathBuf::from("/proc/self/exe"))
    }

    /// As [`Spawner::start`], with another executable for keeper: one whose `main` calls [`supervise_if_asked`](crate::supervise_if_asked).
    ///
    /// # Errors
    /// When the operating system grants no thread.
    ///
    /// # Panics
    /// Outside a Tokio runtime, whose reactor reaps the children.
    pub fn start_with_keeper(executable: PathBuf) -> io::Result<Spawner> {
        let (requests, mut queue) = mpsc::channel::<SpawnRequest>(SPAWN_QUEUE_MAX);
        let reactor = tokio::runtime::Handle::current();
        std::thread::Builder::new().name("spawner".to_owned()).spawn(move || {
            let _entered = reactor.enter();
            #[cfg(target_os = "linux")]
            let mut keeper = crate::keeper::Keeper::new(executable);
            #[cfg(not(target_os = "linux"))]
            drop(executable);
            while let Some((spec, reply)) = queue.blocking_recv() {
                #[cfg(target_os = "linux")]
                let begun = match spec.sandbox.isolation {
                    crate::sandbox::Isolation::None => spawn(spec),
                    _ => sandboxed::begin(&mut keeper, spec).map(|waiting| Begun::Warden(Box::new(waiting))),
                };
                #[cfg(not(target_os = "linux"))]
                let begun = spawn(spec);
                // A caller that went away while waiting wants no child.
                if let Err(Ok(Begun::Running(child))) = reply.send(begun) {
                    child.kill();
                }
            }
        })?;
        Ok(Spawner { requests })
    }

    /// Starts a program. When this is dropped before it returns, nothing is left running.
    ///
    /// # Errors
    /// See [`SpawnError`].
    pub async fn spawn(&self, spec: ChildSpec) -> Result<Child, SpawnError> {
        let (reply, answer) = oneshot::channel();
        self.requests.try_send((spec, reply)).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => SpawnError::Busy,
            mpsc::error::TrySendError::Closed(_) => SpawnError::ShuttingDown,
        })?;
        match answer.await.map_err(|_| SpawnError::ShuttingDown)?? {
            Begun::Running(child) => Ok(child),
            #[cfg(target_os = "linux")]
            Begun::Warden(waiting) => waiting.start().await,
        }
    }
}

/// A pipe for a child's output: our end, and the child's.
fn output_pipe() -> io::Result<(pipe::Receiver, io::PipeWriter)> {
    let (reader, writer) = io::pipe()?;
    Ok((pipe::Receiver::from_owned_fd(reader.into())?, writer))
}

fn spawn(spec: ChildSpec) -> Result<Begun, SpawnError> {
    let refused = |source| SpawnError::Refused { program: spec.program.clone(), source };
    let (stdout, their_stdout) = output_pipe().map_err(refused)?;
    let (stderr, their_stderr) = output_pipe().map_err(refused)?;
    let mut command = tokio::process::Command::new(&spec.program);
    command
        .args(&spec.arguments)
        .env_clear()
        .envs(spec.environment)
        .stdin(Stdio::null())
        .stdout(their_stdout)
        .stderr(their_stderr)
        .process_group(0)
        .kill_on_drop(true);
    if let Some(working_dir) = &spec.working_dir {
        command.current_dir(working_dir);
    }
    die_with_the_host(&mut command);
    let process = command.spawn().map_err(refused)?;
    Ok(Begun::Running(Child::watch(process, Output { stdout, stderr, log_file: spec.log_file, listener: spec.listener })))
}

#[cfg(target_os = "linux")]
mod sandboxed {
    //! Starting a program by way of keeper and warden.

    use std::io;
    use std::os::fd::{AsFd as _, BorrowedFd};
    use std::os::unix::net::UnixStream;
    use std::path::PathBuf;
    use std::time::Duration;

    use super::{ChildSpec, SpawnError, output_pipe};
    use crate::child::{Child, Output, warden};
    use crate::keeper::{Keeper, Order};
    use crate::sandbox::Isolation;

    /// How long a warden may take until the program is executed: a few milliseconds, on a machine that does nothing else.
    const START_TIMEOUT: Duration = Duration::from_secs(30);

    /// A warden that has been forked and waits for its order.
    #[derive(Debug)]
    pub(super) struct Waiting {
        control: UnixStream,
        inside: Option<UnixStream>,
        order: Order,
        output: Output,
    }

    pub(super) fn begin(keeper: &mut Keeper, spec: ChildSpec) -> Result<Waiting, SpawnError> {
        let ChildSpec { program, arguments, environment, working_dir, log_file, listener, sandbox } = spec;
        let begun = (|| {
            let (stdout, their_stdout) = output_pipe()?;
            let (stderr, their_stderr) = output_pipe()?;
            let (control, their_control) = UnixStream::pair()?;
            let inside = (sandbox.isolation == Isolation::Namespace).then(UnixStream::pair).transpose()?;
            let mut descriptors: Vec<BorrowedFd<'_>> = vec![their_control.as_fd(), their_stdout.as_fd(), their_stderr.as_fd()];
            descriptors.extend(inside.as_ref().map(|(_, theirs)| theirs.as_fd()));
            keeper.fork_warden(&descriptors)?;
            control.set_nonblocking(true)?;
            Ok((control, inside.map(|(ours, _)| ours), Output { stdout, stderr, log_file, listener }))
        })();
        match begun {
            Ok((control, inside, output)) => {
                let order = Order { program: found(program, &environment), arguments, environment, working_dir, sandbox };
                Ok(Waiting { control, inside, order, output })
            }
            Err(source) => Err(SpawnError::Keeper { program, source }),
        }
    }

    /// A name without a folder is looked for in the child's own `PATH`, as it is for other children.
    fn found(program: PathBuf, environment: &[(std::ffi::OsString, std::ffi::OsString)]) -> PathBuf {
        if program.components().count() != 1 || program.is_absolute() {
            return program;
        }
        let path = environment.iter().rev().find(|(name, _)| name == "PATH").map(|(_, value)| value);
        let folders = path.into_iter().flat_map(std::env::split_paths);
        folders.map(|folder| folder.join(&program)).find(|candidate| candidate.is_file()).unwrap_or(program)
    }

    impl Waiting {
        pub(super) async fn start(self) -> Result<Child, SpawnError> {
            let Waiting { control, inside, order, output } = self;
            let starting = async {
                let control = tokio::net::UnixStream::from_std(control)?;
                warden::start(control, inside, &order, output).await
            };
            let started = tokio::time::timeout(START_TIMEOUT, starting).await;
            let started = started.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
            started.map_err(|source| match source.kind() {
                // Nothing was said: no warden was there, or it was killed.
                io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::TimedOut => {
                    SpawnError::Keeper { program: order.program, source }
                }
                _ => SpawnError::Refused { program: order.program, source },
            })
        }
    }
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
