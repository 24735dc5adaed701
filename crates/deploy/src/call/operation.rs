//! The table of operations that this crate calls. It is the only way to a call, so the IAM policy that a deployer needs is read from it.

use http::Method;

use super::service::{self, Service};

/// One operation of a service.
#[derive(Debug, PartialEq, Eq)]
pub struct Operation {
    /// Whose.
    pub service: &'static Service,
    /// Its name in the API reference.
    pub name: &'static str,
    /// The HTTP verb.
    pub verb: Method,
    /// The path; `{name}` stands for one segment, `{name+}` for the rest with its slashes.
    pub path: &'static str,
    /// The name of the IAM action after its prefix, where it is not the operation's.
    pub action: Option<&'static str>,
}

impl Operation {
    /// The IAM action that allows it, such as `ecr:CreateRepository`.
    ///
    /// API Gateway's actions are the verbs ("Actions, resources, and condition keys for Amazon API Gateway Management",
    /// <https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonapigatewaymanagement.html>).
    pub fn iam_action(&self) -> String {
        let name = match self.action {
            Some(action) => action,
            None if *self.service == service::API_GATEWAY => self.verb.as_str(),
            None => self.name,
        };
        format!("{}:{name}", self.service.action_prefix)
    }
}

macro_rules! operations {
    ($($(#[$doc:meta])* $constant:ident = $service:ident $name:literal $verb:ident $path:literal $(as $action:literal)?;)*) => {
        $(
            $(#[$doc])*
            pub const $constant: Operation = Operation {
                service: &service::$service,
                name: $name,
                verb: Method::$verb,
                path: $path,
                action: operations!(@action $($action)?),
            };
        )*
        /// Every operation that is called, in the table's order.
        pub const OPERATIONS: &[Operation] = &[$($constant),*];
        /// The names of the constants, for the test that each has a caller.
        #[cfg(test)]
        const CONSTANTS: &[&str] = &[$(stringify!($constant)),*];
    };
    (@action) => { None };
    (@action $action:literal) => { Some($action) };
}

operations! {
    /// Whose the credentials are. Everybody may ask.
    GET_CALLER_IDENTITY = STS "GetCallerIdentity" POST "/";

    /// A login for the registry of the account.
    GET_AUTHORIZATION_TOKEN = ECR "GetAuthorizationToken" POST "/";
    /// Makes a repository.
    CREATE_REPOSITORY = ECR "CreateRepository" POST "/";
    /// Finds repositories.
    DESCRIBE_REPOSITORIES = ECR "DescribeRepositories" POST "/";
    /// Reads a repository's tags.
    LIST_TAGS_FOR_RESOURCE = ECR "ListTagsForResource" POST "/";
    /// Lists a repository's images.
    DESCRIBE_IMAGES = ECR "DescribeImages" POST "/";
    /// Deletes images.
    BATCH_DELETE_IMAGE = ECR "BatchDeleteImage" POST "/";
    /// Deletes a repository.
    DELETE_REPOSITORY = ECR "DeleteRepository" POST "/";

    /// Stores an object.
    PUT_OBJECT = S3 "PutObject" PUT "/{key+}";
    /// Removes one version of an object.
    DELETE_OBJECT = S3 "DeleteObject" DELETE "/{key+}" as "DeleteObjectVersion";
    /// Lists a bucket's objects with all their versions.
    LIST_OBJECT_VERSIONS = S3 "ListObjectVersions" GET "/" as "ListBucketVersions";
    /// Reads a bucket's tags.
    GET_BUCKET_TAGGING = S3 "GetBucketTagging" GET "/";
    /// Makes a bucket.
    CREATE_BUCKET = S3 "CreateBucket" PUT "/";
    /// Says of a bucket who made it.
    PUT_BUCKET_TAGGING = S3 "PutBucketTagging" PUT "/";
    /// Removes a bucket.
    DELETE_BUCKET = S3 "DeleteBucket" DELETE "/";

    /// A stack's state, outputs and tags.
    DESCRIBE_STACKS = CLOUDFORMATION "DescribeStacks" POST "/";
    /// Has CloudFormation work out what a template would change.
    CREATE_CHANGE_SET = CLOUDFORMATION "CreateChangeSet" POST "/";
    /// What it has worked out.
    DESCRIBE_CHANGE_SET = CLOUDFORMATION "DescribeChangeSet" POST "/";
    /// Makes the changes.
    EXECUTE_CHANGE_SET = CLOUDFORMATION "ExecuteChangeSet" POST "/";
    /// Drops what was worked out.
    DELETE_CHANGE_SET = CLOUDFORMATION "DeleteChangeSet" POST "/";
    /// What happens to a stack's resources, one by one.
    DESCRIBE_STACK_EVENTS = CLOUDFORMATION "DescribeStackEvents" POST "/";
    /// The resources of a stack.
    LIST_STACK_RESOURCES = CLOUDFORMATION "ListStackResources" POST "/";
    /// Removes a stack and what is in it.
    DELETE_STACK = CLOUDFORMATION "DeleteStack" POST "/";

    /// The account's settings, of which one is the role that writes logs.
    GET_API_GATEWAY_ACCOUNT = API_GATEWAY "GetAccount" GET "/account";
    /// An API key, with its value.
    GET_API_KEY = API_GATEWAY "GetApiKey" GET "/apikeys/{id}";
    /// All API keys, without their values.
    GET_API_KEYS = API_GATEWAY "GetApiKeys" GET "/apikeys";
    /// Makes an API key.
    CREATE_API_KEY = API_GATEWAY "CreateApiKey" POST "/apikeys";
    /// Changes one.
    UPDATE_API_KEY = API_GATEWAY "UpdateApiKey" PATCH "/apikeys/{id}";
    /// Deletes one.
    DELETE_API_KEY = API_GATEWAY "DeleteApiKey" DELETE "/apikeys/{id}";
    /// Puts a key into a usage plan.
    CREATE_USAGE_PLAN_KEY = API_GATEWAY "CreateUsagePlanKey" POST "/usageplans/{id}/keys";
    /// Who used how much.
    GET_USAGE = API_GATEWAY "GetUsage" GET "/usageplans/{id}/usage";

    /// What was printed into a log group.
    FILTER_LOG_EVENTS = LOGS "FilterLogEvents" POST "/";
    /// Makes a log group.
    CREATE_LOG_GROUP = LOGS "CreateLogGroup" POST "/";
    /// Says how long its events are kept.
    PUT_RETENTION_POLICY = LOGS "PutRetentionPolicy" POST "/";
    /// Removes a log group.
    DELETE_LOG_GROUP = LOGS "DeleteLogGroup" POST "/";
    /// How alarms are.
    DESCRIBE_ALARMS = CLOUDWATCH "DescribeAlarms" POST "/";
    /// How an agent runtime is.
    GET_AGENT_RUNTIME = AGENTCORE_CONTROL "GetAgentRuntime" GET "/runtimes/{id}/";
    /// Calls one.
    INVOKE_AGENT_RUNTIME = AGENTCORE "InvokeAgentRuntime" POST "/runtimes/{arn}/invocations";

    /// What is known of a secret beside its value.
    DESCRIBE_SECRET = SECRETS_MANAGER "DescribeSecret" POST "/";
    /// Makes a secret.
    CREATE_SECRET = SECRETS_MANAGER "CreateSecret" POST "/";
    /// A secret's value, to see whether it is still the one wanted.
    GET_SECRET_VALUE = SECRETS_MANAGER "GetSecretValue" POST "/";
    /// Puts a new value in the place of the old.
    PUT_SECRET_VALUE = SECRETS_MANAGER "PutSecretValue" POST "/";
    /// Removes a secret.
    DELETE_SECRET = SECRETS_MANAGER "DeleteSecret" POST "/";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_are_named_as_policies_name_them() {
        let check = |operation: &Operation, expected: &str| assert_eq!(operation.iam_action(), expected);
        check(&GET_CALLER_IDENTITY, "sts:GetCallerIdentity");
        check(&PUT_OBJECT, "s3:PutObject");
        let read = Operation { service: &service::API_GATEWAY, name: "GetAccount", verb: Method::GET, path: "/account", action: None };
        check(&read, "apigateway:GET");
        let head = Operation { service: &service::S3, name: "HeadBucket", verb: Method::HEAD, path: "/", action: Some("ListBucket") };
        check(&head, "s3:ListBucket");
    }

    #[test]
    fn every_operation_has_a_caller() {
        let mut callers = String::new();
        let mut folders = vec![std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if !path.ends_with("call/operation.rs") {
                    callers.push_str(&std::fs::read_to_string(path).unwrap());
                }
            }
        }
        let idle: Vec<_> = CONSTANTS.iter().filter(|name| !callers.contains(&format!("operation::{name}"))).collect();
        assert!(idle.is_empty(), "nobody calls {idle:?}, yet a deployer would be granted them");
    }
}
