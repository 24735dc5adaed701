//! Issue 3, "not authorized to perform bedrock-agentcore:InvokeAgentRuntime": the policies of the role in whose name a function signs.

use std::collections::BTreeSet;

use frontdesk_aws::policy::{Context, Decision, Policy, evaluate};
use serde_json::{Value, json};

use super::facts::{Facts, FunctionFacts, Known, PolicyFacts, RoleFacts, name_of};
use super::finding::Finding;
use super::remedy;

const ISSUE: u8 = 3;
const ACTION: &str = "bedrock-agentcore:InvokeAgentRuntime";
/// The name of a policy that is made where none is there to be attached.
const POLICY_NAME: &str = "InvokeAgentRuntime";

/// A finding for each function that is called and names an agent.
pub(super) fn examine(facts: &Facts) -> Vec<Finding> {
    let mut seen = BTreeSet::new();
    // Several functions may sign in the name of one role.
    let is_new = |function: &&FunctionFacts| seen.insert((function.role_arn.clone(), function.agent_arn.clone()));
    let functions = facts.called_functions().into_iter().filter(is_new);
    functions.filter_map(|function| of_function(facts, function)).map(|finding| finding.of(ISSUE)).collect()
}

fn of_function(facts: &Facts, function: &FunctionFacts) -> Option<Finding> {
    let agent_arn = function.agent_arn.as_deref()?;
    let role = name_of(&function.role_arn);
    let what = format!("Role {role}");
    match facts.roles.get(role)? {
        Known::Is(role) => Some(of_role(facts, role, (agent_arn, &function.agent_endpoint), what)),
        Known::Absent => {
            let said = format!("{} signs in its name, and it does not exist: `aws iam create-role` makes it", function.name);
            Some(Finding::bad(what, said))
        }
        Known::Unread => None,
    }
}

fn of_role(facts: &Facts, role: &RoleFacts, agent: (&str, &str), what: String) -> Finding {
    let (agent_arn, _) = agent;
    let documents: Vec<&Value> = role.policies.iter().map(|policy| &policy.document).collect();
    match decide(facts, &documents, agent) {
        Decision::Allowed => return Finding::good(what, format!("may invoke {}", name_of(agent_arn))),
        Decision::ExplicitDeny => {
            let said = format!("a policy of its own denies {ACTION} on {agent_arn}: whoever wrote that has to take it away");
            return Finding::bad(what, said);
        }
        Decision::ImplicitDeny => {}
    }
    let is_unclear = |policy: &&PolicyFacts| Policy::parse(&policy.document.to_string()).is_err();
    if let Some(unclear) = role.policies.iter().find(is_unclear) {
        let name = name_of(&unclear.name);
        let said = format!("its policy {name} could not be understood, so whether it may invoke {} is not known", name_of(agent_arn));
        return Finding::lacking(what, said);
    }
    let is_bound = |policy: &&PolicyFacts| {
        statements(&policy.document).any(|statement| statement.get("Condition").is_some() && speaks_of_it(statement))
    };
    if let Some(bound) = role.policies.iter().find(is_bound) {
        // An Allow without the condition beside it would undo it.
        let said = format!("its policy {} allows {ACTION} under a condition, which is not looked at", name_of(&bound.name));
        return Finding::lacking(what, said);
    }
    // Too narrow, before not there: a policy that speaks of the action was meant to allow it.
    if let Some(narrow) = role.policies.iter().find(|policy| is_ours(policy) && statements(&policy.document).any(speaks_of_it)) {
        let said = format!("its policy {} allows {ACTION}, but not on {agent_arn}: callers get 403", name_of(&narrow.name));
        let widened = widened(&narrow.document, agent_arn);
        let step = match narrow.is_managed {
            true => remedy::new_policy_version(facts, &narrow.name, &widened),
            false => remedy::put_role_policy(facts, &role.name, &narrow.name, &widened),
        };
        return Finding::bad(what, said).mended_by([step]);
    }
    let said = format!("no policy of its own allows {ACTION}: callers get 403");
    let fitting: Vec<&String> = facts
        .loose_policies
        .iter()
        .filter(|(_, document)| decide(facts, &[document], agent) == Decision::Allowed)
        .map(|(arn, _)| arn)
        .collect();
    match fitting.as_slice() {
        [arn] => Finding::bad(what, format!("{said}; {} would, and is not attached", name_of(arn)))
            .mended_by([remedy::attach_policy(facts, &role.name, arn)]),
        [] => Finding::bad(what, said).mended_by([remedy::put_role_policy(facts, &role.name, POLICY_NAME, &least(agent_arn))]),
        several => {
            let names: Vec<&str> = several.iter().map(|arn| name_of(arn)).collect();
            Finding::bad(what, format!("{said}; of {} one has to be attached with `aws iam attach-role-policy`", names.join(", ")))
        }
    }
}

