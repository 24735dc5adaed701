//! YAML as AgentCore's Python toolkit writes it and people edit it: block and flow style, quoted, plain, literal and folded scalars, comments.
//!
//! A parser of YAML reads it; the values are our own, for what a plain scalar other than a text stands for is nobody's business here: numbers and dates keep their
//! spelling, so that a file that is read and written again says the same to every reader. Comments are not kept; anchors, tags and a second document are refused
//! by line.
//!
//! Source: <https://yaml.org/spec/1.1/>, the version that PyYAML reads, in which `yes` and `on` are truths.

mod read;
mod write;

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Yaml {
    Null,
    Bool(bool),
    /// A number, a date or anything else that is written without quotes and may be no text, as it is spelt.
    Plain(String),
    Text(String),
    List(Vec<Yaml>),
    /// In the file's order.
    Map(Vec<(String, Yaml)>),
}

/// Why a text is not the YAML that is read here.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub(crate) struct YamlError {
    pub(crate) line: usize,
    pub(crate) message: String,
}

impl Yaml {
    /// Reads a document; an empty one is null.
    pub(crate) fn parse(text: &str) -> Result<Yaml, YamlError> {
        read::document(text)
    }

    /// The document's text, in block style.
    pub(crate) fn to_text(&self) -> String {
        write::document(self)
    }

    pub(crate) fn text(text: impl Into<String>) -> Yaml {
        Yaml::Text(text.into())
    }

    /// A text, or null where there is none.
    pub(crate) fn text_or_null(text: Option<impl Into<String>>) -> Yaml {
        text.map_or(Yaml::Null, Yaml::text)
    }

