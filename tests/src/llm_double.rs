//! A stand-in for a language model's endpoint: OpenAI's chat completions over real HTTP, for tests
//! and benchmarks. It thinks in no time, and misbehaves on demand in every way that an endpoint may.
//!
//! The form of requests and answers is that of OpenAI's API reference, "Create chat completion", and
//! with `"stream": true` that of "Streaming": text comes word by word, a tool's arguments in two
//! pieces.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::serve::ListenerExt;
use bytes::Bytes;
use http::{Method, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Requests that are remembered; older ones are forgotten, so that a benchmark does not fill the
/// memory.
const RECORDED_MAX: usize = 1000;

/// How the endpoint behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// Asks once for `search_faq` with the last user text, then answers with the first answer in
    /// the tool's result.
    Instant,
    /// Fails with this status, naming the caller's key in its message as some providers do; after `times` failures, if given, goes on
    /// as [`Mode::Instant`].
    Status {
        /// The HTTP status.
        status: u16,
        /// How often.
        times: Option<u32>,
        /// The `Retry-After` header, in seconds.
        retry_after_s: Option<u32>,
    },
    /// As [`Mode::Instant`], but every answer takes this long.
    Slow(Duration),
    /// Accepts the request and never answers.
    Hang,
    /// Closes the connection in the middle of the body.
    Close,
    /// Answers 200 with a body that is cut-off JSON.
    BadJson,
    /// Asks for a tool for ever.
    Loop,
    /// Asks for a tool that does not exist, then repeats what it was told.
    UnknownTool,
    /// Asks with arguments that are not JSON, then with some of the wrong type, then repeats what it
    /// was told.
    BadArguments,
    /// Answers with neither text nor tool calls.
    Silent,
    /// Streams text without an end, as fast as it is read.
    Endless,
    /// Streams text without an end, a word every ten milliseconds.
    Trickle,
}

/// A mode's name that is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownMode(String);

impl fmt::Display for UnknownMode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "`{}` is none of instant, status:CODE[:TIMES[:RETRY_AFTER_S]], slow:MS, hang, close, bad-json, loop, \
             unknown-tool, bad-arguments, silent, endless, trickle",
            self.0
        )
    }
}

impl std::error::Error for UnknownMode {}

impl FromStr for Mode {
    type Err = UnknownMode;

    fn from_str(text: &str) -> Result<Mode, UnknownMode> {
        let mut parts = text.split(':');
        let name = parts.next().unwrap_or_default();
        let numbers: Option<Vec<u64>> = parts.map(|part| part.parse().ok()).collect();
        match (name, numbers.as_deref()) {
            ("instant", Some([])) => Ok(Mode::Instant),
            ("status", Some([status @ 400..=599, rest @ ..])) if rest.len() <= 2 => {
                let number = |index: usize| rest.get(index).and_then(|number| u32::try_from(*number).ok());
                let status = u16::try_from(*status).expect("at most 599");
                Ok(Mode::Status { status, times: number(0), retry_after_s: number(1) })
            }
            ("slow", Some([milliseconds])) => Ok(Mode::Slow(Duration::from_millis(*milliseconds))),
            ("hang", Some([])) => Ok(Mode::Hang),
            ("close", Some([])) => Ok(Mode::Close),
            ("bad-json", Some([])) => Ok(Mode::BadJson),
            ("loop", Some([])) => Ok(Mode::Loop),
            ("unknown-tool", Some([])) => Ok(Mode::UnknownTool),
            ("bad-arguments", Some([])) => Ok(Mode::BadArguments),
            ("silent", Some([])) => Ok(Mode::Silent),
            ("endless", Some([])) => Ok(Mode::Endless),
            ("trickle", Some([])) => Ok(Mode::Trickle),
            _ => Err(UnknownMode(text.to_owned())),
        }
    }
}

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// The path, such as `/v1/chat/completions`.
    pub path: String,
    /// The `Authorization` header.
    pub authorization: Option<String>,
    /// The body; null when it was not JSON.
    pub body: Value,
}

/// A running double. It ends when it is dropped.
pub struct LlmDouble {
    address: SocketAddr,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    mode: Mutex<Mode>,
    recorded: Mutex<VecDeque<Recorded>>,
    /// One more reference than there are endless streams that somebody still reads.
    streams: Arc<()>,
}

