//! Alarms: made, listed, switched and deleted.

use std::collections::BTreeMap;
use std::sync::Arc;

use frontdesk_aws::ServiceError;
use frontdesk_aws::document::Document;
use frontdesk_store::{AlarmState, Comparison, MetricAlarm, MetricStat, MissingData, Watched};
use http::StatusCode;

use super::{documents, of_alarms, of_store, queries};
use crate::members::{Members, page};
use crate::metrics::{self, AlarmChange, MetricService, Statistic};
use crate::query::{constraint_failed, lower_first};

/// CloudWatch's bounds (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html>).
const NAME_CHARS_MAX: usize = 255;
const REASON_CHARS_MAX: usize = 1023;
const DAY_S: i64 = 86_400;
/// A page of alarms or of history, unless its caller says otherwise, and at most.
const PAGE: i64 = 50;
const PAGE_MAX: i64 = 100;

/// What CloudWatch offers of an alarm and this host does not.
const UNSERVED: [&str; 6] =
    ["ThresholdMetricId", "EvaluationWindow", "WarmUpConfiguration", "EvaluationCriteria", "EvaluationInterval", "ActionConfiguration"];

/// A text that must be there, in the words of the alarms' operations.
fn required<'a>(request: &Members<'a>, name: &str) -> Result<&'a str, ServiceError> {
    let value = request.text(name)?.filter(|text| !text.is_empty());
    value.ok_or_else(|| constraint_failed(&format!("Value null at '{}'", lower_first(name)), "Member must not be null"))
}

fn one_of<T: Copy>(name: &str, value: &str, known: &[(&str, T)]) -> Result<T, ServiceError> {
    let found = known.iter().find(|(known, _)| *known == value);
    found.map(|(_, known)| *known).ok_or_else(|| {
        let names: Vec<_> = known.iter().map(|(name, _)| *name).collect();
        let rule = format!("Member must satisfy enum value set: [{}]", names.join(", "));
        constraint_failed(&format!("Value '{value}' at '{}'", lower_first(name)), &rule)
    })
}

const STATES: [(&str, AlarmState); 3] =
    [("OK", AlarmState::Ok), ("ALARM", AlarmState::Alarm), ("INSUFFICIENT_DATA", AlarmState::InsufficientData)];

pub(super) fn put(request: &Members<'_>, service: &MetricService, now_ms: i64) -> Result<Document, ServiceError> {
    request.refuse(&UNSERVED)?;
    let name = required(request, "AlarmName")?;
    if name.chars().count() > NAME_CHARS_MAX {
        let rule = format!("Member must have length less than or equal to {NAME_CHARS_MAX}");
        return Err(constraint_failed(&format!("Value '{name}' at 'alarmName'"), &rule));
    }
    let comparisons = [
        ("GreaterThanOrEqualToThreshold", Comparison::GreaterThanOrEqualToThreshold),
        ("GreaterThanThreshold", Comparison::GreaterThanThreshold),
        ("LessThanThreshold", Comparison::LessThanThreshold),
        ("LessThanOrEqualToThreshold", Comparison::LessThanOrEqualToThreshold),
    ];
    let comparison = one_of("ComparisonOperator", required(request, "ComparisonOperator")?, &comparisons)?;
    let evaluation_periods = count(request, "EvaluationPeriods")?;
    let evaluation_periods =
        evaluation_periods.ok_or_else(|| constraint_failed("Value null at 'evaluationPeriods'", "Member must not be null"))?;
    let datapoints_to_alarm = count(request, "DatapointsToAlarm")?;
    if datapoints_to_alarm.is_some_and(|datapoints| datapoints > evaluation_periods) {
        return Err(ServiceError::validation("DatapointsToAlarm must be less than or equal to EvaluationPeriods"));
    }
    let threshold = request.number("Threshold")?.ok_or_else(|| ServiceError::validation("Threshold must be given"))?;
    let watched = watched(request)?;
    let period_s = i64::from(metrics::period_of(&watched));
    let (seconds_max, words) = if period_s >= 3600 { (7 * DAY_S, "a week") } else { (DAY_S, "a day") };
    if period_s * i64::from(evaluation_periods) > seconds_max {
        return Err(ServiceError::validation(format!(
            "Metrics cannot be checked across more than {words} (EvaluationPeriods * Period must be <= {seconds_max})."
        )));
    }
    let kinds = [
        ("missing", MissingData::Missing),
        ("ignore", MissingData::Ignore),
        ("breaching", MissingData::Breaching),
        ("notBreaching", MissingData::NotBreaching),
    ];
    let missing_data = request.text("TreatMissingData")?.map(|kind| one_of("TreatMissingData", kind, &kinds)).transpose()?;
    let low_sample = [("evaluate", "evaluate"), ("ignore", "ignore")];
    let low_sample =
        request.text("EvaluateLowSampleCountPercentile")?.map(|kind| one_of("EvaluateLowSampleCountPercentile", kind, &low_sample));
    service
        .put_alarm(MetricAlarm {
            name: name.to_owned(),
            description: request.text("AlarmDescription")?.map(str::to_owned),
            actions_enabled: request.truth("ActionsEnabled")?.unwrap_or(true),
            ok_actions: actions(request, "OKActions")?,
            alarm_actions: actions(request, "AlarmActions")?,
            insufficient_data_actions: actions(request, "InsufficientDataActions")?,
            watched,
            evaluation_periods,
            datapoints_to_alarm,
            threshold,
            comparison,
            missing_data,
            low_sample_percentile: low_sample.transpose()?.map(str::to_owned),
            tags: request.pairs("Tags", "Key")?,
            configured_at_ms: now_ms,
            state: metrics::initial(now_ms),
        })
        .map_err(of_alarms)?;
    Ok(Document::Null)
}

