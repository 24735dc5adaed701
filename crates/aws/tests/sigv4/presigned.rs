//! Presigned URLs made here: the same as botocore's, and refused when they live too long.

use frontdesk_aws::Credentials;
use frontdesk_aws::sigv4::{SigningKeys, presign};
use http::request::Parts;

use super::{NOW, SCOPE, credentials, parts, verified};

const RUNTIME: &str = "/runtimes/arn%3Aaws%3Abedrock-agentcore%3Aus-west-2%3A123456789012%3Aruntime%2Ffaq_agent-a1B2c3D4e5/ws";
const ORIGIN: &str = "https://bedrock-agentcore.us-west-2.amazonaws.com";

fn presigned(credentials: &Credentials, query: &str, expires_seconds: u32) -> Parts {
    let request = parts("GET", &format!("{ORIGIN}{RUNTIME}{query}"), []);
    let uri = presign(&request, credentials, SCOPE, &SigningKeys::new(), expires_seconds, NOW).unwrap();
    parts("GET", &uri.to_string(), [])
}

#[test]
fn signatures_are_botocores() {
    let golden: serde_json::Value = serde_json::from_str(include_str!("golden/botocore.json")).unwrap();
    let check = |name: &str, query: &str, expires_seconds: u32| {
        let case = golden["cases"].as_array().unwrap().iter().find(|case| case["name"] == name).unwrap();
        let mut credentials = credentials();
        if let Some(token) = case["session_token"].as_str() {
            credentials = credentials.with_session_token(token);
        }
        let ours = presigned(&credentials, query, expires_seconds).uri.to_string();
        let signature = |uri: &str| uri.rsplit_once("X-Amz-Signature=").unwrap().1.to_owned();
        assert_eq!(signature(&ours), signature(case["uri"].as_str().unwrap()), "{name}");
    };
    check("a presigned WebSocket", "?qualifier=DEFAULT", 300);
    check("a presigned WebSocket with temporary credentials", "", 60);
}

#[test]
fn lifetimes() {
    let check = |expires_seconds: u32, expected: Result<(), &str>| {
        let request = presigned(&credentials(), "", expires_seconds);
        let result = verified(&request, b"", &credentials(), SCOPE, NOW).map(drop);
        assert_eq!(result.map_err(|error| error.to_string()), expected.map_err(str::to_owned));
    };
    check(1, Ok(()));
    check(300, Ok(()));
    check(301, Err("X-Amz-Expires must be between 1 and 300 seconds, got '301'"));
    check(0, Err("X-Amz-Expires must be between 1 and 300 seconds, got '0'"));
}

#[test]
fn incomplete_queries_name_what_is_missing() {
    let check = |leave_out: &str, expected: &str| {
        let uri = presigned(&credentials(), "", 60).uri.to_string();
        let (path, query) = uri.split_once('?').unwrap();
        let kept: Vec<&str> = query.split('&').filter(|pair| !pair.starts_with(leave_out)).collect();
        let request = parts("GET", &format!("{path}?{}", kept.join("&")), []);
        assert_eq!(verified(&request, b"", &credentials(), SCOPE, NOW).unwrap_err().to_string(), expected);
    };
    let missing = |name: &str| format!("AWS query-string parameters must include '{name}'. Re-examine the query-string parameters.");
    check("X-Amz-Algorithm", "Missing Authentication Token");
    check("X-Amz-Credential", &missing("X-Amz-Credential"));
    check("X-Amz-Signature", &missing("X-Amz-Signature"));
    check("X-Amz-SignedHeaders", &missing("X-Amz-SignedHeaders"));
    check("X-Amz-Date", &missing("X-Amz-Date"));
    check("X-Amz-Expires", &missing("X-Amz-Expires"));
}
