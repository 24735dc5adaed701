//! The bodies of API Gateway's requests. Members that mean nothing here are read over, as botocore sends only what its caller named.

use std::collections::BTreeMap;

use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CreateRestApi {
    pub(super) name: String,
    pub(super) description: Option<String>,
    pub(super) version: Option<String>,
    pub(super) clone_from: Option<String>,
    #[serde(default)]
    pub(super) binary_media_types: Vec<String>,
    pub(super) api_key_source: Option<String>,
    pub(super) endpoint_configuration: Option<EndpointConfiguration>,
    #[serde(default)]
    pub(super) tags: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct EndpointConfiguration {
    #[serde(default)]
    pub(super) types: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CreateResource {
    pub(super) path_part: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PutMethod {
    pub(super) authorization_type: String,
    #[serde(default)]
    pub(super) api_key_required: bool,
    pub(super) operation_name: Option<String>,
    #[serde(default)]
    pub(super) request_parameters: BTreeMap<String, bool>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PutMethodResponse {
    #[serde(default)]
    pub(super) response_parameters: BTreeMap<String, bool>,
    #[serde(default)]
    pub(super) response_models: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PutIntegration {
    #[serde(rename = "type")]
    pub(super) kind: String,
    /// The backend's verb; botocore calls it `integrationHttpMethod`.
    pub(super) http_method: Option<String>,
    pub(super) uri: Option<String>,
    pub(super) credentials: Option<String>,
    pub(super) connection_type: Option<String>,
    #[serde(default)]
    pub(super) request_parameters: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) request_templates: BTreeMap<String, String>,
    pub(super) passthrough_behavior: Option<String>,
    #[serde(default)]
    pub(super) cache_key_parameters: Vec<String>,
    pub(super) timeout_in_millis: Option<u64>,
    pub(super) response_transfer_mode: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PutIntegrationResponse {
    pub(super) selection_pattern: Option<String>,
    #[serde(default)]
    pub(super) response_parameters: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) response_templates: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PutGatewayResponse {
    pub(super) status_code: Option<String>,
    #[serde(default)]
    pub(super) response_parameters: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) response_templates: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CreateDeployment {
    pub(super) stage_name: Option<String>,
    pub(super) stage_description: Option<String>,
    pub(super) description: Option<String>,
    #[serde(flatten)]
    pub(super) values: StageValues,
}

/// What a deployment and a stage say alike of the stage.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StageValues {
    pub(super) cache_cluster_enabled: Option<bool>,
    pub(super) cache_cluster_size: Option<String>,
    pub(super) variables: Option<BTreeMap<String, String>>,
    pub(super) tracing_enabled: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CreateStage {
    pub(super) stage_name: String,
    pub(super) deployment_id: String,
    pub(super) description: Option<String>,
    #[serde(flatten)]
    pub(super) values: StageValues,
    #[serde(default)]
    pub(super) tags: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CreateApiKey {
    pub(super) name: Option<String>,
    pub(super) description: Option<String>,
    /// Left out means false, as recorded of API Gateway.
    #[serde(default)]
    pub(super) enabled: bool,
    pub(super) value: Option<String>,
    #[serde(default)]
    pub(super) tags: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CreateUsagePlan {
    pub(super) name: String,
    pub(super) description: Option<String>,
    #[serde(default)]
    pub(super) api_stages: Vec<ApiStage>,
    pub(super) throttle: Option<ThrottleSettings>,
    pub(super) quota: Option<QuotaSettings>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ApiStage {
    pub(super) api_id: String,
    pub(super) stage: String,
    #[serde(default)]
    pub(super) throttle: BTreeMap<String, ThrottleSettings>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ThrottleSettings {
    #[serde(default)]
    pub(super) rate_limit: f64,
    #[serde(default)]
    pub(super) burst_limit: u32,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct QuotaSettings {
    pub(super) limit: u64,
    #[serde(default)]
    pub(super) offset: u8,
    pub(super) period: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CreateUsagePlanKey {
    pub(super) key_id: String,
    pub(super) key_type: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Patch {
    #[serde(default)]
    pub(super) patch_operations: Vec<PatchOperation>,
}

/// One change (<https://docs.aws.amazon.com/apigateway/latest/api/patch-operations.html>).
#[derive(Debug, Clone, Deserialize)]
pub(super) struct PatchOperation {
    pub(super) op: String,
    pub(super) path: String,
    #[serde(default)]
    pub(super) value: Option<String>,
}
