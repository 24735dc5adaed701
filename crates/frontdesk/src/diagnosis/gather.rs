//! Reads the facts, by the calls that the guide's own diagnostics make. What cannot be read is noted, and nothing is judged by it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use frontdesk_deploy::call::{Aws, Call, CallError, Element};
use frontdesk_deploy::running::agent;
use frontdesk_gateway::quota::{Calendar, date_of, day_of_date};
use frontdesk_store::{Quota, QuotaPeriod};
use serde_json::{Value, json};
use time::Date;

use super::calls::{self, document, is_absent, items, pages, text, xml};
use super::facts::{
    AgentFacts, Called, Facts, FunctionFacts, IntegrationFacts, KEYS, KeyFacts, Known, METHODS, MethodFacts, PLANS, PlanFacts, PolicyFacts,
    Probe, RoleFacts, STAGES, StageFacts, name_of, policy_of, usage_of,
};

/// A call that is turned away is told, not waited for: a policy that is not ours to read changes nothing.
const POLICIES_READ_MAX: usize = 50;

/// What is to be looked at.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) account: String,
    pub(crate) api_id: String,
    /// `None` for the API's only stage, else `prod`.
    pub(crate) stage: Option<String>,
    /// The ARN of the function that the host itself is, and of the agent behind it.
    pub(crate) own: Option<(String, Option<String>)>,
    /// The question that agents and functions are asked.
    pub(crate) question: Option<&'static str>,
    /// The keys that are the API's business; `None` for all of the account's.
    pub(crate) keys: Option<BTreeSet<String>>,
    /// In UTC.
    pub(crate) today: Date,
}

/// Reads everything.
///
/// # Errors
/// When there is no such API, or it cannot be read at all.
pub(crate) async fn gather(aws: &Aws, wanted: &Wanted) -> anyhow::Result<Facts> {
    let mut facts = Facts {
        account: wanted.account.clone(),
        region: aws.region().to_owned(),
        api_id: wanted.api_id.clone(),
        own_function: wanted.own.as_ref().map(|(own, _)| own.clone()),
        ..Facts::default()
    };
    let about = format!("API {}", wanted.api_id);
    let api = aws.send(Call::new(&calls::GET_REST_API, &about).path("id", &wanted.api_id)).await;
    api.with_context(|| format!("failed to look at the API {}", wanted.api_id))?;
    of_gateway(aws, wanted, &mut facts).await;
    of_functions(aws, &mut facts).await;
    of_roles(aws, &mut facts).await;
    of_agents(aws, wanted, &mut facts).await;
    if let Some(question) = wanted.question {
        ask_functions(aws, &mut facts, question).await;
    }
    Ok(facts)
}

impl Facts {
    /// Notes what could not be read.
    fn note(&mut self, what: &str, error: &CallError) {
        self.unread.push((what.to_owned(), error.to_string()));
    }
}

async fn of_gateway(aws: &Aws, wanted: &Wanted, facts: &mut Facts) {
    let id = wanted.api_id.as_str();
    let stages = document(aws, Call::new(&calls::GET_STAGES, "stages").path("id", id)).await;
    match stages {
        Ok(stages) => facts.stages = items(&stages).map(stage).collect(),
        Err(error) => facts.note(STAGES, &error),
    }
    facts.stage = match (&wanted.stage, facts.stages.as_slice()) {
        (Some(stage), _) => stage.clone(),
        (None, [only]) => only.name.clone(),
        (None, _) => "prod".to_owned(),
    };
    match pages(aws, &calls::GET_RESOURCES, &[("id", id)], &[("embed", "methods")]).await {
        Ok(resources) => facts.methods = resources.iter().flat_map(methods).collect(),
        Err(error) => facts.note(METHODS, &error),
    }
    match pages(aws, &calls::GET_API_KEYS, &[], &[]).await {
        Ok(keys) => {
            facts.keys = keys.iter().map(key).collect();
            facts.keys.retain(|key| wanted.keys.as_ref().is_none_or(|wanted| wanted.contains(&key.id)));
        }
        Err(error) => facts.note(KEYS, &error),
    }
    match pages(aws, &calls::GET_USAGE_PLANS, &[], &[]).await {
        Ok(plans) => facts.plans = plans.iter().map(plan).collect(),
        Err(error) => facts.note(PLANS, &error),
    }
    let mut plans = std::mem::take(&mut facts.plans);
    for plan in &mut plans {
        match pages(aws, &calls::GET_USAGE_PLAN_KEYS, &[("id", &plan.id)], &[]).await {
            Ok(keys) => plan.key_ids = keys.iter().map(|key| text(key, "id")).collect(),
            Err(error) => facts.note(&format!("Keys of {}", plan.name), &error),
        }
        let usage = Call::new(&calls::GET_USAGE, "usage").path("id", &plan.id);
        let usage = usage.parameter("startDate", first_day(plan, wanted.today)).parameter("endDate", wanted.today.to_string());
        match document(aws, usage.parameter("limit", calls::PAGE_ITEMS)).await {
            Ok(usage) => plan.usage = used(&usage),
            Err(error) => facts.note(&usage_of(&plan.name), &error),
        }
    }
    facts.plans = plans;
}

