//! When somebody should look: the guide's two alarms, in a form that can fire. An error *rate* is a ratio of two metrics; and no metric counts 429s alone, so
//! they are counted in the access log.

use serde_json::{Value, json};

use super::access_log::AccessLog;
use super::template::{Resource, Template, reference};
use super::{StackSettings, front, proxy};

const TOPIC: &str = "AlarmTopic";
const THROTTLED: &str = "ThrottledRequests";

pub(super) fn put(template: &mut Template, settings: &StackSettings, access_log: &AccessLog) {
    let alarms = &settings.alarms;
    let mut actions = Vec::new();
    if let Some(address) = &alarms.address {
        let topic = json!({
            "TopicName": settings.name.with("alarms"),
            "Subscription": [{ "Protocol": "email", "Endpoint": address }],
        });
        template.resources.put(TOPIC, Resource::new("AWS::SNS::Topic", topic));
        actions.push(reference(TOPIC));
    }
    let namespace = format!("Frontdesk/{}", settings.name);
    let filter = json!({
        "LogGroupName": reference(front::LOGS),
        "FilterPattern": access_log.throttled_pattern,
        "MetricTransformations": [{ "MetricNamespace": namespace, "MetricName": THROTTLED, "MetricValue": "1", "DefaultValue": 0, "Unit": "Count" }],
    });
    template.resources.put("ThrottledFilter", Resource::new("AWS::Logs::MetricFilter", filter));
    let throttled = json!({
        "Namespace": namespace,
        "MetricName": THROTTLED,
        "Statistic": "Sum",
        "Period": 60,
        "EvaluationPeriods": 1,
        "Threshold": alarms.throttled_per_minute_max,
        "AlarmDescription": format!("More than {} requests in a minute were turned away with 429", alarms.throttled_per_minute_max),
    });
    put_alarm(template, settings, "ThrottledAlarm", "throttled", throttled, &actions);
    let api = json!([{ "Name": "ApiName", "Value": settings.name.with("api") }, { "Name": "Stage", "Value": settings.stage }]);
    let function = json!([{ "Name": "FunctionName", "Value": reference(proxy::INVOKE.function) }]);
    let rates = [
        // A proxy that answers 5xx has not failed as a function, and a function that failed is no metric of API Gateway's: each has its own.
        ("ServerErrorAlarm", "server-errors", "AWS/ApiGateway", ("5XXError", "Count"), api, "answers of the API were server errors"),
        ("FunctionErrorAlarm", "function-errors", "AWS/Lambda", ("Errors", "Invocations"), function, "runs of the proxy failed"),
    ];
    for (name, part, namespace, (failed, all), dimensions, what) in rates {
        let metric = |id: &str, metric: &str| {
            json!({
                "Id": id,
                "MetricStat": { "Metric": { "Namespace": namespace, "MetricName": metric, "Dimensions": dimensions }, "Period": 300, "Stat": "Sum" },
                "ReturnData": false,
            })
        };
        let rate = json!({ "Id": "rate", "Expression": "IF(all > 0, 100 * failed / all, 0)", "Label": "Percent", "ReturnData": true });
        let alarm = json!({
            "Metrics": [rate, metric("failed", failed), metric("all", all)],
            "EvaluationPeriods": 2,
            "Threshold": alarms.error_percent_max,
            "AlarmDescription": format!("More than {} % of the {what}, for ten minutes", alarms.error_percent_max),
        });
        put_alarm(template, settings, name, part, alarm, &actions);
    }
}

fn put_alarm(template: &mut Template, settings: &StackSettings, name: &str, part: &str, mut alarm: Value, actions: &[Value]) {
    alarm["AlarmName"] = json!(settings.name.with(part));
    alarm["ComparisonOperator"] = json!("GreaterThanThreshold");
    // Nothing asked is nothing wrong.
    alarm["TreatMissingData"] = json!("notBreaching");
    if !actions.is_empty() {
        alarm["AlarmActions"] = json!(actions);
        alarm["OKActions"] = json!(actions);
    }
    template.resources.put(name, Resource::new("AWS::CloudWatch::Alarm", alarm));
}
