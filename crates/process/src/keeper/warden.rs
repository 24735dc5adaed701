//! A warden: the process between the host and one program. It starts the program in its sandbox, adopts whatever the program lets go of, watches the limits, and
//! ends all of it when the program ends, when a limit is passed, when the host says so or when the host is gone.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal, killpg};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::{ForkResult, Pid, pipe2, setsid};

use super::cgroup::ControlGroups;
use super::confine::{During as _, Output, Refusal, become_program};
use super::watch::{self, Watch};
use super::wire::{self, Order, Report};
use super::{namespace, system};
use crate::process_tree::{children, kill_below};
use crate::sandbox::Isolation;

/// Between two rounds of killing, while the kernel takes down what was killed.
const ROUND: Duration = Duration::from_millis(5);
/// Rounds before what does not die (it hangs in the kernel) is left to its fate: ten seconds.
const ROUNDS_MAX: u32 = 2000;

/// What the host hands over for one program.
pub(super) struct Handed {
    pub(super) control: UnixStream,
    pub(super) output: Output,
    /// Where the host asks for sockets inside a network namespace.
    pub(super) inside: Option<UnixStream>,
}

/// A program that has been started.
struct Started {
    /// The program, which is also the id of its process group.
    program: i32,
    /// Our own child: the program, or the first process of its namespace.
    first: i32,
    /// How the program ended, from the first process of its namespace.
    told: Option<fs::File>,
    watch: Watch,
}

/// Keeps one program until nothing of it is left. Reports go to the host; an error means that the host is gone.
pub(super) fn keep(handed: Handed, signals: &SignalFd) -> io::Result<()> {
    setsid()?;
    prctl::set_name(c"agent-warden")?;
    prctl::set_child_subreaper(true)?;
    let Handed { control, output, inside } = handed;
    let order = Order::parse(&wire::read_frame(&control)?)?;
    let isolation = order.sandbox.isolation;
    let mut started = match start(&order, output, inside, &control) {
        Ok(started) => started,
        Err(refusal) => {
            end_all(&mut Vec::new());
            return (&control).write_all(&refusal.report().to_frame()?);
        }
    };
    let report = Report::Started { pid: started.program, warden: system::my_pid() };
    let told = (&control).write_all(&report.to_frame()?);
    let file_bytes = order.sandbox.limits.file_bytes;
    drop(order);
    let mut ended = Vec::new();
    let reason = told.map_or(None, |()| until_it_must_end(&mut started, isolation, &control, signals, &mut ended));
    end_all(&mut ended);
    let mut status = ended.iter().find(|(pid, _)| *pid == started.first).map_or(0, |(_, status)| *status);
    if let Some(told) = &mut started.told {
        let mut bytes = [0; 4];
        // Nothing is told where the first process was killed, by us or for want of memory; then its own end is the program's.
        if told.read_exact(&mut bytes).is_ok() {
            status = i32::from_le_bytes(bytes);
        }
    }
    let reason = reason.or_else(|| started.watch.what_the_kernel_saw()).or_else(|| {
        let wrote_too_much = nix::libc::WIFSIGNALED(status) && nix::libc::WTERMSIG(status) == nix::libc::SIGXFSZ;
        file_bytes.filter(|_| wrote_too_much).map(watch::too_long_a_file)
    });
    // The control groups are removed before the host hears of the end.
    drop(started);
    (&control).write_all(&Report::Ended { status, reason }.to_frame()?)
}

/// Starts the program, by way of the first process of its namespace where it gets one.
fn start(order: &Order, output: Output, inside: Option<UnixStream>, control: &UnixStream) -> Result<Started, Refusal> {
    make_private_dirs(order)?;
    let is_namespace = order.sandbox.isolation == Isolation::Namespace;
    let groups = ControlGroups::make(&order.sandbox.limits, u32::from(is_namespace));
    let (failed, fails) = pipe2(OFlag::O_CLOEXEC).during("make a pipe")?;
    let (told, tells) = pipe2(OFlag::O_CLOEXEC).during("make a pipe")?;
    let me = system::my_pid();
    if is_namespace {
        namespace::prepare_processes().during("make a process namespace")?;
    }
    let first = match system::fork().during("fork")? {
        ForkResult::Child => {
            // A copy of the control socket would hide our end from the host.
            let _ = nix::unistd::close(control.as_raw_fd());
            if is_namespace {
                first_process(order, &output, inside, &groups, fails, tells)
            } else {
                become_program(order, &output, &groups, me, fails)
            }
        }
        ForkResult::Parent { child } => child.as_raw(),
    };
    drop((fails, tells, output, inside));
    // Nothing comes when the program is executed, for that closes the pipe.
    let mut failed = fs::File::from(failed);
    let mut frame = Vec::new();
    failed.read_to_end(&mut frame).during("hear how it started")?;
    if !frame.is_empty() {
        return match wire::read_frame(frame.as_slice()).and_then(|frame| Report::parse(&frame)) {
            Ok(Report::Refused { errno, what }) => Err(Refusal { errno, what }),
            _ => Err(Refusal { errno: 0, what: "failed to hear how it started".to_owned() }),
        };
    }
    let program = if is_namespace { children(first).first().copied().unwrap_or(first) } else { first };
    Ok(Started { program, first, told: is_namespace.then(|| fs::File::from(told)), watch: Watch::new(&order.sandbox, groups) })
}

