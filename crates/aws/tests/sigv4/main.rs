//! Signature Version 4 at its boundary: signed by AWS's own implementations and by AWS's published examples, verified here, and the reverse.

mod botocore;
mod peer;
mod presigned;
mod published;
mod refused;

use frontdesk_aws::sigv4::{BodyHash, Scope, SigningKeys, Verified, VerifyError, sign, verify};
use frontdesk_aws::{AccessKeyId, Credentials};
use http::request::Parts;
use time::OffsetDateTime;
use time::macros::datetime;

const NOW: OffsetDateTime = datetime!(2026-03-14 15:09:26 UTC);
const SCOPE: Scope<'static> = Scope { region: "us-west-2", service: "bedrock-agentcore" };
/// AWS's documentation signs with these throughout.
const ACCESS_KEY_ID: &str = "AKIDEXAMPLE";
const SECRET_ACCESS_KEY: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

fn credentials() -> Credentials {
    Credentials::new(ACCESS_KEY_ID, SECRET_ACCESS_KEY)
}

fn parts<'a>(method: &str, uri: &str, headers: impl IntoIterator<Item = (&'a str, &'a str)>) -> Parts {
    let mut request = http::Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    request.body(()).expect("a test's request").into_parts().0
}

/// Verifies against the one access key there is.
fn verified(request: &Parts, body: &[u8], known: &Credentials, scope: Scope<'_>, now: OffsetDateTime) -> Result<Verified, VerifyError> {
    let lookup = |id: &AccessKeyId| (*id == known.access_key_id).then_some(known);
    verify(request, &BodyHash::of(body), scope, &SigningKeys::new(), lookup, now)
}

fn signed(mut request: Parts, body: &[u8], credentials: &Credentials) -> Parts {
    sign(&mut request, &BodyHash::of(body), credentials, SCOPE, &SigningKeys::new(), NOW).expect("a signature");
    request
}
