//! The ways to name a function: its name, a part of its ARN or the whole, each with or without a version or alias behind it
//! (<https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html#API_Invoke_RequestSyntax>).

use crate::error::FunctionError;

/// The longest name, in characters.
const NAME_CHARACTERS_MAX: usize = 64;

/// A function's name, and what of it is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionName {
    /// The name alone.
    pub name: String,
    /// A version or an alias.
    pub qualifier: Option<String>,
}

impl FunctionName {
    /// Reads any of the forms; `qualifier` is what is given beside it.
    ///
    /// # Errors
    /// [`FunctionError::Invalid`] for what is no name, and for two qualifiers that differ.
    pub fn parse(text: &str, qualifier: Option<&str>) -> Result<FunctionName, FunctionError> {
        let parts: Vec<&str> = text.split(':').collect();
        let (name, own) = match parts.as_slice() {
            [name] => (*name, None),
            [name, qualifier] => (*name, Some(*qualifier)),
            [account, "function", name] if is_account(account) => (*name, None),
            [account, "function", name, qualifier] if is_account(account) => (*name, Some(*qualifier)),
            ["arn", _, "lambda", _, account, "function", name] if is_account(account) => (*name, None),
            ["arn", _, "lambda", _, account, "function", name, qualifier] if is_account(account) => (*name, Some(*qualifier)),
            _ => return Err(no_name(text)),
        };
        let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if name.is_empty() || name.len() > NAME_CHARACTERS_MAX || !name.bytes().all(is_fit) {
            return Err(no_name(text));
        }
        let qualifier = match (own, qualifier) {
            (Some(own), Some(given)) if own != given => {
                let message = "The derived qualifier from the function name does not match the specified qualifier.";
                return Err(FunctionError::Invalid(message.to_owned()));
            }
            (own, given) => own.or(given),
        };
        if let Some(qualifier) = qualifier {
            check_qualifier(qualifier)?;
        }
        Ok(FunctionName { name: name.to_owned(), qualifier: qualifier.map(str::to_owned) })
    }
}

/// A version's or an alias's name.
fn check_qualifier(qualifier: &str) -> Result<(), FunctionError> {
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_' || byte == b'$';
    if (1..=128).contains(&qualifier.len()) && qualifier.bytes().all(is_fit) {
        return Ok(());
    }
    Err(FunctionError::Invalid(format!(
        "1 validation error detected: Value '{qualifier}' at 'qualifier' failed to satisfy constraint: Member must satisfy regular expression pattern: \
         (|[a-zA-Z0-9$_-]+)"
    )))
}

fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn no_name(text: &str) -> FunctionError {
    FunctionError::Invalid(format!(
        "1 validation error detected: Value '{text}' at 'functionName' failed to satisfy constraint: Member must satisfy regular expression pattern: \
         (arn:(aws[a-zA-Z-]*)?:lambda:)?([a-z]{{2}}((-gov)|(-iso([a-z]?)))?-[a-z]+-\\d{{1}}:)?(\\d{{12}}:)?(function:)?([a-zA-Z0-9-_]+)(:(\\$LATEST|[a-zA-Z0-9-_]+))?"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, qualifier: Option<&str>, expected: Option<(&str, Option<&str>)>) {
        let found = FunctionName::parse(text, qualifier).ok();
        let found = found.as_ref().map(|found| (found.name.as_str(), found.qualifier.as_deref()));
        assert_eq!(found, expected, "{text} {qualifier:?}");
    }

    #[test]
    fn every_form_is_read() {
        check("proxy", None, Some(("proxy", None)));
        check("proxy:live", None, Some(("proxy", Some("live"))));
        check("proxy", Some("$LATEST"), Some(("proxy", Some("$LATEST"))));
        check("123456789012:function:proxy", None, Some(("proxy", None)));
        check("arn:aws:lambda:us-east-1:123456789012:function:proxy", Some("2"), Some(("proxy", Some("2"))));
        check("arn:aws:lambda:us-east-1:123456789012:function:proxy:2", Some("2"), Some(("proxy", Some("2"))));
        check("arn:aws:lambda:us-east-1:123456789012:function:proxy:2", Some("3"), None);
        for wrong in ["", "a b", "arn:aws:s3:::x", "proxy:", "1:function:x", &"a".repeat(65)] {
            check(wrong, None, None);
        }
    }
}
