//! The access log: one line a request, in a format of API Gateway's `$context` variables.
//!
//! No variable holds a key, a prompt or an answer.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::sync::Arc;

use crate::context::Variable;
use crate::exchange::{Ended, Exchange};
use crate::log_writer::LogWriter;

pub use crate::log_writer::LogSink;

thread_local! {
    /// A thread's lines are made in one place, one after another.
    static LINE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// JSON with everything that this gateway knows of a request.
pub const JSON: &str = concat!(
    r#"{"requestId":"$context.requestId","extendedRequestId":"$context.extendedRequestId","requestTime":"$context.requestTime","#,
    r#""ip":"$context.identity.sourceIp","userAgent":"$context.identity.userAgent","apiKeyId":"$context.identity.apiKeyId","#,
    r#""apiId":"$context.apiId","stage":"$context.stage","httpMethod":"$context.httpMethod","resourcePath":"$context.resourcePath","#,
    r#""path":"$context.path","protocol":"$context.protocol","status":"$context.status","responseLength":"$context.responseLength","#,
    r#""responseLatency":"$context.responseLatency","integrationLatency":"$context.integration.latency","#,
    r#""integrationStatus":"$context.integration.status","errorType":"$context.error.responseType","cache":"$context.cache","#,
    r#""traceId":"$context.xrayTraceId"}"#
);

/// The Common Log Format, as API Gateway's console offers it.
pub const CLF: &str = "$context.identity.sourceIp $context.identity.caller $context.identity.user [$context.requestTime] \"$context.httpMethod \
                       $context.resourcePath $context.protocol\" $context.status $context.responseLength $context.requestId";

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Variable(Variable),
}

/// A format that names a variable which does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the access log's format names $context.{0}, which is no variable of it (docs/operations.md lists them)")]
pub struct UnknownVariable(String);

/// What a format is read by, which says how values are written in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Language {
    Json,
    Xml,
    Csv,
    Text,
}

impl Language {
    /// Whether a value is written as it is. What is no ASCII may be more than it looks like.
    fn stands_for_itself(self, value: &str) -> bool {
        match self {
            Language::Xml => are_all(value, |byte| !matches!(byte, b'<' | b'>' | b'&' | b'"' | b'\'')),
            Language::Csv => are_all(value, |byte| !matches!(byte, b',' | b'"')),
            Language::Json | Language::Text => are_all(value, |byte| !matches!(byte, b'"' | b'\\')),
        }
    }
}

/// Whether all bytes are printable ASCII and `is_one`. Looks at all of them, whatever it has seen, so that it can look at many at a time.
fn are_all(value: &str, is_one: impl Fn(u8) -> bool) -> bool {
    value.bytes().fold(true, |all, byte| all & matches!(byte, b' '..=b'~') & is_one(byte))
}

/// A format, read once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFormat {
    pieces: Vec<Piece>,
    language: Language,
}

