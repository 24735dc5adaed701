//! The access log's format as API Gateway takes it, and the pattern that finds a throttled request in it.

use serde_json::Value;

/// `$context` variables that the gateway of a host has and API Gateway has not. They stand as `-` there, so that a line has the same fields on both.
const OWN_VARIABLES: [&str; 2] = ["cache", "traceparent"];

/// A format that does not serve on AWS.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// API Gateway refuses a format without a request id.
    #[error(
        "access_log.format has neither $context.requestId nor $context.extendedRequestId; API Gateway takes no format without one of them"
    )]
    NoRequestId,
    /// The alarm on throttling reads the log.
    #[error(
        "access_log.format shows no status that CloudWatch could find: use `json`, `clf`, or a JSON object with a field whose value is $context.status; \
         the alarm on throttled requests reads it"
    )]
    NoStatus,
    /// API Gateway takes one line.
    #[error("access_log.format has more than one line; API Gateway takes a format of one line")]
    Lines,
}

/// A format, and the CloudWatch filter pattern for the lines with status 429.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessLog {
    /// With API Gateway's variables only.
    pub format: String,
    /// Finds throttled requests; no metric of API Gateway's counts 429s alone.
    pub throttled_pattern: String,
}

impl AccessLog {
    /// From a host's format, as text with `$context` variables.
    ///
    /// # Errors
    /// [`FormatError`].
    pub fn new(format: &str) -> Result<AccessLog, FormatError> {
        if format.contains(['\n', '\r']) {
            return Err(FormatError::Lines);
        }
        let mut text = format.to_owned();
        for variable in OWN_VARIABLES {
            text = text.replace(&format!("$context.{variable}"), "-");
        }
        if !text.contains("$context.requestId") && !text.contains("$context.extendedRequestId") {
            return Err(FormatError::NoRequestId);
        }
        let throttled_pattern = json_pattern(&text).or_else(|| field_pattern(&text)).ok_or(FormatError::NoStatus)?;
        Ok(AccessLog { format: text, throttled_pattern })
    }
}

/// For a JSON object. API Gateway writes numbers in quotes where the format has the quotes.
fn json_pattern(format: &str) -> Option<String> {
    let object: Value = serde_json::from_str(format).ok()?;
    let (field, _) = object.as_object()?.iter().find(|(_, value)| *value == "$context.status")?;
    Some(format!("{{ $.{field} = \"429\" }}"))
}

/// For fields separated by spaces, as in the Common Log Format: what stands in brackets or quotes is one field.
fn field_pattern(format: &str) -> Option<String> {
    let (mut fields, mut depth, mut current) = (Vec::new(), None, String::new());
    for letter in format.chars() {
        match (depth, letter) {
            (None, '[') => depth = Some(']'),
            (None, '"') => depth = Some('"'),
            (Some(end), letter) if letter == end => depth = None,
            (None, ' ') => fields.push(std::mem::take(&mut current)),
            (_, letter) => current.push(letter),
        }
    }
    fields.push(current);
    let at = fields.iter().position(|field| field == "$context.status")?;
    let names: Vec<_> = (0..fields.len()).map(|number| if number == at { "status=429".to_owned() } else { format!("f{number}") }).collect();
    Some(format!("[{}]", names.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(format: &str, expected: Result<&str, FormatError>) {
        assert_eq!(AccessLog::new(format).map(|log| log.throttled_pattern).as_deref(), expected.as_ref().map(|text| *text), "{format}");
    }

    #[test]
    fn a_throttled_request_is_found_in_each_format() {
        check(r#"{"id":"$context.requestId","state":"$context.status"}"#, Ok(r#"{ $.state = "429" }"#));
        check(
            r#"$context.identity.sourceIp [$context.requestTime] "$context.httpMethod $context.path" $context.status $context.requestId"#,
            Ok("[f0, f1, f2, status=429, f4]"),
        );
        check("$context.requestId status:$context.status", Err(FormatError::NoStatus));
        check("$context.status", Err(FormatError::NoRequestId));
        check("$context.requestId\n$context.status", Err(FormatError::Lines));
    }

    #[test]
    fn a_variable_that_api_gateway_lacks_is_a_dash() {
        let log = AccessLog::new(r#"{"id":"$context.requestId","cache":"$context.cache","s":"$context.status"}"#).unwrap();
        assert_eq!(log.format, r#"{"id":"$context.requestId","cache":"-","s":"$context.status"}"#);
    }
}