fn stage(document: &Value) -> StageFacts {
    let of_all = &document["methodSettings"]["*/*"];
    let throttle = || Some((of_all["throttlingRateLimit"].as_f64()?, of_all["throttlingBurstLimit"].as_u64()?));
    let variables = document["variables"].as_object().into_iter().flatten();
    StageFacts {
        name: text(document, "stageName"),
        variables: variables.map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned())).collect(),
        throttle: throttle(),
    }
}

fn methods(resource: &Value) -> Vec<MethodFacts> {
    let methods = resource["resourceMethods"].as_object().into_iter().flatten();
    let method = |(verb, method): (&String, &Value)| MethodFacts {
        resource_id: text(resource, "id"),
        path: text(resource, "path"),
        verb: verb.clone(),
        integration: method.get("methodIntegration").filter(|integration| integration.is_object()).map(integration),
    };
    methods.map(method).collect()
}

fn integration(document: &Value) -> IntegrationFacts {
    IntegrationFacts {
        kind: text(document, "type"),
        uri: text(document, "uri"),
        credentials: document["credentials"].as_str().map(str::to_owned),
        timeout_ms: document["timeoutInMillis"].as_u64().unwrap_or(29_000),
        is_streaming: document["responseTransferMode"] == "STREAM",
    }
}

fn key(document: &Value) -> KeyFacts {
    KeyFacts { id: text(document, "id"), name: text(document, "name"), enabled: document["enabled"] == true, ..KeyFacts::default() }
}

fn plan(document: &Value) -> PlanFacts {
    let throttle = &document["throttle"];
    let quota = &document["quota"];
    let stages = document["apiStages"].as_array().into_iter().flatten();
    PlanFacts {
        id: text(document, "id"),
        name: text(document, "name"),
        throttle: throttle["rateLimit"].as_f64().map(|rate| (rate, throttle["burstLimit"].as_u64().unwrap_or(0))),
        quota_offset: quota["offset"].as_u64().and_then(|offset| u8::try_from(offset).ok()).unwrap_or(0),
        quota: quota["limit"].as_u64().map(|limit| (limit, text(quota, "period"))),
        stages: stages.map(|stage| (text(stage, "apiId"), text(stage, "stage"))).collect(),
        ..PlanFacts::default()
    }
}

/// The first day of the quota's period that runs; today without a quota.
fn first_day(plan: &PlanFacts, today: Date) -> String {
    let quota = plan
        .quota
        .as_ref()
        .and_then(|(limit, period)| Some(Quota { limit: *limit, period: QuotaPeriod::named(period)?, offset: plan.quota_offset }));
    date_of(Calendar::of(quota).span(day_of_date(today)).first_day).to_string()
}

/// The members are called `values` on the wire, and `items` by some stand-ins.
fn used(document: &Value) -> BTreeMap<String, (u64, Option<u64>)> {
    let values = document.get("values").or_else(|| document.get("items")).and_then(Value::as_object).into_iter().flatten();
    let of_key = |days: &Value| {
        let days = days.as_array()?;
        let used_on = |day: &Value| day.get(0).and_then(Value::as_u64);
        // A day without a request may be written as one with all of the quota left.
        let last_used = days.iter().rev().find(|day| used_on(day).is_some_and(|used| used > 0)).or(days.last())?;
        Some((used_on(days.last()?)?, last_used.get(1).and_then(Value::as_u64)))
    };
    values.filter_map(|(key, days)| Some((key.clone(), of_key(days)?))).collect()
}

