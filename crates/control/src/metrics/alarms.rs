//! The alarms: kept, judged, and told of when they change.

use std::collections::BTreeMap;
use std::sync::Arc;

use frontdesk_store::{AlarmHistoryItem, AlarmStanding, AlarmState, Asked, Comparison, MetricAlarm, StoreError, Watched};
use serde_json::{Value, json};

use super::alarm::{self, Judgement, Period, Rule, with_zone};
use super::query::{Interval, period_of};
use super::statistic::Statistic;
use super::{MetricService, lock};

/// Alarms at once: each is judged every few seconds.
const ALARMS_MAX: usize = 1000;
/// How often alarms are judged while nothing is counted, in seconds; periods end at such moments.
const JUDGING_S: i64 = 10;

/// Takes word of an alarm that has changed. It must not block.
pub type AlarmSink = Arc<dyn Fn(AlarmNotice) + Send + Sync>;

/// An alarm that has changed.
#[derive(Debug, Clone, PartialEq)]
pub struct AlarmNotice {
    /// The alarm's name.
    pub alarm: String,
    /// `OK`, `ALARM` or `INSUFFICIENT_DATA`.
    pub state: &'static str,
    /// What it was before.
    pub old_state: &'static str,
    /// Why.
    pub reason: String,
    /// The document that CloudWatch sends to SNS, JSON.
    pub document: String,
}

/// What keeps an alarm from being changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AlarmError {
    #[error("Alarms not found: {0}")]
    NotFound(String),
    #[error("There are {ALARMS_MAX} alarms already, which is the most of this host")]
    TooMany,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A change of an alarm that is there.
pub(crate) enum AlarmChange {
    /// Whether anybody is told.
    ActionsEnabled(bool),
    /// Another state, until it is judged next: with its reason, and the reason as JSON.
    State(AlarmState, String, Option<String>),
    Tags(BTreeMap<String, String>),
}

/// All alarms, and when they were judged last.
#[derive(Debug, Default)]
pub(super) struct Alarms {
    by_name: BTreeMap<String, Arc<MetricAlarm>>,
    /// In steps of [`JUDGING_S`].
    judged_at: i64,
    /// Counted up with every change, so that one made meanwhile is not overwritten by a judgement.
    pub(super) version: u64,
}

impl Alarms {
    pub(super) fn new(alarms: Vec<MetricAlarm>) -> Alarms {
        Alarms { by_name: alarms.into_iter().map(|alarm| (alarm.name.clone(), Arc::new(alarm))).collect(), judged_at: 0, version: 0 }
    }
}

/// A state by CloudWatch's name.
pub(crate) fn state_name(state: AlarmState) -> &'static str {
    match state {
        AlarmState::Ok => "OK",
        AlarmState::Alarm => "ALARM",
        AlarmState::InsufficientData => "INSUFFICIENT_DATA",
    }
}

/// What a new alarm is in.
pub(crate) fn initial(now_ms: i64) -> AlarmStanding {
    let reason = "Unchecked: Initial alarm creation".to_owned();
    let state = AlarmState::InsufficientData;
    AlarmStanding { state, reason, reason_data: None, updated_at_ms: now_ms, transitioned_at_ms: now_ms }
}

impl MetricService {
    /// The ARN of an alarm.
    pub(crate) fn alarm_arn(&self, name: &str) -> String {
        format!("arn:aws:cloudwatch:{}:{}:alarm:{name}", self.region, self.account_id)
    }

    /// All alarms, in the order of their names.
    pub(crate) fn alarms(&self) -> Vec<Arc<MetricAlarm>> {
        lock(&self.alarms).by_name.values().cloned().collect()
    }

    pub(crate) fn alarm(&self, name: &str) -> Option<Arc<MetricAlarm>> {
        lock(&self.alarms).by_name.get(name).cloned()
    }

