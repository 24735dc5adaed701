//! REST APIs beside the seeded one, built and called by AWS's own clients.

use frontdesk_tests::host::{Host, Setup, post};
use serde_json::json;

/// The gateway's own bound in the test of streams.
const INTEGRATION_TIMEOUT_MS: &str = "1000";

fn setup() -> Setup {
    Setup::new(env!("CARGO_BIN_EXE_frontdesk"))
}

fn proxy_arn(host: &Host) -> String {
    format!("arn:aws:lambda:{}:{}:function:frontdesk-proxy", host.ready.region, host.ready.agent_runtime_arn.split(':').nth(4).unwrap())
}

async fn play(host: &Host, script: &str) -> String {
    host.play(script, &[], &[("PROXY_ARN", &proxy_arn(host)), ("INTEGRATION_TIMEOUT_MS", INTEGRATION_TIMEOUT_MS)]).await
}

#[tokio::test]
async fn apis_are_built_deployed_called_and_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let host = setup().start(folder.path()).await;
    let said = play(&host, "rest_apis.py").await;
    assert!(said.contains("all APIs answered as they should"), "{said}");
    // It left a plan with the name of the host's own, which the command line goes on meaning.
    let created = host.run_json(&["keys", "create", "later", "--json"]).await;
    let answer = post(&host.ready.endpoint, created["value"].as_str(), json!({ "prompt": "roaming" }).to_string()).await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn a_stream_has_its_integration_s_time_to_begin() {
    let folder = tempfile::tempdir().unwrap();
    let setup = setup().variable("FRONTDESK_GATEWAY_INTEGRATION_TIMEOUT_MS", INTEGRATION_TIMEOUT_MS);
    let host = setup.variable("FRONTDESK_GATEWAY_STREAM_TIMEOUT_MS", "600000").start(folder.path()).await;
    let said = play(&host, "streams.py").await;
    assert!(said.contains("all streams ended as they should"), "{said}");
}

#[tokio::test]
async fn an_api_outlives_the_host_and_the_seeded_one_follows_the_settings() {
    let folder = tempfile::tempdir().unwrap();
    let host = setup().start(folder.path()).await;
    let key = host.key().to_owned();
    assert_eq!(host.ask("How do I activate roaming?").await.status, 200);
    assert_eq!(host.end("-TERM").await, Some(0));

    // Another stage by the settings; the plan and the key go with it, and the old address is nobody's.
    let host =
        setup().variable("FRONTDESK_GATEWAY_STAGE", "live").variable("FRONTDESK_GATEWAY_CACHE_TTL_S", "60").start(folder.path()).await;
    assert!(host.ready.endpoint.ends_with("/live/invoke"), "{}", host.ready.endpoint);
    let body = json!({ "prompt": "How do I activate roaming?" }).to_string();
    let answer = host.post(Some(&key), &body).await;
    assert_eq!((answer.status.as_u16(), answer.header("cache-status")), (200, "frontdesk; fwd=miss; stored"));
    assert!(host.post(Some(&key), &body).await.header("cache-status").starts_with("frontdesk; hit"));
}
