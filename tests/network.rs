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

#[tokio::test]
async fn who_breaks_the_rules_of_http_is_refused_and_the_next_caller_served() {
    let folder = tempfile::tempdir().unwrap();
    let host = setup().start(folder.path()).await;
    let check = async |request: &str, expected: &str| {
        let answer = say(&host, request.as_bytes()).await;
        assert!(answer.starts_with(expected), "{request:?}: {answer:?}");
        // One request gets one answer: nothing of it is taken for another.
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{request:?}: {answer:?}");
    };
    let head = "POST /prod/invoke HTTP/1.1\r\nHost: x\r\nConnection: close\r\n";
    check(&format!("{head}Content-Length: 5\r\nContent-Length: 6\r\n\r\n"), "HTTP/1.1 400").await;
    check(&format!("{head}Transfer-Encoding: chunked, identity\r\n\r\n"), "HTTP/1.1 400").await;
    check(&format!("{head}Content-Length: -5\r\n\r\n"), "HTTP/1.1 400").await;

    // Where no request can be made out the connection is closed, with an answer or without one; and who is still sending then may lose the answer on the
    // way (RFC 9112, section 9.6). Nobody gets another.
    let check_cut = async |request: &str| {
        let answer = say(&host, request.as_bytes()).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{request:?}: {answer:?}");
        assert!(answer.matches("HTTP/1.1 ").count() <= 1, "{request:?}: {answer:?}");
    };
    check_cut(&format!("{head}Bad Header: x\r\n\r\n")).await;
    check_cut("POST  HTTP/1.1\r\n\r\n").await;
    check_cut("\u{16}\u{3}\u{1} not HTTP at all\r\n\r\n").await;
    check_cut(&format!("{head}X: {}\r\n\r\n", "x".repeat(100_000))).await;
    check_cut(&format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(100_000))).await;
    // With both lengths the chunks count, and what follows them is no second request of somebody's.
    let both = "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    check_cut(&format!("{head}{both}GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")).await;
    // Paths are not made sense of: what is not declared is not there.
    for path in ["/prod/../prod/invoke", "/prod/%69nvoke", "/prod%2finvoke", "/prod/invoke%00", "/%ff/invoke", "//prod/invoke"] {
        let answer = say(&host, format!("POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 403"), "{path}: {answer:?}");
    }
    assert_eq!(host.ask("How do I activate roaming?").await.status, 200);
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
