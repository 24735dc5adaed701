//! `frontdesk doctor --aws`: the guide's troubleshooting list, gone through on the stack.

use frontdesk_deploy::call::Aws;
use frontdesk_deploy::deployer::{log_role, stacks::Stack};
use frontdesk_deploy::running::{agent, alarms, keys};
use frontdesk_deploy::stack::{StackName, outputs};

use super::AwsArguments;
use crate::commands::doctor::{Finding, bad, good, lacking, tell};
use crate::settings::Settings;

/// Looks and tells.
///
/// # Errors
/// When something is bad, so that a script learns of it.
pub(in crate::commands) fn run(place: &AwsArguments, json: bool, settings: &Settings) -> anyhow::Result<()> {
    let findings = crate::commands::block_on(async {
        let (aws, name, stack) = place.stack(settings).await?;
        Ok(findings(&aws, &name, &stack).await)
    })?;
    tell(&findings, json)
}

async fn findings(aws: &Aws, name: &StackName, stack: &Stack) -> Vec<Finding> {
    let mut found = vec![of_stack(stack)];
    let agent_arn = stack.outputs.get(outputs::AGENT_ARN).cloned().unwrap_or_default();
    found.push(match agent::state(aws, &agent_arn).await {
        Ok(agent) if agent.status == "READY" => good("Agent", format!("READY, version {}", agent.version)),
        Ok(agent) => bad("Agent", format!("{}{}: `frontdesk logs --aws` says more", agent.status, because(agent.failure.as_deref()))),
        Err(error) => bad("Agent", error.to_string()),
    });
    match keys::list(aws, stack).await {
        Ok(keys) if keys.is_empty() => {
            found.push(bad("API keys", "the stack has none: callers get 403 Forbidden; deploy again to make the first"))
        }
        Ok(keys) => found.extend(keys.into_iter().map(|key| match key.enabled {
            true => good(format!("API key {}", key.name), "enabled"),
            false => lacking(format!("API key {}", key.name), "disabled: its holder gets 403; `frontdesk keys enable --aws` lets it in"),
        })),
        Err(error) => found.push(bad("API keys", error.to_string())),
    }
    found.push(match log_role::find(aws).await {
        Ok(Some(role)) => good("Access log", format!("written with {role}")),
        Ok(None) => {
            bad("Access log", "the account has no role for API Gateway's logs any more, so none are written, and no throttling is noticed")
        }
        Err(error) => bad("Access log", error.to_string()),
    });
    match alarms::of(aws, name).await {
        Ok(alarms) if alarms.is_empty() => found.push(bad("Alarms", "there are none: deploy again to make them")),
        Ok(alarms) => found.extend(alarms.into_iter().map(|alarm| {
            let what = format!("Alarm {}", alarm.name);
            match alarm.state.as_str() {
                "ALARM" => bad(what, alarm.reason.unwrap_or_else(|| "it has gone off".to_owned())),
                state => good(what, state),
            }
        })),
        Err(error) => found.push(bad("Alarms", error.to_string())),
    }
    found
}

fn of_stack(stack: &Stack) -> Finding {
    let said = format!("{}{}", stack.status, because(stack.reason.as_deref()));
    match stack.status.as_str() {
        "CREATE_COMPLETE" | "UPDATE_COMPLETE" => good("Stack", said),
        "UPDATE_ROLLBACK_COMPLETE" => lacking("Stack", format!("{said}: the last deployment failed, and the one before runs")),
        _ => bad("Stack", said),
    }
}

fn because(reason: Option<&str>) -> String {
    reason.map(|reason| format!(" ({reason})")).unwrap_or_default()
}
