//! From host, path and verb to a method of a deployed API.
//!
//! Which API answers: `Host: {api-id}.execute-api.…` names one; `/restapis/{api-id}/{stage}/_user_request_/…` names one; anything else is the
//! seeded API, at `/{stage}/…`.

use crate::answer::GatewayAnswer;
use crate::model::{Method, Resource, RestApi, Stage};

/// Where a request goes.
#[derive(Debug, Clone, Copy)]
pub struct Route<'a> {
    /// The API.
    pub api: &'a RestApi,
    /// Its stage.
    pub stage: &'a Stage,
    /// The resource.
    pub resource: &'a Resource,
    /// The method.
    pub method: &'a Method,
}

/// Finds the method for a request.
///
/// `apis` holds the seeded API first. `host` is the Host header or the URI's authority; `path` is as it came, undecoded.
///
/// # Errors
/// `Forbidden` for an API or a stage that does not exist, `Missing Authentication Token` for a path or a verb that the stage does not have: API Gateway
/// answers both this way, so that a stranger cannot tell an undeclared path from a forbidden one.
pub fn route<'a>(apis: &'a [RestApi], host: Option<&str>, path: &'a str, verb: &str) -> Result<Route<'a>, GatewayAnswer> {
    let (api_id, path) = match (api_of_host(host), api_of_path(path)) {
        (Some(api_id), _) => (Some(api_id), path.to_owned()),
        (None, Some((api_id, path))) => (Some(api_id), path),
        (None, None) => (None, path.to_owned()),
    };
    let api = match api_id {
        Some(api_id) => apis.iter().find(|api| api.id == api_id),
        None => apis.first(),
    };
    let (stage_name, resource_path) = split_stage(&path);
    let api = api.ok_or(GatewayAnswer::Forbidden)?;
    let stage = api.stages.iter().find(|stage| stage.name == stage_name).ok_or(GatewayAnswer::Forbidden)?;
    let resource = stage.deployment.resources.iter().find(|resource| resource.path == resource_path);
    let method = resource.and_then(|resource| resource.methods.get(verb).map(|method| (resource, method)));
    let (resource, method) = method.ok_or(GatewayAnswer::MissingAuthenticationToken)?;
    Ok(Route { api, stage, resource, method })
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

    fn check(host: &str, verb: &str, path: &str, expected: &str) {
        let apis = ["seeded", "other"].map(|id| RestApi::for_agent(id.to_owned(), id.to_owned(), "prod", "agent", "agent-streaming"));
        let found = match route(&apis, Some(host), path, verb) {
            Ok(route) => format!("{} {} {}", route.api.id, route.stage.name, route.resource.path),
            Err(answer) => answer.message().to_owned(),
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
