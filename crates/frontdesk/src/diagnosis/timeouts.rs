//! Issue 2, timeouts: those of gateway and function, which have to fit into each other, and the agent's health.

use super::facts::{Facts, Known, MethodFacts};
use super::finding::Finding;
use super::remedy;

const ISSUE: u8 = 2;
/// An agent takes 5 to 15 seconds, says the guide: who waits shorter turns away good answers.
const ANSWER_MS: u64 = 15_000;
/// API Gateway's longest wait without a raised quota.
const INTEGRATION_MS_MAX: u64 = 29_000;
/// Between the gateway's wait and the function's end, so that the function is the one that says what was wrong.
const SPARE_MS: u64 = 1_000;

/// In the order of a request.
pub(super) fn examine(facts: &Facts) -> Vec<Finding> {
    let mut findings: Vec<Finding> = facts.methods.iter().flat_map(|method| of_method(facts, method)).collect();
    findings.extend(facts.agents.iter().filter_map(|(arn, agent)| of_agent(arn, agent)));
    findings.into_iter().map(|finding| finding.of(ISSUE)).collect()
}

fn of_method(facts: &Facts, method: &MethodFacts) -> Vec<Finding> {
    let Some(integration) = method.integration.as_ref().filter(|integration| integration.kind != "MOCK") else { return Vec::new() };
    let what = format!("Timeout of {} {}", method.verb, method.path);
    let waits_ms = integration.timeout_ms;
    // Before another backend a short wait may be meant.
    let judged = |what, said| if facts.leads_to_agent(integration) { Finding::bad(what, said) } else { Finding::lacking(what, said) };
    if waits_ms < ANSWER_MS {
        let said = format!("the gateway waits {waits_ms} ms, and an agent's answer may take {ANSWER_MS}: callers get 504");
        let mut steps = vec![remedy::set_integration_timeout(facts, method, INTEGRATION_MS_MAX)];
        if facts.has_stage().unwrap_or(false) {
            steps.push(remedy::deploy(facts));
        }
        return vec![judged(what, said).mended_by(steps)];
    }
    let good = Finding::good(what, format!("the gateway waits {waits_ms} ms"));
    let name = facts.function_of(integration);
    let Some(Known::Is(function)) = name.and_then(|name| facts.functions.get(&name)) else { return vec![good] };
    let ends_ms = function.timeout_s * 1000;
    let what = format!("Timeout of the function {}", function.name);
    let fitting_s = waits_ms.saturating_sub(SPARE_MS) / 1000;
    let raise = remedy::set_function_timeout(facts, &function.name, fitting_s);
    let of_function = if ends_ms < ANSWER_MS {
        let said = format!(
            "Lambda ends it after {} s, and an agent's answer may take {} s: callers get 502 or 504",
            function.timeout_s,
            ANSWER_MS / 1000
        );
        judged(what, said).mended_by([raise])
    } else if ends_ms > waits_ms {
        let said = format!(
            "it may run {} s, and the gateway waits {waits_ms} ms: what is late is paid for, after its caller got 504",
            function.timeout_s
        );
        Finding::lacking(what, said).mended_by([raise])
    } else {
        Finding::good(what, format!("{} s, within the gateway's {waits_ms} ms", function.timeout_s))
    };
    vec![good, of_function]
}

fn of_agent(arn: &str, agent: &Known<super::facts::AgentFacts>) -> Option<Finding> {
    let Known::Is(agent) = agent else {
        let absent = || Finding::bad("Agent", format!("{arn} does not exist, so callers get 404: `frontdesk launch` brings it"));
        return (*agent == Known::Absent).then(absent);
    };
    let what = format!("Agent {}", agent.name);
    let why = agent.failure.as_ref().map(|failure| format!(" ({failure})")).unwrap_or_default();
    let said = format!("{}{why}, {}", agent.status, agent.arn);
    Some(match (agent.status.as_str(), agent.failure.is_some()) {
        ("READY", false) => Finding::good(what, said),
        ("CREATING" | "UPDATING" | "STARTING" | "STOPPED", false) => Finding::lacking(what, said),
        _ => Finding::bad(what, format!("{said}: `frontdesk logs` says more")),
    })
}