impl LlmDouble {
    /// Starts one on `address`; port 0 picks a free one.
    ///
    /// Besides `POST …/chat/completions` it serves `PUT /mode` with a mode's name as the body.
    pub async fn start(address: SocketAddr, mode: Mode) -> io::Result<LlmDouble> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let listener = listener.tap_io(|stream| {
            // A stream that refuses is only slower.
            let _ = stream.set_nodelay(true);
        });
        let shared = Arc::new(Shared { mode: Mutex::new(mode), recorded: Mutex::new(VecDeque::new()), streams: Arc::new(()) });
        let router = Router::new().fallback(serve).with_state(shared.clone());
        let server = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                eprintln!("the language model's double ended: {error}");
            }
        });
        Ok(LlmDouble { address, shared, server })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What to set as the base URL of an OpenAI-compatible provider.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// Changes how it behaves from the next request on.
    pub fn set_mode(&self, mode: Mode) {
        *lock(&self.shared.mode) = mode;
    }

    /// The requests so far, oldest first; the last thousand of them.
    pub fn recorded(&self) -> Vec<Recorded> {
        lock(&self.shared.recorded).iter().cloned().collect()
    }

    /// How many endless streams are still being read.
    pub fn streams(&self) -> usize {
        Arc::strong_count(&self.shared.streams) - 1
    }

    /// Serves until the task is stopped.
    pub async fn forever(mut self) {
        // An error would be a panic of the server's, which has printed itself.
        let _ = (&mut self.server).await;
    }
}

