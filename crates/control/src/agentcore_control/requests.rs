//! What the control plane's requests say, in AWS's forms, and what they mean to the service.

use std::collections::BTreeMap;

use frontdesk_aws::ServiceError;
use frontdesk_store::{AgentProtocol, Artifact, NetworkConfiguration, RuntimeConfiguration};
use serde::Deserialize;
use serde_json::Value;

/// The body of CreateAgentRuntime and of UpdateAgentRuntime, which has no name.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PutAgentRuntime {
    pub(super) agent_runtime_name: Option<String>,
    agent_runtime_artifact: Option<ArtifactUnion>,
    role_arn: Option<String>,
    network_configuration: Option<Network>,
    pub(super) client_token: Option<String>,
    description: Option<String>,
    authorizer_configuration: Option<Value>,
    request_header_configuration: Option<RequestHeaders>,
    protocol_configuration: Option<Protocol>,
    lifecycle_configuration: Option<Lifecycle>,
    environment_variables: Option<BTreeMap<String, String>>,
    pub(super) tags: Option<BTreeMap<String, String>>,
    // Members that mean nothing to a single machine. Refused, since an agent that relies on them would miss them.
    filesystem_configurations: Option<Value>,
    capacity_provider_configuration: Option<Value>,
    hooks_configuration: Option<Value>,
    allowed_ports: Option<Value>,
    resource_configurations: Option<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
