//! How each provider writes requests and answers, as far as the double needs it.
//!
//! Sources: OpenAI's API reference, "Create chat completion" and "Streaming"; Anthropic's "Create a Message" and "Streaming
//! messages"; Amazon Bedrock's "Converse", "ConverseStream" and "Event stream encoding"; Ollama's "Generate a chat message". A
//! streamed text comes word by word, a tool's arguments in two pieces (in Ollama's form, which has no pieces, whole).

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};

const CALL_ID: &str = "call_1";
const TOKENS_IN: u32 = 10;
const TOKENS_OUT: u32 = 5;

/// A provider's way of writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    OpenAi,
    Anthropic,
    Converse,
    Ollama,
}

/// What the double reads in a request.
#[derive(Debug)]
pub(super) struct Conversation {
    dialect: Dialect,
    model: Value,
    /// Whether the answer is to come in pieces.
    pub(super) is_streamed: bool,
    /// Whether there are tools to call.
    pub(super) has_tools: bool,
    /// The last thing that the user said.
    pub(super) question: String,
    /// What the tools have answered since then.
    pub(super) results: Vec<String>,
}

/// What a model does next.
#[derive(Debug)]
pub(super) enum Turn {
    Say(String),
    /// `arguments` should be JSON.
    Call {
        tool: &'static str,
        arguments: String,
    },
    Nothing,
}

impl Dialect {
    /// The one that is spoken at `path`.
    pub(super) fn of(path: &str) -> Option<Dialect> {
        Some(match path {
            path if path.ends_with("/chat/completions") => Dialect::OpenAi,
            path if path.ends_with("/messages") => Dialect::Anthropic,
            path if path.ends_with("/converse") || path.ends_with("/converse-stream") => Dialect::Converse,
            path if path.ends_with("/api/chat") => Dialect::Ollama,
            _ => return None,
        })
    }

    /// What a caller proves who it is with.
    pub(super) fn credential(self, headers: &HeaderMap) -> Option<String> {
        let name = if self == Dialect::Anthropic { "x-api-key" } else { header::AUTHORIZATION.as_str() };
        Some(headers.get(name)?.to_str().ok()?.to_owned())
    }

    pub(super) fn conversation(self, path: &str, request: &Value) -> Conversation {
        let messages = request["messages"].as_array().map_or(&[][..], Vec::as_slice);
        let asked = messages.iter().rposition(|message| message["role"] == "user" && text(&message["content"]).is_some());
        let since = &messages[asked.unwrap_or(0)..];
        let question = since.first().and_then(|message| text(&message["content"])).unwrap_or_default();
        let results = match self {
            Dialect::OpenAi | Dialect::Ollama => {
                since.iter().filter(|message| message["role"] == "tool").filter_map(|message| text(&message["content"])).collect()
            }
            Dialect::Anthropic => {
                blocks(since).filter(|block| block["type"] == "tool_result").filter_map(|block| text(&block["content"])).collect()
            }
            Dialect::Converse => blocks(since).filter_map(|block| text(&block.get("toolResult")?["content"])).collect(),
        };
        let tools = if self == Dialect::Converse { &request["toolConfig"]["tools"] } else { &request["tools"] };
        Conversation {
            dialect: self,
            model: request["model"].clone(),
            is_streamed: request["stream"] == true || path.ends_with("/converse-stream"),
            has_tools: tools.is_array(),
            question,
            results,
        }
    }

    /// The body of an answer that is an error.
    pub(super) fn failure(self, message: &str) -> Value {
        match self {
            Dialect::OpenAi => json!({ "error": { "message": message } }),
            Dialect::Anthropic => json!({ "type": "error", "error": { "type": "api_error", "message": message } }),
            Dialect::Converse => json!({ "message": message }),
            Dialect::Ollama => json!({ "error": message }),
        }
    }
}

impl Conversation {
    /// The answer that is this turn, whole or streamed as it was asked for.
    pub(super) fn answer(&self, turn: &Turn) -> Response {
        if self.is_streamed {
            let body: Vec<u8> = self.pieces(turn).concat();
            return ([(header::CONTENT_TYPE, self.stream_type())], body).into_response();
        }
        let document = match self.dialect {
            Dialect::OpenAi => self.completion(turn),
            Dialect::Anthropic => self.message(turn),
            Dialect::Converse => converse(turn),
            Dialect::Ollama => self.ollama(&ollama_message(turn), true),
        };
        (StatusCode::OK, [(header::CONTENT_TYPE, "application/json")], document.to_string()).into_response()
    }

