//! A stand-in for a language model's endpoint, for tests and benchmarks: OpenAI's chat completions, Anthropic's messages, Amazon
//! Bedrock's Converse and Ollama's chat over real HTTP, whole and streamed. It thinks in no time, and misbehaves on demand in every
//! way that an endpoint may.

mod dialect;

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

use dialect::{Conversation, Dialect, Turn};

/// Requests that are remembered; older ones are forgotten, so that a benchmark does not fill the
/// memory.
const RECORDED_MAX: usize = 1000;

/// Words in a piece of [`Mode::Endless`]: few pieces go beyond any limit, also in a build without optimization.
const ENDLESS_WORDS: usize = 500;

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
    /// Calls each of the three FAQ tools in turn, then answers as [`Mode::Instant`].
    EveryTool,
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
             unknown-tool, bad-arguments, every-tool, silent, endless, trickle",
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
            ("every-tool", Some([])) => Ok(Mode::EveryTool),
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
    /// The `Authorization` header; at Anthropic's path `x-api-key`.
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
    /// Besides the providers' paths it serves `PUT /mode` with a mode's name as the body.
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

    /// What to set as the base URL of an OpenAI-compatible provider, or of Anthropic.
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
    let Some(dialect) = Dialect::of(path).filter(|_| head.method == Method::POST) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let recorded = Recorded { path: path.to_owned(), authorization: dialect.credential(&head.headers), body };
    let mode = {
        let mut all = lock(&shared.recorded);
        if all.len() == RECORDED_MAX {
            all.pop_front();
        }
        all.push_back(recorded.clone());
        take_turn(&mut lock(&shared.mode))
    };
    behave(mode, &recorded, dialect, &shared.streams).await
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

async fn behave(mode: Mode, recorded: &Recorded, dialect: Dialect, streams: &Arc<()>) -> Response {
    let conversation = dialect.conversation(&recorded.path, &recorded.body);
    let results = &conversation.results;
    let call = |tool, arguments: &str| Turn::Call { tool, arguments: arguments.to_owned() };
    let turn = match &mode {
        Mode::Instant => instant(&conversation),
        Mode::Slow(duration) => {
            tokio::time::sleep(*duration).await;
            instant(&conversation)
        }
        Mode::Hang => std::future::pending().await,
        Mode::Status { status, retry_after_s, .. } => return failure(*status, *retry_after_s, recorded, dialect),
        Mode::Close => {
            let (content_type, first) = if conversation.is_streamed {
                (conversation.stream_type(), conversation.piece("I was going to"))
            } else {
                ("application/json", Bytes::from_static(b"{\"choices\": ["))
            };
            return ([(header::CONTENT_TYPE, content_type)], Body::new(CutOff::after(first))).into_response();
        }
        Mode::BadJson => return ([(header::CONTENT_TYPE, "application/json")], r#"{"choices": [{"#).into_response(),
        Mode::Loop => search(&conversation),
        Mode::UnknownTool => match results.as_slice() {
            [] => call("delete_everything", "{}"),
            results => Turn::Say(results.join("\n")),
        },
        Mode::BadArguments => match results.as_slice() {
            [] => call("search_faq", r#"{"query": "#),
            [_] => call("search_faq", r#"{"query": 7}"#),
            results => Turn::Say(results.join("\n")),
        },
        Mode::EveryTool => match results.len() {
            0 => search(&conversation),
            1 => call("search_detailed_faq", &json!({ "query": conversation.question, "num_results": 4 }).to_string()),
            2 => call("reformulate_query", &json!({ "original_query": conversation.question, "focus_aspect": "price" }).to_string()),
            _ => first_answer(results),
        },
        Mode::Endless | Mode::Trickle => {
            let pause = (mode == Mode::Trickle).then(|| tokio::time::interval(Duration::from_millis(10)));
            let text = if mode == Mode::Endless { "more ".repeat(ENDLESS_WORDS) } else { "more ".to_owned() };
            let body = Body::new(Repeated { piece: conversation.piece(&text), pause, _stream: streams.clone() });
            return ([(header::CONTENT_TYPE, conversation.stream_type())], body).into_response();
        }
        Mode::Silent => Turn::Nothing,
    };
    conversation.answer(&turn)
}

fn instant(conversation: &Conversation) -> Turn {
    match conversation.results.as_slice() {
        [] if conversation.has_tools => search(conversation),
        [] => Turn::Say("I was given no tools.".to_owned()),
        results => first_answer(results),
    }
}

fn search(conversation: &Conversation) -> Turn {
    Turn::Call { tool: "search_faq", arguments: json!({ "query": conversation.question }).to_string() }
}

/// A result reads `question: …`, a line break, `answer: …`, an empty line, and so on.
fn first_answer(results: &[String]) -> Turn {
    let answer = results[0].split_once("answer: ").map_or(results[0].as_str(), |(_, answer)| answer);
    Turn::Say(answer.split("\n\n").next().unwrap_or_default().to_owned())
}

fn failure(status: u16, retry_after_s: Option<u32>, recorded: &Recorded, dialect: Dialect) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let message = format!("the double answers {status} to {}", recorded.authorization.as_deref().unwrap_or("nobody"));
    let mut response = (status, [(header::CONTENT_TYPE, "application/json")], dialect.failure(&message).to_string()).into_response();
    if let Some(seconds) = retry_after_s {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

/// A body that breaks off after its first piece; it had promised a thousand bytes.
struct CutOff {
    first: Option<Bytes>,
    /// While a body has nothing to give, what it gave is sent: this gives the first piece its time.
    pause: Pin<Box<tokio::time::Sleep>>,
}

impl CutOff {
    fn after(first: Bytes) -> CutOff {
        CutOff { first: Some(first), pause: Box::pin(tokio::time::sleep(Duration::from_millis(20))) }
    }
}

impl HttpBody for CutOff {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        self.pause.as_mut().poll(context).map(|()| Some(Err(io::ErrorKind::ConnectionAborted.into())))
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
