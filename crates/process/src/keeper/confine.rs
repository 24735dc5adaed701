//! The last steps of a process before it becomes the program: it gives up, one after the other, all that the program shall not have.

use std::ffi::{CString, OsStr};
use std::fmt;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{Gid, Uid, chdir, dup2_stderr, dup2_stdin, dup2_stdout, execve, getppid, setgid, setgroups, setsid, setuid};

use super::cgroup::{ControlGroups, Controller};
use super::wire::{Order, Report};
use super::{files, namespace, system};
use crate::sandbox::Isolation;

/// Where the program's output goes.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
}

/// A step that failed.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) errno: i32,
    pub(super) what: String,
}

/// Says which step an error belongs to.
pub(super) trait During<T> {
    fn during(self, what: impl fmt::Display) -> Result<T, Refusal>;
}

impl<T, E: Into<io::Error>> During<T> for Result<T, E> {
    fn during(self, what: impl fmt::Display) -> Result<T, Refusal> {
        self.map_err(|error| {
            let error = error.into();
            Refusal { errno: error.raw_os_error().unwrap_or_default(), what: format!("failed to {what}") }
        })
    }
}

impl Refusal {
    pub(super) fn report(self) -> Report {
        Report::Refused { errno: self.errno, what: self.what }
    }
}

/// Becomes the program, or tells through `failed` why not and ends.
///
/// The control groups are entered here, but in a namespace, whose first process has entered them.
pub(super) fn become_program(order: &Order, output: &Output, groups: &ControlGroups, parent: i32, failed: OwnedFd) -> ! {
    let Err(refusal) = confine_and_execute(order, output, groups, parent);
    let frame = refusal.report().to_frame().unwrap_or_default();
    let _ = std::fs::File::from(failed).write_all(&frame);
    std::process::exit(127);
}

fn confine_and_execute(order: &Order, output: &Output, groups: &ControlGroups, parent: i32) -> Result<std::convert::Infallible, Refusal> {
    let sandbox = &order.sandbox;
    setsid().during("begin a session")?;
    let is_namespace = sandbox.isolation == Isolation::Namespace;
    if !is_namespace {
        groups.enter().during("enter the control group")?;
    }
    // The first process of a namespace has made the mounts before. Else they are had where they can be: Landlock hides folders too.
    let has_own_mounts = is_namespace || (namespace::is_privileged() && namespace::own_mounts(order).is_ok());
    let rules = files::rules(order, has_own_mounts)
        .map_err(|error| Refusal { errno: 0, what: format!("failed to make Landlock's rules: {error}") })?;
    match sandbox.user {
        Some(user) => {
            setgroups(&[]).during("leave the host's groups")?;
            setgid(Gid::from_raw(user.gid)).during("take the group of its own")?;
            setuid(Uid::from_raw(user.uid)).during("take the user of its own")?;
        }
        // Of an ordinary user executing takes them away by itself. Some containers' root cannot, and has few.
        None if Uid::effective().is_root() && system::has_capability(system::SET_PCAP) => {
            system::drop_capabilities().during("drop capabilities")?
        }
        None => {}
    }
    // Only now: changing the user forgets it.
    prctl::set_pdeathsig(Signal::SIGKILL).during("follow its warden")?;
    if getppid().as_raw() != parent {
        return Err(Refusal { errno: 0, what: "failed to follow its warden, which is gone".to_owned() });
    }
    if let Some(working_dir) = &order.working_dir {
        chdir(working_dir).during(format_args!("enter {}", working_dir.display()))?;
    }
    let nothing = system::nothing_to_read().during("open /dev/null")?;
    let program = c_string(order.program.as_os_str())?;
    let mut arguments = vec![program.clone()];
    for argument in &order.arguments {
        arguments.push(c_string(argument)?);
    }
    let mut environment = Vec::new();
    for (name, value) in &order.environment {
        environment.push(c_string(OsStr::from_bytes(&[name.as_bytes(), b"=", value.as_bytes()].concat()))?);
    }
    // This sets no_new_privs too, on a kernel without Landlock as well.
    rules.restrict_self().map_err(|error| Refusal { errno: 0, what: format!("failed to enforce Landlock's rules: {error}") })?;
    // What has been opened so far need not fit into the limit.
    limit(order, groups).during("set limits")?;
    dup2_stdin(&nothing).during("close standard input")?;
    dup2_stdout(&output.stdout).during("redirect standard output")?;
    dup2_stderr(&output.stderr).during("redirect standard error")?;
    system::default_polite_signals().during("reset signals")?;
    SigSet::empty().thread_set_mask().during("reset signals")?;
    system::close_on_exec_all().during("close descriptors")?;
    let Err(errno) = execve(&program, &arguments, &environment);
    Err(Refusal { errno: errno as i32, what: String::new() })
}

fn c_string(text: &OsStr) -> Result<CString, Refusal> {
    CString::new(text.as_bytes())
        .map_err(|_| Refusal { errno: Errno::EINVAL as i32, what: "failed to pass a text with a zero byte".to_owned() })
}

/// Limits of a process. None on memory: address space is not memory, and Node and torch reserve plenty of the one to use little of the other.
fn limit(order: &Order, groups: &ControlGroups) -> nix::Result<()> {
    let limits = &order.sandbox.limits;
    let lower = |resource, wanted: u64| {
        // Without privileges the hard limit is a ceiling.
        let (_, hard) = nix::sys::resource::getrlimit(resource)?;
        setrlimit(resource, wanted.min(hard), wanted.min(hard))
    };
    lower(Resource::RLIMIT_CORE, 0)?;
    if let Some(files) = limits.open_files {
        lower(Resource::RLIMIT_NOFILE, files)?;
    }
    if let Some(bytes) = limits.file_bytes {
        lower(Resource::RLIMIT_FSIZE, bytes)?;
    }
    // The kernel counts by user: this is only true for a user that is the child's alone. A control group counts better, and tells that it did.
    if let (Some(processes), Some(_)) = (limits.processes, order.sandbox.user)
        && !groups.has(Controller::Pids)
    {
        lower(Resource::RLIMIT_NPROC, u64::from(processes))?;
    }
    Ok(())
}