    pub(super) fn stream_type(&self) -> &'static str {
        match self.dialect {
            Dialect::OpenAi | Dialect::Anthropic => "text/event-stream",
            Dialect::Converse => "application/vnd.amazon.eventstream",
            Dialect::Ollama => "application/x-ndjson",
        }
    }

    /// A piece of streamed text.
    pub(super) fn piece(&self, text: &str) -> Bytes {
        match self.dialect {
            Dialect::OpenAi => self.chunk(&json!({ "content": text }), None),
            Dialect::Anthropic => {
                anthropic_event(&json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "text_delta", "text": text } }))
            }
            Dialect::Converse => frame("contentBlockDelta", &json!({ "contentBlockIndex": 0, "delta": { "text": text } })),
            Dialect::Ollama => line(&self.ollama(&json!({ "role": "assistant", "content": text }), false)),
        }
    }

    fn pieces(&self, turn: &Turn) -> Vec<Bytes> {
        match self.dialect {
            Dialect::OpenAi => self.openai_pieces(turn),
            Dialect::Anthropic => self.anthropic_pieces(turn),
            Dialect::Converse => self.converse_pieces(turn),
            Dialect::Ollama => {
                let mut pieces = match turn {
                    Turn::Say(text) => self.words(text),
                    Turn::Call { .. } => vec![line(&self.ollama(&ollama_message(turn), false))],
                    Turn::Nothing => Vec::new(),
                };
                pieces.push(line(&self.ollama(&json!({ "role": "assistant", "content": "" }), true)));
                pieces
            }
        }
    }

    fn words(&self, text: &str) -> Vec<Bytes> {
        text.split_inclusive(' ').map(|word| self.piece(word)).collect()
    }

    fn completion(&self, turn: &Turn) -> Value {
        let (message, finish_reason) = match turn {
            Turn::Say(text) => (json!({ "role": "assistant", "content": text }), "stop"),
            Turn::Nothing => (json!({ "role": "assistant", "content": null }), "stop"),
            Turn::Call { tool, arguments } => {
                let call = json!({ "id": CALL_ID, "type": "function", "function": { "name": tool, "arguments": arguments } });
                (json!({ "role": "assistant", "content": null, "tool_calls": [call] }), "tool_calls")
            }
        };
        json!({
            "id": "chatcmpl-double",
            "object": "chat.completion",
            "created": 0,
            "model": self.model,
            "choices": [{ "index": 0, "message": message, "finish_reason": finish_reason }],
            "usage": openai_usage(),
        })
    }

    fn chunk(&self, delta: &Value, finish_reason: Option<&str>) -> Bytes {
        data(&self.chunk_of(&json!([{ "index": 0, "delta": delta, "finish_reason": finish_reason }])))
    }

    fn chunk_of(&self, choices: &Value) -> Value {
        json!({ "id": "chatcmpl-double", "object": "chat.completion.chunk", "created": 0, "model": self.model, "choices": choices })
    }

    fn openai_pieces(&self, turn: &Turn) -> Vec<Bytes> {
        let mut pieces = vec![self.chunk(&json!({ "role": "assistant", "content": "" }), None)];
        match turn {
            Turn::Say(text) => pieces.extend(self.words(text)),
            Turn::Call { tool, arguments } => {
                let (first, second) = halves(arguments);
                let named = json!({ "index": 0, "id": CALL_ID, "type": "function", "function": { "name": tool, "arguments": first } });
                let rest = json!({ "index": 0, "function": { "arguments": second } });
                pieces.extend([named, rest].map(|call| self.chunk(&json!({ "tool_calls": [call] }), None)));
            }
            Turn::Nothing => {}
        }
        pieces.push(self.chunk(&json!({}), Some(if matches!(turn, Turn::Call { .. }) { "tool_calls" } else { "stop" })));
        let mut usage = self.chunk_of(&json!([]));
        usage["usage"] = openai_usage();
        pieces.extend([data(&usage), Bytes::from_static(b"data: [DONE]\n\n")]);
        pieces
    }

    fn message(&self, turn: &Turn) -> Value {
        let content = match turn {
            Turn::Say(text) => json!([{ "type": "text", "text": text }]),
            Turn::Call { tool, arguments } => json!([{ "type": "tool_use", "id": CALL_ID, "name": tool, "input": parsed(arguments) }]),
            Turn::Nothing => json!([]),
        };
        json!({
            "id": "msg_double",
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": content,
            "stop_reason": anthropic_stop_reason(turn),
            "stop_sequence": null,
            "usage": { "input_tokens": TOKENS_IN, "output_tokens": TOKENS_OUT },
        })
    }

    fn anthropic_pieces(&self, turn: &Turn) -> Vec<Bytes> {
        let mut start = self.message(&Turn::Nothing);
        start["stop_reason"] = Value::Null;
        start["usage"]["output_tokens"] = json!(1);
        let block_start = |block: Value| anthropic_event(&json!({ "type": "content_block_start", "index": 0, "content_block": block }));
        let block_stop = || anthropic_event(&json!({ "type": "content_block_stop", "index": 0 }));
        let mut pieces = vec![anthropic_event(&json!({ "type": "message_start", "message": start }))];
        match turn {
            Turn::Say(text) => {
                pieces.push(block_start(json!({ "type": "text", "text": "" })));
                pieces.extend(self.words(text));
                pieces.push(block_stop());
            }
            Turn::Call { tool, arguments } => {
                pieces.push(block_start(json!({ "type": "tool_use", "id": CALL_ID, "name": tool, "input": {} })));
                let (first, second) = halves(arguments);
                pieces.extend([first, second].map(|part| {
                    let delta = json!({ "type": "input_json_delta", "partial_json": part });
                    anthropic_event(&json!({ "type": "content_block_delta", "index": 0, "delta": delta }))
                }));
                pieces.push(block_stop());
            }
            Turn::Nothing => {}
        }
        let delta = json!({ "stop_reason": anthropic_stop_reason(turn), "stop_sequence": null });
        pieces.push(anthropic_event(&json!({ "type": "message_delta", "delta": delta, "usage": { "output_tokens": TOKENS_OUT } })));
        pieces.push(anthropic_event(&json!({ "type": "message_stop" })));
        pieces
    }

    fn converse_pieces(&self, turn: &Turn) -> Vec<Bytes> {
        let mut pieces = vec![frame("messageStart", &json!({ "role": "assistant" }))];
        match turn {
            Turn::Say(text) => pieces.extend(self.words(text)),
            Turn::Call { tool, arguments } => {
                let start = json!({ "toolUse": { "toolUseId": CALL_ID, "name": tool } });
                pieces.push(frame("contentBlockStart", &json!({ "contentBlockIndex": 0, "start": start })));
                let (first, second) = halves(arguments);
                pieces.extend(
                    [first, second].map(|part| {
                        frame("contentBlockDelta", &json!({ "contentBlockIndex": 0, "delta": { "toolUse": { "input": part } } }))
                    }),
                );
            }
            Turn::Nothing => {}
        }
        if !matches!(turn, Turn::Nothing) {
            pieces.push(frame("contentBlockStop", &json!({ "contentBlockIndex": 0 })));
        }
        pieces.push(frame("messageStop", &json!({ "stopReason": anthropic_stop_reason(turn) })));
        pieces.push(frame("metadata", &json!({ "usage": converse_usage(), "metrics": { "latencyMs": 1 } })));
        pieces
    }

    fn ollama(&self, message: &Value, is_done: bool) -> Value {
        let mut document = json!({ "model": self.model, "created_at": "2026-01-01T00:00:00Z", "message": message, "done": is_done });
        if is_done {
            document["done_reason"] = json!("stop");
            document["prompt_eval_count"] = json!(TOKENS_IN);
            document["eval_count"] = json!(TOKENS_OUT);
        }
        document
    }
}