fn count(request: &Members<'_>, name: &str) -> Result<Option<u32>, ServiceError> {
    let Some(value) = request.integer(name)? else { return Ok(None) };
    let rule =
        || constraint_failed(&format!("Value '{value}' at '{}'", lower_first(name)), "Member must have value greater than or equal to 1");
    u32::try_from(value).ok().filter(|count| *count > 0).map(Some).ok_or_else(rule)
}

/// ARNs are kept for their owner; what is none is a slip.
fn actions(request: &Members<'_>, name: &str) -> Result<Vec<String>, ServiceError> {
    let actions = request.texts(name)?;
    match actions.iter().find(|action| !action.starts_with("arn:")) {
        Some(wrong) => Err(ServiceError::validation(format!("Invalid arn syntax: {wrong}"))),
        None if actions.len() > 5 => Err(ServiceError::validation(format!("{name} has more than 5 members"))),
        None => Ok(actions),
    }
}

fn watched(request: &Members<'_>) -> Result<Watched, ServiceError> {
    let single = ["MetricName", "Namespace", "Dimensions", "Period", "Unit", "Statistic", "ExtendedStatistic"];
    if request.has("Metrics") {
        if let Some(name) = single.iter().find(|name| request.has(name)) {
            return Err(ServiceError::validation(format!("{name} must not be given together with Metrics")));
        }
        let queries = queries::read(request, "Metrics")?;
        if queries.iter().filter(|query| query.returns_data).count() != 1 {
            return Err(ServiceError::validation("Exactly one element of the metrics list should return data."));
        }
        let watched = Watched::Queries(queries);
        let Watched::Queries(queries) = &watched else { return Ok(watched) };
        let period_s = metrics::period_of(&watched);
        if queries.iter().any(|query| metrics::period_of_query(query, queries) != period_s) {
            return Err(ServiceError::validation("All metrics of an alarm must have the same period"));
        }
        return Ok(watched);
    }
    let (namespace, name) = (required(request, "Namespace")?, required(request, "MetricName")?);
    let period_s = request.integer("Period")?.ok_or_else(|| constraint_failed("Value null at 'period'", "Member must not be null"))?;
    let period_s = documents::period(period_s).filter(|period_s| *period_s >= 10);
    let period_s = period_s.ok_or_else(|| ServiceError::validation("Metric period must be 10, 20, 30 or a multiple of 60 seconds."))?;
    let statistic = match (request.text("Statistic")?, request.text("ExtendedStatistic")?) {
        (Some(statistic), None) | (None, Some(statistic)) => statistic,
        (None, None) => return Err(ServiceError::validation("Either Statistic or ExtendedStatistic must be given")),
        _ => return Err(ServiceError::validation("Statistic and ExtendedStatistic must not be given together")),
    };
    let is_percentile = request.has("ExtendedStatistic");
    let known = Statistic::named(statistic).filter(|known| matches!(known, Statistic::Percentile(_)) == is_percentile);
    if known.is_none() {
        let rule = if is_percentile {
            "percentiles such as p99 are computed here"
        } else {
            "Member must satisfy enum value set: [Maximum, SampleCount, Sum, Minimum, Average]"
        };
        let member = if is_percentile { "extendedStatistic" } else { "statistic" };
        return Err(constraint_failed(&format!("Value '{statistic}' at '{member}'"), rule));
    }
    let unit = request.text("Unit")?;
    if let Some(unit) = unit.filter(|unit| !documents::UNITS.contains(unit)) {
        return Err(constraint_failed(&format!("Value '{unit}' at 'unit'"), "Member must be a unit of CloudWatch's"));
    }
    Ok(Watched::Metric(MetricStat {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        dimensions: request.pairs("Dimensions", "Name")?,
        statistic: statistic.to_owned(),
        period_s,
        unit: unit.map(str::to_owned),
    }))
}

