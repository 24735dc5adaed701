//! Functions, their permissions, reserved concurrency and tags.

use std::sync::Arc;

use frontdesk_functions::{CodeChange, ConfigurationChange, FunctionError, FunctionService, NewFunction, Permission};
use frontdesk_store::FunctionConfiguration;
use http::StatusCode;
use serde_json::{Value, json};

use super::requests::{AddPermission, PutCode, PutConcurrency, PutFunction, PutTags, architecture, refuse_rest, required};
use super::{Answer, Call, documents};
use crate::json_document::without_nulls;

/// Lambda's defaults.
const TIMEOUT_S: u32 = 3;
const MEMORY_MB: u32 = 128;
const EPHEMERAL_STORAGE_MB: u32 = 512;

pub(super) fn create(call: &Call, service: &Arc<FunctionService>) -> Answer {
    let wanted: PutFunction = call.read()?;
    refuse_rest(&wanted.rest)?;
    let configuration = FunctionConfiguration {
        runtime: required(wanted.runtime, "runtime")?,
        role_arn: required(wanted.role, "role")?,
        handler: required(wanted.handler, "handler")?,
        description: wanted.description.unwrap_or_default(),
        timeout_s: wanted.timeout.unwrap_or(TIMEOUT_S),
        memory_mb: wanted.memory_size.unwrap_or(MEMORY_MB),
        ephemeral_storage_mb: wanted.ephemeral_storage.map_or(EPHEMERAL_STORAGE_MB, |storage| storage.size),
        architecture: architecture(wanted.architectures)?.unwrap_or_else(|| "x86_64".to_owned()),
        environment: wanted.environment.and_then(|environment| environment.variables).unwrap_or_default(),
        tracing_mode: wanted.tracing_config.map_or_else(|| "PassThrough".to_owned(), |tracing| tracing.mode),
    };
    let new = NewFunction {
        name: required(wanted.function_name, "functionName")?,
        configuration,
        zip: required(wanted.code, "code")?.zip()?,
        tags: wanted.tags.unwrap_or_default(),
        is_published: wanted.publish,
    };
    let made = service.create(new, call.now_ms)?;
    Ok((StatusCode::CREATED, documents::configuration(&made)))
}

pub(super) fn list(call: &Call, service: &FunctionService) -> Answer {
    let all = call.query_value("FunctionVersion").is_some_and(|version| version == "ALL");
    let mut views = service.list();
    if all {
        let versions = views.iter().map(|view| service.versions(&view.function.name)).collect::<Result<Vec<_>, _>>()?;
        views = versions.into_iter().flatten().collect();
    }
    call.page("Functions", views, |view| documents::configuration(&view))
}

pub(super) fn get(call: &Call, service: &FunctionService) -> Answer {
    let name = call.function()?;
    let view = service.get(&name.name, name.qualifier.as_deref())?;
    let tags = &view.function.tags;
    let reserved = view.function.reserved_concurrency;
    let document = json!({
        "Configuration": documents::configuration(&view),
        // AWS gives a link to its own bucket here; this host keeps the code in a folder and gives none.
        "Code": { "RepositoryType": "S3" },
        "Tags": (!tags.is_empty()).then_some(tags),
        "Concurrency": reserved.map(|reserved| json!({ "ReservedConcurrentExecutions": reserved })),
    });
    Ok((StatusCode::OK, without_nulls(document)))
}

pub(super) fn configuration(call: &Call, service: &FunctionService) -> Answer {
    let name = call.function()?;
    Ok((StatusCode::OK, documents::configuration(&service.get(&name.name, name.qualifier.as_deref())?)))
}

pub(super) fn update_code(call: &Call, service: &Arc<FunctionService>) -> Answer {
    let name = call.function()?.name;
    let wanted: PutCode = call.read()?;
    // A function that is not there is told of before its code is looked at.
    service.get(&name, None)?;
    let change = CodeChange {
        zip: wanted.code.zip()?,
        architecture: architecture(wanted.architectures)?,
        is_published: wanted.publish,
        is_dry_run: wanted.dry_run,
        revision_id: wanted.revision_id,
    };
    Ok((StatusCode::OK, documents::configuration(&service.update_code(&name, change, call.now_ms)?)))
}