    /// Makes an alarm, or gives one of the name other rules; then it keeps its state and its tags. Blocks on the database.
    ///
    /// # Errors
    /// [`AlarmError::TooMany`], [`AlarmError::Store`].
    pub(crate) fn put_alarm(&self, mut alarm: MetricAlarm) -> Result<(), AlarmError> {
        let mut alarms = lock(&self.alarms);
        let known = alarms.by_name.get(&alarm.name);
        let done = if known.is_some() { "updated" } else { "created" };
        match known {
            Some(known) => (alarm.state, alarm.tags) = (known.state.clone(), known.tags.clone()),
            None if alarms.by_name.len() >= ALARMS_MAX => return Err(AlarmError::TooMany),
            None => {}
        }
        let history = self.configuration(&alarm, done, alarm.configured_at_ms);
        self.store.put_metric_alarm(&alarm, &[history])?;
        alarms.version += 1;
        alarms.by_name.insert(alarm.name.clone(), Arc::new(alarm));
        Ok(())
    }

    /// Deletes alarms: all, or none where one is not there. Blocks on the database.
    ///
    /// # Errors
    /// [`AlarmError::NotFound`], [`AlarmError::Store`].
    pub(crate) fn delete_alarms(&self, names: &[String], now_ms: i64) -> Result<(), AlarmError> {
        let mut alarms = lock(&self.alarms);
        let missing: Vec<&str> = names.iter().filter(|name| !alarms.by_name.contains_key(*name)).map(String::as_str).collect();
        if !missing.is_empty() {
            return Err(AlarmError::NotFound(missing.join(", ")));
        }
        for name in names {
            // A name that is given twice is gone by now.
            let Some(alarm) = alarms.by_name.get(name).cloned() else { continue };
            self.store.delete_metric_alarm(name, &self.configuration(&alarm, "deleted", now_ms))?;
            alarms.version += 1;
            alarms.by_name.remove(name);
        }
        Ok(())
    }

    /// Changes an alarm. Blocks on the database.
    ///
    /// # Errors
    /// [`AlarmError::NotFound`], [`AlarmError::Store`].
    pub(crate) fn change_alarm(&self, name: &str, change: AlarmChange, now_ms: i64) -> Result<(), AlarmError> {
        let mut alarms = lock(&self.alarms);
        let known = alarms.by_name.get(name).ok_or_else(|| AlarmError::NotFound(name.to_owned()))?;
        let mut alarm = (**known).clone();
        let mut notice = None;
        let history = match change {
            AlarmChange::ActionsEnabled(enabled) if alarm.actions_enabled == enabled => return Ok(()),
            AlarmChange::ActionsEnabled(enabled) => {
                (alarm.actions_enabled, alarm.configured_at_ms) = (enabled, now_ms);
                vec![self.configuration(&alarm, "updated", now_ms)]
            }
            AlarmChange::Tags(tags) => {
                alarm.tags = tags;
                Vec::new()
            }
            AlarmChange::State(state, reason, reason_data) => {
                let judgement = Judgement { state, reason, reason_data: reason_data.unwrap_or_default() };
                let (history, told) = self.enter(&mut alarm, judgement, now_ms);
                notice = told;
                history.into_iter().collect()
            }
        };
        self.store.put_metric_alarm(&alarm, &history)?;
        if let Some(notice) = notice {
            (self.told)(notice);
        }
        alarms.version += 1;
        alarms.by_name.insert(name.to_owned(), Arc::new(alarm));
        Ok(())
    }

