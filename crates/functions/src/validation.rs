//! Lambda's rules for what is asked of it, and its sentences where they are broken.

use std::collections::BTreeMap;

use frontdesk_store::FunctionConfiguration;

use crate::client::RuntimeKind;
use crate::error::FunctionError;

/// Environment variables, names and values together, in bytes.
const ENVIRONMENT_BYTES_MAX: usize = 4096;
/// Variables that Lambda sets by itself (<https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html#configuration-envvars-runtime>).
const RESERVED: [&str; 17] = [
    "_HANDLER",
    "_X_AMZN_TRACE_ID",
    "AWS_DEFAULT_REGION",
    "AWS_REGION",
    "AWS_EXECUTION_ENV",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_INITIALIZATION_TYPE",
    "AWS_LAMBDA_LOG_GROUP_NAME",
    "AWS_LAMBDA_LOG_STREAM_NAME",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_LAMBDA_RUNTIME_API",
    "LAMBDA_TASK_ROOT",
    "LAMBDA_RUNTIME_DIR",
];

/// Checks a configuration as a whole.
///
/// # Errors
/// [`FunctionError::Invalid`], naming the value and its bounds.
pub(crate) fn check(configuration: &FunctionConfiguration) -> Result<(), FunctionError> {
    if RuntimeKind::of(&configuration.runtime).is_none() {
        return Err(FunctionError::Invalid(format!(
            "Value {} at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: [{}] or be a valid ARN",
            configuration.runtime,
            RuntimeKind::NAMES.join(", ")
        )));
    }
    if !is_role(&configuration.role_arn) {
        return Err(FunctionError::Invalid(format!(
            "1 validation error detected: Value '{}' at 'role' failed to satisfy constraint: Member must satisfy regular expression pattern: \
             arn:(aws[a-zA-Z-]*)?:iam::\\d{{12}}:role/?[a-zA-Z_0-9+=,.@\\-_/]+",
            configuration.role_arn
        )));
    }
    if configuration.handler.is_empty() || configuration.handler.len() > 128 || configuration.handler.contains(char::is_whitespace) {
        return Err(FunctionError::Invalid(format!(
            "1 validation error detected: Value '{}' at 'handler' failed to satisfy constraint: Member must satisfy regular expression pattern: [^\\s]+",
            configuration.handler
        )));
    }
    within("timeout", configuration.timeout_s, 1, 900)?;
    within("memorySize", configuration.memory_mb, 128, 10_240)?;
    within("ephemeralStorage.size", configuration.ephemeral_storage_mb, 512, 10_240)?;
    if !["x86_64", "arm64"].contains(&configuration.architecture.as_str()) {
        return Err(FunctionError::Invalid(format!(
            "1 validation error detected: Value '[{}]' at 'architectures' failed to satisfy constraint: Member must satisfy enum value set: [x86_64, arm64]",
            configuration.architecture
        )));
    }
    check_environment(&configuration.environment)
}

fn is_role(arn: &str) -> bool {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    matches!(parts.as_slice(), ["arn", _, "iam", "", account, resource] if account.len() == 12 && resource.len() > "role/".len() && resource.starts_with("role/"))
}

fn within(name: &str, value: u32, least: u32, most: u32) -> Result<(), FunctionError> {
    let broken = match value {
        value if value < least => format!("greater than or equal to {least}"),
        value if value > most => format!("less than or equal to {most}"),
        _ => return Ok(()),
    };
    Err(FunctionError::Invalid(format!(
        "1 validation error detected: Value '{value}' at '{name}' failed to satisfy constraint: Member must have value {broken}"
    )))
}

fn check_environment(environment: &BTreeMap<String, String>) -> Result<(), FunctionError> {
    let is_name = |name: &str| {
        name.len() >= 2 && name.as_bytes()[0].is_ascii_alphabetic() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    if let Some(name) = environment.keys().find(|name| !is_name(name) && !RESERVED.contains(&name.as_str())) {
        return Err(FunctionError::Invalid(format!(
            "1 validation error detected: Value at 'environment.variables' failed to satisfy constraint: Map keys must satisfy constraint: [Member must satisfy \
             regular expression pattern: [a-zA-Z]([a-zA-Z0-9_])+] (found {name})"
        )));
    }
    let reserved: Vec<&str> = environment.keys().map(String::as_str).filter(|name| RESERVED.contains(name)).collect();
    if !reserved.is_empty() {
        return Err(FunctionError::Invalid(format!(
            "Lambda was unable to configure your environment variables because the environment variables you have provided contains reserved keys that are \
             currently not supported for modification. Reserved keys used in this request: {}",
            reserved.join(", ")
        )));
    }
    let bytes: usize = environment.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > ENVIRONMENT_BYTES_MAX {
        return Err(FunctionError::Invalid(
            "Lambda was unable to configure your environment variables because the environment variables you have provided exceeded the 4KB limit.".to_owned(),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configuration() -> FunctionConfiguration {
        FunctionConfiguration {
            runtime: "python3.12".to_owned(),
            role_arn: "arn:aws:iam::123456789012:role/proxy".to_owned(),
            handler: "app.handler".to_owned(),
            description: String::new(),
            timeout_s: 3,
            memory_mb: 128,
            ephemeral_storage_mb: 512,
            architecture: "x86_64".to_owned(),
            environment: BTreeMap::new(),
            tracing_mode: "PassThrough".to_owned(),
        }
    }

    fn check_refused(change: impl FnOnce(&mut FunctionConfiguration), expected: &str) {
        let mut wrong = configuration();
        change(&mut wrong);
        let error = check(&wrong).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn a_configuration_that_breaks_a_rule_is_told_which() {
        check(&configuration()).unwrap();
        check_refused(|it| it.runtime = "cobol".to_owned(), "Value cobol at 'runtime'");
        check_refused(|it| it.role_arn = "proxy".to_owned(), "at 'role'");
        check_refused(|it| it.handler = "a b".to_owned(), "at 'handler'");
        check_refused(
            |it| it.timeout_s = 901,
            "Value '901' at 'timeout' failed to satisfy constraint: Member must have value less than or equal to 900",
        );
        check_refused(|it| it.memory_mb = 64, "greater than or equal to 128");
        check_refused(
            |it| drop(it.environment.insert("AWS_REGION".to_owned(), "x".to_owned())),
            "Reserved keys used in this request: AWS_REGION",
        );
        check_refused(|it| drop(it.environment.insert("1x".to_owned(), "x".to_owned())), "environment.variables");
        check_refused(|it| drop(it.environment.insert("LONG".to_owned(), "x".repeat(5000))), "exceeded the 4KB limit");
    }
}
