//! `frontdesk doctor`: goes through what may be wrong, as a troubleshooting list would have you do, says what to do about it, and with `--fix` does it.

mod mend;
mod of_host;

use clap::Args;

use crate::diagnosis::{Finding, Verdict};
use crate::settings::Settings;

/// The flags of `doctor`.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit code: 0 when nothing is bad, or all of it has been mended; 1 when something bad is left, or the API could not be looked at at all."
)]
pub(crate) struct DoctorArguments {
    #[command(flatten)]
    on_aws: super::on_aws::OnAws,
    /// Why this key opens nothing: its id or name [default: all keys]
    #[arg(long, value_name = "KEY")]
    pub(super) key: Option<String>,
    /// Another API than the agent's own: its id
    #[arg(long, value_name = "ID")]
    pub(super) api: Option<String>,
    /// The stage that callers use [default: the API's only one, else prod]
    #[arg(long, value_name = "NAME")]
    pub(super) stage: Option<String>,
    /// Do not ask the agent and its function a question, which may cost a call of a model
    #[arg(long)]
    pub(super) no_question: bool,
    /// Run the commands that mend what is bad; each is asked about first
    #[arg(long)]
    pub(super) fix: bool,
    /// With --fix: do not ask
    #[arg(long, requires = "fix")]
    pub(super) yes: bool,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// Looks, tells and mends.
///
/// # Errors
/// When something is bad, so that a script learns of it.
pub(crate) fn run(arguments: &DoctorArguments, settings: &Settings) -> anyhow::Result<()> {
    let findings = super::block_on(async {
        match arguments.on_aws.place()? {
            Some(place) => super::on_aws::doctor::findings(place, arguments, settings).await,
            None => of_host::findings(arguments, settings).await,
        }
    })?;
    tell(&findings, arguments.json)
}

impl DoctorArguments {
    /// What agents and functions are asked.
    pub(super) fn question(&self) -> Option<&'static str> {
        (!self.no_question).then_some("test")
    }
}

pub(super) use mend::look_and_mend;

/// Prints what was found.
///
/// # Errors
/// When something is bad.
fn tell(findings: &[Finding], json: bool) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(findings)?);
    } else {
        for Finding { what, verdict, said, remedy, .. } in findings {
            let mark = match verdict {
                Verdict::Good => "ok  ",
                Verdict::Lacking => "less",
                Verdict::Bad => "BAD ",
                Verdict::Mended => "FIX ",
            };
            println!("{mark}  {what}: {}", said.replace('\n', "\n      "));
            let done = if *verdict == Verdict::Mended { "ran:" } else { "mend:" };
            for step in remedy {
                println!("      {done} {}", step.line);
            }
        }
    }
    let bad: Vec<&Finding> = findings.iter().filter(|finding| finding.verdict == Verdict::Bad).collect();
    let hint = if bad.iter().any(|finding| !finding.remedy.is_empty()) { ": --fix mends what has a command" } else { "" };
    match bad.len() {
        0 => Ok(()),
        1 => anyhow::bail!("one thing is bad{hint}"),
        many => anyhow::bail!("{many} things are bad{hint}"),
    }
}
