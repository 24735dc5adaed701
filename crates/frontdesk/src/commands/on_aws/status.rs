//! `frontdesk status --aws`: the stack, its agent, its alarms.

use frontdesk_deploy::running::{agent, alarms};
use frontdesk_deploy::stack::outputs;
use serde_json::json;

use super::AwsArguments;
use crate::settings::Settings;

/// Asks and prints.
pub(in crate::commands) fn run(place: &AwsArguments, json: bool, settings: &Settings) -> anyhow::Result<()> {
    crate::commands::block_on(async {
        let (aws, name, stack) = place.stack(settings).await?;
        let agent_arn = stack.output(outputs::AGENT_ARN)?;
        let agent = agent::state(&aws, agent_arn).await?;
        let alarms = alarms::of(&aws, &name).await?;
        if json {
            let alarms: Vec<_> =
                alarms.iter().map(|alarm| json!({ "name": alarm.name, "state": alarm.state, "reason": alarm.reason })).collect();
            let document = json!({
                "stack": stack.name, "status": stack.status, "updated": stack.updated.as_ref().unwrap_or(&stack.created), "outputs": stack.outputs,
                "agent": { "status": agent.status, "version": agent.version, "failureReason": agent.failure }, "alarms": alarms,
            });
            println!("{document:#}");
            return Ok(());
        }
        let mut lines = vec![
            ("Stack", format!("{} ({})", stack.name, stack.status)),
            ("Updated", stack.updated.clone().unwrap_or_else(|| stack.created.clone())),
            ("Region", aws.region().to_owned()),
            ("Agent status", format!("{} (version {})", agent.status, agent.version)),
            ("Agent ARN", agent_arn.to_owned()),
            ("Endpoint", stack.output(outputs::ENDPOINT)?.to_owned()),
            ("Streaming", stack.output(outputs::STREAM_ENDPOINT)?.to_owned()),
        ];
        lines.extend(alarms.into_iter().map(|alarm| ("Alarm", format!("{} {}", alarm.name, alarm.state))));
        crate::commands::print_lines(&lines);
        if let Some(failure) = agent.failure {
            println!("\n{failure}");
        }
        Ok(())
    })
}
