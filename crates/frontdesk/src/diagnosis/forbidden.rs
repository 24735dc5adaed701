//! Issue 1, 403 Forbidden: from the key to the function, the first thing that is not as it must be.

use frontdesk_aws::policy::{Admission, Context, Policy, Requester, admit};
use serde_json::{Value, json};

use super::facts::{Called, Facts, FunctionFacts, KEYS, KeyFacts, Known, METHODS, MethodFacts, PLANS, PlanFacts, policy_of};
use super::finding::{Finding, Verdict};
use super::remedy;

const ISSUE: u8 = 1;
/// Who calls functions for an API.
const GATEWAY: &str = "apigateway.amazonaws.com";

/// The members of a statement in a resource's policy.
const STATEMENT_MEMBERS: [&str; 9] =
    ["Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition"];

/// In the guide's order.
pub(super) fn examine(facts: &Facts, wanted_key: Option<&str>) -> Vec<Finding> {
    let mut findings = of_keys(facts, wanted_key);
    findings.extend(of_stage(facts));
    findings.extend(facts.methods.iter().flat_map(|method| of_method(facts, method)));
    findings.into_iter().map(|finding| finding.of(ISSUE)).collect()
}

fn of_keys(facts: &Facts, wanted: Option<&str>) -> Vec<Finding> {
    if facts.is_unread(KEYS) || facts.is_unread(PLANS) {
        return Vec::new();
    }
    if facts.keys.is_empty() {
        let said = "there is none, so nobody comes in: `frontdesk keys create NAME --usage-plan PLAN` makes one";
        return vec![Finding::bad("Keys", said)];
    }
    let is_wanted = |key: &&KeyFacts| wanted.is_none_or(|wanted| key.id == wanted || key.name == wanted);
    let mut findings: Vec<Finding> = facts.keys.iter().filter(is_wanted).map(|key| of_key(facts, key)).collect();
    if let (Some(wanted), true) = (wanted, findings.is_empty()) {
        return vec![Finding::bad(format!("Key {wanted}"), "there is none of that id or name: `frontdesk keys list` shows all")];
    }
    // While somebody comes in, the others may be meant as they are: an old key after a rotation, the key of another API. Who means one names it.
    let opens = |finding: &Finding| finding.verdict == Verdict::Good;
    if wanted.is_none() && findings.len() > 1 {
        let is_open = findings.iter().any(opens);
        for finding in findings.iter_mut().filter(|finding| !opens(finding)) {
            if is_open {
                finding.verdict = Verdict::Lacking;
            } else {
                // Which of them is meant to open is not for this program to choose.
                finding.said.push_str(" (--key names the one to mend)");
                finding.remedy.clear();
            }
        }
    }
    findings
}

fn of_key(facts: &Facts, key: &KeyFacts) -> Finding {
    let what = format!("Key {}", key.name);
    if !key.enabled {
        return Finding::bad(what, "it is disabled, so its holder gets 403").mended_by([remedy::enable_key(facts, &key.id)]);
    }
    if key.has_expired {
        return Finding::bad(what, "it has expired, so its holder gets 403").mended_by([remedy::never_expire(&key.id)]);
    }
    let its: Vec<&PlanFacts> = facts.plans.iter().filter(|plan| plan.key_ids.contains(&key.id)).collect();
    if its.is_empty() {
        let opening: Vec<&PlanFacts> = facts.plans.iter().filter(|plan| facts.opens(plan)).collect();
        let candidates = if opening.is_empty() { facts.plans.iter().collect() } else { opening };
        return match candidates.as_slice() {
            [plan] => {
                Finding::bad(what, "it is in no usage plan, so it opens nothing").mended_by([remedy::join_plan(facts, plan, &key.id)])
            }
            _ => {
                let said = format!("it is in no usage plan, so it opens nothing: `frontdesk plans add PLAN {}` puts it into one", key.id);
                Finding::bad(what, said)
            }
        };
    }
    if let Some(plan) = its.iter().find(|plan| facts.opens(plan)) {
        let from = if key.source_ranges.is_empty() { String::new() } else { format!(", only from {}", key.source_ranges.join(", ")) };
        let used: u64 = its.iter().filter_map(|plan| plan.usage.get(&key.id)).map(|(used, _)| used).sum();
        return Finding::good(what, format!("opens {} by {}{from}; used {used} times today", facts.stage, plan.name));
    }
    let said =
        format!("its usage plan {} does not open the stage {} of {}, so its holder gets 403", its[0].name, facts.stage, facts.api_id);
    match (its.as_slice(), facts.has_stage().unwrap_or(true)) {
        ([plan], true) => Finding::bad(what, said).mended_by([remedy::open_stage(facts, plan)]),
        ([_], false) => Finding::bad(what, format!("{said}; there is no such stage yet")),
        _ => Finding::bad(what, format!("{said}; nor do its others")),
    }
}

