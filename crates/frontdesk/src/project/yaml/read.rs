//! Reading, from the events of a YAML parser, which leaves scalars as they are spelt.

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput};

use super::{Yaml, YamlError};

/// Values within values; more is a mistake or malice.
const DEPTH_MAX: usize = 64;

pub(super) fn document(text: &str) -> Result<Yaml, YamlError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader { parser: Parser::new_from_str(text) };
    let mut value = None;
    loop {
        match reader.next()? {
            (Event::StreamEnd, _) => return Ok(value.unwrap_or(Yaml::Null)),
            (Event::DocumentStart(_), span) if value.is_some() => {
                return Err(mistake(&span, "a second document, of which nothing is known here"));
            }
            (Event::DocumentStart(_), _) => {
                let (event, span) = reader.next()?;
                value = Some(reader.value(event, &span, DEPTH_MAX)?);
            }
            _ => {}
        }
    }
}

fn mistake(span: &Span, message: impl Into<String>) -> YamlError {
    YamlError { line: span.start.line(), message: message.into() }
}

struct Reader<'a> {
    parser: Parser<'a, StrInput<'a>>,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), YamlError> {
        let of_parser = |error: ScanError| YamlError { line: error.marker().line(), message: error.info().to_owned() };
        self.parser.next_event().expect("the stream's end is read once").map_err(of_parser)
    }

    /// Reads the value that begins with `event`; it may have `depth` values within values.
    fn value(&mut self, event: Event<'a>, span: &Span, depth: usize) -> Result<Yaml, YamlError> {
        let depth = depth.checked_sub(1).ok_or_else(|| mistake(span, "values are nested too deep"))?;
        let (anchor, tag) = match &event {
            Event::Scalar(_, _, anchor, tag) | Event::SequenceStart(anchor, tag) | Event::MappingStart(anchor, tag) => {
                (*anchor, tag.is_some())
            }
            _ => (0, false),
        };
        if anchor != 0 || matches!(event, Event::Alias(_)) {
            return Err(mistake(span, "anchors and aliases are not read here"));
        }
        if tag {
            return Err(mistake(span, "tags are not read here"));
        }
        match event {
            Event::Scalar(text, ScalarStyle::Plain, ..) => Ok(resolve(text.into_owned())),
            Event::Scalar(text, ..) => Ok(Yaml::Text(text.into_owned())),
            Event::SequenceStart(..) => {
                let mut list = Vec::new();
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, _) => return Ok(Yaml::List(list)),
                        (event, span) => list.push(self.value(event, &span, depth)?),
                    }
                }
            }
            Event::MappingStart(..) => {
                let mut entries: Vec<(String, Yaml)> = Vec::new();
                loop {
                    let name = match self.next()? {
                        (Event::MappingEnd, _) => return Ok(Yaml::Map(entries)),
                        (Event::Scalar(name, _, 0, None), _) if entries.iter().all(|(known, _)| *known != name) => name.into_owned(),
                        (Event::Scalar(name, _, 0, None), span) => return Err(mistake(&span, format!("`{name}` stands here twice"))),
                        (_, span) => return Err(mistake(&span, "a name is a text")),
                    };
                    let (event, span) = self.next()?;
                    entries.push((name, self.value(event, &span, depth)?));
                }
            }
            _ => Err(mistake(span, "a value was expected")),
        }
    }
}

/// What a scalar without quotes stands for.
pub(super) fn resolve(text: String) -> Yaml {
    match text.as_str() {
        "" | "~" | "null" | "Null" | "NULL" => Yaml::Null,
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Yaml::Bool(true),
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => Yaml::Bool(false),
        _ if may_be_no_text(&text) => Yaml::Plain(text),
        _ => Yaml::Text(text),
    }
}

/// Whether some reader takes it for a number, a date or a mark: it begins like one and holds nothing else.
fn may_be_no_text(text: &str) -> bool {
    if text == "=" || text == "<<" {
        return true;
    }
    let signless = text.trim_start_matches(['+', '-', '.']).to_ascii_lowercase();
    if signless == "inf" || signless == "nan" {
        return true;
    }
    signless.starts_with(|c: char| c.is_ascii_digit())
        && text.chars().all(|c| {
            c.is_ascii_hexdigit() || matches!(c, '+' | '-' | '.' | '_' | ':' | 'x' | 'X' | 'o' | 'O' | 't' | 'T' | 'z' | 'Z' | ' ')
        })
}
