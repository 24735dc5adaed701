//! REST APIs as they are edited: resources, methods, integrations and their responses.

use frontdesk_aws::ServiceError;
use frontdesk_gateway::apis::edit;
use frontdesk_gateway::{ApiError, ApiService, NewApi, key};
use frontdesk_store::{GatewayResponse, Integration, IntegrationResponse, IntegrationType, Method, MethodResponse};
use http::StatusCode;
use serde_json::{Value, json};

use super::patch::Step;
use super::requests::{
    CreateResource, CreateRestApi, Patch, PutGatewayResponse, PutIntegration, PutIntegrationResponse, PutMethod, PutMethodResponse,
};
use super::{Answer, ApiGateway as Op, Call, bad_request, documents, not_found, of_api};

const ENDPOINT_TYPES: [&str; 3] = ["EDGE", "PRIVATE", "REGIONAL"];

pub(super) fn rest_api(call: &Call, apis: &ApiService) -> Answer {
    let id = call.parameter(0);
    match call.operation {
        Op::CreateRestApi => {
            let wanted: CreateRestApi = call.read()?;
            if wanted.clone_from.is_some() {
                return Err(bad_request("cloneFrom is not served here: make the API anew"));
            }
            let types = wanted.endpoint_configuration.map(|configuration| configuration.types).unwrap_or_default();
            let endpoint_type = types.into_iter().next().unwrap_or_else(|| "EDGE".to_owned());
            if !ENDPOINT_TYPES.contains(&endpoint_type.as_str()) {
                return Err(bad_request(format!(
                    "Invalid endpoint configuration type {endpoint_type}. Valid values: {}",
                    ENDPOINT_TYPES.join(", ")
                )));
            }
            let new = NewApi {
                name: wanted.name,
                description: wanted.description,
                version: wanted.version,
                endpoint_type,
                binary_media_types: wanted.binary_media_types,
                api_key_source: wanted.api_key_source.unwrap_or_else(|| "HEADER".to_owned()),
                tags: wanted.tags,
            };
            Ok((StatusCode::CREATED, documents::rest_api(&apis.create(new, call.now_unix).map_err(of_api)?)))
        }
        Op::GetRestApis => Ok((StatusCode::OK, call.page(apis.apis().map_err(of_api)?, |api| documents::rest_api(&api))?)),
        Op::UpdateRestApi => {
            let steps = steps(call)?;
            let changed = apis.edit(id, |api| {
                for step in &steps {
                    match step.place()[..] {
                        ["name"] => api.name = step.text().map_err(refused)?,
                        ["description"] => api.description = step.optional().map_err(refused)?,
                        ["version"] => api.version = step.optional().map_err(refused)?,
                        _ => return Err(refused(step.no_such_place(&["/name", "/description", "/version"]))),
                    }
                }
                Ok(documents::rest_api(api))
            });
            Ok((StatusCode::OK, changed.map_err(of_api)?))
        }
        Op::DeleteRestApi => {
            apis.delete(id).map_err(of_api)?;
            Ok((StatusCode::ACCEPTED, Value::Null))
        }
        _ => Ok((StatusCode::OK, documents::rest_api(&apis.api(id).map_err(of_api)?))),
    }
}

pub(super) fn resource(call: &Call, apis: &ApiService) -> Answer {
    let (api_id, id) = (call.parameter(0), call.parameter(1));
    match call.operation {
        Op::GetResources => {
            let mut resources: Vec<_> = apis.api(api_id).map_err(of_api)?.resources.into_values().collect();
            resources.sort_by(|one, other| one.path.cmp(&other.path));
            let embeds = call.query.split('&').any(|pair| pair == "embed=methods");
            Ok((StatusCode::OK, call.page(resources, |resource| documents::resource(&resource, embeds))?))
        }
        Op::CreateResource => {
            let wanted: CreateResource = call.read()?;
            let new_id = key::generate_id().map_err(|error| of_api(ApiError::Random(error)))?[..6].to_owned();
            let made = apis.edit(api_id, |api| edit::create_resource(api, id, &wanted.path_part, new_id));
            Ok((StatusCode::CREATED, documents::resource(&made.map_err(of_api)?, false)))
        }
        Op::DeleteResource => {
            apis.edit(api_id, |api| edit::delete_resource(api, id)).map_err(of_api)?;
            Ok((StatusCode::ACCEPTED, Value::Null))
        }
        _ => {
            let api = apis.api(api_id).map_err(of_api)?;
            let embeds = call.query.split('&').any(|pair| pair == "embed=methods");
            Ok((StatusCode::OK, documents::resource(edit::resource(&api, id).map_err(of_api)?, embeds)))
        }
    }
}

