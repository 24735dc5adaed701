//! What metrics and alarms look like on the wire.

use std::collections::BTreeMap;

use frontdesk_aws::document::Document;
use frontdesk_store::{AlarmHistoryItem, Asked, MetricAlarm, MetricQuery, MetricStat, Watched};

use crate::metrics::{self, MetricService, Statistic};

/// The units that CloudWatch knows.
pub(super) const UNITS: [&str; 27] = [
    "Seconds",
    "Microseconds",
    "Milliseconds",
    "Bytes",
    "Kilobytes",
    "Megabytes",
    "Gigabytes",
    "Terabytes",
    "Bits",
    "Kilobits",
    "Megabits",
    "Gigabits",
    "Terabits",
    "Percent",
    "Count",
    "Bytes/Second",
    "Kilobytes/Second",
    "Megabytes/Second",
    "Gigabytes/Second",
    "Terabytes/Second",
    "Bits/Second",
    "Kilobits/Second",
    "Megabits/Second",
    "Gigabits/Second",
    "Terabits/Second",
    "Count/Second",
    "None",
];

/// What [`period`] takes, in words.
pub(super) const PERIOD_RULE: &str = "A period is 1, 5, 10, 20 or 30 seconds, or a multiple of 60.";

/// A period, if CloudWatch knows it.
pub(super) fn period(period_s: i64) -> Option<u32> {
    let is_known = [1, 5, 10, 20, 30].contains(&period_s) || (period_s > 0 && period_s % 60 == 0);
    u32::try_from(period_s).ok().filter(|_| is_known)
}

fn dimensions(dimensions: &BTreeMap<String, String>) -> Document {
    Document::list(dimensions.iter().map(|(name, value)| Document::members([("Name", name.into()), ("Value", value.into())])))
}

pub(super) fn metric(namespace: &str, name: &str, of: &BTreeMap<String, String>) -> Document {
    Document::members([("Namespace", namespace.into()), ("MetricName", name.into()), ("Dimensions", dimensions(of))])
}

fn query(query: &MetricQuery) -> Document {
    let (stat, expression, period_s) = match &query.asked {
        Asked::Stat(MetricStat { namespace, name, dimensions, statistic, period_s, unit }) => {
            let stat = Document::members([
                ("Metric", metric(namespace, name, dimensions)),
                ("Period", (*period_s).into()),
                ("Stat", statistic.into()),
                ("Unit", unit.as_deref().into()),
            ]);
            (stat, Document::Null, Document::Null)
        }
        Asked::Expression(expression, period_s) => (Document::Null, expression.into(), (*period_s).into()),
    };
    Document::members([
        ("Id", query.id.as_str().into()),
        ("MetricStat", stat),
        ("Expression", expression),
        ("Label", query.label.as_deref().into()),
        ("Period", period_s),
        ("ReturnData", query.returns_data.into()),
    ])
}

pub(super) fn alarm(alarm: &MetricAlarm, service: &MetricService) -> Document {
    let Document::Members(mut members) = Document::members([
        ("AlarmName", alarm.name.as_str().into()),
        ("AlarmArn", service.alarm_arn(&alarm.name).into()),
        ("AlarmDescription", alarm.description.as_deref().into()),
        ("AlarmConfigurationUpdatedTimestamp", Document::Moment(alarm.configured_at_ms)),
        ("ActionsEnabled", alarm.actions_enabled.into()),
        ("OKActions", Document::list(&alarm.ok_actions)),
        ("AlarmActions", Document::list(&alarm.alarm_actions)),
        ("InsufficientDataActions", Document::list(&alarm.insufficient_data_actions)),
        ("StateValue", metrics::state_name(alarm.state.state).into()),
        ("StateReason", alarm.state.reason.as_str().into()),
        ("StateReasonData", alarm.state.reason_data.as_deref().into()),
        ("StateUpdatedTimestamp", Document::Moment(alarm.state.updated_at_ms)),
        ("EvaluationPeriods", alarm.evaluation_periods.into()),
        ("DatapointsToAlarm", alarm.datapoints_to_alarm.into()),
        ("Threshold", alarm.threshold.into()),
        ("ComparisonOperator", format!("{:?}", alarm.comparison).into()),
        ("TreatMissingData", alarm.missing_data.map(metrics::missing_name).into()),
        ("EvaluateLowSampleCountPercentile", alarm.low_sample_percentile.as_deref().into()),
        ("StateTransitionedTimestamp", Document::Moment(alarm.state.transitioned_at_ms)),
    ]) else {
        return Document::Null;
    };
    let watched = match &alarm.watched {
        Watched::Metric(stat) => {
            let is_percentile = matches!(Statistic::named(&stat.statistic), Some(Statistic::Percentile(_)));
            let (simple, extended) = if is_percentile { (None, Some(&stat.statistic)) } else { (Some(&stat.statistic), None) };
            Document::members([
                ("MetricName", stat.name.as_str().into()),
                ("Namespace", stat.namespace.as_str().into()),
                ("Statistic", simple.into()),
                ("ExtendedStatistic", extended.into()),
                ("Dimensions", dimensions(&stat.dimensions)),
                ("Period", stat.period_s.into()),
                ("Unit", stat.unit.as_deref().into()),
            ])
        }
        Watched::Queries(queries) => Document::members([("Metrics", Document::list(queries.iter().map(query)))]),
    };
    if let Document::Members(watched) = watched {
        members.extend(watched);
    }
    Document::Members(members)
}

pub(super) fn history(item: &AlarmHistoryItem) -> Document {
    Document::members([
        ("AlarmName", item.alarm.as_str().into()),
        ("AlarmType", "MetricAlarm".into()),
        ("Timestamp", Document::Moment(item.at_ms)),
        ("HistoryItemType", item.kind.as_str().into()),
        ("HistorySummary", item.summary.as_str().into()),
        ("HistoryData", item.data.as_str().into()),
    ])
}