    /// What became of an alarm, or of all, newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn alarm_history(&self, alarm: Option<&str>, from_ms: i64, until_ms: i64) -> Result<Vec<AlarmHistoryItem>, StoreError> {
        self.store.alarm_history(alarm, from_ms, until_ms)
    }

    /// Writes into an alarm's history whom it was told to. Blocks on the database.
    pub fn note_action(&self, alarm: &str, summary: &str, has_succeeded: bool, now_ms: i64) {
        let state = if has_succeeded { "Succeeded" } else { "Failed" };
        let data = json!({ "version": "1.0", "actionState": state, "notification": summary });
        let item = history(alarm, now_ms, "Action", summary.to_owned(), &data);
        if let Err(error) = self.store.add_alarm_history(&item) {
            tracing::warn!(error = &error as &dyn std::error::Error, alarm, "an alarm's history cannot be written");
        }
    }

    /// Judges all alarms, unless nothing can have changed. Blocks on the database.
    pub(super) fn judge_alarms(&self, now_ms: i64, has_news: bool) -> Result<(), StoreError> {
        let (watched, version) = {
            let mut alarms = lock(&self.alarms);
            let step = now_ms / 1000 / JUDGING_S;
            if !has_news && alarms.judged_at == step {
                return Ok(());
            }
            alarms.judged_at = step;
            (alarms.by_name.values().cloned().collect::<Vec<_>>(), alarms.version)
        };
        for alarm in watched {
            let Some(judgement) = self.judge(&alarm, now_ms)? else { continue };
            let mut alarms = lock(&self.alarms);
            if alarms.version != version {
                // Somebody has changed one meanwhile: the next round sees it as it is now.
                alarms.judged_at = 0;
                return Ok(());
            }
            let mut changed = (*alarm).clone();
            let (history, notice) = self.enter(&mut changed, judgement, now_ms);
            self.store.put_metric_alarm(&changed, history.as_slice())?;
            if let Some(notice) = notice {
                (self.told)(notice);
            }
            alarms.by_name.insert(changed.name.clone(), Arc::new(changed));
        }
        Ok(())
    }

    fn judge(&self, alarm: &MetricAlarm, now_ms: i64) -> Result<Option<Judgement>, StoreError> {
        let period_s = period_of(&alarm.watched);
        let grain = i64::from(period_s).min(60);
        let now = now_ms.div_euclid(1000);
        let over = now - now.rem_euclid(grain);
        let periods = |until: i64| {
            let interval = Interval::ending(until, period_s, alarm.evaluation_periods);
            let points = self.watched(&alarm.watched, &interval)?;
            let period = |at: i64| Period { at, value: points.get(&at).copied() };
            Ok::<Vec<Period>, StoreError>(interval.moments().into_iter().map(period).collect())
        };
        // A period that is not over counts as soon as nothing can mend it any more: nobody has to wait for the minute's end to hear of a burst.
        let can_be_settled = match &alarm.watched {
            Watched::Metric(stat) => {
                let grows = Statistic::named(&stat.statistic).is_some_and(Statistic::only_grows);
                grows && matches!(alarm.comparison, Comparison::GreaterThanThreshold | Comparison::GreaterThanOrEqualToThreshold)
            }
            Watched::Queries(_) => false,
        };
        if can_be_settled {
            let periods = periods(over + grain)?;
            let newest = periods.last().and_then(|period| period.value);
            if newest.is_some_and(|value| Rule::of(alarm).is_breached_by(value)) {
                return Ok(alarm::judge(alarm, &periods, now_ms));
            }
        }
        Ok(alarm::judge(alarm, &periods(over)?, now_ms))
    }

    /// Puts an alarm into a state. If it is another, returns what its history says, and what is told of it once that is written.
    fn enter(&self, alarm: &mut MetricAlarm, judgement: Judgement, now_ms: i64) -> (Option<AlarmHistoryItem>, Option<AlarmNotice>) {
        let Judgement { state, reason, reason_data } = judgement;
        let old = alarm.state.clone();
        let transitioned_at_ms = if old.state == state { old.transitioned_at_ms } else { now_ms };
        let reason_data = Some(reason_data).filter(|data| !data.is_empty());
        alarm.state = AlarmStanding { state, reason, reason_data, updated_at_ms: now_ms, transitioned_at_ms };
        if old.state == state {
            return (None, None);
        }
        let (from, to) = (state_name(old.state), state_name(state));
        let notice = alarm.actions_enabled.then(|| AlarmNotice {
            alarm: alarm.name.clone(),
            state: to,
            old_state: from,
            reason: alarm.state.reason.clone(),
            document: self.notification(alarm, from).to_string(),
        });
        let data = json!({ "version": "1.0", "oldState": standing(&old), "newState": standing(&alarm.state) });
        (Some(history(&alarm.name, now_ms, "StateUpdate", format!("Alarm updated from {from} to {to}"), &data)), notice)
    }

    fn configuration(&self, alarm: &MetricAlarm, done: &str, now_ms: i64) -> AlarmHistoryItem {
        let kind = match done {
            "created" => "Create",
            "deleted" => "Delete",
            _ => "Update",
        };
        let configuration = json!({
            "alarmName": alarm.name,
            "alarmArn": self.alarm_arn(&alarm.name),
            "actionsEnabled": alarm.actions_enabled,
            "threshold": alarm.threshold,
            "comparisonOperator": format!("{:?}", alarm.comparison),
            "evaluationPeriods": alarm.evaluation_periods,
        });
        let data = json!({ "version": "1.0", "type": kind, "updatedAlarm": configuration });
        history(&alarm.name, now_ms, "ConfigurationUpdate", format!("Alarm \"{}\" {done}", alarm.name), &data)
    }

    /// What CloudWatch sends to an SNS topic
    /// (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Notify_Users_Alarm_Changes.html>).
    fn notification(&self, alarm: &MetricAlarm, old_state: &str) -> Value {
        json!({
            "AlarmName": alarm.name,
            "AlarmDescription": alarm.description,
            "AWSAccountId": self.account_id,
            "AlarmConfigurationUpdatedTimestamp": with_zone(alarm.configured_at_ms),
            "NewStateValue": state_name(alarm.state.state),
            "NewStateReason": alarm.state.reason,
            "StateChangeTime": with_zone(alarm.state.transitioned_at_ms),
            "Region": self.region,
            "AlarmArn": self.alarm_arn(&alarm.name),
            "OldStateValue": old_state,
            "OKActions": alarm.ok_actions,
            "AlarmActions": alarm.alarm_actions,
            "InsufficientDataActions": alarm.insufficient_data_actions,
            "Trigger": trigger(alarm),
        })
    }
}

