//! The keeper: this executable started once more, with one thread, to fork a *warden* for every sandboxed child.
//!
//! A child of the host alone cannot be held: what it starts may detach itself (double fork, `setsid`) and outlive everybody. So between the host and each program stands
//! a warden. It is a *child subreaper*, so whatever loses its parent becomes the warden's child; it hears of the host's death, however that comes, by the end of the socket
//! to it; then it stops and kills all below itself. The program has a parent-death signal, should the warden be killed; what is left then falls to the keeper, a
//! subreaper too, which kills every child that is not a warden. All this needs no privileges. At [`Isolation::Namespace`](crate::Isolation::Namespace) the kernel does
//! the same once more: a process namespace ends with its first process.
//!
//! The keeper is there because forking is only safe with one thread, and because a warden forked from it shares its memory instead of being loaded anew.
//! Measured, unoptimised on two slow cores with 40 children: a warden has 50 KB of memory for itself (100 KB with its share of what all have in common), and so has the
//! first process of a namespace; a start takes 5 to 11 ms where a child without sandbox takes 1.5 ms, and ending one about 1 ms. The keeper itself takes 0.5 MB.

mod cgroup;
mod confine;
mod files;
mod namespace;
mod system;
mod warden;
mod watch;
mod wire;

use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Stdio;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::{ForkResult, Pid, setsid};

use crate::process_tree::{children, kill_below};

pub(crate) use cgroup::{Controller, probe};
pub(crate) use files::landlock_version;
pub(crate) use namespace::{CONNECT, LISTEN, ask};
pub(crate) use system::{SYS_ADMIN, has_capability};
pub(crate) use wire::{KILL, Order, Report, TERMINATE, frame_length};

/// The argument that asks this executable to be a keeper.
const ARGUMENT: &str = "__keeper";

/// Becomes the keeper when this process was started as one, and then never returns. An executable that starts sandboxed children calls it first of all in `main`,
/// before there is a second thread.
pub fn supervise_if_asked() {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|argument| argument == ARGUMENT) && arguments.next().is_none() {
        let status = match run() {
            Ok(()) => 0,
            Err(error) => {
                eprintln!("the keeper of sandboxed children ended: {error}");
                1
            }
        };
        std::process::exit(status);
    }
}

/// Forks a warden for each message from the host, until the host is gone and the last warden with it.
fn run() -> io::Result<()> {
    let host = UnixStream::from(system::standard_input()?);
    let nothing = system::nothing_to_read()?;
    nix::unistd::dup2_stdin(&nothing)?;
    setsid()?;
    prctl::set_name(c"agent-keeper")?;
    prctl::set_child_subreaper(true)?;
    system::ignore_polite_signals()?;
    warden::child_signals().thread_block()?;
    let signals = SignalFd::with_flags(&warden::child_signals(), SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
    cgroup::sweep();
    let mut host = Some(host);
    let mut wardens = HashSet::new();
    while host.is_some() || !wardens.is_empty() {
        let has_word = {
            let mut awaited = vec![PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
            awaited.extend(host.as_ref().map(|host| PollFd::new(host.as_fd(), PollFlags::POLLIN)));
            let _ = poll(&mut awaited, PollTimeout::NONE);
            awaited.get(1).is_some_and(|host| host.any().unwrap_or(false))
        };
        bury(&signals, &mut wardens);
        if has_word && let Some(from) = &host {
            match wire::receive(from, &mut [0]) {
                Ok((1, descriptors)) => match hand_over(descriptors) {
                    Some(handed) => match system::fork() {
                        Ok(ForkResult::Child) => {
                            drop(host);
                            // A warden of its own hears only of its own children; what was pending for the keeper is not its business.
                            let kept = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| warden::keep(handed, &signals)));
                            std::process::exit(i32::from(!matches!(kept, Ok(Ok(())))));
                        }
                        Ok(ForkResult::Parent { child }) => drop(wardens.insert(child.as_raw())),
                        // The host sees its socket closed.
                        Err(error) => eprintln!("failed to fork a warden: {error}"),
                    },
                    None => eprintln!("the host sent the keeper a message without its descriptors"),
                },
                _ => host = None,
            }
        }
    }
    Ok(())
}

/// Waits for whoever has ended, and kills what a warden that was killed has left behind: a child that is not a warden. What that one leaves comes here in its turn.
fn bury(signals: &SignalFd, wardens: &mut HashSet<i32>) {
    while let Ok(Some(_)) = signals.read_signal() {}
    let mut has_ended = false;
    while let Ok(Some((pid, _))) = system::reap() {
        has_ended = true;
        wardens.remove(&pid);
    }
    if has_ended {
        for stray in children(system::my_pid()).into_iter().filter(|pid| !wardens.contains(pid)) {
            kill_below(stray);
            let _ = kill(Pid::from_raw(stray), Signal::SIGKILL);
        }
    }
}

fn hand_over(descriptors: Vec<OwnedFd>) -> Option<warden::Handed> {
    let mut descriptors = descriptors.into_iter();
    Some(warden::Handed {
        control: descriptors.next()?.into(),
        output: confine::Output { stdout: descriptors.next()?, stderr: descriptors.next()? },
        inside: descriptors.next().map(UnixStream::from),
    })
}

/// The host's side of the keeper: started when the first sandboxed child is, and again should it have been killed.
#[derive(Debug)]
pub(crate) struct Keeper {
    executable: PathBuf,
    socket: Option<UnixStream>,
}

impl Keeper {
    pub(crate) fn new(executable: PathBuf) -> Keeper {
        Keeper { executable, socket: None }
    }

    /// Has a warden forked that owns the descriptors: control socket, standard output, standard error, and the socket into the namespace if there is one.
    pub(crate) fn fork_warden(&mut self, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        if let Some(socket) = &self.socket
            && wire::send(socket, &[1], descriptors).is_ok()
        {
            return Ok(());
        }
        let socket = self.start()?;
        wire::send(&socket, &[1], descriptors)?;
        self.socket = Some(socket);
        Ok(())
    }

    /// No parent-death signal: the keeper outlives the host by the moment that it needs to end what is left.
    fn start(&self) -> io::Result<UnixStream> {
        let (ours, theirs) = UnixStream::pair()?;
        let mut command = tokio::process::Command::new(&self.executable);
        command
            .arg0("agent-keeper")
            .arg(ARGUMENT)
            .env_clear()
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .current_dir("/");
        // Not waited for here: Tokio reaps what was dropped.
        drop(command.spawn()?);
        Ok(ours)
    }
}
