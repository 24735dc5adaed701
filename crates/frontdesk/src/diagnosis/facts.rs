//! What is known of an API and what stands behind it. Plain values: the issues are judged from them alone.

use std::collections::BTreeMap;

use serde_json::Value;

/// By these names [`Facts::unread`] knows the lists.
pub(super) const STAGES: &str = "Stages";
pub(super) const METHODS: &str = "Methods";
pub(super) const KEYS: &str = "Keys";
pub(super) const PLANS: &str = "Usage plans";

/// The name of a plan's usage among them.
pub(super) fn usage_of(plan: &str) -> String {
    format!("Usage of {plan}")
}

/// What a method calls: `hello`, or `hello:live`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Called {
    pub(crate) name: String,
    /// A version or an alias.
    pub(crate) qualifier: Option<String>,
}

impl std::fmt::Display for Called {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.name)?;
        self.qualifier.iter().try_for_each(|qualifier| write!(formatter, ":{qualifier}"))
    }
}

/// The name of a function's policy among them.
pub(super) fn policy_of(called: &Called) -> String {
    format!("Policy of {called}")
}

/// Everything that was read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Facts {
    pub(crate) account: String,
    pub(crate) region: String,
    pub(crate) api_id: String,
    /// The stage that callers use.
    pub(crate) stage: String,
    pub(crate) stages: Vec<StageFacts>,
    pub(crate) methods: Vec<MethodFacts>,
    pub(crate) keys: Vec<KeyFacts>,
    pub(crate) plans: Vec<PlanFacts>,
    /// By name: those that the API's methods call, and where a method calls nothing all others too.
    pub(crate) functions: BTreeMap<String, Known<FunctionFacts>>,
    /// By name.
    pub(crate) roles: BTreeMap<String, Known<RoleFacts>>,
    /// Managed policies of the account that no role here holds, by ARN, with their documents.
    pub(crate) loose_policies: BTreeMap<String, Value>,
    /// By ARN.
    pub(crate) agents: BTreeMap<String, Known<AgentFacts>>,
    /// The ARN of the function that the host itself is, and that is no function of Lambda's.
    pub(crate) own_function: Option<String>,
    /// How many requests the gateway has turned away since its start, by reason; a host tells, AWS does not.
    pub(crate) refused: BTreeMap<String, u64>,
    /// What could not be looked at, and why.
    pub(crate) unread: Vec<(String, String)>,
}

