//! The public listener on a real network: TLS, HTTP/2, and callers who break the rules of HTTP.

use std::net::SocketAddr;
use std::path::Path;

use frontdesk_tests::host::{Host, Setup};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Command;

fn setup() -> Setup {
    Setup::new(env!("CARGO_BIN_EXE_frontdesk"))
}

/// Asks with curl. Returns the status, the HTTP version and the body; `None` when there was no answer.
async fn curl(host: &Host, flags: &[&str]) -> Option<(String, String)> {
    let address = address(host);
    let url = host.ready.endpoint.replace(&format!("127.0.0.1:{}", address.port()), &format!("localhost:{}", address.port()));
    let mut command = Command::new("curl");
    command.args(["-sS", "--noproxy", "*", "-o", "/dev/null", "-w", "%{http_code} %{http_version}"]).args(flags);
    command.args(["--resolve", &format!("localhost:{}:127.0.0.1", address.port()), "-H", &format!("x-api-key: {}", host.key())]);
    command.args(["-H", "Content-Type: application/json", "-d", r#"{"prompt":"How do I activate roaming?"}"#, &url]);
    let ran = command.output().await.unwrap();
    let told = String::from_utf8(ran.stdout).unwrap();
    let (status, version) = told.split_once(' ')?;
    ran.status.success().then(|| (status.to_owned(), version.to_owned()))
}

fn address(host: &Host) -> SocketAddr {
    host.ready.gateway.split("://").nth(1).unwrap().parse().unwrap()
}

/// A certificate of its own for `localhost`.
async fn certify(folder: &Path) {
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]);
    openssl.args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", "key.pem", "-out", "certificate.pem"]);
    let ran = openssl.current_dir(folder).output().await.unwrap();
    assert!(ran.status.success(), "{ran:?}");
}

fn answered(version: &str) -> Option<(String, String)> {
    Some(("200".to_owned(), version.to_owned()))
}

