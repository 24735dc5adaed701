//! Looks at an API, mends what is bad, and looks again: one cause may hide another.

use std::collections::BTreeSet;
use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use anyhow::bail;
use frontdesk_deploy::call::Aws;

use super::DoctorArguments;
use crate::control_client::ControlClient;
use crate::diagnosis::{Facts, Finding, Known, Verdict, Wanted, examine, gather, remedy};

/// More causes than this do not hide behind each other.
const ROUNDS_MAX: usize = 6;
/// What was mended may take so long to be in effect.
const SETTLE_MAX: Duration = Duration::from_secs(60);
/// How often it is looked at meanwhile.
const SETTLE_POLL: Duration = Duration::from_millis(250);

/// What is found; with `--fix`, what was mended goes before what is left.
///
/// # Errors
/// When the API cannot be looked at, or nobody is there to be asked.
pub(in crate::commands) async fn look_and_mend(
    aws: &Aws,
    wanted: &Wanted,
    host: Option<&ControlClient>,
    arguments: &DoctorArguments,
    more: impl Fn(&mut Facts),
) -> anyhow::Result<Vec<Finding>> {
    let look = async || {
        let mut facts = gather(aws, wanted).await?;
        more(&mut facts);
        anyhow::Ok(examine(&facts, arguments.key.as_deref()))
    };
    let mut found = look().await?;
    if !arguments.fix {
        return Ok(found);
    }
    let (mut mended, mut tried): (Vec<Finding>, BTreeSet<String>) = (Vec::new(), BTreeSet::new());
    for _ in 0..ROUNDS_MAX {
        let is_open = |finding: &&Finding| finding.verdict == Verdict::Bad && !finding.remedy.is_empty();
        let open: Vec<Finding> = found.iter().filter(is_open).cloned().collect();
        let before = mended.len();
        for finding in open {
            // Once each: what has not helped will not help again, and who has said no is not asked again.
            if !finding.remedy.iter().any(|step| tried.insert(step.tried_as())) || !(arguments.yes || confirm(&finding)?) {
                continue;
            }
            match carry_out(&finding, aws, host).await {
                Ok(()) => mended.push(Finding { verdict: Verdict::Mended, ..finding }),
                Err(error) => eprintln!("frontdesk: {} could not be mended: {error:#}", finding.what),
            }
        }
        if mended.len() == before {
            break;
        }
        settle(aws, wanted).await?;
        found = look().await?;
    }
    mended.append(&mut found);
    Ok(mended)
}

async fn carry_out(finding: &Finding, aws: &Aws, host: Option<&ControlClient>) -> anyhow::Result<()> {
    for step in &finding.remedy {
        remedy::take(step, aws, host).await?;
    }
    Ok(())
}

/// Waits until functions and agents are what they have been told to be.
async fn settle(aws: &Aws, wanted: &Wanted) -> anyhow::Result<()> {
    let unasked = Wanted { question: None, ..wanted.clone() };
    let settled = async {
        loop {
            let facts = gather(aws, &unasked).await?;
            let function_changes = facts.functions().any(|function| function.last_update == "InProgress" || function.state == "Pending");
            let is_changing = |status: &str| ["CREATING", "UPDATING"].contains(&status);
            let agent_changes = facts.agents.values().any(|agent| matches!(agent, Known::Is(agent) if is_changing(&agent.status)));
            if !function_changes && !agent_changes {
                return anyhow::Ok(());
            }
            tokio::time::sleep(SETTLE_POLL).await;
        }
    };
    // What takes longer is told as it then is.
    tokio::time::timeout(SETTLE_MAX, settled).await.unwrap_or(Ok(()))
}

fn confirm(finding: &Finding) -> anyhow::Result<bool> {
    if !std::io::stdin().is_terminal() {
        bail!("nobody is there to be asked: --yes mends without asking");
    }
    eprintln!("{}: {}", finding.what, finding.said);
    for step in &finding.remedy {
        eprintln!("  {}", step.line);
    }
    eprint!("Run it? [y/N] ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
