//! Agents beside the host's own: made, called, changed and ended by AWS's own clients and by the host's API.

use frontdesk_tests::host::Setup;

fn setup() -> Setup {
    Setup::new(env!("CARGO_BIN_EXE_frontdesk"))
}

#[tokio::test]
async fn runtimes_are_made_validated_versioned_and_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let host = setup().start(folder.path()).await;
    let said = host.play("agents.py", &["control_plane"], &[]).await;
    assert!(said.contains("the control plane answered as it should"), "{said}");
}

#[tokio::test]
async fn an_agent_is_launched_called_in_sessions_and_ended() {
    let folder = tempfile::tempdir().unwrap();
    let host = setup().start(folder.path()).await;
    let said = host.play("agents.py", &["sessions"], &[]).await;
    assert!(said.contains("all sessions answered as they should"), "{said}");
    let log = std::fs::read_to_string(folder.path().join(".frontdesk/logs/agents/echo.jsonl")).unwrap();
    assert!(log.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok_and(|line| line["agent"] == "echo")), "{log}");
}

#[tokio::test]
async fn a_websocket_is_carried_byte_for_byte() {
    let folder = tempfile::tempdir().unwrap();
    let host = setup().start(folder.path()).await;
    let said = host.play("agents.py", &["websocket"], &[]).await;
    assert!(said.contains("all sockets carried what they should"), "{said}");
}

#[tokio::test]
async fn too_many_sessions_are_an_honest_429() {
    let folder = tempfile::tempdir().unwrap();
    let setup = setup().variable("FRONTDESK_RUNTIME_SESSIONS_MAX", "1").variable("FRONTDESK_RUNTIME_QUEUE_WAIT_MS", "10");
    let host = setup.start(folder.path()).await;
    let said = host.play("agents.py", &["full"], &[]).await;
    assert!(said.contains("one too many was turned away"), "{said}");
    // The host's own agent takes no session's place.
    assert_eq!(host.ask("How do I activate roaming?").await.status, 200);
}

#[tokio::test]
async fn agents_outlive_the_host_and_their_processes_do_not() {
    let folder = tempfile::tempdir().unwrap();
    let host = setup().start(folder.path()).await;
    let said = host.play("agents.py", &["launch"], &[]).await;
    let pid = said.trim().rsplit(' ').next().unwrap().to_owned();
    let process = std::path::PathBuf::from(format!("/proc/{pid}"));
    assert!(process.exists(), "{said}");
    assert_eq!(host.end("-TERM").await, Some(0));
    assert!(!process.exists(), "the session's process outlived the host");

    let host = setup().start(folder.path()).await;
    let said = host.play("agents.py", &["found_again"], &[]).await;
    assert!(said.contains("found again"), "{said}");
}