/// How many items a page has.
fn page_items(request: &Members<'_>, unless: i64) -> Result<usize, ServiceError> {
    let items = request.integer("MaxRecords")?.unwrap_or(unless);
    if !(1..=PAGE_MAX).contains(&items) {
        let rule = format!("Member must have value between 1 and {PAGE_MAX}");
        return Err(constraint_failed(&format!("Value '{items}' at 'maxRecords'"), &rule));
    }
    Ok(usize::try_from(items).unwrap_or(1))
}

pub(super) fn describe(request: &Members<'_>, service: &MetricService) -> Result<Document, ServiceError> {
    let (names, prefix, action) = (request.texts("AlarmNames")?, request.text("AlarmNamePrefix")?, request.text("ActionPrefix")?);
    if !names.is_empty() && prefix.is_some() {
        return Err(ServiceError::validation("AlarmNamePrefix and AlarmNames cannot be specified in the same request"));
    }
    let state = request.text("StateValue")?.map(|state| one_of("StateValue", state, &STATES)).transpose()?;
    let types = request.texts("AlarmTypes")?;
    // Parents are composite alarms, and so are those that have children: there are none here.
    let is_of_family = request.has("ParentsOfAlarmName") || request.has("ChildrenOfAlarmName");
    let has_metric_alarms = !is_of_family && (types.is_empty() || types.iter().any(|kind| kind == "MetricAlarm"));
    let is_wanted = |alarm: &Arc<MetricAlarm>| {
        let actions = || alarm.ok_actions.iter().chain(&alarm.alarm_actions).chain(&alarm.insufficient_data_actions);
        has_metric_alarms
            && (names.is_empty() || names.contains(&alarm.name))
            && prefix.is_none_or(|prefix| alarm.name.starts_with(prefix))
            && state.is_none_or(|state| alarm.state.state == state)
            && action.is_none_or(|prefix| actions().any(|action| action.starts_with(prefix)))
    };
    let found: Vec<_> = service.alarms().into_iter().filter(is_wanted).collect();
    // Who names alarms gets them all at once, up to the hundred that can be named.
    let items = page_items(request, if names.is_empty() { PAGE } else { PAGE_MAX })?;
    let (found, next) = page(found, request.text("NextToken")?, items)?;
    let found = found.iter().map(|alarm| documents::alarm(alarm, service));
    let composite = Document::List(Vec::new());
    Ok(Document::members([("CompositeAlarms", composite), ("MetricAlarms", Document::list(found)), ("NextToken", next.into())]))
}

pub(super) fn describe_for_metric(request: &Members<'_>, service: &MetricService) -> Result<Document, ServiceError> {
    let (namespace, name) = (required(request, "Namespace")?, required(request, "MetricName")?);
    let dimensions = request.pairs("Dimensions", "Name")?;
    let (simple, extended) = (request.text("Statistic")?, request.text("ExtendedStatistic")?);
    let (period_s, unit) = (request.integer("Period")?, request.text("Unit")?);
    let is_of = |stat: &MetricStat| {
        (stat.namespace.as_str(), stat.name.as_str(), &stat.dimensions) == (namespace, name, &dimensions)
            && simple.or(extended).is_none_or(|statistic| stat.statistic == statistic)
            && period_s.is_none_or(|period_s| i64::from(stat.period_s) == period_s)
            && unit.is_none_or(|unit| stat.unit.as_deref() == Some(unit))
    };
    let found = service.alarms().into_iter().filter(|alarm| match &alarm.watched {
        Watched::Metric(stat) => is_of(stat),
        Watched::Queries(queries) => queries.iter().any(|query| matches!(&query.asked, frontdesk_store::Asked::Stat(stat) if is_of(stat))),
    });
    let found: Vec<_> = found.map(|alarm| documents::alarm(&alarm, service)).collect();
    Ok(Document::members([("MetricAlarms", Document::List(found))]))
}

