//! The trust boundary: what control lets through, and what AWS's own clients see of it.

use frontdesk_aws::Credentials;
use frontdesk_aws::sigv4::{self, BodyHash, Scope, SigningKeys};
use frontdesk_tests::aws_cli;
use frontdesk_tests::host::{Answer, Host, Setup, send};
use http::{Method, Request};
use serde_json::json;
use time::{Duration, OffsetDateTime};

/// What is done to a request after it has been signed, or how it is signed wrongly.
#[derive(Debug, Clone, Copy)]
enum Wrong {
    Nothing,
    Unsigned,
    Bearer,
    Stale,
    Early,
    OtherBody,
    OtherQuery,
    OtherSecret,
    OtherKey,
    OtherRegion,
}

async fn invoke(host: &Host, wrong: Wrong) -> Answer {
    let arn = host.ready.agent_runtime_arn.replace(':', "%3A").replace('/', "%2F");
    let url = format!("{}/runtimes/{arn}/invocations?qualifier=DEFAULT", host.ready.control);
    let body = json!({ "prompt": "How do I activate roaming?" }).to_string();
    let request = Request::builder().method(Method::POST).uri(&url).header("content-type", "application/json");
    let (mut parts, ()) = request.body(()).unwrap().into_parts();
    #[expect(clippy::disallowed_methods, reason = "a test is an edge")]
    let now = OffsetDateTime::now_utc();
    let signed_at = match wrong {
        Wrong::Stale => now - Duration::minutes(6),
        Wrong::Early => now + Duration::minutes(6),
        _ => now,
    };
    let id = if matches!(wrong, Wrong::OtherKey) { "AKIAIOSFODNN7EXAMPLE" } else { &host.ready.access_key_id };
    let secret = if matches!(wrong, Wrong::OtherSecret) { "x" } else { &host.ready.secret_access_key };
    let region = if matches!(wrong, Wrong::OtherRegion) { "eu-west-1" } else { &host.ready.region };
    let scope = Scope { region, service: "bedrock-agentcore" };
    sigv4::sign(&mut parts, &BodyHash::of(body.as_bytes()), &Credentials::new(id, secret), scope, &SigningKeys::new(), signed_at).unwrap();
    let mut headers: Vec<(&str, &str)> =
        parts.headers.iter().filter(|(name, _)| *name != "host").map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
    match wrong {
        Wrong::Unsigned => headers.retain(|(name, _)| *name == "content-type"),
        Wrong::Bearer => headers = vec![("authorization", "Bearer abc")],
        _ => {}
    }
    let url = if matches!(wrong, Wrong::OtherQuery) { format!("{url}&accountId=1") } else { url };
    let body = if matches!(wrong, Wrong::OtherBody) { body.replace("roaming", "piracy!") } else { body };
    send(Method::POST, &url, &headers, body).await
}

#[tokio::test]
async fn only_a_fresh_unaltered_request_of_a_known_key_comes_through() {
    let folder = tempfile::tempdir().unwrap();
    let host = Setup::new(env!("CARGO_BIN_EXE_frontdesk")).start(folder.path()).await;
    let cases = [
        (Wrong::Unsigned, "MissingAuthenticationTokenException", "Missing Authentication Token"),
        (Wrong::Bearer, "AccessDeniedException", "Authorization method mismatch"),
        (Wrong::Stale, "InvalidSignatureException", "Signature expired"),
        (Wrong::Early, "InvalidSignatureException", "Signature not yet current"),
        (Wrong::OtherBody, "InvalidSignatureException", "does not match the signature you provided"),
        (Wrong::OtherQuery, "InvalidSignatureException", "does not match the signature you provided"),
        (Wrong::OtherSecret, "InvalidSignatureException", "does not match the signature you provided"),
        (Wrong::OtherKey, "UnrecognizedClientException", "security token included in the request is invalid"),
        (Wrong::OtherRegion, "InvalidSignatureException", "eu-west-1"),
    ];
    for (wrong, code, message) in cases {
        let answer = invoke(&host, wrong).await;
        assert_eq!((answer.status.as_u16(), answer.header("x-amzn-errortype")), (403, code), "{wrong:?}: {:?}", answer.json());
        assert!(answer.json()["message"].as_str().unwrap().contains(message), "{wrong:?}: {:?}", answer.json());
    }
    let answer = invoke(&host, Wrong::Nothing).await;
    assert_eq!(answer.status.as_u16(), 200, "{answer:?}");
    assert_eq!(answer.json()["actor_id"], "default-user", "the agent's own default, as no proxy was in between");
    let session_id = answer.header("x-amzn-bedrock-agentcore-runtime-session-id");
    assert!((33..=256).contains(&session_id.len()), "{answer:?}");
}

#[tokio::test]
async fn a_role_without_a_policy_is_denied_by_name() {
    // The proxy's own role may invoke the agent and nothing else; the host's own API is another thing.
    let folder = tempfile::tempdir().unwrap();
    let host = Setup::new(env!("CARGO_BIN_EXE_frontdesk")).start(folder.path()).await;
    let answer = send(Method::GET, &format!("{}/_frontdesk/keys", host.ready.control), &[], "").await;
    assert_eq!((answer.status.as_u16(), answer.header("x-amzn-errortype")), (403, "MissingAuthenticationTokenException"));
    let answer = send(Method::GET, &format!("{}/nothing", host.ready.control), &[], "").await;
    assert_eq!((answer.status.as_u16(), answer.header("x-amzn-errortype")), (404, "UnknownOperationException"));
}

/// The clients that users have: the aws CLI, boto3, and the signing that the FAQ guide's own function does by hand.
#[tokio::test]
async fn aws_clients_call_the_agent_directly() {
    let folder = tempfile::tempdir().unwrap();
    let host = Setup::new(env!("CARGO_BIN_EXE_frontdesk")).start(folder.path()).await;
    let version_2 = aws_cli::version_2().to_string_lossy().into_owned();
    let variables = [("API_ENDPOINT", &*host.ready.endpoint), ("API_KEY", host.key()), ("AWS_CLI_2", &version_2)];
    let said = host.play("aws_clients.py", &[], &variables).await;
    assert!(said.contains("all clients were answered"), "{said}");
}
