//! Answers made by mappings: which integration response serves, and what it makes of a backend's answer.

use std::collections::BTreeMap;

use bytes::Bytes;
use frontdesk_store::IntegrationResponse;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use regex::Regex;

use super::CompileError;
use super::body::{compile_templates, essence};
use super::facts::{Facts, MappedBody};
use super::mapping::Source;
use super::template::Template;
use crate::answer::GatewayAnswer;
use crate::integration::Body;

/// What begins the name of a mapped header.
const HEADER_PREFIX: &str = "method.response.header.";

/// The integration responses of a method, read once.
#[derive(Debug)]
pub(crate) struct AnswerPlan {
    /// In the order of their statuses; the first that fits serves.
    selected: Vec<(Regex, Rule)>,
    default: Option<Rule>,
}

#[derive(Debug)]
struct Rule {
    status: StatusCode,
    headers: Vec<(HeaderName, Source)>,
    templates: Vec<(String, Template)>,
}

impl AnswerPlan {
    pub(crate) fn compile(responses: &BTreeMap<String, IntegrationResponse>) -> Result<AnswerPlan, CompileError> {
        let mut plan = AnswerPlan { selected: Vec::new(), default: None };
        for (status, response) in responses {
            let rule = Rule {
                status: status.parse().map_err(|_| CompileError(format!("{status} is no status")))?,
                headers: compile_headers(&response.response_parameters, HEADER_PREFIX)?,
                templates: compile_templates(&response.response_templates)?,
            };
            match response.selection_pattern.as_deref().filter(|pattern| !pattern.is_empty()) {
                None => plan.default = Some(rule),
                Some(pattern) => {
                    // API Gateway's patterns are for the whole text.
                    let whole = Regex::new(&format!("^(?s:{pattern})$"));
                    plan.selected.push((whole.map_err(|error| CompileError(format!("the selection pattern {pattern}: {error}")))?, rule));
                }
            }
        }
        Ok(plan)
    }

    /// The method's answer for a backend's. `told` is what selection patterns are for: a server's status, a function's error message; without it the response without a pattern serves.
    pub(crate) fn answer(
        &self,
        told: Option<&str>,
        headers: Option<&HeaderMap>,
        body: Bytes,
        facts: &Facts<'_>,
    ) -> Result<Response<Body>, GatewayAnswer> {
        let selected = told.and_then(|told| self.selected.iter().find(|(pattern, _)| pattern.is_match(told))).map(|(_, rule)| rule);
        let rule = selected.or(self.default.as_ref()).ok_or_else(|| {
            tracing::warn!(request_id = %facts.exchange.request_id, told, "no integration response is for this answer");
            GatewayAnswer::InternalServerError
        })?;
        let facts = Facts { body: MappedBody::new(&body), answer_headers: headers, path_parameters: facts.path_parameters, ..*facts };
        let (media_type, text) = rule.body(headers, &facts);
        let mut response = Response::new(());
        *response.status_mut() = rule.status;
        response.headers_mut().insert(header::CONTENT_TYPE, media_type);
        insert_mapped(response.headers_mut(), &rule.headers, &facts);
        let body = text.map_or_else(|| body.clone(), Bytes::from);
        Ok(response.map(|()| Full::new(body).map_err(|never| match never {}).boxed_unsync()))
    }
}

impl Rule {
    /// The media type and the template's text; `None` where the body passes as it is.
    fn body(&self, headers: Option<&HeaderMap>, facts: &Facts<'_>) -> (HeaderValue, Option<String>) {
        let json = || HeaderValue::from_static("application/json");
        let given = headers.and_then(essence);
        let of = |wanted: &str| self.templates.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
        let chosen = given.as_deref().and_then(of).or_else(|| of("application/json")).or(self.templates.first());
        match chosen {
            Some((media_type, template)) => (HeaderValue::from_str(media_type).unwrap_or_else(|_| json()), Some(template.render(facts))),
            None => (headers.and_then(|headers| headers.get(header::CONTENT_TYPE)).cloned().unwrap_or_else(json), None),
        }
    }
}

/// Mapped headers, `{prefix}{Name}` to a source, read once.
pub(crate) fn compile_headers(parameters: &BTreeMap<String, String>, prefix: &str) -> Result<Vec<(HeaderName, Source)>, CompileError> {
    let compile = |(name, source): (&String, &String)| {
        let invalid = || CompileError(format!("Invalid mapping expression parameter specified: {name}"));
        let header = name.strip_prefix(prefix).ok_or_else(invalid)?;
        let header = HeaderName::try_from(header).map_err(|_| invalid())?;
        Ok((header, Source::parse(source).map_err(|error| CompileError(error.to_string()))?))
    };
    parameters.iter().map(compile).collect()
}

/// Sets the mapped headers that have a value.
pub(crate) fn insert_mapped(headers: &mut HeaderMap, mapped: &[(HeaderName, Source)], facts: &Facts<'_>) {
    for (name, source) in mapped {
        if let Some(value) = source.value(facts).and_then(|value| HeaderValue::from_str(&value).ok()) {
            headers.insert(name, value);
        }
    }
}
