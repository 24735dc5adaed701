//! AWS's published test suite for Signature Version 4, as its C runtime carries it on
//! (<https://github.com/awslabs/aws-c-auth/tree/main/tests/aws-signing-test-suite/v4>): the requests and the signatures they must get.
//!
//! Left out are the cases that need a path with raw spaces, which `http::Uri` refuses, header values with line breaks, which HTTP has since
//! forbidden, and paths left as they are, which S3 alone wants.

use frontdesk_aws::Credentials;
use frontdesk_aws::sigv4::{BodyHash, Scope, SigningKeys, sign};
use time::macros::datetime;

use super::{credentials, parts};

const UNRESERVED: &str = "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Signs `GET /path` or the like, with header lines and a body, and compares the end of the `authorization` header.
fn check_as(credentials: &Credentials, line: &str, headers: &[(&str, &str)], body: &str, signature: &str) {
    let (method, uri) = line.split_once(' ').unwrap();
    let mut request = parts(method, uri, [("host", "example.amazonaws.com")].iter().chain(headers).copied());
    let scope = Scope { region: "us-east-1", service: "service" };
    let now = datetime!(2015-08-30 12:36:00 UTC);
    sign(&mut request, &BodyHash::of(body.as_bytes()), credentials, scope, &SigningKeys::new(), now).unwrap();
    let authorization = request.headers["authorization"].to_str().unwrap();
    assert_eq!(authorization.rsplit_once("Signature=").unwrap().1, signature, "{line} {headers:?}");
}

fn check(line: &str, headers: &[(&str, &str)], signature: &str) {
    check_as(&credentials(), line, headers, "", signature);
}

#[test]
fn plain_requests() {
    check("GET /", &[], "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31");
    check("POST /", &[], "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b");
}

#[test]
fn headers() {
    let my = |values: &[&'static str]| values.iter().map(|value| ("My-Header1", *value)).collect::<Vec<_>>();
    check("GET /", &my(&["value2", "value2", "value1"]), "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea");
    check("GET /", &my(&["value4", "value1", "value3", "value2"]), "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01");
    check(
        "GET /",
        &[("My-Header1", " value1"), ("My-Header2", " \"a   b   c\"")],
        "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
    );
    check("POST /", &my(&["value1"]), "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c");
    check("POST /", &my(&["VALUE1"]), "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d");
}

#[test]
fn paths() {
    let root = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31";
    check("GET /example/..", &[], root);
    check("GET /example1/example2/../..", &[], root);
    check("GET /./", &[], root);
    check("GET //", &[], root);
    check("GET /./example", &[], "ef75d96142cf21edca26f06005da7988e4f8dc83a165a80865db7089db637ec5");
    check("GET //example//", &[], "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84");
    check("GET /\u{1234}", &[], "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85");
    check(&format!("GET /{UNRESERVED}"), &[], "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f");
}

#[test]
fn queries() {
    check("GET /?Param1=value1", &[], "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb");
    check("POST /?Param1=value1", &[], "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11");
    check("GET /?Param-3=Value3&Param=Value2&%E1%88%B4=Value1", &[], "371d3713e185cc334048618a97f809c9ffe339c62934c032af5a0e595648fcac");
    check("GET /?Param2=value2&Param1=value1", &[], "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500");
    check("GET /?\u{1234}=bar", &[], "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04");
    check(&format!("GET /?{UNRESERVED}={UNRESERVED}"), &[], "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197");
}

#[test]
fn bodies() {
    // The suite signs a body together with its x-amz-content-sha256.
    let hash = "9095672bbd1f56dfc5b65f3e153adc8731a4a654192329106275f4c7b24d0b6e";
    assert_eq!(BodyHash::of(b"Param1=value1").as_str(), hash);
    let check = |content_type: &str, signature: &str| {
        let headers = [("content-type", content_type), ("content-length", "13"), ("x-amz-content-sha256", hash)];
        check_as(&credentials(), "POST /", &headers, "Param1=value1", signature);
    };
    check("application/x-www-form-urlencoded", "d3875051da38690788ef43de4db0d8f280229d82040bfac253562e56c3f20e0b");
    check("application/x-www-form-urlencoded; charset=utf-8", "328d1b9eaadca9f5818ef05e8392801e091653bafec24fcab71e7344e7f51422");
}

#[test]
fn session_tokens() {
    check_as(
        &credentials().with_session_token("6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267"),
        "GET /",
        &[],
        "",
        "07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8",
    );
}