enum ArtifactUnion {
    #[serde(rename_all = "camelCase")]
    ContainerConfiguration { container_uri: String },
    #[serde(rename_all = "camelCase")]
    CodeConfiguration { code: CodeUnion, runtime: String, entry_point: Vec<String> },
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
enum CodeUnion {
    #[serde(rename_all = "camelCase")]
    S3 { bucket: String, prefix: String, version_id: Option<String> },
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Network {
    network_mode: String,
    network_mode_config: Option<NetworkModeConfig>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct NetworkModeConfig {
    security_groups: Vec<String>,
    subnets: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RequestHeaders {
    request_header_allowlist: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Protocol {
    server_protocol: String,
    port: Option<Value>,
    path: Option<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Lifecycle {
    idle_runtime_session_timeout: Option<u32>,
    max_lifetime: Option<u32>,
}

/// The body of CreateAgentRuntimeEndpoint and of UpdateAgentRuntimeEndpoint, which names the endpoint in its path.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PutEndpoint {
    pub(super) name: Option<String>,
    pub(super) agent_runtime_version: Option<String>,
    pub(super) description: Option<String>,
    pub(super) client_token: Option<String>,
    pub(super) tags: Option<BTreeMap<String, String>>,
}

impl PutAgentRuntime {
    /// The configuration that is wanted. What is left out has AWS's default; an update replaces the whole.
    pub(super) fn configuration(&mut self) -> Result<RuntimeConfiguration, ServiceError> {
        self.refuse_what_is_not_served()?;
        let artifact = match self.agent_runtime_artifact.take().ok_or_else(|| missing("agentRuntimeArtifact"))? {
            ArtifactUnion::ContainerConfiguration { container_uri } => Artifact::Container { uri: container_uri },
            ArtifactUnion::CodeConfiguration { code: CodeUnion::S3 { bucket, prefix, version_id }, runtime, entry_point } => {
                Artifact::Code { bucket, prefix, version: version_id, runtime, entry_point }
            }
        };
        let mut wanted = RuntimeConfiguration::new(artifact, self.role_arn.take().ok_or_else(|| missing("roleArn"))?);
        wanted.description = self.description.take();
        wanted.environment = self.environment_variables.take().unwrap_or_default();
        if let Some(Protocol { server_protocol, .. }) = &self.protocol_configuration {
            wanted.protocol = protocol(server_protocol)?;
        }
        if let Some(Lifecycle { idle_runtime_session_timeout, max_lifetime }) = &self.lifecycle_configuration {
            wanted.lifetime_max_s = max_lifetime.unwrap_or(wanted.lifetime_max_s);
            // A lifetime below the default idle timeout, and no idle timeout beside it: nothing idles for longer than it lives.
            wanted.idle_timeout_s = idle_runtime_session_timeout.unwrap_or(wanted.idle_timeout_s.min(wanted.lifetime_max_s));
        }
        if let Some(RequestHeaders { request_header_allowlist }) = self.request_header_configuration.take() {
            if request_header_allowlist.is_empty() {
                return Err(ServiceError::validation("requestHeaderAllowlist must name at least one header"));
            }
            wanted.request_headers = request_header_allowlist;
        }
        wanted.authorizer = self.authorizer_configuration.take();
        if let Some(network) = self.network_configuration.take() {
            wanted.network = network.read()?;
        }
        Ok(wanted)
    }

    fn refuse_what_is_not_served(&self) -> Result<(), ServiceError> {
        let protocol = self.protocol_configuration.as_ref();
        let members = [
            ("filesystemConfigurations", self.filesystem_configurations.as_ref()),
            ("capacityProviderConfiguration", self.capacity_provider_configuration.as_ref()),
            ("hooksConfiguration", self.hooks_configuration.as_ref()),
            ("allowedPorts", self.allowed_ports.as_ref()),
            ("resourceConfigurations", self.resource_configurations.as_ref()),
            ("protocolConfiguration.port", protocol.and_then(|protocol| protocol.port.as_ref())),
            ("protocolConfiguration.path", protocol.and_then(|protocol| protocol.path.as_ref())),
        ];
        match members.into_iter().find(|(_, value)| value.is_some()) {
            None => Ok(()),
            Some((member, _)) => Err(ServiceError::validation(format!("{member} is not served here: leave it out"))),
        }
    }
}

impl Network {
    fn read(self) -> Result<NetworkConfiguration, ServiceError> {
        let Network { network_mode, network_mode_config } = self;
        let is_vpc = match network_mode.as_str() {
            "PUBLIC" => false,
            "VPC" => true,
            mode => return Err(not_of("networkConfiguration.networkMode", mode, &["PUBLIC", "VPC"])),
        };
        let config = network_mode_config.unwrap_or(NetworkModeConfig { security_groups: Vec::new(), subnets: Vec::new() });
        Ok(NetworkConfiguration { is_vpc, security_groups: config.security_groups, subnets: config.subnets })
    }
}

/// A protocol by AgentCore's name.
pub(crate) fn protocol(name: &str) -> Result<AgentProtocol, ServiceError> {
    let known = AgentProtocol::ALL.into_iter().find(|protocol| protocol.name() == name);
    known.ok_or_else(|| not_of("protocolConfiguration.serverProtocol", name, &AgentProtocol::ALL.map(AgentProtocol::name)))
}

fn not_of(place: &str, value: &str, known: &[&str]) -> ServiceError {
    ServiceError::validation(format!(
        "1 validation error detected: Value '{value}' at '{place}' failed to satisfy constraint: Member must satisfy enum value set: [{}]",
        known.join(", ")
    ))
}

pub(super) fn missing(member: &str) -> ServiceError {
    ServiceError::validation(format!(
        "1 validation error detected: Value null at '{member}' failed to satisfy constraint: Member must not be null"
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(change: Value, expected: &str) {
        let mut body = json!({ "agentRuntimeArtifact": { "containerConfiguration": { "containerUri": "u" } }, "roleArn": "r" });
        for (member, value) in change.as_object().unwrap() {
            body[member] = value.clone();
        }
        let mut read: PutAgentRuntime = serde_json::from_value(body).unwrap();
        let seen = match read.configuration() {
            Ok(wanted) => {
                format!("{} {}/{} {}", wanted.protocol.name(), wanted.idle_timeout_s, wanted.lifetime_max_s, wanted.network.is_vpc)
            }
            Err(error) => error.message,
        };
        assert!(seen.contains(expected), "{seen}");
    }

    #[test]
    fn what_is_left_out_has_the_default() {
        check(json!({}), "HTTP 900/28800 false");
        check(json!({ "protocolConfiguration": { "serverProtocol": "A2A" } }), "A2A 900/28800 false");
        check(json!({ "lifecycleConfiguration": { "maxLifetime": 60 } }), "HTTP 60/60 false");
        check(json!({ "networkConfiguration": { "networkMode": "VPC" } }), "HTTP 900/28800 true");
        check(json!({ "protocolConfiguration": { "serverProtocol": "FTP" } }), "enum value set: [HTTP, MCP, A2A, AGUI]");
        check(json!({ "agentRuntimeArtifact": null }), "'agentRuntimeArtifact'");
        check(json!({ "roleArn": null }), "'roleArn'");
        check(json!({ "allowedPorts": [1] }), "allowedPorts is not served here");
    }
}
