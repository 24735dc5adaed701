//! What CloudFormation does in the deployer's name: it has no rights of its own, so whoever deploys needs these.
//!
//! Source: the `handlers` of each type's schema in CloudFormation's registry, less what only properties need that the stack does not use (VPCs, KMS keys,
//! functions' code in S3, data protection).

/// A type of resource in the stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResourceType {
    /// Such as `AWS::Lambda::Function`.
    pub name: &'static str,
    /// The actions that making, changing and deleting it takes.
    pub actions: &'static [&'static str],
}

const fn of(name: &'static str, actions: &'static [&'static str]) -> ResourceType {
    ResourceType { name, actions }
}

/// API Gateway's actions are HTTP's verbs.
const API_GATEWAY: &[&str] = &["apigateway:DELETE", "apigateway:GET", "apigateway:PATCH", "apigateway:POST", "apigateway:PUT"];

/// Every type of resource that a stack may hold.
pub const RESOURCE_TYPES: &[ResourceType] = &[
    of("AWS::ApiGateway::Account", &["apigateway:GET", "apigateway:PATCH", "iam:GetRole", "iam:PassRole"]),
    of("AWS::ApiGateway::ApiKey", API_GATEWAY),
    of("AWS::ApiGateway::Deployment", API_GATEWAY),
    of("AWS::ApiGateway::GatewayResponse", API_GATEWAY),
    of("AWS::ApiGateway::Method", API_GATEWAY),
    of("AWS::ApiGateway::Resource", API_GATEWAY),
    of("AWS::ApiGateway::RestApi", API_GATEWAY),
    of("AWS::ApiGateway::Stage", API_GATEWAY),
    of("AWS::ApiGateway::UsagePlan", API_GATEWAY),
    of("AWS::ApiGateway::UsagePlanKey", API_GATEWAY),
    of(
        "AWS::BedrockAgentCore::Runtime",
        &[
            "bedrock-agentcore:CreateAgentRuntime",
            "bedrock-agentcore:CreateAgentRuntimeEndpoint",
            "bedrock-agentcore:CreateWorkloadIdentity",
            "bedrock-agentcore:DeleteAgentRuntime",
            "bedrock-agentcore:DeleteAgentRuntimeEndpoint",
            "bedrock-agentcore:DeleteWorkloadIdentity",
            "bedrock-agentcore:GetAgentRuntime",
            "bedrock-agentcore:GetAgentRuntimeEndpoint",
            "bedrock-agentcore:ListTagsForResource",
            "bedrock-agentcore:TagResource",
            "bedrock-agentcore:UntagResource",
            "bedrock-agentcore:UpdateAgentRuntime",
            "bedrock-agentcore:UpdateAgentRuntimeEndpoint",
            "iam:CreateServiceLinkedRole",
            "iam:PassRole",
            "s3:GetObject",
        ],
    ),
    of(
        "AWS::BedrockAgentCore::RuntimeEndpoint",
        &[
            "bedrock-agentcore:CreateAgentRuntimeEndpoint",
            "bedrock-agentcore:DeleteAgentRuntimeEndpoint",
            "bedrock-agentcore:GetAgentRuntime",
            "bedrock-agentcore:GetAgentRuntimeEndpoint",
            "bedrock-agentcore:ListTagsForResource",
            "bedrock-agentcore:TagResource",
            "bedrock-agentcore:UntagResource",
            "bedrock-agentcore:UpdateAgentRuntimeEndpoint",
        ],
    ),
    of(
        "AWS::CloudWatch::Alarm",
        &[
            "cloudwatch:DeleteAlarms",
            "cloudwatch:DescribeAlarms",
            "cloudwatch:ListTagsForResource",
            "cloudwatch:PutMetricAlarm",
            "cloudwatch:TagResource",
            "cloudwatch:UntagResource",
        ],
    ),
    of(
        "AWS::IAM::Role",
        &[
            "iam:AttachRolePolicy",
            "iam:CreateRole",
            "iam:DeleteRole",
            "iam:DeleteRolePolicy",
            "iam:DetachRolePolicy",
            "iam:GetRole",
            "iam:GetRolePolicy",
            "iam:ListAttachedRolePolicies",
            "iam:ListRolePolicies",
            "iam:PutRolePolicy",
            "iam:TagRole",
            "iam:UntagRole",
            "iam:UpdateAssumeRolePolicy",
            "iam:UpdateRole",
            "iam:UpdateRoleDescription",
        ],
    ),
    of(
        "AWS::Lambda::Function",
        &[
            // Lambda writes itself into the repository's policy, in the deployer's name.
            "ecr:BatchGetImage",
            "ecr:GetDownloadUrlForLayer",
            "ecr:GetRepositoryPolicy",
            "ecr:SetRepositoryPolicy",
            "iam:PassRole",
            "lambda:CreateFunction",
            "lambda:DeleteFunction",
            "lambda:GetFunction",
            "lambda:GetFunctionCodeSigningConfig",
            "lambda:GetFunctionRecursionConfig",
            "lambda:GetFunctionScalingConfig",
            "lambda:GetRuntimeManagementConfig",
            "lambda:TagResource",
            "lambda:UntagResource",
            "lambda:UpdateFunctionCode",
            "lambda:UpdateFunctionConfiguration",
        ],
    ),
    of("AWS::Lambda::Permission", &["lambda:AddPermission", "lambda:GetPolicy", "lambda:RemovePermission"]),
    of(
        "AWS::Logs::LogGroup",
        &[
            "logs:CreateLogGroup",
            "logs:DeleteLogGroup",
            "logs:DeleteRetentionPolicy",
            "logs:DescribeIndexPolicies",
            "logs:DescribeLogGroups",
            "logs:DescribeResourcePolicies",
            "logs:GetDataProtectionPolicy",
            "logs:ListTagsForResource",
            "logs:PutRetentionPolicy",
            "logs:TagResource",
            "logs:UntagResource",
        ],
    ),
    of("AWS::Logs::MetricFilter", &["logs:DeleteMetricFilter", "logs:DescribeMetricFilters", "logs:PutMetricFilter"]),
    of(
        "AWS::SNS::Topic",
        &[
            "sns:CreateTopic",
            "sns:DeleteTopic",
            "sns:GetDataProtectionPolicy",
            "sns:GetTopicAttributes",
            "sns:ListSubscriptionsByTopic",
            "sns:ListTagsForResource",
            "sns:SetTopicAttributes",
            "sns:Subscribe",
            "sns:TagResource",
            "sns:Unsubscribe",
            "sns:UntagResource",
        ],
    ),
];