async fn of_functions(aws: &Aws, facts: &mut Facts) {
    let called = facts.methods.iter().filter_map(|method| facts.called_by(method.integration.as_ref()?));
    let called: BTreeSet<Called> = called.filter(|called| !facts.is_own(&called.name)).collect();
    let mut names: BTreeSet<String> = called.iter().map(|called| called.name.clone()).collect();
    if facts.methods.iter().any(|method| method.integration.is_none()) {
        match calls::function_names(aws).await {
            Ok(all) => names.extend(all),
            Err(error) => facts.note("Functions", &error),
        }
    }
    for name in names {
        let what = format!("Function {name}");
        let known = match document(aws, Call::new(&calls::GET_FUNCTION, &what).path("name", &name)).await {
            Ok(found) => {
                let mut function = function(&found);
                let qualified = called.iter().filter(|called| called.name == name).cloned();
                let plain = Called { name: name.clone(), qualifier: None };
                for called in qualified.chain([plain]).collect::<BTreeSet<Called>>() {
                    let call = Call::new(&calls::GET_POLICY, &what).path("name", &name);
                    let qualifier = called.qualifier.iter().map(|qualifier| ("Qualifier", qualifier.clone()));
                    match document(aws, call.parameters(qualifier)).await {
                        Ok(policy) => function.policies.extend(
                            policy["Policy"].as_str().map(|policy| (called.qualifier.clone().unwrap_or_default(), policy.to_owned())),
                        ),
                        Err(error) if is_absent(&error) => {}
                        Err(error) => facts.note(&policy_of(&called), &error),
                    }
                }
                Known::Is(function)
            }
            Err(error) if is_absent(&error) => Known::Absent,
            Err(error) => {
                facts.note(&what, &error);
                Known::Unread
            }
        };
        facts.functions.insert(name, known);
    }
}

fn function(document: &Value) -> FunctionFacts {
    let configuration = &document["Configuration"];
    // `AGENT_ARN` in the guide's; whatever the name, only an agent has such an ARN.
    let variables = configuration["Environment"]["Variables"].as_object().into_iter().flat_map(serde_json::Map::values);
    let qualifier = configuration["Environment"]["Variables"]["AGENT_RUNTIME_QUALIFIER"].as_str();
    let is_agent = |value: &str| value.starts_with("arn:aws:bedrock-agentcore:") && value.contains(":runtime/");
    let reason = ["StateReason", "LastUpdateStatusReason"].into_iter().find_map(|name| configuration[name].as_str());
    FunctionFacts {
        name: text(configuration, "FunctionName"),
        arn: text(configuration, "FunctionArn"),
        role_arn: text(configuration, "Role"),
        timeout_s: configuration["Timeout"].as_u64().unwrap_or(3),
        state: configuration["State"].as_str().unwrap_or("Active").to_owned(),
        last_update: text(configuration, "LastUpdateStatus"),
        reason: reason.unwrap_or_default().to_owned(),
        reserved_concurrency: document["Concurrency"]["ReservedConcurrentExecutions"].as_u64(),
        policies: BTreeMap::new(),
        agent_endpoint: qualifier.unwrap_or("DEFAULT").to_owned(),
        agent_arn: variables.filter_map(Value::as_str).find(|value| is_agent(value)).map(str::to_owned),
        probe: None,
    }
}

async fn of_roles(aws: &Aws, facts: &mut Facts) {
    let functions: Vec<(String, Option<String>)> =
        facts.called_functions().iter().map(|function| (function.role_arn.clone(), function.agent_arn.clone())).collect();
    let names: BTreeSet<String> =
        functions.into_iter().filter(|(_, agent)| agent.is_some()).map(|(role, _)| name_of(&role).to_owned()).collect();
    if names.is_empty() {
        return;
    }
    let mut held = BTreeSet::new();
    for name in names {
        let known = match role(aws, &name).await {
            Ok(role) => {
                held.extend(role.policies.iter().filter(|policy| policy.is_managed).map(|policy| policy.name.clone()));
                Known::Is(role)
            }
            Err(error) if is_absent(&error) => Known::Absent,
            Err(error) => {
                facts.note(&format!("Role {name}"), &error);
                Known::Unread
            }
        };
        facts.roles.insert(name, known);
    }
    match xml(aws, Call::new(&calls::LIST_POLICIES, "policies").parameter("Scope", "Local").parameter("MaxItems", "200")).await {
        Ok(list) => {
            let result = list.find("ListPoliciesResult").unwrap_or(&list);
            let arns = result.members("Policies").filter_map(|policy| policy.text_of("Arn")).filter(|arn| !held.contains(*arn));
            for arn in arns.take(POLICIES_READ_MAX).map(str::to_owned).collect::<Vec<_>>() {
                match managed(aws, &arn).await {
                    Ok(document) => drop(facts.loose_policies.insert(arn, document)),
                    Err(error) => facts.note(&format!("Policy {arn}"), &error),
                }
            }
        }
        Err(error) => facts.note("Policies", &error),
    }
}

