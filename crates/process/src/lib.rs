//! Child programs: they are started, kept apart, read and ended, and none outlives the host.
//!
//! This crate refuses to know what the programs are for. It starts a program in a process group of its own and, where a [`Sandbox`] says so, with folders, privileges and
//! limits of its own; it reads what the program prints into a bounded tail and a log file, tells when it ended and how, and ends it with all that it started: politely
//! first, then not.
//!
//! On Linux a sandboxed child needs a keeper: this executable started once more. So `main` must call [`supervise_if_asked`] before anything else.

mod child;
mod enforcement;
#[cfg(target_os = "linux")]
mod keeper;
mod output;
#[cfg(target_os = "linux")]
mod process_tree;
mod sandbox;
mod spawner;

pub use child::{Child, Ended};
pub use enforcement::{Enforcement, enforcement};
#[cfg(target_os = "linux")]
pub use keeper::supervise_if_asked;
pub use output::{LineListener, LogFile, OutputStream};
pub use sandbox::{Isolation, Limits, Sandbox, SandboxUser, Usage};
pub use spawner::{ChildSpec, SpawnError, Spawner};

/// Does nothing outside Linux, where no child is sandboxed.
#[cfg(not(target_os = "linux"))]
pub fn supervise_if_asked() {}
