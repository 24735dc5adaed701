//! The canonical form of a request, the text that both sides hash: method, path, query, the signed headers with their names, and the body's hash.
//!
//! Source: "Create a canonical request" in the IAM User Guide
//! (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html#create-canonical-request>).

use std::borrow::Cow;

use http::request::Parts;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, percent_encode};
use sha2::{Digest, Sha256};

use super::{ALGORITHM, BodyHash, HexDigest, Scope, TERMINATOR};

/// What AWS's `UriEncode` replaces: all but RFC 3986's unreserved characters.
pub(super) const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// The same in a path, whose slashes stay.
const ENCODED_IN_PATH: &AsciiSet = &ENCODED.remove(b'/');

/// The parameter that carries the signature of a presigned URL, and so is no part of what it signs.
pub(super) const SIGNATURE_PARAMETER: &str = "X-Amz-Signature";

/// The canonical request of `request`, covering the headers `signed` (lower case, sorted, separated by `;`, each present or `host`).
///
/// Header values may hold any byte above 31, so the result is bytes.
pub(super) fn canonical_request(request: &Parts, signed: &str, body: &BodyHash, service: &str) -> Vec<u8> {
    let mut text = Vec::with_capacity(1024);
    text.extend_from_slice(request.method.as_str().as_bytes());
    text.push(b'\n');
    write_path(&mut text, request.uri.path(), service);
    text.push(b'\n');
    text.extend_from_slice(query(request.uri.query().unwrap_or_default()).as_bytes());
    text.push(b'\n');
    for name in signed.split(';') {
        text.extend_from_slice(name.as_bytes());
        text.push(b':');
        write_header(&mut text, request, name);
        text.push(b'\n');
    }
    for line in ["", signed] {
        text.extend_from_slice(line.as_bytes());
        text.push(b'\n');
    }
    text.extend_from_slice(body.as_str().as_bytes());
    text
}

/// The string whose HMAC is the signature: algorithm, timestamp, credential scope and the hash of the canonical request, a line each.
pub(super) fn string_to_sign(canonical_request: &[u8], timestamp: &str, scope: Scope<'_>) -> String {
    let hash = HexDigest::of(&Sha256::digest(canonical_request).into());
    [ALGORITHM, "\n", timestamp, "\n", &credential_scope(timestamp, scope), "\n", hash.as_str()].concat()
}

/// `20150830/us-east-1/iam/aws4_request`, the day being that of `timestamp` (`20150830T123600Z`).
pub(super) fn credential_scope(timestamp: &str, scope: Scope<'_>) -> String {
    [&timestamp[..8], "/", scope.region, "/", scope.service, "/", TERMINATOR].concat()
}

/// Whether a request says which host it is for: in its `Host` header, or in HTTP/2 and absolute form in the authority of its URI.
pub(super) fn has_host(request: &Parts) -> bool {
    request.headers.contains_key(http::header::HOST) || request.uri.authority().is_some()
}

/// The path, encoded once more than it was sent: `%2F` becomes `%252F`. S3 alone takes it as sent, and keeps `.`, `..` and empty segments.
fn write_path(text: &mut Vec<u8>, path: &str, service: &str) {
    let path = if path.is_empty() { "/" } else { path };
    if service == "s3" {
        return text.extend_from_slice(path.as_bytes());
    }
    for piece in percent_encode(normalized(path).as_bytes(), ENCODED_IN_PATH) {
        text.extend_from_slice(piece.as_bytes());
    }
}

/// RFC 3986's removal of dot segments (section 5.2.4), and of empty ones as AWS wants it. A path that ends in a dot segment names a directory, so
/// its slash stays.
fn normalized(path: &str) -> Cow<'_, str> {
    if !path.contains("/.") && !path.contains("//") {
        return Cow::Borrowed(path);
    }
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(kept.pop()),
            segment => kept.push(segment),
        }
    }
    let is_directory = path.ends_with('/') || path.ends_with("/.") || path.ends_with("/..");
    let end = if is_directory && !kept.is_empty() { "/" } else { "" };
    Cow::Owned(format!("/{}{end}", kept.join("/")))
}

/// The query's pairs, each decoded and encoded anew, sorted by name and then by value. A `+` is a space, as in forms and in AWS's own SDKs.
fn query(query: &str) -> Cow<'_, str> {
    if is_canonical(query) {
        return Cow::Borrowed(query);
    }
    let recode = |part: &str| {
        let spaced = part.replace('+', " ");
        percent_encode(&Cow::from(percent_decode(spaced.as_bytes())), ENCODED).to_string()
    };
    let mut pairs: Vec<(String, String)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (recode(name), recode(value)))
        .filter(|(name, _)| name != SIGNATURE_PARAMETER)
        .collect();
    pairs.sort_unstable();
    let pairs: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
    Cow::Owned(pairs.join("&"))
}

