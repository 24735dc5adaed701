//! Changes of an API as it is being edited: pure functions that refuse what API Gateway refuses, in its words.

use std::collections::BTreeMap;

use frontdesk_store::{Integration, IntegrationType, Method, Resource, RestApi, Stage};

use super::ApiError;

/// API Gateway's bound on the resources of an API.
const RESOURCES_MAX: usize = 300;
/// The verbs that a method may have.
const VERBS: [&str; 8] = ["ANY", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"];
/// API Gateway's bounds on an integration's timeout, in milliseconds.
pub const TIMEOUT_MS: std::ops::RangeInclusive<u64> = 50..=29_000;
/// The same for one whose answer is streamed.
pub const STREAM_TIMEOUT_MS: std::ops::RangeInclusive<u64> = 50..=900_000;

/// The response types that an API may have its own answer for.
pub const RESPONSE_TYPES: [&str; 21] = [
    "ACCESS_DENIED",
    "API_CONFIGURATION_ERROR",
    "AUTHORIZER_CONFIGURATION_ERROR",
    "AUTHORIZER_FAILURE",
    "BAD_REQUEST_BODY",
    "BAD_REQUEST_PARAMETERS",
    "DEFAULT_4XX",
    "DEFAULT_5XX",
    "EXPIRED_TOKEN",
    "INTEGRATION_FAILURE",
    "INTEGRATION_TIMEOUT",
    "INVALID_API_KEY",
    "INVALID_SIGNATURE",
    "MISSING_AUTHENTICATION_TOKEN",
    "QUOTA_EXCEEDED",
    "REQUEST_TOO_LARGE",
    "RESOURCE_NOT_FOUND",
    "THROTTLED",
    "UNAUTHORIZED",
    "UNSUPPORTED_MEDIA_TYPE",
    "WAF_FILTERED",
];

/// The resource that every API begins with.
#[must_use]
pub fn root(id: String) -> Resource {
    Resource { id, parent_id: None, path_part: None, path: "/".to_owned(), methods: BTreeMap::new() }
}

/// A method with API Gateway's defaults.
#[must_use]
pub fn new_method() -> Method {
    Method { authorization_type: "NONE".to_owned(), ..Method::default() }
}

/// An integration with API Gateway's defaults.
#[must_use]
pub fn new_integration(kind: IntegrationType) -> Integration {
    Integration {
        kind,
        http_method: None,
        uri: None,
        credentials: None,
        request_parameters: BTreeMap::new(),
        request_templates: BTreeMap::new(),
        passthrough_behavior: "WHEN_NO_MATCH".to_owned(),
        timeout_ms: *TIMEOUT_MS.end(),
        is_streaming: false,
        cache_key_parameters: Vec::new(),
        responses: BTreeMap::new(),
    }
}

/// A stage with API Gateway's defaults, of no deployment yet.
#[must_use]
pub fn new_stage(api_id: &str, name: &str, now_unix: i64) -> Stage {
    Stage {
        api_id: api_id.to_owned(),
        name: name.to_owned(),
        deployment_id: String::new(),
        description: None,
        created_at: now_unix,
        updated_at: now_unix,
        variables: BTreeMap::new(),
        is_cached: false,
        cache_cluster_size: None,
        method_settings: BTreeMap::new(),
        access_log: None,
        is_traced: false,
        tags: BTreeMap::new(),
    }
}

/// Checks a stage's name.
///
/// # Errors
/// [`ApiError::BadRequest`].
pub fn check_stage_name(name: &str) -> Result<(), ApiError> {
    let is_sound =
        !name.is_empty() && name.len() <= 128 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    is_sound.then_some(()).ok_or_else(|| ApiError::BadRequest("Stage name only allows a-zA-Z0-9-_".to_owned()))
}

/// The resource of an id.
///
/// # Errors
/// [`ApiError::NotFound`].
pub fn resource<'a>(api: &'a RestApi, id: &str) -> Result<&'a Resource, ApiError> {
    api.resources.get(id).ok_or_else(no_such_resource)
}

fn no_such_resource() -> ApiError {
    ApiError::NotFound("Invalid Resource identifier specified".to_owned())
}

fn no_such_method() -> ApiError {
    ApiError::NotFound("Invalid Method identifier specified".to_owned())
}

