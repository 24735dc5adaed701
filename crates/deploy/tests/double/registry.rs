//! A registry in memory that keeps the distribution protocol, with the faults that a test asks for; and a line in front of it that breaks.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use futures_util::StreamExt as _;
use http::{HeaderMap, Method, StatusCode};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// How the registry behaves.
#[derive(Clone, Copy, Default)]
pub(crate) struct Faults {
    /// Chunks are answered with this status.
    pub(crate) chunk_status: Option<u16>,
    /// So many chunks are answered with 503 after half of them was kept.
    pub(crate) halves: usize,
    /// So many questions how far an upload is are answered with 404, the upload forgotten.
    pub(crate) forgotten: usize,
    /// A token is wanted, by this user and password.
    pub(crate) login: Option<(&'static str, &'static str)>,
    /// Basic authentication, in place of a token.
    pub(crate) is_basic: bool,
    /// Every blob is kept as if it had another digest.
    pub(crate) is_corrupt: bool,
}

#[derive(Default)]
struct Kept {
    faults: Faults,
    blobs: HashMap<String, Vec<u8>>,
    uploads: HashMap<String, Vec<u8>>,
    manifests: HashMap<String, Vec<u8>>,
    asked: Vec<String>,
}

/// The registry; it ends with the test's runtime.
pub(crate) struct RegistryDouble {
    pub(crate) host: String,
    kept: Arc<Mutex<Kept>>,
}

impl RegistryDouble {
    pub(crate) async fn start(faults: Faults) -> RegistryDouble {
        let kept = Arc::new(Mutex::new(Kept { faults, ..Kept::default() }));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let router = Router::new().fallback(answer).with_state(Arc::clone(&kept));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        RegistryDouble { host, kept }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap()
    }

    /// Method and path of each request so far, ids of uploads left out.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.kept().asked.clone()
    }

    pub(crate) fn count(&self, start: &str) -> usize {
        self.asked().iter().filter(|asked| asked.starts_with(start)).count()
    }

    pub(crate) fn blob(&self, digest: &str) -> Option<Vec<u8>> {
        self.kept().blobs.get(digest).cloned()
    }

    pub(crate) fn manifest(&self, name: &str) -> Option<Vec<u8>> {
        self.kept().manifests.get(name).cloned()
    }

    pub(crate) fn keep_blob(&self, digest: &str, bytes: Vec<u8>) {
        self.kept().blobs.insert(digest.to_owned(), bytes);
    }

    /// The address of a line to the registry that breaks once for each of `after`, when so many bytes have gone to the registry over a connection.
    pub(crate) async fn behind_a_line_that_breaks(&self, after: Vec<usize>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let line = listener.local_addr().unwrap().to_string();
        let (host, breaks) = (self.host.clone(), Arc::new((AtomicUsize::new(0), after)));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, host.clone(), Arc::clone(&breaks)));
            }
        });
        line
    }
}

async fn carry(client: TcpStream, host: String, breaks: Arc<(AtomicUsize, Vec<usize>)>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = TcpStream::connect(host).await.unwrap().into_split();
    let back = tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
    let (mut sent, mut piece) = (0, vec![0; 64 * 1024]);
    while let Ok(length @ 1..) = from_client.read(&mut piece).await {
        if to_server.write_all(&piece[..length]).await.is_err() {
            break;
        }
        sent += length;
        let broken = breaks.0.load(Ordering::SeqCst);
        if breaks.1.get(broken).is_some_and(|after| sent > *after) {
            breaks.0.fetch_add(1, Ordering::SeqCst);
            back.abort();
            return;
        }
    }
}

fn plain(status: u16, headers: &[(&str, String)], body: impl Into<Body>) -> Response {
    let mut response = Response::builder().status(StatusCode::from_u16(status).unwrap());
    for (name, value) in headers {
        response = response.header(*name, value);
    }
    response.body(body.into()).unwrap()
}

fn refused(status: u16, code: &str, message: &str) -> Response {
    plain(status, &[], serde_json::json!({ "errors": [{ "code": code, "message": message }] }).to_string())
}

