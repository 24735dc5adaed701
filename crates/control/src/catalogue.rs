//! What is served, read from the tables that dispatch works from: the compatibility page is made of it, so that it can neither promise nor forget anything.

use crate::operation::Operation;
use crate::{agentcore_control, apigateway, cloudwatch, cost_explorer, data_plane, iam, lambda, logs, sts};

/// A service of AWS that the control face plays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServedService {
    /// Its name as the aws CLI's and boto3's: `apigateway`.
    pub name: &'static str,
    /// Its name as people's: `API Gateway`.
    pub title: &'static str,
    /// How it is spoken to: `rest-json`, `query`, …
    pub protocol: &'static str,
    /// What to know beforehand, and the page that says more.
    pub notes: &'static str,
    /// What it does, in the order of its table.
    pub operations: Vec<ServedOperation>,
}

/// An operation of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServedOperation {
    /// Its name in AWS's API reference.
    pub name: &'static str,
    /// Verb and path, where the protocol has one for each operation.
    pub call: Option<String>,
}

/// Every service, in the order of the page. A new one is a line here.
#[must_use]
pub fn served_services() -> Vec<ServedService> {
    vec![
        of("sts", "STS", "query", "[Who may call](identity.md)", named(sts::OPERATIONS.iter().map(|(name, _)| *name))),
        of("iam", "IAM", "query", "[Who may call](identity.md)", named(iam::OPERATIONS.iter().map(|operation| operation.name))),
        of("lambda", "Lambda", "rest-json", "[Lambda functions](functions.md)", by_path(lambda::OPERATIONS)),
        of(logs::SERVICE, "CloudWatch Logs", "json", "[Logs](logs.md)", named(logs::OPERATIONS.iter().map(|operation| operation.name))),
        of(
            "cloudwatch",
            "CloudWatch",
            "rpc-v2-cbor, json, query",
            "[Metrics and alarms](metrics.md)",
            named(cloudwatch::OPERATIONS.iter().map(|operation| operation.name)),
        ),
        of(
            "ce",
            "Cost Explorer",
            "json",
            "[Metrics and alarms](metrics.md)",
            named(cost_explorer::OPERATIONS.iter().map(|operation| operation.name)),
        ),
        of("apigateway", "API Gateway", "rest-json", "[APIs of your own](apis.md)", by_path(apigateway::OPERATIONS)),
        of(
            "bedrock-agentcore-control",
            "AgentCore, control plane",
            "rest-json",
            "[The runtime](runtime.md)",
            by_path(agentcore_control::OPERATIONS),
        ),
        of("bedrock-agentcore", "AgentCore, data plane", "rest-json", "[The runtime](runtime.md)", by_path(data_plane::OPERATIONS)),
    ]
}

fn of(
    name: &'static str,
    title: &'static str,
    protocol: &'static str,
    notes: &'static str,
    operations: Vec<ServedOperation>,
) -> ServedService {
    ServedService { name, title, protocol, notes, operations }
}

/// Operations that share one path: the request names them.
fn named(names: impl Iterator<Item = &'static str>) -> Vec<ServedOperation> {
    names.map(|name| ServedOperation { name, call: None }).collect()
}

/// Operations that are their verb and path.
fn by_path<Id>(table: &[Operation<Id>]) -> Vec<ServedOperation> {
    table
        .iter()
        .map(|operation| ServedOperation { name: operation.name, call: Some(format!("{} {}", operation.verb, operation.path)) })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn nothing_is_listed_twice_and_every_service_does_something() {
        let services = served_services();
        let names: BTreeSet<_> = services.iter().map(|service| service.name).collect();
        assert_eq!(names.len(), services.len());
        for service in services {
            let operations: BTreeSet<_> = service.operations.iter().map(|operation| operation.name).collect();
            assert!(!operations.is_empty() && operations.len() == service.operations.len(), "{}", service.name);
        }
    }
}
