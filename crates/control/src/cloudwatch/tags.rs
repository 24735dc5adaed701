//! Tags of alarms.

use frontdesk_aws::ServiceError;
use frontdesk_aws::document::Document;

use super::alarms::tags_of;
use super::of_alarms;
use crate::members::{Members, invalid_value};
use crate::metrics::{AlarmChange, MetricService};

/// CloudWatch's bound for one resource.
const TAGS_MAX: usize = 50;

pub(super) fn tag(request: &Members<'_>, service: &MetricService, now_ms: i64) -> Result<Document, ServiceError> {
    let (name, mut tags) = tags_of(request, service)?;
    tags.extend(request.pairs("Tags", "Key")?);
    if tags.len() > TAGS_MAX {
        return Err(invalid_value(format!("A resource has at most {TAGS_MAX} tags.")));
    }
    service.change_alarm(&name, AlarmChange::Tags(tags), now_ms).map_err(of_alarms)?;
    Ok(Document::Members(Vec::new()))
}

pub(super) fn untag(request: &Members<'_>, service: &MetricService, now_ms: i64) -> Result<Document, ServiceError> {
    let (name, mut tags) = tags_of(request, service)?;
    let unwanted = request.texts("TagKeys")?;
    tags.retain(|key, _| !unwanted.contains(key));
    service.change_alarm(&name, AlarmChange::Tags(tags), now_ms).map_err(of_alarms)?;
    Ok(Document::Members(Vec::new()))
}

pub(super) fn list(request: &Members<'_>, service: &MetricService) -> Result<Document, ServiceError> {
    let (_, tags) = tags_of(request, service)?;
    let tag = |(key, value): (&String, &String)| Document::members([("Key", key.into()), ("Value", value.into())]);
    Ok(Document::members([("Tags", Document::list(tags.iter().map(tag)))]))
}
