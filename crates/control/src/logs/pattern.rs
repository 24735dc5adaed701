//! Filter patterns: which events of a log group are meant
//! (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntax.html>). Terms (`ERROR -debug`, `?a ?b`, `"two words"`) are looked for in any message, JSON
//! conditions (`{ $.status = 5* && $.path != "/ping" }`) in those that are JSON. Regular expressions (`%…%`) and patterns for columns (`[a, b]`) are refused.

use serde_json::Value;

/// CloudWatch Logs' bound on a pattern, in bytes.
const PATTERN_BYTES_MAX: usize = 1024;
/// Parentheses within parentheses, at most.
const DEPTH_MAX: usize = 32;

/// A pattern, read once.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Pattern {
    /// Every event.
    All,
    /// Messages with all of `all`, or where there are none with one of `any`; and with none of `none`.
    Terms { all: Vec<String>, any: Vec<String>, none: Vec<String> },
    /// Messages that are JSON and of which this is true.
    Json(Condition),
}

/// A text that is no pattern; it says where it stops being one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Invalid filter pattern: {0}")]
pub(crate) struct InvalidPattern(String);

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Condition {
    And(Box<Condition>, Box<Condition>),
    Or(Box<Condition>, Box<Condition>),
    Exists(Selector, bool),
    Is(Selector, Value),
    Compare(Selector, Comparison, String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// A place in a document: `$.user.tags[0]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Selector(Vec<Step>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(usize),
    /// `[*]`: any of a list.
    Any,
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// [`InvalidPattern`].
    pub(crate) fn parse(text: &str) -> Result<Pattern, InvalidPattern> {
        let text = text.trim();
        if text.len() > PATTERN_BYTES_MAX {
            return Err(InvalidPattern(format!("it is longer than {PATTERN_BYTES_MAX} bytes")));
        }
        match text.chars().next() {
            None => Ok(Pattern::All),
            Some('{') => {
                let inside = text[1..].strip_suffix('}').ok_or_else(|| InvalidPattern("the last } is missing".to_owned()))?;
                let mut reader = Reader { rest: inside };
                let condition = reader.either(0)?;
                reader.skip_space();
                if reader.rest.is_empty() { Ok(Pattern::Json(condition)) } else { Err(reader.unexpected()) }
            }
            Some('[') => {
                Err(InvalidPattern("patterns for columns ([a, b, …]) are not served here: name terms, or JSON fields in { }".to_owned()))
            }
            Some(_) => terms(text),
        }
    }

    /// Whether an event is meant.
    pub(crate) fn matches(&self, message: &str) -> bool {
        match self {
            Pattern::All => true,
            Pattern::Terms { all, any, none } => {
                let is_in = |term: &String| message.contains(term.as_str());
                let is_wanted = if all.is_empty() { any.is_empty() || any.iter().any(is_in) } else { all.iter().all(is_in) };
                is_wanted && !none.iter().any(is_in)
            }
            Pattern::Json(condition) => document(message).is_some_and(|document| condition.is_true(&document)),
        }
    }
}

/// The JSON of a message; `None` for a message that is none.
pub(crate) fn document(message: &str) -> Option<Value> {
    // Most lines are text, and quickly told from JSON.
    message.trim_start().starts_with(['{', '[']).then(|| serde_json::from_str(message).ok()).flatten()
}

fn terms(text: &str) -> Result<Pattern, InvalidPattern> {
    let (mut all, mut any, mut none) = (Vec::new(), Vec::new(), Vec::new());
    let mut rest = text;
    while !rest.is_empty() {
        let (list, after) = match rest.as_bytes()[0] {
            b'-' => (&mut none, &rest[1..]),
            b'?' => (&mut any, &rest[1..]),
            _ => (&mut all, rest),
        };
        let (term, after) = match after.strip_prefix('"') {
            Some(quoted) => {
                let mut reader = Reader { rest: quoted };
                (reader.until_quote()?, reader.rest)
            }
            None => {
                let end = after.find(char::is_whitespace).unwrap_or(after.len());
                (after[..end].to_owned(), &after[end..])
            }
        };
        if term.is_empty() {
            return Err(InvalidPattern("a term is empty".to_owned()));
        }
        if term.len() > 1 && term.starts_with('%') && term.ends_with('%') {
            return Err(InvalidPattern("regular expressions (%…%) are not served here".to_owned()));
        }
        list.push(term);
        rest = after.trim_start();
    }
    Ok(Pattern::Terms { all, any, none })
}

impl Condition {
    fn is_true(&self, document: &Value) -> bool {
        match self {
            Condition::And(one, other) => one.is_true(document) && other.is_true(document),
            Condition::Or(one, other) => one.is_true(document) || other.is_true(document),
            Condition::Exists(selector, exists) => selector.found(document).is_empty() != *exists,
            Condition::Is(selector, value) => selector.found(document).contains(&value),
            Condition::Compare(selector, comparison, wanted) => {
                selector.found(document).into_iter().any(|found| compare(found, *comparison, wanted))
            }
        }
    }
}

/// Numbers are compared as numbers where both sides are; texts may hold `*` for anything, and are only equal or not.
fn compare(found: &Value, comparison: Comparison, wanted: &str) -> bool {
    use Comparison as Is;
    let numbers = found.as_f64().zip(wanted.parse::<f64>().ok());
    if let Some((found, wanted)) = numbers {
        return match comparison {
            Is::Equal => found == wanted,
            Is::NotEqual => found != wanted,
            Is::Less => found < wanted,
            Is::LessOrEqual => found <= wanted,
            Is::Greater => found > wanted,
            Is::GreaterOrEqual => found >= wanted,
        };
    }
    let text = match found {
        Value::String(text) => text.clone(),
        Value::Number(_) | Value::Bool(_) => found.to_string(),
        Value::Null | Value::Array(_) | Value::Object(_) => return false,
    };
    match comparison {
        Is::Equal => is_like(&text, wanted),
        Is::NotEqual => !is_like(&text, wanted),
        Is::Less | Is::LessOrEqual | Is::Greater | Is::GreaterOrEqual => false,
    }
}

/// Whether a text is what a pattern says, in which `*` stands for anything.
fn is_like(text: &str, pattern: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

impl Selector {
    /// Reads `$.name`, as metric values and dimensions have it.
    pub(crate) fn parse(text: &str) -> Result<Selector, InvalidPattern> {
        let mut reader = Reader { rest: text };
        let selector = reader.selector()?;
        if reader.rest.is_empty() { Ok(selector) } else { Err(reader.unexpected()) }
    }

    /// What stands at the place; several where it goes through a list.
    pub(crate) fn found<'v>(&self, document: &'v Value) -> Vec<&'v Value> {
        self.0.iter().fold(vec![document], |found, step| {
            let next = |value: &'v Value| -> Vec<&'v Value> {
                match step {
                    Step::Key(key) => value.get(key).into_iter().collect(),
                    Step::Index(index) => value.get(index).into_iter().collect(),
                    Step::Any => value.as_array().into_iter().flatten().collect(),
                }
            };
            found.into_iter().flat_map(next).collect()
        })
    }
}