/// The text of a message or a result: a string, or the text blocks of a list. None where there is no text at all.
fn text(content: &Value) -> Option<String> {
    match content {
        Value::String(text) => Some(text.clone()),
        Value::Array(blocks) => {
            let texts: Vec<String> = blocks
                .iter()
                .filter_map(|block| block["text"].as_str().map(str::to_owned).or_else(|| Some(block.get("json")?.to_string())))
                .collect();
            (!texts.is_empty()).then(|| texts.join("\n"))
        }
        _ => None,
    }
}

fn blocks(messages: &[Value]) -> impl Iterator<Item = &Value> {
    messages.iter().filter_map(|message| message["content"].as_array()).flatten()
}

/// `arguments` as a document; as a string where they are none.
fn parsed(arguments: &str) -> Value {
    serde_json::from_str(arguments).unwrap_or_else(|_| Value::String(arguments.to_owned()))
}

fn halves(arguments: &str) -> (&str, &str) {
    arguments.split_at(arguments.floor_char_boundary(arguments.len() / 2))
}

fn openai_usage() -> Value {
    json!({ "prompt_tokens": TOKENS_IN, "completion_tokens": TOKENS_OUT, "total_tokens": TOKENS_IN + TOKENS_OUT })
}

fn converse_usage() -> Value {
    json!({ "inputTokens": TOKENS_IN, "outputTokens": TOKENS_OUT, "totalTokens": TOKENS_IN + TOKENS_OUT })
}

