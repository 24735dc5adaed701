//! Who may call: the account's users, roles, policies and temporary credentials, as the aws CLI and boto3 make and use them.

use frontdesk_tests::host::{Host, Setup, repository};
use tokio::process::Command;

fn setup() -> Setup {
    Setup::new(env!("CARGO_BIN_EXE_frontdesk"))
}

/// Runs a part of the clients' script and returns what it said.
async fn python(host: &Host, folder: &std::path::Path, part: &str) -> String {
    let ran = Command::new("python3")
        .arg(repository().join("tests/clients/identity.py"))
        .arg(part)
        .env("AWS_ENDPOINT_URL", &host.ready.control)
        .env("AWS_ACCESS_KEY_ID", &host.ready.access_key_id)
        .env("AWS_SECRET_ACCESS_KEY", &host.ready.secret_access_key)
        .env("AWS_DEFAULT_REGION", &host.ready.region)
        .env("AWS_MAX_ATTEMPTS", "1")
        .env("AGENT_ARN", &host.ready.agent_runtime_arn)
        .env("NO_PROXY", "*")
        .current_dir(folder)
        .output()
        .await
        .unwrap();
    let stdout = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{stdout}\n{}", String::from_utf8_lossy(&ran.stderr));
    stdout.into_owned()
}

#[tokio::test]
async fn the_guide_s_iam_commands_work_and_the_denied_call_passes_once_its_policy_is_attached() {
    let folder = tempfile::tempdir().unwrap();
    let host = setup().start(folder.path()).await;
    let said = python(&host, folder.path(), "guide").await;
    assert!(said.contains("the guide's role was made, used and deleted"), "{said}");
}

#[tokio::test]
async fn iam_answers_as_aws_does() {
    let folder = tempfile::tempdir().unwrap();
    let host = setup().start(folder.path()).await;
    for part in ["roles", "policies", "users", "groups", "passing", "refused", "pages", "simulated"] {
        let said = python(&host, folder.path(), part).await;
        assert!(said.contains(&format!("{part}: answered as they should")), "{said}");
    }
}

#[tokio::test]
async fn sessions_are_bounded_by_trust_policies_and_time() {
    let folder = tempfile::tempdir().unwrap();
    let host = setup().start(folder.path()).await;
    let said = python(&host, folder.path(), "sessions").await;
    assert!(said.contains("sessions: answered as they should"), "{said}");
}

#[tokio::test]
async fn identities_and_their_sessions_outlive_the_host() {
    let folder = tempfile::tempdir().unwrap();
    let host = setup().start(folder.path()).await;
    python(&host, folder.path(), "leave").await;
    assert_eq!(host.end("-TERM").await, Some(0));
    let host = setup().start(folder.path()).await;
    let said = python(&host, folder.path(), "found_again").await;
    assert!(said.contains("found again"), "{said}");
}

#[tokio::test]
async fn tokens_of_an_openid_provider_open_a_runtime_that_takes_them() {
    let folder = tempfile::tempdir().unwrap();
    let host = setup().start(folder.path()).await;
    let ran = Command::new("python3")
        .arg(repository().join("tests/clients/tokens.py"))
        .env("AWS_ENDPOINT_URL", &host.ready.control)
        .env("AWS_ACCESS_KEY_ID", &host.ready.access_key_id)
        .env("AWS_SECRET_ACCESS_KEY", &host.ready.secret_access_key)
        .env("AWS_DEFAULT_REGION", &host.ready.region)
        .env("AGENT_ARN", &host.ready.agent_runtime_arn)
        .env("AGENT", repository().join("crates/runtime/tests/agent.py"))
        .env("NO_PROXY", "*")
        .current_dir(folder.path())
        .output()
        .await
        .unwrap();
    let stdout = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{stdout}\n{}", String::from_utf8_lossy(&ran.stderr));
    assert!(stdout.contains("all tokens were judged as they should be"), "{stdout}");
}
