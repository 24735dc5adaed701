//! One running program: what it printed last, what it uses, when it ended, and how to end it.

use std::io;
use std::net::Ipv4Addr;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::net::unix::pipe;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::output::{Drains, LineListener, Lines, LogFile, OutputStream, OutputTail};
use crate::sandbox::Usage;

/// How long [`Child::drain`] may take.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// How a program ended, in words: `exit status: 1`, `signal: 9 (SIGKILL)`, `killed: used more than 512 MB of memory`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended(pub String);

impl std::fmt::Display for Ended {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl From<ExitStatus> for Ended {
    fn from(status: ExitStatus) -> Self {
        Ended(status.to_string())
    }
}

/// A program that was started. Dropping the last handle leaves it running until the host ends; [`Child::stop`] ends it.
#[derive(Debug, Clone)]
pub struct Child {
    pid: u32,
    ended: watch::Receiver<Option<Ended>>,
    tail: Arc<OutputTail>,
    drains: [Arc<Drains>; 2],
    hold: Hold,
}

/// By what a child is held.
#[derive(Debug, Clone)]
enum Hold {
    /// Its process group.
    Group,
    /// A warden between it and us.
    #[cfg(target_os = "linux")]
    Warden(Arc<warden::Warden>),
}

/// Where a child's output comes from and goes to.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) stdout: pipe::Receiver,
    pub(crate) stderr: pipe::Receiver,
    pub(crate) log_file: Option<LogFile>,
    pub(crate) listener: Option<LineListener>,
}

impl Child {
    /// Takes over a freshly spawned process: reads its output and waits for its end.
    pub(crate) fn watch(mut process: tokio::process::Child, output: Output) -> Child {
        let pid = process.id().expect("a child that nobody has waited for has a process id");
        let end = async move {
            let ended = match process.wait().await {
                Ok(status) => Ended::from(status),
                Err(error) => Ended(format!("cannot be waited for: {error}")),
            };
            // Whatever it started in its group ends with it.
            let _ = killpg(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
            ended
        };
        Child::held(pid, Hold::Group, output, end)
    }

    fn held(pid: u32, hold: Hold, output: Output, end: impl Future<Output = Ended> + Send + 'static) -> Child {
        let tail = Arc::new(OutputTail::default());
        let (announce, ended) = watch::channel(None);
        let Output { stdout, stderr, log_file, listener } = output;
        let log_file = log_file.map(Arc::new);
        let lines = |stream| Lines::new(stream, tail.clone(), log_file.clone(), listener.clone());
        let drains = <[Arc<Drains>; 2]>::default();
        let readers = [
            tokio::spawn(lines(OutputStream::Stdout).read(stdout, drains[0].clone())),
            tokio::spawn(lines(OutputStream::Stderr).read(stderr, drains[1].clone())),
        ];
        tokio::spawn(async move {
            let ended = end.await;
            // Its last words are read before its end is told. Something it let go of may hold the pipe open, hence the limit.
            let last_words = async {
                for reader in readers {
                    let _ = reader.await;
                }
            };
            let _ = tokio::time::timeout(Duration::from_millis(200), last_words).await;
            let _ = announce.send(Some(ended));
        });
        Child { pid, ended, tail, drains, hold }
    }

    /// The process id, which is also the id of its process group.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// What it printed last (standard output and error, in the order read), at most 40 lines.
    #[must_use]
    pub fn tail(&self) -> String {
        self.tail.text()
    }

    /// Waits until all is read and told that it had printed when this was called. A child that never stops printing is read for a second at most.
    pub async fn drain(&self) {
        let draining = async {
            for drains in &self.drains {
                drains.ask().await;
            }
        };
        let _ = tokio::time::timeout(DRAIN_TIMEOUT, draining).await;
    }

    /// Whether it still runs, as far as has been noticed.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.ended.borrow().is_none()
    }

    /// How it ended, or `None` while it runs. Where a limit ended it, it says which.
    #[must_use]
    pub fn ended(&self) -> Option<Ended> {
        self.ended.borrow().clone()
    }

    /// Waits for its end.
    pub async fn wait(&self) -> Ended {
        let mut ended = self.ended.clone();
        match ended.wait_for(Option::is_some).await {
            Ok(told) => told.clone().expect("waited until it was some"),
            Err(_) => Ended("is no longer watched".to_owned()),
        }
    }

    /// Ends it: SIGTERM to its group, and SIGKILL to all of it when `grace` has passed. Returns when it has ended and, where it was sandboxed, nothing of it is left.
    pub async fn stop(&self, grace: Duration) -> Ended {
        if let Some(ended) = self.ended() {
            return ended;
        }
        self.terminate();
        if let Ok(ended) = tokio::time::timeout(grace, self.wait()).await {
            return ended;
        }
        tracing::warn!(pid = self.pid, grace_ms = grace.as_millis(), "child ignored SIGTERM and is killed");
        self.kill();
        self.wait().await
    }

    fn terminate(&self) {
        match &self.hold {
            Hold::Group => drop(killpg(Pid::from_raw(self.pid.cast_signed()), Signal::SIGTERM)),
            #[cfg(target_os = "linux")]
            Hold::Warden(warden) => warden.say(crate::keeper::TERMINATE),
        }
    }

    /// Sends SIGKILL to all of it, without waiting.
    pub(crate) fn kill(&self) {
        match &self.hold {
            Hold::Group => drop(killpg(Pid::from_raw(self.pid.cast_signed()), Signal::SIGKILL)),
            #[cfg(target_os = "linux")]
            Hold::Warden(warden) => warden.say(crate::keeper::KILL),
        }
    }