pub(super) fn method(call: &Call, apis: &ApiService) -> Answer {
    let (api_id, resource_id, verb) = (call.parameter(0), call.parameter(1), call.parameter(2));
    match call.operation {
        Op::PutMethod => {
            let wanted: PutMethod = call.read()?;
            let method = Method {
                authorization_type: wanted.authorization_type,
                api_key_required: wanted.api_key_required,
                operation_name: wanted.operation_name,
                request_parameters: wanted.request_parameters,
                ..edit::new_method()
            };
            let made = apis.edit(api_id, |api| edit::put_method(api, resource_id, verb, method));
            Ok((StatusCode::CREATED, documents::method(verb, &made.map_err(of_api)?, resource_id)))
        }
        Op::UpdateMethod => {
            let steps = steps(call)?;
            let changed = apis.edit(api_id, |api| {
                let (_, method) = edit::method_mut(api, resource_id, verb)?;
                for step in &steps {
                    match step.place()[..] {
                        ["apiKeyRequired"] => method.api_key_required = step.parsed().map_err(refused)?,
                        ["operationName"] => method.operation_name = step.optional().map_err(refused)?,
                        ["authorizationType"] if step.value.as_deref() == Some("NONE") => {}
                        _ => return Err(refused(step.no_such_place(&["/apiKeyRequired", "/operationName", "/authorizationType (NONE)"]))),
                    }
                }
                Ok(documents::method(verb, method, resource_id))
            });
            Ok((StatusCode::OK, changed.map_err(of_api)?))
        }
        Op::DeleteMethod => {
            apis.edit(api_id, |api| edit::delete_method(api, resource_id, verb)).map_err(of_api)?;
            Ok((StatusCode::NO_CONTENT, Value::Null))
        }
        _ => {
            let api = apis.api(api_id).map_err(of_api)?;
            Ok((StatusCode::OK, documents::method(verb, edit::method(&api, resource_id, verb).map_err(of_api)?, resource_id)))
        }
    }
}

pub(super) fn method_response(call: &Call, apis: &ApiService) -> Answer {
    let (api_id, resource_id, verb, status) = (call.parameter(0), call.parameter(1), call.parameter(2), call.parameter(3));
    match call.operation {
        Op::PutMethodResponse => {
            check_status(status)?;
            let wanted: PutMethodResponse = call.read()?;
            let response = MethodResponse { response_parameters: wanted.response_parameters, response_models: wanted.response_models };
            let document = documents::method_response(status, &response);
            let done = apis.edit(api_id, |api| {
                let (_, method) = edit::method_mut(api, resource_id, verb)?;
                if method.method_responses.contains_key(status) {
                    return Err(ApiError::Conflict("Response already exists for this resource".to_owned()));
                }
                method.method_responses.insert(status.to_owned(), response);
                Ok(())
            });
            done.map_err(of_api)?;
            Ok((StatusCode::CREATED, document))
        }
        Op::DeleteMethodResponse => {
            let done = apis.edit(api_id, |api| {
                let (_, method) = edit::method_mut(api, resource_id, verb)?;
                method.method_responses.remove(status).map(drop).ok_or_else(no_such_response)
            });
            done.map_err(of_api)?;
            Ok((StatusCode::NO_CONTENT, Value::Null))
        }
        _ => {
            let api = apis.api(api_id).map_err(of_api)?;
            let method = edit::method(&api, resource_id, verb).map_err(of_api)?;
            let response = method.method_responses.get(status).ok_or_else(|| of_api(no_such_response()))?;
            Ok((StatusCode::OK, documents::method_response(status, response)))
        }
    }
}

pub(super) fn integration(call: &Call, apis: &ApiService) -> Answer {
    let (api_id, resource_id, verb) = (call.parameter(0), call.parameter(1), call.parameter(2));
    match call.operation {
        Op::PutIntegration => {
            let integration = wanted_integration(call.read()?)?;
            let done = apis.edit(api_id, |api| {
                let (path, method) = edit::method_mut(api, resource_id, verb)?;
                apis.check(&integration, path)?;
                method.integration = Some(integration.clone());
                Ok(())
            });
            done.map_err(of_api)?;
            Ok((StatusCode::CREATED, documents::integration(&integration, resource_id)))
        }
        Op::UpdateIntegration => {
            let steps = steps(call)?;
            let changed = apis.edit(api_id, |api| {
                let (path, method) = edit::method_mut(api, resource_id, verb)?;
                let integration = method.integration.as_mut().ok_or_else(edit::no_such_integration)?;
                steps.iter().try_for_each(|step| patch_integration(integration, step)).map_err(refused)?;
                apis.check(integration, path)?;
                Ok(documents::integration(integration, resource_id))
            });
            Ok((StatusCode::OK, changed.map_err(of_api)?))
        }
        Op::DeleteIntegration => {
            let done = apis.edit(api_id, |api| {
                let (_, method) = edit::method_mut(api, resource_id, verb)?;
                method.integration.take().map(drop).ok_or_else(edit::no_such_integration)
            });
            done.map_err(of_api)?;
            Ok((StatusCode::NO_CONTENT, Value::Null))
        }
        _ => {
            let api = apis.api(api_id).map_err(of_api)?;
            let method = edit::method(&api, resource_id, verb).map_err(of_api)?;
            let integration = method.integration.as_ref().ok_or_else(|| of_api(edit::no_such_integration()))?;
            Ok((StatusCode::OK, documents::integration(integration, resource_id)))
        }
    }
}