/// A thing that was asked for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Known<T> {
    Is(T),
    /// There is none.
    Absent,
    /// It could not be read; [`Facts::unread`] says why.
    Unread,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct StageFacts {
    pub(crate) name: String,
    pub(crate) variables: BTreeMap<String, String>,
    /// Rate and burst for all methods, where the stage has its own.
    pub(crate) throttle: Option<(f64, u64)>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct MethodFacts {
    pub(crate) resource_id: String,
    pub(crate) path: String,
    pub(crate) verb: String,
    pub(crate) integration: Option<IntegrationFacts>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct IntegrationFacts {
    /// `AWS_PROXY`, `HTTP_PROXY`, `MOCK`, …
    pub(crate) kind: String,
    pub(crate) uri: String,
    pub(crate) credentials: Option<String>,
    pub(crate) timeout_ms: u64,
    pub(crate) is_streaming: bool,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct KeyFacts {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) enabled: bool,
    /// Only a host's keys expire.
    pub(crate) has_expired: bool,
    /// Only a host's keys are bound to networks.
    pub(crate) source_ranges: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct PlanFacts {
    pub(crate) id: String,
    pub(crate) name: String,
    /// Requests a second, and at once.
    pub(crate) throttle: Option<(f64, u64)>,
    /// Requests in a period.
    pub(crate) quota: Option<(u64, String)>,
    /// The day on which the quota's period begins, counted from its first.
    pub(crate) quota_offset: u8,
    /// API and stage.
    pub(crate) stages: Vec<(String, String)>,
    pub(crate) key_ids: Vec<String>,
    /// Used today and left of the quota in the period that runs, by key; none for who has used nothing in it.
    pub(crate) usage: BTreeMap<String, (u64, Option<u64>)>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct FunctionFacts {
    pub(crate) name: String,
    pub(crate) arn: String,
    pub(crate) role_arn: String,
    pub(crate) timeout_s: u64,
    /// `Active`, `Pending`, …
    pub(crate) state: String,
    /// `Successful`, `Failed`, …
    pub(crate) last_update: String,
    pub(crate) reason: String,
    pub(crate) reserved_concurrency: Option<u64>,
    /// Who may call it: its own policy under an empty name, and those of versions and aliases under theirs. None where nobody has been let in.
    pub(crate) policies: BTreeMap<String, String>,
    /// The agent that its environment names, and the endpoint of it.
    pub(crate) agent_arn: Option<String>,
    pub(crate) agent_endpoint: String,
    /// What it says to a question, where it was asked one.
    pub(crate) probe: Option<Probe>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct RoleFacts {
    pub(crate) name: String,
    pub(crate) policies: Vec<PolicyFacts>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PolicyFacts {
    /// Its ARN where it is managed, its name where it is the role's own.
    pub(crate) name: String,
    pub(crate) is_managed: bool,
    pub(crate) document: Value,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct AgentFacts {
    pub(crate) arn: String,
    pub(crate) name: String,
    pub(crate) status: String,
    pub(crate) version: u64,
    pub(crate) failure: Option<String>,
    /// Whether a host serves it, which can go back to an earlier version of it.
    pub(crate) can_go_back: bool,
    /// Its last lines, where its answer was not what was expected.
    pub(crate) log_tail: Vec<String>,
    /// What it says to a question, where it was asked one.
    pub(crate) probe: Option<Probe>,
}

/// What came back to a question.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Probe {
    Answered(String),
    /// The refusal, or the function's error, in its own words.
    Failed(String),
    /// It was not asked at all, or not to the end: a limit, a policy or the caller's own patience was in the way, which says nothing of it.
    Unasked(String),
}

impl Facts {
    /// The function of an integration, by name.
    pub(crate) fn function_of(&self, integration: &IntegrationFacts) -> Option<String> {
        self.called_by(integration).map(|called| called.name)
    }

    /// What an integration calls: a function, or a version or alias of it, which has a policy of its own.
    pub(crate) fn called_by(&self, integration: &IntegrationFacts) -> Option<Called> {
        let uri = self.filled(&integration.uri);
        let mut parts = uri.split("/functions/").nth(1)?.split('/').next()?.split(':').skip(6);
        // A variable that the stage does not have leads nowhere.
        let name = parts.next().filter(|name| !name.is_empty() && !name.contains('$'))?.to_owned();
        Some(Called { name, qualifier: parts.next().map(str::to_owned) })
    }

    /// A text with the stage's variables in it.
    fn filled(&self, text: &str) -> String {
        let variables = self.stages.iter().filter(|stage| stage.name == self.stage).flat_map(|stage| &stage.variables);
        variables.fold(text.to_owned(), |text, (name, value)| text.replace(&format!("${{stageVariables.{name}}}"), value))
    }

    /// Whether the function of that name is the host itself.
    pub(crate) fn is_own(&self, function: &str) -> bool {
        self.own_function.as_ref().is_some_and(|own| own.ends_with(&format!(":function:{function}")))
    }

    /// Whether something could not be looked at, so that its absence says nothing.
    pub(crate) fn is_unread(&self, what: &str) -> bool {
        self.unread.iter().any(|(unread, _)| unread == what)
    }

    /// Whether the stage that callers use is there; `None` where that could not be looked at.
    pub(crate) fn has_stage(&self) -> Option<bool> {
        (!self.is_unread(STAGES)).then(|| self.stages.iter().any(|stage| stage.name == self.stage))
    }

    /// Whether an agent answers behind an integration, so far as can be seen.
    pub(crate) fn leads_to_agent(&self, integration: &IntegrationFacts) -> bool {
        let Some(name) = self.function_of(integration) else { return integration.uri.contains("/runtimes/") };
        self.is_own(&name) || self.functions().any(|function| function.name == name && function.agent_arn.is_some())
    }

    /// The functions that were found.
    pub(crate) fn functions(&self) -> impl Iterator<Item = &FunctionFacts> {
        self.functions.values().filter_map(|function| match function {
            Known::Is(function) => Some(function),
            Known::Absent | Known::Unread => None,
        })
    }

    /// The functions that methods of the API call.
    pub(crate) fn called_functions(&self) -> Vec<&FunctionFacts> {
        let called: Vec<String> = self.methods.iter().filter_map(|method| self.function_of(method.integration.as_ref()?)).collect();
        self.functions().filter(|function| called.contains(&function.name)).collect()
    }

    /// A function's ARN by its name.
    pub(crate) fn function_arn(&self, name: &str) -> String {
        format!("arn:aws:lambda:{}:{}:function:{name}", self.region, self.account)
    }

    /// Whether a plan opens the stage that callers use.
    pub(crate) fn opens(&self, plan: &PlanFacts) -> bool {
        plan.stages.iter().any(|(api, stage)| *api == self.api_id && *stage == self.stage)
    }

    /// The ARN by which a function's policy is to let a method in from every stage: what callers put in the place of a path's parameters is for a star to match.
    pub(crate) fn method_pattern(&self, method: &MethodFacts) -> String {
        let segments = method.path.split('/').map(|segment| if segment.starts_with('{') && segment.ends_with('}') { "*" } else { segment });
        let path = segments.collect::<Vec<_>>().join("/");
        self.method_arn(&MethodFacts { path, ..method.clone() }, "*")
    }

    /// The ARN by which a function's policy is asked about a method.
    pub(crate) fn method_arn(&self, method: &MethodFacts, stage: &str) -> String {
        // A call has a verb of its own: who lets all of them in writes a star.
        let verb = if method.verb == "ANY" { "*" } else { &method.verb };
        format!("arn:aws:execute-api:{}:{}:{}/{stage}/{verb}{}", self.region, self.account, self.api_id, method.path)
    }
}

/// The last part of an ARN: a role's or an agent's name.
pub(crate) fn name_of(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap_or(arn)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_method_calls_is_read_from_its_address() {
        let variables = BTreeMap::from([
            ("fn".to_owned(), "hello:live".to_owned()),
            ("arn".to_owned(), "arn:aws:lambda:r:1:function:hello".to_owned()),
        ]);
        let stage = StageFacts { name: "prod".to_owned(), variables, ..StageFacts::default() };
        let facts = Facts { stage: "prod".to_owned(), stages: vec![stage], ..Facts::default() };
        let check = |function: &str, expected: Option<&str>| {
            let uri = format!("arn:aws:apigateway:r:lambda:path/2015-03-31/functions/{function}/invocations");
            let called = facts.called_by(&IntegrationFacts { uri, ..IntegrationFacts::default() });
            assert_eq!(called.map(|called| called.to_string()).as_deref(), expected, "{function}");
        };
        check("arn:aws:lambda:r:1:function:hello", Some("hello"));
        check("arn:aws:lambda:r:1:function:hello:live", Some("hello:live"));
        check("arn:aws:lambda:r:1:function:${stageVariables.fn}", Some("hello:live"));
        check("${stageVariables.arn}", Some("hello"));
        check("arn:aws:lambda:r:1:function:${stageVariables.other}", None);
        check("", None);
    }
}
