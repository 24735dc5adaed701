//! What an API says instead of the gateway's own answers (gateway responses;
//! <https://docs.aws.amazon.com/apigateway/latest/developerguide/supported-gateway-response-types.html>).

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use frontdesk_store::GatewayResponse;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};

use super::CompileError;
use super::answer::{compile_headers, insert_mapped};
use super::body::compile_templates;
use super::facts::Facts;
use super::mapping::Source;
use super::template::Template;
use crate::answer::GatewayAnswer;
use crate::integration::Body;

/// What an API says instead of the gateway's own answers, read once.
#[derive(Debug, Default)]
pub(crate) struct OwnAnswers {
    by_type: HashMap<String, OwnAnswer>,
}

#[derive(Debug)]
struct OwnAnswer {
    status: Option<StatusCode>,
    headers: Vec<(HeaderName, Source)>,
    templates: Vec<(String, Template)>,
}

impl OwnAnswers {
    /// Reads an API's gateway responses.
    ///
    /// # Errors
    /// [`CompileError`].
    pub(crate) fn compile(definitions: &BTreeMap<String, GatewayResponse>) -> Result<OwnAnswers, CompileError> {
        let compile = |(response_type, definition): (&String, &GatewayResponse)| {
            let status = definition.status_code.map(StatusCode::from_u16).transpose();
            let own = OwnAnswer {
                status: status.map_err(|error| CompileError(error.to_string()))?,
                headers: compile_headers(&definition.response_parameters, "gatewayresponse.header.")?,
                templates: compile_templates(&definition.response_templates)?,
            };
            Ok((response_type.clone(), own))
        };
        Ok(OwnAnswers { by_type: definitions.iter().map(compile).collect::<Result<_, _>>()? })
    }

    /// Whether the API leaves all answers to the gateway.
    pub(crate) fn is_empty(&self) -> bool {
        self.by_type.is_empty()
    }

    /// Changes one of the gateway's own answers as the API says: by its type, else by `DEFAULT_4XX` or `DEFAULT_5XX`.
    pub(crate) fn apply(&self, answer: GatewayAnswer, response: &mut Response<Body>, facts: &Facts<'_>) {
        let default = if answer.status().is_client_error() { "DEFAULT_4XX" } else { "DEFAULT_5XX" };
        let Some(own) = self.by_type.get(answer.response_type()).or_else(|| self.by_type.get(default)) else { return };
        if let Some(status) = own.status {
            *response.status_mut() = status;
        }
        let template = own.templates.iter().find(|(media_type, _)| media_type == "application/json").or(own.templates.first());
        if let Some((media_type, template)) = template {
            let text = Bytes::from(template.render(facts));
            *response.body_mut() = Full::new(text).map_err(|never| match never {}).boxed_unsync();
            if let Ok(media_type) = HeaderValue::from_str(media_type) {
                response.headers_mut().insert(header::CONTENT_TYPE, media_type);
            }
        }
        insert_mapped(response.headers_mut(), &own.headers, facts);
    }
}
