//! The commands that look at a host, looking at the stack on AWS instead: `--aws`.

pub(super) mod doctor;
pub(super) mod invoke;
pub(super) mod keys;
pub(super) mod logs;
pub(super) mod status;
pub(super) mod usage;

use std::time::Duration;

use anyhow::bail;
use clap::Args;
use frontdesk_deploy::call::{Aws, AwsOptions};
use frontdesk_deploy::deployer::{Deployer, stacks::Stack};
use frontdesk_deploy::stack::StackName;

use crate::settings::Settings;

/// Between two looks at what takes its time.
const PAUSE: Duration = Duration::from_secs(3);

/// Where on AWS, and as whom.
#[derive(Debug, Args)]
pub(crate) struct AwsArguments {
    /// Region on AWS [default: deploy.region, else the one of the environment or profile]
    #[arg(long, global = true, value_name = "REGION")]
    region: Option<String>,
    /// Profile of ~/.aws/config
    #[arg(long, global = true, value_name = "NAME")]
    profile: Option<String>,
    /// One address for every call, in the place of AWS
    #[arg(long, global = true, value_name = "URL")]
    endpoint: Option<String>,
    /// Milliseconds between two looks at what takes its time
    #[arg(long, global = true, value_name = "MS", hide = true)]
    pause_ms: Option<u64>,
}

impl AwsArguments {
    /// Finds credentials and region, as every AWS tool does.
    pub(crate) async fn connect(&self, settings: &Settings) -> anyhow::Result<Aws> {
        let options = AwsOptions {
            profile: self.profile.clone(),
            region: self.region.clone().or_else(|| settings.deploy.region.clone()),
            endpoint: self.endpoint.clone(),
        };
        Ok(Aws::from_environment(&options).await?)
    }

    /// Between two looks.
    pub(crate) fn pause(&self) -> Duration {
        self.pause_ms.map_or(PAUSE, Duration::from_millis)
    }

    /// The stack of the settings, which must be there.
    async fn stack(&self, settings: &Settings) -> anyhow::Result<(Aws, StackName, Stack)> {
        let name = StackName::new(&settings.deploy.stack_name)?;
        let aws = self.connect(settings).await?;
        let stack = Deployer { aws: &aws, pause: self.pause() }.stack(&name).await?;
        Ok((aws, name, stack))
    }
}

/// Runs something that takes its time, and ends with `said` on Ctrl-C: what is under way at AWS goes on without us, and whoever interrupts must know.
///
/// # Errors
/// `work`'s own, and `said`.
pub(super) async fn unless_interrupted<T>(
    work: impl Future<Output = anyhow::Result<T>>,
    said: impl FnOnce() -> String,
) -> anyhow::Result<T> {
    tokio::select! {
        done = work => done,
        () = agentcore::interrupted() => Err(anyhow::Error::msg(said())),
    }
}

/// The choice between a host and the stack.
#[derive(Debug, Args)]
pub(crate) struct OnAws {
    /// Of the stack on AWS, instead of the host here
    #[arg(long, global = true)]
    aws: bool,
    #[command(flatten)]
    place: AwsArguments,
}

impl OnAws {
    /// Where on AWS, if it is AWS that is meant.
    ///
    /// # Errors
    /// When a flag is given that only AWS has a use for.
    pub(crate) fn place(&self) -> anyhow::Result<Option<&AwsArguments>> {
        let AwsArguments { region, profile, endpoint, .. } = &self.place;
        if !self.aws && (region.is_some() || profile.is_some() || endpoint.is_some()) {
            bail!("--region, --profile and --endpoint are for --aws");
        }
        Ok(self.aws.then_some(&self.place))
    }
}
