//! `frontdesk exec -- CMD`: becomes a command whose AWS is the running host. Its exit code and its signals are its own, for nothing stands between.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::Context as _;
use clap::Args;

use crate::control_client::ControlClient;
use crate::exec_environment;
use crate::settings::Settings;

/// Exit codes of a command that could not be started, as env(1) and shells have them.
const NOT_FOUND: i32 = 127;
const NOT_EXECUTABLE: i32 = 126;
/// The name by which this program is AgentCore's toolkit.
pub(crate) const TOOLKIT: &str = "agentcore";

/// The flags of `exec`.
#[derive(Debug, Args)]
pub(crate) struct ExecArguments {
    /// The command and its arguments, such as `-- bash`
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "CMD")]
    command: Vec<OsString>,
    /// Leave AWS_ENDPOINT_URL out: SDKs call AWS's own names then, and come here by the proxy
    #[arg(long)]
    proxy_only: bool,
}

/// Becomes the command; returns only where that fails.
pub(crate) fn run(arguments: &ExecArguments, settings: &Settings) -> anyhow::Result<()> {
    let Some((program, rest)) = arguments.command.split_first() else { return Ok(()) };
    let mut variables = exec_environment::prepare(settings, std::env::vars_os())?;
    // A host that was killed leaves its file behind; better to say so than to have each call fail.
    super::block_on(async { ControlClient::new(settings)?.status().await })?;
    if arguments.proxy_only {
        variables.retain(|(name, _)| name != "AWS_ENDPOINT_URL");
        variables.push(("AWS_ENDPOINT_URL".to_owned(), None));
    }
    let path = path_with_toolkit(&exec_environment::folder(settings)?.join("bin"))?;
    let mut command = Command::new(program);
    command.args(rest).env("PATH", path);
    for (name, value) in variables {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let error = command.exec();
    eprintln!("frontdesk: failed to run {}: {error}", Path::new(program).display());
    std::process::exit(if error.kind() == ErrorKind::NotFound { NOT_FOUND } else { NOT_EXECUTABLE })
}

/// `PATH` with a folder before it in which this program has the toolkit's name.
fn path_with_toolkit(folder: &Path) -> anyhow::Result<OsString> {
    let link = folder.join(TOOLKIT);
    let program = std::env::current_exe().context("failed to find this program's own file")?;
    if std::fs::read_link(&link).ok().as_ref() != Some(&program) {
        let make = || -> std::io::Result<()> {
            std::fs::create_dir_all(folder)?;
            let beside = folder.join(format!(".{TOOLKIT}-{}", std::process::id()));
            std::os::unix::fs::symlink(&program, &beside)?;
            // Over the one of another version, which somebody may be about to start.
            std::fs::rename(&beside, &link)
        };
        make().with_context(|| format!("failed to make the link {}", link.display()))?;
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(folder.to_owned()).chain(std::env::split_paths(&path).filter(|found| found != folder));
    std::env::join_paths(folders).with_context(|| format!("the folder {} cannot stand in PATH", folder.display()))
}
