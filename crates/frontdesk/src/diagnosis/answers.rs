//! Issue 5, an answer that is not what was expected: the agent is asked first, then the function in front of it, so that the one that is named is the one it is.

use serde_json::Value;

use super::facts::{AgentFacts, Facts, FunctionFacts, Known, Probe};
use super::finding::Finding;
use super::remedy;

const ISSUE: u8 = 5;
/// How much of an answer is quoted, in characters.
const QUOTED_CHARS_MAX: usize = 200;
/// The error, a 424, by which AgentCore says that the agent's own code failed.
const CODE_FAILED: &str = "RuntimeClientError";

/// What was asked, and what came back.
pub(super) fn examine(facts: &Facts) -> Vec<Finding> {
    let agents = facts.agents.values().filter_map(|agent| match agent {
        Known::Is(agent) => of_agent(agent),
        Known::Absent | Known::Unread => None,
    });
    let functions = facts.called_functions().into_iter().filter_map(of_function);
    agents.chain(functions).map(|finding| finding.of(ISSUE)).collect()
}

fn of_agent(agent: &AgentFacts) -> Option<Finding> {
    let what = format!("Answer of {}", agent.name);
    let (wrong, is_its_fault) = match agent.probe.as_ref()? {
        Probe::Unasked(why) => return Some(Finding::lacking(what, format!("it could not be asked: {}", quoted(why)))),
        Probe::Failed(why) => (format!("the agent answers with an error: {}", quoted(why)), why.starts_with(CODE_FAILED)),
        Probe::Answered(answer) => match serde_json::from_str::<Value>(answer) {
            Err(_) => (format!("the agent's answer is no JSON: {}", quoted(answer)), true),
            Ok(document) if document.get("result").is_some_and(Value::is_string) => return Some(Finding::good(what, "JSON with a result")),
            // Third parties may have been promised another shape.
            Ok(_) => return Some(Finding::lacking(what, format!("the agent's answer has no `result`: {}", quoted(answer)))),
        },
    };
    let tail: Vec<&str> = agent.log_tail.iter().map(|line| line.trim_end()).filter(|line| !line.is_empty()).collect();
    let last = if tail.is_empty() { String::new() } else { format!("\nits last lines:\n  {}", tail.join("\n  ")) };
    let said = format!("{wrong}{last}");
    Some(match is_its_fault && agent.can_go_back && agent.version > 1 {
        true => Finding::bad(what, said).mended_by([remedy::go_back(&agent.name, agent.version - 1)]),
        false => Finding::bad(what, said),
    })
}

fn of_function(function: &FunctionFacts) -> Option<Finding> {
    let what = format!("Answer of the function {}", function.name);
    let wrong = match function.probe.as_ref()? {
        Probe::Unasked(why) => return Some(Finding::lacking(what, format!("it could not be asked: {}", quoted(why)))),
        Probe::Failed(why) => format!("it ends with an error, so callers get 502: {}", quoted(why)),
        Probe::Answered(answer) => {
            let document: Value = serde_json::from_str(answer).unwrap_or_default();
            let status = document["statusCode"].as_u64().or_else(|| document["statusCode"].as_str()?.parse().ok());
            match (status, document.get("body").is_none_or(Value::is_string)) {
                (None, _) => format!("it answers without a statusCode, so callers get 502: {}", quoted(answer)),
                (_, false) => format!("its body is no text, so callers get 502: {}", quoted(answer)),
                (Some(200), true) => return Some(Finding::good(what, "200")),
                (Some(status), true) => format!("it answers {status}: {}", quoted(document["body"].as_str().unwrap_or_default())),
            }
        }
    };
    Some(Finding::bad(what, format!("{wrong}\nits log: /aws/lambda/{}", function.name)))
}

fn quoted(text: &str) -> String {
    let shown: String = text.trim().chars().take(QUOTED_CHARS_MAX).collect();
    if shown.len() < text.trim().len() { format!("{shown}…") } else { shown }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Verdict;
    use super::*;

    #[test]
    fn an_agent_s_answer_is_what_third_parties_are_promised() {
        let of = |probe: Probe, version| {
            let log_tail = vec!["KeyError: 'x'\n".to_owned()];
            let agent =
                AgentFacts { name: "echo".to_owned(), version, can_go_back: true, log_tail, probe: Some(probe), ..AgentFacts::default() };
            of_agent(&agent).unwrap()
        };
        let answered = |text: &str| Probe::Answered(text.to_owned());
        assert_eq!(of(answered(r#"{"result": "yes"}"#), 1).verdict, Verdict::Good);
        for (wrong, quoted) in [(answered("hello"), "hello"), (Probe::Failed("RuntimeClientError: it died".to_owned()), "it died")] {
            let found = of(wrong, 2);
            assert!(found.verdict == Verdict::Bad && found.said.contains(quoted) && found.said.contains("KeyError"), "{found:#?}");
            assert_eq!(found.remedy[0].line, "frontdesk launch -a echo --version 1");
        }
        // Another shape, a limit and a fault of the service are no reason to take an agent back.
        for meant in ["[]", r#"{"echo": 1}"#, r#"{"result": 7}"#] {
            let found = of(answered(meant), 2);
            assert!(found.verdict == Verdict::Lacking && found.said.contains(meant) && found.remedy.is_empty(), "{found:#?}");
        }
        let unasked = of(Probe::Unasked("ThrottlingException: slower".to_owned()), 2);
        assert!(unasked.verdict == Verdict::Lacking && unasked.remedy.is_empty(), "{unasked:#?}");
        let of_service = of(Probe::Failed("InternalServerException: sorry".to_owned()), 2);
        assert!(of_service.verdict == Verdict::Bad && of_service.remedy.is_empty(), "{of_service:#?}");
        let first = of(Probe::Failed("RuntimeClientError: it died".to_owned()), 1);
        assert!(first.said.contains("it died") && first.remedy.is_empty(), "{first:#?}");
        let unasked = AgentFacts::default();
        assert!(of_agent(&unasked).is_none());
    }

    #[test]
    fn a_function_s_answer_is_what_the_gateway_can_read() {
        let check = |probe: Probe, expected: &str| {
            let function = FunctionFacts { name: "proxy".to_owned(), probe: Some(probe), ..FunctionFacts::default() };
            let found = of_function(&function).unwrap();
            assert!(found.said.contains(expected), "{found:#?}");
            assert_eq!(found.verdict == Verdict::Good, expected == "200", "{found:#?}");
        };
        check(Probe::Answered(r#"{"statusCode": 200, "body": "{}"}"#.to_owned()), "200");
        check(Probe::Answered(r#"{"statusCode": "403", "body": "AgentCore error"}"#.to_owned()), "it answers 403: AgentCore error");
        check(Probe::Answered(r#"{"result": "x"}"#.to_owned()), "without a statusCode");
        check(Probe::Answered(r#"{"statusCode": 200, "body": {"result": 1}}"#.to_owned()), "its body is no text");
        check(Probe::Failed("Unable to import module".to_owned()), "Unable to import module");
    }
}