/// Reads a condition from left to right.
struct Reader<'t> {
    rest: &'t str,
}

impl Reader<'_> {
    fn unexpected(&self) -> InvalidPattern {
        match self.rest.chars().next() {
            Some(_) => InvalidPattern(format!("unexpected {:?}", self.rest.chars().take(20).collect::<String>())),
            None => InvalidPattern("it ends too early".to_owned()),
        }
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    /// Takes a word or a sign, if it comes next.
    fn takes(&mut self, wanted: &str) -> bool {
        self.skip_space();
        let is_next = self.rest.get(..wanted.len()).is_some_and(|next| next.eq_ignore_ascii_case(wanted));
        if is_next {
            self.rest = &self.rest[wanted.len()..];
        }
        is_next
    }

    fn either(&mut self, depth: usize) -> Result<Condition, InvalidPattern> {
        let mut one = self.both(depth)?;
        while self.takes("||") {
            one = Condition::Or(Box::new(one), Box::new(self.both(depth)?));
        }
        Ok(one)
    }

    fn both(&mut self, depth: usize) -> Result<Condition, InvalidPattern> {
        let mut one = self.single(depth)?;
        while self.takes("&&") {
            one = Condition::And(Box::new(one), Box::new(self.single(depth)?));
        }
        Ok(one)
    }

    fn single(&mut self, depth: usize) -> Result<Condition, InvalidPattern> {
        if self.takes("(") {
            if depth == DEPTH_MAX {
                return Err(InvalidPattern(format!("more than {DEPTH_MAX} parentheses within each other")));
            }
            let inside = self.either(depth + 1)?;
            return if self.takes(")") { Ok(inside) } else { Err(self.unexpected()) };
        }
        self.skip_space();
        let selector = self.selector()?;
        if self.takes("NOT EXISTS") {
            return Ok(Condition::Exists(selector, false));
        }
        if self.takes("EXISTS") {
            return Ok(Condition::Exists(selector, true));
        }
        if self.takes("IS") {
            let known = [("NULL", Value::Null), ("TRUE", Value::Bool(true)), ("FALSE", Value::Bool(false))];
            let found = known.into_iter().find(|(word, _)| self.takes(word));
            return found.map(|(_, value)| Condition::Is(selector, value)).ok_or_else(|| self.unexpected());
        }
        use Comparison as Is;
        let signs = [
            ("!=", Is::NotEqual),
            ("<=", Is::LessOrEqual),
            (">=", Is::GreaterOrEqual),
            ("=", Is::Equal),
            ("<", Is::Less),
            (">", Is::Greater),
        ];
        let sign = signs.into_iter().find(|(sign, _)| self.takes(sign));
        let (_, comparison) = sign.ok_or_else(|| self.unexpected())?;
        Ok(Condition::Compare(selector, comparison, self.value()?))
    }

    fn value(&mut self) -> Result<String, InvalidPattern> {
        self.skip_space();
        if let Some(quoted) = self.rest.strip_prefix('"') {
            self.rest = quoted;
            return self.until_quote();
        }
        let end = self.rest.find(|letter: char| letter.is_whitespace() || "()&|<>=!{}\"".contains(letter)).unwrap_or(self.rest.len());
        let (value, rest) = self.rest.split_at(end);
        if value.is_empty() {
            return Err(self.unexpected());
        }
        if value.len() > 1 && value.starts_with('%') && value.ends_with('%') {
            return Err(InvalidPattern("regular expressions (%…%) are not served here".to_owned()));
        }
        self.rest = rest;
        Ok(value.to_owned())
    }

    /// The text up to the quote, which is taken, too; a backslash makes the next letter a letter.
    fn until_quote(&mut self) -> Result<String, InvalidPattern> {
        let mut text = String::new();
        let mut letters = self.rest.char_indices();
        while let Some((at, letter)) = letters.next() {
            match letter {
                '"' => {
                    self.rest = &self.rest[at + 1..];
                    return Ok(text);
                }
                '\\' => text.extend(letters.next().map(|(_, letter)| letter)),
                letter => text.push(letter),
            }
        }
        Err(InvalidPattern("a quote is not closed".to_owned()))
    }

    fn selector(&mut self) -> Result<Selector, InvalidPattern> {
        self.rest = self.rest.strip_prefix('$').ok_or_else(|| self.unexpected())?;
        let mut steps = Vec::new();
        loop {
            if let Some(after) = self.rest.strip_prefix('[') {
                let end = after.find(']').ok_or_else(|| InvalidPattern("a [ is not closed".to_owned()))?;
                let inside = after[..end].trim();
                let quoted = inside.strip_prefix(['"', '\'']).and_then(|inside| inside.strip_suffix(['"', '\'']));
                steps.push(match (inside, quoted) {
                    ("*", _) => Step::Any,
                    (_, Some(key)) => Step::Key(key.to_owned()),
                    _ => Step::Index(inside.parse().map_err(|_| self.unexpected())?),
                });
                self.rest = &after[end + 1..];
            } else if let Some(after) = self.rest.strip_prefix('.') {
                let end = after.find(|letter: char| !(letter.is_alphanumeric() || "_-@:/".contains(letter))).unwrap_or(after.len());
                if end == 0 && !after.starts_with('[') {
                    return Err(self.unexpected());
                }
                if end > 0 {
                    steps.push(Step::Key(after[..end].to_owned()));
                }
                self.rest = &after[end..];
            } else {
                return if steps.is_empty() { Err(self.unexpected()) } else { Ok(Selector(steps)) };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, message: &str, expected: bool) {
        let read = Pattern::parse(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
        assert_eq!(read.matches(message), expected, "{pattern} on {message}");
    }

    #[test]
    fn terms_are_looked_for_in_any_message() {
        let message = "[ERROR] 42 could not sign (role)";
        check("", message, true);
        check("ERROR", message, true);
        check("error", message, false);
        check("ERROR sign", message, true);
        check("ERROR absent", message, false);
        check("\"could not\"", message, true);
        check("\"not could\"", message, false);
        check("ERROR -absent", message, true);
        check("ERROR -\"could not\"", message, false);
        check("-ERROR", message, false);
        check("?absent ?sign", message, true);
        check("?absent ?gone", message, false);
        check("?absent ERROR", message, true);
        check(r#""say \"hi\"""#, r#"say "hi""#, true);
    }

    #[test]
    fn conditions_are_asked_of_json() {
        let message =
            r#"{"level": "ERROR", "status": 503, "user": {"name": "Ann Lee", "tags": ["a", "b"]}, "ok": false, "none": null, "x-y": "1"}"#;
        check("{ $.level = ERROR }", message, true);
        check("{ $.level = \"ERR*\" }", message, true);
        check("{ $.level = *R }", message, true);
        check("{ $.level != ERROR }", message, false);
        check("{ $.absent != ERROR }", message, false);
        check("{ $.status = 5* }", message, true);
        check("{ $.status >= 500 && $.status < 600 }", message, true);
        check("{ $.status > 503 || $.level = WARN }", message, false);
        check("{ ($.status > 503 || $.level = ERROR) && $.ok IS FALSE }", message, true);
        check("{ $.user.name = \"Ann Lee\" }", message, true);
        check("{ $.user.tags[1] = b }", message, true);
        check("{ $.user.tags[*] = c }", message, false);
        check("{ $.none IS NULL }", message, true);
        check("{ $.absent NOT EXISTS }", message, true);
        check("{ $.user EXISTS }", message, true);
        check("{ $.['x-y'] = 1 }", message, true);
        check("{ $.level = ERROR }", "level: ERROR", false);
    }

    #[test]
    fn what_is_no_pattern_is_told() {
        for wrong in [
            "{ $.a }",
            "{ $.a = }",
            "{ a = 1 }",
            "{ $.a = 1",
            "{ ($.a = 1 }",
            "{ $.a = 1 && }",
            "\"open",
            "-",
            "[a, b]",
            "%x%",
            "{ $.a = %x% }",
            "{ $. = 1 }",
        ] {
            assert!(Pattern::parse(wrong).is_err(), "{wrong}");
        }
        let deep = format!("{{ {}$.a = 1{} }}", "(".repeat(100), ")".repeat(100));
        assert!(Pattern::parse(&deep).is_err() && Pattern::parse(&"a".repeat(2000)).is_err());
    }
}
