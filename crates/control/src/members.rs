//! The members of a request's document, read by what they must be, with CloudWatch's sentences for those that are not.

use std::collections::BTreeMap;

use frontdesk_aws::ServiceError;
use frontdesk_aws::document::Document;
use http::StatusCode;

use crate::operation::page_at;

/// A structure of a request, and where it stands in it.
#[derive(Debug, Clone)]
pub(crate) struct Members<'a> {
    document: &'a Document,
    /// Such as `MetricData.member.1.`, for errors.
    place: String,
}

/// A value that breaks a rule.
pub(crate) fn invalid_value(message: impl Into<String>) -> ServiceError {
    ServiceError::new(StatusCode::BAD_REQUEST, "InvalidParameterValueException", message)
}

/// Values that do not go together.
pub(crate) fn invalid_combination(message: impl Into<String>) -> ServiceError {
    ServiceError::new(StatusCode::BAD_REQUEST, "InvalidParameterCombinationException", message)
}

/// A value that must be there and is not.
pub(crate) fn missing(name: &str) -> ServiceError {
    ServiceError::new(StatusCode::BAD_REQUEST, "MissingRequiredParameterException", format!("The parameter {name} is required."))
}

impl<'a> Members<'a> {
    pub(crate) fn of(document: &'a Document) -> Members<'a> {
        Members { document, place: String::new() }
    }

    /// A member's name with its place, as errors name it.
    pub(crate) fn place_of(&self, name: &str) -> String {
        format!("{}{name}", self.place)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.document.member(name).is_some()
    }

    fn read<T>(&self, name: &str, what: &str, read: impl Fn(&'a Document) -> Option<T>) -> Result<Option<T>, ServiceError> {
        let Some(value) = self.document.member(name) else { return Ok(None) };
        let place = self.place_of(name);
        read(value).map(Some).ok_or_else(|| invalid_value(format!("The parameter {place} must be {what}.")))
    }

    pub(crate) fn text(&self, name: &str) -> Result<Option<&'a str>, ServiceError> {
        self.read(name, "a string", Document::as_text)
    }

    /// A text that must be there, and not be empty.
    pub(crate) fn required(&self, name: &str) -> Result<&'a str, ServiceError> {
        self.text(name)?.filter(|text| !text.is_empty()).ok_or_else(|| missing(&self.place_of(name)))
    }

    pub(crate) fn number(&self, name: &str) -> Result<Option<f64>, ServiceError> {
        match self.read(name, "a number", Document::as_number)? {
            Some(number) if !number.is_finite() => {
                let written = if number.is_nan() { "NaN" } else { "Infinity" };
                Err(invalid_value(format!("The value {written} for parameter {} is invalid.", self.place_of(name))))
            }
            number => Ok(number),
        }
    }

    pub(crate) fn integer(&self, name: &str) -> Result<Option<i64>, ServiceError> {
        self.read(name, "a whole number", Document::as_integer)
    }

    pub(crate) fn truth(&self, name: &str) -> Result<Option<bool>, ServiceError> {
        self.read(name, "true or false", Document::as_bool)
    }

    /// In Unix milliseconds.
    pub(crate) fn moment_ms(&self, name: &str) -> Result<Option<i64>, ServiceError> {
        self.read(name, "a timestamp", Document::as_moment_ms)
    }

    pub(crate) fn texts(&self, name: &str) -> Result<Vec<String>, ServiceError> {
        let read = |value: &'a Document| value.as_list()?.iter().map(|item| item.as_text().map(str::to_owned)).collect();
        Ok(self.read(name, "a list of strings", read)?.unwrap_or_default())
    }

    pub(crate) fn numbers(&self, name: &str) -> Result<Vec<f64>, ServiceError> {
        let read = |value: &'a Document| value.as_list()?.iter().map(Document::as_number).collect();
        Ok(self.read(name, "a list of numbers", read)?.unwrap_or_default())
    }

    /// A list of structures.
    pub(crate) fn list(&self, name: &str) -> Result<Vec<Members<'a>>, ServiceError> {
        let items = self.read(name, "a list", Document::as_list)?.unwrap_or_default();
        let place = |number: usize| format!("{}.member.{number}.", self.place_of(name));
        Ok((1..).zip(items).map(|(number, document)| Members { document, place: place(number) }).collect())
    }

    pub(crate) fn structure(&self, name: &str) -> Option<Members<'a>> {
        let place = format!("{}.", self.place_of(name));
        self.document.member(name).map(|document| Members { document, place })
    }

    /// A list of pairs, such as dimensions (`Name`, `Value`) and tags (`Key`, `Value`).
    pub(crate) fn pairs(&self, name: &str, key: &str) -> Result<BTreeMap<String, String>, ServiceError> {
        let mut pairs = BTreeMap::new();
        for pair in self.list(name)? {
            let (key, value) = (pair.required(key)?, pair.text("Value")?.unwrap_or_default());
            if pairs.insert(key.to_owned(), value.to_owned()).is_some() {
                return Err(invalid_value(format!("The parameter {} names {key} more than once.", self.place_of(name))));
            }
        }
        Ok(pairs)
    }

    /// The first of these members that is there: what is not served must not be passed over in silence.
    pub(crate) fn refuse(&self, unserved: &[&str]) -> Result<(), ServiceError> {
        match unserved.iter().find(|name| self.has(name)) {
            Some(name) => Err(ServiceError::validation(format!("{} is not served here: leave it out", self.place_of(name)))),
            None => Ok(()),
        }
    }
}

/// The page of a list that a request asks for: the items, and the token of the next page. A token is the number of the first item, which is the service's to
/// change.
///
/// # Errors
/// InvalidNextToken.
pub(crate) fn page<T>(items: Vec<T>, token: Option<&str>, items_max: usize) -> Result<(Vec<T>, Option<String>), ServiceError> {
    let number = |token: &str| {
        let found = token.parse::<usize>().ok().filter(|first| *first <= items.len());
        found.ok_or_else(|| ServiceError::new(StatusCode::BAD_REQUEST, "InvalidNextToken", "The next token specified is invalid."))
    };
    let begin = token.map(number).transpose()?.unwrap_or(0);
    Ok(page_at(items, begin, items_max))
}