fn of_stage(facts: &Facts) -> Option<Finding> {
    let what = format!("Stage {}", facts.stage);
    if facts.has_stage()? {
        return Some(Finding::good(what, format!("deployed, of the API {}", facts.api_id)));
    }
    let said = "it does not exist, so every request gets 403";
    if facts.methods.is_empty() {
        let said =
            if facts.is_unread(METHODS) { said.to_owned() } else { format!("{said}; the API has no method that could be deployed either") };
        return Some(Finding::bad(what, said));
    }
    Some(match facts.methods.iter().find(|method| method.integration.is_none()) {
        Some(method) => {
            let said = format!("{said}; nothing can be deployed before {} {} has an integration", method.verb, method.path);
            Finding::bad(what, said)
        }
        None => Finding::bad(what, said).mended_by([remedy::deploy(facts)]),
    })
}

fn of_method(facts: &Facts, method: &MethodFacts) -> Vec<Finding> {
    let what = format!("Method {} {}", method.verb, method.path);
    let Some(integration) = &method.integration else {
        return vec![without_integration(facts, method, what)];
    };
    let Some(called) = facts.called_by(integration).filter(|called| !facts.is_own(&called.name)) else {
        return vec![Finding::good(what, format!("leads to {}", target(&integration.kind, &integration.uri)))];
    };
    match facts.functions.get(&called.name) {
        Some(Known::Is(function)) => {
            let mut findings = vec![may_be_called(facts, method, function, &called, what)];
            findings.extend(of_function(function));
            findings
        }
        Some(Known::Absent) => {
            let said = format!("its function {} does not exist, so callers get 500: `aws lambda create-function` makes it", called.name);
            vec![Finding::bad(what, said)]
        }
        Some(Known::Unread) | None => Vec::new(),
    }
}

fn target(kind: &str, uri: &str) -> String {
    match (kind, uri.split("/functions/").nth(1)) {
        ("MOCK", _) => "the gateway itself".to_owned(),
        (_, Some(function)) => function.split('/').next().unwrap_or(function).to_owned(),
        _ => uri.to_owned(),
    }
}

/// What a method without an integration ought to call is named only where there is one answer.
fn without_integration(facts: &Facts, method: &MethodFacts, what: String) -> Finding {
    let said = "it has no integration, so it cannot be deployed and callers get 403";
    if method.verb == "OPTIONS" {
        return Finding::bad(what, format!("{said}: `aws apigateway put-integration --type MOCK` answers preflights"));
    }
    let mut arns: Vec<String> = facts.called_functions().iter().map(|function| function.arn.clone()).collect();
    let beside = facts.methods.iter().filter_map(|method| facts.function_of(method.integration.as_ref()?));
    arns.extend(beside.filter(|name| facts.is_own(name)).map(|name| facts.function_arn(&name)));
    if arns.is_empty() {
        let lets_in = |function: &&FunctionFacts| lets_gateway_in(facts, function, None, method, "*");
        arns.extend(facts.functions().filter(lets_in).map(|function| function.arn.clone()));
    }
    if arns.is_empty() {
        let all: Vec<String> = facts.functions().map(|function| function.arn.clone()).chain(facts.own_function.clone()).collect();
        arns = if let [only] = all.as_slice() { vec![only.clone()] } else { Vec::new() };
    }
    arns.dedup();
    let [arn] = arns.as_slice() else {
        return Finding::bad(what, format!("{said}: which function it is to call has to be said with `aws apigateway put-integration`"));
    };
    let mut steps = vec![remedy::integrate(facts, method, arn)];
    // What a stage serves is its deployment, which an edit does not change.
    if facts.has_stage().unwrap_or(false) {
        steps.push(remedy::deploy(facts));
    }
    Finding::bad(what, said).mended_by(steps)
}

