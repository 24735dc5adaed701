//! Mapping templates, as far as they only put values into a text.
//!
//! API Gateway's templates are Velocity (<https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-mapping-template-reference.html>). References are
//! served; directives (`#if`, `#set`, `#foreach`, …) and other methods are refused when a template is put, so that nothing is rendered wrongly later.

use base64::Engine as _;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json_path::JsonPath;

use super::facts::Facts;
use super::mapping::{json_path, plain};
use crate::context::Variable;

/// A template, read once.
#[derive(Debug, Clone)]
pub struct Template {
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone)]
enum Piece {
    Text(String),
    Reference(Reference),
}

#[derive(Debug, Clone)]
enum Reference {
    /// `$input.body`.
    Body,
    /// `$input.json('$.a')`: a part of the body, as JSON.
    Json(Box<JsonPath>),
    /// `$input.path('$.a')`: a part of the body, as text.
    Part(Box<JsonPath>),
    /// `$input.params('a')`: from path, query or header, in this order.
    Parameter(String),
    /// `$stageVariables.a`.
    StageVariable(String),
    /// `$context.a`.
    Context(Variable),
    /// `$util.…(…)`.
    Changed(Change, Box<Reference>),
}

#[derive(Debug, Clone, Copy)]
enum Change {
    EscapeJavaScript,
    UrlEncode,
    Base64Encode,
}

const CHANGES: [(&str, Change); 3] =
    [("escapeJavaScript", Change::EscapeJavaScript), ("urlEncode", Change::UrlEncode), ("base64Encode", Change::Base64Encode)];

/// A template that this gateway does not serve.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "Unsupported template: {0} (served are $input.body, $input.json, $input.path, $input.params, $context, $stageVariables and \
     $util.escapeJavaScript, urlEncode and base64Encode; no # directives)"
)]
pub struct UnsupportedTemplate(String);

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// [`UnsupportedTemplate`], quoting what is not served.
    pub fn parse(text: &str) -> Result<Template, UnsupportedTemplate> {
        refuse_directives(text)?;
        let (mut pieces, mut literal, mut rest) = (Vec::new(), String::new(), text);
        while let Some(at) = rest.find('$') {
            literal.push_str(&rest[..at]);
            rest = &rest[at..];
            let Some((reference, behind)) = reference(rest)? else {
                literal.push('$');
                rest = &rest[1..];
                continue;
            };
            pieces.push(Piece::Text(std::mem::take(&mut literal)));
            pieces.push(Piece::Reference(reference));
            rest = behind;
        }
        literal.push_str(rest);
        pieces.push(Piece::Text(literal));
        Ok(Template { pieces })
    }

    /// The text for a request. A value that is not there is an empty text.
    pub(crate) fn render(&self, facts: &Facts<'_>) -> String {
        self.pieces.iter().fold(String::new(), |mut text, piece| {
            match piece {
                Piece::Text(literal) => text.push_str(literal),
                Piece::Reference(reference) => text.push_str(&reference.value(facts)),
            }
            text
        })
    }
}

fn refuse_directives(text: &str) -> Result<(), UnsupportedTemplate> {
    for (at, _) in text.match_indices('#') {
        let word = text[at + 1..].trim_start_matches('{');
        let word = &word[..word.find(|letter: char| !letter.is_ascii_alphabetic()).unwrap_or(word.len())];
        if matches!(
            word,
            "set" | "if" | "else" | "elseif" | "end" | "foreach" | "include" | "parse" | "stop" | "break" | "macro" | "evaluate" | "define"
        ) {
            return Err(UnsupportedTemplate(format!("#{word}")));
        }
    }
    Ok(())
}

/// The reference at the beginning of a text, which is a dollar, and what is behind it; `None` when the dollar is only a dollar.
fn reference(text: &str) -> Result<Option<(Reference, &str)>, UnsupportedTemplate> {
    let body = text[1..].strip_prefix('!').unwrap_or(&text[1..]);
    let (body, is_braced) = match body.strip_prefix('{') {
        Some(inside) => (inside, true),
        None => (body, false),
    };
    if !body.starts_with(|letter: char| letter.is_ascii_alphabetic()) {
        return Ok(None);
    }
    let end = body.find(|letter: char| !letter.is_ascii_alphanumeric() && !matches!(letter, '.' | '_' | '-')).unwrap_or(body.len());
    let name = body[..end].trim_end_matches('.');
    let unsupported = || UnsupportedTemplate(text.chars().take(40).collect());
    let (argument, behind) = match body[name.len()..].strip_prefix('(') {
        None => (None, &body[name.len()..]),
        Some(inside) => {
            let close = closing(inside).ok_or_else(unsupported)?;
            (Some(inside[..close].trim()), &inside[close + 1..])
        }
    };
    let found = match (name, argument) {
        ("input.body", None) => Reference::Body,
        ("input.json", Some(path)) => Reference::Json(Box::new(quoted(path).and_then(json_path).ok_or_else(unsupported)?)),
        ("input.path", Some(path)) => Reference::Part(Box::new(quoted(path).and_then(json_path).ok_or_else(unsupported)?)),
        ("input.params", Some(name)) => Reference::Parameter(quoted(name).ok_or_else(unsupported)?.to_owned()),
        (name, None) if name.starts_with("stageVariables.") => Reference::StageVariable(name["stageVariables.".len()..].to_owned()),
        (name, None) if name.starts_with("context.") => {
            Reference::Context(Variable::named(&name["context.".len()..]).ok_or_else(unsupported)?)
        }
        (name, Some(argument)) if name.starts_with("util.") => {
            let change = CHANGES.iter().find(|(known, _)| *known == &name["util.".len()..]).ok_or_else(unsupported)?.1;
            let inside = if argument.starts_with('$') { reference(argument)? } else { None };
            match inside {
                Some((inside, "")) => Reference::Changed(change, Box::new(inside)),
                _ => return Err(unsupported()),
            }
        }
        _ => return Err(unsupported()),
    };
    let behind = if is_braced { behind.strip_prefix('}').ok_or_else(unsupported)? } else { behind };
    Ok(Some((found, behind)))
}

