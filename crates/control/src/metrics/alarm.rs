//! How an alarm stands, as a pure function of its rule and the last periods' data, and why, in CloudWatch's words
//! (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html>).
//!
//! One thing is other than in CloudWatch, which looks some periods further back than it is told because data may come late: here none does.

use frontdesk_store::{AlarmState, Comparison, MetricAlarm, MissingData};
use serde_json::json;
use time::OffsetDateTime;
use time::macros::format_description;

use crate::timestamp::iso_8601;

/// A period's number, or that there is none.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Period {
    /// Its beginning, in Unix seconds.
    pub(crate) at: i64,
    /// What was measured.
    pub(crate) value: Option<f64>,
}

/// What there is to say of an alarm now.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Judgement {
    pub(crate) state: AlarmState,
    pub(crate) reason: String,
    pub(crate) reason_data: String,
}

/// What decides.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rule {
    pub(crate) comparison: Comparison,
    pub(crate) threshold: f64,
    /// How many of the periods must breach.
    pub(crate) to_alarm: usize,
    pub(crate) missing: MissingData,
}

impl Rule {
    pub(crate) fn of(alarm: &MetricAlarm) -> Rule {
        Rule {
            comparison: alarm.comparison,
            threshold: alarm.threshold,
            to_alarm: alarm.datapoints_to_alarm.unwrap_or(alarm.evaluation_periods) as usize,
            missing: alarm.missing_data.unwrap_or(MissingData::Missing),
        }
    }

    /// Whether a value breaches the threshold.
    pub(crate) fn is_breached_by(&self, value: f64) -> bool {
        match self.comparison {
            Comparison::GreaterThanOrEqualToThreshold => value >= self.threshold,
            Comparison::GreaterThanThreshold => value > self.threshold,
            Comparison::LessThanThreshold => value < self.threshold,
            Comparison::LessThanOrEqualToThreshold => value <= self.threshold,
        }
    }

    /// The state that these periods give; `None` is to stay as it is. They are as many as the alarm looks at.
    pub(crate) fn state(&self, periods: &[Period]) -> Option<AlarmState> {
        let there: Vec<f64> = periods.iter().filter_map(|period| period.value).collect();
        let missing = periods.len() - there.len();
        let breaching = there.iter().filter(|value| self.is_breached_by(**value)).count();
        // Of fewer data than must breach, all must.
        let is_alarm = !there.is_empty() && breaching >= self.to_alarm.min(there.len());
        match self.missing {
            MissingData::Breaching => Some(if breaching + missing >= self.to_alarm { AlarmState::Alarm } else { AlarmState::Ok }),
            MissingData::NotBreaching => Some(if breaching >= self.to_alarm { AlarmState::Alarm } else { AlarmState::Ok }),
            MissingData::Missing if there.is_empty() => Some(AlarmState::InsufficientData),
            MissingData::Missing => Some(if is_alarm { AlarmState::Alarm } else { AlarmState::Ok }),
            MissingData::Ignore if there.is_empty() => None,
            MissingData::Ignore if is_alarm && breaching < self.to_alarm => None,
            MissingData::Ignore => Some(if is_alarm { AlarmState::Alarm } else { AlarmState::Ok }),
        }
    }
}

/// Judges an alarm by its last periods, oldest first; `None` while it stays as it is.
pub(crate) fn judge(alarm: &MetricAlarm, periods: &[Period], now_ms: i64) -> Option<Judgement> {
    let rule = Rule::of(alarm);
    let state = rule.state(periods).filter(|state| *state != alarm.state.state)?;
    Some(Judgement { state, reason: reason(alarm, &rule, state, periods), reason_data: reason_data(alarm, periods, now_ms) })
}

