//! Log groups, their retention and their tags.

use std::collections::BTreeMap;

use frontdesk_aws::ServiceError;
use frontdesk_store::LogGroup;
use http::StatusCode;
use serde_json::{Value, json};

use super::service::LogService;
use super::{Answer, Call, Logs, existing, group_of_arn, invalid, not_found, of_store};
use crate::json_document::without_nulls;

/// The retentions that there are, in days.
const RETENTION_DAYS: [u32; 22] = [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653];
/// AWS's bound on the tags of a resource.
const TAGS_MAX: usize = 50;
/// Groups of a host, at most: a million at AWS, which nobody lists.
const GROUPS_MAX: usize = 10_000;

pub(super) fn create(call: &Call, service: &LogService) -> Answer {
    let name = call.group_name("logGroupName")?;
    if call.body.contains_key("kmsKeyId") {
        return Err(invalid("kmsKeyId is not served here: put the data folder on an encrypted disk"));
    }
    let class: String = call.member("logGroupClass")?.unwrap_or_else(|| "STANDARD".to_owned());
    if !["STANDARD", "INFREQUENT_ACCESS", "DELIVERY"].contains(&class.as_str()) {
        return Err(invalid(format!(
            "1 validation error detected: Value '{class}' at 'logGroupClass' failed to satisfy constraint: Member must satisfy enum value set: \
             [INFREQUENT_ACCESS, STANDARD, DELIVERY]"
        )));
    }
    let tags = call.member("tags")?.unwrap_or_default();
    check_tags(&tags)?;
    if all(service)?.len() >= GROUPS_MAX {
        return Err(ServiceError::new(StatusCode::BAD_REQUEST, "LimitExceededException", "Resource limit exceeded."));
    }
    let group = LogGroup { name, created_at_ms: call.now_ms, retention_days: None, class, tags, stored_bytes: 0 };
    service.store.create_log_group(&group).map_err(|error| of_store(error, "log group"))?;
    Ok(Value::Null)
}

pub(super) fn delete(call: &Call, service: &LogService) -> Answer {
    let name = call.group_name("logGroupName")?;
    let was_there = service.store.delete_log_group(&name).and_then(|was_there| service.read_filters().map(|()| was_there));
    if was_there.map_err(|error| of_store(error, "log group"))? { Ok(Value::Null) } else { Err(not_found("log group")) }
}

pub(super) fn describe(call: &Call, service: &LogService) -> Answer {
    let (prefix, pattern) = (call.member::<String>("logGroupNamePrefix")?, call.member::<String>("logGroupNamePattern")?);
    let class: Option<String> = call.member("logGroupClass")?;
    if prefix.is_some() && pattern.is_some() {
        return Err(invalid("LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters."));
    }
    let mut groups = all(service)?;
    groups.retain(|group| {
        prefix.as_ref().is_none_or(|prefix| group.name.starts_with(prefix))
            && pattern.as_ref().is_none_or(|pattern| group.name.contains(pattern))
            && class.as_ref().is_none_or(|class| group.class == *class)
    });
    let filters = service.store.metric_filters().map_err(|error| of_store(error, "metric filter"))?;
    call.page("logGroups", groups, |group| {
        let arn = service.arn(&group.name);
        without_nulls(json!({
            "logGroupName": group.name,
            "creationTime": group.created_at_ms,
            "retentionInDays": group.retention_days,
            "metricFilterCount": filters.iter().filter(|(of, _)| *of == group.name).count(),
            "arn": format!("{arn}:*"),
            "logGroupArn": arn,
            "storedBytes": group.stored_bytes,
            "logGroupClass": group.class,
        }))
    })
}

pub(super) fn list(call: &Call, service: &LogService) -> Answer {
    let pattern: Option<String> = call.member("logGroupNamePattern")?;
    let mut groups = all(service)?;
    groups.retain(|group| pattern.as_ref().is_none_or(|pattern| group.name.contains(pattern.trim_start_matches('^'))));
    call.page(
        "logGroups",
        groups,
        |group| json!({ "logGroupName": group.name, "logGroupArn": service.arn(&group.name), "logGroupClass": group.class }),
    )
}

pub(super) fn retention(call: &Call, service: &LogService) -> Answer {
    let name = call.group_name("logGroupName")?;
    let retention_days = match call.operation.id {
        Logs::PutRetentionPolicy => Some(call.required::<u32>("retentionInDays")?),
        _ => None,
    };
    if retention_days.is_some_and(|days| !RETENTION_DAYS.contains(&days)) {
        let days = retention_days.unwrap_or_default();
        let known = RETENTION_DAYS.map(|days| days.to_string()).join(", ");
        return Err(invalid(format!(
            "1 validation error detected: Value '{days}' at 'retentionInDays' failed to satisfy constraint: Member must satisfy enum value set: [{known}]"
        )));
    }
    change(service, &name, |group| {
        group.retention_days = retention_days;
        Ok(())
    })
}

pub(super) fn tag(call: &Call, service: &LogService) -> Answer {
    let tags: BTreeMap<String, String> = call.required("tags")?;
    change(service, &named(call)?, |group| {
        group.tags.extend(tags);
        check_tags(&group.tags)
    })
}

pub(super) fn untag(call: &Call, service: &LogService) -> Answer {
    let keys: Vec<String> = call.required(if call.operation.id == Logs::UntagLogGroup { "tags" } else { "tagKeys" })?;
    change(service, &named(call)?, |group| {
        group.tags.retain(|key, _| !keys.contains(key));
        Ok(())
    })
}

pub(super) fn tags(call: &Call, service: &LogService) -> Answer {
    Ok(json!({ "tags": existing(service, &named(call)?)?.tags }))
}

/// The group whose tags are meant: by its ARN, or by its name in the older operations.
fn named(call: &Call) -> Result<String, ServiceError> {
    match call.operation.id {
        Logs::TagLogGroup | Logs::UntagLogGroup | Logs::ListTagsLogGroup => call.group_name("logGroupName"),
        _ => {
            let arn: String = call.required("resourceArn")?;
            group_of_arn(&arn).ok_or_else(|| invalid(format!("{arn} is no log group's ARN: only groups have tags here")))
        }
    }
}

fn all(service: &LogService) -> Result<Vec<LogGroup>, ServiceError> {
    service.store.log_groups().map_err(|error| of_store(error, "log group"))
}

fn change(service: &LogService, name: &str, change: impl FnOnce(&mut LogGroup) -> Result<(), ServiceError>) -> Answer {
    let mut group = existing(service, name)?;
    change(&mut group)?;
    let was_there = service.store.update_log_group(&group).map_err(|error| of_store(error, "log group"))?;
    if was_there { Ok(Value::Null) } else { Err(not_found("log group")) }
}

fn check_tags(tags: &BTreeMap<String, String>) -> Result<(), ServiceError> {
    let is_sound = tags.iter().all(|(key, value)| (1..=128).contains(&key.chars().count()) && value.chars().count() <= 256);
    if tags.len() > TAGS_MAX || !is_sound {
        return Err(invalid(format!("A resource has {TAGS_MAX} tags at most, with keys of 1 to 128 and values of up to 256 characters")));
    }
    Ok(())
}