/// Whether a query is one pair of unreserved characters, or none, and so canonical as it is: most are.
fn is_canonical(query: &str) -> bool {
    let is_unreserved = |part: &str| part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~'));
    match query.split_once('=') {
        None => query.is_empty(),
        Some((name, value)) => is_unreserved(name) && is_unreserved(value) && name != SIGNATURE_PARAMETER,
    }
}

/// A header's canonical value: all its values, trimmed, their runs of spaces folded to one, joined by commas in the order of the request. An absent header is
/// empty, which the verifier rules out beforehand.
fn write_header(text: &mut Vec<u8>, request: &Parts, name: &str) {
    if name == "host"
        && !request.headers.contains_key(http::header::HOST)
        && let Some(authority) = request.uri.authority()
    {
        return text.extend_from_slice(authority.as_str().as_bytes());
    }
    // A request has few headers: looking at them costs less than making a name of a text and hashing it.
    let values = request.headers.iter().filter(|(found, _)| found.as_str() == name);
    for (number, (_, value)) in values.enumerate() {
        if number > 0 {
            text.push(b',');
        }
        let words = value.as_bytes().split(|&byte| byte == b' ').filter(|word| !word.is_empty());
        for (number, word) in words.enumerate() {
            if number > 0 {
                text.push(b' ');
            }
            text.extend_from_slice(word);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = http::Request::get(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).expect(uri).into_parts().0
    }

    fn header(request: &Parts, name: &str) -> String {
        let mut text = Vec::new();
        write_header(&mut text, request, name);
        String::from_utf8(text).expect("ASCII values")
    }

    #[test]
    fn paths_are_normalized_and_encoded_twice() {
        let path = |sent: &str, service: &str| {
            let mut text = Vec::new();
            write_path(&mut text, sent, service);
            String::from_utf8(text).expect("an encoded path is ASCII")
        };
        let check = |sent: &str, expected: &str| assert_eq!(path(sent, "service"), expected, "{sent}");
        check("", "/");
        check("/", "/");
        check("//", "/");
        check("/example/..", "/");
        check("/a/./b/../c", "/a/c");
        check("/../../a", "/a");
        check("/a//b/", "/a/b/");
        check("/a/.", "/a/");
        check("/a/b/..", "/a/");
        check("/.a/..b", "/.a/..b");
        check("/runtimes/arn%3Aaws%3Ax/invocations", "/runtimes/arn%253Aaws%253Ax/invocations");
        check("/a:b~c_d-e.f*g", "/a%3Ab~c_d-e.f%2Ag");
        assert_eq!(path("/a//b/../c%2Fd", "s3"), "/a//b/../c%2Fd");
    }

    #[test]
    fn queries_are_decoded_encoded_and_sorted() {
        let check = |sent: &str, expected: &str| assert_eq!(query(sent), expected, "{sent}");
        check("", "");
        check("qualifier=DEFAULT", "qualifier=DEFAULT");
        check("qualifier=DEF:AULT", "qualifier=DEF%3AAULT");
        check("X-Amz-Signature=s", "");
        check("b=2&a=1", "a=1&b=2");
        check("a=2&a=1&A=0", "A=0&a=1&a=2");
        check("flag&x=", "flag=&x=");
        check("&a=1&&", "a=1");
        check("a=b=c", "a=b%3Dc");
        check("arn=arn:aws:x/y", "arn=arn%3Aaws%3Ax%2Fy");
        check("arn=arn%3aaws", "arn=arn%3Aaws");
        check("a=%7E%41", "a=~A");
        check("a=1+2%2B3", "a=1%202%2B3");
        check("a=100%", "a=100%25");
        // Bytes that are no UTF-8 stay the bytes they are.
        check("a=%ff", "a=%FF");
        // Encoded names sort, so that a `-` (0x2D) comes after an encoded space (`%`, 0x25).
        check("a-=1&a%20=2", "a%20=2&a-=1");
        check("X-Amz-Date=d&X-Amz-Signature=s", "X-Amz-Date=d");
    }

    #[test]
    fn header_values_are_trimmed_folded_and_joined() {
        let check = |values: &[&str], expected: &str| {
            let headers: Vec<(&str, &str)> = values.iter().map(|value| ("my-header", *value)).collect();
            assert_eq!(header(&request("/", &headers), "my-header"), expected);
        };
        check(&["value"], "value");
        check(&["  a   b  c "], "a b c");
        check(&["\"a   b\""], "\"a b\"");
        check(&["4", " 1", "3"], "4,1,3");
        check(&["", "x"], ",x");
        check(&[""], "");
    }

    #[test]
    fn the_host_is_the_header_else_the_authority() {
        let check = |request: Parts, expected: Option<&str>| {
            assert_eq!((has_host(&request), header(&request, "host").as_str()), (expected.is_some(), expected.unwrap_or_default()));
        };
        check(request("/", &[("host", "a.example:1")]), Some("a.example:1"));
        check(request("http://b.example:2/", &[("host", "a.example")]), Some("a.example"));
        check(request("http://b.example:2/", &[]), Some("b.example:2"));
        check(request("/", &[]), None);
    }
}