    pub(crate) fn map<const N: usize>(entries: [(&str, Yaml); N]) -> Yaml {
        Yaml::Map(entries.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    /// A map's value.
    pub(crate) fn get(&self, name: &str) -> Option<&Yaml> {
        match self {
            Yaml::Map(entries) => entries.iter().find(|(key, _)| key == name).map(|(_, value)| value),
            _ => None,
        }
    }

    /// A value somewhere below, such as `["aws", "region"]`; null is none.
    pub(crate) fn at(&self, path: &[&str]) -> Option<&Yaml> {
        path.iter().try_fold(self, |value, name| value.get(name)).filter(|value| **value != Yaml::Null)
    }

    /// A text, or a plain scalar's spelling.
    pub(crate) fn as_text(&self) -> Option<&str> {
        match self {
            Yaml::Text(text) | Yaml::Plain(text) => Some(text),
            _ => None,
        }
    }

    /// The entries of a map; of anything else none.
    pub(crate) fn entries(&self) -> &[(String, Yaml)] {
        match self {
            Yaml::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The value of a name, made (as an empty map) where it is missing; a value that is no map becomes one.
    pub(crate) fn entry(&mut self, name: &str) -> &mut Yaml {
        if !matches!(self, Yaml::Map(_)) {
            *self = Yaml::Map(Vec::new());
        }
        let Yaml::Map(entries) = self else { unreachable!("it has just been made a map") };
        let index = entries.iter().position(|(key, _)| key == name).unwrap_or_else(|| {
            entries.push((name.to_owned(), Yaml::Map(Vec::new())));
            entries.len() - 1
        });
        &mut entries[index].1
    }

    /// Puts a value below a path; what is around it keeps its order.
    pub(crate) fn put(&mut self, path: &[&str], value: Yaml) {
        *path.iter().fold(self, |value, name| value.entry(name)) = value;
    }

    /// Takes a name out of a map.
    pub(crate) fn remove(&mut self, name: &str) {
        if let Yaml::Map(entries) = self {
            entries.retain(|(key, _)| key != name);
        }
    }

    /// Puts what `other` says over this; maps are joined, and names that only this knows are kept.
    pub(crate) fn merge(&mut self, other: Yaml) {
        match other {
            Yaml::Map(entries) if matches!(self, Yaml::Map(_)) => {
                for (name, value) in entries {
                    self.entry(&name).merge(value);
                }
            }
            other => *self = other,
        }
    }

    /// The same as JSON, for what is handed on to AWS-shaped documents.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        match self {
            Yaml::Null => serde_json::Value::Null,
            Yaml::Bool(bool) => (*bool).into(),
            Yaml::Plain(plain) => serde_json::from_str(plain).unwrap_or_else(|_| plain.as_str().into()),
            Yaml::Text(text) => text.as_str().into(),
            Yaml::List(list) => list.iter().map(Yaml::to_json).collect(),
            Yaml::Map(entries) => entries.iter().map(|(name, value)| (name.clone(), value.to_json())).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: serde_json::Value) {
        let parsed = Yaml::parse(text).unwrap_or_else(|error| panic!("{error}:\n{text}"));
        assert_eq!(parsed.to_json(), expected, "{text}");
        let written = parsed.to_text();
        assert_eq!(Yaml::parse(&written).as_ref(), Ok(&parsed), "{text}\nwas written as\n{written}");
    }

    #[test]
    fn what_people_and_the_toolkit_write_is_read_and_written_again() {
        use serde_json::json;
        check("", json!(null));
        check("a: 1\nb:\n  c: x y # comment\n  d:\n# comment\n\ne: ''\n", json!({"a": 1, "b": {"c": "x y", "d": null}, "e": ""}));
        check("a:\n- 1\n- b: c\n  d: e\n-\n  - f\n- - g\n  - h\n", json!({"a": [1, {"b": "c", "d": "e"}, ["f"], ["g", "h"]]}));
        check("a:\n  - x\n  - 'it''s'\nb: \"\\u00e9\\n\\\"\"\n", json!({"a": ["x", "it's"], "b": "é\n\""}));
        check("{a: 1, 'b c': [x, y z, {}], d: []}", json!({"a": 1, "b c": ["x", "y z", {}], "d": []}));
        check("a: [one,\n  two, # comment\n  'three']\nb: 2\n", json!({"a": ["one", "two", "three"], "b": 2}));
        check("a: one\n  two\n\n  three\nb: 'one\n  two'\n", json!({"a": "one two\nthree", "b": "one two"}));
        check(
            "a: |\n  one\n    two\n\n  three\nb: >-\n  one\n  two\n\n  three\n",
            json!({"a": "one\n  two\n\nthree\n", "b": "one two\nthree"}),
        );
        check("a: yes\nb: 'yes'\nc: ~\nd: null\ne: off\n", json!({"a": true, "b": "yes", "c": null, "d": null, "e": false}));
        check("'quoted: key': http://x:80/#y\n", json!({"quoted: key": "http://x:80/#y"}));
    }

    #[test]
    fn spellings_are_kept() {
        let text = "account: 012345678901\nversion: 1.10\nday: 2026-01-31\ntext: '1.10'\nmask: 0o17\n";
        assert_eq!(Yaml::parse(text).unwrap().to_text(), text);
    }

    #[test]
    fn texts_that_look_like_something_else_are_quoted() {
        for text in [
            "",
            "yes",
            "null",
            "~",
            "12",
            "1e3",
            "0x1f",
            "1:30",
            "2026-01-31",
            " x",
            "x ",
            "a: b",
            "a #b",
            "- a",
            "{",
            "'",
            "\"",
            "tab\t",
            "two\nlines",
            "@x",
            "=",
            "x:",
            "\u{1}",
            "é",
            "*a",
            "%",
            "x'y",
        ] {
            let value = Yaml::map([("k", Yaml::text(text)), ("l", Yaml::List(vec![Yaml::text(text)]))]);
            let written = value.to_text();
            assert_eq!(Yaml::parse(&written).as_ref(), Ok(&value), "{text:?} was written as {written}");
        }
    }

    #[test]
    fn a_mistake_is_told_with_its_line() {
        for (text, line) in [
            ("a: 1\nb: &x 2\n", 2),
            ("a: !tag x\n", 1),
            ("a: *x\n", 1),
            ("a: 1\n---\nb: 2\n", 2),
            ("a: 1\n  b: 2\n", 2),
            ("a: 1\na: 2\n", 2),
            ("a: b: c\n", 1),
            ("? [a]\n: b\n", 1),
        ] {
            assert_eq!(Yaml::parse(text).expect_err(text).line, line, "{text}");
        }
        for text in ["a: 'x\n", "a: [1, 2\nb: 3\n", "a: 1\nno name\n"] {
            Yaml::parse(text).expect_err(text);
        }
        let deep = "[".repeat(10_000);
        Yaml::parse(&deep).expect_err("too deep");
    }
}
