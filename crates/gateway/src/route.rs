//! From host, path and verb to a method of a deployed API.
//!
//! Which API answers: `Host: {api-id}.execute-api.…` names one; `/restapis/{api-id}/{stage}/_user_request_/…` names one; anything else is the
//! seeded API, at `/{stage}/…`.

use std::collections::HashMap;
use std::sync::Arc;

use crate::answer::GatewayAnswer;
use crate::cache::ResponseCache;
use crate::metrics::{MethodLabels, MethodMetrics, Metrics};
use crate::model::{Method, RestApi};

/// What a method is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteNames {
    /// The API's id.
    pub api_id: String,
    /// The stage.
    pub stage: String,
    /// The resource's path.
    pub resource: String,
    /// The verb.
    pub verb: String,
}

/// A method of a deployed API, with what belongs to it at run time.
#[derive(Debug)]
pub struct RouteEntry {
    /// What it is called.
    pub names: RouteNames,
    /// What it does.
    pub method: Method,
    /// Whether it is the seeded API's.
    pub is_seeded: bool,
    /// What is counted for it.
    pub metrics: MethodMetrics,
    /// Its stage's cache, if it uses one.
    pub cache: Option<Arc<ResponseCache>>,
}

#[derive(Debug)]
struct ApiRoutes {
    /// By stage, then by resource and verb.
    stages: HashMap<String, HashMap<String, HashMap<String, Arc<RouteEntry>>>>,
    /// What is counted for requests that reach no method.
    unrouted: MethodMetrics,
}

/// All methods of all deployed APIs.
#[derive(Debug)]
pub struct RouteTable {
    by_api: HashMap<String, ApiRoutes>,
    seeded: String,
}

/// Why a request has no method, and where it is counted.
#[derive(Debug)]
pub struct NoRoute {
    /// The answer.
    pub answer: GatewayAnswer,
    /// The metrics of the API that was asked; `None` for none.
    pub metrics: Option<MethodMetrics>,
}

impl RouteTable {
    /// The methods of `apis`, the seeded one first.
    #[must_use]
    pub fn new(apis: &[RestApi], metrics: &Metrics) -> RouteTable {
        let seeded = apis.first().map(|api| api.id.clone()).unwrap_or_default();
        let routes = |api: &RestApi| {
            let labels = |stage: &str, resource: &str, method: &str| MethodLabels {
                api_name: api.name.clone(),
                stage: stage.to_owned(),
                resource: resource.to_owned(),
                method: method.to_owned(),
            };
            let mut stages: HashMap<_, HashMap<_, HashMap<_, _>>> = HashMap::new();
            for stage in &api.stages {
                let cache = stage.cache.map(|settings| Arc::new(ResponseCache::new(settings)));
                let of_stage = stages.entry(stage.name.clone()).or_default();
                for resource in &stage.deployment.resources {
                    for (verb, method) in &resource.methods {
                        let names = RouteNames {
                            api_id: api.id.clone(),
                            stage: stage.name.clone(),
                            resource: resource.path.clone(),
                            verb: verb.clone(),
                        };
                        let entry = RouteEntry {
                            method: method.clone(),
                            is_seeded: api.id == seeded,
                            metrics: metrics.of_method(&labels(&stage.name, &resource.path, verb)),
                            cache: cache.clone().filter(|_| method.is_cached),
                            names,
                        };
                        of_stage.entry(resource.path.clone()).or_default().insert(verb.clone(), Arc::new(entry));
                    }
                }
            }
            (api.id.clone(), ApiRoutes { stages, unrouted: metrics.of_method(&labels("", "", "")) })
        };
        RouteTable { by_api: apis.iter().map(routes).collect(), seeded }
    }

    /// Finds the method for a request. `host` is the Host header or the URI's authority; `path` is as it came, undecoded.
    ///
    /// # Errors
    /// `Forbidden` for an API or a stage that does not exist, `Missing Authentication Token` for a path or a verb that the stage does not have: API Gateway
    /// answers both this way, so that a stranger cannot tell an undeclared path from a forbidden one.
    pub fn find(&self, host: Option<&str>, path: &str, verb: &str) -> Result<&Arc<RouteEntry>, NoRoute> {
        let (api_id, path) = match (api_of_host(host), api_of_path(path)) {
            (Some(api_id), _) => (api_id, path.into()),
            (None, Some((api_id, path))) => (api_id, std::borrow::Cow::from(path)),
            (None, None) => (self.seeded.as_str(), path.into()),
        };
        let Some(routes) = self.by_api.get(api_id) else { return Err(NoRoute { answer: GatewayAnswer::Forbidden, metrics: None }) };
        let unrouted = |answer| NoRoute { answer, metrics: Some(routes.unrouted.clone()) };
        let (stage, resource) = split_stage(&path);
        let stage = routes.stages.get(stage).ok_or_else(|| unrouted(GatewayAnswer::Forbidden))?;
        let method = stage.get(resource).and_then(|methods| methods.get(verb));
        method.ok_or_else(|| unrouted(GatewayAnswer::MissingAuthenticationToken))
    }
}

/// `Host: abc123.execute-api.us-east-1.amazonaws.com`, or `abc123.execute-api.localhost:8000`.
fn api_of_host(host: Option<&str>) -> Option<&str> {
    let (api_id, rest) = host?.split_once('.')?;
    rest.starts_with("execute-api.").then_some(api_id)
}

/// `/restapis/abc123/prod/_user_request_/invoke` is `/prod/invoke` of abc123.
fn api_of_path(path: &str) -> Option<(&str, String)> {
    let (api_id, rest) = path.strip_prefix("/restapis/")?.split_once('/')?;
    let (stage, resource) = rest.split_once("/_user_request_")?;
    Some((api_id, format!("/{stage}{resource}")))
}

/// `/prod/invoke` is the stage `prod` and the path `/invoke`; a slash at the end does not count.
fn split_stage(path: &str) -> (&str, &str) {
    let path = path.strip_prefix('/').unwrap_or(path);
    match path.find('/') {
        None => (path, "/"),
        Some(end) => match path[end..].trim_end_matches('/') {
            "" => (&path[..end], "/"),
            resource => (&path[..end], resource),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::registry::Registry;

    fn check(host: &str, verb: &str, path: &str, expected: &str) {
        let apis = ["seeded", "other"].map(|id| RestApi::for_agent(id.to_owned(), id.to_owned(), "prod", "agent", "agent-streaming", None));
        let table = RouteTable::new(&apis, &Metrics::register(&mut Registry::default()));
        let found = match table.find(Some(host), path, verb) {
            Ok(entry) => {
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
