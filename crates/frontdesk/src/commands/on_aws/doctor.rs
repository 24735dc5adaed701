//! `frontdesk doctor --aws`: the guide's troubleshooting list, gone through on the stack.

use frontdesk_deploy::call::Aws;
use frontdesk_deploy::deployer::{log_role, stacks::Stack};
use frontdesk_deploy::running::{agent, alarms, keys};
use frontdesk_deploy::stack::{StackName, outputs};

use super::AwsArguments;
use crate::commands::doctor::{DoctorArguments, look_and_mend};
use crate::commands::moments;
use crate::diagnosis::{Finding, Wanted};
use crate::settings::Settings;

/// Looks, and mends where that is asked for.
///
/// # Errors
/// Without a stack, and as [`look_and_mend`].
pub(in crate::commands) async fn findings(
    place: &AwsArguments,
    arguments: &DoctorArguments,
    settings: &Settings,
) -> anyhow::Result<Vec<Finding>> {
    let (aws, name, stack) = place.stack(settings).await?;
    let mut found = of_parts(&aws, &name, &stack).await;
    let keys = keys::list(&aws, &stack).await?.into_iter().map(|key| key.id).collect();
    let endpoint = stack.output(outputs::ENDPOINT)?;
    let is_own = arguments.api.is_none();
    let wanted = Wanted {
        account: stack.output(outputs::FUNCTION_ARN)?.split(':').nth(4).unwrap_or_default().to_owned(),
        api_id: arguments.api.clone().map_or_else(|| stack.output(outputs::API_ID).map(str::to_owned), Ok)?,
        stage: arguments.stage.clone().or_else(|| endpoint.rsplit('/').nth(1).filter(|_| is_own).map(str::to_owned)),
        own: None,
        question: arguments.question(),
        // Other keys of the account are other people's.
        keys: is_own.then_some(keys),
        today: moments::today(),
    };
    found.extend(look_and_mend(&aws, &wanted, None, arguments, |_| {}).await?);
    Ok(found)
}

async fn of_parts(aws: &Aws, name: &StackName, stack: &Stack) -> Vec<Finding> {
    let mut found = vec![of_stack(stack)];
    let agent_arn = stack.outputs.get(outputs::AGENT_ARN).cloned().unwrap_or_default();
    found.push(match agent::state(aws, &agent_arn).await {
        Ok(agent) if agent.status == "READY" => Finding::good("Agent", format!("READY, version {}", agent.version)),
        Ok(agent) => {
            Finding::bad("Agent", format!("{}{}: `frontdesk logs --aws` says more", agent.status, because(agent.failure.as_deref())))
        }
        Err(error) => Finding::bad("Agent", error.to_string()),
    });
    found.push(match log_role::find(aws).await {
        Ok(Some(role)) => Finding::good("Access log", format!("written with {role}")),
        Ok(None) => Finding::bad(
            "Access log",
            "the account has no role for API Gateway's logs any more, so none are written, and no throttling is noticed",
        ),
        Err(error) => Finding::bad("Access log", error.to_string()),
    });
    match alarms::of(aws, name).await {
        Ok(alarms) if alarms.is_empty() => found.push(Finding::bad("Alarms", "there are none: deploy again to make them")),
        Ok(alarms) => found.extend(alarms.into_iter().map(|alarm| {
            let what = format!("Alarm {}", alarm.name);
            match alarm.state.as_str() {
                "ALARM" => Finding::bad(what, alarm.reason.unwrap_or_else(|| "it has gone off".to_owned())),
                state => Finding::good(what, state),
            }
        })),
        Err(error) => found.push(Finding::bad("Alarms", error.to_string())),
    }
    found
}

fn of_stack(stack: &Stack) -> Finding {
    let said = format!("{}{}", stack.status, because(stack.reason.as_deref()));
    match stack.status.as_str() {
        "CREATE_COMPLETE" | "UPDATE_COMPLETE" => Finding::good("Stack", said),
        "UPDATE_ROLLBACK_COMPLETE" => Finding::lacking("Stack", format!("{said}: the last deployment failed, and the one before runs")),
        _ => Finding::bad("Stack", said),
    }
}

fn because(reason: Option<&str>) -> String {
    reason.map(|reason| format!(" ({reason})")).unwrap_or_default()
}