/// AWS's own policies are nobody's to change.
fn is_ours(policy: &PolicyFacts) -> bool {
    !policy.is_managed || !policy.name.starts_with("arn:aws:iam::aws:")
}

/// A call is for the runtime and for its endpoint. AWS wants both allowed, a host one of them.
fn decide(facts: &Facts, documents: &[&Value], (agent_arn, endpoint): (&str, &str)) -> Decision {
    let policies: Vec<Policy> = documents.iter().filter_map(|document| Policy::parse(&document.to_string()).ok()).collect();
    let endpoint = format!("{agent_arn}/runtime-endpoint/{endpoint}");
    let decisions = [agent_arn, &endpoint].map(|resource| evaluate(&policies, ACTION, resource, &Context::new()));
    if decisions.contains(&Decision::ExplicitDeny) {
        return Decision::ExplicitDeny;
    }
    let allowed = decisions.iter().filter(|decision| **decision == Decision::Allowed).count();
    let needed = if facts.own_function.is_some() { 1 } else { 2 };
    if allowed >= needed { Decision::Allowed } else { Decision::ImplicitDeny }
}

fn statements(document: &Value) -> impl Iterator<Item = &Value> {
    let statements = &document["Statement"];
    statements.as_array().map_or(std::slice::from_ref(statements), Vec::as_slice).iter()
}

/// Whether a statement allows the action on something.
fn speaks_of_it(statement: &Value) -> bool {
    let mut everywhere = statement.clone();
    everywhere["Resource"] = json!("*");
    if let Some(members) = everywhere.as_object_mut() {
        members.remove("NotResource");
        members.remove("Condition");
    }
    let document = json!({ "Version": "2012-10-17", "Statement": [everywhere] });
    let policy = Policy::parse(&document.to_string());
    policy.is_ok_and(|policy| evaluate([&policy], ACTION, "*", &Context::new()) == Decision::Allowed)
}

/// The policy with this agent among its resources: not with all of them, as the guide has it.
fn widened(document: &Value, agent_arn: &str) -> Value {
    let mut widened = document.clone();
    let mut statement = least(agent_arn)["Statement"][0].take();
    // Once: a policy that was widened before has the statement already.
    statement["Sid"] = json!(format!("{POLICY_NAME}{}", name_of(agent_arn).replace(|char: char| !char.is_ascii_alphanumeric(), "")));
    let mut statements: Vec<Value> = statements(document).cloned().collect();
    statements.push(statement);
    widened["Statement"] = Value::Array(statements);
    widened
}

fn least(agent_arn: &str) -> Value {
    json!({
        "Version": "2012-10-17",
        "Statement": [{ "Effect": "Allow", "Action": ACTION, "Resource": [agent_arn, format!("{agent_arn}/*")] }],
    })
}

#[cfg(test)]
mod tests {
    use super::super::facts::{IntegrationFacts, MethodFacts};
    use super::super::finding::Verdict;
    use super::*;

    const AGENT: &str = "arn:aws:bedrock-agentcore:us-east-1:111122223333:runtime/faq-0123456789";
    const LOOSE: &str = "arn:aws:iam::111122223333:policy/AgentCoreLambdaProxyPolicy";

    fn policy(effect: &str, resource: &str) -> Value {
        json!({ "Version": "2012-10-17", "Statement": { "Effect": effect, "Action": "bedrock-agentcore:Invoke*", "Resource": resource } })
    }

