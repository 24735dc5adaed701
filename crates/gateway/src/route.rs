//! From host, path and verb to a method of a deployed API.
//!
//! Which API answers: `Host: {api-id}.execute-api.…` names one; `/restapis/{api-id}/{stage}/_user_request_/…` names one; anything else is the
//! seeded API, at `/{stage}/…`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use frontdesk_store::{Deployment, Method, MethodSettings, Resource, Stage, Throttle};

use crate::access_log::AccessLog;
use crate::answer::GatewayAnswer;
use crate::backend::{Backend, Backends, OwnAnswers};
use crate::cache::{CacheSettings, ResponseCache};
use crate::metrics::{MethodLabels, MethodMetrics, Metrics};
use crate::path_tree::{PathParameters, PathTree};
use crate::stage_logs::StageLogs;
use crate::throttle::TokenBucket;

/// API Gateway's default.
const CACHE_TTL: Duration = Duration::from_secs(300);
/// The verb of a method that answers for all without one.
const ANY: &str = "ANY";

/// What a method is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteNames {
    /// The API's id.
    pub api_id: String,
    /// The stage.
    pub stage: String,
    /// The deployment that the stage serves.
    pub deployment_id: String,
    /// The resource's id.
    pub resource_id: String,
    /// The resource's path.
    pub resource: String,
    /// The verb, or `ANY`.
    pub verb: String,
}

/// What all methods of a stage share.
#[derive(Debug)]
pub struct StageFacts {
    /// Its variables.
    pub variables: BTreeMap<String, String>,
    /// Its own access log, beside the host's.
    pub access_log: Option<AccessLog>,
    /// Media types that its API takes for bytes.
    pub binary_media_types: Vec<String>,
    pub(crate) own_answers: OwnAnswers,
}

/// A method of a deployed API, with what belongs to it at run time.
#[derive(Debug)]
pub struct RouteEntry {
    /// What it is called.
    pub names: RouteNames,
    /// Whether a key of a usage plan is required; without it the method is not metered either.
    pub api_key_required: bool,
    /// Whether it is the seeded API's.
    pub is_seeded: bool,
    /// What is counted for it.
    pub metrics: MethodMetrics,
    /// Its stage's cache, if it uses one, and how long.
    pub cache: Option<(Arc<ResponseCache>, Duration)>,
    /// The speed of all its callers together.
    pub throttle: Option<(Arc<TokenBucket>, Throttle)>,
    /// Its stage.
    pub stage: Arc<StageFacts>,
    pub(crate) backend: Backend,
}

/// The methods of a resource, by verb.
type Methods = BTreeMap<String, Arc<RouteEntry>>;

/// A stage's methods.
#[derive(Debug)]
pub(crate) struct StageRoutes {
    /// What they were made from.
    stage: Stage,
    api_name: String,
    facts: Arc<StageFacts>,
    resources: PathTree<Methods>,
    cache: Option<Arc<ResponseCache>>,
}

#[derive(Debug)]
struct ApiRoutes {
    stages: BTreeMap<String, Arc<StageRoutes>>,
    /// What is counted for requests that reach no method.
    unrouted: MethodMetrics,
}

/// All methods of all deployed APIs.
#[derive(Debug, Default)]
pub struct RouteTable {
    by_api: BTreeMap<String, ApiRoutes>,
    seeded: String,
}

/// An API that is served: its id and name, and its stages with what they serve.
#[derive(Debug)]
pub(crate) struct Deployed {
    pub(crate) api_id: String,
    pub(crate) api_name: String,
    pub(crate) stages: Vec<(Stage, Deployment)>,
}

/// A request's method.
#[derive(Debug)]
pub struct Route {
    /// The method.
    pub entry: Arc<RouteEntry>,
    /// The path without the stage, as it came.
    pub path: String,
    /// The parameters of the path.
    pub parameters: PathParameters,
}

/// Why a request has no method, and where it is counted.
#[derive(Debug)]
pub struct NoRoute {
    /// The answer.
    pub answer: GatewayAnswer,
    /// The metrics of the API that was asked; `None` for none.
    pub metrics: Option<MethodMetrics>,
    /// The stage that was asked, if there is one.
    pub stage: Option<Arc<StageFacts>>,
}

