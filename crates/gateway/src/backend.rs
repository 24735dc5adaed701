//! What is behind a method, read once when its deployment is put in place: a function, another server, or nothing but mappings (MOCK).

mod answer;
mod body;
mod facts;
mod http;
mod lambda;
mod mapping;
mod own_answers;
mod servers;
mod stream;
mod template;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ::http::Response;
use bytes::Bytes;
use frontdesk_store::{Integration as Definition, IntegrationType};
use serde::Deserialize;

use crate::answer::GatewayAnswer;
use crate::integration::{Body, Integration, RoleArn};
use answer::AnswerPlan;
use body::RequestBodies;
use http::{HttpBackend, Way};
pub(crate) use http::{remove_hop_by_hop, whole};
use lambda::LambdaBackend;
use servers::Servers;

pub(crate) use facts::{Facts, query_pairs};
#[cfg(any(test, fuzzing))]
pub(crate) use http::Target as HttpTarget;
pub use mapping::{InvalidMapping, Source};
pub(crate) use own_answers::OwnAnswers;
pub(crate) use stream::TimedBody;
pub use template::{Template, UnsupportedTemplate};

/// A definition that cannot be served; the text says why, in API Gateway's words where it has some.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CompileError(pub(crate) String);

/// Whatever methods can have behind them: functions by ARN, other servers through pools of connections.
#[derive(Clone)]
pub struct Backends {
    functions: HashMap<String, Arc<dyn Integration>>,
    lambda: Option<Arc<dyn Integration>>,
    services: HashMap<String, Arc<dyn Integration>>,
    servers: Servers,
}

impl std::fmt::Debug for Backends {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Backends").field("functions", &self.functions.keys()).finish_non_exhaustive()
    }
}

impl Backends {
    /// These functions, by their ARNs, and empty pools of connections.
    ///
    /// # Errors
    /// When the machine's certificate authorities cannot be read.
    pub fn new(functions: HashMap<String, Arc<dyn Integration>>) -> std::io::Result<Backends> {
        Ok(Backends { functions, lambda: None, services: HashMap::new(), servers: Servers::new()? })
    }

    /// With what carries out invocations of all other functions. It gets requests in the form of Lambda's Invoke, with the method's name
    /// ([`SourceMethod`](crate::integration::SourceMethod)) and, where the integration names one, the role's ARN among their extensions.
    #[must_use]
    pub fn with_lambda(self, lambda: Arc<dyn Integration>) -> Backends {
        Backends { lambda: Some(lambda), ..self }
    }

    /// With these services of AWS, by the names that their hosts begin with: an HTTP_PROXY integration whose URI names one and whose credentials name a role
    /// calls it, and finds the role's ARN among the request's extensions ([`RoleArn`](crate::integration::RoleArn)).
    #[must_use]
    pub fn with_services(mut self, services: HashMap<String, Arc<dyn Integration>>) -> Backends {
        self.services = services;
        self
    }
}

impl Backends {
    /// What is behind a method whose integration names a function: one of the host's own is called in this process, any other by Lambda's Invoke.
    fn function(&self, definition: &Definition, arn: String) -> Result<Backend, CompileError> {
        let own = self.functions.get(&arn).cloned();
        match &self.lambda {
            Some(lambda) if own.is_none() => {
                // Which function a variable leads to is not known before the stage is.
                if definition.is_streaming && !arn.contains("${") {
                    return Err(CompileError(format!("answers of {arn} cannot be streamed: responseTransferMode must be BUFFERED")));
                }
                Ok(Backend::Lambda(Box::new(LambdaBackend::compile(definition, arn, lambda.clone())?)))
            }
            _ if definition.kind == IntegrationType::Aws => {
                Err(CompileError(format!("{arn} takes the request itself: AWS_PROXY calls it")))
            }
            _ => Ok(Backend::Function {
                function: own,
                is_streaming: definition.is_streaming,
                timeout: Duration::from_millis(definition.timeout_ms),
            }),
        }
    }

