//! The chat page in a real browser, driven by `tests/browser/chat.mjs`.

use frontdesk_tests::host::{Setup, repository};
use tokio::process::Command;

#[tokio::test]
async fn a_person_asks_in_a_browser_and_reads_the_answer() {
    let folder = tempfile::tempdir().unwrap();
    let host = Setup::new(env!("CARGO_BIN_EXE_frontdesk")).start(folder.path()).await;
    let ran = Command::new("node")
        .arg(repository().join("tests/browser/chat.mjs"))
        .args(["--gateway", &host.ready.gateway, "--key", host.key()])
        .output()
        .await
        .expect("node is installed");
    let (stdout, stderr) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{stdout}\n{stderr}");
}