#[tokio::test]
async fn tls_is_spoken_and_a_new_certificate_is_taken_up() {
    let folder = tempfile::tempdir().unwrap();
    certify(folder.path()).await;
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (certificate, key) = (path("certificate.pem"), path("key.pem"));
    let setup = setup().variable("FRONTDESK_GATEWAY_TLS_CERTIFICATE", &certificate).variable("FRONTDESK_GATEWAY_TLS_KEY", &key);
    let host = setup.start(folder.path()).await;
    assert!(host.ready.endpoint.starts_with("https://127.0.0.1:"), "{}", host.ready.endpoint);
    assert_eq!(curl(&host, &["--cacert", &certificate]).await, answered("2"));
    assert_eq!(curl(&host, &["--cacert", &certificate, "--http1.1"]).await, answered("1.1"));

    check_refused(&host, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "400", "call https://").await;

    // The command line knows the host's own certificate, whatever name it is for; another is trusted by file, and a stranger's not at all.
    let asked = async |flags: &[&str]| host.run(&[&["ask", "How do I activate roaming?"], flags].concat()).await;
    for flags in [&[][..], &["--ca", &certificate], &["--url", &host.ready.endpoint, "--key", host.key(), "--ca", &certificate]] {
        let ran = asked(flags).await;
        assert!(ran.code == Some(0) && ran.stdout.contains("roaming"), "{flags:?}: {ran:?}");
    }
    let log = std::fs::read_to_string(folder.path().join(".frontdesk/logs/access.log")).unwrap();
    assert!(log.lines().last().unwrap().contains(r#""protocol":"HTTP/2.0""#), "{log}");
    let stranger = tempfile::tempdir().unwrap();
    certify(stranger.path()).await;
    let other = stranger.path().join("certificate.pem");
    for (flags, reason) in [
        (&["--ca", other.to_str().unwrap()][..], "is not trusted: name a file of those to trust with --ca FILE"),
        (&["--url", &host.ready.endpoint, "--key", host.key()], "is not trusted"),
        (&["--ca", &key], "holds no certificate in PEM form"),
        (&["--ca", "nowhere.pem"], "failed to read certificates from nowhere.pem"),
        (&["--url", &host.ready.endpoint], "name one for https://"),
    ] {
        let ran = asked(flags).await;
        assert!(ran.code == Some(1) && ran.stderr.contains(reason), "{flags:?}: {ran:?}");
    }

    // The old certificate is not trusted by who trusts the new one alone, until the host has read it.
    certify(folder.path()).await;
    while curl(&host, &["--cacert", &certificate]).await.is_none() {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let trusted = path("trusted.pem");
    std::fs::copy(&certificate, &trusted).unwrap();
    std::fs::write(&certificate, "no certificate").unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    assert_eq!(curl(&host, &["--cacert", &trusted]).await, answered("2"), "a broken file leaves the certificate in use");

    // At the start a mistake is told.
    let other = tempfile::tempdir().unwrap();
    let ran = setup.run(other.path(), &["up", "--gateway-listen", "127.0.0.1:0", "--control-listen", "127.0.0.1:0"]).await;
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("certificate.pem"), "{}", ran.stderr);
}

#[tokio::test]
async fn http2_is_spoken_without_tls_by_who_knows() {
    let folder = tempfile::tempdir().unwrap();
    let host = setup().start(folder.path()).await;
    assert_eq!(curl(&host, &["--http2-prior-knowledge"]).await, answered("2"));
    assert_eq!(curl(&host, &[]).await, answered("1.1"));
}

/// Sends bytes and reads what comes back until the connection is closed.
async fn say(host: &Host, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address(host)).await.unwrap();
    // Who has refused us may not want to hear the rest.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

/// Sends bytes that are no request, and checks the status and what the body says of it. One answer, and nothing of it is taken for another request.
async fn check_refused(host: &Host, request: &str, status: &str, reason: &str) {
    let shown: String = request.chars().take(120).collect();
    let answer = say(host, request.as_bytes()).await;
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{shown:?}: {answer:?}");
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{shown:?}: {answer:?}");
    let body = answer.split_once("\r\n\r\n").unwrap_or_default().1;
    let body: serde_json::Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{shown:?}: {error}: {answer:?}"));
    assert!(body["message"].as_str().is_some_and(|message| message.contains(reason)), "{shown:?}: {answer:?}");
}

#[tokio::test]
async fn who_sends_no_request_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let host = setup().start(folder.path()).await;
    let refused = async |request: &str, status: &str, reason: &str| check_refused(&host, request, status, reason).await;
    let head = "POST /prod/invoke HTTP/1.1\r\nHost: x\r\n";
    let no_request = "cannot be read";
    // Each of these is a request to some server and none, or another one, to the next: the stuff that smuggling is made of.
    for header in [
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 5, 6",
        "Content-Length: -5",
        "Content-Length: +5",
        "Content-Length: 0x5",
        "Content-Length: 5 5",
        "Content-Length: 99999999999999999999",
        "Content-Length:",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding : chunked",
        "X: folded\r\n onto a second line",
        "\u{20}X: folded onto the request line",
        "X: a\0b",
        "X: a\rb",
        "X\0: a",
        "Bad Header: x",
        ": without a name",
        "without a colon",
    ] {
        refused(&format!("{head}{header}\r\n\r\n0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"), "400", no_request).await;
    }
    for request in [
        "POST /prod/invoke HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST  HTTP/1.1\r\n\r\n",
        "POST /prod/invoke HTTP/3.0\r\n\r\n",
        "POST /prod/invoke\u{1} HTTP/1.1\r\n\r\n",
        "\u{16}\u{3}\u{1} not HTTP at all\r\n\r\n",
        "{\"prompt\": \"hello\"}\r\n\r\n",
    ] {
        refused(request, "400", no_request).await;
    }
    refused(&format!("{head}X: {}\r\n\r\n", "x".repeat(100_000)), "431", "headers are too large").await;
    refused(&format!("{head}{}\r\n", "X: y\r\n".repeat(200)), "431", "headers are too large").await;
    refused(&format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(70_000)), "431", "headers are too large").await;
    // After a request that was answered there is still a word for what follows.
    let answers = say(&host, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nBad Header: x\r\n\r\n").await;
    let told: Vec<&str> = answers.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
    assert_eq!(told, ["200", "400"], "{answers:?}");
    assert_eq!(host.ask("How do I activate roaming?").await.status, 200);
}

#[tokio::test]
async fn a_body_that_breaks_the_rules_is_refused_and_nothing_behind_it_is_a_request() {
    let folder = tempfile::tempdir().unwrap();
    let host = setup().start(folder.path()).await;
    let head = format!("POST /prod/invoke HTTP/1.1\r\nHost: x\r\nx-api-key: {}\r\nTransfer-Encoding: chunked\r\n", host.key());
    for chunks in [
        "FFFFFFFFFFFFFFFFF\r\nabc",
        "-1\r\nabc",
        "0x5\r\nabcde\r\n0\r\n\r\n",
        "5\nabcde\r\n0\r\n\r\n",
        "5;a\nb\r\nabcde\r\n0\r\n\r\n",
        "5\r\nabcdefgh\r\n0\r\n\r\n",
        "\r\n0\r\n\r\n",
    ] {
        check_refused(&host, &format!("{head}\r\n{chunks}"), "400", "Invalid request body").await;
    }
    // With both lengths the chunks count, in whichever order they come, and the connection ends behind them.
    let question = r#"{"prompt":"How do I activate roaming?"}"#;
    let chunked = format!("{:x}\r\n{question}\r\n0\r\n\r\n", question.len());
    let hidden = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    let before = head.replace("Transfer-Encoding", "Content-Length: 4\r\nTransfer-Encoding");
    for head in [head.clone(), before, format!("{head}Content-Length: 4\r\n")] {
        let answer = say(&host, format!("{head}\r\n{chunked}{hidden}").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("connection: close"), "{head:?}: {answer:?}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{head:?}: {answer:?}");
    }
}

#[tokio::test]
async fn paths_are_not_made_sense_of() {
    let folder = tempfile::tempdir().unwrap();
    let host = setup().start(folder.path()).await;
    // What is not declared is not there.
    for path in ["/prod/../prod/invoke", "/prod/%69nvoke", "/prod%2finvoke", "/prod/invoke%00", "/%ff/invoke", "//prod/invoke"] {
        let answer = say(&host, format!("POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 403"), "{path}: {answer:?}");
    }
    // A single line feed ends a line for hyper, as RFC 9112 (section 2.2) lets it.
    let answer = say(&host, b"GET /healthz HTTP/1.1\nHost: x\nConnection: close\n\n").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer:?}");
}

#[tokio::test]
async fn an_address_has_only_so_many_connections() {
    let folder = tempfile::tempdir().unwrap();
    let host = setup().variable("FRONTDESK_GATEWAY_CONNECTIONS_PER_ADDRESS_MAX", "3").start(folder.path()).await;
    let mut open = Vec::new();
    for _ in 0..3 {
        let mut stream = TcpStream::connect(address(&host)).await.unwrap();
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        assert!(stream.read(&mut [0; 1024]).await.unwrap() > 0);
        open.push(stream);
    }
    assert_eq!(say(&host, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await, "", "one too many is closed");
    let metrics = frontdesk_tests::host::send(http::Method::GET, &format!("{}/metrics", host.ready.control), &[], "").await;
    assert!(String::from_utf8_lossy(&metrics.body).contains("apigateway_connections 3\n"), "{metrics:?}");
    open.pop();
    while say(&host, b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.is_empty() {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}
