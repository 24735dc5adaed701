//! API Gateway's model, as far as one seeded API needs it: an API with resources, methods and their integrations, deployed as a snapshot to a stage.
//!
//! The names are API Gateway's own (RestApi, Resource, Method, Integration, Deployment, Stage). A deployment is immutable: what serves requests
//! is the deployment that a stage points to, never the API that is being edited.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::Method as Verb;

use crate::cache::CacheSettings;

/// What answers a method.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MethodIntegration {
    /// The whole request goes to the integration of this name, and its response comes back as it is (AWS_PROXY).
    Proxy(&'static str),
    /// The gateway answers by itself with 200 and the CORS headers (a MOCK integration on OPTIONS, as AWS's consoles set it up).
    CorsPreflight,
}

/// A verb on a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Method {
    /// Whether a key of a usage plan is required; without it the method is not metered either.
    pub api_key_required: bool,
    /// Whether its answers may come from the stage's cache.
    pub is_cached: bool,
    /// What answers.
    pub integration: MethodIntegration,
}

/// A path and its methods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// The path without the stage, such as `/invoke`.
    pub path: String,
    /// Its methods by verb.
    pub methods: BTreeMap<String, Method>,
}

/// An API as it was when it was deployed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    /// Its resources.
    pub resources: Vec<Resource>,
}

/// A named deployment, which is what callers reach.
#[derive(Debug, Clone)]
pub struct Stage {
    /// Its name, the first segment of the path.
    pub name: String,
    /// What it serves.
    pub deployment: Arc<Deployment>,
    /// Its response cache, if it has one.
    pub cache: Option<CacheSettings>,
}

/// An API.
#[derive(Debug, Clone)]
pub struct RestApi {
    /// Ten lower-case letters and digits.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its stages.
    pub stages: Vec<Stage>,
}

impl RestApi {
    /// The API that stands in front of an agent: with a key `POST /invoke`, handed to the integration `invoke`, and `POST /stream`, handed
    /// to `stream`; and their CORS preflights without one. Streaming has a resource of its own because on AWS it is a property of the
    /// integration. With `cache`, answers of `/invoke` are cached; a stream never is.
    #[must_use]
    pub fn for_agent(
        id: String,
        name: String,
        stage: &str,
        invoke: &'static str,
        stream: &'static str,
        cache: Option<CacheSettings>,
    ) -> RestApi {
        let resource = |path: &str, integration, is_cached| {
            let post = Method { api_key_required: true, is_cached, integration: MethodIntegration::Proxy(integration) };
            let options = Method { api_key_required: false, is_cached: false, integration: MethodIntegration::CorsPreflight };
            let methods = [(Verb::POST, post), (Verb::OPTIONS, options)].map(|(verb, method)| (verb.to_string(), method));
            Resource { path: path.to_owned(), methods: BTreeMap::from(methods) }
        };
        let deployment = Arc::new(Deployment { resources: vec![resource("/invoke", invoke, true), resource("/stream", stream, false)] });
        RestApi { id, name, stages: vec![Stage { name: stage.to_owned(), deployment, cache }] }
    }
}
