//! Keys from a file in API Gateway's form: CSV with the columns `Name` and `Key`, and if wanted `Description`, `Enabled` and `UsagePlanIds`, in any order
//! and any case; other columns are passed over
//! (<https://docs.aws.amazon.com/apigateway/latest/developerguide/api-key-file-format.html>).

use frontdesk_store::{ApiKeyChange, ApiKeyId, NewApiKey, SecretText, UsagePlanId};

use super::plans::Plans;
use super::{KeyService, KeyServiceError, NAME_CHARS_MAX};
use crate::key::{self, KeyValueError};

/// A mistake in the file. Nothing of it is imported then.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// It is no CSV.
    #[error("the file is not CSV: {0}")]
    Csv(#[from] csv::Error),
    /// A column is missing.
    #[error(
        "the file's first line names no column `{0}`: it needs `Name` and `Key`, and may have `Description`, `Enabled` and `UsagePlanIds`"
    )]
    NoColumn(&'static str),
    /// It holds no keys.
    #[error("the file holds no keys")]
    Empty,
    /// A value cannot be a key.
    #[error("line {line}: {reason}")]
    Value {
        /// The line, from 1.
        line: u64,
        /// Why not.
        reason: KeyValueError,
    },
    /// A field does not fit.
    #[error("line {line}: {reason}")]
    Field {
        /// The line, from 1.
        line: u64,
        /// Why not.
        reason: String,
    },
}

/// A line of the file.
#[derive(Debug)]
pub(crate) struct Row {
    line: u64,
    pub(crate) value: SecretText,
    pub(crate) about: ApiKeyChange,
    pub(crate) plans: Vec<String>,
}

impl KeyService {
    /// Imports keys, all of them or none. A value that a key has already changes that key. Keys that name no plan join `plan`, if one is given. Returns the
    /// ids in the file's order.
    ///
    /// # Errors
    /// See [`KeyServiceError`]; mistakes in the file name their line.
    pub fn import(&self, file: &[u8], plan: Option<&str>, now_unix: i64) -> Result<Vec<ApiKeyId>, KeyServiceError> {
        let rows = read(file)?;
        let plans = self.all_plans()?;
        let default = plan.map(|plan| plans.find(plan)).transpose()?.map(|plan| plan.id);
        let mut keys = Vec::with_capacity(rows.len());
        for row in &rows {
            let mut plan_ids = row.plans.iter().map(|plan| plan_named(&plans, plan, row.line)).collect::<Result<Vec<_>, _>>()?;
            if plan_ids.is_empty() {
                plan_ids.extend(default.clone());
            }
            let id = ApiKeyId(key::generate_id().map_err(KeyServiceError::Random)?);
            keys.push(NewApiKey { id, value: &row.value, keep_value: self.keep_values, about: row.about.clone(), plan_ids, now: now_unix });
        }
        let mut state = self.lock();
        let ids = self.store.import_api_keys(&keys)?;
        self.rebuild(&mut state, now_unix)?;
        Ok(ids)
    }
}

fn plan_named(plans: &Plans, id_or_name: &str, line: u64) -> Result<UsagePlanId, ImportError> {
    let named = plans.find(id_or_name);
    named.map(|plan| plan.id).map_err(|error| ImportError::Field { line, reason: error.to_string() })
}

pub(crate) fn read(file: &[u8]) -> Result<Vec<Row>, ImportError> {
    // A byte-order mark is what spreadsheets put in front.
    let file = file.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(file);
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(file);
    let headers = reader.headers()?.clone();
    let column = |name: &str| headers.iter().position(|header| header.eq_ignore_ascii_case(name));
    let name = column("name").ok_or(ImportError::NoColumn("Name"))?;
    let key = column("key").ok_or(ImportError::NoColumn("Key"))?;
    let (description, enabled, plans) = (column("description"), column("enabled"), column("usageplanids"));
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record?;
        let line = record.position().map_or(0, csv::Position::line);
        let field = |column: Option<usize>| column.and_then(|column| record.get(column)).unwrap_or_default();
        let value = field(Some(key));
        key::check_given(value).map_err(|reason| ImportError::Value { line, reason })?;
        let name = field(Some(name));
        if name.chars().count() > NAME_CHARS_MAX {
            let reason = KeyServiceError::NameTooLong.to_string();
            return Err(ImportError::Field { line, reason });
        }
        let about = ApiKeyChange {
            name: Some(name.to_owned()),
            description: description.map(|description| field(Some(description)).to_owned()),
            enabled: Some(is_enabled(field(enabled), line)?),
            ..ApiKeyChange::default()
        };
        let is_around = |letter: char| letter.is_whitespace() || matches!(letter, '"' | '\'');
        let plans = field(plans).split(',').map(|plan| plan.trim_matches(is_around)).filter(|plan| !plan.is_empty());
        rows.push(Row { line, value: SecretText::new(value.to_owned()), about, plans: plans.map(str::to_owned).collect() });
    }
    if rows.is_empty() { Err(ImportError::Empty) } else { Ok(rows) }
}

fn is_enabled(text: &str, line: u64) -> Result<bool, ImportError> {
    match text.to_ascii_lowercase().as_str() {
        "" | "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(ImportError::Field { line, reason: format!("`{text}` in the column Enabled is neither true nor false") }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rows as `name value enabled plans`, or the mistake.
    fn check(file: &str, expected: Result<&[&str], &str>) {
        let told = read(file.as_bytes()).map(|rows| {
            let row = |row: Row| {
                let (name, enabled) = (row.about.name.unwrap(), row.about.enabled.unwrap());
                format!("{name} {} {enabled} {}", row.value.expose(), row.plans.join("+"))
            };
            rows.into_iter().map(row).collect::<Vec<_>>()
        });
        match (told, expected) {
            (Ok(rows), Ok(expected)) => assert_eq!(rows, expected),
            (Err(error), Err(expected)) => assert!(error.to_string().contains(expected), "{error}"),
            (told, expected) => panic!("{told:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn columns_come_in_any_order_and_case() {
        check("Key,name\nabcdefghij0123456789,One\n", Ok(&["One abcdefghij0123456789 true "]));
        check(
            "\u{feff}Enabled,Name,KEY,UsageplanIds,Colour\r\nFALSE,Two,abcdefghij0123456789,\"'p1, p2'\",red\r\n",
            Ok(&["Two abcdefghij0123456789 false p1+p2"]),
        );
        check("name,key,usageplanids\na,abcdefghij0123456789,\"p1\t,'p2\u{c}', \"\n", Ok(&["a abcdefghij0123456789 true p1+p2"]));
        check("name,key,enabled\n\"a \"\"b\"\"\",abcdefghij0123456789,\n", Ok(&["a \"b\" abcdefghij0123456789 true "]));
    }

    #[test]
    fn a_mistake_is_named_with_its_line() {
        check("", Err("names no column `Name`"));
        check("name\nx\n", Err("names no column `Key`"));
        check("name,key\n", Err("holds no keys"));
        check("name,key\na,abcdefghij0123456789\nb,short\n", Err("line 3: API Key value should be at least 20 characters"));
        check("name,key,enabled\na,abcdefghij0123456789,perhaps\n", Err("line 2: `perhaps`"));
        check("name,key\na,abcdefghij0123456789,c\n", Err("not CSV"));
    }
}
