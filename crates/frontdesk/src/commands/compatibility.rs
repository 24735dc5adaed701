//! The page of AWS's operations that are served, made from the tables that requests are dispatched by.

use std::fmt::Write as _;

use frontdesk_control::{ServedService, served_services};

/// What the deployment guide calls, by service: its own commands, and what its waiters and `logs tail` call.
const GUIDE: &[(&str, &[&str])] = &[
    ("sts", &["GetCallerIdentity"]),
    (
        "iam",
        &[
            "CreateRole",
            "GetRole",
            "CreatePolicy",
            "CreatePolicyVersion",
            "AttachRolePolicy",
            "ListAttachedRolePolicies",
            "DetachRolePolicy",
            "DeletePolicy",
            "DeleteRole",
        ],
    ),
    (
        "lambda",
        &[
            "CreateFunction",
            "GetFunction",
            "UpdateFunctionCode",
            "UpdateFunctionConfiguration",
            "AddPermission",
            "Invoke",
            "DeleteFunction",
        ],
    ),
    (
        "apigateway",
        &[
            "CreateRestApi",
            "DeleteRestApi",
            "GetResources",
            "CreateResource",
            "PutMethod",
            "GetMethod",
            "PutIntegration",
            "PutMethodResponse",
            "PutIntegrationResponse",
            "CreateDeployment",
            "GetStages",
            "UpdateStage",
            "CreateApiKey",
            "GetApiKey",
            "UpdateApiKey",
            "DeleteApiKey",
            "CreateUsagePlan",
            "GetUsagePlan",
            "UpdateUsagePlan",
            "CreateUsagePlanKey",
            "GetUsagePlanKeys",
        ],
    ),
    ("bedrock-agentcore-control", &["CreateAgentRuntime", "UpdateAgentRuntime", "GetAgentRuntime", "DeleteAgentRuntime"]),
    ("bedrock-agentcore", &["InvokeAgentRuntime"]),
    ("logs", &["DescribeLogStreams", "FilterLogEvents"]),
    ("cloudwatch", &["PutMetricAlarm", "GetMetricStatistics"]),
    ("ce", &["GetCostAndUsage"]),
];

/// The page, as Markdown.
pub(crate) fn page() -> String {
    let services = served_services();
    let mut page = String::from(
        "# Which of AWS's operations are served\n\n\
         The control face answers these, for the aws CLI, boto3 and every other SDK. An operation that is not here is answered with an error of AWS's form that\n\
         names it, never with an empty success. The page is printed by `frontdesk compatibility`, from the tables that requests are dispatched by. What an operation\n\
         does not do as AWS's does stands on its service's page; where the guide itself is wrong, [its notes](guide-notes.md) say what to type instead.\n\n\
         ## What the guide calls\n\n\
         | service | operation | here |\n|---|---|---|\n",
    );
    for (service, operations) in GUIDE {
        for operation in *operations {
            let here = if is_served(&services, service, operation) { "yes" } else { "**no**" };
            let _ = writeln!(page, "| `{service}` | {operation} | {here} |");
        }
    }
    for service in &services {
        let ServedService { name, title, protocol, notes, operations } = service;
        let _ = write!(page, "\n## {title}\n\n`{name}`, protocol {protocol}, {} operations. {notes}.\n\n", operations.len());
        if operations.iter().all(|operation| operation.call.is_none()) {
            let names: Vec<&str> = operations.iter().map(|operation| operation.name).collect();
            page.push_str(&filled(&names.join(", ")));
            continue;
        }
        page.push_str("| operation | call |\n|---|---|\n");
        for operation in operations {
            let _ = writeln!(page, "| {} | `{}` |", operation.name, operation.call.as_deref().unwrap_or("POST /"));
        }
    }
    page
}

fn is_served(services: &[ServedService], service: &str, operation: &str) -> bool {
    let served = services.iter().find(|served| served.name == service);
    served.is_some_and(|served| served.operations.iter().any(|known| known.name == operation))
}

/// A text in lines as long as this repository's others.
fn filled(text: &str) -> String {
    const LINE_CHARS_MAX: usize = 150;
    let (mut filled, mut line) = (String::new(), String::new());
    for word in text.split(' ') {
        if !line.is_empty() && line.len() + word.len() + 1 > LINE_CHARS_MAX {
            filled.push_str(&line);
            filled.push('\n');
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    filled + &line + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_served_of_the_guide_is_said_and_what_is_not_too() {
        let services = served_services();
        assert!(is_served(&services, "apigateway", "CreateUsagePlanKey"));
        assert!(!is_served(&services, "apigateway", "GetDomainNames") && !is_served(&services, "s3", "PutObject"));
        let page = page();
        for service in &services {
            assert!(page.contains(&format!("## {}\n", service.title)), "{}", service.name);
        }
        assert!(page.contains("| `iam` | CreateRole | yes |"), "{page}");
    }

    #[test]
    fn lines_are_filled() {
        let text = filled(&vec!["Operation"; 40].join(", "));
        assert!(text.lines().count() == 4 && text.lines().all(|line| line.len() <= 150), "{text}");
    }
}
