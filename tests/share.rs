//! What `frontdesk share` writes: read, validated, run as it is written, and looked at in a browser.

use std::path::Path;

use frontdesk_tests::host::{Host, Setup, repository};
use tokio::process::Command;

/// What of the hand-out runs as it is, by which program. C# has a test of its own in `make acceptance`, with a compiler.
const EXAMPLES: [(&str, &str); 5] = [
    ("bash", "examples/ask.sh"),
    ("python3", "examples/ask.py"),
    ("node", "examples/ask.cjs"),
    ("bash", "examples/stream.sh"),
    ("java", "examples/Ask.java"),
];

/// Runs a program of the hand-out.
async fn run(folder: &Path, program: &str, arguments: &[&str], api_key: Option<&str>) -> (bool, String) {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder).env("NO_PROXY", "*").env_remove("API_KEY");
    command.env("NODE_PATH", repository().join("tests/browser/node_modules"));
    command.envs(api_key.map(|key| ("API_KEY", key)));
    let ran = command.output().await.unwrap_or_else(|error| panic!("{program}: {error}"));
    (ran.status.success(), format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr)))
}

async fn succeed(host: &Host, arguments: &[&str]) -> String {
    let ran = host.run(arguments).await;
    assert_eq!(ran.code, Some(0), "{arguments:?}: {ran:?}");
    ran.stdout
}

async fn a_partner(folder: &Path) -> (Host, String) {
    let host = Setup::new(env!("CARGO_BIN_EXE_frontdesk")).start(folder).await;
    succeed(&host, &["plans", "create", "small", "--rate", "7", "--burst", "21", "--quota", "1234", "--period", "week", "--stage", "prod"])
        .await;
    succeed(&host, &["keys", "create", "partner-a", "--usage-plan", "small"]).await;
    let value = host.run_json(&["keys", "show", "partner-a", "--json"]).await;
    let value = value["value"].as_str().unwrap_or_else(|| panic!("{value}")).to_owned();
    (host, value)
}

#[tokio::test]
async fn the_examples_run_as_they_are_written() {
    let folder = tempfile::tempdir().unwrap();
    let (host, key) = a_partner(folder.path()).await;
    let ran = host.run(&["share", "--key", "partner-a", "--with-key", "--out", "hand-out"]).await;
    assert!(ran.code == Some(0) && ran.stderr.contains("from this machine alone"), "{ran:?}");
    let hand_out = folder.path().join("hand-out");
    let readme = std::fs::read_to_string(hand_out.join("README.md")).unwrap();
    for told in
        ["7 requests a second", "21 requests at once", "1234 requests a week", host.ready.endpoint.as_str(), key.as_str(), "`/stream`"]
    {
        assert!(readme.contains(told) || told == host.ready.endpoint && readme.contains(&host.ready.gateway), "{told}: {readme}");
    }
    for (program, file) in EXAMPLES {
        let (well, said) = run(&hand_out, program, &[file, "How do I \"activate\" roaming?"], None).await;
        assert!(well && said.to_lowercase().contains("roaming"), "{file}: {said}");
        // A wrong key is told, and not tried again.
        let (well, said) = run(&hand_out, program, &[file], Some("a-wrong-key-of-a-fit-length")).await;
        assert!(!well && said.contains("403"), "{file}: {said}");
    }
}

#[tokio::test]
async fn a_key_is_never_run() {
    let folder = tempfile::tempdir().unwrap();
    let (host, _) = a_partner(folder.path()).await;
    let value = r#"abc$(touch${IFS}ran)`touch${IFS}ran`"\'};defghijkl"#;
    succeed(&host, &["keys", "create", "odd", "--usage-plan", "small", "--value", value]).await;
    succeed(&host, &["share", "--key", "odd", "--with-key", "--out", "hand-out"]).await;
    let hand_out = folder.path().join("hand-out");
    for (program, file) in EXAMPLES {
        let (well, said) = run(&hand_out, program, &[file], None).await;
        assert!(well && said.to_lowercase().contains("roaming"), "{file}: {said}");
        assert!(!hand_out.join("ran").exists(), "{file} ran what the key says");
    }
}

