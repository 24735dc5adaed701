//! Who used how much, as API Gateway counts it: some time late, and on a best-effort basis.

use serde_json::Value;

use super::PAGES_MAX;
use crate::call::{Aws, Call, operation};
use crate::deployer::{DeployError, stacks::Stack};
use crate::stack::outputs;

/// A key's usage over the days asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyUsage {
    /// The key's id.
    pub key_id: String,
    /// For each day the requests used, and those left of the quota.
    pub days: Vec<(u64, u64)>,
}

/// The usage of the stack's plan from `from` to `to`, dates such as `2026-12-31`.
///
/// # Errors
/// [`DeployError::NoOutput`]; as [`Aws::send`].
pub async fn of(aws: &Aws, stack: &Stack, from: &str, to: &str) -> Result<Vec<KeyUsage>, DeployError> {
    let plan = stack.output(outputs::USAGE_PLAN_ID)?;
    let resource = format!("usage plan {plan}");
    let (mut found, mut position) = (Vec::new(), None::<String>);
    for _ in 0..PAGES_MAX {
        let mut call = Call::new(&operation::GET_USAGE, &resource).path("id", plan).parameter("startDate", from).parameter("endDate", to);
        if let Some(position) = &position {
            call = call.parameter("position", position);
        }
        let page = aws.send(call).await?.json()?;
        let day = |day: &Value| Some((day.get(0)?.as_u64()?, day.get(1)?.as_u64().unwrap_or(0)));
        found.extend(page["values"].as_object().into_iter().flatten().map(|(key_id, days)| KeyUsage {
            key_id: key_id.clone(),
            days: days.as_array().into_iter().flatten().filter_map(day).collect(),
        }));
        position = page["position"].as_str().map(str::to_owned);
        if position.is_none() {
            break;
        }
    }
    Ok(found)
}