fn wanted_integration(wanted: PutIntegration) -> Result<Integration, ServiceError> {
    let kind = match wanted.kind.as_str() {
        "AWS" => IntegrationType::Aws,
        "AWS_PROXY" => IntegrationType::AwsProxy,
        "HTTP" => IntegrationType::Http,
        "HTTP_PROXY" => IntegrationType::HttpProxy,
        "MOCK" => IntegrationType::Mock,
        other => {
            return Err(bad_request(format!(
                "Invalid integration type specified: {other}. Valid values: HTTP, AWS, MOCK, HTTP_PROXY, AWS_PROXY"
            )));
        }
    };
    if wanted.connection_type.as_deref() == Some("VPC_LINK") {
        return Err(bad_request("VPC links are not served here: name the server's own address"));
    }
    let is_streaming = wanted.response_transfer_mode.as_deref() == Some("STREAM");
    let known_verb = |verb: &&String| !verb.is_empty();
    if kind != IntegrationType::Mock && wanted.http_method.as_ref().filter(known_verb).is_none() {
        return Err(bad_request("Enumeration value for HttpMethod must be non-empty"));
    }
    let bounds = if is_streaming { edit::STREAM_TIMEOUT_MS } else { edit::TIMEOUT_MS };
    let timeout_ms = wanted.timeout_in_millis.unwrap_or(*edit::TIMEOUT_MS.end());
    check_timeout(timeout_ms, &bounds)?;
    Ok(Integration {
        http_method: wanted.http_method.filter(|verb| !verb.is_empty()),
        uri: wanted.uri,
        credentials: wanted.credentials.filter(|role| !role.is_empty()),
        request_parameters: wanted.request_parameters,
        request_templates: wanted.request_templates,
        passthrough_behavior: wanted.passthrough_behavior.unwrap_or_else(|| "WHEN_NO_MATCH".to_owned()),
        timeout_ms,
        is_streaming,
        cache_key_parameters: wanted.cache_key_parameters,
        ..edit::new_integration(kind)
    })
}

fn check_timeout(timeout_ms: u64, bounds: &std::ops::RangeInclusive<u64>) -> Result<(), ServiceError> {
    let message = || format!("Timeout should be between {} ms and {} ms", bounds.start(), bounds.end());
    bounds.contains(&timeout_ms).then_some(()).ok_or_else(|| bad_request(message()))
}

fn patch_integration(integration: &mut Integration, step: &Step) -> Result<(), ServiceError> {
    let put = |map: &mut std::collections::BTreeMap<String, String>, name: &str| -> Result<(), ServiceError> {
        match step.optional()? {
            Some(value) => drop(map.insert(name.to_owned(), value)),
            None => drop(map.remove(name)),
        }
        Ok(())
    };
    match step.place()[..] {
        ["uri"] => integration.uri = step.optional()?,
        ["credentials"] => integration.credentials = step.optional()?,
        ["httpMethod"] => integration.http_method = step.optional()?,
        ["passthroughBehavior"] => integration.passthrough_behavior = step.text()?,
        ["timeoutInMillis"] => {
            let bounds = if integration.is_streaming { edit::STREAM_TIMEOUT_MS } else { edit::TIMEOUT_MS };
            let timeout_ms = step.parsed()?;
            check_timeout(timeout_ms, &bounds)?;
            integration.timeout_ms = timeout_ms;
        }
        ["responseTransferMode"] => integration.is_streaming = step.text()? == "STREAM",
        ["requestParameters", name] => put(&mut integration.request_parameters, name)?,
        ["requestTemplates", media_type] => put(&mut integration.request_templates, media_type)?,
        _ => {
            let places = [
                "/uri",
                "/credentials",
                "/httpMethod",
                "/passthroughBehavior",
                "/timeoutInMillis",
                "/responseTransferMode",
                "/requestParameters/{name}",
                "/requestTemplates/{media type}",
            ];
            return Err(step.no_such_place(&places));
        }
    }
    Ok(())
}

