//! `frontdesk undeploy`: removes from AWS what `deploy` has put there, and says what stays.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use anyhow::bail;
use clap::Args;
use frontdesk_deploy::deployer::{Deployer, undeploy};
use frontdesk_deploy::stack::StackName;

use super::deploy::Shown;
use super::on_aws::AwsArguments;
use crate::settings::Settings;

/// The flags of `undeploy`.
#[derive(Debug, Args)]
pub(crate) struct UndeployArguments {
    #[command(flatten)]
    aws: AwsArguments,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// Removes.
pub(crate) fn run(arguments: &UndeployArguments, settings: &Settings) -> anyhow::Result<()> {
    let name = StackName::new(&settings.deploy.stack_name)?;
    super::block_on(async {
        let aws = arguments.aws.connect(settings).await?;
        let deployer = Deployer { aws: &aws, pause: arguments.aws.pause() };
        let account = deployer.account().await?;
        let lines = [
            ("Account", account.id.clone()),
            ("As", account.arn.clone()),
            ("Region", aws.region().to_owned()),
            ("Stack", name.to_string()),
        ];
        super::print_lines(&lines);
        if !arguments.yes {
            confirm(&name)?;
        }
        let mut shown = Shown::default();
        let work = async { Ok(undeploy(&deployer, &account, &name, &mut |event| shown.show(event)).await?) };
        let said = || {
            format!(
                "interrupted: what CloudFormation has begun to remove of the stack {name} it removes by itself. `frontdesk undeploy`, run again, removes the rest"
            )
        };
        let done = super::on_aws::unless_interrupted(work, said).await?;
        if done.removed.is_empty() {
            println!("There is nothing to remove.");
        }
        for removed in done.removed {
            println!("Removed: {removed}");
        }
        for kept in done.kept {
            println!("Kept: {}: {}", kept.what, kept.why);
        }
        Ok(())
    })
}

/// The stack's name, typed: what is removed is gone, with its keys and logs.
fn confirm(name: &StackName) -> anyhow::Result<()> {
    if !std::io::stdin().is_terminal() {
        bail!("undeploy removes the stack {name} with its keys and logs for good: --yes does so without a question");
    }
    print!("This removes the stack with its keys and logs for good. Its name, to go on: ");
    std::io::stdout().flush()?;
    let mut typed = String::new();
    std::io::stdin().lock().read_line(&mut typed)?;
    if typed.trim() != name.as_str() {
        bail!("that is not {name}: nothing was removed");
    }
    Ok(())
}
