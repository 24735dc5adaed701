//! The IAM policy that a deployer needs: every action that this crate calls, and those that CloudFormation takes in the deployer's name.
//!
//! It is made from the two tables that the code itself goes by, so that it can lack nothing and ask for nothing else.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::call::operation::OPERATIONS;
use crate::registry::ecr::PUSH_ACTIONS;
use crate::stack::{RESOURCE_TYPES, StackName};

/// Actions that know no resource.
const ON_EVERYTHING: &[&str] = &[
    "ecr:GetAuthorizationToken",
    "iam:CreateServiceLinkedRole",
    "logs:DescribeIndexPolicies",
    "logs:DescribeLogGroups",
    "logs:DescribeResourcePolicies",
    "cloudwatch:DescribeAlarms",
    "sts:GetCallerIdentity",
];

/// Every action.
#[must_use]
pub fn actions() -> BTreeSet<String> {
    let called = OPERATIONS.iter().map(crate::call::operation::Operation::iam_action);
    let pushed = PUSH_ACTIONS.iter().map(|action| (*action).to_owned());
    let made = RESOURCE_TYPES.iter().flat_map(|kind| kind.actions).map(|action| (*action).to_owned());
    called.chain(pushed).chain(made).collect()
}

/// The policy's document for a stack: a statement a service, on what is named after the stack.
#[must_use]
pub fn document(stack: &StackName) -> Value {
    let mut by_service: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut everywhere = Vec::new();
    for action in actions() {
        if ON_EVERYTHING.contains(&action.as_str()) {
            everywhere.push(action);
        } else {
            let service = action.split(':').next().unwrap_or_default().to_owned();
            by_service.entry(service).or_default().push(action);
        }
    }
    let mut statements: Vec<Value> = by_service
        .into_iter()
        .map(|(service, actions)| {
            let sid: String = service.split('-').map(capitalised).collect();
            json!({ "Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resources(&service, stack) })
        })
        .collect();
    statements.push(json!({ "Sid": "WithoutResource", "Effect": "Allow", "Action": everywhere, "Resource": "*" }));
    json!({ "Version": "2012-10-17", "Statement": statements })
}

/// What of a service belongs to the stack. `*` in the place of region and account: who may deploy may deploy to each of them.
fn resources(service: &str, stack: &StackName) -> Vec<String> {
    let named = |parts: &[String]| parts.iter().map(|part| format!("arn:aws:{service}:*:*:{part}")).collect();
    match service {
        // API Gateway's ids are its own, and its account settings are everybody's.
        "apigateway" => vec!["arn:aws:apigateway:*::/*".to_owned()],
        "cloudformation" => named(&[format!("stack/{stack}/*")]),
        "cloudwatch" => named(&[format!("alarm:{stack}-*")]),
        "ecr" => named(&[format!("repository/{stack}/*")]),
        "iam" => vec![format!("arn:aws:iam::*:role/{stack}-*")],
        "lambda" => named(&[format!("function:{stack}-*")]),
        "logs" => {
            let groups = ["aws/lambda", "aws/apigateway"].map(|place| format!("log-group:/{place}/{stack}-*"));
            let [lambda, api] = groups;
            named(&[lambda, api, format!("log-group:/aws/bedrock-agentcore/runtimes/{}-*", stack.agent_name())])
        }
        "s3" => vec![format!("arn:aws:s3:::{stack}-*")],
        "secretsmanager" => named(&[format!("secret:{stack}/*")]),
        "sns" => named(&[format!("{stack}-alarms")]),
        _ => named(&["*".to_owned()]),
    }
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_action_is_allowed_once_and_on_something_of_the_stack_s() {
        let document = document(&StackName::new("faq-desk").unwrap());
        let statements = document["Statement"].as_array().unwrap();
        let allowed: Vec<_> = statements.iter().flat_map(|statement| statement["Action"].as_array().unwrap()).collect();
        assert_eq!(allowed.len(), actions().len());
        for statement in statements.iter().filter(|statement| statement["Sid"] != "WithoutResource") {
            for resource in statement["Resource"].as_array().unwrap() {
                let resource = resource.as_str().unwrap();
                let of_stack = resource.contains("faq-desk") || resource.contains("faq_desk");
                let is_free = ["Apigateway", "BedrockAgentcore"].contains(&statement["Sid"].as_str().unwrap());
                assert!(of_stack || is_free, "{resource}");
            }
        }
    }
}
