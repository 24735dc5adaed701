//! The same requests through the signer of AWS's Rust SDK: both must come to the same signature, and its requests must be accepted here.

use std::time::SystemTime;

use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings};
use aws_sigv4::sign::v4;
use frontdesk_aws::Credentials;
use frontdesk_aws::sigv4::BodyHash;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use proptest::prelude::*;

use super::{ACCESS_KEY_ID, NOW, SCOPE, SECRET_ACCESS_KEY, credentials, parts, signed, verified};

const HOST: &str = "bedrock-agentcore.us-west-2.amazonaws.com";

#[derive(Clone, Debug)]
struct Generated {
    method: &'static str,
    path_and_query: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    token: Option<String>,
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// A piece of a path or query: plain, with RFC 3986's reserved characters, or percent-encoded Unicode.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-zA-Z0-9_~.-]{0,8}",
        "[a-zA-Z0-9!$'()*,;:@-]{0,8}",
        any::<String>().prop_map(|text| encoded(&text)),
        // Encoded though it need not be, and in lower case.
        "(%[46][1-9a-f]|%7e|%c3%9f){0,4}",
    ]
}

fn path() -> impl Strategy<Value = String> {
    let segment = prop_oneof![
        4 => piece(),
        1 => Just(".".to_owned()),
        1 => Just("..".to_owned()),
        1 => Just("100%".to_owned()),
        1 => Just(encoded("arn:aws:bedrock-agentcore:us-west-2:123456789012:runtime/faq-a1B2c3D4e5")),
    ];
    prop::collection::vec(segment, 0..6).prop_map(|segments| format!("/{}", segments.join("/")))
}

fn query() -> impl Strategy<Value = String> {
    let pair = prop_oneof![
        4 => (piece(), piece()).prop_map(|(name, value)| format!("{name}={value}")),
        1 => piece(),
        1 => Just("qualifier=DEFAULT".to_owned()),
        1 => Just("a=b=c+d".to_owned()),
    ];
    prop_oneof![
        1 => Just(String::new()),
        4 => prop::collection::vec(pair, 0..6).prop_map(|pairs| format!("?{}", pairs.join("&"))),
    ]
}

fn generated() -> impl Strategy<Value = Generated> {
    let method = prop::sample::select(vec!["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD"]);
    // Few names, so that some repeat.
    let header = ("(my-[ab]|content-type|accept|x-amz-target|x-amzn-thing|amz-sdk-request)", "[!-~]{0,4}[ -~]{0,12}");
    (
        method,
        (path(), query()).prop_map(|(path, query)| path + &query),
        prop::collection::vec(header, 0..6),
        prop::collection::vec(any::<u8>(), 0..64),
        prop::option::of("[a-zA-Z0-9/+=]{1,40}"),
    )
        .prop_map(|(method, path_and_query, headers, body, token)| Generated { method, path_and_query, headers, body, token })
}

/// The headers that AWS's signer adds.
fn signed_by_peer(request: &Generated, uri: &str) -> Vec<(String, String)> {
    let mut identity = aws_credential_types::Credentials::builder()
        .access_key_id(ACCESS_KEY_ID)
        .secret_access_key(SECRET_ACCESS_KEY)
        .provider_name("test");
    if let Some(token) = &request.token {
        identity = identity.session_token(token);
    }
    let identity = identity.build().into();
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region(SCOPE.region)
        .name(SCOPE.service)
        .time(SystemTime::from(NOW))
        .settings(SigningSettings::default())
        .build()
        .unwrap()
        .into();
    let headers = request.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let signable = SignableRequest::new(request.method, uri, headers, SignableBody::Bytes(&request.body)).unwrap();
    let (instructions, _) = aws_sigv4::http_request::sign(signable, &parameters).unwrap().into_parts();
    instructions.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn check(request: &Generated) {
    let mut known: Credentials = credentials();
    if let Some(token) = &request.token {
        known = known.with_session_token(token.as_str());
    }
    let uri = format!("https://{HOST}{}", request.path_and_query);
    let theirs = signed_by_peer(request, &uri);
    let headers: Vec<(&str, &str)> = request.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();

    let ours = signed(parts(request.method, &uri, headers.clone()), &request.body, &known);
    for (name, value) in &theirs {
        assert_eq!(ours.headers.get(name).map(|ours| ours.to_str().unwrap()), Some(value.as_str()), "{name}");
    }

    let theirs = theirs.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let sent = parts(request.method, &request.path_and_query, headers.into_iter().chain(theirs).chain([("host", HOST)]));
    verified(&sent, &request.body, &known, SCOPE, NOW).expect("what AWS's signer signed");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_signers_agree(request in generated()) {
        check(&request);
    }

    #[test]
    fn another_body_is_refused(request in generated(), other in prop::collection::vec(any::<u8>(), 0..64)) {
        prop_assume!(BodyHash::of(&other) != BodyHash::of(&request.body));
        let headers = request.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let uri = format!("https://{HOST}{}", request.path_and_query);
        let sent = signed(parts(request.method, &uri, headers), &request.body, &credentials());
        prop_assert!(verified(&sent, &request.body, &credentials(), SCOPE, NOW).is_ok());
        prop_assert!(verified(&sent, &other, &credentials(), SCOPE, NOW).is_err());
    }
}