/// Where the bracket closes that was opened before this text; quotes and brackets inside are passed over.
fn closing(text: &str) -> Option<usize> {
    let (mut depth, mut quote) = (0_u32, None);
    for (at, letter) in text.char_indices() {
        match (quote, letter) {
            (Some(open), letter) if open == letter => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(letter),
            (None, '(') => depth += 1,
            (None, ')') if depth == 0 => return Some(at),
            (None, ')') => depth -= 1,
            _ => {}
        }
    }
    None
}

fn quoted(text: &str) -> Option<&str> {
    let inside = text.strip_prefix('\'').and_then(|text| text.strip_suffix('\''));
    inside.or_else(|| text.strip_prefix('"').and_then(|text| text.strip_suffix('"')))
}

impl Reference {
    fn value(&self, facts: &Facts<'_>) -> String {
        match self {
            Reference::Body => facts.body.text().into_owned(),
            Reference::Json(path) => facts.body.part(path).map(ToString::to_string).unwrap_or_default(),
            Reference::Part(path) => facts.body.part(path).map(plain).unwrap_or_default(),
            Reference::Parameter(name) => {
                let found = facts.path_value(name).map(str::to_owned);
                found.or_else(|| facts.query_value(name)).or_else(|| facts.header(name)).unwrap_or_default()
            }
            Reference::StageVariable(name) => facts.stage_variable(name).unwrap_or_default().to_owned(),
            Reference::Context(variable) => facts.context(*variable),
            Reference::Changed(change, inside) => change.apply(&inside.value(facts)),
        }
    }
}

impl Change {
    fn apply(self, text: &str) -> String {
        match self {
            // What stands inside JSON's quotes needs JavaScript's escapes.
            Change::EscapeJavaScript => {
                let quoted = serde_json::Value::from(text).to_string();
                quoted[1..quoted.len() - 1].to_owned()
            }
            Change::UrlEncode => utf8_percent_encode(text, NON_ALPHANUMERIC).to_string(),
            Change::Base64Encode => base64::engine::general_purpose::STANDARD.encode(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::facts::tests::with_facts;
    use super::*;

    fn check(template: &str, expected: &str) {
        let rendered = with_facts(|facts| Template::parse(template).unwrap().render(facts));
        assert_eq!(rendered, expected, "{template}");
    }

    #[test]
    fn references_become_what_they_name() {
        check(r#"{"statusCode": 200}"#, r#"{"statusCode": 200}"#);
        check("$input.body", r#"{"a": {"b": [1, "two"]}, "q": "say \"hi\""}"#);
        check("$input.json('$.a.b') $input.json('$.a.b[1]') $input.path('$.a.b[1]')", r#"[1,"two"] "two" two"#);
        check("$input.params('id')/$input.params('size')/$input.params('x-team')/$input.params('none')", "A 7/2/red/");
        check("$stageVariables.colour, ${stageVariables.colour}s.", "blue, blues.");
        check("$context.httpMethod $context.path", "POST /v1/orders/A%207");
        check("$util.escapeJavaScript($input.path('$.q')) $util.urlEncode($input.params('id'))", r#"say \"hi\" A%207"#);
        check("$util.base64Encode($stageVariables.colour)", "Ymx1ZQ==");
        check("5$ and $1 and #1 and $", "5$ and $1 and #1 and $");
    }

    #[test]
    fn what_is_not_served_is_refused_by_name() {
        for (template, named) in [
            ("#set($x = 1)", "#set"),
            ("#if(true) a #end", "#if"),
            ("#{foreach}", "#foreach"),
            ("$input.params().header", "$input.params()"),
            ("$context.authorizer.claims", "$context.authorizer"),
            ("$unknown", "$unknown"),
            ("$util.parseJson($input.body)", "$util.parseJson"),
            ("$input.json('$.a'", "$input.json"),
            ("${context.path", "${context.path"),
            ("$util.urlEncode(é)", "$util.urlEncode"),
            ("$util.urlEncode()", "$util.urlEncode"),
        ] {
            let error = Template::parse(template).expect_err(template).to_string();
            assert!(error.contains(named), "{template}: {error}");
        }
    }
}
