//! Lambda's documents.

use frontdesk_functions::{FunctionService, FunctionView};
use frontdesk_store::{FunctionAlias, FunctionState, LastUpdate};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::macros::format_description;

use crate::json_document::without_nulls;

/// `FunctionConfiguration`.
pub(super) fn configuration(view: &FunctionView) -> Value {
    let version = &view.version;
    let configuration = &version.configuration;
    let variables = &configuration.environment;
    let state = match version.state {
        FunctionState::Pending => ("Pending", Some("Creating")),
        FunctionState::Active => ("Active", None),
        FunctionState::Failed => ("Failed", Some("InternalError")),
    };
    let update = match version.last_update {
        LastUpdate::InProgress => ("InProgress", Some("Updating")),
        LastUpdate::Successful => ("Successful", None),
        LastUpdate::Failed => ("Failed", Some("InternalError")),
    };
    without_nulls(json!({
        "FunctionName": view.function.name,
        "FunctionArn": view.arn,
        "Runtime": configuration.runtime,
        "Role": configuration.role_arn,
        "Handler": configuration.handler,
        "CodeSize": version.code.bytes,
        "Description": configuration.description,
        "Timeout": configuration.timeout_s,
        "MemorySize": configuration.memory_mb,
        "LastModified": modified(version.modified_at_ms),
        "CodeSha256": view.code_sha256,
        "Version": version.version,
        "Environment": (!variables.is_empty()).then(|| json!({ "Variables": variables })),
        "TracingConfig": { "Mode": configuration.tracing_mode },
        "RevisionId": version.revision_id,
        "State": state.0,
        "StateReason": version.state_reason,
        "StateReasonCode": state.1,
        "LastUpdateStatus": update.0,
        "LastUpdateStatusReason": version.last_update_reason,
        "LastUpdateStatusReasonCode": update.1,
        "PackageType": "Zip",
        "Architectures": [configuration.architecture],
        "EphemeralStorage": { "Size": configuration.ephemeral_storage_mb },
        "SnapStart": { "ApplyOn": "None", "OptimizationStatus": "Off" },
        "LoggingConfig": { "LogFormat": "Text", "LogGroup": format!("/aws/lambda/{}", view.function.name) },
    }))
}

/// `AliasConfiguration`.
pub(super) fn alias(service: &FunctionService, function: &str, alias: &FunctionAlias) -> Value {
    json!({
        "AliasArn": service.arn(function, Some(&alias.name)),
        "Name": alias.name,
        "FunctionVersion": alias.version,
        "Description": alias.description,
        "RevisionId": alias.revision_id,
    })
}

/// What the account may use and uses.
pub(super) fn account_settings(service: &FunctionService) -> Value {
    let functions = service.list();
    let bytes: u64 = functions.iter().map(|view| view.version.code.bytes).sum();
    let reserved: u32 = functions.iter().filter_map(|view| view.function.reserved_concurrency).sum();
    let concurrent = service.invocations_max();
    json!({
        "AccountLimit": {
            "TotalCodeSize": 80_530_636_800_u64,
            "CodeSizeUnzipped": 262_144_000,
            "CodeSizeZipped": 52_428_800,
            "ConcurrentExecutions": concurrent,
            "UnreservedConcurrentExecutions": concurrent.saturating_sub(reserved),
        },
        "AccountUsage": { "TotalCodeSize": bytes, "FunctionCount": functions.len() },
    })
}

/// Lambda writes the moment of a change as ISO 8601 with a zone of four digits, other than its own later operations.
fn modified(unix_ms: i64) -> String {
    let moment = OffsetDateTime::from_unix_timestamp_nanos(i128::from(unix_ms) * 1_000_000).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let form = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]+0000");
    moment.format(form).expect("every moment has a date and a time")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_dated_as_lambda_does() {
        assert_eq!(modified(1_700_000_000_007), "2023-11-14T22:13:20.007+0000");
    }
}
