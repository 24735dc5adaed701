//! The control plane's documents, in AWS's forms.

use frontdesk_aws::arn::AgentRuntimeArn;
use frontdesk_runtime::RuntimeView;
use frontdesk_store::{Artifact, LocalProgram, NetworkConfiguration, RuntimeConfiguration, RuntimeEndpoint};
use serde_json::{Value, json};

use crate::json_document::without_nulls;
use crate::timestamp::iso_8601;

/// What Create and Update answer.
pub(super) fn put_runtime(view: &RuntimeView, is_update: bool) -> Value {
    without_nulls(json!({
        "agentRuntimeArn": view.arn.to_string(),
        "agentRuntimeId": view.runtime.id,
        "agentRuntimeVersion": view.version.version.to_string(),
        "createdAt": iso_8601(view.runtime.created_at_ms),
        "lastUpdatedAt": is_update.then(|| iso_8601(view.version.created_at_ms)),
        "status": view.status.name(),
    }))
}

/// A runtime in a list of runtimes or of versions.
pub(super) fn listed_runtime(view: &RuntimeView) -> Value {
    json!({
        "agentRuntimeArn": view.arn.to_string(),
        "agentRuntimeId": view.runtime.id,
        "agentRuntimeVersion": view.version.version.to_string(),
        "agentRuntimeName": view.runtime.name,
        "description": view.version.configuration.description.clone().unwrap_or_default(),
        "lastUpdatedAt": iso_8601(view.version.created_at_ms),
        "status": view.status.name(),
    })
}

/// A runtime with its whole configuration.
pub(super) fn runtime(view: &RuntimeView) -> Value {
    let RuntimeConfiguration {
        artifact: of,
        role_arn,
        description,
        environment,
        protocol,
        idle_timeout_s,
        lifetime_max_s,
        request_headers,
        authorizer,
        network: connected,
        sessions: _,
        isolation: _,
        limits: _,
    } = &view.version.configuration;
    without_nulls(json!({
        "agentRuntimeArn": view.arn.to_string(),
        "agentRuntimeName": view.runtime.name,
        "agentRuntimeId": view.runtime.id,
        "agentRuntimeVersion": view.version.version.to_string(),
        "createdAt": iso_8601(view.runtime.created_at_ms),
        "lastUpdatedAt": iso_8601(view.version.created_at_ms),
        "roleArn": role_arn,
        "networkConfiguration": network(connected),
        "status": view.status.name(),
        "failureReason": view.version.failure_reason,
        "lifecycleConfiguration": { "idleRuntimeSessionTimeout": idle_timeout_s, "maxLifetime": lifetime_max_s },
        "description": description,
        "agentRuntimeArtifact": artifact(of),
        "protocolConfiguration": { "serverProtocol": protocol.name() },
        "environmentVariables": environment,
        "authorizerConfiguration": authorizer,
        "requestHeaderConfiguration": (!request_headers.is_empty()).then(|| json!({ "requestHeaderAllowlist": request_headers })),
    }))
}

fn network(connected: &NetworkConfiguration) -> Value {
    let NetworkConfiguration { is_vpc, security_groups, subnets } = connected;
    if *is_vpc {
        json!({ "networkMode": "VPC", "networkModeConfig": { "securityGroups": security_groups, "subnets": subnets } })
    } else {
        json!({ "networkMode": "PUBLIC" })
    }
}

fn artifact(of: &Artifact) -> Value {
    match of {
        Artifact::Container { uri } => json!({ "containerConfiguration": { "containerUri": uri } }),
        Artifact::Code { bucket, prefix, version, runtime, entry_point } => json!({
            "codeConfiguration": {
                "code": { "s3": without_nulls(json!({ "bucket": bucket, "prefix": prefix, "versionId": version })) },
                "runtime": runtime,
                "entryPoint": entry_point,
            },
        }),
        // AWS knows no such member; its SDKs say so, and name it.
        Artifact::Program(LocalProgram { executable, arguments, .. }) => {
            json!({ "programConfiguration": { "executable": executable, "arguments": arguments } })
        }
    }
}

/// What CreateAgentRuntimeEndpoint answers.
pub(super) fn created_endpoint(arn: &AgentRuntimeArn, endpoint: &RuntimeEndpoint) -> Value {
    json!({
        "targetVersion": endpoint.target_version.to_string(),
        "agentRuntimeEndpointArn": endpoint_arn(arn, endpoint),
        "agentRuntimeArn": arn.to_string(),
        "agentRuntimeId": arn.id(),
        "endpointName": endpoint.name,
        "status": endpoint.status.name(),
        "createdAt": iso_8601(endpoint.created_at_ms),
    })
}

/// An endpoint in a list.
pub(super) fn listed_endpoint(arn: &AgentRuntimeArn, endpoint: &RuntimeEndpoint) -> Value {
    let mut document = self::endpoint(arn, endpoint);
    if let Value::Object(members) = &mut document {
        members.remove("failureReason");
    }
    document
}

/// An endpoint.
pub(super) fn endpoint(arn: &AgentRuntimeArn, endpoint: &RuntimeEndpoint) -> Value {
    without_nulls(json!({
        "name": endpoint.name,
        "id": format!("{}-{}", endpoint.name, endpoint.id_suffix),
        "liveVersion": endpoint.live_version.map(|version| version.to_string()),
        "targetVersion": endpoint.target_version.to_string(),
        "agentRuntimeEndpointArn": endpoint_arn(arn, endpoint),
        "agentRuntimeArn": arn.to_string(),
        "status": endpoint.status.name(),
        "failureReason": endpoint.failure_reason,
        "description": endpoint.description,
        "createdAt": iso_8601(endpoint.created_at_ms),
        "lastUpdatedAt": iso_8601(endpoint.updated_at_ms),
    }))
}

fn endpoint_arn(arn: &AgentRuntimeArn, endpoint: &RuntimeEndpoint) -> String {
    format!("{arn}/runtime-endpoint/{}", endpoint.name)
}