fn digest_of(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

/// What an `Authorization` must be, as the faults say; the answer when it is not.
fn unauthorized(kept: &Kept, headers: &HeaderMap, host: &str) -> Option<Response> {
    let (user, password) = kept.faults.login?;
    let sent = headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
    use base64::prelude::{BASE64_STANDARD, Engine as _};
    let basic = format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")));
    let (wanted, challenge) = if kept.faults.is_basic {
        (basic, "Basic realm=\"double\"".to_owned())
    } else {
        ("Bearer a-token".to_owned(), format!("Bearer realm=\"http://{host}/token\",service=\"double\",scope=\"repository:x:pull\""))
    };
    let refusal = serde_json::json!({ "errors": [{ "code": "UNAUTHORIZED", "message": "authentication required" }] });
    (sent.as_deref() != Some(&wanted)).then(|| plain(401, &[("www-authenticate", challenge)], refusal.to_string()))
}

async fn answer(State(kept): State<Arc<Mutex<Kept>>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let host = parts.headers["host"].to_str().unwrap().to_owned();
    let (path, query) = (parts.uri.path().to_owned(), parts.uri.query().unwrap_or_default().to_owned());
    let shown = if path.contains("/uploads/") { "…/uploads" } else { path.as_str() };
    kept.lock().unwrap().asked.push(format!("{} {shown}", parts.method));
    if path == "/token" {
        use base64::prelude::{BASE64_STANDARD, Engine as _};
        let kept = kept.lock().unwrap();
        let (user, password) = kept.faults.login.unwrap();
        let basic = format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")));
        let is_known = parts.headers.get("authorization").is_some_and(|sent| sent.to_str().unwrap() == basic);
        assert!(query.contains("scope=repository%3Afrontdesk%3Apull%2Cpush") && query.contains("service=double"), "{query}");
        let refusal = || plain(401, &[], "{\"details\":\"incorrect username or password\"}");
        return if is_known { plain(200, &[], "{\"token\":\"a-token\"}") } else { refusal() };
    }
    if let Some(refusal) = unauthorized(&kept.lock().unwrap(), &parts.headers, &host) {
        return refusal;
    }
    let name = path.rsplit('/').next().unwrap().to_owned();
    match (&parts.method, path.split('/').nth_back(1).unwrap()) {
        (&Method::HEAD, "blobs") => plain(if kept.lock().unwrap().blobs.contains_key(&name) { 200 } else { 404 }, &[], ""),
        (&Method::HEAD, "manifests") => match kept.lock().unwrap().manifests.get(&name) {
            Some(manifest) => plain(200, &[("docker-content-digest", digest_of(manifest))], ""),
            None => plain(404, &[], ""),
        },
        (&Method::PUT, "manifests") => {
            let manifest = to_bytes(body, usize::MAX).await.unwrap().to_vec();
            let digest = digest_of(&manifest);
            kept.lock().unwrap().manifests.insert(name, manifest);
            plain(201, &[("docker-content-digest", digest)], "")
        }
        (&Method::POST, "uploads") => {
            let mut kept = kept.lock().unwrap();
            let id = format!("{:02}", kept.asked.len());
            kept.uploads.insert(id.clone(), Vec::new());
            plain(202, &[("location", format!("/v2/frontdesk/blobs/uploads/{id}?state=a"))], "")
        }
        (&Method::PATCH, "uploads") => patch(&kept, &name, &parts.headers, body).await,
        (&Method::GET, "uploads") => {
            let mut kept = kept.lock().unwrap();
            if kept.faults.forgotten > 0 {
                kept.faults.forgotten -= 1;
                kept.uploads.remove(&name);
            }
            match kept.uploads.get(&name) {
                Some(bytes) => plain(204, &[("range", format!("0-{}", bytes.len().saturating_sub(1)))], ""),
                None => refused(404, "BLOB_UPLOAD_UNKNOWN", "upload unknown"),
            }
        }
        (&Method::PUT, "uploads") => {
            let rest = to_bytes(body, usize::MAX).await.unwrap();
            let mut kept = kept.lock().unwrap();
            let Some(mut bytes) = kept.uploads.remove(&name) else { return refused(404, "BLOB_UPLOAD_UNKNOWN", "upload unknown") };
            bytes.extend_from_slice(&rest);
            let digest = query.split("digest=").nth(1).unwrap().replace("%3A", ":");
            if digest_of(&bytes) != digest || kept.faults.is_corrupt {
                return refused(400, "DIGEST_INVALID", "provided digest did not match uploaded content");
            }
            kept.blobs.insert(digest, bytes);
            plain(201, &[], "")
        }
        (method, _) => panic!("the double does not know {method} {path}"),
    }
}

/// Keeps of a chunk what arrives.
async fn patch(kept: &Mutex<Kept>, name: &str, headers: &HeaderMap, body: Body) -> Response {
    let faults = kept.lock().unwrap().faults;
    if let Some(status) = faults.chunk_status {
        return refused(status, "UNSUPPORTED", "chunks are not taken here");
    }
    let range = headers["content-range"].to_str().unwrap().to_owned();
    let (start, end): (usize, usize) = range.split_once('-').map(|(one, other)| (one.parse().unwrap(), other.parse().unwrap())).unwrap();
    if kept.lock().unwrap().uploads[name].len() != start {
        return refused(416, "BLOB_UPLOAD_INVALID", "the chunk does not follow");
    }
    let half = start + (end - start) / 2;
    let is_halved = faults.halves > 0;
    let mut pieces = body.into_data_stream();
    while let Some(Ok(piece)) = pieces.next().await {
        let mut kept = kept.lock().unwrap();
        let upload = kept.uploads.get_mut(name).unwrap();
        upload.extend_from_slice(&piece);
        if is_halved {
            upload.truncate(half);
        }
    }
    if is_halved {
        kept.lock().unwrap().faults.halves -= 1;
        return refused(503, "UNAVAILABLE", "overloaded");
    }
    let length = kept.lock().unwrap().uploads[name].len();
    let location = format!("http://{}/v2/frontdesk/blobs/uploads/{name}?state=b", headers["host"].to_str().unwrap());
    plain(202, &[("range", format!("0-{}", length - 1)), ("location", location)], "")
}
