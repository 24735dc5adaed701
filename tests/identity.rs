//! Who may call: the account's users, roles, policies and temporary credentials, as the aws CLI and boto3 make and use them.

use frontdesk_tests::host::{Host, Setup};

fn setup() -> Setup {
    Setup::new(env!("CARGO_BIN_EXE_frontdesk"))
}

/// Plays a part of the clients' script.
async fn play(host: &Host, part: &str) -> String {
    host.play("identity.py", &[part], &[("AWS_MAX_ATTEMPTS", "1")]).await
}

#[tokio::test]
async fn the_guide_s_iam_commands_work_and_the_denied_call_passes_once_its_policy_is_attached() {
    let folder = tempfile::tempdir().unwrap();
    let host = setup().start(folder.path()).await;
    let said = play(&host, "guide").await;
    assert!(said.contains("the guide's role was made, used and deleted"), "{said}");
}

#[tokio::test]
async fn iam_answers_as_aws_does() {
    let folder = tempfile::tempdir().unwrap();
    let host = setup().start(folder.path()).await;
    for part in ["roles", "policies", "users", "groups", "passing", "refused", "pages", "simulated"] {
        let said = play(&host, part).await;
        assert!(said.contains(&format!("{part}: answered as they should")), "{said}");
    }
}

#[tokio::test]
async fn sessions_are_bounded_by_trust_policies_and_time() {
    let folder = tempfile::tempdir().unwrap();
    let host = setup().start(folder.path()).await;
    let said = play(&host, "sessions").await;
    assert!(said.contains("sessions: answered as they should"), "{said}");
}

#[tokio::test]
async fn identities_and_their_sessions_outlive_the_host() {
    let folder = tempfile::tempdir().unwrap();
    let host = setup().start(folder.path()).await;
    play(&host, "leave").await;
    assert_eq!(host.end("-TERM").await, Some(0));
    let host = setup().start(folder.path()).await;
    let said = play(&host, "found_again").await;
    assert!(said.contains("found again"), "{said}");
}

#[tokio::test]
async fn tokens_of_an_openid_provider_open_a_runtime_that_takes_them() {
    let folder = tempfile::tempdir().unwrap();
    let host = setup().start(folder.path()).await;
    let said = host.play("tokens.py", &[], &[]).await;
    assert!(said.contains("all tokens were judged as they should be"), "{said}");
}
