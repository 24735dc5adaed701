//! Refusals in AWS's words, with AWS's codes.

use frontdesk_aws::sigv4::{BodyHash, Scope, SignError, SigningKeys, sign};
use frontdesk_aws::{Credentials, ServiceError};
use http::HeaderValue;
use http::request::Parts;

use super::{NOW, SCOPE, credentials, parts, signed, verified};

const BODY: &[u8] = br#"{"prompt":"hello"}"#;

fn good() -> Parts {
    let headers = [("host", "bedrock-agentcore.us-west-2.amazonaws.com"), ("content-type", "application/json")];
    signed(parts("POST", "/runtimes/x/invocations?qualifier=DEFAULT", headers), BODY, &credentials())
}

/// What a good request gets after `change`: `Code: message`, always with status 403.
fn check(change: impl FnOnce(&mut Parts), expected: &str) {
    let mut request = good();
    change(&mut request);
    refusal(&request, &credentials(), SCOPE, expected);
}

fn refusal(request: &Parts, known: &Credentials, scope: Scope<'_>, expected: &str) {
    let error = verified(request, BODY, known, scope, NOW).expect_err(expected);
    let error = ServiceError::from(error);
    assert_eq!(error.status, 403);
    assert_eq!(error.to_string(), expected);
}

fn set(name: &'static str, value: &str) -> impl FnOnce(&mut Parts) {
    let value = HeaderValue::from_str(value).unwrap();
    move |request| drop(request.headers.insert(name, value))
}

/// Replaces a part of the authorization header.
fn authorization(from: &'static str, to: &'static str) -> impl FnOnce(&mut Parts) {
    move |request| {
        let old = request.headers["authorization"].to_str().unwrap();
        assert!(old.contains(from), "{old}");
        let new = HeaderValue::from_str(&old.replace(from, to)).unwrap();
        request.headers.insert("authorization", new);
    }
}

#[test]
fn the_good_request_is_good() {
    let verified = verified(&good(), BODY, &credentials(), SCOPE, NOW).unwrap();
    assert_eq!(verified.access_key_id, credentials().access_key_id);
    assert_eq!(verified.signed_at, NOW);
    assert_eq!(verified.signed_headers, "content-type;host;x-amz-date");
}

#[test]
fn no_signature() {
    let missing = "MissingAuthenticationTokenException: Missing Authentication Token";
    check(|request| drop(request.headers.remove("authorization")), missing);
    check(set("authorization", ""), missing);
    check(set("authorization", "Basic dXNlcjpwYXNz"), missing);
    let mismatch = "AccessDeniedException: Authorization method mismatch. The agent is configured for a different authorization method than what \
                    was used in your request. Check the agent's authorization configuration and ensure your request uses the matching method \
                    (OAuth or SigV4)";
    check(set("authorization", "Bearer eyJhbGciOi"), mismatch);
    check(set("authorization", "bearer eyJhbGciOi"), mismatch);
}