/// What routes are made with.
#[derive(Debug, Clone)]
pub(crate) struct RouteMaker {
    pub(crate) metrics: Metrics,
    pub(crate) backends: Backends,
    pub(crate) cache: CacheSettings,
    pub(crate) logs: Arc<StageLogs>,
    /// The API at no API's address.
    pub(crate) seeded: String,
}

impl RouteMaker {
    /// The table of these APIs. A stage that `before` serves in the same way keeps its cache and its buckets.
    pub(crate) fn table(&self, apis: Vec<Deployed>, before: &RouteTable) -> RouteTable {
        let routes = |api: Deployed| {
            let old = before.by_api.get(&api.api_id);
            let stages = api.stages.into_iter().map(|(stage, deployment)| {
                let old = old.and_then(|old| old.stages.get(&stage.name));
                let same = old.filter(|old| old.stage == stage && old.api_name == api.api_name);
                (stage.name.clone(), same.cloned().unwrap_or_else(|| Arc::new(self.stage(&api.api_name, stage, deployment))))
            });
            let unrouted = self.metrics.of_method(&MethodLabels { api_name: api.api_name.clone(), ..MethodLabels::default() });
            (api.api_id.clone(), ApiRoutes { stages: stages.collect(), unrouted })
        };
        RouteTable { by_api: apis.into_iter().map(routes).collect(), seeded: self.seeded.clone() }
    }

    /// The routes of one stage.
    pub(crate) fn stage(&self, api_name: &str, stage: Stage, deployment: Deployment) -> StageRoutes {
        let own_answers = OwnAnswers::compile(&deployment.gateway_responses).unwrap_or_else(|error| {
            tracing::error!(api_id = stage.api_id, stage = stage.name, %error, "gateway responses cannot be served");
            OwnAnswers::default()
        });
        let access_log = stage.access_log.as_ref().and_then(|settings| self.logs.open(settings));
        let facts = Arc::new(StageFacts {
            variables: stage.variables.clone(),
            access_log,
            binary_media_types: deployment.binary_media_types.clone(),
            own_answers,
        });
        let cache = stage.is_cached.then(|| Arc::new(ResponseCache::new(self.cache)));
        let methods_of = |resource: &Resource| {
            let entry = |(verb, method): (&String, &Method)| {
                let names = RouteNames {
                    api_id: stage.api_id.clone(),
                    stage: stage.name.clone(),
                    deployment_id: deployment.id.clone(),
                    resource_id: resource.id.clone(),
                    resource: resource.path.clone(),
                    verb: verb.clone(),
                };
                (verb.clone(), Arc::new(self.entry(api_name, names, method, &stage, &facts, cache.as_ref())))
            };
            resource.methods.iter().map(entry).collect::<Methods>()
        };
        let resources = PathTree::new(deployment.resources.values().map(|resource| (resource.path.clone(), methods_of(resource))));
        StageRoutes { facts, resources, cache, api_name: api_name.to_owned(), stage }
    }

    fn entry(
        &self,
        api_name: &str,
        names: RouteNames,
        method: &Method,
        stage: &Stage,
        facts: &Arc<StageFacts>,
        cache: Option<&Arc<ResponseCache>>,
    ) -> RouteEntry {
        let settings = settings_of(stage, &names);
        let compiled = match &method.integration {
            Some(integration) => Backend::compile(integration, &names.resource, &stage.variables, &self.backends),
            None => Err(crate::backend::CompileError("No integration defined for method".to_owned())),
        };
        // A deployment is checked when it is made; what an older version let in must not keep the others from being served.
        let backend = compiled.unwrap_or_else(|error| {
            tracing::error!(api_id = names.api_id, stage = names.stage, resource = names.resource, verb = names.verb, %error, "method cannot be served");
            Backend::Function { function: None, is_streaming: false, timeout: Duration::ZERO }
        });
        let is_streaming = method.integration.as_ref().is_some_and(|integration| integration.is_streaming);
        let cache = cache.filter(|_| settings.is_cached == Some(true) && !is_streaming);
        let ttl = settings.cache_ttl_s.map_or(CACHE_TTL, Duration::from_secs);
        let labels = MethodLabels {
            api_name: api_name.to_owned(),
            stage: names.stage.clone(),
            resource: names.resource.clone(),
            method: names.verb.clone(),
        };
        RouteEntry {
            api_key_required: method.api_key_required,
            is_seeded: names.api_id == self.seeded,
            metrics: self.metrics.of_method(&labels),
            cache: cache.map(|cache| (cache.clone(), ttl)),
            throttle: settings.throttle.map(|throttle| (Arc::default(), throttle)),
            stage: facts.clone(),
            backend,
            names,
        }
    }
}