pub(super) fn integration_response(call: &Call, apis: &ApiService) -> Answer {
    let (api_id, resource_id, verb, status) = (call.parameter(0), call.parameter(1), call.parameter(2), call.parameter(3));
    match call.operation {
        Op::PutIntegrationResponse => {
            check_status(status)?;
            let wanted: PutIntegrationResponse = call.read()?;
            let response = IntegrationResponse {
                selection_pattern: wanted.selection_pattern,
                response_parameters: wanted.response_parameters,
                response_templates: wanted.response_templates,
            };
            let document = documents::integration_response(status, &response);
            let done = apis.edit(api_id, |api| {
                let (path, method) = edit::method_mut(api, resource_id, verb)?;
                let declared = method.method_responses.get(status).ok_or_else(no_such_response)?;
                let undeclared = response.response_parameters.keys().find(|name| !declared.response_parameters.contains_key(*name));
                if let Some(name) = undeclared {
                    return Err(ApiError::BadRequest(format!("Invalid mapping expression parameter specified: {name}")));
                }
                let mut integration = method.integration.clone().ok_or_else(edit::no_such_integration)?;
                integration.responses.insert(status.to_owned(), response);
                apis.check(&integration, path)?;
                method.integration = Some(integration);
                Ok(())
            });
            done.map_err(of_api)?;
            Ok((StatusCode::CREATED, document))
        }
        Op::DeleteIntegrationResponse => {
            let done = apis.edit(api_id, |api| {
                edit::integration_mut(api, resource_id, verb)?.responses.remove(status).map(drop).ok_or_else(no_such_response)
            });
            done.map_err(of_api)?;
            Ok((StatusCode::NO_CONTENT, Value::Null))
        }
        _ => {
            let api = apis.api(api_id).map_err(of_api)?;
            let method = edit::method(&api, resource_id, verb).map_err(of_api)?;
            let integration = method.integration.as_ref().ok_or_else(|| of_api(edit::no_such_integration()))?;
            let response = integration.responses.get(status).ok_or_else(|| of_api(no_such_response()))?;
            Ok((StatusCode::OK, documents::integration_response(status, response)))
        }
    }
}

pub(super) fn gateway_response(call: &Call, apis: &ApiService) -> Answer {
    let (api_id, response_type) = (call.parameter(0), call.parameter(1));
    let is_known = edit::RESPONSE_TYPES.contains(&response_type);
    if call.operation != Op::GetGatewayResponses && !is_known {
        return Err(not_found(format!("Invalid gateway response type specified: {response_type}")));
    }
    match call.operation {
        Op::GetGatewayResponses => {
            let api = apis.api(api_id).map_err(of_api)?;
            let all = edit::RESPONSE_TYPES.map(|name| documents::gateway_response(name, api.gateway_responses.get(name)));
            Ok((StatusCode::OK, json!({ "item": all })))
        }
        Op::PutGatewayResponse => {
            let wanted: PutGatewayResponse = call.read()?;
            let status_code = wanted.status_code.map(|status| check_status(&status)).transpose()?;
            let response = GatewayResponse {
                status_code,
                response_parameters: wanted.response_parameters,
                response_templates: wanted.response_templates,
            };
            ApiService::check_gateway_response(&response).map_err(of_api)?;
            let document = documents::gateway_response(response_type, Some(&response));
            let done = apis.edit(api_id, |api| {
                api.gateway_responses.insert(response_type.to_owned(), response);
                Ok(())
            });
            done.map_err(of_api)?;
            Ok((StatusCode::CREATED, document))
        }
        Op::DeleteGatewayResponse => {
            let done = apis.edit(api_id, |api| {
                let unknown = || ApiError::NotFound("Gateway response type not defined on api".to_owned());
                api.gateway_responses.remove(response_type).map(drop).ok_or_else(unknown)
            });
            done.map_err(of_api)?;
            Ok((StatusCode::ACCEPTED, Value::Null))
        }
        _ => {
            let api = apis.api(api_id).map_err(of_api)?;
            Ok((StatusCode::OK, documents::gateway_response(response_type, api.gateway_responses.get(response_type))))
        }
    }
}

fn no_such_response() -> ApiError {
    ApiError::NotFound("Invalid Response status code specified".to_owned())
}

fn check_status(status: &str) -> Result<u16, ServiceError> {
    let known = status.parse().ok().filter(|status| (100..600).contains(status));
    known.ok_or_else(|| bad_request(format!("Invalid status code specified: {status}")))
}

pub(super) fn steps(call: &Call) -> Result<Vec<Step>, ServiceError> {
    let patch: Patch = call.read()?;
    patch.patch_operations.into_iter().map(Step::read).collect()
}

/// A refusal of a patch, inside a change that the service layer makes.
pub(super) fn refused(error: ServiceError) -> ApiError {
    ApiError::BadRequest(error.message)
}
