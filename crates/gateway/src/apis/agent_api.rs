//! The API that stands in front of the agent: with a key `POST /invoke` and `POST /stream`, and their CORS preflights without one. Streaming has a resource of
//! its own because on AWS it is a property of the integration.

use std::collections::BTreeMap;

use frontdesk_store::{Deployment, Integration, IntegrationResponse, IntegrationType, Method, MethodResponse, Resource, RestApi, Stage};

use super::edit;

/// The headers of a preflight's answer, as the API's documentation names them.
const CORS: [(&str, &str); 3] = [
    ("method.response.header.Access-Control-Allow-Headers", "'Content-Type,x-api-key'"),
    ("method.response.header.Access-Control-Allow-Methods", "'POST,OPTIONS'"),
    ("method.response.header.Access-Control-Allow-Origin", "'*'"),
];

/// What the settings say of the API.
#[derive(Debug, Clone)]
pub struct AgentApi {
    /// The API's id.
    pub id: String,
    /// The stage's name.
    pub stage: String,
    /// The ARN of the function that is the proxy.
    pub proxy_arn: String,
    /// How long answers of `/invoke` are cached, in seconds; 0 for not at all. A stream never is.
    pub cache_ttl_s: u64,
    /// How long the beginning of an answer of `/stream` may take, in milliseconds.
    pub stream_timeout_ms: u64,
}

impl AgentApi {
    /// The API before anything is in it.
    #[must_use]
    pub fn empty(&self, now_unix: i64) -> RestApi {
        let root = edit::root(format!("{}0", &self.id));
        RestApi {
            id: self.id.clone(),
            name: "AgentCore-FAQ-API".to_owned(),
            description: Some("API Gateway for AgentCore FAQ Agent".to_owned()),
            version: None,
            created_at: now_unix,
            endpoint_type: "REGIONAL".to_owned(),
            binary_media_types: Vec::new(),
            api_key_source: "HEADER".to_owned(),
            tags: BTreeMap::new(),
            resources: BTreeMap::from([(root.id.clone(), root)]),
            gateway_responses: BTreeMap::new(),
        }
    }

    /// Puts its resources into the API, in the place of what is at their paths.
    pub fn put_resources(&self, api: &mut RestApi) {
        let Some(root_id) = api.resources.values().find(|resource| resource.path == "/").map(|root| root.id.clone()) else { return };
        for (number, part, is_streaming) in [(1, "invoke", false), (2, "stream", true)] {
            let path = format!("/{part}");
            let known = api.resources.values().find(|resource| resource.path == path).map(|resource| resource.id.clone());
            let id = known.unwrap_or_else(|| format!("{}{number}", &self.id));
            let resource = Resource {
                id: id.clone(),
                parent_id: Some(root_id.clone()),
                path_part: Some(part.to_owned()),
                path,
                methods: BTreeMap::from([("POST".to_owned(), self.post(is_streaming)), ("OPTIONS".to_owned(), preflight())]),
            };
            api.resources.insert(id, resource);
        }
    }

    /// Puts its settings into the stage.
    pub fn put_settings(&self, stage: &mut Stage) {
        stage.is_cached = self.cache_ttl_s > 0;
        let invoke = stage.method_settings.entry("~1invoke/POST".to_owned()).or_default();
        invoke.is_cached = Some(stage.is_cached);
        invoke.cache_ttl_s = stage.is_cached.then_some(self.cache_ttl_s);
    }

    /// A deployment of the API alone and its stage.
    #[must_use]
    pub fn deployed(&self, deployment_id: &str, now_unix: i64) -> (Deployment, Stage) {
        let mut api = self.empty(now_unix);
        self.put_resources(&mut api);
        let mut stage = edit::new_stage(&self.id, &self.stage, now_unix);
        stage.deployment_id = deployment_id.to_owned();
        self.put_settings(&mut stage);
        let deployment = Deployment {
            id: deployment_id.to_owned(),
            api_id: api.id,
            description: None,
            created_at: now_unix,
            resources: api.resources,
            gateway_responses: api.gateway_responses,
            binary_media_types: api.binary_media_types,
        };
        (deployment, stage)
    }

    fn post(&self, is_streaming: bool) -> Method {
        let (version, action) = if is_streaming { ("2021-11-15", "response-streaming-invocations") } else { ("2015-03-31", "invocations") };
        let region = self.proxy_arn.split(':').nth(3).unwrap_or("us-east-1");
        let uri = format!("arn:aws:apigateway:{region}:lambda:path/{version}/functions/{}/{action}", self.proxy_arn);
        let integration = Integration {
            http_method: Some("POST".to_owned()),
            uri: Some(uri),
            is_streaming,
            timeout_ms: if is_streaming { self.stream_timeout_ms } else { *edit::TIMEOUT_MS.end() },
            ..edit::new_integration(IntegrationType::AwsProxy)
        };
        Method { api_key_required: true, integration: Some(integration), ..edit::new_method() }
    }
}

/// OPTIONS, answered by the gateway itself.
fn preflight() -> Method {
    let texts = CORS.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let response = IntegrationResponse { response_parameters: BTreeMap::from(texts), ..IntegrationResponse::default() };
    let integration = Integration {
        request_templates: BTreeMap::from([("application/json".to_owned(), r#"{"statusCode": 200}"#.to_owned())]),
        responses: BTreeMap::from([("200".to_owned(), response)]),
        ..edit::new_integration(IntegrationType::Mock)
    };
    let declared = MethodResponse {
        response_parameters: CORS.iter().map(|(name, _)| ((*name).to_owned(), true)).collect(),
        ..MethodResponse::default()
    };
    Method { integration: Some(integration), method_responses: BTreeMap::from([("200".to_owned(), declared)]), ..edit::new_method() }
}
