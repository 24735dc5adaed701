//! The alarms: kept, judged, and told of when they change.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use frontdesk_metrics::Series;

use frontdesk_store::{AlarmHistoryItem, AlarmStanding, AlarmState, Asked, Comparison, MetricAlarm, StoreError, Watched};
use serde_json::{Value, json};

use super::alarm::{self, Judgement, Period, Rule, with_zone};
use super::math::Points;
use super::query::{Interval, by_period, period_of, series_of};
use super::statistic::Statistic;
use super::{MetricService, lock};

/// Alarms at once: each is judged whenever one of its periods ends.
const ALARMS_MAX: usize = 1000;
/// A state that somebody has set lasts until the next moment of so many seconds.
const SET_STATE_S: i64 = 10;

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

/// All alarms, by name.
#[derive(Debug, Default)]
pub(super) struct Alarms(BTreeMap<String, Standing>);

/// An alarm, and what decides when it is judged next.
#[derive(Debug, Clone)]
struct Standing {
    alarm: Arc<MetricAlarm>,
    /// The metrics that it looks at, without units.
    series: Arc<[Series]>,
    /// The end of the last whole period that it was judged by, in Unix seconds; none for one that has not been judged as it is now.
    judged_until: Option<i64>,
    /// To be judged from then on, whatever has been counted; Unix seconds.
    again_at: Option<i64>,
}

impl Standing {
    fn new(alarm: MetricAlarm) -> Standing {
        let series: Vec<Series> = match &alarm.watched {
            Watched::Metric(stat) => vec![series_of(stat)],
            Watched::Queries(queries) => queries
                .iter()
                .filter_map(|query| match &query.asked {
                    Asked::Stat(stat) => Some(series_of(stat)),
                    Asked::Expression(..) => None,
                })
                .collect(),
        };
        Standing { alarm: Arc::new(alarm), series: series.into(), judged_until: None, again_at: None }
    }

    /// Whether the alarm may stand otherwise than it was found: a period is over, or one of its metrics has been counted.
    fn is_due(&self, touched: &HashSet<Series>, now_s: i64) -> bool {
        self.judged_until != Some(over(&self.alarm, now_s))
            || self.again_at.is_some_and(|again_at| again_at <= now_s)
            || self.series.iter().any(|series| touched.contains(series))
    }
}

/// The end of an alarm's last whole period, in Unix seconds: periods of a minute and more end at whole minutes.
fn over(alarm: &MetricAlarm, now_s: i64) -> i64 {
    now_s - now_s.rem_euclid(i64::from(period_of(&alarm.watched)).min(60))
}

impl Alarms {
    pub(super) fn new(alarms: Vec<MetricAlarm>) -> Alarms {
        Alarms(alarms.into_iter().map(|alarm| (alarm.name.clone(), Standing::new(alarm))).collect())
    }

    fn get(&self, name: &str) -> Option<&Arc<MetricAlarm>> {
        self.0.get(name).map(|standing| &standing.alarm)
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
        lock(&self.alarms).0.values().map(|standing| standing.alarm.clone()).collect()
    }

    pub(crate) fn alarm(&self, name: &str) -> Option<Arc<MetricAlarm>> {
        lock(&self.alarms).get(name).cloned()
    }

    /// Makes an alarm, or gives one of the name other rules; then it keeps its state and its tags. Blocks on the database.
    ///
    /// # Errors
    /// [`AlarmError::TooMany`], [`AlarmError::Store`].
    pub(crate) fn put_alarm(&self, mut alarm: MetricAlarm) -> Result<(), AlarmError> {
        let mut alarms = lock(&self.alarms);
        let known = alarms.get(&alarm.name);
        let done = if known.is_some() { "updated" } else { "created" };
        match known {
            Some(known) => (alarm.state, alarm.tags) = (known.state.clone(), known.tags.clone()),
            None if alarms.0.len() >= ALARMS_MAX => return Err(AlarmError::TooMany),
            None => {}
        }
        let history = self.configuration(&alarm, done, alarm.configured_at_ms);
        self.store.put_metric_alarm(&alarm, &[history])?;
        alarms.0.insert(alarm.name.clone(), Standing::new(alarm));
        Ok(())
    }

    /// Deletes alarms: all, or none where one is not there. Blocks on the database.
    ///
    /// # Errors
    /// [`AlarmError::NotFound`], [`AlarmError::Store`].
    pub(crate) fn delete_alarms(&self, names: &[String], now_ms: i64) -> Result<(), AlarmError> {
        let mut alarms = lock(&self.alarms);
        let missing: Vec<&str> = names.iter().filter(|name| !alarms.0.contains_key(*name)).map(String::as_str).collect();
        if !missing.is_empty() {
            return Err(AlarmError::NotFound(missing.join(", ")));
        }
        for name in names {
            // A name that is given twice is gone by now.
            let Some(alarm) = alarms.get(name).cloned() else { continue };
            self.store.delete_metric_alarm(name, &self.configuration(&alarm, "deleted", now_ms))?;
            alarms.0.remove(name);
        }
        Ok(())
    }