    /// What it and all that it started use at the moment; `None` when it has ended, and outside Linux. Reads a few files of `/proc` for each process.
    #[must_use]
    pub fn usage(&self) -> Option<Usage> {
        if !self.is_running() {
            return None;
        }
        match &self.hold {
            #[cfg(target_os = "linux")]
            Hold::Group => Some(crate::process_tree::ProcessTree::of(self.pid.cast_signed()).usage()),
            #[cfg(not(target_os = "linux"))]
            Hold::Group => None,
            #[cfg(target_os = "linux")]
            Hold::Warden(warden) => Some(warden.tree().usage()),
        }
    }

    /// Connects to a port on the loopback address as the child sees it, which in a network namespace is not the host's.
    ///
    /// # Errors
    /// When nothing listens there, or the child has ended.
    pub async fn connect(&self, port: u16) -> io::Result<TcpStream> {
        match &self.hold {
            #[cfg(target_os = "linux")]
            Hold::Warden(warden) if warden.has_inside() => {
                let socket = warden.clone().ask(crate::keeper::CONNECT, port).await?;
                let stream = std::net::TcpStream::from(socket);
                stream.set_nonblocking(true)?;
                TcpStream::from_std(stream)
            }
            _ => TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await,
        }
    }

    /// Listens on a port of the child's own loopback, so that it can reach something of the host's: a relay to the world outside.
    ///
    /// # Errors
    /// When the child has no network namespace of its own (`Unsupported`), the port is taken inside, or the child has ended.
    pub async fn listen_inside(&self, port: u16) -> io::Result<TcpListener> {
        match &self.hold {
            #[cfg(target_os = "linux")]
            Hold::Warden(warden) if warden.has_inside() => {
                let socket = warden.clone().ask(crate::keeper::LISTEN, port).await?;
                let listener = std::net::TcpListener::from(socket);
                listener.set_nonblocking(true)?;
                TcpListener::from_std(listener)
            }
            _ => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                format!("port {port} inside a namespace: the child has no network of its own"),
            )),
        }
    }
}

#[cfg(target_os = "linux")]
pub(crate) mod warden {
    //! The host's hold on a sandboxed child: the socket to its warden.

    use std::io;
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream as BlockingStream;
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::ExitStatus;
    use std::sync::{Arc, Mutex, PoisonError};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::UnixStream;
    use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

    use super::{Child, Ended, Hold, Output};
    use crate::keeper::{Order, Report, ask, frame_length};
    use crate::process_tree::{ProcessTree, children};

    /// The socket to a warden. When it is closed, the warden ends its child.
    #[derive(Debug)]
    pub(crate) struct Warden {
        pid: i32,
        orders: OwnedWriteHalf,
        inside: Option<Mutex<BlockingStream>>,
    }

    impl Warden {
        pub(super) fn say(&self, word: u8) {
            // A byte always fits. Should the warden be gone, so is the child.
            let _ = self.orders.try_write(&[word]);
        }

        pub(super) fn has_inside(&self) -> bool {
            self.inside.is_some()
        }

        /// The child and all that it started: below the warden, and in a namespace below its first process.
        pub(super) fn tree(&self) -> ProcessTree {
            let first = if self.has_inside() { children(self.pid).first().copied() } else { None };
            ProcessTree::below(first.unwrap_or(self.pid))
        }

        pub(super) async fn ask(self: Arc<Self>, kind: u8, port: u16) -> io::Result<OwnedFd> {
            let asked = tokio::task::spawn_blocking(move || {
                let inside = self.inside.as_ref().ok_or(io::ErrorKind::Unsupported)?;
                ask(&inside.lock().unwrap_or_else(PoisonError::into_inner), kind, port)
            });
            asked.await.unwrap_or_else(|error| Err(io::Error::other(error)))
        }
    }

    /// Gives a new warden its order and waits until the program runs.
    pub(crate) async fn start(mut control: UnixStream, inside: Option<BlockingStream>, order: &Order, output: Output) -> io::Result<Child> {
        control.write_all(&order.to_frame()?).await?;
        let (mut reports, orders) = control.into_split();
        let (pid, warden) = match report(&mut reports).await? {
            Report::Started { pid, warden } => (pid.cast_unsigned(), warden),
            Report::Refused { errno: 0, what } => return Err(io::Error::other(what)),
            Report::Refused { errno, what } => {
                let error = io::Error::from_raw_os_error(errno);
                return Err(if what.is_empty() { error } else { io::Error::new(error.kind(), format!("{what}: {error}")) });
            }
            Report::Ended { .. } => return Err(io::ErrorKind::InvalidData.into()),
        };
        let warden = Arc::new(Warden { pid: warden, orders, inside: inside.map(Mutex::new) });
        let held = warden.clone();
        let end = async move {
            let reported = report(&mut reports).await;
            // Held until now, for the warden ends its child when nobody holds it.
            drop(held);
            match reported {
                Ok(Report::Ended { reason: Some(reason), .. }) => Ended(reason),
                Ok(Report::Ended { status, reason: None }) => Ended::from(ExitStatus::from_raw(status)),
                Ok(_) | Err(_) => Ended("ended with its warden, which was killed".to_owned()),
            }
        };
        Ok(Child::held(pid, Hold::Warden(warden), output, end))
    }

    async fn report(from: &mut OwnedReadHalf) -> io::Result<Report> {
        let mut prefix = [0; 4];
        from.read_exact(&mut prefix).await?;
        let mut frame = vec![0; frame_length(prefix)?];
        from.read_exact(&mut frame).await?;
        Report::parse(&frame)
    }
}