/// Anthropic's and Bedrock's word for why a turn ends.
fn anthropic_stop_reason(turn: &Turn) -> &'static str {
    if matches!(turn, Turn::Call { .. }) { "tool_use" } else { "end_turn" }
}

fn converse(turn: &Turn) -> Value {
    let content = match turn {
        Turn::Say(text) => json!([{ "text": text }]),
        Turn::Call { tool, arguments } => json!([{ "toolUse": { "toolUseId": CALL_ID, "name": tool, "input": parsed(arguments) } }]),
        Turn::Nothing => json!([]),
    };
    json!({
        "output": { "message": { "role": "assistant", "content": content } },
        "stopReason": anthropic_stop_reason(turn),
        "usage": converse_usage(),
        "metrics": { "latencyMs": 1 },
    })
}

fn ollama_message(turn: &Turn) -> Value {
    match turn {
        Turn::Say(text) => json!({ "role": "assistant", "content": text }),
        Turn::Call { tool, arguments } => {
            let call = json!({ "function": { "name": tool, "arguments": parsed(arguments) } });
            json!({ "role": "assistant", "content": "", "tool_calls": [call] })
        }
        Turn::Nothing => json!({ "role": "assistant", "content": "" }),
    }
}

/// A server-sent event without a name.
fn data(document: &Value) -> Bytes {
    format!("data: {document}\n\n").into()
}

/// A server-sent event named by its type.
fn anthropic_event(document: &Value) -> Bytes {
    format!("event: {}\ndata: {document}\n\n", document["type"].as_str().unwrap_or_default()).into()
}

fn line(document: &Value) -> Bytes {
    format!("{document}\n").into()
}

/// A message of `application/vnd.amazon.eventstream`: total length, length of the headers, the CRC-32 of these two, the headers, the
/// payload, the CRC-32 of all before; numbers big-endian. A header is the length of its name (1 byte), the name, 7 for a string, the
/// length of the value (2 bytes), the value.
fn frame(event_type: &str, payload: &Value) -> Bytes {
    let payload = payload.to_string();
    let mut headers = Vec::new();
    for (name, value) in [(":event-type", event_type), (":content-type", "application/json"), (":message-type", "event")] {
        headers.push(u8::try_from(name.len()).expect("a short name"));
        headers.extend(name.bytes());
        headers.push(7);
        headers.extend(u16::try_from(value.len()).expect("a short value").to_be_bytes());
        headers.extend(value.bytes());
    }
    let number = |length: usize| u32::try_from(length).expect("a short message").to_be_bytes();
    let mut message = Vec::new();
    message.extend(number(16 + headers.len() + payload.len()));
    message.extend(number(headers.len()));
    message.extend(crc32fast::hash(&message).to_be_bytes());
    message.extend(headers);
    message.extend(payload.bytes());
    message.extend(crc32fast::hash(&message).to_be_bytes());
    message.into()
}
