//! Signature Version 4: a request is signed with a key derived from the secret, the day, the region and the service, and verified by doing the
//! same again. One canonicalizer serves both sides, so that signer and verifier cannot drift apart.
//!
//! The algorithm is AWS's, as the IAM User Guide describes it under "Create a signed AWS API request"
//! (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>). The asymmetric SigV4a is deliberately absent.

mod authorization;
mod canonical;
mod date;
mod key;
mod presign;
mod sign;
mod verify;

pub use key::SigningKeys;
pub use presign::{PRESIGNED_EXPIRES_SECONDS_MAX, presign};
pub use sign::{SignError, sign};
pub use verify::{CLOCK_SKEW_MINUTES_MAX, Verified, VerifyError, verify};

use http::HeaderName;
use sha2::{Digest, Sha256};

/// The only algorithm spoken here, as it is named in requests.
const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// The last element of every credential scope.
const TERMINATOR: &str = "aws4_request";

const X_AMZ_DATE: HeaderName = HeaderName::from_static("x-amz-date");
/// The header of a session token.
pub const X_AMZ_SECURITY_TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");
const X_AMZ_CONTENT_SHA256: HeaderName = HeaderName::from_static("x-amz-content-sha256");

/// Where a signature counts: one region and one service's signing name, such as `us-west-2` and `bedrock-agentcore`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope<'a> {
    /// Such as `us-west-2`.
    pub region: &'a str,
    /// The signing name, which need not be the endpoint's prefix: `bedrock-agentcore` for `bedrock-agentcore.us-west-2.amazonaws.com`.
    pub service: &'a str,
}

/// The SHA-256 of a request's body, in the lower-case hexadecimal that the canonical request wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BodyHash(HexDigest);

impl BodyHash {
    /// Hashes a body that is in memory whole.
    pub fn of(body: &[u8]) -> Self {
        Self::finish(Sha256::new_with_prefix(body))
    }

    /// Takes over a hasher that was fed a streamed body piece by piece.
    pub fn finish(hasher: Sha256) -> Self {
        Self(HexDigest::of(&hasher.finalize().into()))
    }

    /// 64 lower-case hexadecimal digits.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

/// 32 bytes as 64 lower-case hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq)]
struct HexDigest([u8; 64]);

impl HexDigest {
    fn of(bytes: &[u8; 32]) -> Self {
        let mut digits = [0; 64];
        hex::encode_to_slice(bytes, &mut digits).expect("two digits for each byte");
        Self(digits)
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("hexadecimal digits are ASCII")
    }
}