async fn role(aws: &Aws, name: &str) -> Result<RoleFacts, CallError> {
    let about = format!("role {name}");
    let mut policies = Vec::new();
    let attached = xml(aws, Call::new(&calls::LIST_ATTACHED_ROLE_POLICIES, &about).parameter("RoleName", name)).await?;
    let result = attached.find("ListAttachedRolePoliciesResult").unwrap_or(&attached);
    for arn in result.members("AttachedPolicies").filter_map(|policy| policy.text_of("PolicyArn")) {
        policies.push(PolicyFacts { name: arn.to_owned(), is_managed: true, document: managed(aws, arn).await? });
    }
    let own = xml(aws, Call::new(&calls::LIST_ROLE_POLICIES, &about).parameter("RoleName", name)).await?;
    let result = own.find("ListRolePoliciesResult").unwrap_or(&own);
    for policy in result.members("PolicyNames").map(|policy| policy.text.clone()) {
        let call = Call::new(&calls::GET_ROLE_POLICY, &about).parameter("RoleName", name).parameter("PolicyName", policy.as_str());
        let document = policy_document(&xml(aws, call).await?, "PolicyDocument");
        policies.push(PolicyFacts { name: policy, is_managed: false, document });
    }
    Ok(RoleFacts { name: name.to_owned(), policies })
}

/// The document of a managed policy's default version.
async fn managed(aws: &Aws, arn: &str) -> Result<Value, CallError> {
    let policy = xml(aws, Call::new(&calls::GET_POLICY_OF_IAM, arn).parameter("PolicyArn", arn)).await?;
    let version = policy.find("DefaultVersionId").map_or("v1", |version| version.text.as_str()).to_owned();
    let call = Call::new(&calls::GET_POLICY_VERSION, arn).parameter("PolicyArn", arn).parameter("VersionId", version);
    Ok(policy_document(&xml(aws, call).await?, "Document"))
}

/// IAM writes documents percent-encoded.
fn policy_document(answer: &Element, name: &str) -> Value {
    let text = answer.find(name).map(|document| document.text.as_str()).unwrap_or_default();
    let decoded = percent_encoding::percent_decode_str(text).decode_utf8_lossy();
    serde_json::from_str(&decoded).unwrap_or_default()
}

async fn of_agents(aws: &Aws, wanted: &Wanted, facts: &mut Facts) {
    let mut arns: BTreeSet<String> = facts.called_functions().into_iter().filter_map(|function| function.agent_arn.clone()).collect();
    let calls_own =
        facts.methods.iter().filter_map(|method| facts.function_of(method.integration.as_ref()?)).any(|name| facts.is_own(&name));
    arns.extend(wanted.own.iter().filter(|_| calls_own).filter_map(|(_, agent)| agent.clone()));
    let variables = facts.stages.iter().find(|stage| stage.name == facts.stage).map(|stage| &stage.variables);
    arns.extend(facts.methods.iter().filter_map(|method| straight(&method.integration.as_ref()?.uri, variables)));
    for arn in arns {
        let what = format!("Agent {}", name_of(&arn));
        let known = match agent::state(aws, &arn).await {
            Ok(state) => {
                let id = name_of(&arn);
                let mut agent = AgentFacts {
                    arn: arn.clone(),
                    name: id.rsplit_once('-').map_or(id, |(name, _)| name).to_owned(),
                    status: state.status,
                    version: state.version.parse().unwrap_or(1),
                    failure: state.failure,
                    can_go_back: wanted.own.is_some(),
                    ..AgentFacts::default()
                };
                if let Some(question) = wanted.question {
                    let payload = json!({ "prompt": question }).to_string();
                    agent.probe = Some(match agent::invoke(aws, &arn, &payload, None).await {
                        Ok((answer, _)) => Probe::Answered(answer),
                        Err(error) => refused(&error),
                    });
                }
                Known::Is(agent)
            }
            Err(error) if is_absent(&error) => Known::Absent,
            Err(error) => {
                facts.note(&what, &error);
                Known::Unread
            }
        };
        facts.agents.insert(arn, known);
    }
}

/// The agent that a method calls without a function.
fn straight(uri: &str, variables: Option<&BTreeMap<String, String>>) -> Option<String> {
    let runtime = uri.split_once("/runtimes/")?.1.split("/invocations").next()?;
    let mut runtime = runtime.to_owned();
    for (name, value) in variables.into_iter().flatten() {
        runtime = runtime.replace(&format!("${{stageVariables.{name}}}"), value);
    }
    let runtime = percent_encoding::percent_decode_str(&runtime).decode_utf8_lossy().into_owned();
    runtime.starts_with("arn:").then_some(runtime)
}

