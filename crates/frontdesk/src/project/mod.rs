//! What the command line knows of agents that people bring: their projects' files, what they are named, and how a file becomes a program that a host can run.
//!
//! Nothing here talks to a host; it knows documents to send to one. What is made lies in the programs folder, outside the host's data folder, which no agent may see.

pub(crate) mod container;
pub(crate) mod entry_point;
mod files;
pub(crate) mod name;
mod node;
mod npm_project;
pub(crate) mod prepare;
mod python;
#[cfg(feature = "deploy")]
pub(crate) mod python_code;
mod run_tool;
mod source_copy;
mod toolkit_file;
mod yaml;

pub(crate) use files::{Agent, OwnSettings, Project};
pub(crate) use toolkit_file::{Configured, ToolkitFile};
