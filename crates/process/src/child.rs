//! One running program: what it printed last, when it ended, and how to end it.

use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::sync::watch;

use crate::output::{LineListener, LogFile, OutputTail};

/// How a program ended, in words: `exit status: 1`, `signal: 9 (SIGKILL)`.
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
}

impl Child {
    /// Takes over a freshly spawned process: reads its output and waits for its end.
    pub(crate) fn watch(mut process: tokio::process::Child, log_file: Option<LogFile>, listener: Option<LineListener>) -> Child {
        let pid = process.id().expect("a child that nobody has waited for has a process id");
        let tail = Arc::new(OutputTail::default());
        let (announce, ended) = watch::channel(None);
        let log_file = log_file.map(Arc::new);
        let readers = [
            process.stdout.take().map(|stdout| tokio::spawn(tail.clone().read(stdout, log_file.clone(), listener.clone()))),
            process.stderr.take().map(|stderr| tokio::spawn(tail.clone().read(stderr, log_file, listener))),
        ];
        tokio::spawn(async move {
            let ended = match process.wait().await {
                Ok(status) => Ended::from(status),
                Err(error) => Ended(format!("cannot be waited for: {error}")),
            };
            // Whatever it started in its group ends with it.
            let _ = killpg(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
            // Its last words are read before its end is told. A grandchild may hold the pipe open, hence the limit.
            let last_words = async {
                for reader in readers.into_iter().flatten() {
                    let _ = reader.await;
                }
            };
            let _ = tokio::time::timeout(Duration::from_millis(200), last_words).await;
            let _ = announce.send(Some(ended));
        });
        Child { pid, ended, tail }
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

    /// Whether it still runs, as far as has been noticed.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.ended.borrow().is_none()
    }

    /// How it ended, or `None` while it runs.
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

    /// Ends it: SIGTERM to its group, and SIGKILL when `grace` has passed. Returns when it has ended.
    pub async fn stop(&self, grace: Duration) -> Ended {
        if let Some(ended) = self.ended() {
            return ended;
        }
        let group = Pid::from_raw(self.pid.cast_signed());
        let _ = killpg(group, Signal::SIGTERM);
        if let Ok(ended) = tokio::time::timeout(grace, self.wait()).await {
            return ended;
        }
        tracing::warn!(pid = self.pid, grace_ms = grace.as_millis(), "child ignored SIGTERM and is killed");
        let _ = killpg(group, Signal::SIGKILL);
        self.wait().await
    }
}
