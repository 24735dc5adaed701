//! The services that are called, each with the names under which its endpoint, its signature, its policies and its documents know it.
//!
//! Source: botocore's service models, `metadata` (<https://github.com/boto/botocore/tree/master/botocore/data>).

/// How a service's requests and answers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Fields in a form, answers in XML.
    Query {
        /// The service's `Version` parameter.
        version: &'static str,
    },
    /// A JSON document, the operation named in a header.
    Json {
        /// The header's part before the operation.
        target: &'static str,
        /// `1.0` or `1.1`, for the content type.
        version: &'static str,
    },
    /// The operation is the verb and the path; JSON documents.
    RestJson,
    /// The operation is the verb and the path; XML documents, or bytes.
    S3,
}

/// One service of AWS.
#[derive(Debug, PartialEq, Eq)]
pub struct Service {
    /// What stands before the colon of an IAM action.
    pub action_prefix: &'static str,
    /// What stands before the region in the host's name.
    pub host_prefix: &'static str,
    /// What the signature is scoped to.
    pub signing_name: &'static str,
    /// The ending of the variable `AWS_ENDPOINT_URL_…` that names another endpoint.
    pub variable: &'static str,
    /// How it is spoken to.
    pub protocol: Protocol,
}

/// Security Token Service.
pub const STS: Service = Service {
    action_prefix: "sts",
    host_prefix: "sts",
    signing_name: "sts",
    variable: "STS",
    protocol: Protocol::Query { version: "2011-06-15" },
};

/// CloudFormation.
pub const CLOUDFORMATION: Service = Service {
    action_prefix: "cloudformation",
    host_prefix: "cloudformation",
    signing_name: "cloudformation",
    variable: "CLOUDFORMATION",
    protocol: Protocol::Query { version: "2010-05-15" },
};

/// CloudWatch: metrics and alarms.
pub const CLOUDWATCH: Service = Service {
    action_prefix: "cloudwatch",
    host_prefix: "monitoring",
    signing_name: "monitoring",
    variable: "CLOUDWATCH",
    protocol: Protocol::Query { version: "2010-08-01" },
};

/// Identity and Access Management: one endpoint for all regions.
pub const IAM: Service = Service {
    action_prefix: "iam",
    host_prefix: "iam",
    signing_name: "iam",
    variable: "IAM",
    protocol: Protocol::Query { version: "2010-05-08" },
};

/// Elastic Container Registry.
pub const ECR: Service = Service {
    action_prefix: "ecr",
    host_prefix: "api.ecr",
    signing_name: "ecr",
    variable: "ECR",
    protocol: Protocol::Json { target: "AmazonEC2ContainerRegistry_V20150921", version: "1.1" },
};

/// CloudWatch Logs.
pub const LOGS: Service = Service {
    action_prefix: "logs",
    host_prefix: "logs",
    signing_name: "logs",
    variable: "CLOUDWATCH_LOGS",
    protocol: Protocol::Json { target: "Logs_20140328", version: "1.1" },
};

/// Secrets Manager.
pub const SECRETS_MANAGER: Service = Service {
    action_prefix: "secretsmanager",
    host_prefix: "secretsmanager",
    signing_name: "secretsmanager",
    variable: "SECRETS_MANAGER",
    protocol: Protocol::Json { target: "secretsmanager", version: "1.1" },
};

/// API Gateway. Its IAM actions are the HTTP verbs.
pub const API_GATEWAY: Service = Service {
    action_prefix: "apigateway",
    host_prefix: "apigateway",
    signing_name: "apigateway",
    variable: "API_GATEWAY",
    protocol: Protocol::RestJson,
};

/// Lambda.
pub const LAMBDA: Service =
    Service { action_prefix: "lambda", host_prefix: "lambda", signing_name: "lambda", variable: "LAMBDA", protocol: Protocol::RestJson };

/// AgentCore's control plane.
pub const AGENTCORE_CONTROL: Service = Service {
    action_prefix: "bedrock-agentcore",
    host_prefix: "bedrock-agentcore-control",
    signing_name: "bedrock-agentcore",
    variable: "BEDROCK_AGENTCORE_CONTROL",
    protocol: Protocol::RestJson,
};

/// AgentCore's data plane.
pub const AGENTCORE: Service = Service {
    action_prefix: "bedrock-agentcore",
    host_prefix: "bedrock-agentcore",
    signing_name: "bedrock-agentcore",
    variable: "BEDROCK_AGENTCORE",
    protocol: Protocol::RestJson,
};

/// Simple Storage Service.
pub const S3: Service = Service { action_prefix: "s3", host_prefix: "s3", signing_name: "s3", variable: "S3", protocol: Protocol::S3 };
