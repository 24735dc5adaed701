//! Lambda functions on a running host: made, called and deleted by AWS's own clients, run in the sandbox of the executable.

use frontdesk_tests::host::Setup;

#[tokio::test]
async fn functions_are_made_called_and_deleted() {
    let folder = tempfile::tempdir().unwrap();
    // The clients are installed once: beside what is built, where the tests of the crate have them too.
    let executable = std::path::Path::new(env!("CARGO_BIN_EXE_frontdesk"));
    let programs = executable.parent().unwrap().to_string_lossy().into_owned();
    let host = Setup::new(env!("CARGO_BIN_EXE_frontdesk")).variable("FRONTDESK_PROGRAMS_DIR", &programs).start(folder.path()).await;
    let said = host.play("functions.py", &[], &[]).await;
    assert!(said.contains("all functions answered as they should"), "{said}");
}
