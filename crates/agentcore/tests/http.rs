//! The AgentCore container contract over real HTTP: what a host sees of an app.

use std::future::pending;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use frontdesk_agentcore::{Answer, App, BackgroundTask, Context, HandlerError};
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

const SESSION: &str = "X-Amzn-Bedrock-AgentCore-Runtime-Session-Id";
const REQUEST: &str = "X-Amzn-Bedrock-AgentCore-Runtime-Request-Id";

/// A running app; `stop` is its shutdown signal, `ended` completes when it has returned.
struct Server {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    ended: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Server {
    async fn start(app: App) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        // A dropped sender means "serve until the test ends".
        let shutdown = async {
            if stopped.await.is_err() {
                pending::<()>().await;
            }
        };
        Server { address, stop, ended: tokio::spawn(app.run(listener, shutdown)) }
    }

    async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response<Incoming> {
        send(self.address, method, path, headers, body).await
    }

    async fn invoke(&self, body: &[u8]) -> Response<Incoming> {
        self.send(Method::POST, "/invocations", &[], body).await
    }
}

async fn send(address: SocketAddr, method: Method, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response<Incoming> {
    let mut request = Request::builder().method(method).uri(format!("http://{address}{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(Bytes::copy_from_slice(body))).unwrap();
    Client::builder(TokioExecutor::new()).build_http().request(request).await.unwrap()
}

/// The whole body as text.
async fn text(response: Response<Incoming>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

/// One handler with a branch for every row of the contract.
async fn every_way(payload: Value, context: Context) -> Result<Answer, HandlerError> {
    match payload["do"].as_str().unwrap_or("echo") {
        "echo" => Ok(json!({ "echo": payload }).into()),
        "context" => Ok(json!({
            "session": context.session_id,
            "request": context.request_id,
            "token": context.workload_access_token,
            "callback": context.oauth2_callback_url,
            "baggage": context.baggage,
            "headers": context.headers.keys().map(|name| name.as_str()).collect::<Vec<_>>(),
        })
        .into()),
        "http error" => Err(HandlerError::http(418, "short and stout")),
        "error" => Err(HandlerError::Internal("boom".to_owned())),
        "panic" => panic!("a secret that the panic saw"),
        "stream" => Ok(Answer::stream(async |events| {
            for word in ["one", "two\nlines", "three"] {
                events.send(json!({ "word": word })).await;
            }
            Ok(())
        })),
        "stream many" => Ok(Answer::stream(async |events| {
            for number in 0..1000 {
                events.send(json!(number)).await;
            }
            Ok(())
        })),
        "stream error" => Ok(Answer::stream(async |events| {
            events.send(json!("first")).await;
            Err(HandlerError::Internal("mid".to_owned()))
        })),
        "stream panic" => Ok(Answer::stream(async |events| {
            events.send(json!("first")).await;
            panic!("in mid-stream")
        })),
        other => panic!("the test asks for {other:?}, which this handler does not know"),
    }
}

/// Sends one request to [`every_way`] and compares `"status content-type\nbody"`.
async fn check(method: Method, path: &str, body: &[u8], expected: &str) {
    let server = Server::start(App::new(every_way).body_bytes_max(1000)).await;
    let response = server.send(method.clone(), path, &[], body).await;
    let content_type = response.headers().get("content-type").map_or("-", |value| value.to_str().unwrap()).to_owned();
    let status = response.status().as_u16();
    let body = text(response).await;
    assert_eq!(format!("{status} {content_type}\n{body}"), expected, "{method} {path}");
}

async fn check_invocation(body: &str, expected: &str) {
    check(Method::POST, "/invocations", body.as_bytes(), expected).await;
}

#[tokio::test]
async fn a_value_is_json() {
    check_invocation(r#"{"a":1}"#, "200 application/json\n{\"echo\":{\"a\":1}}").await;
    check_invocation("[1,2]", "200 application/json\n{\"echo\":[1,2]}").await;
    check_invocation("\u{feff}null", "200 application/json\n{\"echo\":null}").await;
}

#[tokio::test]
async fn a_stream_is_server_sent_events() {
    check_invocation(
        r#"{"do":"stream"}"#,
        "200 text/event-stream; charset=utf-8\n\
         data: {\"word\":\"one\"}\n\ndata: {\"word\":\"two\\nlines\"}\n\ndata: {\"word\":\"three\"}\n\n",
    )
    .await;
}

#[tokio::test]
async fn an_error_in_mid_stream_is_an_event() {
    check_invocation(
        r#"{"do":"stream error"}"#,
        "200 text/event-stream; charset=utf-8\n\
         data: \"first\"\n\n\
         data: {\"error\":\"mid\",\"error_type\":\"RuntimeError\",\"message\":\"An error occurred during streaming\"}\n\n",
    )
    .await;
    check_invocation(
        r#"{"do":"stream panic"}"#,
        "200 text/event-stream; charset=utf-8\n\
         data: \"first\"\n\n\
         data: {\"error\":\"the agent's handler panicked\",\"error_type\":\"RuntimeError\",\
         \"message\":\"An error occurred during streaming\"}\n\n",
    )
    .await;
}

#[tokio::test]
async fn the_error_table() {
    check_invocation(
        "",
        "400 application/json\n\
         {\"error\":\"Invalid JSON\",\"details\":\"EOF while parsing a value at line 1 column 0\"}",
    )
    .await;
    check_invocation(
        "{",
        "400 application/json\n\
         {\"error\":\"Invalid JSON\",\"details\":\"EOF while parsing an object at line 1 column 1\"}",
    )
    .await;
    check(
        Method::POST,
        "/invocations",
        b"\"\xff\"",
        "400 application/json\n\
         {\"error\":\"Invalid encoding\",\"details\":\"invalid utf-8 sequence of 1 bytes from index 1\"}",
    )
    .await;
    check_invocation(r#"{"do":"http error"}"#, "418 application/json\n{\"error\":\"short and stout\"}").await;
    check_invocation(r#"{"do":"error"}"#, "500 application/json\n{\"error\":\"boom\"}").await;
    check_invocation(&format!("\"{}\"", "x".repeat(999)), "413 text/plain; charset=utf-8\nPayload Too Large").await;
}

#[tokio::test]
async fn other_paths_and_verbs() {
    check(Method::GET, "/", b"", "404 text/plain; charset=utf-8\nNot Found").await;
    check(Method::GET, "/invocations", b"", "405 text/plain; charset=utf-8\nMethod Not Allowed").await;
    check(Method::POST, "/ping", b"", "405 text/plain; charset=utf-8\nMethod Not Allowed").await;
    check(Method::GET, "/ws", b"", "404 text/plain; charset=utf-8\nNot Found").await;
}

#[tokio::test]
async fn a_web_socket_handshake_is_refused_without_a_handler() {
    let server = Server::start(App::new(every_way)).await;
    let headers = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")];
    assert_eq!(server.send(Method::GET, "/ws", &headers, b"").await.status(), 403);
}

#[tokio::test]
async fn a_panic_ends_one_request_only() {
    let server = Server::start(App::new(every_way)).await;
    let response = server.invoke(br#"{"do":"panic"}"#).await;
    assert_eq!(response.status(), 500);
    assert_eq!(text(response).await, r#"{"error":"the agent's handler panicked"}"#);
    assert_eq!(server.invoke(b"1").await.status(), 200);
}

#[tokio::test]
async fn a_stream_longer_than_its_queue_arrives_whole() {
    let server = Server::start(App::new(every_way)).await;
    let body = text(server.invoke(br#"{"do":"stream many"}"#).await).await;
    let expected: String = (0..1000).map(|number| format!("data: {number}\n\n")).collect();
    assert_eq!(body, expected);
}

#[tokio::test]
async fn the_context_comes_from_the_headers() {
    let server = Server::start(App::new(every_way)).await;
    let ask = br#"{"do":"context"}"#;
    let headers = [
        (SESSION, "s-1"),
        (REQUEST, "r-1"),
        ("WorkloadAccessToken", "older"),
        ("X-Amz-Bedrock-AgentCore-Identity-WAT", "newer"),
        ("OAuth2CallbackUrl", "https://example.com/back"),
        ("baggage", "a=b"),
        ("Authorization", "Bearer t"),
        ("X-Amzn-Bedrock-AgentCore-Runtime-Custom-Shop", "42"),
        ("X-Shop", "42"),
        ("Cookie", "not handed on"),
        ("X-Amz-Date", "not handed on"),
    ];
    let document = text(server.send(Method::POST, "/invocations", &headers, ask).await).await;
    let mut document: Value = serde_json::from_str(&document).unwrap();
    document["headers"].as_array_mut().unwrap().sort_by_key(|name| name.to_string());
    let expected = json!({
        "session": "s-1", "request": "r-1", "token": "newer", "callback": "https://example.com/back", "baggage": "a=b",
        "headers": [
            "authorization", "baggage", "oauth2callbackurl", "workloadaccesstoken", "x-amz-bedrock-agentcore-identity-wat",
            "x-amzn-bedrock-agentcore-runtime-custom-shop", "x-shop",
        ],
    });
    assert_eq!(document, expected);

    let first: Value = serde_json::from_str(&text(server.invoke(ask).await).await).unwrap();
    let second: Value = serde_json::from_str(&text(server.invoke(ask).await).await).unwrap();
    assert_eq!(first["session"], Value::Null);
    assert_eq!(first["request"].as_str().unwrap().len(), 36, "a new UUID stands in for a missing request id");
    assert_ne!(first["request"], second["request"]);
}

#[tokio::test]
async fn ping_is_busy_while_background_tasks_run() {
    let tasks: Arc<Mutex<Vec<BackgroundTask>>> = Arc::default();
    let held = tasks.clone();
    let server = Server::start(App::new(move |payload: Value, context: Context| {
        let held = held.clone();
        async move {
            match payload.as_str() {
                Some("begin") => held.lock().unwrap().push(context.background_task()),
                _ => drop(held.lock().unwrap().pop()),
            }
            Ok::<Value, HandlerError>(Value::Null)
        }
    }))
    .await;
    let ping = async || -> Value {
        let response = server.send(Method::GET, "/ping", &[], b"").await;
        assert_eq!((response.status().as_u16(), &response.headers()["content-type"]), (200, &"application/json".parse().unwrap()));
        serde_json::from_str(&text(response).await).unwrap()
    };

    let at_rest = ping().await;
    assert_eq!(at_rest["status"], "Healthy");
    assert!(at_rest["time_of_last_update"].as_u64().unwrap() > 1_700_000_000);
    let mut statuses = Vec::new();
    for step in ["begin", "begin", "end", "end"] {
        server.invoke(format!("{step:?}").as_bytes()).await;
        statuses.push(ping().await["status"].as_str().unwrap().to_owned());
    }
    assert_eq!(statuses, ["HealthyBusy", "HealthyBusy", "HealthyBusy", "Healthy"]);
    assert_eq!(ping().await, ping().await, "asking changes nothing");

    let head = server.send(Method::HEAD, "/ping", &[], b"").await;
    assert_eq!((head.status().as_u16(), text(head).await.as_str()), (200, ""));
}

#[tokio::test]
async fn a_caller_that_goes_away_stops_the_work() {
    struct Tells(Option<oneshot::Sender<()>>);
    impl Drop for Tells {
        fn drop(&mut self) {
            let _ = self.0.take().unwrap().send(());
        }
    }
    let (dropped, was_dropped) = oneshot::channel();
    let dropped = Mutex::new(Some(dropped));
    let server = Server::start(App::new(move |_: Value, _: Context| {
        let tells = Tells(dropped.lock().unwrap().take());
        async move {
            Ok::<_, HandlerError>(Answer::stream(async move |events| {
                events.send(json!("first")).await;
                pending::<()>().await;
                drop(tells);
                Ok(())
            }))
        }
    }))
    .await;
    let mut response = server.invoke(b"null").await;
    let first = response.body_mut().frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(first, "data: \"first\"\n\n");
    drop(response);
    was_dropped.await.expect("the stream is dropped, not leaked");
}

#[tokio::test]
async fn shutdown_waits_for_calls_in_flight() {
    let (entered, has_entered) = oneshot::channel();
    let (release, released) = oneshot::channel::<()>();
    let once = Mutex::new(Some((entered, released)));
    let server = Server::start(App::new(move |_: Value, _: Context| {
        let (entered, released) = once.lock().unwrap().take().expect("called once");
        async move {
            entered.send(()).unwrap();
            released.await.unwrap();
            Ok::<Value, HandlerError>(json!("late but whole"))
        }
    }))
    .await;
    let Server { address, stop, ended } = server;
    let call = tokio::spawn(async move { text(send(address, Method::POST, "/invocations", &[], b"null").await).await });
    has_entered.await.unwrap();
    stop.send(()).unwrap();
    release.send(()).unwrap();
    assert_eq!(call.await.unwrap(), "\"late but whole\"");
    ended.await.unwrap().unwrap();
}