fn may_be_called(facts: &Facts, method: &MethodFacts, function: &FunctionFacts, called: &Called, what: String) -> Finding {
    let by_role = method.integration.as_ref().and_then(|integration| integration.credentials.as_ref());
    if facts.is_unread(&policy_of(called)) {
        return Finding::lacking(what, format!("leads to {called}; whether the gateway may call it is not known"));
    }
    if by_role.is_some() || lets_gateway_in(facts, function, called.qualifier.as_deref(), method, &facts.stage) {
        return Finding::good(what, format!("leads to {called}, which the gateway may call"));
    }
    let said = format!("the policy of {called} does not let the gateway call it, so callers get 500");
    Finding::bad(what, said).mended_by([remedy::let_gateway_call(facts, method, called)])
}

fn lets_gateway_in(facts: &Facts, function: &FunctionFacts, qualifier: Option<&str>, method: &MethodFacts, stage: &str) -> bool {
    let document: Value =
        function.policies.get(qualifier.unwrap_or_default()).and_then(|policy| serde_json::from_str(policy).ok()).unwrap_or_default();
    let statements = document["Statement"].as_array().into_iter().flatten().cloned().map(|mut statement| {
        // A stand-in for AWS writes members that IAM does not know.
        if let Some(members) = statement.as_object_mut() {
            members.retain(|name, _| STATEMENT_MEMBERS.contains(&name.as_str()));
        }
        statement
    });
    let document = json!({ "Version": "2012-10-17", "Statement": statements.collect::<Vec<_>>() });
    let Ok(policy) = Policy::parse_resource_based(&document.to_string()) else { return false };
    let context = Context::new().with("aws:SourceArn", facts.method_arn(method, stage)).with("aws:SourceAccount", facts.account.as_str());
    let resource = qualifier.map_or_else(|| function.arn.clone(), |qualifier| format!("{}:{qualifier}", function.arn));
    let admission = admit(&policy, Requester::Service(GATEWAY), "lambda:InvokeFunction", &resource, &context);
    admission == Admission::Named
}

fn of_function(function: &FunctionFacts) -> Option<Finding> {
    let what = format!("Function {}", function.name);
    if function.reserved_concurrency == Some(0) {
        // Lambda's emergency stop: whoever pulled it lets go of it.
        let said =
            "its reserved concurrency is 0, so it is never run: `aws lambda delete-function-concurrency` lets it, where that is not meant";
        return Some(Finding::bad(what, said));
    }
    let said = format!("{}, last update {}{}", function.state, function.last_update, because(&function.reason));
    match (function.state.as_str(), function.last_update.as_str()) {
        ("Failed", _) | (_, "Failed") => {
            Some(Finding::bad(what, format!("{said}: `aws lambda update-function-code` brings its code anew")))
        }
        ("Active", "Successful" | "") => None,
        _ => Some(Finding::lacking(what, said)),
    }
}

fn because(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(" ({reason})") }
}

#[cfg(test)]
mod tests {
    use super::super::facts::{IntegrationFacts, StageFacts};
    use super::*;

