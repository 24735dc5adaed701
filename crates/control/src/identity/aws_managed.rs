//! Managed policies that every AWS account has, as far as they speak of what is served here. Others of AWS's are not attachable, which is said.
//!
//! Names and meanings: the AWS Managed Policy Reference (<https://docs.aws.amazon.com/aws-managed-policy/latest/reference/policy-list.html>).

/// One of AWS's own policies.
pub(super) struct AwsManaged {
    pub(super) path: &'static str,
    pub(super) name: &'static str,
    pub(super) description: &'static str,
    /// Patterns of what it allows, on every resource.
    pub(super) allows: &'static [&'static str],
    /// Patterns of what it leaves out, where it says so by `NotAction`.
    pub(super) all_but: &'static [&'static str],
}

/// The table.
pub(super) const AWS_MANAGED: &[AwsManaged] = &[
    AwsManaged { path: "/", name: "AdministratorAccess", description: "Everything.", allows: &["*"], all_but: &[] },
    AwsManaged {
        path: "/",
        name: "PowerUserAccess",
        description: "Everything but users, groups, roles and policies.",
        allows: &["iam:ListRoles"],
        all_but: &["iam:*", "organizations:*", "account:*"],
    },
    AwsManaged { path: "/", name: "IAMFullAccess", description: "All of IAM.", allows: &["iam:*"], all_but: &[] },
    AwsManaged {
        path: "/",
        name: "IAMReadOnlyAccess",
        description: "Reading IAM.",
        allows: &["iam:Get*", "iam:List*", "iam:Simulate*"],
        all_but: &[],
    },
    AwsManaged {
        path: "/",
        name: "BedrockAgentCoreFullAccess",
        description: "All of AgentCore.",
        allows: &["bedrock-agentcore:*"],
        all_but: &[],
    },
    AwsManaged {
        path: "/",
        name: "AmazonAPIGatewayAdministrator",
        description: "Making and changing APIs.",
        allows: &["apigateway:*"],
        all_but: &[],
    },
    AwsManaged {
        path: "/",
        name: "AmazonAPIGatewayInvokeFullAccess",
        description: "Calling APIs.",
        allows: &["execute-api:Invoke", "execute-api:ManageConnections"],
        all_but: &[],
    },
    AwsManaged {
        path: "/service-role/",
        name: "AmazonAPIGatewayPushToCloudWatchLogs",
        description: "Writing an API's logs.",
        allows: &[
            "logs:CreateLogGroup",
            "logs:CreateLogStream",
            "logs:Describe*",
            "logs:PutLogEvents",
            "logs:GetLogEvents",
            "logs:FilterLogEvents",
        ],
        all_but: &[],
    },
    AwsManaged {
        path: "/",
        name: "AWSLambda_FullAccess",
        description: "All of Lambda.",
        allows: &["lambda:*", "iam:PassRole", "logs:*"],
        all_but: &[],
    },
    AwsManaged {
        path: "/service-role/",
        name: "AWSLambdaBasicExecutionRole",
        description: "Writing a function's logs.",
        allows: &["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"],
        all_but: &[],
    },
    AwsManaged { path: "/", name: "CloudWatchLogsFullAccess", description: "All of CloudWatch Logs.", allows: &["logs:*"], all_but: &[] },
];

impl AwsManaged {
    /// Its document.
    pub(super) fn document(&self) -> String {
        let mut statements = Vec::new();
        if !self.all_but.is_empty() {
            statements.push(serde_json::json!({ "Effect": "Allow", "NotAction": self.all_but, "Resource": "*" }));
        }
        statements.push(serde_json::json!({ "Effect": "Allow", "Action": self.allows, "Resource": "*" }));
        serde_json::json!({ "Version": "2012-10-17", "Statement": statements }).to_string()
    }
}
