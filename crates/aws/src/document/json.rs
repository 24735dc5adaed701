//! Documents as JSON, in AWS's protocols JSON 1.0 and 1.1 (<https://smithy.io/2.0/aws/protocols/aws-json-1_0-protocol.html>): a moment is a number of seconds.

use serde_json::{Map, Value};

use super::{Document, DocumentError};

/// Reads a document. An empty body stands for one without members.
///
/// # Errors
/// What is not JSON; serde_json bounds its depth.
pub fn from_json(bytes: &[u8]) -> Result<Document, DocumentError> {
    if bytes.is_empty() {
        return Ok(Document::Members(Vec::new()));
    }
    let value = serde_json::from_slice(bytes).map_err(|error| DocumentError(format!("the body is not JSON: {error}")))?;
    Ok(document_of(value))
}

fn document_of(value: Value) -> Document {
    match value {
        Value::Null => Document::Null,
        Value::Bool(truth) => Document::Bool(truth),
        Value::Number(number) => match number.as_i64() {
            Some(integer) => Document::Integer(integer),
            None => Document::Number(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => Document::Text(text),
        Value::Array(items) => Document::List(items.into_iter().map(document_of).collect()),
        Value::Object(members) => Document::Members(members.into_iter().map(|(name, value)| (name, document_of(value))).collect()),
    }
}

/// Writes a document.
#[must_use]
pub fn to_json(document: &Document) -> Value {
    match document {
        Document::Null => Value::Null,
        Document::Bool(truth) => Value::Bool(*truth),
        Document::Integer(integer) => Value::from(*integer),
        Document::Number(number) => Value::from(*number),
        Document::Text(text) => Value::from(text.as_str()),
        #[expect(clippy::cast_precision_loss, reason = "milliseconds of some 280,000 years are exact")]
        Document::Moment(ms) => Value::from(*ms as f64 / 1000.0),
        Document::List(items) => Value::Array(items.iter().map(to_json).collect()),
        Document::Members(members) | Document::Map(members) => {
            let there = members.iter().filter(|(_, value)| *value != Document::Null);
            Value::Object(there.map(|(name, value)| (name.clone(), to_json(value))).collect::<Map<_, _>>())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_survives_the_wire() {
        let text = r#"{"Name":"a","Count":7,"Value":2.5,"Is":true,"Items":[1,{"B":"c"}]}"#;
        assert_eq!(to_json(&from_json(text.as_bytes()).unwrap()).to_string(), text);
        let moment = Document::members([("At", Document::Moment(1_769_850_000_250)), ("No", Document::Null)]);
        assert_eq!(to_json(&moment).to_string(), r#"{"At":1769850000.25}"#);
        assert!(from_json(b"{").is_err());
    }
}
