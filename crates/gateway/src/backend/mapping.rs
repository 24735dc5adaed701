//! Parameter mappings: where a header, a path segment or a query value comes from
//! (<https://docs.aws.amazon.com/apigateway/latest/developerguide/request-response-data-mappings.html>).

use serde_json::Value;
use serde_json_path::JsonPath;

use super::facts::Facts;
use crate::context::Variable;

/// A source of a value, read once.
#[derive(Debug, Clone)]
pub enum Source {
    /// A text between single quotes.
    Text(String),
    /// `method.request.path.name`.
    Path(String),
    /// `method.request.querystring.name`.
    Query(String),
    /// `method.request.header.name`.
    Header(String),
    /// `integration.response.header.name`.
    AnswerHeader(String),
    /// `method.request.body` or `integration.response.body`.
    Body,
    /// The same with a JSON path behind it.
    BodyPart(Box<JsonPath>),
    /// `stageVariables.name`.
    StageVariable(String),
    /// `context.name`.
    Context(ContextSource),
}

/// A `$context` variable as a source.
#[derive(Debug, Clone, Copy)]
pub struct ContextSource(pub(crate) Variable);

/// A mapping that names no source; the text is API Gateway's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Invalid mapping expression specified: {0}")]
pub struct InvalidMapping(pub String);

/// Makes a source of a name.
type Named = fn(String) -> Source;

impl Source {
    /// Reads a mapping's right side.
    ///
    /// # Errors
    /// [`InvalidMapping`].
    pub fn parse(text: &str) -> Result<Source, InvalidMapping> {
        let invalid = || InvalidMapping(text.to_owned());
        if let Some(quoted) = text.strip_prefix('\'') {
            return Ok(Source::Text(quoted.strip_suffix('\'').ok_or_else(invalid)?.to_owned()));
        }
        let named = |prefix: &str| text.strip_prefix(prefix).filter(|name| !name.is_empty()).map(str::to_owned);
        let prefixes: [(&str, Named); 8] = [
            ("method.request.path.", Source::Path),
            ("method.request.querystring.", Source::Query),
            ("method.request.multivaluequerystring.", Source::Query),
            ("method.request.header.", Source::Header),
            ("method.request.multivalueheader.", Source::Header),
            ("integration.response.header.", Source::AnswerHeader),
            ("integration.response.multivalueheader.", Source::AnswerHeader),
            ("stageVariables.", Source::StageVariable),
        ];
        if let Some(source) = prefixes.into_iter().find_map(|(prefix, source)| named(prefix).map(source)) {
            return Ok(source);
        }
        if let Some(name) = named("context.") {
            return Variable::named(&name).map(|variable| Source::Context(ContextSource(variable))).ok_or_else(invalid);
        }
        let body = ["method.request.body", "integration.response.body"].into_iter().find_map(|prefix| text.strip_prefix(prefix));
        match body {
            Some("") => Ok(Source::Body),
            Some(part) => Ok(Source::BodyPart(Box::new(json_path(part.strip_prefix('.').unwrap_or(part)).ok_or_else(invalid)?))),
            None => Err(invalid()),
        }
    }

    /// The value for a request; `None` where it has none.
    pub(crate) fn value(&self, facts: &Facts<'_>) -> Option<String> {
        match self {
            Source::Text(text) => Some(text.clone()),
            Source::Path(name) => facts.path_value(name).map(str::to_owned),
            Source::Query(name) => facts.query_value(name),
            Source::Header(name) => facts.header(name),
            Source::AnswerHeader(name) => facts.answer_header(name),
            Source::Body => Some(facts.body.text().into_owned()),
            Source::BodyPart(path) => facts.body.part(path).map(plain),
            Source::StageVariable(name) => facts.stage_variable(name).map(str::to_owned),
            Source::Context(ContextSource(variable)) => Some(facts.context(*variable)).filter(|value| !value.is_empty()),
        }
    }
}

/// A path into JSON: `$.a.b`, or without its beginning, `a.b`.
pub(crate) fn json_path(text: &str) -> Option<JsonPath> {
    let text = if text.starts_with('$') { text.to_owned() } else { format!("$.{text}") };
    JsonPath::parse(&text).ok()
}

/// A text as it is, anything else as JSON.
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::facts::tests::with_facts;
    use super::*;

    fn check(mapping: &str, expected: Result<Option<&str>, &str>) {
        let found = with_facts(|facts| Source::parse(mapping).map(|source| source.value(facts)).map_err(|error| error.to_string()));
        assert_eq!(found, expected.map(|value| value.map(str::to_owned)).map_err(str::to_owned), "{mapping}");
    }

    #[test]
    fn a_mapping_takes_what_it_names() {
        check("'a text'", Ok(Some("a text")));
        check("''", Ok(Some("")));
        check("method.request.path.id", Ok(Some("A 7")));
        check("method.request.querystring.size", Ok(Some("2")));
        check("method.request.header.X-Team", Ok(Some("red")));
        check("method.request.header.none", Ok(None));
        check("method.request.body.a.b[0]", Ok(Some("1")));
        check("method.request.body.$.a.b[1]", Ok(Some("two")));
        check("stageVariables.colour", Ok(Some("blue")));
        check("context.identity.sourceIp", Ok(Some("192.0.2.7")));
        check("integration.response.header.x", Ok(None));
    }

    #[test]
    fn what_names_nothing_is_refused() {
        for mapping in ["", "'open", "method.request.path.", "context.nothing", "cookies.a", "method.request.bodyguard[", "a text"] {
            check(mapping, Err(&format!("Invalid mapping expression specified: {mapping}")));
        }
    }
}
