//! How far sessions are kept from the host: those with a network of their own reach the hosts that the settings name, through the host's relay, and never the host
//! itself; where the host is root each has a user of its own.

use frontdesk_tests::host::Setup;

fn setup() -> Setup {
    // The host's own proxies are none of a session's.
    ["HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"]
        .into_iter()
        .fold(Setup::new(env!("CARGO_BIN_EXE_frontdesk")), |setup, name| setup.variable(name, ""))
}

#[tokio::test]
async fn a_session_reaches_what_is_allowed_and_never_its_host() {
    let folder = tempfile::tempdir().unwrap();
    let allow = "allowed.invalid, 127.0.0.1, localhost, 169.254.169.254";
    let host = setup().variable("FRONTDESK_RUNTIME_EGRESS_ALLOW", allow).start(folder.path()).await;
    let said = host.play("egress.py", &["network"], &[("RELAYED", "yes")]).await;
    assert!(said.contains("only what is allowed was reached"), "{said}");
}

#[tokio::test]
async fn without_a_rule_a_session_reaches_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let host = setup().start(folder.path()).await;
    let said = host.play("egress.py", &["network"], &[("RELAYED", "no")]).await;
    assert!(said.contains("nothing was reached"), "{said}");
}

#[tokio::test]
async fn where_the_host_is_root_each_session_has_a_user_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let host = setup().start(folder.path()).await;
    let said = host.play("egress.py", &["users"], &[("RELAYED", "no")]).await;
    assert!(said.contains("sessions are the users that they should be"), "{said}");
}