impl LogFormat {
    /// Reads a format: `json`, `clf`, or a text with `$context` variables. One that begins with `{` is taken for JSON, one that begins with `<` for XML, one
    /// whose variables are divided by commas alone for CSV; values are escaped accordingly.
    ///
    /// # Errors
    /// [`UnknownVariable`].
    pub fn parse(text: &str) -> Result<LogFormat, UnknownVariable> {
        let text = match text {
            "json" => JSON,
            "clf" => CLF,
            text => text,
        };
        let (mut pieces, mut rest) = (Vec::new(), text);
        while let Some(at) = rest.find("$context.") {
            pieces.push(Piece::Text(rest[..at].to_owned()));
            rest = &rest[at + "$context.".len()..];
            let end = rest.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '.').unwrap_or(rest.len());
            // A full stop at the end of a sentence is no part of a name.
            let name = rest[..end].trim_end_matches('.');
            pieces.push(Piece::Variable(Variable::named(name).ok_or_else(|| UnknownVariable(name.to_owned()))?));
            rest = &rest[name.len()..];
        }
        pieces.push(Piece::Text(rest.to_owned()));
        let is_divided_by_commas = |pieces: &[Piece]| {
            let texts: Vec<&str> =
                pieces.iter().filter_map(|piece| if let Piece::Text(text) = piece { Some(text.as_str()) } else { None }).collect();
            matches!(texts[..], ["", ref between @ .., ""] if !between.is_empty() && between.iter().all(|text| *text == ","))
        };
        let language = match text.trim_start().chars().next() {
            Some('{') => Language::Json,
            Some('<') => Language::Xml,
            _ if is_divided_by_commas(&pieces) => Language::Csv,
            _ => Language::Text,
        };
        Ok(LogFormat { pieces, language })
    }

    /// Whether a line says which request it is of.
    #[must_use]
    pub fn names_the_request(&self) -> bool {
        self.pieces.iter().any(|piece| matches!(piece, Piece::Variable(Variable::RequestId | Variable::ExtendedRequestId)))
    }

    /// Writes the line for an exchange, without its end. What has no value is `-`.
    pub(crate) fn write(&self, account_id: &str, exchange: &Exchange, ended: Ended, line: &mut String) {
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => line.push_str(text),
                Piece::Variable(variable) => {
                    let begin = line.len();
                    variable.write(account_id, exchange, ended, line);
                    // The one variable that brings its quotes.
                    let is_quoted = *variable == Variable::ErrorMessageString && self.language != Language::Xml;
                    match &line[begin..] {
                        "" => line.push('-'),
                        value if is_quoted || variable.is_plain() || self.language.stands_for_itself(value) => {}
                        _ => {
                            let value = line.split_off(begin);
                            self.escape(line, &value);
                        }
                    }
                }
            }
        }
    }

    /// What a caller writes must not end the line or the value that it stands in.
    fn escape(&self, line: &mut String, value: &str) {
        if self.language == Language::Csv {
            return push_csv(line, value);
        }
        for letter in value.chars() {
            match letter {
                '<' if self.language == Language::Xml => line.push_str("&lt;"),
                '>' if self.language == Language::Xml => line.push_str("&gt;"),
                '&' if self.language == Language::Xml => line.push_str("&amp;"),
                '"' if self.language == Language::Xml => line.push_str("&quot;"),
                '\'' if self.language == Language::Xml => line.push_str("&apos;"),
                // XML has no way to write a control character.
                letter if letter.is_control() && self.language == Language::Xml => line.push(char::REPLACEMENT_CHARACTER),
                '\\' if self.language == Language::Xml => line.push(letter),
                '"' | '\\' => line.extend(['\\', letter]),
                letter if letter.is_control() && self.language == Language::Json => {
                    let _ = write!(line, "\\u{:04x}", u32::from(letter));
                }
                letter if letter.is_control() => {
                    let _ = write!(line, "\\x{:02x}", u32::from(letter));
                }
                letter => line.push(letter),
            }
        }
    }
}

/// A field of CSV (RFC 4180), quoted where it must be.
fn push_csv(line: &mut String, value: &str) {
    if !value.contains([',', '"']) && !value.contains(char::is_control) {
        return line.push_str(value);
    }
    line.push('"');
    for letter in value.chars() {
        match letter {
            '"' => line.push_str("\"\""),
            // A line is a line, also for who reads no quotes.
            letter if letter.is_control() => line.push(char::REPLACEMENT_CHARACTER),
            letter => line.push(letter),
        }
    }
    line.push('"');
}

/// The log itself: a format, and a thread that writes.
#[derive(Debug)]
pub struct AccessLog {
    format: LogFormat,
    account_id: String,
    writer: Arc<LogWriter>,
}