    /// Changes an alarm. Blocks on the database.
    ///
    /// # Errors
    /// [`AlarmError::NotFound`], [`AlarmError::Store`].
    pub(crate) fn change_alarm(&self, name: &str, change: AlarmChange, now_ms: i64) -> Result<(), AlarmError> {
        let mut alarms = lock(&self.alarms);
        let known = alarms.0.get_mut(name).ok_or_else(|| AlarmError::NotFound(name.to_owned()))?;
        let mut alarm = (*known.alarm).clone();
        let (mut notice, mut again_at) = (None, known.again_at);
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
                let now_s = now_ms.div_euclid(1000);
                again_at = Some(now_s - now_s.rem_euclid(SET_STATE_S) + SET_STATE_S);
                history.into_iter().collect()
            }
        };
        self.store.put_metric_alarm(&alarm, &history)?;
        if let Some(notice) = notice {
            (self.told)(notice);
        }
        (known.alarm, known.again_at) = (Arc::new(alarm), again_at);
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

    /// Judges the alarms of which a period is over or a metric is among `touched`, which are without units. Blocks on the database.
    pub(super) fn judge_alarms(&self, now_ms: i64, touched: &HashSet<Series>) -> Result<(), StoreError> {
        let now_s = now_ms.div_euclid(1000);
        let due: Vec<Standing> = lock(&self.alarms).0.values().filter(|standing| standing.is_due(touched, now_s)).cloned().collect();
        for Standing { alarm, .. } in due {
            let judgement = self.judge(&alarm, now_ms)?;
            let mut alarms = lock(&self.alarms);
            // Somebody may have changed or deleted it meanwhile: what it is now is judged the next time.
            let Some(standing) = alarms.0.get_mut(&alarm.name).filter(|standing| Arc::ptr_eq(&standing.alarm, &alarm)) else { continue };
            if let Some(judgement) = judgement {
                let mut changed = (*alarm).clone();
                let (history, notice) = self.enter(&mut changed, judgement, now_ms);
                self.store.put_metric_alarm(&changed, history.as_slice())?;
                if let Some(notice) = notice {
                    (self.told)(notice);
                }
                standing.alarm = Arc::new(changed);
            }
            (standing.judged_until, standing.again_at) = (Some(over(&alarm, now_s)), None);
        }
        Ok(())
    }

    fn judge(&self, alarm: &MetricAlarm, now_ms: i64) -> Result<Option<Judgement>, StoreError> {
        let period_s = period_of(&alarm.watched);
        let grain = i64::from(period_s).min(60);
        let over = over(alarm, now_ms.div_euclid(1000));
        let ending = |until: i64| Interval::ending(until, period_s, alarm.evaluation_periods);
        let periods = |points: &Points, interval: &Interval| {
            let period = |at: i64| Period { at, value: points.get(&at).copied() };
            interval.moments().into_iter().map(period).collect::<Vec<_>>()
        };
        // A period that is not over counts as soon as nothing can mend it any more: nobody has to wait for the minute's end to hear of a burst.
        let settling = match &alarm.watched {
            Watched::Metric(stat) => {
                Statistic::named(&stat.statistic).filter(|statistic| statistic.only_grows()).map(|statistic| (stat, statistic))
            }
            Watched::Queries(_) => None,
        };
        let is_above = matches!(alarm.comparison, Comparison::GreaterThanThreshold | Comparison::GreaterThanOrEqualToThreshold);
        let Some((stat, statistic)) = settling.filter(|_| is_above) else {
            let interval = ending(over);
            return Ok(alarm::judge(alarm, &periods(&self.watched(&alarm.watched, &interval)?, &interval), now_ms));
        };
        // Read once for both: what is over, and what is running.
        let (ended, running) = (ending(over), ending(over + grain));
        let points = self.metric_points(&series_of(stat), stat.unit.as_deref(), ended.from, running.until())?;
        let newest = periods(&by_period(&points, statistic, &running), &running);
        if newest.last().and_then(|period| period.value).is_some_and(|value| Rule::of(alarm).is_breached_by(value)) {
            return Ok(alarm::judge(alarm, &newest, now_ms));
        }
        Ok(alarm::judge(alarm, &periods(&by_period(&points, statistic, &ended), &ended), now_ms))
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
        let data = json!({ "version": "1.0", "oldState": standing_document(&old), "newState": standing_document(&alarm.state) });
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

fn standing_document(standing: &AlarmStanding) -> Value {
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;
    use std::sync::{Mutex, PoisonError};

    use frontdesk_metrics::Sketch;
    use frontdesk_store::{MetricPoint, MetricStat, MissingData, SealKey, Store};

    use super::super::alarm::tests::alarm as an_alarm;
    use super::*;

    /// In the middle of a minute.
    const NOW_S: i64 = 1_769_850_030;

    fn alarm(name: &str, metric: &str, period_s: u32) -> MetricAlarm {
        let stat = MetricStat {
            namespace: "Desk".to_owned(),
            name: metric.to_owned(),
            dimensions: BTreeMap::new(),
            statistic: "Sum".to_owned(),
            period_s,
            unit: None,
        };
        MetricAlarm {
            name: name.to_owned(),
            watched: Watched::Metric(stat),
            threshold: 2.0,
            missing_data: None,
            state: initial(0),
            ..an_alarm(3, 1, MissingData::Missing, AlarmState::Ok)
        }
    }

    struct Judged {
        service: MetricService,
        told: Arc<Mutex<Vec<String>>>,
    }

    impl Judged {
        fn new(folder: &std::path::Path) -> Judged {
            let store = Arc::new(Store::open(&folder.join("f.db"), SealKey::from_bytes(&[1; 32])).unwrap());
            let told = Arc::<Mutex<Vec<String>>>::default();
            let heard = told.clone();
            let sink: AlarmSink = Arc::new(move |notice| heard.lock().unwrap().push(format!("{} {}", notice.alarm, notice.state)));
            Judged { service: MetricService::open(store, "us-east-1", "000000000000", Vec::new(), sink).unwrap(), told }
        }

        /// Counts a value of a metric at a moment, and says what was touched.
        fn count(&self, metric: &str, at: i64) -> HashSet<Series> {
            let series = Series::new("Desk", metric, &[], "Count");
            let point = MetricPoint { at: at - at.rem_euclid(60), span_s: 60, sketch: Sketch::of(5.0) };
            self.service.store.add_metric_points(&[(series.clone(), point)]).unwrap();
            HashSet::from([Series { unit: String::new(), ..series }])
        }

        /// Judges at a moment: so many queries must be made for it, and so much told.
        fn check(&self, at: i64, touched: &HashSet<Series>, queries: usize, told: &[&str]) {
            let before = self.service.queries.load(Ordering::Relaxed);
            self.service.judge_alarms(at * 1000, touched).unwrap();
            assert_eq!(self.service.queries.load(Ordering::Relaxed) - before, queries, "queries at {at}");
            let mut heard = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            assert_eq!(std::mem::take(&mut *heard), told, "at {at}");
        }
    }

    #[test]
    fn alarms_are_judged_when_a_period_is_over_or_their_metric_was_counted() {
        let folder = tempfile::tempdir().unwrap();
        let judged = Judged::new(folder.path());
        for (name, metric, period_s) in [("slow", "a", 60), ("fast", "b", 10), ("other", "c", 60)] {
            judged.service.put_alarm(alarm(name, metric, period_s)).unwrap();
        }
        let nothing = HashSet::new();
        // Each is new; then nothing can have changed until a period ends.
        judged.check(NOW_S, &nothing, 3, &[]);
        judged.check(NOW_S + 1, &nothing, 0, &[]);
        judged.check(NOW_S + 9, &nothing, 0, &[]);
        judged.check(NOW_S + 10, &nothing, 1, &[]);
        // What nobody watches, and then what one does: that one alone is asked, and once although its minute is not over.
        let unwatched = judged.count("nobody's", NOW_S + 11);
        judged.check(NOW_S + 11, &unwatched, 0, &[]);
        let touched = judged.count("a", NOW_S + 12);
        judged.check(NOW_S + 12, &touched, 1, &["slow ALARM"]);
        judged.check(NOW_S + 13, &nothing, 0, &[]);
        // The minute is over for all.
        judged.check(NOW_S + 30, &nothing, 3, &[]);
        judged.check(NOW_S + 31, &nothing, 0, &[]);
        // Three minutes on nothing is known of it.
        judged.check(NOW_S + 210, &nothing, 3, &["slow INSUFFICIENT_DATA"]);
    }

    #[test]
    fn a_state_that_was_set_is_looked_at_soon_and_a_changed_rule_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let judged = Judged::new(folder.path());
        judged.service.put_alarm(alarm("slow", "a", 60)).unwrap();
        let nothing = HashSet::new();
        judged.check(NOW_S, &nothing, 1, &[]);
        let set = AlarmChange::State(AlarmState::Ok, "testing".to_owned(), None);
        judged.service.change_alarm("slow", set, (NOW_S + 2) * 1000).unwrap();
        judged.check(NOW_S + 3, &nothing, 0, &["slow OK"]);
        judged.check(NOW_S + 10, &nothing, 1, &["slow INSUFFICIENT_DATA"]);
        judged.check(NOW_S + 11, &nothing, 0, &[]);
        judged.service.put_alarm(MetricAlarm { evaluation_periods: 1, ..alarm("slow", "a", 60) }).unwrap();
        judged.check(NOW_S + 12, &nothing, 1, &[]);
    }
}