/// A method's settings over those for all methods. Settings for all cache only GET, as API Gateway does; what is said of a single method counts for any verb.
fn settings_of(stage: &Stage, names: &RouteNames) -> MethodSettings {
    let all = stage.method_settings.get("*/*").cloned().unwrap_or_default();
    let key = format!("{}/{}", names.resource.replace('/', "~1"), names.verb);
    let own = stage.method_settings.get(&key).cloned().unwrap_or_default();
    MethodSettings {
        throttle: own.throttle.or(all.throttle),
        is_cached: own.is_cached.or(all.is_cached.filter(|_| names.verb == "GET")),
        cache_ttl_s: own.cache_ttl_s.or(all.cache_ttl_s),
        // The others are kept for their owner and change nothing here.
        ..MethodSettings::default()
    }
}

impl StageRoutes {
    /// The method that a path leads to, by the verb that it is declared with.
    pub(crate) fn entry_of(&self, path: &str, verb: &str) -> Option<Arc<RouteEntry>> {
        self.resources.find(path)?.0.get(verb).cloned()
    }
}

impl RouteTable {
    /// Finds the method for a request. `host` is the Host header or the URI's authority; `path` is as it came, undecoded.
    ///
    /// # Errors
    /// `Forbidden` for an API or a stage that does not exist, `Missing Authentication Token` for a path or a verb that the stage does not have: API Gateway
    /// answers both this way, so that a stranger cannot tell an undeclared path from a forbidden one.
    pub fn find(&self, host: Option<&str>, path: &str, verb: &str) -> Result<Route, NoRoute> {
        let (api_id, (stage, resource)) = match (api_of_host(host), api_of_path(path)) {
            (Some(api_id), _) => (api_id, split_stage(path)),
            (None, Some(named)) => named,
            (None, None) => (self.seeded.as_str(), split_stage(path)),
        };
        let nobodys = NoRoute { answer: GatewayAnswer::Forbidden, metrics: None, stage: None };
        let Some(api) = self.by_api.get(api_id) else { return Err(nobodys) };
        let Some(stage) = api.stages.get(stage) else { return Err(NoRoute { metrics: Some(api.unrouted.clone()), ..nobodys }) };
        let found = stage.resources.find(resource);
        let method = found.and_then(|(methods, parameters)| {
            let entry = methods.get(verb).or_else(|| methods.get(ANY))?.clone();
            Some(Route { entry, path: resource.to_owned(), parameters })
        });
        method.ok_or_else(|| NoRoute {
            answer: GatewayAnswer::MissingAuthenticationToken,
            metrics: Some(api.unrouted.clone()),
            stage: Some(stage.facts.clone()),
        })
    }

    /// Forgets the cached answers of a stage.
    pub(crate) fn flush_cache(&self, api_id: &str, stage: &str) {
        let cache = self.by_api.get(api_id).and_then(|api| api.stages.get(stage)).and_then(|stage| stage.cache.as_ref());
        if let Some(cache) = cache {
            cache.flush();
        }
    }
}

/// `Host: abc123.execute-api.us-east-1.amazonaws.com`, or `abc123.execute-api.localhost:8000`.
fn api_of_host(host: Option<&str>) -> Option<&str> {
    let (api_id, rest) = host?.split_once('.')?;
    rest.starts_with("execute-api.").then_some(api_id)
}

