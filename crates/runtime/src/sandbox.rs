//! What a runtime's configuration means for the sandbox of its processes.

use std::path::{Path, PathBuf};

use frontdesk_process::{Isolation, Limits, Sandbox, SandboxUser};
use frontdesk_store::{IsolationLevel, LocalProgram, ResourceLimits, RuntimeConfiguration};

/// What AgentCore gives a session: 2 vCPUs and 8 GB (<https://docs.aws.amazon.com/bedrock-agentcore/latest/devguide/bedrock-agentcore-limits.html>).
/// It names no number of processes and files; ours end a fork bomb and a leak long before the machine feels them.
const DEFAULT_LIMITS: Limits =
    Limits { memory_bytes: Some(8 << 30), processes: Some(1024), open_files: Some(4096), file_bytes: None, cpus: Some(2.0) };

/// The sandbox of one process, which may write to `folder` alone and read nothing of `hidden`, as a user of its own if it has one.
pub(crate) fn of(
    configuration: &RuntimeConfiguration,
    program: &LocalProgram,
    folder: &Path,
    hidden: &[PathBuf],
    user: Option<SandboxUser>,
) -> Sandbox {
    let isolation = match configuration.isolation {
        IsolationLevel::None => return Sandbox::default(),
        IsolationLevel::Process => Isolation::Process,
        IsolationLevel::Namespace => Isolation::Namespace,
    };
    Sandbox {
        isolation,
        limits: limits(&configuration.limits),
        private_dirs: vec![folder.to_owned()],
        readable: program.readable.clone(),
        hidden: hidden.to_vec(),
        user,
    }
}

fn limits(wanted: &ResourceLimits) -> Limits {
    Limits {
        memory_bytes: wanted.memory_bytes.or(DEFAULT_LIMITS.memory_bytes),
        processes: wanted.processes.or(DEFAULT_LIMITS.processes),
        open_files: wanted.open_files.or(DEFAULT_LIMITS.open_files),
        file_bytes: DEFAULT_LIMITS.file_bytes,
        cpus: wanted.cpus.or(DEFAULT_LIMITS.cpus),
    }
}

/// The sandbox that sessions get where nobody asks for anything else.
#[must_use]
pub fn default_sandbox() -> Sandbox {
    Sandbox { isolation: Isolation::Process, limits: DEFAULT_LIMITS, ..Sandbox::default() }
}