impl AccessLog {
    /// Starts the writing thread; it ends with the log.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(format: LogFormat, account_id: String, sink: LogSink) -> std::io::Result<AccessLog> {
        Ok(AccessLog::new(format, account_id, Arc::new(LogWriter::start(sink, Arc::default())?)))
    }

    /// A log by a writer that may be others' too.
    pub(crate) fn new(format: LogFormat, account_id: String, writer: Arc<LogWriter>) -> AccessLog {
        AccessLog { format, account_id, writer }
    }

    /// Writes an exchange's line, sooner or later.
    pub fn write(&self, exchange: &Exchange, ended: Ended) {
        LINE.with_borrow_mut(|line| {
            line.clear();
            self.format.write(&self.account_id, exchange, ended, line);
            self.writer.write(line);
        });
    }

    /// Lines that found no room to wait in.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.writer.lost()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::Now;
    use crate::answer::GatewayAnswer;
    use crate::exchange::{Integrated, ServiceCall};
    use frontdesk_trace::Trace;
    use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};
    use std::time::Duration;
    use uuid::Uuid;

    fn check(format: &str, expected: &str) {
        let request_id = Uuid::from_u128(1);
        let exchange = Exchange {
            request_id,
            trace: Trace::of(&HeaderMap::new(), request_id, 0),
            began: Now { unix_ms: 1_583_349_317_135, monotonic_ns: 0 },
            source_ip: "192.0.2.7".parse().unwrap(),
            version: Version::HTTP_11,
            verb: Method::POST,
            path: "/prod/invoke".to_owned(),
            host: Some("abc.execute-api.localhost".to_owned()),
            user_agent: Some(HeaderValue::from_bytes(b"curl\t\"8\"\\").unwrap()),
            route: None,
            api_key_id: None,
            refusal: Some(GatewayAnswer::Forbidden),
            integration: Some(Integrated {
                status: Some(StatusCode::OK),
                latency: Duration::from_millis(7),
                service: Some(ServiceCall { status: StatusCode::ACCEPTED, request_id: Some("r-1".to_owned()), error: None }),
            }),
            cache: None,
            status: StatusCode::FORBIDDEN,
        };
        let ended = Ended { latency: Duration::from_millis(9), response_bytes: 23 };
        let mut line = String::new();
        LogFormat::parse(format).unwrap().write("000000000000", &exchange, ended, &mut line);
        assert_eq!(line, expected);
    }

    #[test]
    fn the_common_log_format_is_the_console_s() {
        check("clf", "192.0.2.7 - - [04/Mar/2020:19:15:17 +0000] \"POST - HTTP/1.1\" 403 23 00000000-0000-0000-0000-000000000001");
    }

    #[test]
    fn variables_stand_among_any_text() {
        check("$context.status, $context.path.", "403, /prod/invoke.");
        check("[$context.error.messageString] $context.error.responseType", "[\"Forbidden\"] INVALID_API_KEY");
        check("$context.integrationLatency/$context.responseLatency $context.requestTimeEpoch", "7/9 1583349317135");
        check("$context.domainPrefix", "abc");
        check("$context.integration.status $context.integration.integrationStatus $context.integration.requestId", "200 202 r-1");
    }

    #[test]
    fn a_caller_cannot_break_out_of_its_value() {
        check("\"$context.identity.userAgent\"", r#""curl\x09\"8\"\\""#);
        check("{\"ua\":\"$context.identity.userAgent\"}", r#"{"ua":"curl\u0009\"8\"\\"}"#);
        check("<ua id=\"$context.identity.userAgent\"/>", "<ua id=\"curl\u{fffd}&quot;8&quot;\\\"/>");
        check("$context.status,$context.identity.userAgent,$context.path", "403,\"curl\u{fffd}\"\"8\"\"\\\",/prod/invoke");
        check("$context.identity.userAgent,$context.error.messageString", "\"curl\u{fffd}\"\"8\"\"\\\",\"Forbidden\"");
    }

    #[test]
    fn the_json_format_is_json() {
        let LogFormat { pieces, language } = LogFormat::parse("json").unwrap();
        assert_eq!(language, Language::Json);
        let text: String = pieces.iter().map(|piece| if let Piece::Text(text) = piece { text.as_str() } else { "x" }).collect();
        let fields: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&text).unwrap();
        assert!(fields.contains_key("requestId") && fields.len() > 15);
    }

    #[test]
    fn an_unknown_variable_is_named() {
        let error = LogFormat::parse("$context.identity.apiKey").unwrap_err();
        assert!(error.to_string().contains("$context.identity.apiKey,"), "{error}");
    }
}