    /// The service of AWS that an integration's URI names by the first word of its host.
    fn service(&self, definition: &Definition) -> Result<Arc<dyn Integration>, CompileError> {
        let uri = definition.uri.as_deref().unwrap_or_default();
        let name = uri.strip_prefix("https://").and_then(|rest| rest.split('.').next()).unwrap_or_default();
        let is_aws = uri.split('/').nth(2).is_some_and(|host| host.ends_with(".amazonaws.com"));
        let known = self.services.get(name).filter(|_| is_aws).cloned();
        known.ok_or_else(|| {
            let names: Vec<String> = self.services.keys().map(|name| format!("https://{name}.{{region}}.amazonaws.com")).collect();
            CompileError(format!("credentials are for calls of {} alone here", names.join(", ")))
        })
    }
}

/// What is behind one method.
pub(crate) enum Backend {
    /// A function of the host's own; `None` for one that does not exist, which callers learn and nobody else.
    Function { function: Option<Arc<dyn Integration>>, is_streaming: bool, timeout: Duration },
    /// A function that somebody made.
    Lambda(Box<LambdaBackend>),
    /// Another server.
    Http(Box<HttpBackend>),
    /// Nothing: the answer is made by mappings.
    Mock(Box<MockBackend>),
}

impl std::fmt::Debug for Backend {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Backend::Function { .. } => "Function",
            Backend::Lambda(_) => "Lambda",
            Backend::Http(_) => "Http",
            Backend::Mock(_) => "Mock",
        })
    }
}

/// An answer without a backend.
#[derive(Debug)]
pub(crate) struct MockBackend {
    bodies: RequestBodies,
    answer: AnswerPlan,
}

impl Backend {
    /// Reads an integration. Stage variables in a function's ARN are filled in here: they belong to the stage.
    ///
    /// # Errors
    /// [`CompileError`], for what API Gateway would refuse when the integration is put.
    pub(crate) fn compile(
        definition: &Definition,
        resource_path: &str,
        variables: &std::collections::BTreeMap<String, String>,
        backends: &Backends,
    ) -> Result<Backend, CompileError> {
        match definition.kind {
            IntegrationType::AwsProxy | IntegrationType::Aws => {
                let arn = function_arn(definition.uri.as_deref().unwrap_or_default(), definition.kind)?;
                let arn =
                    variables.iter().fold(arn.to_owned(), |arn, (name, value)| arn.replace(&format!("${{stageVariables.{name}}}"), value));
                backends.function(definition, arn)
            }
            IntegrationType::Http | IntegrationType::HttpProxy => {
                let way = match (&definition.credentials, definition.kind) {
                    (Some(role_arn), IntegrationType::HttpProxy) => Way::Service(backends.service(definition)?, RoleArn(role_arn.clone())),
                    (Some(_), _) => return Err(CompileError("credentials are for HTTP_PROXY integrations here".to_owned())),
                    (None, _) => Way::Network(backends.servers.clone()),
                };
                Ok(Backend::Http(Box::new(HttpBackend::compile(definition, resource_path, way)?)))
            }
            IntegrationType::Mock => Ok(Backend::Mock(Box::new(MockBackend {
                bodies: RequestBodies::compile(definition)?,
                answer: AnswerPlan::compile(&definition.responses)?,
            }))),
        }
    }
}

/// Whether an integration could be served, with these variables yet unknown.
///
/// # Errors
/// As [`Backend::compile`].
pub(crate) fn check(definition: &Definition, resource_path: &str, backends: &Backends) -> Result<(), CompileError> {
    Backend::compile(definition, resource_path, &Default::default(), backends).map(drop)
}

