//! Child programs: one permanent thread spawns them, their output is kept, and none outlives the host.
//!
//! This crate refuses to know what the programs are for. It starts a program in a process group of its own, reads what it prints into a bounded
//! tail and a log file, tells when it ended and how, and ends it: politely first, then not.

mod child;
mod output;
mod spawner;

pub use child::{Child, Ended};
pub use output::{LineListener, LogFile};
pub use spawner::{ChildSpec, SpawnError, Spawner};
