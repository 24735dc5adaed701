//! Whether a role may leave lines in a log group: AWS's services write a function's log in its role's name
//! (<https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs.html#monitoring-cloudwatchlogs-prereqs>).

use frontdesk_aws::ServiceError;
use time::OffsetDateTime;

use super::LogService;
use crate::identity::IdentityService;

/// Asks a role's policies for what a service needs to write into a stream in the role's name: `logs:CreateLogStream`, `logs:PutLogEvents`, and
/// `logs:CreateLogGroup` where there is no such group. The service must be one that the role trusts. Reads the database only where the role may not make groups.
///
/// # Errors
/// AccessDenied, AccessDeniedException, naming the first action that is missing.
pub fn may_write(
    identities: &IdentityService,
    logs: &LogService,
    service: &str,
    role_arn: &str,
    (group, stream): (&str, &str),
    now: OffsetDateTime,
) -> Result<(), ServiceError> {
    let group_arn = logs.arn(group);
    let below = format!("{group_arn}:log-stream:{stream}");
    let may = |action: &str| identities.service_may((service, "logs"), role_arn, action, &[&group_arn, &below], now);
    may("logs:CreateLogStream")?;
    may("logs:PutLogEvents")?;
    let has_group = || logs.store.log_group(group).is_ok_and(|group| group.is_some());
    may("logs:CreateLogGroup").or_else(|error| if has_group() { Ok(()) } else { Err(error) })
}
