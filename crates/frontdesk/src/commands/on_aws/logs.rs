//! `frontdesk logs --aws`: what the agent's sessions have printed, from CloudWatch.

use frontdesk_deploy::running::logs;
use frontdesk_deploy::stack::outputs;
use time::OffsetDateTime;

use super::AwsArguments;
use crate::commands::moments;
use crate::settings::Settings;

/// How far back without `--since`, in seconds.
const USUAL_S: u32 = 3600;

/// What is wanted of the log.
pub(in crate::commands) struct Wanted {
    pub(in crate::commands) follows: bool,
    pub(in crate::commands) since: Option<OffsetDateTime>,
    pub(in crate::commands) containing: Option<String>,
}

/// Prints.
pub(in crate::commands) fn run(place: &AwsArguments, wanted: &Wanted, settings: &Settings) -> anyhow::Result<()> {
    crate::commands::block_on(async {
        let (aws, _, stack) = place.stack(settings).await?;
        let group = stack.output(outputs::AGENT_LOGS)?;
        let since = wanted.since.unwrap_or_else(|| moments::before(USUAL_S));
        let from_ms = since.unix_timestamp() * 1000;
        // In quotes CloudWatch takes a term as it stands.
        let pattern = wanted.containing.as_ref().map(|text| format!("{:?}", text));
        if wanted.follows {
            let mut print = |event: &logs::LogEvent| {
                println!("{}", event.message);
                true
            };
            logs::follow(&aws, group, from_ms, pattern.as_deref(), place.pause(), &mut print).await?;
            return Ok(());
        }
        for event in logs::since(&aws, group, from_ms, pattern.as_deref()).await? {
            println!("{}", event.message);
        }
        Ok(())
    })
}