/// Adds a resource below another and returns it.
///
/// # Errors
/// For a part that no path may have, and for one that is there.
pub fn create_resource(api: &mut RestApi, parent_id: &str, part: &str, id: String) -> Result<Resource, ApiError> {
    let parent = resource(api, parent_id)?;
    if api.resources.len() >= RESOURCES_MAX {
        return Err(ApiError::LimitExceeded(format!("Maximum number of resources for this API has been reached: {RESOURCES_MAX}")));
    }
    check_part(part)?;
    if parent.path_part.as_deref().is_some_and(|part| part.ends_with("+}")) {
        return Err(ApiError::BadRequest(format!("Cannot create a child of a resource with a greedy path variable: {}", parent.path)));
    }
    let siblings = api.resources.values().filter(|resource| resource.parent_id.as_deref() == Some(parent_id));
    for sibling in siblings.filter_map(|resource| resource.path_part.as_deref()) {
        if sibling == part {
            return Err(ApiError::Conflict(format!("Another resource with the same parent already has this name: {part}")));
        }
        let are_both = |test: fn(&str) -> bool| test(sibling) && test(part);
        if are_both(|part| part.starts_with('{') && !part.ends_with("+}")) || are_both(|part| part.ends_with("+}")) {
            return Err(ApiError::BadRequest(format!(
                "A sibling ({sibling}) of this resource already has a variable path part -- only one is allowed"
            )));
        }
    }
    let path = format!("{}/{part}", parent.path.trim_end_matches('/'));
    let new = Resource {
        id: id.clone(),
        parent_id: Some(parent_id.to_owned()),
        path_part: Some(part.to_owned()),
        path,
        methods: BTreeMap::new(),
    };
    api.resources.insert(id, new.clone());
    Ok(new)
}

fn check_part(part: &str) -> Result<(), ApiError> {
    let is_name = |name: &str| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b':' | b'~'))
    };
    let inside = part.strip_prefix('{').map(|rest| rest.strip_suffix('}').map(|name| name.strip_suffix('+').unwrap_or(name)));
    let is_sound = match inside {
        None => is_name(part) && !matches!(part, "." | ".."),
        Some(name) => name.is_some_and(is_name),
    };
    is_sound.then_some(()).ok_or_else(|| {
        ApiError::BadRequest(
            "Resource's path part only allow a-zA-Z0-9._-: or a valid greedy path variable and curly braces at the beginning and the end."
                .to_owned(),
        )
    })
}

/// Deletes a resource with all below it.
///
/// # Errors
/// For the root, and for one that is not there.
pub fn delete_resource(api: &mut RestApi, id: &str) -> Result<(), ApiError> {
    if resource(api, id)?.parent_id.is_none() {
        return Err(ApiError::BadRequest("Root resource cannot be deleted".to_owned()));
    }
    let mut gone = vec![id.to_owned()];
    while let Some(id) = gone.pop() {
        api.resources.remove(&id);
        gone.extend(
            api.resources.values().filter(|resource| resource.parent_id.as_deref() == Some(&id)).map(|resource| resource.id.clone()),
        );
    }
    Ok(())
}

/// Adds a method.
///
/// # Errors
/// For a verb that is none, an authorization that is not served, and a method that is there.
pub fn put_method(api: &mut RestApi, resource_id: &str, verb: &str, method: Method) -> Result<Method, ApiError> {
    if !VERBS.contains(&verb) {
        return Err(ApiError::BadRequest(format!("Invalid HTTP method specified: {verb}. Valid values: {}", VERBS.join(", "))));
    }
    // What would let strangers in on AWS alone is refused here: a method must never be open by mistake.
    if method.authorization_type != "NONE" {
        let given = &method.authorization_type;
        return Err(ApiError::BadRequest(format!(
            "Authorization type {given} is not served here: methods are open (NONE) or need an API key"
        )));
    }
    let resource = api.resources.get_mut(resource_id).ok_or_else(no_such_resource)?;
    if resource.methods.contains_key(verb) {
        return Err(ApiError::Conflict("Method already exists for this resource".to_owned()));
    }
    resource.methods.insert(verb.to_owned(), method.clone());
    Ok(method)
}

/// The method of a resource.
///
/// # Errors
/// [`ApiError::NotFound`].
pub fn method<'a>(api: &'a RestApi, resource_id: &str, verb: &str) -> Result<&'a Method, ApiError> {
    resource(api, resource_id)?.methods.get(verb).ok_or_else(no_such_method)
}