/// CloudWatch's sentences, as it shows them in an alarm's history.
fn reason(alarm: &MetricAlarm, rule: &Rule, state: AlarmState, periods: &[Period]) -> String {
    let there: Vec<_> = periods.iter().filter_map(|period| Some((period.at, period.value?))).collect();
    let missing = periods.len() - there.len();
    if state == AlarmState::InsufficientData {
        return format!("Insufficient Data: {} unknown.", counted(missing, "datapoint was", "datapoints were"));
    }
    let treated = match rule.missing {
        MissingData::Breaching => "Breaching",
        _ => "NonBreaching",
    };
    let has_filled = missing > 0 && matches!(rule.missing, MissingData::Breaching | MissingData::NotBreaching);
    let filled = format!("{} treated as [{treated}]", counted(missing, "missing datapoint was", "missing datapoints were"));
    if there.is_empty() {
        return format!("Threshold Crossed: no datapoints were received for {} and {filled}.", counted(missing, "period", "periods"));
    }
    let is_alarm = state == AlarmState::Alarm;
    // Those that speak for the state, newest first.
    let speaking: Vec<_> = there.iter().rev().filter(|(_, value)| rule.is_breached_by(*value) == is_alarm).collect();
    let values: Vec<_> = speaking.iter().map(|(at, value)| format!("{value:?} ({})", moment_in_words(*at))).collect();
    let verb = match (speaking.len(), is_alarm) {
        (1, true) => "was",
        (1, false) => "was not",
        (_, true) => "were",
        (_, false) => "were not",
    };
    let comparison = match rule.comparison {
        Comparison::GreaterThanOrEqualToThreshold => "greater than or equal to",
        Comparison::GreaterThanThreshold => "greater than",
        Comparison::LessThanThreshold => "less than",
        Comparison::LessThanOrEqualToThreshold => "less than or equal to",
    };
    let (from, to, enough) = match is_alarm {
        true => ("OK", "ALARM", rule.to_alarm),
        false => ("ALARM", "OK", (alarm.evaluation_periods as usize + 1).saturating_sub(rule.to_alarm)),
    };
    let and = if has_filled { format!(" and {filled}") } else { String::new() };
    format!(
        "Threshold Crossed: {} out of the last {} datapoints [{}] {verb} {comparison} the threshold ({:?}){and} (minimum {} for {from} -> {to} transition).",
        speaking.len(),
        periods.len(),
        values.join(", "),
        rule.threshold,
        counted(enough, "datapoint", "datapoints"),
    )
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// `31/01/26 09:30:00`, as CloudWatch's reasons have it.
fn moment_in_words(at: i64) -> String {
    let form = format_description!("[day]/[month]/[year repr:last_two] [hour]:[minute]:[second]");
    let moment = OffsetDateTime::from_unix_timestamp(at).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    moment.format(form).expect("every moment has a date and a time")
}

/// `2026-01-31T09:30:00.000+0000`, as CloudWatch's JSON has it.
pub(crate) fn with_zone(unix_ms: i64) -> String {
    iso_8601(unix_ms).replace('Z', "+0000")
}

fn reason_data(alarm: &MetricAlarm, periods: &[Period], now_ms: i64) -> String {
    let recent: Vec<f64> = periods.iter().filter_map(|period| period.value).collect();
    let first = periods.iter().find(|period| period.value.is_some()).map(|period| with_zone(period.at * 1000));
    let evaluated = periods.iter().rev().map(|period| match period.value {
        Some(value) => json!({ "timestamp": with_zone(period.at * 1000), "value": value }),
        None => json!({ "timestamp": with_zone(period.at * 1000) }),
    });
    let (statistic, unit) = match &alarm.watched {
        frontdesk_store::Watched::Metric(stat) => (Some(stat.statistic.as_str()), stat.unit.as_deref()),
        frontdesk_store::Watched::Queries(_) => (None, None),
    };
    let mut data = json!({
        "version": "1.0",
        "queryDate": with_zone(now_ms),
        "startDate": first,
        "unit": unit,
        "statistic": statistic,
        "period": super::query::period_of(&alarm.watched),
        "recentDatapoints": recent,
        "threshold": alarm.threshold,
        "evaluatedDatapoints": evaluated.collect::<Vec<_>>(),
    });
    if let Some(members) = data.as_object_mut() {
        members.retain(|_, value| !value.is_null());
    }
    data.to_string()
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use frontdesk_store::{AlarmStanding, MetricStat, Watched};

    use super::*;

    /// `X` breaches, `0` does not, `-` is missing.
    fn periods(written: &str) -> Vec<Period> {
        let value = |letter| match letter {
            'X' => Some(105.0),
            '0' => Some(1.5),
            _ => None,
        };
        (0..).zip(written.chars()).map(|(minute, letter)| Period { at: 1_769_850_000 + minute * 60, value: value(letter) }).collect()
    }

    fn check(to_alarm: usize, written: &str, expected: [&str; 4]) {
        let kinds = [MissingData::Missing, MissingData::Ignore, MissingData::Breaching, MissingData::NotBreaching];
        for (missing, expected) in kinds.into_iter().zip(expected) {
            let rule = Rule { comparison: Comparison::GreaterThanThreshold, threshold: 100.0, to_alarm, missing };
            let seen = match rule.state(&periods(written)) {
                Some(AlarmState::Ok) => "OK",
                Some(AlarmState::Alarm) => "ALARM",
                Some(AlarmState::InsufficientData) => "INSUFFICIENT",
                None => "stay",
            };
            assert_eq!(seen, expected, "{to_alarm} of {written}, {missing:?}");
        }
    }

    /// The tables of AWS's page on missing data, whose older periods are left out: nothing is late here.
    #[test]
    fn missing_data_mean_what_the_alarm_says() {
        check(3, "X0X", ["OK", "OK", "OK", "OK"]);
        check(3, "0--", ["OK", "OK", "OK", "OK"]);
        check(3, "---", ["INSUFFICIENT", "stay", "ALARM", "OK"]);
        check(3, "XXX", ["ALARM", "ALARM", "ALARM", "ALARM"]);
        check(3, "X--", ["ALARM", "stay", "ALARM", "OK"]);
        check(1, "X", ["ALARM", "ALARM", "ALARM", "ALARM"]);
        check(1, "-", ["INSUFFICIENT", "stay", "ALARM", "OK"]);
    }

    #[test]
    fn some_of_the_periods_may_be_enough() {
        check(2, "0XX", ["ALARM", "ALARM", "ALARM", "ALARM"]);
        check(2, "X0X", ["ALARM", "ALARM", "ALARM", "ALARM"]);
        check(2, "0X-", ["OK", "OK", "ALARM", "OK"]);
        check(2, "--0", ["OK", "OK", "ALARM", "OK"]);
        check(2, "--X", ["ALARM", "stay", "ALARM", "OK"]);
        check(2, "-X0", ["OK", "OK", "ALARM", "OK"]);
        check(2, "00X", ["OK", "OK", "OK", "OK"]);
    }

    #[test]
    fn each_comparison_has_its_bound() {
        let check = |comparison, expected: [bool; 3]| {
            let rule = Rule { comparison, threshold: 2.0, to_alarm: 1, missing: MissingData::Missing };
            assert_eq!([1.0, 2.0, 3.0].map(|value| rule.is_breached_by(value)), expected, "{comparison:?}");
        };
        check(Comparison::GreaterThanThreshold, [false, false, true]);
        check(Comparison::GreaterThanOrEqualToThreshold, [false, true, true]);
        check(Comparison::LessThanThreshold, [true, false, false]);
        check(Comparison::LessThanOrEqualToThreshold, [true, true, false]);
    }

    /// One of a metric's sum, without actions.
    pub(in crate::metrics) fn alarm(evaluation_periods: u32, to_alarm: u32, missing: MissingData, state: AlarmState) -> MetricAlarm {
        let stat = MetricStat {
            namespace: "AWS/ApiGateway".into(),
            name: "4XXError".into(),
            dimensions: BTreeMap::new(),
            statistic: "Sum".into(),
            period_s: 60,
            unit: None,
        };
        let state = AlarmStanding { state, reason: String::new(), reason_data: None, updated_at_ms: 0, transitioned_at_ms: 0 };
        MetricAlarm {
            name: "a".into(),
            description: None,
            actions_enabled: true,
            ok_actions: Vec::new(),
            alarm_actions: Vec::new(),
            insufficient_data_actions: Vec::new(),
            watched: Watched::Metric(stat),
            evaluation_periods,
            datapoints_to_alarm: Some(to_alarm),
            threshold: 100.0,
            comparison: Comparison::GreaterThanThreshold,
            missing_data: Some(missing),
            low_sample_percentile: None,
            tags: BTreeMap::new(),
            configured_at_ms: 0,
            state,
        }
    }

    #[test]
    fn reasons_are_cloudwatch_s() {
        let check = |alarm: MetricAlarm, written: &str, expected: &str| {
            assert_eq!(judge(&alarm, &periods(written), 0).unwrap().reason, expected);
        };
        check(
            alarm(1, 1, MissingData::Missing, AlarmState::Ok),
            "X",
            "Threshold Crossed: 1 out of the last 1 datapoints [105.0 (31/01/26 09:00:00)] was greater than the threshold (100.0) (minimum 1 datapoint for OK -> ALARM transition).",
        );
        check(
            alarm(3, 2, MissingData::Missing, AlarmState::Alarm),
            "00X",
            "Threshold Crossed: 2 out of the last 3 datapoints [1.5 (31/01/26 09:01:00), 1.5 (31/01/26 09:00:00)] were not greater than the threshold (100.0) (minimum 2 datapoints for ALARM -> OK transition).",
        );
        check(
            alarm(1, 1, MissingData::NotBreaching, AlarmState::Alarm),
            "-",
            "Threshold Crossed: no datapoints were received for 1 period and 1 missing datapoint was treated as [NonBreaching].",
        );
        check(alarm(2, 2, MissingData::Missing, AlarmState::Ok), "--", "Insufficient Data: 2 datapoints were unknown.");
    }

    #[test]
    fn an_alarm_that_stays_is_not_judged() {
        assert_eq!(judge(&alarm(1, 1, MissingData::Missing, AlarmState::Alarm), &periods("X"), 0), None);
        assert_eq!(judge(&alarm(1, 1, MissingData::Ignore, AlarmState::Ok), &periods("-"), 0), None);
        let judged = judge(&alarm(2, 1, MissingData::Missing, AlarmState::Ok), &periods("X-"), 1_769_850_120_000).unwrap();
        let data: serde_json::Value = serde_json::from_str(&judged.reason_data).unwrap();
        assert_eq!(
            data,
            serde_json::json!({
                "version": "1.0", "queryDate": "2026-01-31T09:02:00.000+0000", "startDate": "2026-01-31T09:00:00.000+0000",
                "statistic": "Sum", "period": 60, "recentDatapoints": [105.0], "threshold": 100.0,
                "evaluatedDatapoints": [
                    { "timestamp": "2026-01-31T09:01:00.000+0000" }, { "timestamp": "2026-01-31T09:00:00.000+0000", "value": 105.0 },
                ],
            })
        );
    }
}