#[cfg(test)]
mod tests {
    use super::super::facts::{AgentFacts, FunctionFacts, IntegrationFacts};
    use super::super::finding::Verdict;
    use super::*;

    fn check(waits_ms: u64, function_s: u64, is_agent_s: bool, expected: &[(Verdict, &str)]) {
        let integration = IntegrationFacts {
            kind: "AWS_PROXY".to_owned(),
            uri: "arn:aws:apigateway:r:lambda:path/2015-03-31/functions/arn:aws:lambda:r:1:function:f/invocations".to_owned(),
            timeout_ms: waits_ms,
            ..IntegrationFacts::default()
        };
        let method =
            MethodFacts { path: "/invoke".to_owned(), verb: "POST".to_owned(), integration: Some(integration), ..MethodFacts::default() };
        let agent_arn = is_agent_s.then(|| "arn".to_owned());
        let function = FunctionFacts { name: "f".to_owned(), timeout_s: function_s, agent_arn, ..FunctionFacts::default() };
        let facts = Facts { methods: vec![method], functions: [("f".to_owned(), Known::Is(function))].into(), ..Facts::default() };
        let found = examine(&facts);
        assert_eq!(found.len(), expected.len(), "{found:#?}");
        for (finding, (verdict, command)) in found.iter().zip(expected) {
            let line = finding.remedy.first().map(|step| step.line.as_str()).unwrap_or_default();
            assert!(finding.verdict == *verdict && line.contains(command) && line.is_empty() == command.is_empty(), "{finding:#?}");
        }
    }

    #[test]
    fn timeouts_fit_into_each_other() {
        check(29_000, 28, true, &[(Verdict::Good, ""), (Verdict::Good, "")]);
        check(29_000, 3, true, &[(Verdict::Good, ""), (Verdict::Bad, "update-function-configuration --function-name f --timeout 28")]);
        // The guide's own 60 s: they work, and are paid for when nobody reads the answer any more.
        check(29_000, 60, true, &[(Verdict::Good, ""), (Verdict::Lacking, "--timeout 28")]);
        check(2_000, 60, true, &[(Verdict::Bad, "path=/timeoutInMillis,value=29000")]);
        // Nobody says that an agent is behind it.
        check(2_000, 1, false, &[(Verdict::Lacking, "path=/timeoutInMillis,value=29000")]);
        check(29_000, 1, false, &[(Verdict::Good, ""), (Verdict::Lacking, "--timeout 28")]);
        check(900_000, 900, true, &[(Verdict::Good, ""), (Verdict::Good, "")]);
    }

    #[test]
    fn an_agent_s_state_alone_makes_no_agent_go_back() {
        let of = |status: &str, failure: Option<&str>, version, can_go_back| {
            let (name, failure) = ("echo".to_owned(), failure.map(str::to_owned));
            let agent = AgentFacts { name, status: status.to_owned(), failure, version, can_go_back, ..AgentFacts::default() };
            of_agent("arn", &Known::Is(agent)).unwrap()
        };
        assert_eq!(of("READY", None, 1, true).verdict, Verdict::Good);
        assert_eq!(of("STARTING", None, 1, true).verdict, Verdict::Lacking);
        for failed in [of("READY", Some("died"), 3, true), of("CREATE_FAILED", None, 1, true), of("UPDATE_FAILED", None, 2, false)] {
            assert!(failed.verdict == Verdict::Bad && failed.remedy.is_empty(), "{failed:#?}");
        }
        assert_eq!(of_agent("arn", &Known::Absent).unwrap().verdict, Verdict::Bad);
        assert!(of_agent("arn", &Known::Unread).is_none());
    }
}
