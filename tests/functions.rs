//! Lambda functions on a running host: made, called and deleted by AWS's own clients, run in the sandbox of the executable.

use frontdesk_tests::host::{Setup, repository};
use tokio::process::Command;

#[tokio::test]
async fn functions_are_made_called_and_deleted() {
    let folder = tempfile::tempdir().unwrap();
    // The clients are installed once: beside what is built, where the tests of the crate have them too.
    let executable = std::path::Path::new(env!("CARGO_BIN_EXE_frontdesk"));
    let programs = executable.parent().unwrap().to_string_lossy().into_owned();
    let host = Setup::new(env!("CARGO_BIN_EXE_frontdesk")).variable("FRONTDESK_PROGRAMS_DIR", &programs).start(folder.path()).await;
    let ran = Command::new("python3")
        .arg(repository().join("tests/clients/functions.py"))
        .env("AWS_ENDPOINT_URL", &host.ready.control)
        .env("AWS_ACCESS_KEY_ID", &host.ready.access_key_id)
        .env("AWS_SECRET_ACCESS_KEY", &host.ready.secret_access_key)
        .env("AWS_DEFAULT_REGION", &host.ready.region)
        .env("DATA_DIR", folder.path().join(".frontdesk"))
        .env("NO_PROXY", "*")
        .output()
        .await
        .unwrap();
    let stdout = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{stdout}\n{}", String::from_utf8_lossy(&ran.stderr));
    assert!(stdout.contains("all functions answered as they should"), "{stdout}");
    let log = std::fs::read_to_string(folder.path().join(".frontdesk/logs/functions/teller.jsonl")).unwrap();
    assert!(log.lines().any(|line| line.contains("asked {'a': 1}")) && log.contains("REPORT RequestId"), "{log}");
}
