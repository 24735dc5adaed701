//! CloudWatch Logs on a running host: kept and read by AWS's own clients, and what a killed host has acknowledged is there when it starts again.

use frontdesk_tests::host::{Host, Setup};

const FINE: &str = "all logs were as they should be";

async fn play(host: &Host, arguments: &[&str]) {
    let said = host.play("logs.py", arguments, &[]).await;
    assert!(said.contains(FINE), "{said}");
}

#[tokio::test]
async fn logs_are_kept_searched_and_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let host = Setup::new(env!("CARGO_BIN_EXE_frontdesk")).start(folder.path()).await;
    play(&host, &[]).await;
}

#[tokio::test]
async fn what_was_acknowledged_outlives_a_killed_host() {
    let folder = tempfile::tempdir().unwrap();
    let setup = Setup::new(env!("CARGO_BIN_EXE_frontdesk"));
    let host = setup.start(folder.path()).await;
    play(&host, &["before"]).await;
    host.end("-KILL").await;
    let shown = setup.run(folder.path(), &["logs", "--group", "/desk/lasting", "--json"]).await;
    let lines: Vec<serde_json::Value> = shown.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((lines.len(), &lines[19]["message"], &lines[19]["stream"]), (20, &"line 19".into(), &"s".into()), "{}", shown.stderr);
    let absent = setup.run(folder.path(), &["logs", "--group", "/desk/absent"]).await;
    assert!(absent.code == Some(1) && absent.stderr.contains("/desk/lasting"), "{}", absent.stderr);
    let host = setup.start(folder.path()).await;
    play(&host, &["after"]).await;
}