pub(super) fn history(request: &Members<'_>, service: &MetricService, now_ms: i64) -> Result<Document, ServiceError> {
    let (from_ms, until_ms) = (request.moment_ms("StartDate")?.unwrap_or(0), request.moment_ms("EndDate")?.unwrap_or(now_ms));
    let kinds = [("ConfigurationUpdate", "ConfigurationUpdate"), ("StateUpdate", "StateUpdate"), ("Action", "Action")];
    let kind = request.text("HistoryItemType")?.map(|kind| one_of("HistoryItemType", kind, &kinds)).transpose()?;
    let orders = [("TimestampDescending", false), ("TimestampAscending", true)];
    let is_ascending = request.text("ScanBy")?.map(|order| one_of("ScanBy", order, &orders)).transpose()?.unwrap_or(false);
    let mut items = service.alarm_history(request.text("AlarmName")?, from_ms, until_ms).map_err(of_store)?;
    items.retain(|item| kind.is_none_or(|kind| item.kind == kind));
    if is_ascending {
        items.reverse();
    }
    let (items, next) = page(items, request.text("NextToken")?, page_items(request, PAGE_MAX)?)?;
    Ok(Document::members([("AlarmHistoryItems", Document::list(items.iter().map(documents::history))), ("NextToken", next.into())]))
}

pub(super) fn delete(request: &Members<'_>, service: &MetricService, now_ms: i64) -> Result<Document, ServiceError> {
    service.delete_alarms(&names(request)?, now_ms).map_err(of_alarms)?;
    Ok(Document::Null)
}

fn names(request: &Members<'_>) -> Result<Vec<String>, ServiceError> {
    let names = request.texts("AlarmNames")?;
    if names.is_empty() {
        return Err(constraint_failed("Value null at 'alarmNames'", "Member must not be null"));
    }
    Ok(names)
}

pub(super) fn set_state(request: &Members<'_>, service: &MetricService, now_ms: i64) -> Result<Document, ServiceError> {
    let name = required(request, "AlarmName")?;
    let state = one_of("StateValue", required(request, "StateValue")?, &STATES)?;
    let reason = request.text("StateReason")?.ok_or_else(|| constraint_failed("Value null at 'stateReason'", "Member must not be null"))?;
    if reason.chars().count() > REASON_CHARS_MAX {
        let rule = format!("Member must have length less than or equal to {REASON_CHARS_MAX}");
        return Err(constraint_failed("Value at 'stateReason'", &rule));
    }
    let data = request.text("StateReasonData")?;
    if data.is_some_and(|data| serde_json::from_str::<serde::de::IgnoredAny>(data).is_err()) {
        return Err(ServiceError::new(StatusCode::BAD_REQUEST, "InvalidFormatFault", "StateReasonData is not valid JSON"));
    }
    let change = AlarmChange::State(state, reason.to_owned(), data.map(str::to_owned));
    service.change_alarm(name, change, now_ms).map_err(of_alarms)?;
    Ok(Document::Null)
}

/// Names that no alarm has are passed over, as CloudWatch does.
pub(super) fn enable_actions(request: &Members<'_>, service: &MetricService, enabled: bool, now_ms: i64) -> Result<Document, ServiceError> {
    for name in names(request)? {
        match service.change_alarm(&name, AlarmChange::ActionsEnabled(enabled), now_ms) {
            Ok(()) | Err(metrics::AlarmError::NotFound(_)) => {}
            Err(error) => return Err(of_alarms(error)),
        }
    }
    Ok(Document::Null)
}

/// The tags of the alarm that an ARN names.
pub(super) fn tags_of(request: &Members<'_>, service: &MetricService) -> Result<(String, BTreeMap<String, String>), ServiceError> {
    let arn = request.required("ResourceARN")?;
    let not_found = || ServiceError::new(StatusCode::NOT_FOUND, "ResourceNotFoundException", format!("Resource {arn} does not exist"));
    let name = arn
        .splitn(7, ':')
        .nth(6)
        .ok_or_else(|| crate::members::invalid_value(format!("The value {arn} for parameter ResourceARN is invalid.")))?;
    let alarm = service.alarm(name).filter(|alarm| service.alarm_arn(&alarm.name) == arn).ok_or_else(not_found)?;
    Ok((alarm.name.clone(), alarm.tags.clone()))
}
