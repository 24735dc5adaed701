//! Bodies of requests to a backend, made by templates chosen by media type.

use bytes::Bytes;
use frontdesk_store::Integration;
use http::{HeaderMap, HeaderValue, header};

use super::CompileError;
use super::facts::Facts;
use super::template::Template;
use crate::answer::GatewayAnswer;

/// What API Gateway takes a body for that does not say what it is.
const DEFAULT_MEDIA_TYPE: &str = "application/json";

/// What happens to a body that no template is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Passthrough {
    WhenNoMatch,
    WhenNoTemplates,
    Never,
}

/// The templates of an integration's requests.
#[derive(Debug)]
pub(crate) struct RequestBodies {
    templates: Vec<(String, Template)>,
    passthrough: Passthrough,
}

impl RequestBodies {
    pub(crate) fn compile(integration: &Integration) -> Result<RequestBodies, CompileError> {
        let passthrough = match integration.passthrough_behavior.as_str() {
            "WHEN_NO_MATCH" => Passthrough::WhenNoMatch,
            "WHEN_NO_TEMPLATES" => Passthrough::WhenNoTemplates,
            "NEVER" => Passthrough::Never,
            other => return Err(CompileError(format!("{other} is no passthrough behavior"))),
        };
        Ok(RequestBodies { templates: compile_templates(&integration.request_templates)?, passthrough })
    }

    /// The text that the template for a request's media type makes; `None` where the body passes as it is.
    pub(crate) fn rendered(&self, facts: &Facts<'_>) -> Result<Option<(String, String)>, GatewayAnswer> {
        let media_type = essence(facts.headers).unwrap_or_else(|| DEFAULT_MEDIA_TYPE.to_owned());
        let of = |wanted: &str| self.templates.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
        match (of(&media_type).or_else(|| of("$default")), self.passthrough) {
            (Some((_, template)), _) => Ok(Some((media_type, template.render(facts)))),
            (None, Passthrough::WhenNoMatch) => Ok(None),
            (None, Passthrough::WhenNoTemplates) if self.templates.is_empty() => Ok(None),
            (None, _) => Err(GatewayAnswer::UnsupportedMediaType),
        }
    }

    /// The body for the backend, with its media type.
    pub(crate) fn body(&self, body: Bytes, facts: &Facts<'_>) -> Result<(Option<HeaderValue>, Bytes), GatewayAnswer> {
        Ok(match self.rendered(facts)? {
            Some((media_type, text)) => (HeaderValue::from_str(&media_type).ok(), text.into()),
            None => (facts.headers.get(header::CONTENT_TYPE).cloned().or(Some(HeaderValue::from_static(DEFAULT_MEDIA_TYPE))), body),
        })
    }
}

/// Templates by media type, read once.
pub(crate) fn compile_templates(templates: &std::collections::BTreeMap<String, String>) -> Result<Vec<(String, Template)>, CompileError> {
    let compile = |(media_type, text): (&String, &String)| match Template::parse(text) {
        Ok(template) => Ok((media_type.clone(), template)),
        Err(error) => Err(CompileError(error.to_string())),
    };
    templates.iter().map(compile).collect()
}

/// The media type of a body, without its parameters.
pub(crate) fn essence(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    Some(text.split(';').next().unwrap_or(text).trim().to_ascii_lowercase())
}
