//! Functions behind methods of REST APIs: built by AWS's own clients, called through the gateway, judged by the function's policy.

use frontdesk_tests::host::Setup;

#[tokio::test]
async fn functions_answer_behind_methods() {
    let folder = tempfile::tempdir().unwrap();
    // The clients are installed once: beside what is built, where the tests of the crate have them too.
    let executable = std::path::Path::new(env!("CARGO_BIN_EXE_frontdesk"));
    let programs = executable.parent().unwrap().to_string_lossy().into_owned();
    let host = Setup::new(env!("CARGO_BIN_EXE_frontdesk")).variable("FRONTDESK_PROGRAMS_DIR", &programs).start(folder.path()).await;
    let said = host.play("function_apis.py", &[], &[]).await;
    assert!(said.contains("all functions behind methods answered as they should"), "{said}");
}
