//! Metric filters: which events of a group count, and as what.

use std::collections::BTreeMap;

use frontdesk_aws::ServiceError;
use frontdesk_store::{MetricFilter, MetricTransformation};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::pattern::{Pattern, Selector};
use super::service::LogService;
use super::{Answer, Call, check_name, existing, invalid, not_found, of_store};
use crate::json_document::without_nulls;

/// CloudWatch Logs' bound on the filters of a group.
const FILTERS_MAX: usize = 100;
/// Its bound on the messages of a trial.
const MESSAGES_MAX: usize = 50;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Transformation {
    metric_name: String,
    metric_namespace: String,
    metric_value: String,
    default_value: Option<f64>,
    #[serde(default)]
    dimensions: BTreeMap<String, String>,
    unit: Option<String>,
}

pub(super) fn put(call: &Call, service: &LogService) -> Answer {
    let (group, name) = (call.group_name("logGroupName")?, filter_name(call)?);
    let pattern = pattern(call)?;
    let wanted: Vec<Transformation> = call.required("metricTransformations")?;
    let [wanted] = <[Transformation; 1]>::try_from(wanted).map_err(|given| {
        let bound = if given.is_empty() { "greater" } else { "less" };
        invalid(format!("1 validation error detected: Value at 'metricTransformations' failed to satisfy constraint: Member must have length {bound} than or equal to 1"))
    })?;
    if wanted.metric_value.parse::<f64>().is_err() {
        Selector::parse(&wanted.metric_value).map_err(|_| invalid(format!("Invalid metric value: {}", wanted.metric_value)))?;
    }
    if wanted.default_value.is_some() && !wanted.dimensions.is_empty() {
        return Err(invalid("Invalid metric transformation: dimensions and default value are mutually exclusive properties."));
    }
    if wanted.dimensions.len() > 3 || wanted.dimensions.values().any(|place| Selector::parse(place).is_err()) {
        return Err(invalid("Invalid metric transformation: up to 3 dimensions are taken from fields such as $.path"));
    }
    if ["AWS/", "Frontdesk/"].iter().any(|own| wanted.metric_namespace.starts_with(own)) {
        return Err(invalid(
            "Invalid metric transformation: the namespaces AWS/ and Frontdesk/ are those of figures that are counted here",
        ));
    }
    let filters = of_group(service, &existing(service, &group)?.name)?;
    if filters.len() >= FILTERS_MAX && !filters.iter().any(|filter| filter.name == name) {
        return Err(ServiceError::new(StatusCode::BAD_REQUEST, "LimitExceededException", "Resource limit exceeded."));
    }
    let Transformation { metric_name, metric_namespace, metric_value, default_value, dimensions, unit } = wanted;
    let transformation = MetricTransformation { metric_name, metric_namespace, metric_value, default_value, dimensions, unit };
    let filter = MetricFilter { name, pattern, transformations: vec![transformation], created_at_ms: call.now_ms };
    let has_group = service.store.put_metric_filter(&group, &filter).and_then(|has_group| service.read_filters().map(|()| has_group));
    if has_group.map_err(|error| of_store(error, "metric filter"))? { Ok(Value::Null) } else { Err(not_found("log group")) }
}

pub(super) fn describe(call: &Call, service: &LogService) -> Answer {
    let (group, prefix) = (call.member::<String>("logGroupName")?, call.member::<String>("filterNamePrefix")?);
    let (metric, namespace) = (call.member::<String>("metricName")?, call.member::<String>("metricNamespace")?);
    if let Some(group) = &group {
        existing(service, group)?;
    }
    let mut filters = service.store.metric_filters().map_err(|error| of_store(error, "metric filter"))?;
    filters.retain(|(of, filter)| {
        let is_of = |transformation: &MetricTransformation| {
            metric.as_ref().is_none_or(|metric| transformation.metric_name == *metric)
                && namespace.as_ref().is_none_or(|namespace| transformation.metric_namespace == *namespace)
        };
        group.as_ref().is_none_or(|group| of == group)
            && prefix.as_ref().is_none_or(|prefix| filter.name.starts_with(prefix))
            && filter.transformations.iter().any(is_of)
    });
    call.page("metricFilters", filters, |(group, filter)| {
        let transformation = |of: &MetricTransformation| {
            without_nulls(json!({
                "metricName": of.metric_name,
                "metricNamespace": of.metric_namespace,
                "metricValue": of.metric_value,
                "defaultValue": of.default_value,
                "dimensions": (!of.dimensions.is_empty()).then_some(&of.dimensions),
                "unit": of.unit,
            }))
        };
        json!({
            "filterName": filter.name,
            "filterPattern": filter.pattern,
            "metricTransformations": filter.transformations.iter().map(transformation).collect::<Vec<_>>(),
            "creationTime": filter.created_at_ms,
            "logGroupName": group,
        })
    })
}

pub(super) fn delete(call: &Call, service: &LogService) -> Answer {
    let (group, name) = (call.group_name("logGroupName")?, filter_name(call)?);
    existing(service, &group)?;
    let was_there = service.store.delete_metric_filter(&group, &name).and_then(|was_there| service.read_filters().map(|()| was_there));
    if was_there.map_err(|error| of_store(error, "metric filter"))? { Ok(Value::Null) } else { Err(not_found("metric filter")) }
}

/// Tries a pattern on messages; nothing is kept.
pub(super) fn test(call: &Call) -> Answer {
    let messages: Vec<String> = call.required("logEventMessages")?;
    if messages.is_empty() || messages.len() > MESSAGES_MAX {
        return Err(invalid(format!("logEventMessages has {} messages; it must have between 1 and {MESSAGES_MAX}", messages.len())));
    }
    let pattern = Pattern::parse(&pattern(call)?).map_err(|error| invalid(error.to_string()))?;
    let matching = messages.iter().zip(1..).filter(|(message, _)| pattern.matches(message));
    let matches: Vec<Value> =
        matching.map(|(message, number)| json!({ "eventNumber": number, "eventMessage": message, "extractedValues": {} })).collect();
    Ok(json!({ "matches": matches }))
}

fn of_group(service: &LogService, group: &str) -> Result<Vec<MetricFilter>, ServiceError> {
    let filters = service.store.metric_filters().map_err(|error| of_store(error, "metric filter"))?;
    Ok(filters.into_iter().filter(|(of, _)| of == group).map(|(_, filter)| filter).collect())
}

fn filter_name(call: &Call) -> Result<String, ServiceError> {
    let name: String = call.required("filterName")?;
    check_name(&name, "filterName", 512, "[^:*]*", |letter| !matches!(letter, ':' | '*'))?;
    Ok(name)
}

/// The call's pattern, which is one.
fn pattern(call: &Call) -> Result<String, ServiceError> {
    let pattern: String = call.required("filterPattern")?;
    Pattern::parse(&pattern).map_err(|error| invalid(error.to_string()))?;
    Ok(pattern)
}