impl Drop for LlmDouble {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl fmt::Debug for LlmDouble {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("LlmDouble").field("address", &self.address).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let Ok(body) = body.collect().await else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let body = body.to_bytes();
    let path = head.uri.path();
    if head.method == Method::PUT && path == "/mode" {
        return set_mode(&shared, &body);
    }
    if head.method != Method::POST || !path.ends_with("/chat/completions") {
        return StatusCode::NOT_FOUND.into_response();
    }
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let authorization = head.headers.get(header::AUTHORIZATION);
    let authorization = authorization.and_then(|value| Some(value.to_str().ok()?.to_owned()));
    let recorded = Recorded { path: path.to_owned(), authorization, body };
    let mode = {
        let mut all = lock(&shared.recorded);
        if all.len() == RECORDED_MAX {
            all.pop_front();
        }
        all.push_back(recorded.clone());
        take_turn(&mut lock(&shared.mode))
    };
    behave(mode, &recorded, &shared.streams).await
}

fn set_mode(shared: &Shared, name: &[u8]) -> Response {
    match String::from_utf8_lossy(name).trim().parse() {
        Ok(mode) => {
            *lock(&shared.mode) = mode;
            StatusCode::NO_CONTENT.into_response()
        }
        Err(error) => (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    }
}

/// The mode for this request; a counted failure is counted.
fn take_turn(mode: &mut Mode) -> Mode {
    let taken = mode.clone();
    if let Mode::Status { times: Some(times), .. } = mode {
        *times = times.saturating_sub(1);
    }
    match taken {
        Mode::Status { times: Some(0), .. } => Mode::Instant,
        taken => taken,
    }
}

async fn behave(mode: Mode, recorded: &Recorded, streams: &Arc<()>) -> Response {
    let request = &recorded.body;
    let results = tool_results(request);
    match &mode {
        Mode::Instant => instant(request, &results),
        Mode::Slow(duration) => {
            tokio::time::sleep(*duration).await;
            instant(request, &results)
        }
        Mode::Hang => std::future::pending().await,
        Mode::Status { status, retry_after_s, .. } => failure(*status, *retry_after_s, recorded),
        Mode::Close if is_streamed(request) => {
            let first = event(&chunk(request, &json!({ "role": "assistant", "content": "I was going to" }), None));
            ([(header::CONTENT_TYPE, "text/event-stream")], Body::new(CutOff { first: first.into(), sent: false })).into_response()
        }
        Mode::Close => {
            let body = Body::new(CutOff { first: Bytes::from_static(b"{\"choices\": ["), sent: false });
            ([(header::CONTENT_TYPE, "application/json")], body).into_response()
        }
        Mode::BadJson => ([(header::CONTENT_TYPE, "application/json")], r#"{"choices": [{"#).into_response(),
        Mode::Loop => ask(request, "search_faq", &search_arguments(request)),
        Mode::UnknownTool => match results.as_slice() {
            [] => ask(request, "delete_everything", "{}"),
            results => say(request, &results.join("\n")),
        },
        Mode::BadArguments => match results.as_slice() {
            [] => ask(request, "search_faq", r#"{"query": "#),
            [_] => ask(request, "search_faq", r#"{"query": 7}"#),
            results => say(request, &results.join("\n")),
        },
        Mode::Endless | Mode::Trickle => {
            let pause = (mode == Mode::Trickle).then(|| tokio::time::interval(Duration::from_millis(10)));
            let word = event(&chunk(request, &json!({ "content": "more " }), None));
            ([(header::CONTENT_TYPE, "text/event-stream")], Body::new(Repeated { piece: word.into(), pause, _stream: streams.clone() }))
                .into_response()
        }
        Mode::Silent => completion(request, json!({ "role": "assistant", "content": null }), "stop"),
    }
}

fn instant(request: &Value, results: &[&str]) -> Response {
    match results.first() {
        None if request["tools"].is_array() => ask(request, "search_faq", &search_arguments(request)),
        None => say(request, "I was given no tools."),
        // The result reads `question: …`, a line break, `answer: …`, an empty line, and so on.
        Some(result) => {
            let answer = result.split_once("answer: ").map_or(*result, |(_, answer)| answer);
            say(request, answer.split("\n\n").next().unwrap_or_default())
        }
    }
}

fn tool_results(request: &Value) -> Vec<&str> {
    let messages = request["messages"].as_array().map_or(&[][..], Vec::as_slice);
    messages.iter().filter(|message| message["role"] == "tool").filter_map(|message| message["content"].as_str()).collect()
}

fn search_arguments(request: &Value) -> String {
    let messages = request["messages"].as_array().map_or(&[][..], Vec::as_slice);
    let question = messages.iter().rev().find(|message| message["role"] == "user");
    json!({ "query": question.map_or(&Value::Null, |question| &question["content"]) }).to_string()
}

fn ask(request: &Value, tool: &str, arguments: &str) -> Response {
    let call = json!({
        "id": "call_1", "type": "function", "function": { "name": tool, "arguments": arguments },
    });
    let message = json!({ "role": "assistant", "content": null, "tool_calls": [call] });
    completion(request, message, "tool_calls")
}

fn say(request: &Value, text: &str) -> Response {
    completion(request, json!({ "role": "assistant", "content": text }), "stop")
}

fn is_streamed(request: &Value) -> bool {
    request["stream"] == true
}

/// One event of a streamed completion.
fn chunk(request: &Value, delta: &Value, finish_reason: Option<&str>) -> Value {
    json!({
        "id": "chatcmpl-double",
        "object": "chat.completion.chunk",
        "created": 0,
        "model": request["model"],
        "choices": [{ "index": 0, "delta": delta, "finish_reason": finish_reason }],
    })
}

fn event(document: &Value) -> String {
    format!("data: {document}\n\n")
}

/// A message in pieces: its text word by word, the arguments of its tool calls in two halves.
fn streamed(request: &Value, message: &Value, finish_reason: &str) -> Response {
    let mut events = vec![chunk(request, &json!({ "role": "assistant", "content": "" }), None)];
    for word in message["content"].as_str().unwrap_or_default().split_inclusive(' ') {
        events.push(chunk(request, &json!({ "content": word }), None));
    }
    for (index, call) in message["tool_calls"].as_array().into_iter().flatten().enumerate() {
        let arguments = call["function"]["arguments"].as_str().unwrap_or_default();
        let (first, second) = arguments.split_at(arguments.floor_char_boundary(arguments.len() / 2));
        let named = json!({ "index": index, "id": call["id"], "type": "function", "function": { "name": call["function"]["name"], "arguments": first } });
        events.push(chunk(request, &json!({ "tool_calls": [named] }), None));
        events.push(chunk(request, &json!({ "tool_calls": [{ "index": index, "function": { "arguments": second } }] }), None));
    }
    events.push(chunk(request, &json!({}), Some(finish_reason)));
    let mut usage = chunk(request, &json!({}), None);
    usage["choices"] = json!([]);
    usage["usage"] = json!({ "prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15 });
    events.push(usage);
    let body: String = events.iter().map(event).chain(["data: [DONE]\n\n".to_owned()]).collect();
    ([(header::CONTENT_TYPE, "text/event-stream")], body).into_response()
}

fn completion(request: &Value, message: Value, finish_reason: &str) -> Response {
    if is_streamed(request) {
        return streamed(request, &message, finish_reason);
    }
    let document = json!({
        "id": "chatcmpl-double",
        "object": "chat.completion",
        "created": 0,
        "model": request["model"],
        "choices": [{ "index": 0, "message": message, "finish_reason": finish_reason }],
        "usage": { "prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15 },
    });
    ([(header::CONTENT_TYPE, "application/json")], document.to_string()).into_response()
}

fn failure(status: u16, retry_after_s: Option<u32>, recorded: &Recorded) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let message = format!("the double answers {status} to {}", recorded.authorization.as_deref().unwrap_or("nobody"));
    let document = json!({ "error": { "message": message } });
    let mut response = (status, [(header::CONTENT_TYPE, "application/json")], document.to_string()).into_response();
    if let Some(seconds) = retry_after_s {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

/// A body that breaks off after its first piece; it had promised a thousand bytes.
struct CutOff {
    first: Bytes,
    sent: bool,
}

impl HttpBody for CutOff {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.sent {
            return Poll::Ready(Some(Err(io::ErrorKind::ConnectionAborted.into())));
        }
        self.sent = true;
        Poll::Ready(Some(Ok(Frame::data(self.first.clone()))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(1000)
    }
}

/// A body that is the same piece again and again.
struct Repeated {
    piece: Bytes,
    /// Between two pieces.
    pause: Option<tokio::time::Interval>,
    _stream: Arc<()>,
}

impl HttpBody for Repeated {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some(pause) = &mut self.pause
            && pause.poll_tick(context).is_pending()
        {
            return Poll::Pending;
        }
        Poll::Ready(Some(Ok(Frame::data(self.piece.clone()))))
    }
}