/// Asks each proxy of an agent as the gateway would. Other functions are left alone: nobody knows what a question makes them do. One whose agent failed is not asked: its answer would be the agent's.
async fn ask_functions(aws: &Aws, facts: &mut Facts, question: &str) {
    let is_well = |arn: &Option<String>| {
        let agent = arn.as_ref().and_then(|arn| facts.agents.get(arn));
        agent.is_none_or(|agent| !matches!(agent, Known::Is(AgentFacts { probe: Some(Probe::Failed(_) | Probe::Unasked(_)), .. })))
    };
    let names: Vec<String> = facts
        .called_functions()
        .into_iter()
        .filter(|function| function.state == "Active" && function.agent_arn.is_some() && is_well(&function.agent_arn))
        .map(|function| function.name.clone())
        .collect();
    for name in names {
        let event = json!({ "httpMethod": "POST", "body": json!({ "prompt": question }).to_string() });
        let answered = aws.send(Call::new(&calls::INVOKE, &name).path("name", &name).json(&event)).await;
        let probe = match answered {
            Ok(answer) => {
                let failed = answer.header("x-amz-function-error").is_some();
                let text = String::from_utf8_lossy(&answer.into_bytes()).into_owned();
                if failed { Probe::Failed(text) } else { Probe::Answered(text) }
            }
            Err(error) => refused(&error),
        };
        if let Some(Known::Is(function)) = facts.functions.get_mut(&name) {
            function.probe = Some(probe);
        }
    }
}

/// A refusal in the service's own words. A limit, a policy and a wait that was given up are not the fault of what was asked.
fn refused(error: &CallError) -> Probe {
    use http::StatusCode;

    let Some(refusal) = error.refusal() else { return Probe::Unasked(error.to_string()) };
    let said = format!("{}: {}", refusal.code, refusal.message);
    match refusal.status {
        StatusCode::TOO_MANY_REQUESTS | StatusCode::FORBIDDEN => Probe::Unasked(said),
        _ => Probe::Failed(said),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_is_found_in_the_uri_that_calls_it() {
        let variables = BTreeMap::from([("agent".to_owned(), "arn:aws:bedrock-agentcore:r:1:runtime/a-1".to_owned())]);
        let check = |uri: &str, expected: Option<&str>| assert_eq!(straight(uri, Some(&variables)).as_deref(), expected, "{uri}");
        let arn = Some("arn:aws:bedrock-agentcore:r:1:runtime/a-1");
        check("https://bedrock-agentcore.r.amazonaws.com/runtimes/${stageVariables.agent}/invocations?qualifier=DEFAULT", arn);
        check("https://x/runtimes/arn%3Aaws%3Abedrock-agentcore%3Ar%3A1%3Aruntime%2Fa-1/invocations", arn);
        check("https://x/runtimes/${stageVariables.other}/invocations", None);
        check("http://127.0.0.1:9000/{proxy}", None);
    }

    #[test]
    fn usage_is_today_s_and_what_is_left_is_the_period_s() {
        let document =
            json!({ "values": { "k": [[1, 9], [3, 6]], "open": [[2, null]], "none": [], "spent": [[4, 6], [6, 0], [0, 10], [0, 10]] } });
        let expected = [("k", (3, Some(6))), ("open", (2, None)), ("spent", (0, Some(0)))];
        assert_eq!(used(&document), expected.map(|(key, used)| (key.to_owned(), used)).into());
    }

    #[test]
    fn usage_is_asked_from_the_first_day_of_the_period() {
        let check = |period: &str, quota_offset, expected: &str| {
            let plan = PlanFacts { quota: Some((1, period.to_owned())), quota_offset, ..PlanFacts::default() };
            // A Thursday.
            assert_eq!(first_day(&plan, time::macros::date!(2026 - 01 - 15)), expected, "{period} {quota_offset}");
        };
        check("DAY", 0, "2026-01-15");
        check("WEEK", 0, "2026-01-11");
        check("WEEK", 5, "2026-01-09");
        check("MONTH", 0, "2026-01-01");
        check("MONTH", 20, "2025-12-21");
        assert_eq!(first_day(&PlanFacts::default(), time::macros::date!(2026 - 01 - 15)), "2026-01-15");
    }
}
