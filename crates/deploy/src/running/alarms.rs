//! The stack's alarms, as CloudWatch sees them now.

use crate::call::{Aws, Call, CallError, operation};
use crate::stack::StackName;

/// An alarm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alarm {
    /// Its name.
    pub name: String,
    /// `OK`, `ALARM` or `INSUFFICIENT_DATA`.
    pub state: String,
    /// Why it is in that state.
    pub reason: Option<String>,
}

/// The alarms whose names begin with the stack's.
///
/// # Errors
/// As [`Aws::send`].
pub async fn of(aws: &Aws, stack: &StackName) -> Result<Vec<Alarm>, CallError> {
    let prefix = stack.with("");
    let call = Call::new(&operation::DESCRIBE_ALARMS, &prefix).parameter("AlarmNamePrefix", prefix.as_str());
    let root = aws.send(call).await?.xml()?;
    let alarms = root.find("MetricAlarms").into_iter().flat_map(|list| &list.children);
    let alarms = alarms.filter_map(|alarm| {
        let text = |name: &str| alarm.text_of(name).map(str::to_owned);
        Some(Alarm { name: text("AlarmName")?, state: text("StateValue")?, reason: text("StateReason") })
    });
    Ok(alarms.collect())
}