#[test]
fn incomplete_signatures() {
    let incomplete = |messages: &[&str]| format!("IncompleteSignatureException: {}", messages.join(" "));
    let credential = "Authorization header requires 'Credential' parameter.";
    let signature = "Authorization header requires 'Signature' parameter.";
    let signed_headers = "Authorization header requires 'SignedHeaders' parameter.";
    let date = "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.";
    check(set("authorization", "AWS4-HMAC-SHA256"), &incomplete(&[credential, signature, signed_headers]));
    check(set("authorization", "AWS4-HMAC-SHA256 Credential=a"), &incomplete(&[signature, signed_headers]));
    check(|request| drop(request.headers.remove("x-amz-date")), &incomplete(&[date]));
    check(
        // The Base64 of the header's SHA-256, by Python: base64.b64encode(hashlib.sha256(b"AWS4-HMAC-SHA256 x").digest()).
        set("authorization", "AWS4-HMAC-SHA256 x"),
        "IncompleteSignatureException: Invalid key=value pair (missing equal-sign) in Authorization header (hashed with SHA-256 and \
         encoded with Base64): 'D6g1GisXlH+T3tugT4kJyB0BFiEOZqjg1nGwgXnvDLA='.",
    );
    check(
        authorization("Signature=", "Signature=0, Signature="),
        "IncompleteSignatureException: Authorization header has more than one 'Signature' parameter.",
    );
    check(
        |request| {
            request.headers.append("authorization", HeaderValue::from_static("AWS4-HMAC-SHA256 x"));
        },
        "IncompleteSignatureException: Found more than one 'Authorization' HTTP header.",
    );
    check(
        authorization("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"),
        "IncompleteSignatureException: Unsupported AWS 'algorithm': 'AWS4-ECDSA-P256-SHA256' (only AWS4-HMAC-SHA256 for now). ",
    );
    check(
        authorization("AKIDEXAMPLE/20260314/us-west-2/bedrock-agentcore/aws4_request", "AKIDEXAMPLE/20260314"),
        "IncompleteSignatureException: Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, \
         got 'AKIDEXAMPLE/20260314'",
    );
    check(
        set("x-amz-date", "2026-03-14T15:09:26Z"),
        "IncompleteSignatureException: Date must be in ISO-8601 'basic format'. Got '2026-03-14T15:09:26Z'. \
         See http://en.wikipedia.org/wiki/ISO_8601",
    );
    for unordered in ["host;content-type;x-amz-date", "content-type;host;host;x-amz-date", "Content-Type;host;x-amz-date"] {
        let mut request = good();
        let old = request.headers["authorization"].to_str().unwrap().replace("content-type;host;x-amz-date", unordered);
        set("authorization", &old)(&mut request);
        let expected = format!(
            "IncompleteSignatureException: SignedHeaders must be lower-case header names, sorted and separated by semicolons, got '{unordered}'"
        );
        refusal(&request, &credentials(), SCOPE, &expected);
    }
}

#[test]
fn spellings_of_the_authorization_header() {
    for (from, to) in [(", ", ","), (", ", " "), (", ", " ,  "), ("AWS4-HMAC-SHA256 ", "AWS4-HMAC-SHA256  ")] {
        let mut request = good();
        authorization(from, to)(&mut request);
        assert!(verified(&request, BODY, &credentials(), SCOPE, NOW).is_ok(), "{from:?} {to:?}");
    }
}

#[test]
fn invalid_signatures() {
    let mismatch = "InvalidSignatureException: The request signature we calculated does not match the signature you provided. Check your AWS \
                    Secret Access Key and signing method. Consult the service documentation for details.";
    check(set("content-type", "text/plain"), mismatch);
    check(authorization("Signature=", "Signature=0"), mismatch);
    check(|request| request.method = http::Method::PUT, mismatch);
    refusal(&good(), &Credentials::new("AKIDEXAMPLE", "another secret"), SCOPE, mismatch);

    check(set("x-amz-target", "x"), "InvalidSignatureException: 'x-amz-target' must be a 'SignedHeader' in the AWS Authorization.");
    check(
        authorization(";host", ""),
        "InvalidSignatureException: 'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.",
    );
    check(
        |request| drop(request.headers.remove("content-type")),
        "InvalidSignatureException: Authorization header requires existence of 'content-type' header.",
    );
    check(
        |request| request.uri = "/?X-Amz-Algorithm=AWS4-HMAC-SHA256".parse().unwrap(),
        "InvalidSignatureException: Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP header.",
    );
    check(
        set("x-amz-date", "20260314T150425Z"),
        "InvalidSignatureException: Signature expired: 20260314T150425Z is now earlier than 20260314T150426Z (20260314T150926Z - 5 min.)",
    );
    check(
        set("x-amz-date", "20260314T151427Z"),
        "InvalidSignatureException: Signature not yet current: 20260314T151427Z is still later than 20260314T151426Z \
         (20260314T150926Z + 5 min.)",
    );
}

