//! The same agent written with the Python SDK and with ours answers the same, black box against black box.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

fn contract(file: &str) -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it for tests");
    Path::new(&package).join("tests/contract").join(file)
}

/// The example `contract`, which cargo has built beside this test.
fn our_agent() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent().and_then(Path::parent).unwrap().join("examples/contract")
}

async fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}

async fn start(mut command: Command, port: u16) -> Child {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true).spawn().unwrap();
    let listening = async {
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            assert!(child.try_wait().unwrap().is_none(), "{command:?} has ended");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), listening).await.expect("it listens");
    child
}

#[tokio::test]
async fn ours_and_the_python_sdk_answer_the_same() {
    let (ours, theirs) = (free_port().await, free_port().await);
    let mut python = Command::new("python3");
    python.arg(contract("agent.py")).arg(theirs.to_string());
    let mut rust = Command::new(our_agent());
    rust.env("PORT", ours.to_string());
    let _agents = (start(python, theirs).await, start(rust, ours).await);
    let compared =
        Command::new("python3").arg(contract("compare.py")).args([theirs, ours].map(|port| port.to_string())).output().await.unwrap();
    let told = String::from_utf8_lossy(&compared.stdout);
    assert!(compared.status.success(), "the Python SDK's answer first, ours second:\n{told}{}", String::from_utf8_lossy(&compared.stderr));
}
