//! What AWS refuses is refused here, in its words; and where the deployment guide itself goes wrong, what happens is what would happen on AWS.

use frontdesk_tests::host::{Host, Setup, repository};

async fn host(folder: &std::path::Path) -> Host {
    let executable = std::path::Path::new(env!("CARGO_BIN_EXE_frontdesk"));
    let programs = executable.parent().unwrap().to_string_lossy().into_owned();
    Setup::new(env!("CARGO_BIN_EXE_frontdesk")).variable("FRONTDESK_PROGRAMS_DIR", &programs).start(folder).await
}

#[tokio::test]
async fn wrong_calls_are_refused_as_aws_refuses_them() {
    let folder = tempfile::tempdir().unwrap();
    let host = host(folder.path()).await;
    for part in ["figures_and_logs", "api_gateway", "identities", "lambda_functions", "agent_runtimes"] {
        let said = host.play("wrong_ways.py", &[part], &[]).await;
        assert!(said.contains("wrong ways were refused as AWS refuses them"), "{part}: {said}");
    }
}

#[tokio::test]
async fn the_notes_on_the_guide_are_true() {
    let folder = tempfile::tempdir().unwrap();
    let host = host(folder.path()).await;
    let notes = repository().join("docs/guide-notes.md").display().to_string();
    let said = host.play("guide_notes.py", &[], &[("NOTES", &notes), ("API_KEY", host.key()), ("ENDPOINT", &host.ready.endpoint)]).await;
    assert!(said.contains("the notes are true"), "{said}");
}