/// The function's ARN in an integration's: `arn:aws:apigateway:{region}:lambda:path/2015-03-31/functions/{function ARN}/invocations`, and the like for answers
/// that are streamed (`…/response-streaming-invocations`). What is wrong is said in API Gateway's words.
fn function_arn(uri: &str, kind: IntegrationType) -> Result<&str, CompileError> {
    let invalid = || CompileError("Invalid ARN specified in the request".to_owned());
    // An ARN with a service in its account's place.
    let parts: Vec<&str> = uri.splitn(6, ':').collect();
    let ["arn", _, owner, _, service, call] = parts[..] else { return Err(invalid()) };
    if !(owner == "apigateway" && ["path/", "action/"].iter().any(|way| call.starts_with(way))) {
        return Err(CompileError("AWS ARN for integration must contain path or action".to_owned()));
    }
    match (service, kind) {
        ("lambda", _) => {}
        (_, IntegrationType::AwsProxy) => {
            let only = "Integrations of type 'AWS_PROXY' currently only supports Lambda function and Firehose stream invocations.";
            return Err(CompileError(only.to_owned()));
        }
        _ => return Err(CompileError(format!("AWS Service of type {service} not supported"))),
    }
    let (_, function) = call.split_once("/functions/").ok_or_else(invalid)?;
    let arn = function.strip_suffix("/invocations").or_else(|| function.strip_suffix("/response-streaming-invocations"));
    arn.filter(|arn| arn.starts_with("arn:aws:lambda:") || arn.starts_with("${stageVariables.")).ok_or_else(invalid)
}

/// The part of a mock's request that counts.
#[derive(Deserialize)]
struct MockRequest {
    #[serde(rename = "statusCode")]
    status_code: u16,
}

impl MockBackend {
    /// The answer: the request template names a status, and the integration response for it makes the rest.
    pub(crate) fn call(&self, facts: &Facts<'_>) -> Result<Response<Body>, GatewayAnswer> {
        let (_, text) = self.bodies.rendered(facts)?.ok_or(GatewayAnswer::InternalServerError)?;
        let request: MockRequest = serde_json::from_str(&text).map_err(|error| {
            tracing::warn!(request_id = %facts.exchange.request_id, error = &error as &dyn std::error::Error, "a mock's request names no statusCode");
            GatewayAnswer::InternalServerError
        })?;
        let status = ::http::StatusCode::from_u16(request.status_code).map_err(|_| GatewayAnswer::InternalServerError)?;
        self.answer.answer(Some(status.as_str()), None, Bytes::new(), facts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_function_of_an_integration_is_found_or_refused_in_aws_s_words() {
        let check = |kind, uri: &str, expected: Result<&str, &str>| {
            let found = function_arn(uri, kind).map_err(|CompileError(text)| text);
            assert_eq!(found, expected.map_err(str::to_owned), "{uri}");
        };
        let prefix = "arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions";
        let arn = "arn:aws:lambda:us-east-1:000000000000:function:f:live";
        check(IntegrationType::AwsProxy, &format!("{prefix}/{arn}/invocations"), Ok(arn));
        check(IntegrationType::Aws, &format!("{prefix}/${{stageVariables.arn}}/invocations"), Ok("${stageVariables.arn}"));
        let invalid = Err("Invalid ARN specified in the request");
        check(IntegrationType::Aws, "https://bedrock-agentcore.us-east-1.amazonaws.com/runtimes/x/invocations", invalid);
        check(IntegrationType::AwsProxy, "arn:x", invalid);
        check(IntegrationType::AwsProxy, &format!("{prefix}/{arn}"), invalid);
        check(IntegrationType::AwsProxy, "", invalid);
        let no_way = Err("AWS ARN for integration must contain path or action");
        check(IntegrationType::Aws, "arn:aws:apigateway:us-east-1:lambda:function/f", no_way);
        check(IntegrationType::AwsProxy, arn, no_way);
        let agentcore = "arn:aws:apigateway:us-east-1:bedrock-agentcore:path/runtimes/x/invocations";
        check(IntegrationType::Aws, agentcore, Err("AWS Service of type bedrock-agentcore not supported"));
        let only = "Integrations of type 'AWS_PROXY' currently only supports Lambda function and Firehose stream invocations.";
        check(IntegrationType::AwsProxy, agentcore, Err(only));
    }
}