#[test]
fn signatures_for_elsewhere() {
    let region = "Credential should be scoped to a valid region, not 'us-west-2'.";
    let service = "Credential should be scoped to correct service: 'iam'.";
    let check_scope = |region: &str, service: &str, messages: &[&str]| {
        let expected = format!("InvalidSignatureException: {}", messages.join(" "));
        refusal(&good(), &credentials(), Scope { region, service }, &expected);
    };
    check_scope("eu-west-1", "bedrock-agentcore", &[region]);
    check_scope("us-west-2", "iam", &[service]);
    check_scope("eu-west-1", "iam", &[region, service]);
    check(
        authorization("aws4_request", "aws5_request"),
        "InvalidSignatureException: Credential should be scoped with a valid terminator: 'aws4_request', not 'aws5_request'.",
    );
    check(
        authorization("/20260314/", "/20260313/"),
        "InvalidSignatureException: Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: \
         '20260313' != '20260314', from '20260314T150926Z'.",
    );
}

#[test]
fn unknown_access_keys_and_tokens() {
    let unrecognized = "UnrecognizedClientException: The security token included in the request is invalid.";
    refusal(&good(), &Credentials::new("AKIDOTHER", "wJalrXUtnFEMI"), SCOPE, unrecognized);
    // Temporary credentials without their token, with another's, and a token with credentials that have none.
    let temporary = credentials().with_session_token("right");
    let sent_with = |sent: &Credentials| signed(parts("POST", "https://a.example/", []), BODY, sent);
    assert!(verified(&sent_with(&temporary), BODY, &temporary, SCOPE, NOW).is_ok());
    refusal(&sent_with(&credentials()), &temporary, SCOPE, unrecognized);
    refusal(&sent_with(&credentials().with_session_token("wrong")), &temporary, SCOPE, unrecognized);
    refusal(&sent_with(&temporary), &credentials(), SCOPE, unrecognized);
}

#[test]
fn payload_hashes() {
    let request = |content_sha256: &str| {
        let headers = [("host", "a.example"), ("x-amz-content-sha256", content_sha256)];
        signed(parts("POST", "/", headers), BODY, &credentials())
    };
    let hash = BodyHash::of(BODY);
    assert!(verified(&request(hash.as_str()), BODY, &credentials(), SCOPE, NOW).is_ok());
    let other = BodyHash::of(b"other");
    let mismatch = "InvalidSignatureException: The request signature we calculated does not match the signature you provided. Check your AWS \
                    Secret Access Key and signing method. Consult the service documentation for details.";
    refusal(&request(other.as_str()), &credentials(), SCOPE, mismatch);
    for unsigned in ["UNSIGNED-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"] {
        let expected = format!("InvalidSignatureException: '{unsigned}' is not accepted as x-amz-content-sha256: the body must be signed.");
        refusal(&request(unsigned), &credentials(), SCOPE, &expected);
    }
}

#[test]
fn requests_that_cannot_be_signed() {
    let check = |uri: &str, credentials: Credentials, expected: Result<&str, &str>| {
        let mut request = parts("POST", uri, []);
        let result = sign(&mut request, &BodyHash::of(BODY), &credentials, SCOPE, &SigningKeys::new(), NOW);
        let host = result.map(|()| request.headers["host"].to_str().unwrap().to_owned());
        assert_eq!(host.map_err(|error: SignError| error.to_string()), expected.map(str::to_owned).map_err(str::to_owned));
    };
    check("https://a.example/", credentials(), Ok("a.example"));
    check("https://user@a.example:443/", credentials(), Ok("a.example"));
    check("http://a.example:80/", credentials(), Ok("a.example"));
    check("http://127.0.0.1:4566/", credentials(), Ok("127.0.0.1:4566"));
    check("http://[::1]:4566/", credentials(), Ok("[::1]:4566"));
    check("/", credentials(), Err("request has neither a host header nor an authority in its URI"));
    check("http://a.example", credentials().with_session_token("a\nb"), Err("session token cannot be sent in a header"));
    check("http://a.example", Credentials::new("a\nb", ""), Err("access key id, region or service cannot be sent in a header"));
}

#[test]
fn signing_again_replaces_the_signature() {
    let first = signed(good(), BODY, &credentials().with_session_token("token"));
    let again = signed(first, BODY, &credentials());
    assert_eq!(again.headers, good().headers);
}
