//! Writing: block style, as PyYAML's `dump` has it.

use super::Yaml;
use super::read::resolve;

pub(super) fn document(value: &Yaml) -> String {
    let mut out = String::new();
    match inline(value) {
        Some(text) => {
            out.push_str(&text);
            out.push('\n');
        }
        None => block(value, 0, &mut out),
    }
    out
}

/// What fits on a line: everything but lists and maps with something in them.
fn inline(value: &Yaml) -> Option<String> {
    Some(match value {
        Yaml::Null => "null".to_owned(),
        Yaml::Bool(bool) => bool.to_string(),
        Yaml::Plain(plain) => plain.clone(),
        Yaml::Text(text) => scalar(text),
        Yaml::List(items) if items.is_empty() => "[]".to_owned(),
        Yaml::Map(entries) if entries.is_empty() => "{}".to_owned(),
        Yaml::List(_) | Yaml::Map(_) => return None,
    })
}

fn block(value: &Yaml, indent: usize, out: &mut String) {
    match value {
        Yaml::Map(entries) => {
            for (name, value) in entries {
                out.push_str(&" ".repeat(indent));
                out.push_str(&scalar(name));
                out.push(':');
                match inline(value) {
                    Some(text) => {
                        out.push(' ');
                        out.push_str(&text);
                        out.push('\n');
                    }
                    None => {
                        out.push('\n');
                        // A list's dashes are indentation enough.
                        block(value, indent + if matches!(value, Yaml::List(_)) { 0 } else { 2 }, out);
                    }
                }
            }
        }
        Yaml::List(items) => {
            for item in items {
                out.push_str(&" ".repeat(indent));
                out.push_str("- ");
                match inline(item) {
                    Some(text) => {
                        out.push_str(&text);
                        out.push('\n');
                    }
                    None => {
                        let mut below = String::new();
                        block(item, indent + 2, &mut below);
                        out.push_str(below.trim_start_matches(' '));
                    }
                }
            }
        }
        scalar => out.push_str(&inline(scalar).unwrap_or_default()),
    }
}

/// Plain where it can only be this text, else in single quotes, else, with what no line can hold, in double ones.
fn scalar(text: &str) -> String {
    let has_control = text.chars().any(|c| c.is_control() || matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{feff}'));
    if has_control {
        let mut quoted = String::from("\"");
        for c in text.chars() {
            match c {
                '"' | '\\' => quoted.extend(['\\', c]),
                '\n' => quoted.push_str("\\n"),
                '\t' => quoted.push_str("\\t"),
                '\r' => quoted.push_str("\\r"),
                c if c.is_control() || matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{feff}') => {
                    quoted.push_str(&format!("\\u{:04x}", u32::from(c)));
                }
                c => quoted.push(c),
            }
        }
        quoted.push('"');
        return quoted;
    }
    let is_plain = matches!(resolve(text.to_owned()), Yaml::Text(_))
        && !text.starts_with([' ', '-', '?', ':', ',', '[', ']', '{', '}', '#', '&', '*', '!', '|', '>', '\'', '"', '%', '@', '`'])
        && !text.ends_with([' ', ':'])
        && !text.contains(": ")
        && !text.contains(" #")
        && text != "..."
        && text != "---";
    if is_plain { text.to_owned() } else { format!("'{}'", text.replace('\'', "''")) }
}
