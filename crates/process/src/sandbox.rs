//! What a child may do, in words that know no kernel: how far it is kept apart, what it may see and write, how much of the machine it may use.

use std::path::PathBuf;
use std::time::Duration;

/// How a child is kept apart from the host and from other children. The default is [`Isolation::None`], without limits.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sandbox {
    /// How far it is kept apart. At [`Isolation::None`] nothing else of this counts.
    pub isolation: Isolation,
    /// How much of the machine the child and all that it starts may use together.
    pub limits: Limits,
    /// Folders that it may write to, made with mode 0700 where they are missing and given to `user`. The caller points `HOME` and `TMPDIR` at them.
    pub private_dirs: Vec<PathBuf>,
    /// Folders and files that it may read and execute besides the system's, its program and its working folder: a language's installation, the agent's code.
    pub readable: Vec<PathBuf>,
    /// Folders that it may not read, though they lie in one that it may. What is named above and lies deeper stays open.
    pub hidden: Vec<PathBuf>,
    /// The user that it runs as, where the host is root. Let it be this child's alone: the kernel counts processes by user.
    pub user: Option<SandboxUser>,
}

/// How far a child is kept apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Isolation {
    /// A process group of its own, and an end with the host. What it starts and lets go of may outlive both.
    #[default]
    None,
    /// Session and process group, folders, privileges and limits of its own. All that it starts ends with it.
    Process,
    /// As `Process`, in process, network and mount namespaces of its own: it sees no process but its own and no network but its loopback.
    Namespace,
}

/// Upper limits on a child together with all that it starts, but for `open_files` and `file_bytes`, which count for each process or file.
/// `None`: as much as the host may use.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Limits {
    /// Resident memory. Whoever uses more is ended.
    pub memory_bytes: Option<u64>,
    /// Processes and threads, which the kernel counts alike. Whoever reaches for more is ended.
    pub processes: Option<u32>,
    /// Open files of each process.
    pub open_files: Option<u64>,
    /// Size of each file written.
    pub file_bytes: Option<u64>,
    /// Processors, as a number that may have a fraction. Whoever wants more waits.
    pub cpus: Option<f64>,
}

/// A user of the operating system, which need not have a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SandboxUser {
    /// User id.
    pub uid: u32,
    /// Group id, the only group it is in.
    pub gid: u32,
}

/// What a child and all that it started use at the moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Resident memory. Pages that several processes share count for each.
    pub resident_bytes: u64,
    /// Processor time so far, of what has ended too.
    pub cpu: Duration,
    /// Running processes.
    pub processes: u32,
}
