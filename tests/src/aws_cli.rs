//! Version 2 of the aws CLI, which stands in the path behind version 1: PyPI has only that one, and the tests' virtual environment goes first.

use std::path::PathBuf;
use std::process::Command;

/// The program.
///
/// # Panics
/// When this machine has none.
#[must_use]
pub fn version_2() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_it = |program: &PathBuf| {
        Command::new(program).arg("--version").output().is_ok_and(|ran| String::from_utf8_lossy(&ran.stdout).starts_with("aws-cli/2"))
    };
    let programs = std::env::split_paths(&path).map(|folder| folder.join("aws")).filter(|program| program.exists());
    programs.into_iter().find(is_it).expect("no aws of version 2 is in the path: tests/install-tools.sh installs it")
}