/// The method of a resource, to be changed, with the resource's path.
///
/// # Errors
/// [`ApiError::NotFound`].
pub fn method_mut<'a>(api: &'a mut RestApi, resource_id: &str, verb: &str) -> Result<(&'a str, &'a mut Method), ApiError> {
    let resource = api.resources.get_mut(resource_id).ok_or_else(no_such_resource)?;
    Ok((&resource.path, resource.methods.get_mut(verb).ok_or_else(no_such_method)?))
}

/// Deletes a method.
///
/// # Errors
/// [`ApiError::NotFound`].
pub fn delete_method(api: &mut RestApi, resource_id: &str, verb: &str) -> Result<(), ApiError> {
    let resource = api.resources.get_mut(resource_id).ok_or_else(no_such_resource)?;
    resource.methods.remove(verb).map(drop).ok_or_else(no_such_method)
}

/// The integration of a method, to be changed.
///
/// # Errors
/// [`ApiError::NotFound`].
pub fn integration_mut<'a>(api: &'a mut RestApi, resource_id: &str, verb: &str) -> Result<&'a mut Integration, ApiError> {
    let (_, method) = method_mut(api, resource_id, verb)?;
    method.integration.as_mut().ok_or_else(no_such_integration)
}

/// The answer for a method without an integration.
#[must_use]
pub fn no_such_integration() -> ApiError {
    ApiError::NotFound("Invalid Integration identifier specified".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api() -> RestApi {
        super::super::agent_api::AgentApi {
            id: "abc".to_owned(),
            stage: "prod".to_owned(),
            proxy_arn: "arn:aws:lambda:us-east-1:0:function:f".to_owned(),
            cache_ttl_s: 0,
            stream_timeout_ms: 29_000,
        }
        .empty(0)
    }

    fn check_parts(parts: &[&str], expected: &str) {
        let mut api = api();
        let root = api.resources.values().next().unwrap().id.clone();
        let mut told = String::new();
        for (number, part) in parts.iter().enumerate() {
            told = match create_resource(&mut api, &root, part, format!("r{number}")) {
                Ok(resource) => resource.path,
                Err(error) => error.to_string(),
            };
        }
        assert_eq!(told, expected, "{parts:?}");
    }

    #[test]
    fn paths_are_what_api_gateway_allows() {
        check_parts(&["invoke"], "/invoke");
        check_parts(&["{order}"], "/{order}");
        check_parts(&["{order}", "{rest+}"], "/{rest+}");
        check_parts(&["invoke", "invoke"], "Another resource with the same parent already has this name: invoke");
        check_parts(&["{a}", "{b}"], "A sibling ({a}) of this resource already has a variable path part -- only one is allowed");
        let refused =
            "Resource's path part only allow a-zA-Z0-9._-: or a valid greedy path variable and curly braces at the beginning and the end.";
        for part in ["", "a/b", "..", "{", "{}", "{+}", "a{b}", "ü", "a b"] {
            check_parts(&[part], refused);
        }
    }

    #[test]
    fn a_resource_goes_with_all_below_it() {
        let mut api = api();
        let root = api.resources.values().next().unwrap().id.clone();
        create_resource(&mut api, &root, "a", "a".to_owned()).unwrap();
        create_resource(&mut api, "a", "b", "b".to_owned()).unwrap();
        create_resource(&mut api, "b", "c", "c".to_owned()).unwrap();
        create_resource(&mut api, &root, "d", "d".to_owned()).unwrap();
        delete_resource(&mut api, "a").unwrap();
        assert_eq!(api.resources.len(), 2);
        assert!(delete_resource(&mut api, &root).is_err() && delete_resource(&mut api, "a").is_err());
    }

    #[test]
    fn a_method_that_would_be_open_by_mistake_is_refused() {
        let mut api = api();
        let root = api.resources.values().next().unwrap().id.clone();
        let iam = Method { authorization_type: "AWS_IAM".to_owned(), ..new_method() };
        assert!(matches!(put_method(&mut api, &root, "GET", iam), Err(ApiError::BadRequest(_))));
        assert!(matches!(put_method(&mut api, &root, "BREW", new_method()), Err(ApiError::BadRequest(_))));
        put_method(&mut api, &root, "GET", new_method()).unwrap();
        assert!(matches!(put_method(&mut api, &root, "GET", new_method()), Err(ApiError::Conflict(_))));
    }
}