#[tokio::test]
async fn nobody_waits_for_a_quota_that_is_spent() {
    let folder = tempfile::tempdir().unwrap();
    let host = Setup::new(env!("CARGO_BIN_EXE_frontdesk")).start(folder.path()).await;
    succeed(&host, &["plans", "create", "tiny", "--quota", "1", "--period", "month", "--stage", "prod"]).await;
    succeed(&host, &["keys", "create", "spent", "--usage-plan", "tiny"]).await;
    succeed(&host, &["share", "--key", "spent", "--with-key", "--out", "hand-out"]).await;
    let hand_out = folder.path().join("hand-out");
    let (well, said) = run(&hand_out, "bash", &["examples/ask.sh"], None).await;
    assert!(well, "{said}");
    for (program, file) in
        [("bash", "examples/ask.sh"), ("python3", "examples/ask.py"), ("node", "examples/ask.cjs"), ("java", "examples/Ask.java")]
    {
        let (well, said) = run(&hand_out, program, &[file], None).await;
        assert!(!well && said.contains("Limit Exceeded"), "{file}: {said}");
    }
}

#[tokio::test]
async fn without_the_key_the_hand_out_says_where_to_put_it() {
    let folder = tempfile::tempdir().unwrap();
    let (host, key) = a_partner(folder.path()).await;
    succeed(&host, &["share", "--key", "partner-a", "--endpoint", "https://faq.example.com/prod/invoke"]).await;
    let hand_out = folder.path().join("share-partner-a");
    for file in ["README.md", "index.html", "openapi.json", "examples/ask.py", "examples/csharp/Ask.cs"] {
        let text = std::fs::read_to_string(hand_out.join(file)).unwrap();
        assert!(!text.contains(&key) && text.contains("https://faq.example.com/prod"), "{file}: {text}");
    }
    succeed(&host, &["share", "--key", "partner-a", "--out", "here"]).await;
    for (program, file) in
        [("bash", "examples/ask.sh"), ("python3", "examples/ask.py"), ("node", "examples/ask.cjs"), ("java", "examples/Ask.java")]
    {
        let (well, said) = run(&folder.path().join("here"), program, &[file], Some(&key)).await;
        assert!(well && said.to_lowercase().contains("roaming"), "{file}: {said}");
    }
    let no_address = host.run(&["share", "--key", "partner-a", "--endpoint", "faq.example.com"]).await;
    assert!(no_address.code == Some(1) && no_address.stderr.contains("is no address to post to"), "{no_address:?}");
    let unknown = host.run(&["share", "--key", "nobody"]).await;
    assert!(unknown.code == Some(1) && unknown.stderr.contains("there is no key nobody"), "{unknown:?}");
    succeed(&host, &["keys", "create", "closed"]).await;
    succeed(&host, &["plans", "remove", "ThirdPartyUsagePlan", "closed"]).await;
    let closed = host.run(&["share", "--key", "closed"]).await;
    assert!(closed.code == Some(1) && closed.stderr.contains("frontdesk doctor --key"), "{closed:?}");
    succeed(&host, &["keys", "disable", "partner-a"]).await;
    let disabled = host.run(&["share", "--key", "partner-a"]).await;
    assert!(disabled.code == Some(1) && disabled.stderr.contains("is disabled"), "{disabled:?}");
}

#[tokio::test]
async fn the_description_is_true() {
    let folder = tempfile::tempdir().unwrap();
    let (host, key) = a_partner(folder.path()).await;
    succeed(&host, &["share", "--key", "partner-a", "--out", "hand-out"]).await;
    let description = folder.path().join("hand-out/openapi.json").display().to_string();
    let said = host.play("handout.py", &["description"], &[("OPENAPI", &description), ("API_KEY", &key)]).await;
    assert!(said.contains("description: as it should be"), "{said}");
}

#[tokio::test]
async fn the_clean_up_guide_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let host = Setup::new(env!("CARGO_BIN_EXE_frontdesk")).start(folder.path()).await;
    let said = host.play("handout.py", &["clean_up"], &[("FRONTDESK", env!("CARGO_BIN_EXE_frontdesk"))]).await;
    assert!(said.contains("clean_up: as it should be"), "{said}");
    assert_eq!(host.ask("How do I activate roaming?").await.status, 200, "the host's own API stays");
}

#[tokio::test]
async fn the_page_is_read_at_every_width() {
    let folder = tempfile::tempdir().unwrap();
    let (host, _) = a_partner(folder.path()).await;
    succeed(&host, &["share", "--key", "partner-a", "--with-key", "--out", "hand-out"]).await;
    let mut command = Command::new("node");
    command.arg(repository().join("tests/browser/handout.mjs")).arg("--page").arg(folder.path().join("hand-out/index.html"));
    if let Some(screenshots) = std::env::var_os("HANDOUT_SCREENSHOTS") {
        command.arg("--screenshots").arg(screenshots);
    }
    let ran = command.output().await.expect("node is installed");
    let (stdout, stderr) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{stdout}\n{stderr}");
}
