//! The guide's troubleshooting: each of its five issues is produced on a running host, recognised by `frontdesk doctor`, mended by the command that it names
//! and by `--fix`, and then the call is answered.

use frontdesk_tests::host::{Host, Setup};

async fn host(folder: &std::path::Path) -> Host {
    // The clients of functions are installed once: beside what is built.
    let executable = std::path::Path::new(env!("CARGO_BIN_EXE_frontdesk"));
    let programs = executable.parent().unwrap().to_string_lossy().into_owned();
    Setup::new(env!("CARGO_BIN_EXE_frontdesk")).variable("FRONTDESK_PROGRAMS_DIR", &programs).start(folder).await
}

async fn check(part: &str) {
    let folder = tempfile::tempdir().unwrap();
    let host = host(folder.path()).await;
    let account = host.ready.agent_runtime_arn.split(':').nth(4).unwrap();
    let proxy_arn = format!("arn:aws:lambda:{}:{account}:function:frontdesk-proxy", host.ready.region);
    let variables = [("FRONTDESK", env!("CARGO_BIN_EXE_frontdesk")), ("PROXY_ARN", &proxy_arn)];
    let said = host.play("doctor.py", &[part], &variables).await;
    assert!(said.contains(&format!("{part}: all was mended")), "{said}");
}

#[tokio::test]
async fn issue_1_forbidden() {
    check("forbidden").await;
}

#[tokio::test]
async fn issue_2_timeouts() {
    check("late").await;
}

#[tokio::test]
async fn issue_3_not_authorized() {
    check("not_permitted").await;
}

#[tokio::test]
async fn issue_4_too_many_requests() {
    check("too_many").await;
}

#[tokio::test]
async fn issue_5_another_answer() {
    check("otherwise").await;
}

#[tokio::test]
async fn nothing_is_mended_without_being_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let host = host(folder.path()).await;
    let disabled = host.run(&["keys", "disable", "ThirdPartyServerKey"]).await;
    assert_eq!(disabled.code, Some(0), "{disabled:?}");
    let found = host.run(&["doctor"]).await;
    let line = found.stdout.lines().find(|line| line.contains("mend: aws apigateway update-api-key")).unwrap_or_default();
    assert!(found.code == Some(1) && line.contains("op=replace,path=/enabled,value=true"), "{found:?}");
    assert!(found.stdout.contains("BAD   Key ThirdPartyServerKey: it is disabled"), "{found:?}");
    // Nobody is at the terminal to be asked.
    let unasked = host.run(&["doctor", "--fix"]).await;
    assert!(unasked.code == Some(1) && unasked.stderr.contains("--yes mends without asking"), "{unasked:?}");
    assert_eq!(host.ask("one").await.status, 403);
    let mended = host.run(&["doctor", "--fix", "--yes"]).await;
    assert!(mended.code == Some(0) && mended.stdout.contains("FIX   Key ThirdPartyServerKey"), "{mended:?}");
    assert_eq!(host.ask("How do I activate roaming?").await.status, 200);
    let none = host.run(&["doctor", "--api", "nothing123"]).await;
    assert!(none.code == Some(1) && none.stderr.contains("failed to look at the API nothing123"), "{none:?}");
}