    fn check(policies: &[(&str, bool, Value)], loose: &[(&str, Value)], expected: (Verdict, &str, &str)) {
        let policies =
            policies.iter().cloned().map(|(name, is_managed, document)| PolicyFacts { name: name.to_owned(), is_managed, document });
        let role = RoleFacts { name: "proxy-role".to_owned(), policies: policies.collect() };
        let function = FunctionFacts {
            name: "proxy".to_owned(),
            role_arn: "arn:aws:iam::111122223333:role/proxy-role".to_owned(),
            agent_arn: Some(AGENT.to_owned()),
            ..FunctionFacts::default()
        };
        let integration = IntegrationFacts { uri: "x/functions/a:b:c:d:e:f:proxy/invocations".to_owned(), ..IntegrationFacts::default() };
        let facts = Facts {
            methods: vec![MethodFacts { integration: Some(integration), ..MethodFacts::default() }],
            functions: [("proxy".to_owned(), Known::Is(function))].into(),
            roles: [("proxy-role".to_owned(), Known::Is(role))].into(),
            loose_policies: loose.iter().map(|(arn, document)| ((*arn).to_owned(), document.clone())).collect(),
            ..Facts::default()
        };
        let found = examine(&facts);
        let [found] = found.as_slice() else { panic!("{found:#?}") };
        let line = found.remedy.first().map(|step| step.line.as_str()).unwrap_or_default();
        assert!(found.verdict == expected.0 && found.said.contains(expected.1) && line.contains(expected.2), "{found:#?}");
        assert_eq!(line.is_empty(), expected.2.is_empty(), "{found:#?}");
    }

    #[test]
    fn a_role_gets_what_it_lacks_and_no_more() {
        let attach = format!("attach-role-policy --role-name proxy-role --policy-arn {LOOSE}");
        check(&[], &[(LOOSE, policy("Allow", "*"))], (Verdict::Bad, "is not attached", &attach));
        check(&[("own", false, policy("Allow", "*"))], &[], (Verdict::Good, "may invoke", ""));
        let make = format!("put-role-policy --role-name proxy-role --policy-name {POLICY_NAME}");
        check(&[], &[], (Verdict::Bad, "no policy of its own allows", &make));
        check(&[], &[(LOOSE, policy("Allow", "*")), ("arn:2", policy("Allow", "*"))], (Verdict::Bad, "has to be attached", ""));
        // AWS wants the endpoint too, which the runtime's own ARN does not mean.
        let narrow = policy("Allow", AGENT);
        check(&[(LOOSE, true, narrow.clone())], &[], (Verdict::Bad, "but not on", "create-policy-version --policy-arn"));
        check(&[("own", false, narrow)], &[], (Verdict::Bad, "but not on", "put-role-policy --role-name proxy-role --policy-name own"));
        check(&[("own", false, policy("Allow", "*")), ("no", false, policy("Deny", "*"))], &[], (Verdict::Bad, "denies", ""));
        check(&[("own", false, json!("no JSON"))], &[], (Verdict::Lacking, "could not be understood", ""));
        check(&[("odd", false, Value::Null), ("own", false, policy("Allow", "*"))], &[], (Verdict::Good, "may invoke", ""));
        // What is bound to a condition is not let loose, wherever it is written.
        let mut bound = policy("Allow", "*");
        bound["Statement"]["Condition"] = json!({ "StringEquals": { "aws:PrincipalTag/team": "faq" } });
        check(&[("own", false, bound.clone())], &[(LOOSE, policy("Allow", "*"))], (Verdict::Lacking, "under a condition", ""));
        bound["Statement"]["Resource"] = json!("arn:aws:bedrock-agentcore:us-east-1:111122223333:runtime/other");
        check(&[(LOOSE, true, bound.clone())], &[], (Verdict::Lacking, "under a condition", ""));
        check(&[("bound", false, bound), ("own", false, policy("Allow", "*"))], &[], (Verdict::Good, "may invoke", ""));
        // AWS's own are not touched.
        let of_aws = "arn:aws:iam::aws:policy/Some";
        check(&[(of_aws, true, policy("Allow", "arn:aws:bedrock-agentcore:::other"))], &[], (Verdict::Bad, "no policy of its own", &make));
    }

    #[test]
    fn a_widened_policy_allows_the_agent_and_keeps_what_it_allowed() {
        let before = policy("Allow", "arn:aws:bedrock-agentcore:us-east-1:111122223333:runtime/other/*");
        let after = widened(&before, AGENT);
        assert_eq!(decide(&Facts::default(), &[&after], (AGENT, "DEFAULT")), Decision::Allowed);
        assert_eq!(after["Statement"][0], before["Statement"]);
        let other = "arn:aws:bedrock-agentcore:us-east-1:111122223333:runtime/third-0123456789";
        assert_eq!(decide(&Facts::default(), &[&after], (other, "DEFAULT")), Decision::ImplicitDeny);
    }
}
