//! Other people's programs that are run to their end while somebody waits: interpreters that are asked who they are, installers.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

/// Lines of a failed tool's output that are told.
const LINES_TOLD: usize = 20;

/// Finds a program on `PATH`.
pub(super) fn find(name: &str) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt as _;
    let is_program = |file: &PathBuf| std::fs::metadata(file).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0);
    std::env::split_paths(&std::env::var_os("PATH")?).map(|folder| folder.join(name)).find(is_program)
}

/// Runs a program and gives back what it printed.
pub(super) fn ask(program: &Path, arguments: &[&str]) -> anyhow::Result<String> {
    let ran = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let ran = ran.with_context(|| format!("failed to run {}", program.display()))?;
    if !ran.status.success() {
        bail!("{} failed ({}): {}", program.display(), ran.status, String::from_utf8_lossy(&ran.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&ran.stdout).trim().to_owned())
}

/// Runs a program that takes its time: on a terminal its own progress is seen, elsewhere the end of its output if it fails.
pub(super) fn show(command: &mut Command, what: &str) -> anyhow::Result<()> {
    command.stdin(Stdio::null());
    if std::io::stderr().is_terminal() {
        // What it says is progress, no result: standard output is for results.
        command.stdout(std::io::stderr());
        let status = command.status().with_context(|| format!("failed to run {}", command.get_program().display()))?;
        if !status.success() {
            bail!("{what} failed ({status})");
        }
        return Ok(());
    }
    let ran = command.output().with_context(|| format!("failed to run {}", command.get_program().display()))?;
    if !ran.status.success() {
        let output = [ran.stdout, ran.stderr].concat();
        let output = String::from_utf8_lossy(&output);
        let lines: Vec<&str> = output.lines().collect();
        bail!("{what} failed ({}):\n{}", ran.status, lines[lines.len().saturating_sub(LINES_TOLD)..].join("\n"));
    }
    Ok(())
}