    fn sound() -> Facts {
        let function = FunctionFacts {
            name: "proxy".to_owned(),
            arn: "arn:aws:lambda:us-east-1:111122223333:function:proxy".to_owned(),
            state: "Active".to_owned(),
            last_update: "Successful".to_owned(),
            policies: [(
                String::new(),
                r#"{"Version":"2012-10-17","Statement":[{"Sid":"s","Effect":"Allow","Principal":{"Service":"apigateway.amazonaws.com"},
                "Action":"lambda:InvokeFunction","Resource":"arn:aws:lambda:us-east-1:111122223333:function:proxy",
                "Condition":{"ArnLike":{"AWS:SourceArn":"arn:aws:execute-api:us-east-1:111122223333:api1/*/POST/invoke"}}}]}"#
                    .to_owned(),
            )]
            .into(),
            ..FunctionFacts::default()
        };
        let integration = IntegrationFacts {
            kind: "AWS_PROXY".to_owned(),
            uri: "arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/arn:aws:lambda:us-east-1:111122223333:function:proxy/invocations".to_owned(),
            timeout_ms: 29_000,
            ..IntegrationFacts::default()
        };
        Facts {
            account: "111122223333".to_owned(),
            region: "us-east-1".to_owned(),
            api_id: "api1".to_owned(),
            stage: "prod".to_owned(),
            stages: vec![StageFacts { name: "prod".to_owned(), ..StageFacts::default() }],
            methods: vec![MethodFacts {
                resource_id: "r1".to_owned(),
                path: "/invoke".to_owned(),
                verb: "POST".to_owned(),
                integration: Some(integration),
            }],
            keys: vec![KeyFacts { id: "k1".to_owned(), name: "partner".to_owned(), enabled: true, ..KeyFacts::default() }],
            plans: vec![PlanFacts {
                id: "p1".to_owned(),
                name: "plan".to_owned(),
                stages: vec![("api1".to_owned(), "prod".to_owned())],
                key_ids: vec!["k1".to_owned()],
                ..PlanFacts::default()
            }],
            functions: [("proxy".to_owned(), Known::Is(function))].into(),
            ..Facts::default()
        }
    }

    /// The one thing that is bad, with its command; nothing for neither.
    fn check(spoil: impl FnOnce(&mut Facts), said: &str, command: &str) {
        let mut facts = sound();
        spoil(&mut facts);
        let findings = examine(&facts, None);
        let bad: Vec<&Finding> = findings.iter().filter(|finding| finding.verdict == Verdict::Bad).collect();
        if said.is_empty() {
            assert!(bad.is_empty(), "{bad:#?}");
            return;
        }
        let [bad] = bad.as_slice() else { panic!("not one thing is bad: {bad:#?}") };
        assert!(bad.said.contains(said) && bad.issue == 1, "{bad:#?}");
        let lines: Vec<&str> = bad.remedy.iter().map(|step| step.line.as_str()).collect();
        assert!(if command.is_empty() { lines.is_empty() } else { lines.join("\n").contains(command) }, "{bad:#?}");
    }

    fn function(facts: &mut Facts) -> &mut FunctionFacts {
        match facts.functions.get_mut("proxy") {
            Some(Known::Is(function)) => function,
            _ => panic!("the function is there"),
        }
    }

    #[test]
    fn every_cause_of_a_403_is_named_with_its_command() {
        check(|_| {}, "", "");
        check(
            |it| it.keys[0].enabled = false,
            "disabled",
            "update-api-key --api-key k1 --patch-operations op=replace,path=/enabled,value=true",
        );
        check(|it| it.keys[0].has_expired = true, "expired", "frontdesk keys update k1 --never-expires");
        check(|it| it.keys.clear(), "nobody comes in", "");
        check(|it| it.plans[0].key_ids.clear(), "in no usage plan", "create-usage-plan-key --usage-plan-id p1 --key-id k1");
        check(|it| it.plans[0].stages.clear(), "does not open the stage prod", "op=add,path=/apiStages,value=api1:prod");
        check(|it| it.stages.clear(), "does not exist", "create-deployment --rest-api-id api1 --stage-name prod");
        check(
            |it| it.methods[0].integration = None,
            "no integration",
            "put-integration --rest-api-id api1 --resource-id r1 --http-method POST",
        );
        check(|it| drop(it.functions.insert("proxy".to_owned(), Known::Absent)), "does not exist", "");
        check(|it| function(it).policies.clear(), "does not let the gateway call it", "add-permission --function-name proxy");
        check(|it| function(it).reserved_concurrency = Some(0), "never run", "");
        check(|it| function(it).last_update = "Failed".to_owned(), "last update Failed", "");
    }

    #[test]
    fn what_could_not_be_looked_at_is_not_called_absent() {
        let unread = |it: &mut Facts, what: &str| it.unread.push((what.to_owned(), "403".to_owned()));
        check(
            |it| {
                it.stages.clear();
                unread(it, "Stages")
            },
            "",
            "",
        );
        check(
            |it| {
                it.keys.clear();
                unread(it, "Keys")
            },
            "",
            "",
        );
        check(
            |it| {
                function(it).policies.clear();
                unread(it, "Policy of proxy")
            },
            "",
            "",
        );
    }

    #[test]
    fn a_method_of_another_path_is_not_let_in_by_the_statement_of_this_one() {
        check(
            |it| it.methods[0].path = "/other".to_owned(),
            "does not let the gateway",
            "'arn:aws:execute-api:us-east-1:111122223333:api1/*/POST/other'",
        );
    }

    #[test]
    fn a_path_with_parameters_is_let_in_by_a_star_in_their_place() {
        let with_path = |it: &mut Facts| it.methods[0].path = "/orders/{id}/{proxy+}".to_owned();
        check(with_path, "does not let the gateway", "'arn:aws:execute-api:us-east-1:111122223333:api1/*/POST/orders/*/*'");
        let let_in = |source: &'static str| {
            move |it: &mut Facts| {
                with_path(it);
                let policy = function(it).policies[""].replace("/invoke", source);
                function(it).policies.insert(String::new(), policy);
            }
        };
        check(let_in("/orders/*/*"), "", "");
        check(let_in("/orders/*"), "", "");
        check(let_in("/pets/*"), "does not let the gateway", "/orders/*/*'");
    }

    #[test]
    fn the_policy_that_counts_is_the_one_of_what_is_called() {
        let aliased = |it: &mut Facts| {
            let integration = it.methods[0].integration.as_mut().unwrap();
            integration.uri = integration.uri.replace("function:proxy/", "function:${stageVariables.fn}:live/");
            it.stages[0].variables.insert("fn".to_owned(), "proxy".to_owned());
        };
        check(aliased, "policy of proxy:live does not let", "add-permission --function-name proxy --qualifier live --statement-id");
        check(
            |it| {
                aliased(it);
                let policy = function(it).policies[""].replace("function:proxy", "function:proxy:live");
                function(it).policies.insert("live".to_owned(), policy);
            },
            "",
            "",
        );
    }

    #[test]
    fn a_method_of_any_verb_needs_every_verb_let_in() {
        let any = |it: &mut Facts| it.methods[0].verb = "ANY".to_owned();
        check(any, "does not let the gateway", "'arn:aws:execute-api:us-east-1:111122223333:api1/*/*/invoke'");
        check(
            |it| {
                any(it);
                let policy = function(it).policies[""].replace("/*/POST/", "/*/*/");
                function(it).policies.insert(String::new(), policy);
            },
            "",
            "",
        );
    }

    #[test]
    fn nothing_is_mended_that_could_be_meant_as_it_is() {
        let second = |enabled| KeyFacts { id: "k2".to_owned(), name: "old".to_owned(), enabled, ..KeyFacts::default() };
        // One opens: the other may have been put away.
        check(|it| it.keys.push(second(false)), "", "");
        let mut facts = sound();
        facts.keys.push(second(false));
        let of_old = |wanted| examine(&facts, wanted).into_iter().find(|finding| finding.what == "Key old").unwrap();
        assert_eq!(of_old(None).verdict, Verdict::Lacking);
        assert_eq!((of_old(Some("old")).verdict, of_old(Some("k2")).remedy.len()), (Verdict::Bad, 1));
        // None opens, and it is not said which should.
        facts.keys[0].enabled = false;
        let findings = examine(&facts, None);
        let keys: Vec<&Finding> = findings.iter().filter(|finding| finding.what.starts_with("Key ")).collect();
        assert!(keys.iter().all(|finding| finding.verdict == Verdict::Bad && finding.remedy.is_empty()), "{keys:#?}");
        // Two plans, and it is not said into which.
        let mut facts = sound();
        facts.plans[0].key_ids.clear();
        facts.plans.push(PlanFacts { id: "p2".to_owned(), stages: facts.plans[0].stages.clone(), ..PlanFacts::default() });
        assert!(examine(&facts, None)[0].remedy.is_empty());
    }
}