fn standing(standing: &AlarmStanding) -> Value {
    let data = standing.reason_data.as_deref().and_then(|data| serde_json::from_str::<Value>(data).ok());
    json!({ "stateValue": state_name(standing.state), "stateReason": standing.reason, "stateReasonData": data })
}

fn history(alarm: &str, at_ms: i64, kind: &str, summary: String, data: &Value) -> AlarmHistoryItem {
    AlarmHistoryItem { alarm: alarm.to_owned(), at_ms, kind: kind.to_owned(), summary, data: data.to_string() }
}

fn trigger(alarm: &MetricAlarm) -> Value {
    let dimensions = |dimensions: &BTreeMap<String, String>| {
        dimensions.iter().map(|(name, value)| json!({ "value": value, "name": name })).collect::<Vec<_>>()
    };
    let mut trigger = match &alarm.watched {
        Watched::Metric(stat) => {
            let (kind, member, statistic) = match Statistic::named(&stat.statistic) {
                Some(Statistic::Percentile(_)) => ("ExtendedStatistic", "ExtendedStatistic", stat.statistic.clone()),
                _ => ("Statistic", "Statistic", stat.statistic.to_uppercase()),
            };
            json!({
                "MetricName": stat.name,
                "Namespace": stat.namespace,
                "StatisticType": kind,
                member: statistic,
                "Unit": stat.unit,
                "Dimensions": dimensions(&stat.dimensions),
            })
        }
        Watched::Queries(queries) => {
            let query = |query: &frontdesk_store::MetricQuery| match &query.asked {
                Asked::Expression(expression, _) => {
                    json!({ "Id": query.id, "Expression": expression, "Label": query.label, "ReturnData": query.returns_data })
                }
                Asked::Stat(stat) => json!({
                    "Id": query.id,
                    "MetricStat": {
                        "Metric": { "Dimensions": dimensions(&stat.dimensions), "MetricName": stat.name, "Namespace": stat.namespace },
                        "Period": stat.period_s,
                        "Stat": stat.statistic,
                    },
                    "ReturnData": query.returns_data,
                }),
            };
            json!({ "Metrics": queries.iter().map(query).collect::<Vec<_>>() })
        }
    };
    trigger["Period"] = json!(period_of(&alarm.watched));
    trigger["EvaluationPeriods"] = json!(alarm.evaluation_periods);
    trigger["DatapointsToAlarm"] = json!(alarm.datapoints_to_alarm);
    trigger["ComparisonOperator"] = json!(format!("{:?}", alarm.comparison));
    trigger["Threshold"] = json!(alarm.threshold);
    let missing = alarm.missing_data.map_or("missing", missing_name);
    trigger["TreatMissingData"] = json!(missing);
    trigger["EvaluateLowSampleCountPercentile"] = json!(alarm.low_sample_percentile.as_deref().unwrap_or_default());
    trigger
}

/// What a period without data means, by CloudWatch's name.
pub(crate) fn missing_name(missing: frontdesk_store::MissingData) -> &'static str {
    use frontdesk_store::MissingData;
    match missing {
        MissingData::Missing => "missing",
        MissingData::Ignore => "ignore",
        MissingData::Breaching => "breaching",
        MissingData::NotBreaching => "notBreaching",
    }
}
