//! What the traffic that came here would have cost on AWS: what was counted, times the dated table of list prices (`frontdesk_aws::prices`).
//!
//! Only what is counted is priced. Logs, images, secrets and data sent out are not: `frontdesk deploy --dry-run` estimates them.

use std::collections::BTreeMap;

use frontdesk_aws::prices::{AGENT_CPU_H, AGENT_GB_H, ALARM_METRIC, API_MILLION, FUNCTION_GB_S, FUNCTION_MILLION, METRIC};
use frontdesk_metrics::Series;
use frontdesk_store::{StoreError, Watched};
use time::{Date, Duration, OffsetDateTime, Time};

use crate::metrics::{Interval, MetricService};

const DAY_S: u32 = 86_400;
/// The namespaces whose metrics are not paid for: AWS's own, and the host's.
const FREE: [&str; 2] = ["AWS/", "Frontdesk/"];

/// Something that is paid for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Usage {
    ApiRequests,
    FunctionInvocations,
    FunctionGbSeconds,
    AgentCpuHours,
    AgentGbHours,
    AlarmMonths,
    MetricMonths,
}

impl Usage {
    pub(crate) const ALL: [Usage; 7] = [
        Usage::ApiRequests,
        Usage::FunctionInvocations,
        Usage::FunctionGbSeconds,
        Usage::AgentCpuHours,
        Usage::AgentGbHours,
        Usage::AlarmMonths,
        Usage::MetricMonths,
    ];

    /// The service that it is billed by, as Cost Explorer names it.
    pub(crate) fn service(self) -> &'static str {
        match self {
            Usage::ApiRequests => "Amazon API Gateway",
            Usage::FunctionInvocations | Usage::FunctionGbSeconds => "AWS Lambda",
            Usage::AgentCpuHours | Usage::AgentGbHours => "Amazon Bedrock AgentCore",
            Usage::AlarmMonths | Usage::MetricMonths => "AmazonCloudWatch",
        }
    }

    /// What it is counted in.
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Usage::ApiRequests | Usage::FunctionInvocations => "Requests",
            Usage::FunctionGbSeconds => "GB-seconds",
            Usage::AgentCpuHours => "vCPU-hours",
            Usage::AgentGbHours => "GB-hours",
            Usage::AlarmMonths => "Alarms",
            Usage::MetricMonths => "Metrics",
        }
    }

    /// Dollars for one.
    pub(crate) fn price(self) -> f64 {
        match self {
            Usage::ApiRequests => API_MILLION / 1e6,
            Usage::FunctionInvocations => FUNCTION_MILLION / 1e6,
            Usage::FunctionGbSeconds => FUNCTION_GB_S,
            Usage::AgentCpuHours => AGENT_CPU_H,
            Usage::AgentGbHours => AGENT_GB_H,
            Usage::AlarmMonths => ALARM_METRIC,
            Usage::MetricMonths => METRIC,
        }
    }

    /// The usage that a metric's sum is, if it is one.
    fn of(series: &Series) -> Option<Usage> {
        let names: Vec<&str> = series.dimensions.keys().map(String::as_str).collect();
        match (series.namespace.as_str(), series.name.as_str(), names.as_slice()) {
            // Coarser and finer dimensions count the same requests once more.
            ("AWS/ApiGateway", "Count", ["ApiName"]) => Some(Usage::ApiRequests),
            ("AWS/Lambda", "Invocations", ["FunctionName"]) => Some(Usage::FunctionInvocations),
            ("Frontdesk/Usage", "FunctionGBSeconds", _) => Some(Usage::FunctionGbSeconds),
            ("AWS/Bedrock-AgentCore", "CPUUsed-vCPUHours", _) => Some(Usage::AgentCpuHours),
            ("AWS/Bedrock-AgentCore", "MemoryUsed-GBHours", _) => Some(Usage::AgentGbHours),
            _ => None,
        }
    }
}

/// A day, and how much was used on it.
pub(crate) type Days = BTreeMap<Date, BTreeMap<Usage, f64>>;

/// What was used on the days from the first to before the last, UTC. Blocks on the database.
///
/// # Errors
/// [`StoreError`].
pub(crate) fn used(metrics: &MetricService, first: Date, until: Date, now: OffsetDateTime) -> Result<Days, StoreError> {
    let begin = |date: Date| date.with_time(Time::MIDNIGHT).assume_utc();
    let mut days: Days = BTreeMap::new();
    let mut date = first;
    while date < until {
        days.insert(date, BTreeMap::new());
        date += Duration::days(1);
    }
    let from = begin(first).unix_timestamp();
    let interval = Interval { from, period_s: DAY_S, count: (until - first).whole_days() };
    for known in metrics.known(None, now.unix_timestamp())? {
        let series = known.series;
        let usage = Usage::of(&series);
        let is_paid = !FREE.iter().any(|free| series.namespace.starts_with(free));
        if known.last_at < from || (usage.is_none() && !is_paid) {
            continue;
        }
        for datum in metrics.data(&series, Some(&series.unit), &interval)? {
            let date = OffsetDateTime::from_unix_timestamp(datum.at).map_or(first, OffsetDateTime::date);
            let day = days.entry(date).or_default();
            match usage {
                Some(usage) => *day.entry(usage).or_default() += datum.sketch.sum(),
                // A metric is paid for by the hour that it is sent in; a day that it was sent on is counted whole.
                None => *day.entry(Usage::MetricMonths).or_default() += share_of_month(date),
            }
        }
    }
    for alarm in metrics.alarms() {
        let watched = match &alarm.watched {
            Watched::Metric(_) => 1.0,
            #[expect(clippy::cast_precision_loss, reason = "at most some hundreds")]
            Watched::Queries(queries) => {
                queries.iter().filter(|query| matches!(query.asked, frontdesk_store::Asked::Stat(_))).count() as f64
            }
        };
        // Since it was made or changed; when it was made before that, nobody remembers.
        let since = OffsetDateTime::from_unix_timestamp(alarm.configured_at_ms / 1000).map_or(first, OffsetDateTime::date);
        for (date, day) in days.range_mut(since..).filter(|(date, _)| **date <= now.date()) {
            *day.entry(Usage::AlarmMonths).or_default() += watched * share_of_month(*date);
        }
    }
    Ok(days)
}

fn share_of_month(date: Date) -> f64 {
    1.0 / f64::from(date.month().length(date.year()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_request_is_paid_for_once() {
        let check = |namespace: &str, name: &str, dimensions: &[(&str, &str)], expected: Option<Usage>| {
            assert_eq!(Usage::of(&Series::new(namespace, name, dimensions, "Count")), expected, "{name} {dimensions:?}");
        };
        check("AWS/ApiGateway", "Count", &[("ApiName", "a")], Some(Usage::ApiRequests));
        check("AWS/ApiGateway", "Count", &[("ApiName", "a"), ("Stage", "prod")], None);
        check("AWS/ApiGateway", "4XXError", &[("ApiName", "a")], None);
        check("AWS/Lambda", "Invocations", &[("FunctionName", "f")], Some(Usage::FunctionInvocations));
        check("AWS/Lambda", "Invocations", &[], None);
    }

    #[test]
    fn a_month_of_days_is_a_month() {
        let days = (1..=28).map(|day| Date::from_calendar_date(2026, time::Month::February, day).unwrap());
        assert!((days.map(share_of_month).sum::<f64>() - 1.0).abs() < 1e-9);
    }
}
