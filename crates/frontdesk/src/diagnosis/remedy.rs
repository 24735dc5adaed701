//! What mends: each step is a command that can be pasted, and the call that running it makes.

use frontdesk_deploy::call::operation::Operation;
use frontdesk_deploy::call::{Aws, Call};
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use super::calls;
use super::facts::{Called, Facts, MethodFacts, PlanFacts};
use crate::control_client::ControlClient;

/// One command.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    /// As it is pasted into a shell.
    pub(crate) line: String,
    does: Does,
}

impl Serialize for Step {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.line)
    }
}

#[derive(Debug, Clone)]
enum Does {
    Aws {
        operation: &'static Operation,
        path: Vec<(&'static str, String)>,
        fields: Vec<(&'static str, String)>,
        document: Option<Value>,
    },
    /// What AWS has no word for.
    NeverExpire {
        key_id: String,
    },
    GoBack {
        agent: String,
        version: u64,
    },
}

/// Carries a step out. `host` is the running host, where it is one that is looked at.
///
/// # Errors
/// What AWS or the host says to it.
pub(crate) async fn take(step: &Step, aws: &Aws, host: Option<&ControlClient>) -> anyhow::Result<()> {
    match (&step.does, host) {
        (Does::Aws { operation, path, fields, document }, _) => {
            let mut call = Call::new(operation, &step.line);
            for (name, value) in path {
                call = call.path(name, value);
            }
            for (name, value) in fields {
                call = call.parameter(name, value);
            }
            if let Some(document) = document {
                call = call.json(document);
            }
            aws.send(call).await?;
        }
        (Does::NeverExpire { key_id }, Some(host)) => {
            let wanted = frontdesk_control::UpdateKeyRequest { expires_at: Some(None), ..frontdesk_control::UpdateKeyRequest::default() };
            host.update_key(key_id, &wanted).await?;
        }
        (Does::GoBack { agent, version }, Some(host)) => {
            host.put_agent_version(agent, &version.to_string()).await?;
        }
        (Does::NeverExpire { .. } | Does::GoBack { .. }, None) => anyhow::bail!("{} is for a host", step.line),
    }
    Ok(())
}

impl Step {
    /// By what it is known whether it was tried: each going back makes a version, so that the next line would be another one.
    pub(crate) fn tried_as(&self) -> String {
        match &self.does {
            Does::GoBack { agent, .. } => format!("{agent} goes back"),
            Does::Aws { .. } | Does::NeverExpire { .. } => self.line.clone(),
        }
    }

    /// A call of API Gateway's.
    fn gateway(
        operation: &'static Operation,
        words: &[&str],
        path: &[(&'static str, &str)],
        document: Option<Value>,
        region: &str,
    ) -> Step {
        let path = path.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        Step { line: aws_line("apigateway", words, region), does: Does::Aws { operation, path, fields: Vec::new(), document } }
    }

    /// A call of Lambda's.
    fn lambda(operation: &'static Operation, words: &[&str], function: &str, document: Option<Value>, region: &str) -> Step {
        let path = vec![("name", function.to_owned())];
        Step { line: aws_line("lambda", words, region), does: Does::Aws { operation, path, fields: Vec::new(), document } }
    }

    /// With more in the call's query.
    fn with_fields(mut self, more: impl IntoIterator<Item = (&'static str, String)>) -> Step {
        if let Does::Aws { fields, .. } = &mut self.does {
            fields.extend(more);
        }
        self
    }

    /// A call of IAM's.
    fn iam(operation: &'static Operation, words: &[&str], fields: Vec<(&'static str, String)>, region: &str) -> Step {
        Step { line: aws_line("iam", words, region), does: Does::Aws { operation, path: Vec::new(), fields, document: None } }
    }
}

pub(super) fn enable_key(facts: &Facts, key_id: &str) -> Step {
    let words = ["update-api-key", "--api-key", key_id, "--patch-operations", "op=replace,path=/enabled,value=true"];
    Step::gateway(&calls::UPDATE_API_KEY, &words, &[("id", key_id)], Some(patch(&[("replace", "/enabled", "true")])), &facts.region)
}

pub(super) fn never_expire(key_id: &str) -> Step {
    let line = format!("frontdesk keys update {key_id} --never-expires");
    Step { line, does: Does::NeverExpire { key_id: key_id.to_owned() } }
}

pub(super) fn join_plan(facts: &Facts, plan: &PlanFacts, key_id: &str) -> Step {
    let words = ["create-usage-plan-key", "--usage-plan-id", &plan.id, "--key-id", key_id, "--key-type", "API_KEY"];
    let document = json!({ "keyId": key_id, "keyType": "API_KEY" });
    Step::gateway(&calls::CREATE_USAGE_PLAN_KEY, &words, &[("id", &plan.id)], Some(document), &facts.region)
}

pub(super) fn open_stage(facts: &Facts, plan: &PlanFacts) -> Step {
    let value = format!("{}:{}", facts.api_id, facts.stage);
    let patched = format!("op=add,path=/apiStages,value={value}");
    let words = ["update-usage-plan", "--usage-plan-id", &plan.id, "--patch-operations", &patched];
    let document = patch(&[("add", "/apiStages", &value)]);
    Step::gateway(&calls::UPDATE_USAGE_PLAN, &words, &[("id", &plan.id)], Some(document), &facts.region)
}

/// Rate and burst.
pub(super) fn raise_throttle(facts: &Facts, plan: &PlanFacts, rate: f64, burst: u64) -> Step {
    let (rate, burst) = (rate.to_string(), burst.to_string());
    let patched =
        [format!("op=replace,path=/throttle/rateLimit,value={rate}"), format!("op=replace,path=/throttle/burstLimit,value={burst}")];
    let words = ["update-usage-plan", "--usage-plan-id", &plan.id, "--patch-operations", &patched[0], &patched[1]];
    let document = patch(&[("replace", "/throttle/rateLimit", &rate), ("replace", "/throttle/burstLimit", &burst)]);
    Step::gateway(&calls::UPDATE_USAGE_PLAN, &words, &[("id", &plan.id)], Some(document), &facts.region)
}

/// What is left of a key's quota in the period that runs.
pub(super) fn extend_quota(facts: &Facts, plan: &PlanFacts, key_id: &str, remaining: u64) -> Step {
    let remaining = remaining.to_string();
    let patched = format!("op=replace,path=/remaining,value={remaining}");
    let words = ["update-usage", "--usage-plan-id", &plan.id, "--key-id", key_id, "--patch-operations", &patched];
    let path = [("id", plan.id.as_str()), ("key", key_id)];
    Step::gateway(&calls::UPDATE_USAGE, &words, &path, Some(patch(&[("replace", "/remaining", &remaining)])), &facts.region)
}

/// The stage's own limits are taken away, so that the plan's are the ones that count.
pub(super) fn lift_stage_throttle(facts: &Facts) -> Step {
    let (rate, burst) = ("10000", "5000");
    let patched = [
        format!("op=replace,path=/*/*/throttling/rateLimit,value={rate}"),
        format!("op=replace,path=/*/*/throttling/burstLimit,value={burst}"),
    ];
    let words =
        ["update-stage", "--rest-api-id", &facts.api_id, "--stage-name", &facts.stage, "--patch-operations", &patched[0], &patched[1]];
    let document = patch(&[("replace", "/*/*/throttling/rateLimit", rate), ("replace", "/*/*/throttling/burstLimit", burst)]);
    let path = [("id", facts.api_id.as_str()), ("stage", facts.stage.as_str())];
    Step::gateway(&calls::UPDATE_STAGE, &words, &path, Some(document), &facts.region)
}

pub(super) fn deploy(facts: &Facts) -> Step {
    let words = ["create-deployment", "--rest-api-id", &facts.api_id, "--stage-name", &facts.stage];
    let document = json!({ "stageName": facts.stage });
    Step::gateway(&calls::CREATE_DEPLOYMENT, &words, &[("id", &facts.api_id)], Some(document), &facts.region)
}

/// Puts a function behind a method.
pub(super) fn integrate(facts: &Facts, method: &MethodFacts, function_arn: &str) -> Step {
    let uri = format!("arn:aws:apigateway:{}:lambda:path/2015-03-31/functions/{function_arn}/invocations", facts.region);
    let at = ["--rest-api-id", &facts.api_id, "--resource-id", &method.resource_id, "--http-method", &method.verb];
    let with = ["--type", "AWS_PROXY", "--integration-http-method", "POST", "--uri", &uri];
    let words: Vec<&str> = ["put-integration"].into_iter().chain(at).chain(with).collect();
    let document = json!({ "type": "AWS_PROXY", "httpMethod": "POST", "uri": uri });
    Step::gateway(&calls::PUT_INTEGRATION, &words, &place_of(facts, method), Some(document), &facts.region)
}

pub(super) fn set_integration_timeout(facts: &Facts, method: &MethodFacts, timeout_ms: u64) -> Step {
    let timeout = timeout_ms.to_string();
    let patched = format!("op=replace,path=/timeoutInMillis,value={timeout}");
    let words = [
        "update-integration",
        "--rest-api-id",
        &facts.api_id,
        "--resource-id",
        &method.resource_id,
        "--http-method",
        &method.verb,
        "--patch-operations",
        &patched,
    ];
    let document = patch(&[("replace", "/timeoutInMillis", &timeout)]);
    Step::gateway(&calls::UPDATE_INTEGRATION, &words, &place_of(facts, method), Some(document), &facts.region)
}

fn place_of<'a>(facts: &'a Facts, method: &'a MethodFacts) -> [(&'static str, &'a str); 3] {
    [("id", &facts.api_id), ("resource", &method.resource_id), ("verb", &method.verb)]
}

/// Lets the gateway call a function for one method.
pub(super) fn let_gateway_call(facts: &Facts, method: &MethodFacts, called: &Called) -> Step {
    let words_of_path: Vec<&str> = method.path.split(|char: char| !char.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let sid = format!("apigateway-{}-{}-{}", facts.api_id, method.verb, words_of_path.join("-"));
    let source = facts.method_pattern(method);
    let qualifier = called.qualifier.iter().flat_map(|qualifier| ["--qualifier", qualifier.as_str()]);
    let permission =
        ["--statement-id", &sid, "--action", "lambda:InvokeFunction", "--principal", "apigateway.amazonaws.com", "--source-arn", &source];
    let document = json!({
        "StatementId": sid, "Action": "lambda:InvokeFunction", "Principal": "apigateway.amazonaws.com", "SourceArn": source,
    });
    let words: Vec<&str> = ["add-permission", "--function-name", &called.name].into_iter().chain(qualifier).chain(permission).collect();
    let step = Step::lambda(&calls::ADD_PERMISSION, &words, &called.name, Some(document), &facts.region);
    step.with_fields(called.qualifier.iter().map(|qualifier| ("Qualifier", qualifier.clone())))
}

pub(super) fn set_function_timeout(facts: &Facts, function: &str, timeout_s: u64) -> Step {
    let timeout = timeout_s.to_string();
    let words = ["update-function-configuration", "--function-name", function, "--timeout", &timeout];
    Step::lambda(&calls::UPDATE_FUNCTION_CONFIGURATION, &words, function, Some(json!({ "Timeout": timeout_s })), &facts.region)
}

pub(super) fn attach_policy(facts: &Facts, role: &str, policy_arn: &str) -> Step {
    let words = ["attach-role-policy", "--role-name", role, "--policy-arn", policy_arn];
    let fields = vec![("RoleName", role.to_owned()), ("PolicyArn", policy_arn.to_owned())];
    Step::iam(&calls::ATTACH_ROLE_POLICY, &words, fields, &facts.region)
}

pub(super) fn put_role_policy(facts: &Facts, role: &str, name: &str, document: &Value) -> Step {
    let text = document.to_string();
    let words = ["put-role-policy", "--role-name", role, "--policy-name", name, "--policy-document", &text];
    let fields = vec![("RoleName", role.to_owned()), ("PolicyName", name.to_owned()), ("PolicyDocument", text.clone())];
    Step::iam(&calls::PUT_ROLE_POLICY, &words, fields, &facts.region)
}

pub(super) fn new_policy_version(facts: &Facts, policy_arn: &str, document: &Value) -> Step {
    let text = document.to_string();
    let words = ["create-policy-version", "--policy-arn", policy_arn, "--policy-document", &text, "--set-as-default"];
    let fields = vec![("PolicyArn", policy_arn.to_owned()), ("PolicyDocument", text.clone()), ("SetAsDefault", "true".to_owned())];
    Step::iam(&calls::CREATE_POLICY_VERSION, &words, fields, &facts.region)
}

pub(super) fn go_back(agent: &str, version: u64) -> Step {
    let line = format!("frontdesk launch -a {agent} --version {version}");
    Step { line, does: Does::GoBack { agent: agent.to_owned(), version } }
}

fn patch(operations: &[(&str, &str, &str)]) -> Value {
    let operations: Vec<Value> = operations.iter().map(|(op, path, value)| json!({ "op": op, "path": path, "value": value })).collect();
    json!({ "patchOperations": operations })
}

/// A command of the aws CLI.
pub(crate) fn aws_line(service: &str, words: &[&str], region: &str) -> String {
    let words = ["aws", service].into_iter().chain(words.iter().copied()).chain(["--region", region]);
    words.map(quoted).collect::<Vec<_>>().join(" ")
}

/// A word as a shell takes it.
pub(crate) fn quoted(word: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=,@%+".contains(&byte);
    if !word.is_empty() && word.bytes().all(is_plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_where_a_shell_would_read_them_otherwise() {
        let check = |word: &str, expected: &str| assert_eq!(quoted(word), expected);
        check("op=add,path=/apiStages,value=a:prod", "op=add,path=/apiStages,value=a:prod");
        check("op=replace,path=/*/*/throttling/rateLimit", "'op=replace,path=/*/*/throttling/rateLimit'");
        check(r#"{"a": "it's"}"#, r#"'{"a": "it'\''s"}'"#);
        check("", "''");
    }

    #[test]
    fn a_step_is_written_as_it_is_carried_out() {
        let facts = Facts { region: "us-east-1".to_owned(), api_id: "a1".to_owned(), stage: "prod".to_owned(), ..Facts::default() };
        let step = open_stage(&facts, &PlanFacts { id: "p1".to_owned(), ..PlanFacts::default() });
        let line = "aws apigateway update-usage-plan --usage-plan-id p1 --patch-operations op=add,path=/apiStages,value=a1:prod --region us-east-1";
        assert_eq!(step.line, line);
        let Does::Aws { operation, document: Some(document), .. } = step.does else { panic!("a call of AWS's") };
        assert_eq!(operation.name, "UpdateUsagePlan");
        assert_eq!(document["patchOperations"][0], json!({ "op": "add", "path": "/apiStages", "value": "a1:prod" }));
    }

    #[test]
    fn going_back_twice_is_the_same_and_other_commands_are_not() {
        assert_eq!(go_back("echo", 2).tried_as(), go_back("echo", 3).tried_as());
        assert_ne!(go_back("echo", 2).tried_as(), go_back("other", 2).tried_as());
        assert_ne!(never_expire("k1").tried_as(), never_expire("k2").tried_as());
    }
}
