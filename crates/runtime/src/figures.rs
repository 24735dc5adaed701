//! AgentCore's metrics of runtimes (<https://docs.aws.amazon.com/bedrock-agentcore/latest/devguide/observability-runtime-metrics.html>).

use frontdesk_aws::arn::AgentRuntimeArn;
use frontdesk_metrics::{Figures, Series, Sketch, TakenCalls, unit};

/// The namespace of AgentCore's metrics.
const NAMESPACE: &str = "AWS/Bedrock-AgentCore";
const OPERATION: (&str, &str) = ("Operation", "InvokeAgentRuntime");

/// The metrics of a runtime's calls, by endpoint, and of all runtimes together.
pub(crate) fn of_calls(arn: &AgentRuntimeArn, calls: Vec<(String, TakenCalls)>) -> Figures {
    let resource = arn.to_string();
    let mut figures = Figures::new();
    for (endpoint, taken) in calls {
        let all = taken.calls + taken.throttled;
        let name = format!("{}::{endpoint}", arn.name());
        let own = [OPERATION, ("Resource", resource.as_str()), ("Name", name.as_str())];
        let sketches = [
            ("Invocations", unit::COUNT, Sketch::of_shares(all, all)),
            ("Throttles", unit::COUNT, Sketch::of_shares(taken.throttled, all)),
            ("UserErrors", unit::COUNT, Sketch::of_shares(taken.code_failures, all)),
            ("SystemErrors", unit::COUNT, Sketch::of_shares(taken.host_failures, all)),
            ("Latency", unit::MILLISECONDS, taken.durations),
        ];
        for (metric, unit, sketch) in sketches.into_iter().filter(|(_, _, sketch)| !sketch.is_empty()) {
            figures.push((Series::new(NAMESPACE, metric, &own, unit), sketch.clone()));
            figures.push((Series::new(NAMESPACE, metric, &[OPERATION], unit), sketch));
        }
    }
    figures
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use frontdesk_metrics::{CallFigures, CallOutcome};

    use super::*;

    #[test]
    fn a_runtimes_metrics_are_agentcores() {
        let calls = CallFigures::default();
        calls.record(CallOutcome::Answered, Some(std::time::Duration::from_millis(5)));
        calls.record(CallOutcome::CallerOrCodeFailed, None);
        calls.record(CallOutcome::Throttled, None);
        let arn: AgentRuntimeArn = "arn:aws:bedrock-agentcore:us-east-1:123456789012:runtime/faq-Ab12Cd34Ef".parse().unwrap();
        let taken: BTreeMap<_, _> = of_calls(&arn, vec![("DEFAULT".to_owned(), calls.take().unwrap())]).into_iter().collect();
        let resource = arn.to_string();
        let own = [OPERATION, ("Resource", resource.as_str()), ("Name", "faq::DEFAULT")];
        for (name, sum) in [("Invocations", 3.0), ("Throttles", 1.0), ("UserErrors", 1.0), ("SystemErrors", 0.0)] {
            assert_eq!(taken[&Series::new(NAMESPACE, name, &own, "Count")].sum(), sum, "{name}");
            assert_eq!(taken[&Series::new(NAMESPACE, name, &[OPERATION], "Count")].count(), 3.0, "{name}");
        }
        assert_eq!(taken[&Series::new(NAMESPACE, "Latency", &own, "Milliseconds")].sum(), 5.0);
    }
}