pub(super) fn update_configuration(call: &Call, service: &Arc<FunctionService>) -> Answer {
    let name = call.function()?.name;
    let wanted: PutFunction = call.read()?;
    refuse_rest(&wanted.rest)?;
    let change = ConfigurationChange {
        runtime: wanted.runtime,
        role_arn: wanted.role,
        handler: wanted.handler,
        description: wanted.description,
        timeout_s: wanted.timeout,
        memory_mb: wanted.memory_size,
        ephemeral_storage_mb: wanted.ephemeral_storage.map(|storage| storage.size),
        environment: wanted.environment.map(|environment| environment.variables.unwrap_or_default()),
        tracing_mode: wanted.tracing_config.map(|tracing| tracing.mode),
        revision_id: wanted.revision_id,
    };
    Ok((StatusCode::OK, documents::configuration(&service.update_configuration(&name, change, call.now_ms)?)))
}

pub(super) fn delete(call: &Call, service: &FunctionService) -> Answer {
    let name = call.function()?;
    service.delete(&name.name, name.qualifier.as_deref())?;
    Ok((StatusCode::NO_CONTENT, Value::Null))
}

pub(super) fn add_permission(call: &Call, service: &FunctionService) -> Answer {
    let name = call.function()?;
    let wanted: AddPermission = call.read()?;
    refuse_rest(&wanted.rest)?;
    let permission = Permission {
        statement_id: required(wanted.statement_id, "statementId")?,
        action: required(wanted.action, "action")?,
        principal: required(wanted.principal, "principal")?,
        source_arn: wanted.source_arn,
        source_account: wanted.source_account,
        revision_id: wanted.revision_id,
    };
    let statement = service.add_permission(&name.name, name.qualifier.as_deref(), permission)?;
    Ok((StatusCode::CREATED, json!({ "Statement": statement.to_string() })))
}

pub(super) fn policy(call: &Call, service: &FunctionService) -> Answer {
    let name = call.function()?;
    let policy = service.policy(&name.name, name.qualifier.as_deref())?;
    let document = json!({ "Version": "2012-10-17", "Id": "default", "Statement": policy.statements });
    Ok((StatusCode::OK, json!({ "Policy": document.to_string(), "RevisionId": policy.revision_id })))
}

pub(super) fn remove_permission(call: &Call, service: &FunctionService) -> Answer {
    let name = call.function()?;
    let revision_id = call.query_value("RevisionId");
    service.remove_permission(&name.name, name.qualifier.as_deref(), call.parameter(1), revision_id.as_deref())?;
    Ok((StatusCode::NO_CONTENT, Value::Null))
}

pub(super) fn put_concurrency(call: &Call, service: &FunctionService) -> Answer {
    let name = call.function()?.name;
    let wanted: PutConcurrency = call.read()?;
    let reserved = required(wanted.reserved_concurrent_executions, "reservedConcurrentExecutions")?;
    service.reserve_concurrency(&name, Some(reserved))?;
    Ok((StatusCode::OK, json!({ "ReservedConcurrentExecutions": reserved })))
}

pub(super) fn delete_concurrency(call: &Call, service: &FunctionService) -> Answer {
    service.reserve_concurrency(&call.function()?.name, None)?;
    Ok((StatusCode::NO_CONTENT, Value::Null))
}

pub(super) fn concurrency(call: &Call, service: &FunctionService) -> Answer {
    let reserved = service.get(&call.function()?.name, None)?.function.reserved_concurrency;
    Ok((StatusCode::OK, without_nulls(json!({ "ReservedConcurrentExecutions": reserved }))))
}

pub(super) fn tags(call: &Call, service: &FunctionService) -> Answer {
    Ok((StatusCode::OK, json!({ "Tags": service.get(&tagged(call)?, None)?.function.tags })))
}

pub(super) fn tag(call: &Call, service: &FunctionService) -> Answer {
    let wanted: PutTags = call.read()?;
    service.tag(&tagged(call)?, wanted.tags)?;
    Ok((StatusCode::NO_CONTENT, Value::Null))
}

pub(super) fn untag(call: &Call, service: &FunctionService) -> Answer {
    service.untag(&tagged(call)?, &call.query_values("tagKeys"))?;
    Ok((StatusCode::NO_CONTENT, Value::Null))
}

/// Tags belong to the function, not to a version of it.
fn tagged(call: &Call) -> Result<String, FunctionError> {
    let name = call.function()?;
    match name.qualifier {
        None => Ok(name.name),
        Some(_) => Err(FunctionError::Invalid(
            "Tags on function aliases and versions are not supported. Please specify either a function ARN or an event source mapping ARN."
                .to_owned(),
        )),
    }
}