/// `/restapis/abc123/prod/_user_request_/invoke` is `/invoke` in the stage `prod` of abc123.
fn api_of_path(path: &str) -> Option<(&str, (&str, &str))> {
    let (api_id, rest) = path.strip_prefix("/restapis/")?.split_once('/')?;
    let (stage, rest) = rest.split_once('/')?;
    let resource = rest.strip_prefix("_user_request_")?;
    (resource.is_empty() || resource.starts_with('/')).then(|| (api_id, (stage, tidy(resource))))
}

/// `/prod/invoke` is the stage `prod` and the path `/invoke`.
fn split_stage(path: &str) -> (&str, &str) {
    let path = path.strip_prefix('/').unwrap_or(path);
    let end = path.find('/').unwrap_or(path.len());
    (&path[..end], tidy(&path[end..]))
}

/// A resource's path: a slash at the end does not count.
fn tidy(path: &str) -> &str {
    match path.trim_end_matches('/') {
        "" => "/",
        path => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apis::agent_api;
    use crate::cache::CacheScope;
    use prometheus_client::registry::Registry;

    fn check(host: &str, verb: &str, path: &str, expected: &str) {
        let maker = RouteMaker {
            metrics: Metrics::register(&mut Registry::default()),
            backends: Backends::new(Default::default()).unwrap(),
            cache: CacheSettings { scope: CacheScope::PerKey, bytes_max: 1 << 20 },
            logs: Arc::new(StageLogs::nowhere()),
            seeded: "seeded".to_owned(),
        };
        let deployed = |id: &str| {
            let arn = "arn:aws:lambda:us-east-1:000000000000:function:proxy";
            let seed = agent_api::AgentApi {
                id: id.to_owned(),
                stage: "prod".to_owned(),
                proxy_arn: arn.to_owned(),
                cache_ttl_s: 0,
                stream_timeout_ms: 29_000,
            };
            let (deployment, stage) = seed.deployed("d1", 0);
            Deployed { api_id: id.to_owned(), api_name: id.to_owned(), stages: vec![(stage, deployment)] }
        };
        let table = maker.table(vec![deployed("seeded"), deployed("other")], &RouteTable::default());
        let found = match table.find(Some(host), path, verb) {
            Ok(Route { entry, .. }) => {
                assert_eq!(entry.is_seeded, entry.names.api_id == "seeded");
                format!("{} {} {}", entry.names.api_id, entry.names.stage, entry.names.resource)
            }
            Err(none) => none.answer.message().to_owned(),
        };
        assert_eq!(found, expected, "{verb} {host} {path}");
    }

    #[test]
    fn the_seeded_api_answers_at_its_stage() {
        check("127.0.0.1:8000", "POST", "/prod/invoke", "seeded prod /invoke");
        check("127.0.0.1:8000", "OPTIONS", "/prod/invoke/", "seeded prod /invoke");
    }

    #[test]
    fn another_api_is_named_by_host_or_path() {
        check("other.execute-api.us-east-1.amazonaws.com", "POST", "/prod/invoke", "other prod /invoke");
        check("other.execute-api.localhost:8000", "POST", "/prod/invoke", "other prod /invoke");
        check("localhost", "POST", "/restapis/other/prod/_user_request_/invoke", "other prod /invoke");
    }

    #[test]
    fn an_unknown_api_or_stage_is_forbidden() {
        check("localhost", "POST", "/dev/invoke", "Forbidden");
        check("localhost", "POST", "/prod%2Finvoke", "Forbidden");
        check("nobody.execute-api.us-east-1.amazonaws.com", "POST", "/prod/invoke", "Forbidden");
        check("localhost", "POST", "/restapis/nobody/prod/_user_request_/invoke", "Forbidden");
    }

    #[test]
    fn an_undeclared_path_and_an_undeclared_verb_are_the_same_answer() {
        check("localhost", "GET", "/prod/invoke", "Missing Authentication Token");
        check("localhost", "POST", "/prod/nothing", "Missing Authentication Token");
        check("localhost", "POST", "/prod", "Missing Authentication Token");
        check("localhost", "POST", "/prod/", "Missing Authentication Token");
        check("localhost", "POST", "/prod/../prod/invoke", "Missing Authentication Token");
        check("localhost", "POST", "/prod//invoke", "Missing Authentication Token");
    }
}