/// Makes the private folders, and gives them to the user that is to write there.
fn make_private_dirs(order: &Order) -> Result<(), Refusal> {
    for folder in &order.sandbox.private_dirs {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.during(format_args!("make {}", folder.display()))?;
        if let Some(user) = order.sandbox.user {
            std::os::unix::fs::chown(folder, Some(user.uid), Some(user.gid)).during(format_args!("give away {}", folder.display()))?;
            fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).during(format_args!("close {}", folder.display()))?;
        }
    }
    Ok(())
}

/// The first process of a namespace: starts the program, adopts and waits for what has lost its parent, opens sockets for the host, and tells how the program ended.
/// When it ends, the kernel kills all that is left in the namespace.
fn first_process(order: &Order, output: &Output, inside: Option<UnixStream>, groups: &ControlGroups, fails: OwnedFd, tells: OwnedFd) -> ! {
    let prepared = || -> Result<SignalFd, Refusal> {
        prctl::set_name(c"agent-first").during("take its name")?;
        prctl::set_pdeathsig(Signal::SIGKILL).during("follow its warden")?;
        // Should the warden be gone already, then this is a stray, and the keeper ends it.
        groups.enter().during("enter the control group")?;
        namespace::own_network().during("make a network namespace")?;
        namespace::own_mounts(order).during("make a mount namespace")?;
        namespace::own_proc();
        SignalFd::with_flags(&child_signals(), SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).during("hear of its children")
    };
    let program = prepared().and_then(|signals| {
        let me = system::my_pid();
        match system::fork().during("fork")? {
            ForkResult::Child => {
                let Ok(fails) = fails.try_clone() else { std::process::exit(127) };
                become_program(order, output, groups, me, fails)
            }
            ForkResult::Parent { child } => Ok((child.as_raw(), signals)),
        }
    });
    let (program, signals) = match program {
        Ok(started) => started,
        Err(refusal) => {
            let _ = fs::File::from(fails).write_all(&refusal.report().to_frame().unwrap_or_default());
            std::process::exit(127);
        }
    };
    drop(fails);
    for stream in [&output.stdout, &output.stderr] {
        // The host reads to the end of the output, so nobody but the program may hold it.
        let _ = nix::unistd::close(stream.as_raw_fd());
    }
    let mut inside = inside;
    loop {
        let asked = {
            let mut awaited = vec![PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
            awaited.extend(inside.as_ref().map(|host| PollFd::new(host.as_fd(), PollFlags::POLLIN)));
            let _ = poll(&mut awaited, PollTimeout::NONE);
            awaited.get(1).is_some_and(|host| host.any().unwrap_or(false))
        };
        while let Ok(Some(_)) = signals.read_signal() {}
        while let Ok(Some((pid, status))) = system::reap() {
            if pid == program {
                let _ = fs::File::from(tells).write_all(&status.to_le_bytes());
                std::process::exit(0);
            }
        }
        if asked && inside.as_ref().is_some_and(|host| !namespace::serve(host)) {
            inside = None;
        }
    }
}

/// Waits until the program ends, a limit is passed (the reason is given), the host says so or is gone.
fn until_it_must_end(
    started: &mut Started,
    isolation: Isolation,
    control: &UnixStream,
    signals: &SignalFd,
    ended: &mut Vec<(i32, i32)>,
) -> Option<String> {
    loop {
        let timeout = started.watch.pause().map_or(PollTimeout::NONE, |pause| PollTimeout::try_from(pause).unwrap_or(PollTimeout::MAX));
        let (has_signal, has_word) = {
            let mut awaited = [PollFd::new(signals.as_fd(), PollFlags::POLLIN), PollFd::new(control.as_fd(), PollFlags::POLLIN)];
            match poll(&mut awaited, timeout) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(_) => return None,
            }
            (awaited[0].any().unwrap_or(false), awaited[1].any().unwrap_or(false))
        };
        if has_signal {
            reap_all(signals, ended);
            if ended.iter().any(|(pid, _)| *pid == started.first) {
                return None;
            }
            // Only the end of our own child is of interest later.
            ended.clear();
        }
        if has_word {
            let mut word = [0];
            match (&mut &*control).read(&mut word) {
                Ok(1) if word[0] == wire::TERMINATE => drop(killpg(Pid::from_raw(started.program), Signal::SIGTERM)),
                // To kill, or the host is gone.
                _ => return None,
            }
        } else if let Some(reason) = started.watch.look(system::my_pid(), isolation) {
            return Some(reason);
        }
    }
}

fn reap_all(signals: &SignalFd, ended: &mut Vec<(i32, i32)>) {
    while let Ok(Some(_)) = signals.read_signal() {}
    while let Ok(Some(reaped)) = system::reap() {
        ended.push(reaped);
    }
}

/// Kills and waits for everything below this process.
fn end_all(ended: &mut Vec<(i32, i32)>) {
    for _ in 0..ROUNDS_MAX {
        let was_any = kill_below(system::my_pid());
        loop {
            match system::reap() {
                Ok(Some(reaped)) => ended.push(reaped),
                Ok(None) => break,
                // No child is left, so nothing is.
                Err(_) => return,
            }
        }
        if was_any {
            std::thread::sleep(Duration::from_millis(1));
        } else {
            std::thread::sleep(ROUND);
        }
    }
}

/// The signal that tells of children: blocked, and read from a descriptor instead.
pub(super) fn child_signals() -> SigSet {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGCHLD);
    signals
}
