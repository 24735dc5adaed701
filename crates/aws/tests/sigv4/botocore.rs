//! What botocore signs is accepted, and nothing of what it signed may change. `golden/sign_with_botocore.py` makes the requests.

use frontdesk_aws::Credentials;
use frontdesk_aws::sigv4::{Scope, VerifyError};
use http::request::Parts;
use serde::Deserialize;
use time::{Duration, OffsetDateTime};

use super::{NOW, parts, verified};

#[derive(Deserialize)]
struct Golden {
    now: String,
    access_key_id: String,
    secret_access_key: String,
    cases: Vec<Case>,
}

#[derive(Clone, Deserialize)]
struct Case {
    name: String,
    service: String,
    session_token: Option<String>,
    method: String,
    uri: String,
    headers: Vec<(String, String)>,
    body: String,
}

impl Case {
    fn parts(&self) -> Parts {
        parts(&self.method, &self.uri, self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())))
    }

    /// The names in `SignedHeaders`, of the header or of the query.
    fn signed_headers(&self) -> Vec<String> {
        let header = self.headers.iter().find(|(name, _)| name == "Authorization").map(|(_, value)| value);
        let text = header.unwrap_or(&self.uri);
        let list = text.split("SignedHeaders=").nth(1).unwrap();
        list.split([',', '&']).next().unwrap().split(';').map(str::to_owned).collect()
    }
}

fn golden() -> Golden {
    let golden: Golden = serde_json::from_str(include_str!("golden/botocore.json")).unwrap();
    assert_eq!(golden.now, "20260314T150926Z", "the golden file and NOW agree");
    golden
}

/// The verdict on a case, perhaps altered, at an instant.
fn verdict(golden: &Golden, case: &Case, now: OffsetDateTime) -> Result<(), VerifyError> {
    let mut known = Credentials::new(golden.access_key_id.as_str(), golden.secret_access_key.as_str());
    if let Some(token) = &case.session_token {
        known = known.with_session_token(token.as_str());
    }
    let scope = Scope { region: "us-west-2", service: &case.service };
    let verified = verified(&case.parts(), case.body.as_bytes(), &known, scope, now)?;
    assert_eq!(verified.access_key_id, known.access_key_id);
    assert_eq!(verified.signed_at, NOW);
    assert_eq!(verified.signed_headers, case.signed_headers().join(";"));
    Ok(())
}

#[test]
fn requests_as_signed_are_accepted() {
    let golden = golden();
    for case in &golden.cases {
        assert_eq!(verdict(&golden, case, NOW), Ok(()), "{}", case.name);
    }
}

#[test]
fn requests_with_a_byte_altered_are_refused() {
    let golden = golden();
    let mut refused = 0;
    for case in &golden.cases {
        for (what, altered) in alterations(case) {
            let result = verdict(&golden, &altered, NOW);
            assert!(result.is_err(), "{}: {what} altered, and accepted: {} {:?}", case.name, altered.uri, altered.headers);
            refused += 1;
        }
    }
    assert!(refused > 2_000, "only {refused} alterations were tried");
}

#[test]
fn headers_that_proxies_change_are_not_signed() {
    let golden = golden();
    for case in &golden.cases {
        let mut altered = case.clone();
        altered.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("user-agent"));
        altered.headers.push(("User-Agent".to_owned(), "proxy".to_owned()));
        altered.headers.push(("X-Amzn-Trace-Id".to_owned(), "Root=2".to_owned()));
        altered.headers.push(("Via".to_owned(), "1.1 proxy".to_owned()));
        assert_eq!(verdict(&golden, &altered, NOW), Ok(()), "{}", case.name);
    }
}

#[test]
fn requests_age() {
    let golden = golden();
    let check = |case: &Case, seconds: i64, expected: &str| {
        let result = verdict(&golden, case, NOW + Duration::seconds(seconds));
        let message = result.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(message.starts_with(expected) && message.is_empty() == expected.is_empty(), "{} {seconds}: {message}", case.name);
    };
    let (presigned, signed): (Vec<&Case>, Vec<&Case>) = golden.cases.iter().partition(|case| case.uri.contains("X-Amz-Signature"));
    assert!(!presigned.is_empty() && !signed.is_empty());
    for case in signed {
        check(case, 300, "");
        check(case, 301, "Signature expired: 20260314T150926Z is now earlier than 20260314T150927Z (20260314T151427Z - 5 min.)");
        check(case, -300, "");
        check(case, -301, "Signature not yet current: 20260314T150926Z is still later than 20260314T150925Z (20260314T150425Z + 5 min.)");
    }
    for case in presigned {
        let lifetime = if case.uri.contains("X-Amz-Expires=300") { 300 } else { 60 };
        check(case, lifetime, "");
        check(case, lifetime + 1, "Signature expired: 202603");
        check(case, -301, "Signature not yet current: ");
    }
}

/// The case with each byte of its path, query, signed headers and body replaced, each signed header left out, and other things that an attacker
/// on the way might try.
fn alterations(case: &Case) -> Vec<(String, Case)> {
    let mut altered = Vec::new();
    let mut alter = |what: String, change: &dyn Fn(&mut Case)| {
        let mut case = case.clone();
        change(&mut case);
        altered.push((what, case));
    };
    let signed_headers = case.signed_headers();

    // Where a path is normalized, what stands before a `..` does not count.
    let is_literal = case.service == "s3" || !case.uri.contains("/../");
    for index in (1..case.uri.len()).filter(|_| is_literal) {
        alter(format!("uri[{index}]"), &|case| replace_byte(&mut case.uri, index));
    }
    alter("an added parameter".to_owned(), &|case| {
        case.uri.push(if case.uri.contains('?') { '&' } else { '?' });
        case.uri.push_str("a=b");
    });
    alter("an added segment".to_owned(), &|case| case.uri = case.uri.replacen('/', "/a/", 1));
    for index in 0..case.body.len() {
        if case.body.is_char_boundary(index) && case.body.as_bytes()[index].is_ascii() {
            alter(format!("body[{index}]"), &|case| replace_byte(&mut case.body, index));
        }
    }
    alter("a longer body".to_owned(), &|case| case.body.push(' '));
    alter("the method".to_owned(), &|case| case.method = "PATCH".to_owned());
    alter("an added x-amz- header".to_owned(), &|case| case.headers.push(("x-amz-target".to_owned(), "a".to_owned())));

    for (number, (name, value)) in case.headers.iter().enumerate() {
        let name = name.to_ascii_lowercase();
        if name != "authorization" && !signed_headers.contains(&name) {
            continue;
        }
        for index in 0..value.len() {
            // A space among several is as good as any other, and some spellings of the authorization header mean the same.
            if value.as_bytes()[index] != b' ' {
                alter(format!("{name}[{index}]"), &|case| replace_byte(&mut case.headers[number].1, index));
            }
        }
        alter(format!("{name} left out"), &|case| drop(case.headers.remove(number)));
        alter(format!("{name} twice"), &|case| {
            let twice = case.headers[number].clone();
            case.headers.push(twice);
        });
    }
    altered
}

/// Puts a letter there that was not there.
fn replace_byte(text: &mut String, index: usize) {
    let letter = if text.as_bytes()[index] == b'x' { "y" } else { "x" };
    text.replace_range(index..=index, letter);
}
